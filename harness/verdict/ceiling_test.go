package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// touches has the plan allow one instance, and so many counted as touched before step 2 and at the end.
func touches(before, last float64) change {
	return func(l *log) {
		l.run.Plan.Ceiling = map[string]float64{"instances": 1}
		for _, x := range []struct{ t, n float64 }{{25.65, before}, {29.9, last}} {
			l.at(x.t, &evidence.Probe{Name: evidence.ProbeImpact, Of: "instances touched", Value: x.n, OK: true})
		}
	}
}

func ceilingCases() []checkCase {
	approved := func(text string) change {
		return func(l *log) {
			l.at(25.66, &evidence.Approval{By: "backout", Event: evidence.ApprovalAsked, For: evidence.BeyondCeiling + text, Seconds: 60})
			l.at(25.67, &evidence.Approval{By: "ben", Event: evidence.ApprovalApproved, For: evidence.BeyondCeiling + text})
		}
	}
	return []checkCase{
		{verdict.WithinCeiling, "the plan states none", func(*log) {}, verdict.NotApplicable, verdict.Pass, "states no ceiling"},
		{verdict.WithinCeiling, "at it", touches(1, 1), verdict.Kept, verdict.Pass, "1 instances touched, at most 1 instances"},
		{verdict.WithinCeiling, "beyond it", touches(1, 3), verdict.Broken, verdict.Fail, "3 instances touched, at most 1"},
		{verdict.WithinCeiling, "beyond it for a while", touches(3, 1), verdict.Broken, verdict.Fail, "3 instances touched, at most 1"},
		{verdict.WithinCeiling, "beyond it, and a person approved that", all(touches(2, 3), approved("2 instances touched")), verdict.Kept, verdict.Pass, "which ben approved"},
		{verdict.WithinCeiling, "beyond it, and a person approved something else", all(touches(2, 3), approved("2 rows touched")), verdict.Broken, verdict.Fail, "3 instances touched"},
		{verdict.WithinCeiling, "nobody counted", run(func(r *evidence.Run) { r.Plan.Ceiling = map[string]float64{"rows": 5} }), verdict.Unjudged, verdict.Inconclusive, "not counted how many rows"},
		{verdict.WithinCeiling, "the last count was lost", all(touches(1, 1), func(l *log) {
			l.at(29.95, &evidence.Probe{Name: evidence.ProbeImpact, Of: "instances touched", Error: "gone"})
		}), verdict.Unjudged, verdict.Inconclusive, "not counted"},
	}
}
