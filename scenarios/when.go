package scenarios

import (
	"context"
	"fmt"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/service"
)

// when are the sentences that make something happen.
func when() []Sentence {
	deploy := func(ctx context.Context, r *drill.Drill) error { return r.Deploy(ctx) }
	rollBack := func(ctx context.Context, r *drill.Drill) error { return r.RollBack(ctx) }
	return []Sentence{
		sentence(`release {name} is deployed over {name}`, func(d *draft, w []string) (err error) {
			if d.deployed {
				return fmt.Errorf("%q is deployed already: a drill deploys one release", d.Bad.Name)
			}
			d.deployed = true
			if d.Bad, err = d.release(w[0]); err != nil {
				return err
			}
			if d.Good, err = d.release(w[1]); err != nil {
				return err
			}
			if _, err := d.Bad.RolloutFor(d.environment); err != nil {
				return err
			}
			if !d.Good.Good {
				return fmt.Errorf("%s is not a good release: a drill rolls back to one that is", w[1])
			}
			if err := d.takeTogether(); err != nil {
				return err
			}
			for _, h := range d.Bad.Harms {
				if h.LatencyAbove > 0 && !d.Alone() {
					return fmt.Errorf("%s harms latency, which only an @alone drill judges: tag the scenario @alone", w[0])
				}
			}
			return nil
		}, deploy),
		sentence(`it is rolled back by its plan`, func(d *draft, _ []string) error { return d.takePlan("") }, rollBack),
		sentence(`it is rolled back by the plan {name}`, func(d *draft, w []string) error { return d.takePlan(w[0]) }, rollBack),
		// What follows says how it is rolled back, so it only declares.
		sentence(`a second operator starts the same rollback before step {n}`, func(d *draft, w []string) error { return d.secondOperator(w[0], false) }, nil),
		sentence(`a second operator on another machine starts the same rollback before step {n}`, func(d *draft, w []string) error { return d.secondOperator(w[0], true) }, nil),
		sentence(`{name} starts it`, func(d *draft, w []string) error {
			if d.Starter != "" {
				return fmt.Errorf("%s starts it already: say it once", d.Starter)
			}
			d.Starter = w[0]
			return d.asksPeople()
		}, nil),
		sentence(`{name} approves it after {n} seconds`, func(d *draft, w []string) error {
			if d.Approver != nil {
				return fmt.Errorf("%s approves it already: say it once", d.Approver.By)
			}
			after, err := number(w[1])
			if err != nil {
				return err
			}
			d.Approver = &evidence.Approver{By: w[0], After: after}
			return d.asksPeople()
		}, nil),
		sentence(`{name} accepts it after {n} seconds`, func(d *draft, w []string) error {
			if d.Plan == nil || d.Plan.Told().Receiver == "" {
				return fmt.Errorf("the incident is handed over to nobody: say communication: {handoff: {to: %s}} in service.yaml or the plan, and first: When it is rolled back by its plan", w[0])
			}
			if d.Taker != nil {
				return fmt.Errorf("%s accepts it already: say it once", d.Taker.By)
			}
			after, err := number(w[1])
			if err != nil {
				return err
			}
			d.Taker = &evidence.Approver{By: w[0], After: after}
			return nil
		}, nil),
		sentence(`a person approves it`, func(d *draft, _ []string) error {
			d.byHand = true
			return d.asksPeople()
		}, nil),
		sentence(`nobody approves it`, func(d *draft, _ []string) error {
			d.unapproved = true
			return d.asksPeople()
		}, nil),
		sentence(`the machine that runs it dies during step {n}`, func(d *draft, w []string) error { return d.dies(w[0], "") }, nil),
		sentence(`the machine that runs it dies when step {n} says {name}`, func(d *draft, w []string) error { return d.dies(w[0], w[1]) }, nil),
		sentence(`{n} times as many clients come back for {n} seconds when service is restored`, func(d *draft, w []string) error {
			if d.Plan == nil {
				return fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
			}
			if d.Herd != nil {
				return fmt.Errorf("clients come back already, %g times as many as usual: say it once", d.Herd.Times)
			}
			times, err := number(w[0])
			if err != nil {
				return err
			}
			length, err := number(w[1])
			if err != nil {
				return err
			}
			if times <= 0 || length <= 0 || d.Rate == 0 {
				return fmt.Errorf("expected a number of times and of seconds above 0, and journeys per second that come anyway; found %s times for %s seconds and a rate of %g", w[0], w[1], d.Rate)
			}
			d.Herd = &evidence.Herd{Times: times, Seconds: length}
			return nil
		}, nil),
		sentence(`it is started again from the start`, func(d *draft, _ []string) error {
			if d.Death == nil {
				return fmt.Errorf("the machine that runs it does not die: say first: And the machine that runs it dies during step 1")
			}
			d.Death.FromStart = true
			return nil
		}, nil),
	}
}

// asksPeople checks that the plan asks for approval, so that there is something to approve.
func (d *draft) asksPeople() error {
	if d.Plan == nil {
		return fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
	}
	if a := d.Plan.Approval; (a == nil || a.How == service.Automatic) && d.Plan.Ceiling == nil {
		return fmt.Errorf("%s asks nobody: say whom (approval: manual), or when (ceiling: {instances: 1})", d.Plan.Path)
	}
	return nil
}

func (d *draft) dies(step, says string) error {
	n, err := d.step(step)
	if err != nil {
		return err
	}
	if d.Plan.Graph {
		return fmt.Errorf("%s lets steps run side by side, and no drill kills the machine that runs such a plan: leave needs and barrier away, or the line", d.Plan.Path)
	}
	if d.Death != nil {
		return fmt.Errorf("the machine dies already, during step %d: it dies once", d.Death.Step)
	}
	d.Death = &evidence.Death{Step: n, Says: says}
	return nil
}

// step is the number of a step of the plan.
func (d *draft) step(text string) (int, error) {
	if d.Plan == nil {
		return 0, fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
	}
	n, err := number(text)
	if err != nil {
		return 0, err
	}
	if n != float64(int(n)) || n < 1 || int(n) > len(d.Plan.Steps) {
		return 0, fmt.Errorf("%s has the steps 1 to %d, and no step %s", d.Plan.Path, len(d.Plan.Steps), text)
	}
	return int(n), nil
}

func (d *draft) takePlan(name string) (err error) {
	if d.Bad == nil {
		return fmt.Errorf(`nothing is deployed yet: say first: When release "NAME" is deployed over "NAME"`)
	}
	if d.planGiven {
		return fmt.Errorf("it is rolled back already: a drill runs one plan")
	}
	d.planGiven = true
	if d.Plan, err = d.Bad.Plan(name, d.environment); err != nil {
		return err
	}
	if err := d.Bad.Hosts(d.Plan); err != nil {
		return err
	}
	if d.Plan.From != d.Bad.Name || d.Plan.To != d.Good.Name {
		return fmt.Errorf("%s: expected a plan from %s to %s, found one from %s to %s", d.Plan.Path, d.Bad.Name, d.Good.Name, d.Plan.From, d.Plan.To)
	}
	return nil
}

// takeTogether finds what dependants get together with the release.
func (d *draft) takeTogether() error {
	for _, s := range d.Dependants {
		name, is := d.Bad.With[s.Name]
		if !is {
			continue
		}
		r, err := s.Release(name)
		if err != nil {
			return fmt.Errorf("%s/release.yaml: with: %w", d.Bad.Dir, err)
		}
		if r.Name == d.Runs[s.Name].Name {
			return fmt.Errorf("%s/release.yaml: with: %s runs %s before: expected another release", d.Bad.Dir, s.Name, r.Name)
		}
		d.Together = append(d.Together, r)
	}
	return nil
}

// secondOperator has somebody start the same rollback, here or on another machine.
func (d *draft) secondOperator(before string, elsewhere bool) error {
	step, err := d.step(before)
	if err != nil {
		return err
	}
	if d.Second != nil {
		return fmt.Errorf("a second operator comes already, before step %d: a drill has one", d.Second.Before)
	}
	d.Second = &evidence.Second{Before: step, Elsewhere: elsewhere}
	return nil
}
