package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// drained is a machine that was taken out of service in good order: nothing new comes to it, and what was there has moved.
type drained struct{ Place }

func drain() Kind {
	return Kind{
		Name: "drain", Forms: []Form{{Text: "the worker is drained"}}, On: []string{OnWorker}, Wide: true,
		Needs: "drain a machine on which pods run",
		Can:   func(p Place) bool { return p.Drain != nil && p.Undrain != nil && p.Worker != nil },
		New:   func(w World, _ evidence.DeclaredFault) Fault { return drained{w.Place} },
	}
}

func (f drained) Inject(ctx context.Context) error { return f.Drain(ctx) }
func (f drained) Lift(ctx context.Context) error   { return f.Undrain(ctx) }

func (f drained) InForce(ctx context.Context) (string, bool, error) {
	w, err := f.Worker(ctx)
	return w.words(), err == nil && !w.Open && w.Pods == 0, err
}

func (f drained) Gone(ctx context.Context) (string, bool, error) {
	w, err := f.Worker(ctx)
	return w.words(), err == nil && w.Open, err
}

func (w Worker) words() string {
	if w.Name == "" {
		return ""
	}
	open, ready := "open to new pods", "ready"
	if !w.Open {
		open = "closed to new pods"
	}
	if !w.Ready {
		ready = "not ready"
	}
	return fmt.Sprintf("%s is %s and %s, with %d pods; its kubelet is %s", w.Name, open, ready, w.Pods, w.Kubelet)
}
