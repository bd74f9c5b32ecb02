package verdict_test

import (
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// keptWaiting has people keep the rollback waiting from one instant to another.
func keptWaiting(from, to float64) change {
	return func(l *log) {
		l.at(from, &evidence.Approval{By: "ada", Event: evidence.ApprovalPaused, Why: "look first"})
		l.at(from, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalWaits, For: "step 2: the code"})
		l.at(to, &evidence.Approval{By: "ada", Event: evidence.ApprovalResumed})
		l.at(to, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalGoesOn, For: "step 2: the code", Seconds: to - from})
	}
}

// approvedAfter has people approve the second step.
func approvedAfter(from, to float64) change {
	return func(l *log) {
		l.at(from, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalAsked, For: "step 2: the code", Seconds: 60})
		l.at(to, &evidence.Approval{By: "ada", Event: evidence.ApprovalApproved, For: "step 2: the code", Seconds: to - from})
	}
}

func aborted(l *log) {
	l.drop(func(e *evidence.Event) bool { return e.End != nil })
	l.at(46.5, &evidence.Approval{By: "ada", Event: evidence.ApprovalAborted, Why: "the wrong drill"})
	l.at(end, &evidence.End{How: "aborted", Why: "by ada: the wrong drill"})
}

func within(seconds float64) change {
	return run(func(r *evidence.Run) {
		r.Promises = append(r.Promises, evidence.Promise{Check: verdict.RestoredInTime, Text: "in time", Within: seconds})
	})
}

// What people take of the time counts, and is told apart: a pause can neither make a drill faster nor break its promise, and
// approvals are part of the rollback.
func TestPeopleTakeTime(t *testing.T) {
	cases := []struct {
		name           string
		change         change
		verdict        string
		people, paused float64
		state          string // of the promise about time
		says           string // in the headline
	}{
		{"nobody does", within(30), verdict.Pass, 0, 0, verdict.Kept, "promises were kept."},
		{"a pause between steps", all(within(30), keptWaiting(25.6, 25.7)), verdict.Pass, 0.1, 0.1, verdict.Kept, "People kept it waiting for 0.1 s"},
		{"an approval", all(within(30), approvedAfter(22.2, 25.2)), verdict.Pass, 3, 0, verdict.Kept, "People kept it waiting for 3.0 s"},
		{"too late without a pause", within(5), verdict.Fail, 0, 0, verdict.Broken, ""},
		{"too late, and an approval is part of it", all(within(5), approvedAfter(22.2, 28.2)), verdict.Fail, 6, 0, verdict.Broken, ""},
		{"too late, and a pause took it", all(within(5), keptWaiting(22.2, 28.2)), verdict.Inconclusive, 6, 6, verdict.Unjudged, "People kept it waiting for 6.0 s"},
		{"too late with a pause and without it", all(within(5), keptWaiting(22.2, 22.4)), verdict.Fail, 0.2, 0.2, verdict.Broken, ""},
		{"a pause before the decision", all(within(30), keptWaiting(19, 21)), verdict.Pass, 0, 0, verdict.Kept, "promises were kept."},
		{"a pause after the command returned", all(within(30), keptWaiting(31, 33)), verdict.Pass, 0, 0, verdict.Kept, "promises were kept."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			state := ""
			for _, p := range v.Promises {
				if p.Name == verdict.RestoredInTime {
					state = p.State + ": " + p.Finding
				}
			}
			if v.Verdict != c.verdict || v.Speed.People != c.people || v.Speed.Paused != c.paused || !strings.HasPrefix(state, c.state) || !strings.Contains(v.Because, c.says) {
				t.Errorf("expected %s, %g s and %g s, %s, %q\nfound %s, %g s and %g s, %s, %q", c.verdict, c.people, c.paused, c.state, c.says, v.Verdict, v.Speed.People, v.Speed.Paused, state, v.Because)
			}
		})
	}
}

// An aborted drill is inconclusive, whatever else it has shown, and says who aborted it and why.
func TestAnAbortedDrillIsInconclusive(t *testing.T) {
	for name, change := range map[string]change{
		"that would have passed": aborted,
		"that would have failed": all(aborted, fail("checkout", 100, 31, 40)),
		"whose end says nothing of it": func(l *log) {
			l.at(46.5, &evidence.Approval{By: "ada", Event: evidence.ApprovalAborted, Why: "the wrong drill"})
		},
		"while it waited for approval": all(aborted, func(l *log) {
			l.at(46.4, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalAsked, For: "step 2"})
		}),
	} {
		t.Run(name, func(t *testing.T) {
			l := good()
			change(l)
			v := l.judge()
			if v.Verdict != verdict.Inconclusive || v.Complete || !strings.Contains(v.Because, "aborted") || !strings.Contains(v.Because, "by ada") {
				t.Errorf("expected inconclusive, aborted by ada, found %s: %s", v.Verdict, v.Because)
			}
		})
	}
}
