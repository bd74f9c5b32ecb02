package fault

import (
	"context"

	"backout/harness/evidence"
)

// deaf is a machine whose kubelet has stopped: its pods go on, and nobody there does what the cluster wants. The cluster sees
// that only after most of a minute, and places pods on it until then.
type deaf struct{ Place }

func kubelet() Kind {
	return Kind{
		Name: "kubelet", Forms: []Form{{Text: "the kubelet of the worker is stopped"}}, On: []string{OnWorker}, Wide: true,
		Needs: "stop the kubelet of a machine on which pods run",
		Can:   func(p Place) bool { return p.StopKubelet != nil && p.StartKubelet != nil && p.Worker != nil },
		New:   func(w World, _ evidence.DeclaredFault) Fault { return deaf{w.Place} },
	}
}

func (f deaf) Inject(ctx context.Context) error { return f.StopKubelet(ctx) }
func (f deaf) Lift(ctx context.Context) error   { return f.StartKubelet(ctx) }

func (f deaf) InForce(ctx context.Context) (string, bool, error) {
	w, err := f.Worker(ctx)
	return w.words(), err == nil && w.Kubelet == Gone, err
}

func (f deaf) Gone(ctx context.Context) (string, bool, error) {
	w, err := f.Worker(ctx)
	return w.words(), err == nil && w.Kubelet == Running && w.Ready, err
}
