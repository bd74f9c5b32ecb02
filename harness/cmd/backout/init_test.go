package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What `backout init` writes runs as it is, and its control goes red.
func TestInitWritesWhatRuns(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.root = filepath.Join(m.dir, "mine")
	if err := os.Mkdir(m.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, code := m.run("init"); code != 0 || !strings.Contains(out, "wrote service.yaml") {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	if out, code := m.run("init"); code != 3 || !strings.Contains(out, "nothing was written") {
		t.Errorf("init again: exit %d\n%s", code, out)
	}
	out, code := m.run("controls", "--parallel", "2", "--seed", "7")
	if code != 1 || !strings.Contains(out, "1 of 1 controls killed") || !strings.Contains(out, `no control names the check "service is restored"`) {
		// One control cannot name every check, and says so.
		t.Errorf("controls: exit %d\n%s", code, out)
	}
	if out, code = m.run("controls", "features/controls", "--parallel", "2", "--seed", "7"); code != 0 {
		t.Errorf("controls of a folder: exit %d\n%s", code, out)
	}
	m.nothingLeft()
}

// A control whose sabotage does nothing proves nothing, and one that the drill does not see is red.
func TestControlsThatProveNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, steps, shown, says string
		code                     int
	}{
		{"the sabotage did nothing", "./deploy v1", "false", "not shown", 2},
		{"it failed for another reason", "./deploy v1 hello-1; exit 1", "true", "another reason", 1},
		{"the drill does not see it", "./deploy v1", "true", "survived", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newStarter(t, nil)
			plan := filepath.Join(m.root, "releases/v2/forgets-an-instance.yaml")
			text, err := os.ReadFile(plan)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.NewReplacer(`readlink "$("$SUPERVISOR" link hello-2)" | grep -q '/v2$'`, c.shown,
				"within: 10s", "within: 1s", "run: ./deploy v1 hello-1", "run: "+c.steps).Replace(string(text))
			if err := os.WriteFile(plan, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
			feature := filepath.Join(m.root, "features/controls/forgets-an-instance.feature")
			if c.says == "another reason" {
				text, err := os.ReadFile(feature)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(feature, []byte(strings.Replace(string(text), "every instance serves the target release", "nothing is left behind", 1)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, code := m.run("controls", "features/controls", "--parallel", "2", "--seed", "7")
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("expected exit %d and %q, found exit %d\n%s", c.code, c.says, code, out)
			}
			m.nothingLeft()
		})
	}
}
