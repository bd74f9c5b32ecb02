package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// silent is an API server that does not answer: pods go on serving, and nothing can be changed or asked of the cluster.
type silent struct{ Place }

func apiServer() Kind {
	return Kind{
		Name: "apiserver", Forms: []Form{{Text: "the API server is paused"}}, On: []string{OnCluster}, Wide: true,
		Needs: "pause the API server of a cluster",
		Can:   func(p Place) bool { return p.PauseAPI != nil && p.ResumeAPI != nil && p.API != nil },
		New:   func(w World, _ evidence.DeclaredFault) Fault { return silent{w.Place} },
	}
}

func (f silent) Inject(ctx context.Context) error { return f.PauseAPI(ctx) }
func (f silent) Lift(ctx context.Context) error   { return f.ResumeAPI(ctx) }

func (f silent) InForce(ctx context.Context) (string, bool, error) {
	is, why, err := f.API(ctx)
	return said(is, why), err == nil && is == Paused && why != "", err
}

func (f silent) Gone(ctx context.Context) (string, bool, error) {
	is, why, err := f.API(ctx)
	return said(is, why), err == nil && is == Running && why == "", err
}

func said(is State, why string) string {
	if why == "" {
		why = "it answers"
	}
	return fmt.Sprintf("the API server is %s: %s", is, why)
}
