package fault

import (
	"context"

	"backout/harness/evidence"
)

// usedUp is a quota that is exhausted: no pod is made before another has gone.
type usedUp struct{ Place }

func quota() Kind {
	return Kind{
		Name: "quota", Forms: []Form{{Text: "the quota of pods is used up"}}, On: []string{OnNamespace},
		Needs: "limit the number of pods",
		Can:   func(p Place) bool { return p.LimitPods != nil && p.UnlimitPods != nil && p.MayAddPod != nil },
		New:   func(w World, _ evidence.DeclaredFault) Fault { return usedUp{w.Place} },
	}
}

func (f usedUp) Inject(ctx context.Context) error { return f.LimitPods(ctx) }
func (f usedUp) Lift(ctx context.Context) error   { return f.UnlimitPods(ctx) }

func (f usedUp) InForce(ctx context.Context) (string, bool, error) {
	return isRefused(ctx, "one more pod", f.MayAddPod, true)
}

func (f usedUp) Gone(ctx context.Context) (string, bool, error) {
	return isRefused(ctx, "one more pod", f.MayAddPod, false)
}

// isRefused asks for something that would change nothing, and says whether it is refused as it should be.
func isRefused(ctx context.Context, what string, try func(context.Context) (refused string, err error), want bool) (string, bool, error) {
	why, err := try(ctx)
	switch {
	case err != nil:
		return "", false, err
	case why != "":
		return what + " is refused: " + why, want, nil
	}
	return what + " is allowed", !want, nil
}
