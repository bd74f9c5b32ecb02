package report

import (
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

const broken = verdict.SessionsAccepted // the check that the controls below name

// control is a drill of a sabotaged plan, and what became of it.
func control(v string, met bool, state string, change func(*Entry)) Entry {
	e := Entry{Dir: "control-9",
		Run: evidence.Run{Service: evidence.Service{Name: "web"}, Release: evidence.Release{Name: "v2"}, Good: "v1",
			Plan:   evidence.Plan{Path: "releases/v2/leaves-tokens.yaml", Sabotage: "tokens are left"},
			Expect: &evidence.Expect{Fails: broken}},
		Verdict: verdict.Verdict{Verdict: v, Expected: &met, ExpectedWhy: "as the verdict says",
			Promises: []verdict.Promise{{Name: verdict.Restored, State: verdict.Broken}, {Name: broken, State: state}}}}
	if change != nil {
		change(&e)
	}
	return e
}

// rightDrill is the same drill by the right plan.
func rightDrill(v string) Entry {
	return Entry{Run: evidence.Run{Service: evidence.Service{Name: "web"}, Release: evidence.Release{Name: "v2"}, Good: "v1",
		Plan: evidence.Plan{Path: "releases/v2/rollback.yaml"}}, Verdict: verdict.Verdict{Verdict: v}}
}

func mutant(equivalent string) func(*Entry) {
	return func(e *Entry) {
		e.Run.Expect, e.Run.Plan.Sabotage, e.Verdict.Expected = nil, "", nil
		e.Run.Plan.Path = "releases/v2/rollback.yaml"
		e.Run.Mutant = &evidence.Mutant{Rule: "drop a step", What: "without step 1", Equivalent: equivalent}
	}
}

// restless makes a drill one that judges latency on a machine that was not quiet.
func restless(e *Entry) {
	e.Run.Alone = true
	e.Verdict.Assumptions = []verdict.Assumption{{Name: verdict.BaselineSteady}, {Name: verdict.NodesRead, Held: true}}
}

func TestWhatBecomesOfASabotage(t *testing.T) {
	for _, c := range []struct {
		name        string
		drill       Entry
		right       []Entry
		result      string
		fails, open string // a part of what is said to be wrong, or open; none
	}{
		{"killed for its reason", control(verdict.Fail, true, verdict.Broken, nil), []Entry{rightDrill(verdict.Pass)}, Killed, "", ""},
		{"failed for another reason", control(verdict.Fail, false, verdict.Kept, nil), []Entry{rightDrill(verdict.Pass)}, OtherReason, OtherReason, ""},
		{"passed", control(verdict.Pass, false, verdict.Kept, nil), []Entry{rightDrill(verdict.Pass)}, Survived, Survived, ""},
		{"inconclusive", control(verdict.Inconclusive, false, verdict.Unjudged, nil), []Entry{rightDrill(verdict.Pass)}, NotShown, "", NotShown},
		{"failed, and its check could not be judged", control(verdict.Fail, false, verdict.Unjudged, nil), []Entry{rightDrill(verdict.Pass)}, OtherReason, OtherReason, ""},
		{"the machine was not quiet", control(verdict.Inconclusive, false, verdict.Unjudged, restless), []Entry{withAlone(rightDrill(verdict.Pass))}, NotQuiet, "", NotQuiet},
		{"the machine was not quiet, and something else failed", control(verdict.Fail, false, verdict.Unjudged, restless), []Entry{withAlone(rightDrill(verdict.Pass))}, NotQuiet, "", NotQuiet},
		{"the machine was not quiet, and its check was kept", control(verdict.Fail, false, verdict.Kept, restless), []Entry{withAlone(rightDrill(verdict.Pass))}, OtherReason, OtherReason, ""},
		{"not here", control("", false, "", func(e *Entry) { e.NotApplicable = "no cache"; e.Verdict = verdict.Verdict{} }), nil, NotHere, "", ""},
		{"broke", control("", false, "", func(e *Entry) { e.Broke = "no disk"; e.Verdict = verdict.Verdict{} }), []Entry{rightDrill(verdict.Pass)}, BrokeDown, BrokeDown, ""},
		{"the right drill was not run", control(verdict.Fail, true, verdict.Broken, nil), nil, Killed, "", NotRun},
		{"the right drill fails too", control(verdict.Fail, true, verdict.Broken, nil), []Entry{rightDrill(verdict.Fail)}, Killed, "the right plan: fail", ""},
		{"the right drill of latency is another", control(verdict.Fail, true, verdict.Broken, nil), []Entry{withAlone(rightDrill(verdict.Pass))}, Killed, "", NotRun},
		{"a mutant fails", control(verdict.Fail, false, verdict.Kept, mutant("")), []Entry{rightDrill(verdict.Pass)}, Killed, "", ""},
		{"a mutant passes", control(verdict.Pass, false, verdict.Kept, mutant("")), []Entry{rightDrill(verdict.Pass)}, Survived, Survived, ""},
		{"a mutant passes, and why is written", control(verdict.Pass, false, verdict.Kept, mutant("it is done already")), []Entry{rightDrill(verdict.Pass)}, Equivalent, "", ""},
		{"a mutant called equivalent fails", control(verdict.Fail, false, verdict.Kept, mutant("it is done already")), []Entry{rightDrill(verdict.Pass)}, Killed, "", ""},
		{"a mutant is inconclusive", control(verdict.Inconclusive, false, verdict.Kept, mutant("")), []Entry{rightDrill(verdict.Pass)}, NotShown, "", NotShown},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := Set{Runs: append([]Entry{c.drill}, c.right...)}.Kills()
			rows := slices.Concat(k.Controls, k.Mutants)
			if len(rows) != 1 || rows[0].Result != c.result {
				t.Fatalf("expected %q, found %+v", c.result, rows)
			}
			if killed := len(k.Controls) == 1 && !slices.Contains(k.Unkilled, broken); killed != (c.result == Killed && len(k.Controls) == 1) {
				t.Errorf("the check %q is among the unkilled ones %v", broken, k.Unkilled)
			}
			k.Unnamed = nil // of one control
			fails, open := k.Wrong()
			for what, x := range map[string]struct {
				found []string
				part  string
			}{"wrong": {fails, c.fails}, "open": {open, c.open}} {
				if text := strings.Join(x.found, "\n"); (x.part == "") != (text == "") || !strings.Contains(text, x.part) {
					t.Errorf("%s: expected %q, found %q", what, x.part, text)
				}
			}
		})
	}
}

func withAlone(e Entry) Entry { e.Run.Alone = true; return e }
