package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/environment/kubernetes"
	"backout/harness/fault"
	"backout/harness/verdict"
	"backout/scenarios"
)

// flags are what `run` and `plan` share.
type flags struct {
	tags, env, windows string
	services           []string
	seed               int64
	reports, name      string
	history            string // empty: REPORTS/history
	parallel           int
	json               bool
	postgres           string
	fetch              bool
	by, key, tokenFile string      // who starts it, and the proof
	serve              string      // HOST:PORT of the live page; empty: none
	place              drill.Place // of a cluster that exists
}

func (f *flags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.tags, "tags", "", "only scenarios with these tags, as godog reads them: '@gate && ~@control'")
	c.Flags().StringVar(&f.env, "env", "process", "where the drill happens: process, containers, kind, or cluster, which exists")
	c.Flags().StringVar(&f.windows, "windows", "gate", "how long service must stay restored: gate (10 s) or quarterly (60 s)")
	c.Flags().StringSliceVar(&f.services, "services", serviceRoots(), "folders in which services are looked for")
	c.Flags().Int64Var(&f.seed, "seed", 0, "seed of users, values and keys; 0 draws one and prints it")
}

func runCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "run [features...]",
		Short: "Run drills and write their reports",
		Long: `Run the drills of feature files or folders (features/ unless named; FILE:LINE is one scenario).

All of them are compiled first: an unknown step, release or plan is told with file and line, and nothing is started.
Drills tagged @alone judge latency; they run after the others with nothing beside them.`,
		Example: `  backout run
  backout run features/database/drops-a-column.feature:16 --seed 7
  backout run --tags '@gate && ~@control' --parallel 3`,
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args, f) },
	}
	f.add(c)
	f.addRun(c)
	return c
}

// addRun adds what running needs beside compiling.
func (f *flags) addRun(c *cobra.Command) {
	c.Flags().IntVar(&f.parallel, "parallel", 1, "how many drills run side by side")
	c.Flags().StringVar(&f.reports, "reports", "reports", "folder under which this set of runs gets its own")
	c.Flags().StringVar(&f.name, "name", "", "name of the set's folder; the default is taken from what is run")
	c.Flags().StringVar(&f.history, "history", "", placeText+" to which the runs are added; REPORTS/history unless given")
	c.Flags().BoolVar(&f.json, "json", false, "progress and results as lines of JSON on standard output")
	c.Flags().StringVar(&f.serve, "serve", "", "HOST:PORT on which the drills are shown and steered while they run, such as 127.0.0.1:0; what other machines reach needs the token that is printed")
	c.Flags().StringVar(&f.postgres, "postgres", "", "folder of PostgreSQL's programs; found by itself when not given")
	c.Flags().StringVar(&f.place.Context, "context", "", "of a cluster that exists: the kubeconfig's context; the current one is never taken by itself")
	c.Flags().StringVar(&f.place.Namespace, "namespace", "", "of a cluster that exists: the namespace of the drill, which carries backout.io/drills=permitted")
	c.Flags().StringVar(&f.place.Kubeconfig, "kubeconfig", "", "the kubeconfig of a cluster that exists; unless given, what kubectl reads; it is never written")
	c.Flags().StringArrayVar(&f.place.Forbid, "forbid", nil, "pattern of contexts, clusters, servers and namespaces in which no drill happens, over prod, which stays forbidden")
	c.Flags().IntVar(&f.place.MaxPods, "max-pods", kubernetes.DefaultMaxPods, "in a cluster that exists: how many pods a drill may have")
	c.Flags().IntVar(&f.place.Workers, "workers", 0, "on kind: how many machines there are beside that of the control plane")
	c.Flags().IntVar(&f.place.MaxShare, "max-share", kubernetes.DefaultMaxShare, "in a cluster that exists: the percent of the namespace's pods, and of its quota, that may be the drill's")
	c.Flags().StringVar(&f.place.Registry, "registry", "", "HOST/PREFIX to which images are pushed and from which a cluster that exists pulls them")
	c.Flags().StringVar(&f.by, "by", "", "who starts it, one of the people of service.yaml, proved by --key or --token-file; needed where two people must approve")
	c.Flags().StringVar(&f.key, "key", "", "private SSH key that proves it, without a passphrase")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the token that proves it")
	c.Flags().BoolVar(&f.fetch, "fetch", true, "fetch PostgreSQL's programs into the cache when the machine has none; --fetch=false forbids it")
}

// compile loads all drills that the arguments select.
func (f *flags) compile(paths []string) ([]scenarios.Scenario, scenarios.Options, error) {
	if len(paths) == 0 {
		paths = []string{"features"}
	}
	if f.seed == 0 {
		f.seed = rand.Int64N(1_000_000) + 1
	}
	o := scenarios.Options{Services: f.services, Options: drill.Options{
		Environment: f.env, Windows: f.windows, Seed: f.seed, Version: version(), By: f.by, Key: f.key,
	}}
	var err error
	if o.Token, err = proof(f.by, f.key, f.tokenFile); err != nil {
		return nil, o, err
	}
	if _, known := drill.Environments()[f.env]; !known {
		return nil, o, fmt.Errorf("--env %s: expected one of %s", f.env, strings.Join(drill.EnvironmentNames(), ", "))
	}
	if _, err := drill.Windows(f.windows, false); err != nil {
		return nil, o, fmt.Errorf("--%w", err)
	}
	all, err := scenarios.Load(paths, f.tags, o)
	return all, o, err
}

func run(ctx context.Context, paths []string, f flags) error {
	all, o, err := f.compile(paths)
	if err != nil {
		return err
	}
	if f.name == "" {
		f.name = setName(paths, all)
	}
	results, show, set, err := runSet(ctx, all, o, f)
	if err != nil {
		return err
	}
	defer show.after()
	return conclude(ctx, set, f, results, show)
}

// runSet runs compiled drills. It returns what became of them and the folder of the set.
func runSet(ctx context.Context, all []scenarios.Scenario, o scenarios.Options, f flags) ([]drill.Result, *progress, string, error) {
	broke := func(err error) ([]drill.Result, *progress, string, error) { return nil, nil, "", err }
	if f.parallel < 1 {
		return broke(fmt.Errorf("--parallel %d: expected at least 1", f.parallel))
	}
	if f.place.Workers < 0 {
		return broke(fmt.Errorf("--workers %d: expected 0 or more", f.place.Workers))
	}
	if f.env == kubernetes.InCluster { // before reports are begun
		if err := kubernetes.Named(f.place); err != nil {
			return broke(err)
		}
	}
	o.Set = filepath.Join(f.reports, time.Now().Format("20060102-150405")+"-"+f.name)
	show := newProgress(os.Stdout, f.json, len(all) > 1 && f.parallel > 1)
	var err error
	if show.after, err = f.live(o.Set, len(all) == 1, &o.Options, show); err != nil {
		return broke(err)
	}
	if err := os.MkdirAll(o.Set, 0o755); err != nil {
		return broke(fmt.Errorf("make the folder of the reports: %w", err))
	}
	if len(all) == 1 {
		o.Dir = func(*drill.Spec) string { return o.Set }
	}
	tracer, flush, err := tracing(ctx)
	if err != nil {
		return broke(err)
	}
	defer flush()
	o.Tracer = tracer
	o.Tell = show.tell
	self, err := os.Executable()
	if err != nil {
		return broke(err)
	}
	o.Start = func() (environment.Environment, error) {
		place := f.place
		place.PostgresDir, place.Fetch, place.Self, place.Progress = f.postgres, f.fetch, []string{self, "ctl"}, show.note
		return drill.NewEnvironment(f.env, place)
	}
	// A run that was killed may hold ports, memory and disk that this one needs.
	register, err := environment.RegisterDir()
	if err != nil {
		return broke(err)
	}
	removed, err := drill.Clean(ctx, register)
	if err != nil {
		return broke(err)
	}
	for _, what := range removed {
		show.note("left by a run that was killed: " + what)
	}
	show.begin(all, f)
	results := runAll(ctx, all, o, f.parallel, show)
	show.end()
	return results, show, o.Set, nil
}

// runAll runs the drills side by side, and then those that must be alone.
func runAll(ctx context.Context, all []scenarios.Scenario, o scenarios.Options, parallel int, show *progress) []drill.Result {
	results := make([]drill.Result, len(all))
	slots := make(chan struct{}, parallel)
	var work sync.WaitGroup
	paced := pacing(parallel)
	var wide sync.Mutex // drills that disturb a whole cluster wait here for each other, not in their time for provisioning
	one := func(i int) {
		if fault.Wide(all[i].Spec.FaultKinds()) {
			wide.Lock()
			defer wide.Unlock()
		}
		show.started(&all[i].Spec)
		results[i] = scenarios.Run(ctx, all[i], o)
		show.ended(results[i])
	}
	for i := range all {
		if all[i].NotApplicable != "" {
			results[i] = drill.Result{Spec: all[i].Spec, NotApplicable: all[i].NotApplicable}
			show.ended(results[i])
		} else if !all[i].Alone() {
			slots <- struct{}{}
			work.Go(func() { defer func() { <-slots }(); one(i) })
		}
	}
	work.Wait()
	var took []time.Duration
	for _, r := range results {
		if r.Took > 0 {
			took = append(took, r.Took)
		}
	}
	if len(took) > 1 {
		show.pace = paced(took)
	}
	for i := range all {
		if all[i].NotApplicable == "" && all[i].Alone() {
			one(i)
		}
	}
	return results
}

// conclude writes the reports of the set, adds its runs to the history and gives the exit code of all drills together.
func conclude(ctx context.Context, dir string, f flags, results []drill.Result, show *progress) error {
	s := entries(dir, f.name, results)
	var wrong error
	if len(results) > 1 {
		wrong = drill.RenderSet(dir, s)
	}
	show.summary(dir, results)
	if err := keep(ctx, f, results, show); err != nil || wrong != nil {
		return cmp.Or(wrong, err)
	}
	return exitOf(results)
}

// exitOf is the exit code over several drills: 3 beats 1 beats 2 beats 0; nothing applicable is 2.
func exitOf(results []drill.Result) error {
	worst, applicable := verdict.ExitPass, false
	rank := map[int]int{verdict.ExitPass: 0, verdict.ExitInconclusive: 1, verdict.ExitFail: 2, verdict.ExitBroke: 3}
	for _, r := range results {
		if r.NotApplicable != "" {
			continue
		}
		applicable = true
		if rank[r.Exit()] > rank[worst] {
			worst = r.Exit()
		}
	}
	if !applicable {
		return exit{verdict.ExitInconclusive, "no drill was applicable in this environment: nothing was shown"}
	}
	if worst == verdict.ExitPass {
		return nil
	}
	return exit{code: worst}
}

func setName(paths []string, all []scenarios.Scenario) string {
	switch {
	case len(all) == 1:
		return strings.TrimSuffix(filepath.Base(all[0].Path), ".feature")
	case len(paths) == 1:
		return strings.TrimSuffix(filepath.Base(paths[0]), ".feature")
	}
	return "drills"
}
