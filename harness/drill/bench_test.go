package drill_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/observe"
	"backout/harness/rollback"
	"backout/harness/service"
	"backout/harness/traffic"
	"backout/harness/verdict"
	"backout/scenarios"
)

const (
	features = "../../features"
	services = "../../fixtures/services"
)

// BenchmarkHarnessTime runs a drill and takes its time apart: what is neither the rollback nor a stated window is the
// harness's own. It needs goose's command line on PATH.
func BenchmarkHarnessTime(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		all, o := compiled(b, filepath.Join(features, "database/drops-a-column.feature"))
		o.Dir = func(*drill.Spec) string { return dir }
		begun := time.Now()
		result := scenarios.Run(context.Background(), all[0], o)
		total := time.Since(begun).Seconds()
		if result.Err != nil || result.Exit() != verdict.ExitPass {
			b.Fatalf("the drill did not pass: %v %s", result.Err, result.Verdict.Because)
		}
		clocks := map[string]float64{}
		for e, err := range evidence.Read(filepath.Join(dir, evidence.File)) {
			if err != nil {
				b.Fatal(err)
			}
			if e.Clock != nil {
				clocks[e.Clock.Name] = float64(e.T)
			}
		}
		between := func(from, to string) float64 { return clocks[to] - clocks[from] }
		parts := []struct {
			name    string
			seconds float64
		}{
			{"baseline window", between(evidence.ClockBaselineBegun, evidence.ClockBaselineEnded)},
			{"deploying the release", between(evidence.ClockDeployBegun, evidence.ClockDeployed)},
			{"harm shown and lasting 2 s", between(evidence.ClockDeployed, evidence.ClockDecided)},
			{"rollback", between(evidence.ClockDecided, evidence.ClockCommandReturned)},
			{"until restored, and the stability window", between(evidence.ClockCommandReturned, evidence.ClockWatchEnded)},
			{"quiet point", between(evidence.ClockQuietBegun, evidence.ClockQuietReached)},
		}
		rest := total
		for _, p := range parts {
			rest -= p.seconds
			b.Logf("%-42s %6.2f s", p.name, p.seconds)
		}
		b.Logf("%-42s %6.2f s of %.2f s", "the harness's own", rest, total)
		b.ReportMetric(rest, "own-s/drill")
		b.ReportMetric(total, "s/drill")
	}
}

// BenchmarkProbeCost measures how much traffic the sample service serves with and without the probes, in turn, when more
// arrives than it can serve.
func BenchmarkProbeCost(b *testing.B) {
	const rounds, stretch = 5, 4 * time.Second
	ctx := context.Background()
	all, _ := compiled(b, filepath.Join(features, "database/adds-a-column.feature"))
	s := all[0].Spec
	env, err := drill.NewEnvironment("process", drill.Place{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := env.Destroy(ctx); err != nil {
			b.Error(err)
		}
	})
	err = env.Provision(ctx, environment.Need{Service: s.Service, Dependants: s.Dependants, Good: s.Good, Releases: s.Runs,
		Streaming: true, Logical: true, Rows: s.Rows})
	if err != nil {
		b.Fatal(err)
	}
	serve := func(probed bool, seed int64) float64 {
		log, err := evidence.Create(filepath.Join(b.TempDir(), fmt.Sprintf("%d-%v.zst", seed, probed)), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		defer log.Close()
		ended := 0
		log.Tap(func(e evidence.Event) {
			if e.Journey != nil && e.Journey.Outcome == evidence.OK {
				ended++
			}
		})
		load, err := traffic.New(traffic.Config{Log: log, Targets: []traffic.Target{{Service: s.Service, URL: env.URL(s.Service.Name)}},
			Rate: 4000, Users: 50, InFlight: 32, Seed: seed})
		if err != nil {
			b.Fatal(err)
		}
		if probed {
			watching := observe.Start(ctx, observe.Config{Log: log, Interval: 100 * time.Millisecond, Beat: time.Second,
				Service: s.Service, Dependants: s.Dependants, Release: s.Bad, Instances: env.Instances, Nodes: env.Nodes,
				Schema: func(context.Context, service.Node, string) *evidence.Schema { return nil }})
			defer func() {
				if err := watching.Stop(); err != nil {
					b.Error(err)
				}
			}()
		}
		begun := time.Now()
		load.Start(ctx)
		<-time.After(stretch) // the stretch that is measured
		took := time.Since(begun)
		if err := load.Stop(ctx); err != nil {
			b.Fatal(err)
		}
		return float64(ended) / took.Seconds()
	}
	serve(false, 100) // warm
	for b.Loop() {
		var ratios, with, without []float64
		for i := range int64(rounds) {
			w, wo := serve(true, 2*i+1), serve(false, 2*i+2)
			with, without, ratios = append(with, w), append(without, wo), append(ratios, w/wo)
		}
		b.Logf("journeys per second with probes    %s", spread(with))
		b.Logf("journeys per second without probes %s", spread(without))
		b.Logf("with / without                     %s", spread(ratios))
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "with/without")
	}
}

func spread(v []float64) string {
	v = slices.Sorted(slices.Values(v))
	return fmt.Sprintf("median %.3f, from %.3f to %.3f", v[len(v)/2], v[0], v[len(v)-1])
}

// compiled are the drills of a feature, with options under which they can be run.
func compiled(b testing.TB, path string) ([]scenarios.Scenario, scenarios.Options) {
	b.Helper()
	if _, err := os.Stat(path); err != nil {
		b.Fatal(err)
	}
	o := scenarios.Options{Services: []string{services}, Options: drill.Options{Environment: "process", Windows: "gate", Seed: 7, Version: "bench"}}
	self := []string{os.Getenv("BACKOUT"), "ctl"}
	o.Start = func() (environment.Environment, error) {
		return drill.NewEnvironment("process", drill.Place{Self: self})
	}
	all, err := scenarios.Load([]string{path}, "", o)
	if err != nil {
		b.Fatal(err)
	}
	return all, o
}

// stageWorld answers what a plan's steps may ask, for a stage without a drill.
type stageWorld struct {
	env  environment.Environment
	spec drill.Spec
}

func (w stageWorld) Instances() []service.Instance {
	return slices.DeleteFunc(w.env.Instances(), func(i service.Instance) bool { return i.Service != w.spec.Service.Name })
}
func (w stageWorld) Dependants() []*service.Service { return w.spec.Dependants }
func (w stageWorld) Clone(ctx context.Context) (map[string]string, func() error, error) {
	c, err := w.env.Clone(ctx)
	if err != nil {
		return nil, nil, err
	}
	return c.URLs, c.Close, nil
}
func (w stageWorld) Journey(context.Context, string, string, string) error { return nil }
func (w stageWorld) Impact(context.Context, string, bool) (rollback.Impact, error) {
	return rollback.Impact{}, nil
}
func (w stageWorld) Artefact(ctx context.Context, name string) error {
	r, err := w.spec.Service.Release(name)
	if err != nil {
		return err
	}
	return w.env.Artefact(ctx, r)
}

// BenchmarkRollbackBesideTheBareScript takes a release back by Backout's runner and by the bare commands of the same plan, in turn,
// under the same traffic and probes; the spread of bare against bare says what can be resolved. On kind the commands are
// `kubectl rollout undo` and `kubectl rollout status`.
func BenchmarkRollbackBesideTheBareScript(b *testing.B) {
	for environment, rounds := range map[string]int{"containers": 7, "kind": 10} {
		b.Run(environment, func(b *testing.B) { besideTheBareScript(b, environment, rounds) })
	}
}

func besideTheBareScript(b *testing.B, where string, rounds int) {
	ctx := context.Background()
	path := filepath.Join(features, "services/fails-checkouts.feature")
	o := scenarios.Options{Services: []string{services}, Options: drill.Options{Environment: where, Windows: "gate", Seed: 7, Version: "bench"}}
	all, err := scenarios.Load([]string{path}, "", o)
	if err != nil {
		b.Fatal(err)
	}
	s := all[0].Spec
	if lacks := drill.Lacks(where, &s); lacks != "" {
		b.Skip(lacks)
	}
	env, err := drill.NewEnvironment(where, drill.Place{Self: []string{os.Getenv("BACKOUT"), "ctl"}, Gateway: []string{os.Getenv("BACKOUT"), "gateway"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := env.Destroy(ctx); err != nil {
			b.Error(err)
		}
	})
	if err := env.Provision(ctx, environment.Need{Service: s.Service, Dependants: s.Dependants, Good: s.Good, Releases: s.Runs, Streaming: true, Rows: s.Rows}); err != nil {
		b.Fatal(err)
	}
	dir, err := env.Stage(ctx, s.Bad, nil)
	if err != nil {
		b.Fatal(err)
	}
	log, err := evidence.Create(filepath.Join(b.TempDir(), "log.zst"), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	runner := &rollback.Runner{Log: log, Service: s.Service, Dir: dir, Vars: env.Variables(), Platform: env.Platform()}
	defer runner.Close()
	load, err := traffic.New(traffic.Config{Log: log, Targets: []traffic.Target{{Service: s.Service, URL: env.URL(s.Service.Name)}}, Rate: 20, Users: 20, InFlight: 100, Seed: 7})
	if err != nil {
		b.Fatal(err)
	}
	load.Start(ctx)
	defer load.Stop(ctx)
	watching := observe.Start(ctx, observe.Config{Log: log, Interval: 100 * time.Millisecond, Beat: time.Second,
		Service: s.Service, Dependants: s.Dependants, Release: s.Bad, Instances: env.Instances, Nodes: env.Nodes,
		Schema: func(context.Context, service.Node, string) *evidence.Schema { return nil }})
	defer watching.Stop()
	bare := func() error {
		for _, step := range s.Plan.Steps {
			cmd := exec.Command("/bin/sh", "-c", step.Run)
			cmd.Dir, cmd.Env = dir, os.Environ()
			for _, vars := range []map[string]string{env.Platform(), env.Variables()} {
				for k, v := range vars {
					cmd.Env = append(cmd.Env, k+"="+v)
				}
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", step.Run, err, out)
			}
		}
		return nil
	}
	timed := func(take func() error) float64 {
		if err := runner.Rollout(ctx, s.Bad, where); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if err := take(); err != nil {
			b.Fatal(err)
		}
		return time.Since(begun).Seconds()
	}
	ours := func() error { return runner.Steps(ctx, s.Plan, stageWorld{env, s}) }
	timed(bare) // warm
	for b.Loop() {
		var backout, first, second, ratios, noise []float64
		for range rounds {
			x, y, z := timed(bare), timed(ours), timed(bare)
			first, backout, second = append(first, x), append(backout, y), append(second, z)
			ratios, noise = append(ratios, y/((x+z)/2)), append(noise, z/x)
		}
		b.Logf("bare script       %s s", spread(append(first, second...)))
		b.Logf("Backout           %s s", spread(backout))
		b.Logf("Backout / bare    %s", spread(ratios))
		b.Logf("bare / bare       %s", spread(noise))
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "backout/bare")
	}
}
