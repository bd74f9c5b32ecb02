package rollback

import (
	"context"
	"fmt"
	"slices"

	"backout/harness/evidence"
	"backout/harness/service"
)

// course is how far the steps of a plan are. It knows which may begin, and runs nothing.
type course struct {
	needs   func(step int) []int
	state   []string // "": it waits; asks, runs; how it ended
	stopped bool     // nothing more begins
	refused int      // the step whose own pre-check stopped the plan; 0: none
}

// The states of a step between waiting and its end.
const (
	isAsked   = "asks" // what comes in front of it is asked
	isRunning = "runs"
)

func newCourse(steps int, needs func(step int) []int, done func(step int) bool) *course {
	c := &course{needs: needs, state: make([]string, steps)}
	for i := range c.state {
		if done != nil && done(i+1) {
			c.state[i] = evidence.StepEarlier
		}
	}
	return c
}

func (c *course) well(step int) bool {
	is := c.state[step-1]
	return is == evidence.StepOK || is == evidence.StepEarlier
}

// next is a step that may begin now, the first of them; 0: none.
func (c *course) next() int {
	for i, is := range c.state {
		if is == "" && !c.stopped && !slices.ContainsFunc(c.needs(i+1), func(n int) bool { return !c.well(n) }) {
			return i + 1
		}
	}
	return 0
}

// waiting are the steps that were never begun.
func (c *course) waiting() (all []int) {
	for i, is := range c.state {
		if is == "" {
			all = append(all, i+1)
		}
	}
	return all
}

// touched are the steps that have done something, or may have, in the order of the plan: those that ended well, whenever, and
// those that did not.
func (c *course) touched() (all []int) {
	for i, is := range c.state {
		if is != "" && is != evidence.StepRefused {
			all = append(all, i+1)
		}
	}
	return all
}

// compensates says whether a step did not end well, or was stopped by its own pre-check, of which the plan says that what was done
// is to be taken back then. What people refuse is left as it is: they decide what becomes of it.
func (c *course) compensates(p *service.Plan) bool {
	for i, s := range p.Steps {
		is := c.state[i]
		failed := is != "" && is != evidence.StepRefused && !c.well(i+1)
		if s.Fails == service.Compensates && (failed || c.refused == i+1) {
			return true
		}
	}
	return false
}

// Earlier is what of a plan was done before it is run. Steps of Done are not run again; those of Begun that are not among them
// had begun, so that one runs only when its plan says that it may run again.
type Earlier struct {
	Done, Begun []int
	Why         string // how that is known
}

// From is a plan of which the steps before first are done, and those up to begun had begun.
func From(first, begun int, why string) Earlier {
	e := Earlier{Why: why}
	for i := 1; i < first; i++ {
		e.Done = append(e.Done, i)
	}
	for i := 1; i <= begun; i++ {
		e.Begun = append(e.Begun, i)
	}
	return e
}

// takeBack runs what takes the steps of a failed plan back, the last one first: what began later may stand on what began before.
// The first that does not end well ends it, since what it should have freed is in the way of the others.
func (r *Runner) takeBack(ctx context.Context, p *service.Plan, touched []int, failed error) error {
	var wrong error
	taken := 0
	for _, step := range slices.Backward(touched) {
		switch u := p.Steps[step-1].Undo; {
		case u == nil || u.Nothing:
		case wrong != nil:
			r.put(evidence.Step{Part: evidence.PartUndo, Index: step, Name: u.Name, Event: "ended", Outcome: evidence.StepSkipped})
		default:
			if wrong = r.takesBack(ctx, p, step); wrong == nil {
				taken++
			}
		}
	}
	if wrong != nil {
		return fmt.Errorf("%w; and what was done could not be taken back: %w", failed, wrong)
	}
	if err := r.wentBack(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w; what was done was taken back: %s", failed, count(taken, "step"))
}

// takesBack runs what takes one step back.
func (r *Runner) takesBack(ctx context.Context, p *service.Plan, step int) error {
	u := p.Steps[step-1].Undo.Step
	if err := r.mayTakeBack(ctx, p, step); err != nil {
		why := r.Log.Clean(err.Error())
		r.put(evidence.Step{Part: evidence.PartUndo, Index: step, Name: u.Name, Event: "ended", Outcome: evidence.StepRefused, Error: why})
		return &StepError{evidence.PartUndo, step, u, Outcome{Outcome: evidence.StepRefused, Error: why}}
	}
	held, free := r.whileHeld(ctx)
	o := r.Run(held, evidence.PartUndo, step, u, p.Env)
	free()
	if o.Outcome != evidence.StepOK {
		return &StepError{evidence.PartUndo, step, u, o}
	}
	return nil
}

// mayTakeBack is what is asked in front of taking a step back: people may hold it, and the lease must still be held.
func (r *Runner) mayTakeBack(ctx context.Context, p *service.Plan, step int) error {
	name := "taking back " + StepName(step, p.Steps[step-1].Name)
	if r.Hold != nil {
		if err := r.Hold(ctx, name); err != nil {
			return err
		}
	}
	if err := r.atStep(ctx, step, name); err != nil {
		return err
	}
	return r.undoBegins(ctx, p, step)
}
