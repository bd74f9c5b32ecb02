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
	everything := f
	everything.tags = ""
	all, _, err := everything.compile([]string{"features"})
	if err != nil {
		all = wanted // the features stand elsewhere: what is named must hold the right drills too
	}
	chosen, err := withRightDrills(wanted, append(slices.Clone(wanted), all...))
	if err != nil {
		return err
	}
	whole := len(paths) == 1 && paths[0] == "features" && f.tags == ""
	if mutants > 0 {
		made, err := mutate(append(slices.Clone(wanted), all...), mutants, f.seed, only)
		if err != nil {
			return err
		}
		if only != "" {
			chosen = nil
		}
		for _, m := range made {
			if !slices.ContainsFunc(chosen, func(s scenarios.Scenario) bool { return s.Variant == "" && s.Where() == m.Where() }) {
				right := m
				right.Spec = *rightOf(m, append(slices.Clone(wanted), all...))
				chosen = append(chosen, right)
			}
		}
		chosen = append(chosen, made...)
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
	if err := conclude(set, f.name, results, show); err != nil {
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
	add := func(s scenarios.Scenario) {
		if !slices.ContainsFunc(chosen, func(c scenarios.Scenario) bool { return c.Where() == s.Where() }) {
			chosen = append(chosen, s)
		}
	}
	for _, c := range wanted {
		if !c.Control() {
			continue
		}
		if c.NotApplicable == "" {
			right := scenarios.RightDrill(c, all)
			if right == nil {
				return nil, fmt.Errorf("%s: expected a drill that rolls %s back by its plan, beside which the control runs; found none", c.Where(), c.Bad.Name)
			}
			add(*right)
		}
		add(c)
	}
	return chosen, nil
}

// rightOf is the scenario that a mutant was made of.
func rightOf(m scenarios.Scenario, all []scenarios.Scenario) *drill.Spec {
	for i := range all {
		if all[i].Where() == m.Where() {
			return &all[i].Spec
		}
	}
	return &m.Spec
}

// mutate draws mutants of all right rollbacks, by seed.
func mutate(all []scenarios.Scenario, n int, seed int64, only string) ([]scenarios.Scenario, error) {
	type made struct {
		fault.Mutant
		of scenarios.Scenario
	}
	var pool []made
	seen := map[string]bool{}
	for _, s := range all {
		if s.NotApplicable != "" || s.Control() || s.Expect != nil || s.Alone() || seen[s.Plan.Path] || !s.ByItsPlan() {
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
	var out []scenarios.Scenario
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
		out = append(out, s)
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
