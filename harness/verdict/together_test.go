package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// together has billing deployed with b2 at 17 and rolled back to b1 at an instant.
func together(back float64) change {
	return func(l *log) {
		l.run.Together = []evidence.Together{{Service: "billing", Release: "b2", Target: "b1"}}
		for t := 0.6; t < destroyed; t += 0.5 {
			release := "b1"
			if t >= 17 && t < back {
				release = "b2"
			}
			l.at(t, &evidence.Instance{Name: "billing-1", Service: "billing", Up: true, Ready: true, Release: release})
		}
	}
}

// gaveUp is a plan whose second step fails, and which takes back both: at the end everything is as at the decision.
func gaveUp(l *log) {
	l.run.Expect = &evidence.Expect{GivesUp: true}
	l.run.Plan.Steps[0].Undo, l.run.Plan.Steps[1].Undo, l.run.Plan.Steps[1].Fails = "up", "./deploy v2", "compensate"
	ending(evidence.PartStep, 2, evidence.StepFailed)(l)
	for t := 0.6; t < destroyed; t += 0.5 {
		l.at(t, &evidence.Instance{Name: "billing-1", Service: "billing", Up: true, Ready: true, Release: "b1"})
	}
	for i, t := range []float64{30.1, 30.2} {
		l.at(t, &evidence.Step{Part: evidence.PartUndo, Index: 2 - i, Name: "taking back", Event: "started"})
		l.at(t+0.05, &evidence.Step{Part: evidence.PartUndo, Index: 2 - i, Name: "taking back", Event: "ended", Outcome: evidence.StepOK})
	}
	l.each(func(e *evidence.Event) {
		switch {
		case e.Instance != nil && e.Instance.Service == "shop" && float64(e.T) > 26:
			e.Instance.Release = "v2"
		case e.Schema != nil && float64(e.T) > 30:
			e.Schema = &evidence.Schema{Node: e.Schema.Node, At: e.Schema.At, Digest: "2"}
		}
	})
}

func togetherCases() []checkCase {
	billing := func(a, b float64, do func(*evidence.Instance)) change {
		return all(together(26), instance("billing-1", a, b, do))
	}
	undo := func(index int, outcome string) change { return all(gaveUp, ending(evidence.PartUndo, index, outcome)) }
	const kept, broken, unjudged, none = verdict.Kept, verdict.Broken, verdict.Unjudged, verdict.NotApplicable
	const pass, fails, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	return []checkCase{
		{verdict.ServicesServe, "nothing else was deployed", func(*log) {}, none, pass, "no other service is rolled back together with it"},
		{verdict.ServicesServe, "it comes back with it", together(26), kept, pass, "1 instance of billing serves b1"},
		{verdict.ServicesServe, "it does not", together(100), broken, fails, "billing-1 serves b2, not b1"},
		{verdict.ServicesServe, "it comes back too late to be restored", together(41), kept, fails, "1 instance of billing serves b1"},
		{verdict.ServicesServe, "it is down", billing(35, 60, func(i *evidence.Instance) { i.Up = false }), broken, fails, "billing-1 is down"},
		{verdict.ServicesServe, "it is not ready", billing(35, 60, func(i *evidence.Instance) { i.Ready = false }), broken, fails, "billing-1 is not ready"},
		{verdict.ServicesServe, "it does not say", billing(35, 60, func(i *evidence.Instance) { i.Release = "" }), unjudged, open, "billing-1 does not say its release"},
		{verdict.ServicesServe, "nobody looks any more", all(together(26), noReading("billing-1", 30, 60)), unjudged, open, "billing-1 was not seen for more than three beats"},
		{verdict.Restored, "it is restored when all are", together(33), broken, fails, "billing-1 serves b2"},

		{verdict.TakenBack, "the plan is to succeed", func(*log) {}, none, pass, "not expected to give up"},
		{verdict.TakenBack, "it did", gaveUp, kept, pass, "step 2 (the code) failed with exit code 1: exit status 1, and all that was done was taken back"},
		{verdict.TakenBack, "nothing failed", run(func(r *evidence.Run) { r.Expect = &evidence.Expect{GivesUp: true} }), broken, fails, "none of its steps failed"},
		{verdict.TakenBack, "one step is not taken back", all(gaveUp, func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Step != nil && e.Step.Part == evidence.PartUndo && e.Step.Index == 1
			})
		}), broken, fails, "step 1 (the column) was not taken back"},
		{verdict.TakenBack, "there is nothing to take back of it", all(gaveUp, func(l *log) {
			l.run.Plan.Steps[0].Undo = "nothing"
			l.drop(func(e *evidence.Event) bool {
				return e.Step != nil && e.Step.Part == evidence.PartUndo && e.Step.Index == 1
			})
		}), kept, pass, "all that was done was taken back"},
		{verdict.TakenBack, "what takes it back fails", undo(2, evidence.StepFailed), broken, fails, "taking back step 2 (the code) failed with exit code 1"},
		{verdict.TakenBack, "an instance stays", all(gaveUp, instance("shop-2", 30, 60, func(i *evidence.Instance) { i.Release = "v1" })), broken, fails, "shop-2 serves v1, and served v2 at the decision"},
		{verdict.TakenBack, "the schema stays", all(gaveUp, schema("streaming", "audit", evidence.Schema{Digest: "1", Equal: true})), broken, fails, "the streaming replica has not the schema that it had at the decision"},
		{verdict.TakenBack, "the schema could not be read", all(gaveUp, schema("streaming", "audit", evidence.Schema{Error: "timeout"}), schema("streaming", "watch", evidence.Schema{Error: "timeout"})), unjudged, open, "was not read before and after"},
		{verdict.TakenBack, "writes are lost", all(gaveUp, fate("checkout", evidence.Lost, 1)), broken, fails, "acknowledged writes is lost"},
		{verdict.TakenBack, "nobody looked at an instance any more", all(gaveUp, noReading("shop-1", 35, 60)), unjudged, open, "shop-1 was not seen at the end"},
		{verdict.NoForbiddenMix, "also where the plan gives up", all(gaveUp, forbids("v2", map[string]string{"schema": "v2"}, 1)), broken, fails, "v2 served with the schema of v2"},
	}
}
