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
	"backout/harness/service"
)

// TestFaultCycles injects, observes, lifts and observes every fault that each environment can do, CYCLES times in a row on
// one stage, and prints how long that takes.
func TestFaultCycles(t *testing.T) {
	if testing.Short() {
		t.Skip("a real stage is left out of -short")
	}
	cycles := 2
	sideBySide := func(t *testing.T) { t.Parallel() } // stages, which mostly wait; where their times are measured each is alone
	if text := os.Getenv("CYCLES"); text != "" {
		sideBySide = func(*testing.T) {}
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
	// What can be done to a cluster is drilled by features/faults: most of it needs a plan that copes.
	for _, name := range []string{service.InProcesses, service.InContainers} {
		// A disk of fixed size is in memory, and does not outlive the node whose it is: it has a stage of its own.
		for part, belongs := range map[string]func(kind string) bool{
			name: func(kind string) bool { return kind != "disk" && kind != "failover" }, name + " disk": func(kind string) bool { return kind == "disk" },
		} {
			t.Run(part, func(t *testing.T) {
				sideBySide(t)
				cycle(t, name, cycles, drill.Place{Self: []string{backout, "ctl"}, Gateway: []string{backout, "gateway"}}, belongs)
			})
		}
		// What has failed over stays so: each has a stage of its own.
		t.Run(name+" failover", func(t *testing.T) {
			sideBySide(t)
			failOver(t, name, cycles, drill.Place{Self: []string{backout, "ctl"}, Gateway: []string{backout, "gateway"}})
		})
	}
}

// provisioned is a stage of the sample with replicas, where the environment can have one.
func provisioned(ctx context.Context, t *testing.T, name string, place drill.Place, kinds func(fault.Place) []string) (drill.Spec, environment.Environment, []string) {
	t.Helper()
	all, _ := compiled(t, filepath.Join(features, "database/adds-a-column.feature"))
	s := all[0].Spec
	if lacks := drill.Lacks(name, &s); lacks != "" {
		t.Skip(lacks)
	}
	env, err := drill.NewEnvironment(name, place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	wanted := kinds(env.Faults())
	if len(wanted) == 0 {
		return s, env, nil
	}
	err = env.Provision(ctx, environment.Need{Service: s.Service, Dependants: s.Dependants, Good: s.Good, Releases: s.Runs,
		Streaming: true, Logical: true, Rows: map[string]int{"orders": 1000}, Faults: wanted})
	if err != nil {
		t.Fatal(err)
	}
	return s, env, wanted
}

// failOver has the primary fail over so many times, each on a stage of its own, every second time to a standby that is behind.
func failOver(t *testing.T, name string, cycles int, place drill.Place) {
	var came []float64
	for n := range cycles {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			_, env, _ := provisioned(ctx, t, name, place, func(fault.Place) []string { return []string{"failover"} })
			stop := commits(ctx, t, env)
			defer stop()
			d := evidence.DeclaredFault{Kind: "failover", Of: "streaming", Text: "failover", Before: 1, ForGood: true, Seconds: float64(n%2) / 2}
			k, err := fault.Find(d.Kind)
			if err == nil {
				err = k.Allowed(d, fault.OnStreaming)
			}
			if err != nil {
				t.Fatal(err)
			}
			f := k.New(fault.World{Place: env.Faults(), Instances: env.Instances, Nodes: env.Nodes}, d)
			into, err := inject(ctx, f, d)
			if err != nil {
				t.Fatal(err)
			}
			came = append(came, into-d.Seconds)
		})
	}
	if len(came) > 0 {
		t.Logf("%-8s %-10s %d cycles  in force after %5.2f s (at most %5.2f), without the time by which the standby is behind", "failover", "primary", len(came), median(came), slices.Max(came))
	}
}

func cycle(t *testing.T, name string, cycles int, place drill.Place, belongs func(kind string) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	s, env, kinds := provisioned(ctx, t, name, place, func(can fault.Place) (kinds []string) {
		for _, k := range fault.Kinds() {
			switch {
			case !belongs(k.Name):
			case k.Can == nil || k.Can(can):
				kinds = append(kinds, k.Name)
			default:
				t.Logf("%-8s not applicable: the environment %s cannot %s", k.Name, name, k.Needs)
			}
		}
		return kinds
	})
	if len(kinds) == 0 {
		return
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
			if k.Name == "clock" && on == fault.OnInstance {
				t.Logf("%-8s %-10s not applicable: it is a static Go program, whose clock cannot be set apart; features/faults/clocks.feature has another", k.Name, targets[on])
				continue
			}
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
	into, injected := inject(ctx, f, d)
	begun := time.Now()
	if err := errors.Join(injected, f.Lift(ctx)); err != nil {
		return 0, 0, err
	}
	seen, err := fault.Await(ctx, fault.GoneWithin, f.Gone)
	if err != nil {
		return 0, 0, fmt.Errorf("gone: seen last %q: %w", seen, err)
	}
	return into, time.Since(begun).Seconds(), nil
}

// inject puts a fault in force, and says after how many seconds it was seen to be.
func inject(ctx context.Context, f fault.Fault, d evidence.DeclaredFault) (into float64, err error) {
	if seen, yes, err := f.InForce(ctx); yes || err != nil {
		return 0, errors.Join(fmt.Errorf("before it was injected: seen %q, in force %v", seen, yes), err)
	}
	begun := time.Now()
	if err := f.Inject(ctx); err != nil {
		return 0, err
	}
	if seen, err := fault.Await(ctx, fault.Settles(d), f.InForce); err != nil {
		return 0, fmt.Errorf("seen last %q: %w", seen, err)
	}
	return time.Since(begun).Seconds(), nil
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
