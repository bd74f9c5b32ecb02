package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// becomes is a fault that is in force while all processes of something are in one state.
type becomes struct {
	name     string
	state    func(ctx context.Context, name string) (State, error)
	want     State
	do, undo func(ctx context.Context, name string) error
}

func (f becomes) Inject(ctx context.Context) error { return f.do(ctx, f.name) }
func (f becomes) Lift(ctx context.Context) error   { return f.undo(ctx, f.name) }

func (f becomes) InForce(ctx context.Context) (string, bool, error) { return f.is(ctx, f.want) }
func (f becomes) Gone(ctx context.Context) (string, bool, error)    { return f.is(ctx, Running) }

func (f becomes) is(ctx context.Context, want State) (string, bool, error) {
	is, err := f.state(ctx, f.name)
	if err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%s is %s", f.name, is), is == want, nil
}

func pause() Kind {
	return Kind{
		Name: "pause", Forms: []Form{{Text: "{target} is paused"}}, On: machines(), Removes: true,
		Needs: "pause anything",
		Can:   func(p Place) bool { return p.State != nil && p.Pause != nil && p.Resume != nil },
		New: func(w World, d evidence.DeclaredFault) Fault {
			return becomes{d.Of, w.Place.State, Paused, w.Place.Pause, w.Place.Resume}
		},
	}
}
