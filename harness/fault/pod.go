package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"backout/harness/evidence"
)

// podKilled ends a pod without notice, as a machine does that falls over. Another takes its place.
type podKilled struct {
	World
	service string
	killed  Pod
	serving int // how many served before
}

func pod() Kind {
	return Kind{
		Name: "pod", Forms: []Form{{Text: "a pod of {word} is killed"}}, On: []string{OnPods},
		Needs: "kill a pod, since it has none",
		Can:   func(p Place) bool { return p.KillPod != nil && p.Pods != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return &podKilled{World: w, service: d.Of} },
	}
}

func (f *podKilled) Inject(ctx context.Context) (err error) {
	if f.serving, _, err = f.count(ctx); err != nil {
		return err
	}
	f.killed, err = f.Place.KillPod(ctx, f.service)
	return err
}

// count is how many pods serve, and whether the one that was killed is still among all.
func (f *podKilled) count(ctx context.Context) (serving int, there bool, err error) {
	all, err := f.Place.Pods(ctx, f.service)
	for _, p := range all {
		if p.Ready {
			serving++
		}
	}
	return serving, slices.ContainsFunc(all, func(p Pod) bool { return p.ID == f.killed.ID }), err
}

// InForce stays true: what is killed does not come back.
func (f *podKilled) InForce(ctx context.Context) (string, bool, error) {
	if f.killed.ID == "" {
		return "", false, errors.New("no pod was killed")
	}
	serving, there, err := f.count(ctx)
	if there {
		return f.killed.Name + " is still there", false, err
	}
	return fmt.Sprintf("%s is gone, and %d of %d serve", f.killed.Name, serving, f.serving), err == nil, err
}

// Lift does nothing: who keeps the number of pods makes another.
func (f *podKilled) Lift(context.Context) error { return nil }

func (f *podKilled) Gone(ctx context.Context) (string, bool, error) {
	serving, _, err := f.count(ctx)
	return fmt.Sprintf("%d of %d serve", serving, f.serving), err == nil && serving >= f.serving, err
}
