package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// unpullable stops the registry from which images come.
type unpullable struct {
	Place
	release string
}

func registry() Kind {
	return Kind{
		Name: "registry", Forms: []Form{{Text: "the registry is down"}}, On: []string{OnRegistry},
		Needs: "pull images from a registry of its own",
		Can:   func(p Place) bool { return p.StopRegistry != nil && p.StartRegistry != nil && p.Pull != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return unpullable{w.Place, d.Of} },
	}
}

func (f unpullable) Inject(ctx context.Context) error { return f.StopRegistry(ctx) }
func (f unpullable) Lift(ctx context.Context) error   { return f.StartRegistry(ctx) }

func (f unpullable) InForce(ctx context.Context) (string, bool, error) {
	if err := f.Pull(ctx, f.release); err != nil {
		return fmt.Sprintf("the image of %s cannot be pulled: %v", f.release, err), ctx.Err() == nil, ctx.Err()
	}
	return fmt.Sprintf("the image of %s can be pulled", f.release), false, nil
}

func (f unpullable) Gone(ctx context.Context) (string, bool, error) {
	if err := f.Pull(ctx, f.release); err != nil {
		return "", false, err
	}
	return fmt.Sprintf("the image of %s can be pulled", f.release), true, nil
}
