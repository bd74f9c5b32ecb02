package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// imageAway is an image that the machines have thrown away to save room and that nobody gives them again.
type imageAway struct {
	Place
	release string
}

func image() Kind {
	return Kind{
		Name: "image", Forms: []Form{{Text: "the image of {word} cannot be pulled"}}, On: []string{OnRelease},
		Needs: "take an image from the machines on which pods run",
		Can:   func(p Place) bool { return p.HideImage != nil && p.ShowImage != nil && p.HasImage != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return imageAway{w.Place, d.Of} },
	}
}

func (f imageAway) Inject(ctx context.Context) error { return f.HideImage(ctx, f.release) }
func (f imageAway) Lift(ctx context.Context) error   { return f.ShowImage(ctx, f.release) }

func (f imageAway) InForce(ctx context.Context) (string, bool, error) {
	on, of, err := f.HasImage(ctx, f.release)
	return f.words(on, of), err == nil && on == 0, err
}

func (f imageAway) Gone(ctx context.Context) (string, bool, error) {
	on, of, err := f.HasImage(ctx, f.release)
	return f.words(on, of), err == nil && on == of, err
}

func (f imageAway) words(on, of int) string {
	return fmt.Sprintf("%d of %d machines have the image of %s, and no registry has it", on, of, f.release)
}
