package verdict_test

import (
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// operators has a second one come before step 2; how, which may be nil, changes the event of being refused.
func operators(how func(second *evidence.Step)) change {
	return func(l *log) {
		l.run.Second = &evidence.Second{Before: 2}
		holder := evidence.Holder{Operator: "operator 1", Host: "here", PID: 17, Since: time.Unix(1, 0), Plan: "rollback", Steps: 2}
		first := holder
		l.at(21.9, &evidence.Step{Part: evidence.PartLock, Index: 1, Event: "ended", Outcome: evidence.StepOK, Holder: &first})
		holder.Step, holder.StepName = 2, "the code"
		s := &evidence.Step{Part: evidence.PartLock, Index: 1, Event: "ended", Outcome: evidence.StepRefused, Holder: &holder, By: "operator 2",
			Error: "operator 1 runs it: wait"}
		if how != nil {
			how(s)
		}
		l.at(25.65, s)
	}
}

func operatorCases() []checkCase {
	told := func(do func(h *evidence.Holder)) change {
		return operators(func(s *evidence.Step) { do(s.Holder) })
	}
	ran := func(part string) change {
		return func(l *log) {
			l.at(26, &evidence.Step{Part: part, Index: 1, Name: "the column", Event: "started", By: "operator 2"})
			l.at(26.2, &evidence.Step{Part: part, Index: 1, Name: "the column", Event: "ended", Outcome: evidence.StepFailed, By: "operator 2"})
		}
	}
	in := operators(func(s *evidence.Step) { s.Outcome, s.Error = evidence.StepOK, "" })
	return []checkCase{
		{verdict.PlanAsWritten, "the machine died, and the plan was started again", dies(evidence.StepOK), verdict.Kept, verdict.Pass, "the machine that ran them died during step 2, and the plan was started again"},
		{verdict.PlanAsWritten, "the machine died in a step that must not be run twice", dies(evidence.StepRefused), verdict.Broken, verdict.Fail, "step 2 of 2 (the code) refused: must not be run twice"},
		{verdict.PlanAsWritten, "the machine died, and nobody started the plan again", dies(""), verdict.Broken, verdict.Fail, "step 2 of 2 (the code) was not run again: the machine died"},
		{verdict.PlanAsWritten, "the machine lived", func(l *log) {
			l.run.Death = &evidence.Death{Step: 2}
			l.at(25.7, &evidence.Fault{Name: "death", Of: "step 2", Event: "asked"})
			l.at(30, &evidence.Fault{Name: "death", Of: "step 2", Event: "not in force", Error: "the step ended before anything was seen of it"})
		}, verdict.Kept, verdict.Inconclusive, ""},
		{verdict.PlanAsWritten, "the step was not come to in which the machine was to die", all(ending(evidence.PartStep, 1, evidence.StepFailed), ending(evidence.PartStep, 2, evidence.StepSkipped),
			run(func(r *evidence.Run) { r.Death = &evidence.Death{Step: 2} })), verdict.Broken, verdict.Inconclusive, "step 1 of 2"},

		{verdict.SecondRefused, "nobody else comes", func(*log) {}, verdict.NotApplicable, verdict.Pass, "nobody else starts"},
		{verdict.SecondRefused, "refused and told", operators(nil), verdict.Kept, verdict.Pass, "operator 2 was refused at 25.6 s and told: operator 1 runs it: wait"},
		{verdict.SecondRefused, "let in", in, verdict.Broken, verdict.Fail, "operator 2 was let in at 25.6 s, beside the first one, before step 2; 0 steps ran"},
		{verdict.SecondRefused, "let in, and what it ran is not the first one's", all(in, ran(evidence.PartStep)), verdict.Broken, verdict.Fail, "1 step ran a second time"},
		{verdict.SecondRefused, "let in, and stopped by a pre-check", all(in, ran(evidence.PartBefore)), verdict.Broken, verdict.Fail, "0 steps ran"},
		{verdict.SecondRefused, "refused, but ran", all(operators(nil), ran(evidence.PartStep)), verdict.Broken, verdict.Fail, "was refused, but ran 1 step"},
		{verdict.SecondRefused, "not told anything", operators(func(s *evidence.Step) { s.Holder = nil }), verdict.Broken, verdict.Fail, "not told who holds the lock"},
		{verdict.SecondRefused, "told a wrong name", told(func(h *evidence.Holder) { h.Operator = "carol" }), verdict.Broken, verdict.Fail, "not rightly told who:"},
		{verdict.SecondRefused, "told a wrong process", told(func(h *evidence.Holder) { h.PID = 18 }), verdict.Broken, verdict.Fail, "not rightly told where:"},
		{verdict.SecondRefused, "told another time", told(func(h *evidence.Holder) { h.Since = time.Unix(2, 0) }), verdict.Broken, verdict.Fail, "not rightly told since when:"},
		{verdict.SecondRefused, "told an old step of another plan", told(func(h *evidence.Holder) { h.Step, h.Plan = 1, "other" }), verdict.Broken, verdict.Fail, "not rightly told which plan and how far it is:"},
		{verdict.SecondRefused, "not told what to do", operators(func(s *evidence.Step) { s.Error = "" }), verdict.Broken, verdict.Fail, "not rightly told what to do"},
		{verdict.SecondRefused, "the lock could not be asked for", operators(func(s *evidence.Step) { s.Outcome, s.Holder, s.Error = evidence.StepFailed, nil, "no such folder" }), verdict.Unjudged, verdict.Inconclusive, "no such folder"},
		{verdict.SecondRefused, "it did not come so far", run(func(r *evidence.Run) { r.Second = &evidence.Second{Before: 2} }), verdict.Unjudged, verdict.Inconclusive, "did not come as far as step 2"},
		{verdict.SecondRefused, "the first one's lock was not seen", all(operators(nil), func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Step != nil && e.Step.Part == evidence.PartLock && e.Step.By == ""
			})
		}), verdict.Unjudged, verdict.Inconclusive, "not seen who holds the lock"},
	}
}

// dies has the machine die during step 2, which has another end afterwards; empty: none.
func dies(again string) change {
	return func(l *log) {
		l.run.Death = &evidence.Death{Step: 2}
		l.drop(func(e *evidence.Event) bool {
			return e.Step != nil && e.Step.Part == evidence.PartStep && e.Step.Index == 2 && e.Step.Event == "ended"
		})
		step := func(t float64, event, outcome, why string) {
			l.at(t, &evidence.Step{Part: evidence.PartStep, Index: 2, Name: "the code", Event: event, Outcome: outcome, Error: why})
		}
		fault := func(t float64, event string) { l.at(t, &evidence.Fault{Name: "death", Of: "step 2", Event: event}) }
		fault(25.7, "asked")
		fault(26, "in force")
		step(26, "ended", evidence.StepDied, "the machine died")
		fault(26.1, "lifted")
		fault(26.2, "gone")
		switch again {
		case evidence.StepOK:
			step(26.3, "started", "", "")
			step(returned, "ended", evidence.StepOK, "")
		case evidence.StepRefused:
			step(26.3, "ended", evidence.StepRefused, "must not be run twice")
		}
	}
}
