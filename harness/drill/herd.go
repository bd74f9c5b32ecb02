package drill

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// herd lets clients come back who had given up while service was bad, once it has been restored, and goes on watching for
// a stability window after the last of them: a service may bear its usual load and not this.
func (d *Drill) herd(ctx context.Context) error {
	h := d.spec.Herd
	if h == nil || !d.restored {
		return nil
	}
	done := d.phase("herd", "clients came back")
	d.clock(evidence.ClockHerdBegun, fmt.Sprintf("%g journeys per second come in addition, for %g s", h.Times*d.spec.Rate, h.Seconds))
	err := d.load.Herd(ctx, h.Times*d.spec.Rate, seconds(h.Seconds))
	d.clock(evidence.ClockHerdEnded, "")
	if err != nil {
		return err
	}
	if err := pass(ctx, seconds(d.run.Windows.Stability)); err != nil {
		return err
	}
	done("%g times as many for %g s, and service was watched for %g s afterwards", h.Times, h.Seconds, d.run.Windows.Stability)
	return nil
}
