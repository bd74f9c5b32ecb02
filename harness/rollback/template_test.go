package rollback_test

import (
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

func told(shortened float64, change func(r *evidence.Run)) *rollback.Story {
	r := &evidence.Run{
		Service: evidence.Service{Name: "web"}, Good: "v1", Release: evidence.Release{Name: "v2"},
		Plan: evidence.Plan{Name: "the old code", Steps: []evidence.PlanStep{{Name: "one"}, {Name: "two"}}, After: []string{"a", "b"}},
		Communication: &evidence.Communication{FirstNotice: 300, Updates: 300, Stable: 900, Shortened: shortened,
			TellFirst: service.TellAtOnce, AllClear: service.AllClearWhenDone},
	}
	if change != nil {
		change(r)
	}
	return rollback.NewStory(r, shortened > 1)
}

// at is an event, or where it is nil the passing of time with what is open.
type at struct {
	t    evidence.Offset
	k    evidence.Kind
	open []string
	says []string // channel and kind of each message with a part of its text, "status action: Decided"
}

func clock(name, why string) evidence.Kind { return &evidence.Clock{Name: name, Why: why} }

func ended(part string, index int, name, outcome, why string) evidence.Kind {
	return &evidence.Step{Part: part, Index: index, Name: name, Event: "ended", Outcome: outcome, Error: why}
}

func journeys(name string, all, failed int) []at {
	var list []at
	for i := range all {
		j := &evidence.Journey{Name: name, User: i % 10, Outcome: evidence.OK}
		if i < failed {
			j.Outcome = evidence.Failed
		}
		list = append(list, at{k: j})
	}
	return list
}

func TestTheTemplate(t *testing.T) {
	t.Parallel()
	const stake, status = "stakeholders ", "status action: "
	begin := []at{
		{t: 10, k: clock(evidence.ClockDeployBegun, ""), says: []string{status + "web: Deploying v2 over v1."}},
		{t: 12, k: clock(evidence.ClockDeployed, ""), says: []string{status + "web: Deployed v2."}},
	}
	decided := at{t: 20, k: clock(evidence.ClockDecided, "checkout fails."), says: []string{status + "web: Decided to roll back: checkout fails.",
		stake + "first notice: web: v2 is rolled back to v1 (plan: the old code, 2 steps), because checkout fails. Impact: "}}
	returned := at{t: 30, k: clock(evidence.ClockCommandReturned, ""), says: []string{status + "web: The last command has returned."}}
	for _, c := range []struct {
		name      string
		shortened float64
		change    func(r *evidence.Run)
		story     []at
	}{
		{"milestones", 1, nil, slices.Concat(begin, []at{
			decided,
			{t: 21, k: clock(evidence.ClockStarted, ""), says: []string{status + "web: Rollback started.", stake + "milestone: web: Rollback started: 2 steps."}},
			{t: 21, k: &evidence.Step{Part: "step", Index: 1, Name: "one", Event: "started"}, says: []string{status + "web: Step 1 of 2 started: one."}},
			{t: 22, k: &evidence.Step{Part: "step", Index: 1, Name: "one", Event: "output", Output: "x"}},
			{t: 24, k: ended("step", 1, "one", "ok", ""), says: []string{status + "web: Step 1 of 2 ended: one: ok.", stake + "milestone: web: Step 1 of 2 completed: one (50 % of the plan)."}},
			{t: 26, k: ended("step", 2, "two", "failed", "no space."), says: []string{status + "web: Step 2 of 2 ended: two: failed: no space.", stake + "milestone: web: Step 2 of 2 failed: two: no space. The rollback stopped there."}},
			returned,
			{t: 31, k: ended("after", 1, "a", "ok", ""), says: []string{status}},
			{t: 31, k: ended("after", 2, "b", "ok", ""), says: []string{status, stake + "milestone: web: Validation passed: 2 checks."}},
		})},
		{"nobody observes users", 1, nil, []at{{t: 20, k: clock(evidence.ClockDecided, ""), says: []string{status, "because it was ordered. Impact: not observed. The next"}}}},
		{"a validation that fails", 1, nil, []at{decided, {t: 31, k: ended("after", 1, "a", "failed", "never"), says: []string{status, stake + "milestone: web: Validation failed: a: never."}}}},
		{"a pre-check that stops it", 1, nil, []at{decided, {t: 21, k: ended("before", 1, "the database is web", "refused", "it is shop"),
			says: []string{status + "web: Pre-check ended: the database is web: refused: it is shop.", stake + "milestone: web: The rollback stopped before it changed anything: the database is web: it is shop."}}}},
		{"the machine dies", 1, nil, []at{decided, {t: 22, k: ended("step", 1, "one", evidence.StepDied, "gone"), says: []string{status, stake + "milestone: web: The machine that runs the rollback died in step 1 of 2."}}}},
		{"impact", 1, nil, slices.Concat(begin, journeys("browse", 30, 0), journeys("checkout", 40, 10), []at{
			{t: 20, k: clock(evidence.ClockDecided, "x"), says: []string{status, "Impact: 25 % of 40 checkout journeys failed, for 10 of 10 users (100 %); none of browse, since v2 was deployed."}},
		}, journeys("checkout", 20, 1), []at{
			{t: 200, says: nil},
			{t: 290, says: []string{"update: web: Update: the rollback is under way. Impact: 5 % of 20 checkout journeys failed, for 1 of 10 users (10 %), since the first notice."}},
		})},
		{"an alert comes before the decision", 1, nil, slices.Concat(begin, []at{
			{t: 15, k: &evidence.Alert{Metric: "errors", Event: "raised"}, says: []string{status + "web: Alert: errors.", stake + "first notice: web: trouble since v2 was deployed over v1: an alert was raised: errors. Impact: nobody was seen since v2 was deployed. Whether to roll back is being decided."}},
			{t: 20, k: clock(evidence.ClockDecided, "checkout fails"), says: []string{status, stake + "milestone: web: Decided to roll back v2 to v1 (plan: the old code, 2 steps): checkout fails."}},
			{t: 21, k: &evidence.Alert{Metric: "errors", Event: "cleared"}, says: []string{status + "web: Alert cleared: errors."}},
		})},
		{"an alert before the deploy says nothing of it", 1, nil, []at{{t: 5, k: &evidence.Alert{Metric: "cpu", Of: "web-1", Event: "raised"}}}},
		{"updates, shortened in a drill", 90, nil, []at{
			{t: 20, k: clock(evidence.ClockDecided, "x"), says: []string{"[DRILL] web: Decided", "The next update comes within 5 min, shortened to 3.3 s in this drill."}},
			{t: 22.9}, {t: 23.1, says: []string{"update: [DRILL] web: Update"}}, {t: 25}, {t: 26.2, says: []string{"update"}},
			{t: 27, k: &evidence.Approval{By: "backout", Event: evidence.ApprovalAsked, For: "step 1: one"}, says: []string{status + "[DRILL] web: backout: asked: step 1: one."}},
			{t: 29.3, says: []string{"Update: the rollback waits for approval of step 1: one."}},
		}},
		{"restored, relapsed, restored, over", 1, nil, []at{decided, returned,
			{t: 31, open: []string{"a", "b", "c", "d", "e"}},
			{t: 40, says: []string{stake + "milestone: web: Service restored: users are served as before, 20 s after the decision.",
				stake + "completed: web: Rollback completed. Caution: residual effects may still show, such as stale cache entries, replication lag, queued or failed jobs, sessions that are refused. The final word comes after 15 min of stability; until then there is no all-clear."}},
			{t: 41},
			{t: 42, open: []string{"checkout fails"}, says: []string{stake + "milestone: web: Not as before again: checkout fails."}},
			{t: 43, says: []string{"milestone", "completed"}},
			{t: 50, k: clock(evidence.ClockQuietBegun, "")},
			{t: 51, open: []string{"nobody comes"}},
			{t: 60, k: clock(evidence.ClockAllClear, ""), says: []string{status, stake + "all clear: web: All clear: web serves v1 as before and has stayed so (for 15 min), and nothing is open"}},
			{t: 900},
			{t: 901, k: &evidence.Phase{Name: "destroy"}},
		}},
		{"the run ends and something is open", 90, nil, []at{
			{t: 20, k: clock(evidence.ClockDecided, "x"), says: []string{"", ""}},
			{t: 21, k: clock(evidence.ClockCommandReturned, ""), says: []string{status}},
			{t: 22, open: []string{"web-1 serves v2"}},
			{t: 23, k: &evidence.Phase{Name: "destroy"}, says: []string{stake + "over: [DRILL] web: The drill ends without an all-clear: all commands of the plan have returned, and service is not restored yet. Open: web-1 serves v2."}},
		}},
		{"nobody knew, so nobody is told that it is over", 90, nil, []at{{t: 23, k: &evidence.Phase{Name: "destroy"}}}},
		{"a plan that tells afterwards", 1, func(r *evidence.Run) { r.Communication.TellFirst = service.TellAfterSteps }, []at{
			{t: 20, k: clock(evidence.ClockDecided, "x"), says: []string{status}},
			{t: 21, k: clock(evidence.ClockStarted, ""), says: []string{status}},
			{t: 30, k: clock(evidence.ClockCommandReturned, ""), says: []string{status, stake + "first notice: web: v2 is rolled back to v1"}},
		}},
		{"a plan that gives the all-clear by itself", 1, func(r *evidence.Run) { r.Communication.AllClear = service.TellAfterSteps }, []at{decided,
			{t: 30, k: clock(evidence.ClockCommandReturned, ""), says: []string{status, stake + "all clear: web: All clear: web is rolled back to v1."}},
			{t: 60, k: clock(evidence.ClockAllClear, ""), says: []string{status}},
		}},
		{"handed over", 1, nil, []at{
			{t: 60, k: &evidence.Approval{By: "backout", Event: evidence.ApprovalHanded, For: "ada", Why: "3 of 4 checks are proven", Seconds: 600}, says: []string{status, stake + "handoff: web: Handed over to ada, who accepts or refuses within 10 min. 3 of 4 checks are proven. The incident is not resolved before that."}},
			{t: 61, k: &evidence.Approval{By: "ada", Event: evidence.ApprovalDeclined, For: "ada", Why: "one is open"}, says: []string{status, stake + "handoff: web: ada refused the handoff: the incident is not resolved: one is open."}},
			{t: 62, k: &evidence.Approval{By: "backout", Event: evidence.ApprovalLapsed, For: "ada", Seconds: 600}, says: []string{status, stake + "handoff: web: ada did not answer within 10 min: the incident is not resolved."}},
			{t: 63, k: &evidence.Approval{By: "ada", Event: evidence.ApprovalAccepted, For: "ada"}, says: []string{status, stake + "handoff: web: ada accepted the handoff: the incident is resolved."}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := told(c.shortened, c.change)
			for i, x := range c.story {
				var said []rollback.Said
				if x.k != nil {
					e := evidence.Event{T: x.t}
					x.k.Put(&e)
					said = s.Add(e)
				} else {
					said = s.Due(x.t, func() []string { return x.open })
				}
				for n, m := range said {
					text := m.Channel + " " + m.Kind + ": " + m.Text
					if n >= len(x.says) || !strings.Contains(text, x.says[n]) {
						t.Errorf("event %d at %g s: expected %q, found %q", i, x.t, x.says, text)
					}
				}
				if len(said) < len(x.says) {
					t.Errorf("event %d at %g s: expected %q, found %d messages", i, x.t, x.says, len(said))
				}
			}
		})
	}
}
