package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/report"
	"backout/harness/service"
	"backout/harness/verdict"
	"backout/scenarios"
)

func controlsCommand() *cobra.Command {
	var f flags
	var mutants int
	var only string
	c := &cobra.Command{
		Use:   "controls [features...]",
		Short: "Show that the drills would notice: sabotage rollbacks on purpose and see which check goes red",
		Long: `Run every control (@control: a drill whose rollback is sabotaged on purpose) beside the same drill by the right plan,
and print the kill table: the sabotage, the check that is expected to catch it, the checks that did.

A control must go red for the reason that it states, its evidence must show that the sabotage took effect, and the same
drill by the right plan must pass. Every check must be named by a control.

With --mutants N, right rollbacks are changed by rule as well: a step or a statement dropped, swapped or repeated, a node
or an instance skipped, values nulled, shifted or swapped, half of it committed, an index, a grant, a trigger or a default
left out. Each mutant should fail its drill. Those that survive are listed; one that changes nothing has its reason written
in mutants.yaml beside service.yaml.

Exit codes: 0 every control killed for its own reason and no mutant survived, 1 not so, 2 something could not be shown.`,
		Example: `  backout controls
  backout controls features/controls/empty-down.feature
  backout controls --mutants 60 --seed 7 --parallel 4`,
		RunE: func(c *cobra.Command, args []string) error { return controls(c.Context(), args, f, mutants, only) },
	}
	f.add(c)
	f.addRun(c)
	c.Flags().IntVar(&mutants, "mutants", 0, "how many mutants to draw by the seed")
	c.Flags().StringVar(&only, "only", "", "run this mutant alone, by the number that the table gives it")
	return c
}

func controls(ctx context.Context, paths []string, f flags, mutants int, only string) error {
	if len(paths) == 0 {
		paths = []string{"features"}
	}
	wanted, o, err := f.compile(paths)
	if err != nil {
		return err
	}
	whole := len(paths) == 1 && paths[0] == "features" && f.tags == ""
	all := wanted
	if !whole { // the right drills may be among the others; where features stand elsewhere, what is named must hold them
		everything := f
		everything.tags = ""
		if others, _, err := everything.compile([]string{"features"}); err == nil {
			all = append(slices.Clone(wanted), others...)
		}
	}
	chosen, err := withRightDrills(wanted, all)
	if err != nil {
		return err
	}
	if mutants > 0 {
		made, err := mutate(all, mutants, f.seed, only)
		if err != nil {
			return err
		}
		if only != "" {
			chosen = nil
		}
		for _, m := range made {
			chosen = withOnce(chosen, m.right)
		}
		for _, m := range made {
			chosen = append(chosen, m.Scenario)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no scenario of %s has the tag @control, and no mutants are asked for: nothing would be sabotaged", strings.Join(paths, ", "))
	}
	if f.name == "" {
		f.name = "controls"
	}
	results, show, set, err := runSet(ctx, chosen, o, f)
	if err != nil {
		return err
	}
	defer show.after()
	if err := conclude(ctx, set, f, results, show); err != nil {
		if code, is := err.(exit); !is || code.text != "" || code.code == verdict.ExitBroke {
			return err
		}
	}
	return kills(set, f.name, results, show, whole && only == "")
}

// kills prints the kill table and gives the exit code of the controls. whole says that all controls there are were run.
func kills(dir, name string, results []drill.Result, show *progress, whole bool) error {
	k := entries(dir, name, results).Kills()
	if !whole {
		k.Unnamed = nil
	}
	for _, line := range k.Lines() {
		show.note(line)
	}
	show.note("")
	if len(k.Unkilled) > 0 {
		show.note("named by a control and not killed: " + strings.Join(k.Unkilled, "; "))
	}
	fails, open := k.Wrong()
	for _, line := range fails {
		show.note("wrong: " + line)
	}
	for _, line := range open {
		show.note("open: " + line)
	}
	show.note(k.Says())
	switch {
	case len(fails) > 0:
		return exit{code: verdict.ExitFail}
	case len(open) > 0:
		return exit{code: verdict.ExitInconclusive}
	}
	return nil
}

// withRightDrills are the controls among the wanted scenarios, each beside the drills that roll the same release back by
// its right plan, once.
func withRightDrills(wanted, all []scenarios.Scenario) ([]scenarios.Scenario, error) {
	var chosen []scenarios.Scenario
	for _, c := range wanted {
		if !c.Control() {
			continue
		}
		if c.NotApplicable == "" {
			right := scenarios.RightDrill(c, all)
			if right == nil {
				return nil, fmt.Errorf("%s: expected a drill that rolls %s back by its plan, beside which the control runs; found none", c.Where(), c.Bad.Name)
			}
			chosen = withOnce(chosen, *right)
		}
		chosen = withOnce(chosen, c)
	}
	return chosen, nil
}

// withOnce adds a scenario unless it is among them.
func withOnce(chosen []scenarios.Scenario, s scenarios.Scenario) []scenarios.Scenario {
	if slices.ContainsFunc(chosen, func(c scenarios.Scenario) bool { return c.Where() == s.Where() }) {
		return chosen
	}
	return append(chosen, s)
}

// mutant is a drill whose right rollback was changed by a rule, with the drill that it was made of.
type mutant struct {
	scenarios.Scenario
	right scenarios.Scenario
}

// mutate draws mutants of all right rollbacks, by seed.
func mutate(all []scenarios.Scenario, n int, seed int64, only string) ([]mutant, error) {
	type made struct {
		fault.Mutant
		of scenarios.Scenario
	}
	var pool []made
	seen := map[string]bool{}
	for _, s := range all {
		if !s.Right() || !s.ByItsPlan() || len(s.Faults) > 0 || s.Death != nil || s.Alone() || seen[s.Plan.Path] {
			continue
		}
		seen[s.Plan.Path] = true
		right, err := fault.Read(s.Plan, s.Good)
		if err != nil {
			return nil, err
		}
		for _, m := range fault.Mutants(right) {
			pool = append(pool, made{m, s})
		}
	}
	var out []mutant
	for i, m := range fault.Draw(pool, func(m made) string { return m.Rule }, n, seed) {
		s := m.of
		s.Variant = fmt.Sprintf("mutant-%03d", i+1)
		if only != "" && only != fmt.Sprint(i+1) {
			continue
		}
		why, err := service.Equivalent(s.Service, s.Bad.Name, m.What)
		if err != nil {
			return nil, err
		}
		s.Name += ", changed: " + m.What
		s.Plan, s.Overlay = m.Plan, m.Overlay
		s.Mutant = &evidence.Mutant{Rule: m.Rule, What: m.What, Equivalent: why}
		s.Repeat = fmt.Sprintf("backout controls --mutants %d --seed %d --only %d", n, seed, i+1)
		out = append(out, mutant{s, m.of})
	}
	return out, nil
}

// entries is the set as its reports list it.
func entries(dir, name string, results []drill.Result) report.Set {
	s := report.Set{Name: name}
	for _, r := range results {
		s.Runs = append(s.Runs, r.Entry(dir))
	}
	return s
}
