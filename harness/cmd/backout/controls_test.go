package main

import (
	"testing"

	"backout/harness/drill"
	"backout/harness/fault"
	"backout/scenarios"
)

// A rule that finds nothing to change in any right rollback of the sample would never be tried.
func TestEveryRuleChangesARightRollback(t *testing.T) {
	all, err := scenarios.Load([]string{"../../../features"}, "", scenarios.Options{
		Services: []string{"../../../fixtures/services"},
		Options:  drill.Options{Environment: "process", Windows: "gate", Seed: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	mutants, err := mutate(all, 100_000, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	made, names := map[string]int{}, map[string]bool{}
	for _, m := range mutants {
		made[m.Mutant.Rule]++
		name := m.Bad.Name + ": " + m.Mutant.What
		if names[name] {
			t.Errorf("two mutants are called %q", name)
		}
		names[name] = true
	}
	for _, rule := range fault.Rules() {
		if made[rule] == 0 {
			t.Errorf("the rule %q makes no mutant of any right rollback", rule)
		}
	}
	if few := 100; len(mutants) < few {
		t.Errorf("expected at least %d mutants, found %d", few, len(mutants))
	}
}
