package verdict_test

import (
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// inEarnest is the log of a plan of two steps, with a pre-check and a validation, that did as it says.
func inEarnest(change func(run *evidence.Run, events []evidence.Kind) []evidence.Kind) verdict.Verdict {
	run := &evidence.Run{Earnest: &evidence.Earnest{Operator: "ada"}, Lease: true, Windows: evidence.Windows{Stability: 900},
		Plan: evidence.Plan{Before: []string{"the database"}, Steps: []evidence.PlanStep{{Name: "one"}, {Name: "two"}}, After: []string{"it runs"}}}
	step := func(part string, index int, outcome, why string) *evidence.Step {
		return &evidence.Step{Part: part, Index: index, Name: part, Event: "ended", Outcome: outcome, Error: why}
	}
	events := []evidence.Kind{
		step(evidence.PartLock, 1, evidence.StepOK, ""),
		step(evidence.PartBefore, 1, evidence.StepOK, ""),
		step(evidence.PartStep, 1, evidence.StepOK, ""),
		step(evidence.PartStep, 2, evidence.StepOK, ""),
		step(evidence.PartAfter, 1, evidence.StepOK, ""),
		step(evidence.PartAfter, 1, evidence.StepOK, ""),
		&evidence.Clock{Name: evidence.ClockWatchEnded},
		&evidence.End{How: "complete"},
	}
	events = change(run, events)
	f := verdict.New()
	for i, k := range append([]evidence.Kind{run}, events...) {
		e := evidence.Event{N: int64(i + 1), T: evidence.Offset(i)}
		k.Put(&e)
		f.Add(e)
	}
	return verdict.Judge(f)
}

func TestAPlanInEarnestIsJudged(t *testing.T) {
	at := func(i int, outcome, why string) func(*evidence.Run, []evidence.Kind) []evidence.Kind {
		return func(_ *evidence.Run, events []evidence.Kind) []evidence.Kind {
			s := events[i].(*evidence.Step)
			s.Outcome, s.Error = outcome, why
			return events
		}
	}
	without := func(from, to int) func(*evidence.Run, []evidence.Kind) []evidence.Kind {
		return func(_ *evidence.Run, events []evidence.Kind) []evidence.Kind {
			return append(events[:from:from], events[to:]...)
		}
	}
	back := func(outcome string) func(*evidence.Run, []evidence.Kind) []evidence.Kind {
		return func(r *evidence.Run, events []evidence.Kind) []evidence.Kind {
			events = at(3, evidence.StepFailed, "no space")(r, events)
			undone := func(index int, outcome string) evidence.Kind {
				return &evidence.Step{Part: evidence.PartUndo, Index: index, Name: "undo", Event: "ended", Outcome: outcome}
			}
			return append(append(events[:4:4], undone(2, evidence.StepOK), undone(1, outcome)), events[6:]...)
		}
	}
	for _, test := range []struct {
		name     string
		change   func(*evidence.Run, []evidence.Kind) []evidence.Kind
		verdict  string
		because  string
		complete bool
	}{
		{"as it should", func(_ *evidence.Run, e []evidence.Kind) []evidence.Kind { return e }, verdict.Pass, "were not looked at", false},
		{"a step failed, and what was done was taken back", back(evidence.StepOK), verdict.Fail, "step 2 (step): failed: no space; 2 steps were taken back", false},
		{"a step failed, and what was done could not be taken back", back(evidence.StepTimeout), verdict.Fail, "taking back step 1 (undo) ran out of time", false},
		{"a pre-check refused", func(r *evidence.Run, e []evidence.Kind) []evidence.Kind {
			return without(2, 7)(r, at(1, evidence.StepRefused, "another database")(r, e))
		}, verdict.Fail, "another database", false},
		{"a pre-check was left out", func(r *evidence.Run, e []evidence.Kind) []evidence.Kind {
			r.Earnest.Without, r.Earnest.Why = []string{"backup"}, "no time"
			return e
		}, verdict.Inconclusive, "ada left backup out: no time", false},
		{"a pre-check was not asked", without(1, 2), verdict.Inconclusive, "0 of 1 were asked", false},
		{"a step failed", at(3, evidence.StepFailed, "exited with 1"), verdict.Fail, "step 2 (step): failed: exited with 1", false},
		{"a step was not run", without(3, 4), verdict.Inconclusive, "1 of 2 were run", false},
		{"a step was run earlier", at(2, evidence.StepEarlier, "by an earlier run"), verdict.Pass, "Every step ended", false},
		{"the lease was lost", at(3, evidence.StepRefused, "the lease on rollbacks of tap was taken over by bob"), verdict.Fail, "taken over by bob", false},
		{"the validation did not hold", at(4, evidence.StepFailed, "it does not run"), verdict.Fail, "it does not run", false},
		{"the validation could not be asked", at(4, evidence.StepFailed, "could not be checked: no instances"), verdict.Inconclusive, "could not be checked: no instances", false},
		{"it did not go on to hold", at(5, evidence.StepFailed, "it does not run any more"), verdict.Fail, "it does not run any more", false},
		{"it was not watched", without(6, 7), verdict.Inconclusive, "not watched to the end", false},
		{"there is no validation", func(r *evidence.Run, e []evidence.Kind) []evidence.Kind {
			r.Plan.After = nil
			return append(e[:4:4], e[6:]...)
		}, verdict.Inconclusive, "the plan states none", false},
		{"it was aborted", func(_ *evidence.Run, e []evidence.Kind) []evidence.Kind {
			e[7] = &evidence.End{How: "aborted", Why: "by bob: the wrong day"}
			return e
		}, verdict.Inconclusive, "the wrong day", false},
		{"the log was cut off", without(7, 8), verdict.Inconclusive, "has no end", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := inEarnest(test.change)
			if v.Verdict != test.verdict || !strings.Contains(v.Because, test.because) || v.Complete != test.complete {
				t.Errorf("expected %s, %q, found %s, %q: %+v", test.verdict, test.because, v.Verdict, v.Because, v.Promises)
			}
		})
	}
}
