package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// RollbackFiles are the plan, what its steps name and what that names, and migrations up to the release's number: no
// others, so that a later migration makes no drill stale.
func TestRollbackFiles(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"service.yaml":                         "service: till\ntier: critical\nrun:\n  process: {command: [./till]}\nready: /readyz\nrelease: {header: X-Release}\ndatabase:\n  migrations: {tool: goose, dir: ./migrations}\njourneys:\n  look: {steps: [{GET /: {}, expect: 200}]}\n",
		"deploy":                               "#!/bin/sh\n. ./common\n",
		"common":                               "true\n",
		"unnamed":                              "true\n",
		"notes/a":                              "a\n",
		"migrations/00001_start.sql":           "select 1;\n",
		"migrations/00005_mine.sql":            "select 5;\n",
		"migrations/00006_later.sql":           "select 6;\n",
		"migrations/README":                    "words\n",
		"releases/v1/release.yaml":             "release: v1\ngood: true\nmigrate_to: 1\n",
		"releases/v2/release.yaml":             "release: v2\ngood: true\nmigrate_to: 5\nrollout:\n  - {name: a, run: ./only-out, timeout: 1s, again: safe}\n",
		"releases/v2/only-out":                 "true\n",
		"releases/v2/other.yaml":               "words\n",
		"releases/v2/migrations/2.sql":         "no migration by its name\n",
		"releases/v2/migrations/00004_own.sql": "select 4;\n",
		"releases/v2/rollback.yaml": "plan: p\nfrom: v2\nto: v1\nsteps:\n" +
			"  - {name: a, run: goose -dir migrations postgres x down-to 1, timeout: 1s, again: safe}\n" +
			"  - {name: b, run: ./deploy v1 && cat notes/a, timeout: 1s, again: safe}\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(filepath.Join(dir, "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan("", "process")
	if err != nil {
		t.Fatal(err)
	}
	files, err := r.RollbackFiles(p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		rel, _ := filepath.Rel(dir, f)
		got = append(got, rel)
	}
	want := []string{"common", "deploy", "migrations/00001_start.sql", "migrations/00005_mine.sql", "notes/a", "releases/v2/migrations/00004_own.sql", "releases/v2/rollback.yaml"}
	if !slices.Equal(got, want) {
		t.Errorf("expected\n%s\nfound\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	// All of it is in the evidence of a drill.
	digests, err := Digests(r.Files(p)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if digests[f] == "" {
			t.Errorf("%s is not among what the drill depends on", f)
		}
	}
}
