package scenarios_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/scenarios"
)

// compileWith compiles the drill of a release with three steps to roll back and a line more.
func compileWith(t *testing.T, line string) (scenarios.Scenario, error) {
	t.Helper()
	return compileOn(t, "a streaming replica and a logical replica", line)
}

func compileOn(t *testing.T, replicas, line string) (scenarios.Scenario, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.feature")
	text := `@gate
Feature: Faults
  Scenario: One
    Given the service "shop" with 100000 orders
    And ` + replicas + `
    And 30 journeys per second by 30 users
    When release "v2" is deployed over "v1"
    And it is rolled back by its plan
    And ` + line + `
    Then service is restored
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := scenarios.Load([]string{path}, "", scenarios.Options{Services: []string{"../fixtures/services"},
		Options: drill.Options{Environment: "process", Windows: "gate", Seed: 1}})
	if err != nil {
		return scenarios.Scenario{}, err
	}
	return all[0], nil
}

func TestFaultsAreDeclared(t *testing.T) {
	for line, want := range map[string]evidence.DeclaredFault{
		"shop-2 is paused while it is rolled back":                               {Kind: "pause", Of: "shop-2", Before: 1, Text: "shop-2 is paused"},
		"billing-1 is killed before step 3":                                      {Kind: "kill", Of: "billing-1", Before: 3, Text: "billing-1 is killed"},
		"the streaming replica is cut off before step 2, until step 3 has ended": {Kind: "cut", Of: "streaming", Before: 2, Until: 3, Text: "the streaming replica is cut off"},
		"the streaming replica is killed before step 2, for good":                {Kind: "kill", Of: "streaming", Before: 2, ForGood: true, Text: "the streaming replica is killed"},
		"the connections of shop to its database are slowed by 200 ms before step 1, until step 2 has ended": {Kind: "slow", Of: "shop", Seconds: 0.2, Before: 1, Until: 2,
			Text: "the connections of shop to its database are slowed by 200 ms"},
		"the connections of shop to its database are dropped before step 1":       {Kind: "drop", Of: "shop", Before: 1, Text: "the connections of shop to its database are dropped"},
		"the disk of the primary is full before step 2":                           {Kind: "disk", Of: "primary", Before: 2, Text: "the disk of the primary is full"},
		"the streaming replica lags by 5 seconds while it is rolled back":         {Kind: "lag", Of: "streaming", Seconds: 5, Before: 1, Text: "the streaming replica lags by 5 seconds"},
		"a long reader on the streaming replica holds back replay before step 2":  {Kind: "reader", Of: "streaming", Before: 2, Text: "a long reader on the streaming replica holds back replay"},
		"the clock of the primary is 90 seconds behind before step 1":             {Kind: "clock", Of: "primary", Seconds: -90, Before: 1, Text: "the clock of the primary is 90 seconds behind"},
		"the registry is down while it is rolled back":                            {Kind: "registry", Of: "v1", Before: 1, Text: "the registry is down"},
		"the primary fails over to the streaming replica before step 2, for good": {Kind: "failover", Of: "streaming", Before: 2, ForGood: true, Text: "the primary fails over to the streaming replica"},
		"the primary fails over to the streaming replica, which is 1 seconds behind before step 2, for good": {Kind: "failover", Of: "streaming", Seconds: 1, Before: 2, ForGood: true,
			Text: "the primary fails over to the streaming replica, which is 1 seconds behind"},
		"a pod of billing is killed before step 2":                                   {Kind: "pod", Of: "billing", Before: 2, Text: "a pod of billing is killed"},
		"the worker is drained while it is rolled back":                              {Kind: "drain", Of: "worker", Before: 1, Text: "the worker is drained"},
		"the kubelet of the worker is stopped before step 1, until step 1 has ended": {Kind: "kubelet", Of: "worker", Before: 1, Until: 1, Text: "the kubelet of the worker is stopped"},
		"the image of v1 cannot be pulled while it is rolled back":                   {Kind: "image", Of: "v1", Before: 1, Text: "the image of v1 cannot be pulled"},
		"the API server is paused before step 1, until step 1 has ended":             {Kind: "apiserver", Of: "cluster", Before: 1, Until: 1, Text: "the API server is paused"},
		"the quota of pods is used up while it is rolled back":                       {Kind: "quota", Of: "namespace", Before: 1, Text: "the quota of pods is used up"},
		"a disruption budget forbids to evict the pods of shop while it is rolled back": {Kind: "budget", Of: "shop", Before: 1,
			Text: "a disruption budget forbids to evict the pods of shop"},
	} {
		s, err := compileWith(t, line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if len(s.Faults) != 1 || s.Faults[0] != want {
			t.Errorf("%s:\nexpected %+v\n   found %+v", line, want, s.Faults)
			continue
		}
		if s.NotApplicable != "" {
			continue
		}
		if lines := strings.Join(s.Lines(drill.Options{Environment: "process", Windows: "gate"}), "\n"); !strings.Contains(lines, fault.Words(want)) {
			t.Errorf("%s: the drill plan does not say %q:\n%s", line, fault.Words(want), lines)
		}
	}
}

func TestWhatCannotBeDisturbedIsSaidBeforeAnythingStarts(t *testing.T) {
	for line, want := range map[string]string{
		"shop-4 is paused while it is rolled back":                                 `x.feature:9: there is no "shop-4" in this drill; there are billing-1, shop-1, shop-2, shop-3, the primary, the streaming replica`,
		"the logical replica is paused while it is rolled back":                    `there is no "the logical replica" in this drill`,
		"shop-2 is unwell while it is rolled back":                                 `no step has the form "shop-2 is unwell while it is rolled back"; the nearest known ones`,
		"shop-2 is paused before step 5":                                           "has the steps 1 to 4, found step 5",
		"shop-2 is paused before step 0":                                           "has the steps 1 to 4, found step 0",
		"shop-2 is paused before step 2, until step 1 has ended":                   "one from step 2 until step 1 has ended",
		"the disk of shop-2 is full while it is rolled back":                       "it can be done to primary, streaming, logical only, and shop-2 is none",
		"the primary lags by 5 seconds while it is rolled back":                    "it can be done to streaming, logical only, and primary is none",
		"the streaming replica applies nothing while it is rolled back":            "expected by how much",
		"the connections of shop to its database are slowed by 0 ms before step 1": "expected more than 0 ms",
		"the clock of the primary is 1 seconds ahead before step 1":                "expected more than 1 s",
		"the registry is down before step 1, for good":                             "takes nothing away",
		"a pod of ledger is killed while it is rolled back":                        `there is no "ledger" in this drill; there are billing, shop`,
		"the image of v3 cannot be pulled while it is rolled back":                 `there is no "v3" in this drill; there are v1, v2`,
		"the quota of pods is used up before step 1, for good":                     "takes nothing away",
		"the primary fails over to the streaming replica before step 2":            "what was promoted stays the primary",
		"the primary fails over to shop-2 before step 2, for good":                 "it can be done to streaming only, and shop-2 is none",
	} {
		if _, err := compileOn(t, "a streaming replica", line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\nexpected ... %s ...\nfound %v", line, want, err)
		}
	}
}

// An environment that cannot do what a drill declares is not blamed: the drill does not apply there, and says why.
func TestADrillWhoseFaultCannotBeBroughtAboutDoesNotApply(t *testing.T) {
	s, err := compileWith(t, "the disk of the primary is full before step 2")
	if err != nil {
		t.Fatal(err)
	}
	want := "the environment process cannot do what the drill declares: it cannot give a node a disk of its own"
	if !strings.Contains(s.NotApplicable, want) {
		t.Errorf("expected ... %s ..., found %q", want, s.NotApplicable)
	}
}

// A replica whose URL a command wants must be there.
func TestReplicasThatCommandsWantAreGiven(t *testing.T) {
	_, err := compileOn(t, "a streaming replica", "shop-2 is paused while it is rolled back")
	if err == nil || !strings.Contains(err.Error(), "env: {LOGICAL: DATABASE_URL_LOGICAL} needs a replica that this drill has not") {
		t.Errorf("expected that the logical replica is missed, found %v", err)
	}
}
