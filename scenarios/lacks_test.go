package scenarios_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/drill"
	"backout/scenarios"
)

// A drill that needs a program which this machine has not does not apply, and says what mends it, before anything starts.
func TestADrillWithoutItsCacheDoesNotApply(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"items/service.yaml": `service: items
tier: standard
run: {process: {command: [./items], env: {CACHE: "{cache_url}"}}}
ready: /readyz
release: {header: X-Release}
journeys: {browse: {steps: [{GET /items: {}, expect: 200}]}}
caches: {pages: {read_by: browse, stale: return 0}}
`,
		"items/releases/v1/release.yaml":  "release: v1\ngood: true\n",
		"items/releases/v2/release.yaml":  "release: v2\nknown_bad: It fills the cache.\ntraps: {entries: {cache: pages, at_least: 5}}\nrollout: [{name: it, run: 'true', timeout: 1s, again: safe}]\n",
		"items/releases/v2/rollback.yaml": "plan: back\nfrom: v2\nto: v1\nsteps: [{name: back, run: 'true', timeout: 1s, again: safe}]\n",
		"items.feature": `@gate
Feature: Items
  Scenario: Entries
    Given the service "items"
    And 5 journeys per second by 5 users
    When release "v2" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then every cache holds what the release of before can read
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	all, err := scenarios.Load([]string{filepath.Join(dir, "items.feature")}, "", scenarios.Options{
		Services: []string{dir}, Options: drill.Options{Environment: "process", Windows: "gate", Seed: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || !strings.Contains(all[0].NotApplicable, "apt-get install redis-server") || !strings.Contains(all[0].NotApplicable, "items has a cache") {
		t.Errorf("found %q", all[0].NotApplicable)
	}
}
