package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/service"
	"backout/harness/verdict"
)

// then are the sentences that promise. They only declare: when the drill has ended the verdict judges all of them, so
// that every broken promise is seen and not the first alone.
func then() []Sentence {
	decide := func(ctx context.Context, r *drill.Drill) error { return r.Decide(ctx) }
	return []Sentence{
		sentence(`users are harmed`, func(d *draft, _ []string) error {
			return d.expects("users are harmed", "harms")
		}, decide),
		sentence(`the trap is there`, func(d *draft, _ []string) error {
			return d.expects("the trap is there", "traps")
		}, decide),
		sentence(`nobody is harmed`, func(d *draft, _ []string) error {
			return d.expects("nobody is harmed", "good")
		}, decide),

		sentence(`the breaker trips within {n} seconds`, func(d *draft, w []string) error {
			if err := d.expects("the breaker trips", "harms"); err != nil {
				return err
			}
			within, err := number(w[0])
			if err != nil {
				return err
			}
			if within <= 0 {
				return fmt.Errorf("expected a time above 0, found %s seconds", w[0])
			}
			d.Trips = true
			return d.breaker(evidence.Promise{Check: verdict.BreakerTrips, Text: fmt.Sprintf("the breaker trips within %s seconds", w[0]), Within: within})
		}, decide),
		sentence(`the breaker stays closed`, func(d *draft, _ []string) error {
			return d.breaker(evidence.Promise{Check: verdict.BreakerQuiet, Text: verdict.BreakerQuiet})
		}, nil),

		promise(`service is restored`, verdict.Restored),
		sentence(`service is restored within {n} minutes`, func(d *draft, w []string) error { return d.within(w[0], "minutes", 60) }, nil),
		sentence(`service is restored within {n} seconds`, func(d *draft, w []string) error { return d.within(w[0], "seconds", 1) }, nil),
		promise(`every acknowledged {word} exists exactly once`,
			verdict.WritesExactlyOnce,
			verdict.EffectsExactlyOnce,
			verdict.NothingResurrected,
			verdict.NoPhantoms),
		sentence(`at most {n} acknowledged writes are lost, because {name}`, func(d *draft, w []string) error {
			n, err := number(w[0])
			if err != nil || n != float64(int(n)) || n < 1 {
				return fmt.Errorf("expected a whole number of writes above 0, found %s; without a budget none may be lost", w[0])
			}
			d.Budget = &evidence.Budget{Lost: int(n), Why: w[1]}
			return nil
		}, nil),
		promise(`every node has the schema and the data of before`,
			verdict.NodesHaveSchema,
			verdict.NodesHoldSameRows,
			verdict.FrozenUnchanged),
		promise(`every node has the schema of before`, verdict.NodesHaveSchema),
		sentence(`every node has the schema that the plan states and the data of before`, func(d *draft, _ []string) error {
			if d.Plan == nil || d.Plan.Schema == 0 {
				return fmt.Errorf("no plan states a schema: write schema: N into the plan, the number of the migration up to which nodes stay, or say: every node has the schema and the data of before")
			}
			text := "every node has the schema that the plan states and the data of before"
			for _, check := range []string{verdict.NodesHaveSchema, verdict.NodesHoldSameRows, verdict.FrozenUnchanged} {
				d.promise(evidence.Promise{Check: check, Text: text})
			}
			return nil
		}, nil),
		promise(`rows that nobody touched are unchanged`, verdict.FrozenUnchanged),
		promise(`every instance serves the target release`, verdict.InstancesServe),
		sentence(`the rollback touches no more than its ceiling`, func(d *draft, _ []string) error {
			if d.Plan == nil || d.Plan.Ceiling == nil {
				return fmt.Errorf("the plan states no ceiling: say in it how much it may touch (ceiling: {instances: 1})")
			}
			d.promise(evidence.Promise{Check: verdict.WithinCeiling, Text: verdict.WithinCeiling})
			return nil
		}, nil),
		promise(`no forbidden mix of releases serves`, verdict.NoForbiddenMix),
		sentence(`every service serves its target release`, func(d *draft, _ []string) error {
			if len(d.Together) == 0 {
				return fmt.Errorf("no other service gets a release together with %s: say which in its release.yaml (with: {NAME: RELEASE}), or say: every instance serves the target release", d.Bad.Name)
			}
			d.promise(evidence.Promise{Check: verdict.ServicesServe, Text: verdict.ServicesServe})
			return nil
		}, nil),
		promise(`users stay signed in`, verdict.SessionsAccepted),
		promise(`every cache holds what the release of before can read`, verdict.CachesReadable),
		promise(`every job from before is done`, verdict.JobsDone),
		sentence(`service stays restored when clients come back`, func(d *draft, _ []string) error {
			if d.Herd == nil {
				return fmt.Errorf("nobody comes back: say first: And 3 times as many clients come back for 10 seconds when service is restored")
			}
			d.promise(evidence.Promise{Check: verdict.StaysRestored, Text: verdict.StaysRestored})
			return nil
		}, nil),
		sentence(`the second operator is refused and told who holds it`, func(d *draft, _ []string) error {
			if d.Second == nil {
				return fmt.Errorf("nobody else comes: say first: And a second operator starts the same rollback before step 2")
			}
			d.promise(evidence.Promise{Check: verdict.SecondRefused, Text: verdict.SecondRefused})
			return nil
		}, nil),
		sentence(`{word} still reads {word}'s {word}`, func(d *draft, w []string) error {
			if err := d.needService(); err != nil {
				return err
			}
			if !slices.Contains(d.Service.Dependants, w[0]) {
				return fmt.Errorf("%s is no dependant of %s: %s names %v", w[0], d.Service.Name, d.Service.Path, d.Service.Dependants)
			}
			d.promise(evidence.Promise{Check: verdict.DependantsWork, Of: w[0], Text: fmt.Sprintf("%s still reads %s's %s", w[0], w[1], w[2])})
			return nil
		}, nil),
		sentence(`latency is back at the baseline's`, func(d *draft, _ []string) error {
			if !d.Alone() {
				return fmt.Errorf("only an @alone drill judges latency: tag the scenario @alone")
			}
			d.promise(evidence.Promise{Check: verdict.LatencyBack, Text: "latency is back at the baseline's"})
			return nil
		}, nil),

		sentence(`the first notice goes out within {n} seconds`, func(d *draft, w []string) error {
			return d.timed(verdict.FirstNotice, w[0], 1, "the first notice goes out within "+w[0]+" seconds")
		}, nil),
		promise(`the first notice goes out in time`, verdict.FirstNotice),
		sentence(`nobody waits longer than {n} minutes for an update`, func(d *draft, w []string) error {
			return d.timed(verdict.UpdatesInTime, w[0], 60, "nobody waits longer than "+w[0]+" minutes for an update")
		}, nil),
		promise(`there is no all-clear while anything is open`, verdict.NoEarlyAllClear),
		sentence(`everything that is told arrives`, func(d *draft, _ []string) error {
			if d.Plan == nil {
				return fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
			}
			if len(d.Plan.Told().Channels) == 0 {
				return fmt.Errorf("no channel has a transport, so nothing is sent: say communication: {channels: ...} in %s", d.Service.Path)
			}
			d.promise(evidence.Promise{Check: verdict.MessagesArrive, Text: verdict.MessagesArrive})
			return nil
		}, nil),
		sentence(`{word} accepts the incident`, func(d *draft, w []string) error {
			if d.Plan == nil || d.Plan.Told().Receiver != w[0] {
				return fmt.Errorf("the incident is not handed over to %s: say communication: {handoff: {to: %s}} in service.yaml or the plan, and first: When it is rolled back by its plan", w[0], w[0])
			}
			d.promise(evidence.Promise{Check: verdict.HandedOver, Text: w[0] + " accepts the incident", Of: w[0]})
			return nil
		}, nil),

		sentence(`the drill fails because {name}`, func(d *draft, w []string) error {
			if !slices.Contains(verdict.Names(), w[0]) {
				return fmt.Errorf("no check is called %q; the checks:\n    %s", w[0], strings.Join(verdict.Names(), "\n    "))
			}
			if d.Expect == nil {
				d.Expect = &evidence.Expect{}
			}
			d.Expect.Fails = w[0]
			return nil
		}, nil),
		sentence(`the plan refuses because {name}`, func(d *draft, w []string) error {
			if d.Plan == nil {
				return fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
			}
			kinds := []string{}
			for _, c := range d.Plan.Before {
				kinds = append(kinds, c.Kind())
			}
			if !slices.Contains(kinds, w[0]) {
				return fmt.Errorf("%s has no pre-check %q: it has %v", d.Plan.Path, w[0], kinds)
			}
			if d.Expect == nil {
				d.Expect = &evidence.Expect{}
			}
			if d.Expect.Refuses != "" {
				d.Expect.Also = append(d.Expect.Also, w[0])
				return nil
			}
			d.Expect.Refuses = w[0]
			return nil
		}, nil),
		sentence(`the plan gives up and takes back what it did`, func(d *draft, _ []string) error {
			if d.Plan == nil {
				return fmt.Errorf("no plan is given yet: say first: When it is rolled back by its plan")
			}
			if !slices.ContainsFunc(d.Plan.Steps, func(s service.Step) bool { return s.Fails == service.Compensates }) {
				return fmt.Errorf("%s takes nothing back: say of a step what becomes of the plan when it fails (fails: compensate), and of each how it is taken back (undo)", d.Plan.Path)
			}
			if d.Expect == nil {
				d.Expect = &evidence.Expect{}
			}
			d.Expect.GivesUp = true
			return nil
		}, nil),
	}
}

// promise is a sentence that stands for one or more checks.
func promise(form string, checks ...string) Sentence {
	s := sentence(form, nil, nil)
	s.say = func(d *draft, words []string) error {
		for _, check := range checks {
			d.promise(evidence.Promise{Check: check, Text: spoken(form, words)})
		}
		return nil
	}
	return s
}

func (d *draft) promise(p evidence.Promise) { d.Promises = append(d.Promises, p) }

// breaker promises something of the service's breaker, which must be there.
func (d *draft) breaker(p evidence.Promise) error {
	if err := d.needService(); err != nil {
		return err
	}
	if d.Service.Breaker == nil {
		return fmt.Errorf("%s has no breaker: say when it trips (breaker: {}, for the usual rules)", d.Service.Path)
	}
	d.promise(p)
	return nil
}

// timed is a promise with a time.
func (d *draft) timed(check, count string, seconds float64, text string) error {
	n, err := number(count)
	if err != nil {
		return err
	}
	if n <= 0 {
		return fmt.Errorf("expected a time above 0, found %s", count)
	}
	d.promise(evidence.Promise{Check: check, Text: text, Within: n * seconds})
	return nil
}

func (d *draft) within(count, unit string, seconds float64) error {
	n, err := number(count)
	if err != nil {
		return err
	}
	if n <= 0 {
		return fmt.Errorf("expected a time above 0, found %s %s", count, unit)
	}
	text := fmt.Sprintf("service is restored within %s %s", count, unit)
	d.promise(evidence.Promise{Check: verdict.Restored, Text: text})
	d.promise(evidence.Promise{Check: verdict.RestoredInTime, Text: text, Within: n * seconds})
	return nil
}

// expects checks that the release states what the sentence takes from it.
func (d *draft) expects(text, key string) error {
	if d.Bad == nil {
		return fmt.Errorf(`nothing is deployed yet: say first: When release "NAME" is deployed over "NAME"`)
	}
	states := map[string]bool{"harms": len(d.Bad.Harms) > 0, "traps": len(d.Bad.Traps) > 0, "good": d.Bad.Good}
	if !states[key] {
		return fmt.Errorf("%q takes what the release states, but %s/release.yaml has no `%s`", text, d.Bad.Dir, key)
	}
	return nil
}

// spoken is a form with its words in place of the braces.
func spoken(form string, words []string) string {
	for _, w := range words {
		if i, j := strings.IndexByte(form, '{'), strings.IndexByte(form, '}'); i >= 0 && j > i {
			form = form[:i] + w + form[j+1:]
		}
	}
	return form
}
