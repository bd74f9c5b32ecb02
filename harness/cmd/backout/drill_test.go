package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"backout/harness/cache"
	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/verdict"
)

// These tests run real drills through the built program, as a user would: smaller than those of `make drill`.

// machine is where the drills of one test happen: a program, a cache, a register and a temporary folder of their own.
type machine struct {
	t    *testing.T
	root string // of the repository
	dir  string
	env  []string
	in   string // the environment; empty: process

	drill string   // FILE or FILE:LINE; empty: that of drillText
	flags []string // of run, over its own
}

func (m machine) place() string { return cmp.Or(m.in, "process") }

func newMachine(t *testing.T) machine {
	t.Helper()
	if testing.Short() {
		t.Skip("real drills are left out of -short")
	}
	if _, err := postgres.Find(""); err != nil {
		t.Skipf("real drills need PostgreSQL: %v", err)
	}
	if _, err := cache.Find(); err != nil {
		t.Skipf("the drills of the sample need a cache: %v", err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "build/bin")
	if _, err := os.Stat(filepath.Join(bin, "goose")); err != nil {
		t.Skip("real drills need goose's command line: make tools")
	}
	dir := t.TempDir()
	// The test's own program is backout where it is called so (TestMain).
	own, err := os.Executable()
	if err == nil {
		err = copyFile(filepath.Join(dir, "backout"), own)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The run's directory must be reachable for the unprivileged user that runs the nodes, which t.TempDir is not.
	temp, err := os.MkdirTemp("", "backout-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	env := append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"),
		"TMPDIR="+temp,
		"XDG_STATE_HOME="+filepath.Join(dir, "state"),
	)
	return machine{t: t, root: root, dir: dir, env: env}
}

// copyFile makes a program of the same content, by a second name where both are on one disk.
func copyFile(to, from string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

const drillText = `Feature: Rolling back a release that drops a column

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 50 journeys per second by 20 users

  Scenario: The plan restores the column and its data
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  @control
  Scenario: The Down brings the column back empty
    When release "v2-drops-coupon" is deployed over "v1"
    And it is rolled back by the plan "down-without-data"
    Then the drill fails because "rows that nobody touched are unchanged"
`

// command is backout with arguments, in the repository so that it finds the fixtures.
func (m machine) command(args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(m.dir, "backout"), args...)
	c.Dir, c.Env = m.root, m.env
	return c
}

func (m machine) run(args ...string) (out string, code int) {
	m.t.Helper()
	var text bytes.Buffer
	c := m.command(args...)
	c.Stdout, c.Stderr = &text, &text
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return text.String(), c.ProcessState.ExitCode()
}

func (m machine) feature() string {
	path := filepath.Join(m.dir, "drill.feature")
	if err := os.WriteFile(path, []byte(drillText), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// reports is the folder of the only set that was run.
func (m machine) reports() string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.dir, "reports/*-*")) // TIME-NAME; beside it lies the history
	if err != nil || len(found) != 1 {
		m.t.Fatalf("expected one folder of reports, found %v (%v)", found, err)
	}
	return found[0]
}

// temp is the temporary folder of this machine.
func (m machine) temp() string {
	m.t.Helper()
	for _, e := range slices.Backward(m.env) {
		if v, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			return v
		}
	}
	m.t.Fatal("the machine has no temporary folder")
	return ""
}

// nothingLeft fails when a process still runs in the temporary folder, by its arguments, its folder or its environment, or
// when anything is left there. Ports go with the processes that listen on them.
func (m machine) nothingLeft() {
	m.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, proc := range processes {
		command, _ := os.ReadFile(filepath.Join(proc, "cmdline")) // a process that has ended meanwhile is not left
		environ, _ := os.ReadFile(filepath.Join(proc, "environ"))
		folder, _ := os.Readlink(filepath.Join(proc, "cwd"))
		if bytes.Contains(slices.Concat(command, environ, []byte(folder)), []byte(m.temp())) {
			m.t.Errorf("still running: %s", bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		}
	}
	left, err := filepath.Glob(filepath.Join(m.temp(), "*"))
	if err != nil {
		m.t.Fatal(err)
	}
	if len(left) > 0 {
		m.t.Errorf("left in the temporary folder: %v", left)
	}
}

func TestDrillAndItsControl(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	out, code := m.run("run", m.feature(), "--reports", filepath.Join(m.dir, "reports"), "--parallel", "2", "--seed", "7")
	if code != verdict.ExitPass {
		t.Errorf("exit %d, expected 0:\n%s", code, out)
	}
	m.nothingLeft()
	for file, want := range map[string]string{
		"drill-8":  verdict.Pass,
		"drill-18": verdict.Fail, // and expected to
	} {
		dir := filepath.Join(m.reports(), file)
		first, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var v verdict.Verdict
		if err := json.Unmarshal(first, &v); err != nil {
			t.Fatal(err)
		}
		if v.Verdict != want {
			t.Errorf("%s: %s because %s", file, v.Verdict, v.Because)
		}
		if err := os.Remove(filepath.Join(dir, "verdict.json")); err != nil {
			t.Fatal(err)
		}
		if out, code := m.run("judge", dir); code != v.Exit() {
			t.Errorf("judge %s: exit %d, expected %d:\n%s", file, code, v.Exit(), out)
		}
		again, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: judged again, the verdict is another one (%v)", file, err)
		}
		canary(t, dir)
	}
	// Both are in the history, the control apart, and the plan is fresh as it is checked out.
	out, code = m.run("history", "--history", filepath.Join(m.dir, "reports/history"), "--format", "csv")
	if n := strings.Count(out, "\nshop,critical,drill,The plan restores the column and its data,"); n != 1 || strings.Count(out, "\nshop,critical,control,") != 1 || code != 0 {
		t.Errorf("expected a drill and a control in the history, found (exit %d):\n%s", code, out)
	}
	if out, code := m.run("gate", "--service", "shop", "--release", "v2-drops-coupon", "--history", filepath.Join(m.dir, "reports/history")); code != verdict.ExitPass {
		t.Errorf("gate: exit %d, expected 0:\n%s", code, out)
	}
	for _, file := range []string{"index.html", "junit.xml", "summary.md", "drill-8/report.html", "drill-8/junit.xml", "drill-8/summary.md"} {
		if info, err := os.Stat(filepath.Join(m.reports(), file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// canary fails when a password of a database URL is in the evidence.
func canary(t *testing.T, dir string) {
	t.Helper()
	for e, err := range evidence.Read(filepath.Join(dir, evidence.File)) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(line, []byte("postgres://")); i >= 0 && bytes.Contains(line[i:], []byte("@127.0.0.1")) && !bytes.Contains(line[i:], []byte("[secret]")) {
			t.Errorf("event %d holds a database URL that is not redacted: %.200s", e.N, line)
		}
	}
}
