package fault

import (
	"context"
	"fmt"
	"math"
	"time"

	"backout/harness/evidence"
)

// clockOff is how far a clock may be from what it should be: asking takes time on a busy machine.
const clockOff = 0.5

// skewed sets a node's clock off.
type skewed struct {
	World
	name string
	by   time.Duration
}

func clock() Kind {
	return Kind{
		Name: "clock", Forms: []Form{
			{Text: "the clock of {target} is {n} seconds ahead", Unit: 1},
			{Text: "the clock of {target} is {n} seconds behind", Unit: -1},
		},
		On: []string{OnPrimary, OnStreaming, OnLogical}, Needs: "set the clock of one node alone off",
		Can: func(p Place) bool { return p.Skew != nil },
		Refuses: func(d evidence.DeclaredFault, _ string) string {
			if math.Abs(d.Seconds) <= 2*clockOff {
				return fmt.Sprintf("expected more than %g s, which can be told from a slow answer", 2*clockOff)
			}
			return ""
		},
		New: func(w World, d evidence.DeclaredFault) Fault { return skewed{w, d.Of, duration(d.Seconds)} },
	}
}

func (f skewed) Inject(ctx context.Context) error { return f.Place.Skew(ctx, f.name, f.by) }
func (f skewed) Lift(ctx context.Context) error   { return f.Place.Skew(ctx, f.name, 0) }

func (f skewed) InForce(ctx context.Context) (string, bool, error) {
	return f.off(ctx, f.by.Seconds())
}

func (f skewed) Gone(ctx context.Context) (string, bool, error) { return f.off(ctx, 0) }

// off asks the node for its time and says whether it is that far from ours.
func (f skewed) off(ctx context.Context, want float64) (string, bool, error) {
	var theirs float64
	before := time.Now()
	if err := f.ask(ctx, f.name, `select extract(epoch from clock_timestamp())::float8`, &theirs); err != nil {
		return "", false, err
	}
	ours := before.Add(time.Since(before) / 2)
	off := theirs - float64(ours.UnixNano())/1e9
	return fmt.Sprintf("the clock of %s is off by %.2f s", f.name, off), math.Abs(off-want) < clockOff, nil
}
