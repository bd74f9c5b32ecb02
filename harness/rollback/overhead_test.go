package rollback_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/rollback"
	"backout/harness/service"
)

// What a step costs: a plan of ten steps that do nothing, with lock, lease, journal, a pre-check of the database and the
// evidence log, against a shell script that starts a shell for each of the same ten. Rounds of the two take turns. It runs
// where ROUNDS says how often, by make show-8-overhead.
func TestWhatAStepCosts(t *testing.T) {
	if os.Getenv("ROUNDS") == "" {
		t.Skip("measured by make show-8-overhead")
	}
	s, url := leases(t)
	const steps = 10
	plan := &service.Plan{Name: "nothing", Env: map[string]string{"DB": "DATABASE_URL"}, Before: []service.Check{{Database: &service.Identity{Name: "shop", Role: "shop_migrator", URL: "DB"}}}}
	for range steps {
		plan.Steps = append(plan.Steps, service.Step{Name: "nothing", Run: "true", Timeout: time.Minute, Again: "safe"})
	}
	script := "set -e\n" + strings.Repeat("sh -c true\n", steps)
	r, _ := runner(t)
	r.Operator, r.Service, r.Vars = "ada", &service.Service{Name: "shop"}, map[string]string{"DATABASE_URL": as(s, "shop_migrator")}
	r.Lease, r.Journal = &rollback.Lease{URL: url}, filepath.Join(r.Dir, rollback.JournalFile)
	guarded := func() (whole, running time.Duration) {
		began := time.Now()
		if err := r.Take(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if err := r.Before(t.Context(), plan, world{}); err != nil {
			t.Fatal(err)
		}
		first := time.Now()
		if err := r.Steps(t.Context(), plan, world{}); err != nil {
			t.Fatal(err)
		}
		running = time.Since(first)
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
		return time.Since(began), running
	}
	plain := func() time.Duration {
		began := time.Now()
		if out, err := exec.CommandContext(context.Background(), "sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	guarded()
	plain()
	var with, around, without []time.Duration
	for range rounds(t, 0) {
		whole, running := guarded()
		with, around, without = append(with, running), append(around, whole-running), append(without, plain())
	}
	figure := func(all []time.Duration, by int) (median, low, high time.Duration) {
		slices.Sort(all)
		at := func(share float64) time.Duration {
			return (all[int(share*float64(len(all)-1))] / time.Duration(by)).Round(10 * time.Microsecond)
		}
		return at(0.5), at(0.1), at(0.9)
	}
	for _, x := range []struct {
		what string
		all  []time.Duration
		by   int
	}{{"a step with guardrails", with, steps}, {"a step of the script", without, steps}, {"once a plan: lock, lease, pre-check", around, 1}} {
		median, low, high := figure(x.all, x.by)
		t.Logf("%-36s median %s, 10 %% below %s, 10 %% above %s", x.what, median, low, high)
	}
	a, _, _ := figure(with, steps)
	b, _, _ := figure(without, steps)
	t.Logf("so a step costs %s more, in %d rounds that took turns", a-b, len(with))
}
