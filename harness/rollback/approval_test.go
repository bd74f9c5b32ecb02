package rollback_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// A plan is asked for as a whole before the step with which it begins, whichever that is; one that goes on was asked for.
func TestAPlanThatAsks(t *testing.T) {
	step := service.Step{Name: "one", Run: "true", Timeout: time.Minute, Again: "safe"}
	plan := &service.Plan{Name: "back", Approval: &service.Approval{How: service.Manual, Within: time.Minute}, Steps: []service.Step{step, step, step}}
	for _, c := range []struct{ from, begun, asked int }{{1, 0, 1}, {2, 0, 1}, {2, 2, 0}} {
		r, seen := runner(t)
		asked := 0
		r.Approve = func(_ context.Context, q rollback.Question) error {
			if asked++; q.For != "the plan: back" {
				t.Errorf("asked for %q", q.For)
			}
			return &rollback.Unapproved{Why: "no"}
		}
		err := r.StepsAfter(t.Context(), plan, nil, rollback.From(c.from, c.begun, "seen"))
		stopped := new(rollback.StepError)
		if asked != c.asked || (err != nil) != (c.asked > 0) || c.asked > 0 && (!errors.As(err, &stopped) || stopped.Index != c.from) {
			t.Errorf("from %d, begun %d: asked %d times, %v, %+v", c.from, c.begun, asked, err, seen.all)
		}
	}
}

// A step that asks runs when it is approved. Else it has not begun, those after it are skipped, and it says why.
func TestAStepThatAsks(t *testing.T) {
	for _, c := range []struct {
		name    string
		approve rollback.Approve
		why     string // of the second step; empty: it runs
	}{
		{"approved", func(context.Context, rollback.Question) error { return nil }, ""},
		{"nobody in time", func(context.Context, rollback.Question) error {
			return &rollback.Unapproved{Why: "nobody approved it within 1m0s"}
		}, "nobody approved it within 1m0s"},
		{"nobody to ask", nil, "there is nobody who could give it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, seen := runner(t)
			var order []string
			if c.approve != nil {
				r.Approve = func(ctx context.Context, q rollback.Question) error {
					order = append(order, "asked for "+q.For+", "+q.Within.String())
					return c.approve(ctx, q)
				}
			}
			r.Hold = func(_ context.Context, step string) error {
				order = append(order, "may be held before "+step)
				return nil
			}
			step := service.Step{Run: "echo $0 >> ran", Timeout: time.Minute, Again: "safe"}
			plan := &service.Plan{Steps: []service.Step{step, step, step}}
			for i, name := range []string{"one", "two", "three"} {
				plan.Steps[i].Name = name
			}
			plan.Steps[1].Expires = time.Minute
			err := r.Steps(context.Background(), plan, nil)
			ran, readErr := os.ReadFile(filepath.Join(r.Dir, "ran"))
			if readErr != nil {
				t.Fatal(readErr)
			}
			times := strings.Count(string(ran), "\n")
			var outcomes []string
			for _, s := range seen.only(t, "ended") {
				outcomes = append(outcomes, s.Outcome)
			}
			stopped := new(rollback.StepError)
			switch {
			case c.why == "" && (err != nil || times != 3 || strings.Join(order, "; ") != "may be held before step 1: one; asked for step 2: two, 1m0s; may be held before step 2: two; may be held before step 3: three"):
				t.Errorf("%d steps ran, %v; %q", times, err, order)
			case c.why != "" && (!errors.As(err, &stopped) || stopped.Index != 2 || stopped.Outcome.Outcome != evidence.StepRefused || !strings.Contains(err.Error(), c.why) || times != 1 || strings.Join(outcomes, " ") != "ok refused skipped"):
				t.Errorf("%d steps ran, %v, %v", times, outcomes, err)
			}
		})
	}
}
