package fault

import (
	"context"

	"backout/harness/evidence"
)

// noneToSpare is a PodDisruptionBudget that allows no disruption: whoever evicts pods in good order waits.
type noneToSpare struct {
	Place
	service string
}

func budget() Kind {
	return Kind{
		Name: "budget", Forms: []Form{{Text: "a disruption budget forbids to evict the pods of {word}"}}, On: []string{OnPods},
		Needs: "have a disruption budget forbid to evict pods",
		Can:   func(p Place) bool { return p.ForbidEviction != nil && p.AllowEviction != nil && p.MayEvict != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return noneToSpare{w.Place, d.Of} },
	}
}

func (f noneToSpare) Inject(ctx context.Context) error { return f.ForbidEviction(ctx, f.service) }
func (f noneToSpare) Lift(ctx context.Context) error   { return f.AllowEviction(ctx, f.service) }

func (f noneToSpare) InForce(ctx context.Context) (string, bool, error) {
	return isRefused(ctx, "an eviction", f.mayEvict, true)
}

func (f noneToSpare) Gone(ctx context.Context) (string, bool, error) {
	return isRefused(ctx, "an eviction", f.mayEvict, false)
}

func (f noneToSpare) mayEvict(ctx context.Context) (string, error) { return f.MayEvict(ctx, f.service) }

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
