package fault

import (
	"context"
	"fmt"
	"time"

	"backout/harness/evidence"
)

// link is a fault of the connections between a service and its database.
type link struct {
	World
	service string
	as      LinkState
}

func slow() Kind {
	return Kind{
		Name: "slow", Forms: []Form{{Text: "the connections of {word} to its database are slowed by {n} ms", Unit: 0.001}}, On: []string{OnService},
		Needs: "slow connections down", Can: hasLinks,
		Refuses: func(d evidence.DeclaredFault, _ string) string {
			if d.Seconds <= 0 {
				return "expected more than 0 ms"
			}
			return ""
		},
		New: func(w World, d evidence.DeclaredFault) Fault {
			return link{w, d.Of, LinkState{Slow: duration(d.Seconds)}}
		},
	}
}

func hasLinks(p Place) bool { return p.Link != nil && p.LinkState != nil }

func (f link) Inject(ctx context.Context) error { return f.Place.Link(ctx, f.service, f.as) }
func (f link) Lift(ctx context.Context) error   { return f.Place.Link(ctx, f.service, LinkState{}) }

func (f link) InForce(ctx context.Context) (string, bool, error) {
	seen, answer, open, err := f.measure(ctx)
	if f.as.Dropped {
		return seen, err == nil && !open, err
	}
	return seen, open && answer >= f.as.Slow, err
}

// Gone is told apart from a link that is still slow by half of what it was slowed by: a busy machine takes its time too.
func (f link) Gone(ctx context.Context) (string, bool, error) {
	seen, answer, open, err := f.measure(ctx)
	return seen, open && (f.as.Dropped || answer < f.as.Slow/2), err
}

func (f link) measure(ctx context.Context) (seen string, answer time.Duration, open bool, err error) {
	answer, open, err = f.Place.LinkState(ctx, f.service)
	switch {
	case err != nil:
	case open:
		seen = fmt.Sprintf("an answer took %.1f ms", answer.Seconds()*1000)
	default:
		seen = "no answer comes"
	}
	return seen, answer, open, err
}
