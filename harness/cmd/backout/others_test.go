package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// TestServicesThatAreNotOurs drills what is in testdata/others: a service in Python's standard library that keeps its
// data in a file, and a schema alone whose rollback is plain SQL. Each has a right rollback and a control. What a
// service does not have is not applicable, and nothing is inconclusive because of it.
func TestServicesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, needs string
		absent      []string
	}{
		{"notes", "python3", []string{verdict.NodesHaveSchema, verdict.FrozenUnchanged, verdict.MigrationsMatch, verdict.ReferencesLead,
			verdict.JobsDone, verdict.SessionsAccepted, verdict.DependantsWork}},
		{"books", "psql", []string{verdict.InstancesServe, verdict.WritesExactlyOnce, verdict.NoPhantoms, verdict.EffectsExactlyOnce,
			verdict.MigrationsMatch, verdict.JobsDone, verdict.SessionsAccepted, verdict.DependantsWork}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.needs); err != nil {
				t.Skipf("this service needs %s: %v", c.needs, err)
			}
			m := newMachine(t)
			others := filepath.Join(m.root, "harness/cmd/backout/testdata/others")
			reports := filepath.Join(m.dir, "reports")
			cmd := exec.Command(filepath.Join(m.dir, "backout"), "run", filepath.Join(others, c.name+".feature"),
				"--services", others, "--reports", reports, "--seed", "7", "--parallel", "1")
			cmd.Dir, cmd.Env = m.root, m.env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			saved, err := filepath.Glob(filepath.Join(reports, "*", "*", "verdict.json"))
			if err != nil || len(saved) != 2 {
				t.Fatalf("expected two verdicts, found %v (%v)", saved, err)
			}
			for _, path := range saved {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				var v verdict.Verdict
				if err := json.Unmarshal(text, &v); err != nil {
					t.Fatal(err)
				}
				for _, p := range v.Promises {
					if p.State == verdict.Unjudged {
						t.Errorf("%s: %q could not be judged: %s", path, p.Name, p.Finding)
					}
					for _, name := range c.absent {
						if p.Name == name && p.State != verdict.NotApplicable {
							t.Errorf("%s: expected %q to be not applicable, found %s: %s", path, name, p.State, p.Finding)
						}
					}
				}
			}
			if c.name == "notes" {
				m.secretHidden(reports, filepath.Join(others, "notes", "token"))
			}
		})
	}
}

// secretHidden reads everything that was written of a service that says its secret in the answers of its bad release.
func (m machine) secretHidden(reports, file string) {
	m.t.Helper()
	secret, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	secret = bytes.TrimSpace(secret)
	hidden := 0
	err = filepath.WalkDir(reports, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && d.Name() == evidence.File {
			cmd := exec.Command(filepath.Join(m.dir, "backout"), "evidence", filepath.Dir(path)) // it is compressed
			text, err = cmd.Output()
		}
		if bytes.Contains(text, secret) {
			m.t.Errorf("%s holds the secret of the service", path)
		}
		hidden += bytes.Count(text, []byte("[secret]"))
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if hidden == 0 {
		m.t.Error("expected the secret that the service says to stand as [secret], found no such place")
	}
}
