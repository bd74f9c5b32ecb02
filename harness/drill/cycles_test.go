package drill_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/postgres"
)

// TestFaultCycles injects, observes, lifts and observes every fault that each environment can do, CYCLES times in a row on
// one stage, and prints how long that takes.
func TestFaultCycles(t *testing.T) {
	if testing.Short() {
		t.Skip("a real stage is left out of -short")
	}
	cycles := 2
	if text := os.Getenv("CYCLES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("CYCLES: expected a number above 0, found %q", text)
		}
		cycles = n
	}
	backout := filepath.Join(t.TempDir(), "backout")
	if out, err := exec.Command("go", "build", "-o", backout, "../cmd/backout").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, name := range drill.EnvironmentNames() {
		// A disk of fixed size is in memory, and does not outlive the node whose it is: it has a stage of its own.
		for part, belongs := range map[string]func(kind string) bool{
			name: func(kind string) bool { return kind != "disk" }, name + " disk": func(kind string) bool { return kind == "disk" },
		} {
			t.Run(part, func(t *testing.T) {
				cycle(t, name, cycles, drill.Place{Self: []string{backout, "ctl"}, Gateway: []string{backout, "gateway"}}, belongs)
			})
		}
	}
}

func cycle(t *testing.T, name string, cycles int, place drill.Place, belongs func(kind string) bool) {
	all, _ := compiled(t, filepath.Join(features, "database/adds-a-column.feature"))
	s := all[0].Spec
	if lacks := drill.Lacks(name, &s); lacks != "" {
		t.Skip(lacks)
	}
	env, err := drill.NewEnvironment(name, place)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		if err := env.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var kinds []string
	for _, k := range fault.Kinds() {
		switch {
		case !belongs(k.Name):
		case k.Can == nil || k.Can(env.Faults()):
			kinds = append(kinds, k.Name)
		default:
			t.Logf("%-8s not applicable: the environment %s cannot %s", k.Name, name, k.Needs)
		}
	}
	if len(kinds) == 0 {
		return
	}
	err = env.Provision(ctx, environment.Need{Service: s.Service, Dependants: s.Dependants, Good: s.Good, Releases: s.Runs,
		Streaming: true, Logical: true, Rows: map[string]int{"orders": 1000}, Faults: kinds})
	if err != nil {
		t.Fatal(err)
	}
	stop := commits(ctx, t, env)
	defer stop()
	w := fault.World{Place: env.Faults(), Instances: env.Instances, Nodes: env.Nodes}
	service := s.Service.Name
	targets := map[string]string{fault.OnInstance: service + "-2", fault.OnPrimary: "primary", fault.OnStreaming: "streaming",
		fault.OnLogical: "logical", fault.OnService: service, fault.OnRegistry: s.Good.Name}
	amounts := map[string]float64{"slow": 0.2, "lag": 2, "clock": 90}
	for _, k := range fault.Kinds() {
		if !slices.Contains(kinds, k.Name) {
			continue
		}
		for _, on := range k.On {
			d := evidence.DeclaredFault{Kind: k.Name, Of: targets[on], Text: k.Name + " " + targets[on], Seconds: amounts[k.Name], Before: 1}
			if k.Name == "lag" && on == fault.OnLogical {
				d.Seconds = 0
			}
			if err := k.Allowed(d, on); err != nil {
				t.Fatal(err)
			}
			t.Run(d.Text, func(t *testing.T) {
				var came, went []float64
				for n := range cycles {
					into, back, err := once(ctx, k.New(w, d), d)
					if err != nil {
						t.Fatalf("cycle %d of %d: %v", n+1, cycles, err)
					}
					came, went = append(came, into), append(went, back)
				}
				t.Logf("%-8s %-10s %d cycles  in force after %5.2f s (at most %5.2f)  gone after %5.2f s (at most %5.2f)",
					d.Kind, d.Of, cycles, median(came), slices.Max(came), median(went), slices.Max(went))
			})
		}
	}
}

// once is one cycle: how long until the fault was seen in force, and after it was lifted, until it was seen to be gone.
func once(ctx context.Context, f fault.Fault, d evidence.DeclaredFault) (into, back float64, err error) {
	if seen, yes, err := f.InForce(ctx); yes || err != nil {
		return 0, 0, errors.Join(fmt.Errorf("before it was injected: seen %q, in force %v", seen, yes), err)
	}
	begun := time.Now()
	injected := f.Inject(ctx)
	if injected == nil {
		var seen string
		if seen, injected = fault.Await(ctx, fault.Settles(d), f.InForce); injected != nil {
			injected = fmt.Errorf("seen last %q: %w", seen, injected)
		}
	}
	into = time.Since(begun).Seconds()
	begun = time.Now()
	if err := errors.Join(injected, f.Lift(ctx)); err != nil {
		return 0, 0, err
	}
	seen, err := fault.Await(ctx, fault.GoneWithin, f.Gone)
	if err != nil {
		return 0, 0, fmt.Errorf("gone: seen last %q: %w", seen, err)
	}
	return into, time.Since(begun).Seconds(), nil
}

// commits makes the primary commit now and then, as traffic does, and as often as it is there.
func commits(ctx context.Context, t *testing.T, env environment.Environment) (stop func()) {
	t.Helper()
	pool, err := postgres.Open(ctx, env.Nodes()[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_, _ = pool.Exec(ctx, `select pg_logical_emit_message(true, 'cycles', 'one')`) // it fails while the primary is disturbed
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); work.Wait(); pool.Close() }
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return math.Round(100*(all[(n-1)/2]+all[n/2])/2) / 100
}
