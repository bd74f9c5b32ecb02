package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/history"
	"backout/harness/service"
	"backout/harness/verdict"
)

// drilled adds a run to a history as a drill at that time would have: of a release's own plan for an environment, with the digests of
// what is there now. HISTORY SERVICES SERVICE RELEASE WHEN [verdict=fail] [kind=control] [env=kind] [name=...] [seconds=20]
func drilled(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 5 {
		ts.Fatalf("usage: drilled HISTORY SERVICES SERVICE RELEASE WHEN [key=value...]")
	}
	with := map[string]string{"verdict": verdict.Pass, "env": "process", "name": "it comes back", "seconds": "20"}
	for _, pair := range args[5:] {
		key, value, _ := strings.Cut(pair, "=")
		with[key] = value
	}
	s, err := service.Find([]string{ts.MkAbs(args[1])}, args[2])
	ts.Check(err)
	r, err := s.Release(args[3])
	ts.Check(err)
	p, err := r.Plan("", with["env"])
	ts.Check(err)
	rests, err := r.RollbackFiles(p)
	ts.Check(err)
	digests, err := service.Digests(r.Files(p)...)
	ts.Check(err)
	when, err := time.Parse(time.RFC3339, args[4])
	ts.Check(err)
	run := evidence.Run{Name: with["name"], Path: "features/rollback.feature", Line: 3, Environment: with["env"], Started: when, Seed: 7,
		Again: "backout run features/rollback.feature:3 --env " + with["env"] + " --seed 7", Windows: evidence.Windows{Name: "gate"},
		Service: s.Evidence(), Good: p.To, Release: r.Evidence(), Plan: p.Evidence(), Rollback: rests, Digests: digests, Machine: map[string]string{"cores": "2"}}
	if with["kind"] == history.Control {
		run.Expect = &evidence.Expect{Fails: "x"}
	}
	v := verdict.Verdict{Verdict: with["verdict"], Because: "every promise was kept", Complete: true, Speed: verdict.Speed{Target: run.Service.Target}}
	if with["verdict"] != verdict.Pass {
		v.Because, v.Complete = "orders were lost", false
	} else {
		var seconds float64
		_, err := fmt.Sscan(with["seconds"], &seconds)
		ts.Check(err)
		v.Speed.Seconds = &seconds
	}
	store, err := history.Open(context.Background(), ts.MkAbs(args[0]), true)
	ts.Check(err)
	defer store.Close() // a folder
	added, err := store.Add(context.Background(), history.Of(run, v, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Join(args, " ")))), false))
	ts.Check(err)
	if !added {
		ts.Fatalf("the run was there already")
	}
}

// Runs are added to the history at the end of a set: also those of one that was interrupted, and nothing of those that did not
// run. A history that cannot be written is told, and is an error only where the user named it.
func TestRunsAreAddedToTheHistory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run := evidence.Run{Name: "n", Path: "features/x.feature", Started: time.Now(), Service: evidence.Service{Name: "till"}, Environment: "process"}
	results := []drill.Result{
		{Run: &run, Head: "sha256:0123456789abcdef", Verdict: verdict.Verdict{Verdict: verdict.Pass}},
		{NotApplicable: "there is no plan for kind"},
		{Err: errors.New("no PostgreSQL")},
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		flags flags
		place string
		code  int
		told  string
	}{
		{flags{reports: dir}, filepath.Join(dir, "history"), 0, ""},
		{flags{reports: dir, history: filepath.Join(dir, "mine")}, filepath.Join(dir, "mine"), 0, ""},
		{flags{reports: file}, "", 0, "not in the history: "},
		{flags{reports: dir, history: file}, "", verdict.ExitBroke, ""},
		{flags{reports: dir, history: "gs://drills"}, "", verdict.ExitBroke, ""},
	} {
		told, err := os.Create(filepath.Join(t.TempDir(), "told"))
		if err != nil {
			t.Fatal(err)
		}
		err = keep(ended, c.flags, results, newProgress(told, false, false))
		out, readErr := os.ReadFile(told.Name())
		if err := errors.Join(readErr, told.Close()); err != nil {
			t.Fatal(err)
		}
		var code exit
		if errors.As(err, &code); code.code != c.code || c.code != 0 && code.text == "" || (err == nil) != (c.code == 0) {
			t.Errorf("%+v: expected exit %d, found %v", c.flags, c.code, err)
		}
		if !strings.Contains(string(out), c.told) || c.told == "" && len(out) > 0 {
			t.Errorf("%+v: expected to be told %q, found %q", c.flags, c.told, out)
		}
		if c.place == "" {
			continue
		}
		store, err := history.Open(t.Context(), c.place, false)
		if err != nil {
			t.Fatal(err)
		}
		l, err := store.Load(t.Context())
		if err != nil || len(l.Runs) != 1 || l.Runs[0].Service != "till" {
			t.Errorf("%s: expected one run, found %v, %v", c.place, l, err)
		}
	}
}
