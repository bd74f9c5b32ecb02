package scenarios_test

import (
	"slices"
	"testing"

	"backout/harness/drill"
	"backout/harness/service"
	"backout/harness/verdict"
	"backout/scenarios"
)

// A check that no control names was never seen to go red: nobody knows whether it can.
func TestEveryCheckIsNamedByAControl(t *testing.T) {
	named := map[string][]string{}
	for _, environment := range []string{service.InProcesses, service.InContainers, "kind"} {
		all, err := scenarios.Load([]string{"../features"}, "", scenarios.Options{
			Services: []string{"../fixtures/services"},
			Options:  drill.Options{Environment: environment, Windows: "gate", Seed: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if !s.Control() || s.Expect == nil { // one that does not apply here is not compiled to its end
				continue
			}
			if environment == service.InProcesses {
				named[s.Expect.Fails] = append(named[s.Expect.Fails], s.Where())
			}
			if environment == "kind" && len(s.Faults) > 0 {
				continue // which faults a cluster knows is for its environment to say
			}
			if s.NotApplicable == "" && scenarios.RightDrill(s, all) == nil {
				t.Errorf("%s in %s: no drill rolls %s back by its plan, beside which the control could run", s.Where(), environment, s.Bad.Name)
			}
		}
	}
	for _, name := range verdict.Names() {
		if named[name] == nil {
			t.Errorf("no control names the check %q: add a drill to features/controls that it makes red", name)
		}
	}
}

// Every drill of the process environment is in the gate, unless it must be alone, or needs a program that takes minutes to build.
func TestEveryDrillIsInTheGateOrAlone(t *testing.T) {
	all, err := scenarios.Load([]string{"../features"}, "", scenarios.Options{
		Services: []string{"../fixtures/services"},
		Options:  drill.Options{Environment: "process", Windows: "gate", Seed: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if slices.Contains(s.Tags, "@opentofu") {
			if slices.Contains(s.Tags, "@gate") || s.Alone() {
				t.Errorf("%s: expected @opentofu alone, found %v", s.Where(), s.Tags)
			}
			continue
		}
		if s.NotApplicable == "" && slices.Contains(s.Tags, "@gate") == s.Alone() {
			t.Errorf("%s: expected either @gate or @alone, found %v", s.Where(), s.Tags)
		}
	}
}
