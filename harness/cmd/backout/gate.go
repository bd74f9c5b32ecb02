package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/history"
	"backout/harness/service"
	"backout/harness/verdict"
	"backout/scenarios"
)

func gateCommand() *cobra.Command {
	var p past
	var g gate
	c := &cobra.Command{
		Use:   "gate --service NAME",
		Short: "Is there a recent green drill of the rollback plans as they are checked out now?",
		Long: `Exit with 1 when a rollback plan of a service is not fresh: it was never drilled, its last green drill is too old, a drill of
it was not green when it ran last, or it was drilled with another version of the plan, of a script that it names, or of a
migration up to the release's number. A later migration makes no plan stale. The file that changed is named, and the command
that mends it. Controls, invented runs and what cannot be read count as nothing.

Each release's own plan for the environment (rollback.yaml, rollback.containers.yaml, rollback.kubernetes.yaml) is looked at;
--release and --plan choose others.

How old the last green drill may be, unless --max-age says so: of a critical service a quarter (92 days), of a standard one
half a year (183 days); --every release: a sprint (14 days).

Exit codes: 0 every plan is fresh, 1 one is not, 3 bad input.`,
		Example: `  backout gate --service NAME
  backout gate --service NAME --release v2 --every release
  backout gate --service NAME --max-age 90d --env kind --history s3://drills?region=eu-central-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return g.run(c, &p) },
	}
	p.add(c)
	c.Flags().StringVar(&g.service, "service", "", "the service")
	c.Flags().StringVar(&g.release, "release", "", "the plan of this release alone")
	c.Flags().StringVar(&g.plan, "plan", "", "the plan of this name in place of a release's own; needs --release")
	c.Flags().StringVar(&g.env, "env", "process", "the environment for which plans are looked at: "+strings.Join(drill.EnvironmentNames(), ", "))
	c.Flags().StringVar(&g.maxAge, "max-age", "", "how old the last green drill may be: 90d, 2w, 36h")
	c.Flags().StringVar(&g.every, "every", "", "quarter, or release, which is a sprint; in place of the tier's default")
	c.Flags().StringSliceVar(&g.services, "services", serviceRoots(), "folders in which services are looked for")
	c.Flags().StringVar(&g.features, "features", "features", "where the command that drills a plan is looked for")
	_ = c.MarkFlagRequired("service")
	c.MarkFlagsMutuallyExclusive("max-age", "every")
	return c
}

type gate struct {
	service, release, plan, env, maxAge, every, features string
	services                                             []string
}

// serviceRoots are where services are looked for unless it is said.
func serviceRoots() []string { return []string{".", "services", "fixtures/services"} }

func (g gate) run(c *cobra.Command, p *past) error {
	now, err := p.clock()
	if err != nil {
		return err
	}
	if service.Way(g.env) == "" {
		return fmt.Errorf("--env %s: expected one of %s", g.env, strings.Join(drill.EnvironmentNames(), ", "))
	}
	if g.plan != "" && g.release == "" {
		return errors.New("--plan: expected --release beside it")
	}
	s, err := service.Find(g.services, g.service)
	if err != nil {
		return err
	}
	maxAge, err := g.age(s)
	if err != nil {
		return err
	}
	wanted, without, err := g.plans(s)
	if err != nil {
		return err
	}
	l, err := p.load(c.Context())
	if errors.Is(err, fs.ErrNotExist) && !p.named { // nothing was ever drilled here
		l, err = &history.Log{Place: p.place}, nil
	}
	if err != nil {
		return err
	}
	return g.tell(c.OutOrStdout(), l, wanted, without, now, maxAge)
}

// tell prints what the gate finds, and gives the exit code.
func (g gate) tell(out io.Writer, l *history.Log, wanted []history.Wanted, without []string, now time.Time, maxAge time.Duration) error {
	shut := 0
	var drills []scenarios.Scenario
	for _, w := range wanted {
		f := history.Gate(l, w, now, maxAge)
		if f.Fresh() {
			fmt.Fprintf(out, "fresh      %s: green %s in %s (%s)\n", w.Path, history.Since(f.Green.When, now), f.Green.Where(), f.Green.Environment)
			continue
		}
		if shut++; shut == 1 { // only now are they needed, and they take a while
			drills = g.compiled()
		}
		fmt.Fprintf(out, "NOT FRESH  %s\n", w.Path)
		for _, why := range f.Reasons {
			fmt.Fprintln(out, "    "+history.Plain(why))
		}
		mend := cmp.Or(f.Mend, g.drill(drills, w.Path), fmt.Sprintf("write a feature that rolls release %q back by it, and: backout run FEATURE --env %s", w.Release, g.env))
		fmt.Fprintln(out, "    mend it: "+history.Plain(mend))
	}
	if len(without) > 0 {
		fmt.Fprintf(out, "without a plan for %s: %s\n", g.env, strings.Join(without, ", "))
	}
	if len(wanted) == 0 {
		fmt.Fprintf(out, "gate: no release of %s has a plan for %s: nothing is shown\n", g.service, g.env)
		return exit{code: verdict.ExitFail}
	}
	if shut > 0 {
		fmt.Fprintf(out, "gate: shut, %d of %d plans of %s are not fresh (at most %d days)\n", shut, len(wanted), g.service, int(maxAge.Hours()/24))
		return exit{code: verdict.ExitFail}
	}
	fmt.Fprintf(out, "gate: open, %d of %d plans of %s are fresh (at most %d days)\n", len(wanted), len(wanted), g.service, int(maxAge.Hours()/24))
	return nil
}

// age is how old a green drill may be.
func (g gate) age(s *service.Service) (time.Duration, error) {
	switch {
	case g.maxAge != "":
		d, err := parseAge(g.maxAge)
		if err != nil {
			return 0, fmt.Errorf("--max-age %w", err)
		}
		return d, nil
	case g.every == "release":
		return history.Sprint, nil
	case g.every == "quarter":
		return history.Quarter, nil
	case g.every != "":
		return 0, fmt.Errorf("--every %s: expected quarter or release", g.every)
	}
	return history.MaxAge(s.Tier), nil
}

// parseAge reads "90d", "2w" and what Go reads as a duration.
func parseAge(text string) (time.Duration, error) {
	unit := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	var d time.Duration
	var err error
	if n := len(text); n > 0 && unit[text[n-1:]] != 0 {
		var days int
		days, err = strconv.Atoi(text[:n-1])
		d = time.Duration(days) * unit[text[n-1:]]
		if err == nil && days > 100*366 {
			err = errors.New("too long")
		}
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s: expected a length of time such as 90d, 2w or 36h", text)
	}
	return d, nil
}

// plans are the plans that the gate looks at, as they are checked out, and the releases that have none for the environment.
func (g gate) plans(s *service.Service) (wanted []history.Wanted, without []string, err error) {
	names := []string{g.release}
	if g.release == "" {
		if names, err = s.Releases(); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range names {
		r, err := s.Release(name)
		if err != nil {
			return nil, nil, err
		}
		plan, err := r.Plan(g.plan, g.env)
		if errors.Is(err, service.ErrNoPlan) && g.release == "" {
			if !r.Good { // what a good release is rolled back to may have no plan
				without = append(without, name)
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if plan.Sabotage != nil {
			return nil, nil, fmt.Errorf("%s: expected a plan that is meant to be right, found one that is sabotaged: its drills are controls", plan.Path)
		}
		files, err := r.RollbackFiles(plan)
		if err != nil {
			return nil, nil, err
		}
		digests, err := service.Digests(files...)
		if err != nil {
			return nil, nil, err
		}
		wanted = append(wanted, history.Wanted{Service: s.Name, Release: name, Path: history.PlanPath(plan.Path), Files: history.Files(plan.Path, digests)})
	}
	return wanted, without, nil
}

// drill is the command that drills a plan: that of a plain drill, or else of one with a fault or the like. Features that cannot be
// compiled are no mistake of the gate: the command is then taken from the history.
func (g gate) drill(all []scenarios.Scenario, plan string) string {
	var plain, other string
	for _, s := range all {
		switch command := fmt.Sprintf("backout run %s --env %s", s.Where(), g.env); {
		case s.Plan == nil || history.PlanPath(s.Plan.Path) != plan || s.Service.Name != g.service || s.Expect != nil:
		case len(s.Faults) == 0 && s.Second == nil && s.Death == nil && s.Herd == nil:
			plain = cmp.Or(plain, command)
		default:
			other = cmp.Or(other, command)
		}
	}
	return cmp.Or(plain, other)
}

// compiled are the drills of the features that are checked out; none when they cannot be compiled.
func (g gate) compiled() []scenarios.Scenario {
	all, err := scenarios.Load([]string{g.features}, "", scenarios.Options{Services: g.services, Options: drill.Options{Environment: g.env, Windows: "gate", Seed: 1}})
	if err != nil {
		return nil
	}
	return all
}
