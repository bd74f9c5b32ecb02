package rollback_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// A pre-check that is to be asked before a later step is not asked before the plan starts, since an earlier step ends
// what is in the way; and what it finds then stops the plan there.
func TestAPreCheckBeforeALaterStep(t *testing.T) {
	s := server(t)
	step := func(run string) service.Step { return service.Step{Name: run, Run: run, Timeout: time.Minute} }
	for _, c := range []struct {
		name, first string
		refused     bool
		outcomes    []string // of the steps
	}{
		{"step 1 ends what is in the way", `psql -XAtqd "$PRIMARY" -c "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'idler'"`,
			false, []string{evidence.StepOK, evidence.StepOK, evidence.StepOK}},
		{"step 1 does not", "true", true, []string{evidence.StepOK, evidence.StepSkipped, evidence.StepSkipped}},
	} {
		t.Run(c.name, func(t *testing.T) {
			idler := session(t, as(s, "shop_migrator")+"&application_name=idler")
			statement(t, idler, "begin; select count(*) from orders")
			r, seen := runner(t)
			r.Vars = map[string]string{"DATABASE_URL": as(s, "shop_migrator")}
			p := &service.Plan{Env: map[string]string{"PRIMARY": "DATABASE_URL"},
				Before: []service.Check{{Unblocked: []string{"orders"}, BeforeStep: 2}},
				Steps:  []service.Step{step(c.first), step("echo two"), step("echo three")}}
			if err := r.Before(t.Context(), p, world{}); err != nil {
				t.Fatalf("before the plan: %v", err)
			}
			err := r.Steps(t.Context(), p, world{})
			var refused *rollback.Refused
			if errors.As(err, &refused) != c.refused || !c.refused && err != nil {
				t.Fatalf("expected a refusal: %v, found %v", c.refused, err)
			}
			if c.refused && refused.Kind != "unblocked" {
				t.Errorf("refused by %q", refused.Kind)
			}
			var outcomes []string
			asked := 0
			seen.mu.Lock()
			all := slices.Clone(seen.all)
			seen.mu.Unlock()
			for _, e := range all {
				if e.Part == evidence.PartStep && e.Event == "ended" {
					outcomes = append(outcomes, e.Outcome)
				}
				if e.Part == evidence.PartBefore && e.Event == "started" {
					if asked++; len(outcomes) != 1 {
						t.Errorf("asked after %d steps, expected 1", len(outcomes))
					}
				}
			}
			if asked != 1 || len(outcomes) != len(c.outcomes) {
				t.Fatalf("asked %d times, steps ended %v", asked, outcomes)
			}
			for i := range outcomes {
				if outcomes[i] != c.outcomes[i] {
					t.Errorf("step %d: expected %s, found %s", i+1, c.outcomes[i], outcomes[i])
				}
			}
		})
	}
}
