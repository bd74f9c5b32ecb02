package scenarios_test

import (
	"os"
	"path/filepath"
	"testing"

	"backout/harness/drill"
	"backout/scenarios"
)

// Whatever is in a feature file, it compiles or is an error.
func FuzzFeature(f *testing.F) {
	paths, err := filepath.Glob("../features/*/*.feature")
	if err != nil || len(paths) < 10 {
		f.Fatalf("found %d features: %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("Feature:\n  Scenario Outline: <x>\n    Given the service \"<x>\"\n    Examples:\n      | x |\n      | shop |\n")
	f.Add("Feature: F\n  Rule: R\n    Background:\n      Given the service \"\"\n    Scenario: S\n      When it is rolled back by its plan\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "any.feature")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// An error is as good as a drill: the point is that it is one of the two.
		_, _ = scenarios.Load([]string{path}, "", scenarios.Options{
			Services: []string{"../fixtures/services"},
			Options:  drill.Options{Environment: "process", Windows: "gate", Seed: 1},
		})
	})
}
