package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/verdict"
)

// rollBack runs the plan: its pre-checks, its steps, its validation. What fails in it is evidence, not an error of ours.
func (d *Drill) rollBack(ctx context.Context) error {
	done := d.phase("rollback", "rolled back")
	plan := d.spec.Plan
	end, err := d.operators(ctx)
	if err != nil {
		return err
	}
	if err := d.runner.Before(ctx, plan, d); err != nil {
		var refused *rollback.Refused
		if !errors.As(err, &refused) {
			return err
		}
		d.refused = refused
		done("the plan refused before it changed anything: %v", refused)
		if err := d.runner.Release(); err != nil {
			return err
		}
		// Whether that is so is seen by what comes after: each instance and node is read once more within a beat.
		return pass(ctx, seconds(2*d.run.Windows.Beat))
	}
	between := d.runner.Between
	d.runner.Between = func(ctx context.Context, step int) error {
		d.started() // not before: people may have kept the first step waiting, or have stopped it
		if between == nil {
			return nil
		}
		return between(ctx, step)
	}
	failed := d.steps(ctx)
	if err := end(); err != nil {
		return err
	}
	d.clock(evidence.ClockCommandReturned, "")
	d.faults.lift(ctx, func(evidence.DeclaredFault) bool { return true })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed != nil && !errors.As(failed, new(*rollback.StepError)) && !errors.As(failed, new(*rollback.Refused)) {
		return failed
	}
	if plan.Sabotage != nil && plan.Sabotage.Shown != "" {
		sabotaged := make(chan struct{})
		go func() { defer close(sabotaged); d.runner.Sabotage(ctx, plan) }()
		d.sabotaged = sabotaged
	}
	if failed != nil {
		done("%v", failed)
		return nil
	}
	done("%d of %d steps", len(plan.Steps), len(plan.Steps))
	return nil
}

// approve asks people about the plan or a step. That the first one was approved is a clock: nothing had been started until then.
func (d *Drill) approve(ctx context.Context, q rollback.Question) error {
	err := d.handle.ask(ctx, q)
	if err == nil && !d.running {
		d.clock(evidence.ClockApproved, q.For)
	}
	return err
}

// started notes that the plan's first step begins, once.
func (d *Drill) started() {
	if !d.running {
		d.running = true
		d.clock(evidence.ClockStarted, "")
	}
}

// watch observes until service has stayed restored for the stability window, or the promised time has passed, or
// nothing that is missing has changed for the patience. The plan's validation runs meanwhile.
func (d *Drill) watch(ctx context.Context) error {
	done := d.phase("watch", "restored")
	start := d.log.Now()
	validated := make(chan error, 1)
	go func() {
		if d.spec.givesUp() {
			validated <- nil // the plan's validation is of where it does not come to
			return
		}
		validated <- d.runner.After(ctx, d.spec.Plan, d)
	}()

	patience := evidence.Seconds(seconds(d.run.Windows.Patience))
	// A service that is restored just in time must still stay so for the stability window before that is known.
	// What people took is no reason to stop looking: it counts, and is told apart.
	limit := d.decidedAt + evidence.Seconds(seconds(d.spec.limit()+d.run.Windows.Stability)+d.handle.people()-d.waited)
	var state verdict.State
	still := stillness{changed: start, flips: map[string]int{}}
	why := ""
	err := until(ctx, 100*time.Millisecond, func() bool {
		state = ask(d, (*verdict.Facts).Restored)
		now := d.log.Now()
		still.look(now, state.Missing)
		switch {
		case d.spec.givesUp() && now-start >= evidence.Offset(d.run.Windows.Stability):
			why = "the plan gave up, and what is there was watched for the stability window"
		case state.Held:
			why = "service has stayed restored for the stability window"
		case now >= limit:
			why = "the promised time has passed"
		case now-still.changed >= patience:
			why = fmt.Sprintf("nothing that is missing has changed for %g s", float64(patience))
		default:
			return false
		}
		return true
	})
	if err != nil {
		return err
	}
	if err := <-validated; err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.runner.Release(); err != nil {
		return err
	}
	if d.sabotaged != nil {
		<-d.sabotaged // bounded by the plan
	}
	d.faults.settle()
	d.clock(evidence.ClockWatchEnded, why)
	d.restored = state.Held
	if state.Held {
		done("and stayed so for %g s", d.run.Windows.Stability)
	} else {
		done("never: %s", joined(state.Missing))
	}
	return nil
}

// stillness knows when something that is missing has changed last. Under load a journey may fail and succeed in turn
// for ever; so each thing may come and go once, and after that its coming and going is no change any more.
type stillness struct {
	changed evidence.Offset
	missing []string
	flips   map[string]int // how often each thing has come or gone
}

const changes = 2

func (s *stillness) look(now evidence.Offset, missing []string) {
	flip := func(from, to []string) {
		for _, m := range from {
			if slices.Contains(to, m) {
				continue
			}
			if s.flips[m]++; s.flips[m] <= changes {
				s.changed = now
			}
		}
	}
	flip(s.missing, missing)
	flip(missing, s.missing)
	s.missing = slices.Clone(missing)
}

// joined names the first of what is missing.
func joined(missing []string) string {
	switch len(missing) {
	case 0:
		return "nothing could be judged"
	case 1:
		return missing[0]
	}
	return fmt.Sprintf("%s; and %d more", missing[0], len(missing)-1)
}
