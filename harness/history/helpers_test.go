package history

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"backout/harness/verdict"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func ago(days float64) time.Time { return noon.Add(-time.Duration(days * 24 * float64(time.Hour))) }

// green is a green drill, so many days before noon, changed by what is given.
func green(days float64, change ...func(*Run)) Run {
	seconds := 20.0
	r := Run{Format: Format, Kind: Drill, Service: "till", Tier: "critical", Feature: "features/drops.feature", Line: 14, Name: "the column comes back",
		Plan: Plan{"restore the column", "releases/v2/rollback.yaml", 3}, From: "v2", To: "v1", Again: "backout run features/drops.feature:14 --env process --seed 7",
		Environment: "process", Cores: 2, Database: true, Rows: map[string]int{"orders": 1000}, Windows: "gate", Seed: 7, When: ago(days),
		Verdict: verdict.Pass, Because: "every promise was kept", Restored: &seconds, Users: &seconds, Target: 300, Complete: true,
		Promises: map[string]int{verdict.Kept: 14}, PromiseList: 2,
		Head:  hash(days),
		Files: map[string]string{"releases/v2/rollback.yaml": "sha256:aa", "deploy": "sha256:bb", "migrations/00001_a.sql": "sha256:cc"}}
	for _, c := range change {
		c(&r)
	}
	return r
}

func hash(of any) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Append(nil, of))) }

func red(r *Run) {
	r.Verdict, r.Exit, r.Complete, r.Because, r.Restored = verdict.Fail, verdict.ExitFail, false, "orders were lost", nil
}

func unclear(r *Run) {
	r.Verdict, r.Exit, r.Complete, r.Because = verdict.Inconclusive, verdict.ExitInconclusive, false, "the harm was not seen"
}

func taking(seconds float64) func(*Run) { return func(r *Run) { r.Restored = &seconds } }

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t testing.TB, s *Store, runs ...Run) {
	t.Helper()
	for _, r := range runs {
		if added, err := s.Add(t.Context(), r); err != nil || !added {
			t.Fatalf("expected %s to be added, found %v, %v", r.Head, added, err)
		}
	}
}

func loaded(t testing.TB, s *Store) *Log {
	t.Helper()
	l, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// objects are the files of runs in a folder.
func objects(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// change rewrites a file.
func change(t testing.TB, path string, how func(text []byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
