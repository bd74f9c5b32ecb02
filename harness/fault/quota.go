package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// usedUp is a quota that is exhausted: no pod is made before another has gone.
type usedUp struct{ Place }

func quota() Kind {
	return Kind{
		Name: "quota", Forms: []Form{{Text: "the quota of pods is used up"}}, On: []string{OnNamespace},
		Needs: "limit the number of pods",
		Can:   func(p Place) bool { return p.LimitPods != nil && p.UnlimitPods != nil && p.PodLimit != nil },
		New:   func(w World, _ evidence.DeclaredFault) Fault { return usedUp{w.Place} },
	}
}

func (f usedUp) Inject(ctx context.Context) error { return f.LimitPods(ctx) }
func (f usedUp) Lift(ctx context.Context) error   { return f.UnlimitPods(ctx) }

// InForce holds as well while a pod less is there than may be: the next one is let in, and not one more.
func (f usedUp) InForce(ctx context.Context) (string, bool, error) {
	l, err := f.PodLimit(ctx)
	return l.words(), err == nil && l.Hard > 0 && (l.Refused != "" || l.Used < l.Hard), err
}

func (f usedUp) Gone(ctx context.Context) (string, bool, error) {
	l, err := f.PodLimit(ctx)
	return l.words(), err == nil && l.Hard == 0 && l.Refused == "", err
}

func (l PodLimit) words() string {
	switch {
	case l.Refused != "":
		return "one more pod is refused: " + l.Refused
	case l.Hard > 0:
		return fmt.Sprintf("%d of %d pods are there", l.Used, l.Hard)
	}
	return "one more pod is let in"
}
