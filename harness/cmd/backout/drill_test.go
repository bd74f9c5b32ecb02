package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
}

func newMachine(t *testing.T) machine {
	t.Helper()
	if testing.Short() {
		t.Skip("real drills are left out of -short")
	}
	if _, err := postgres.Find(""); err != nil {
		t.Skipf("real drills need PostgreSQL: %v", err)
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
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "backout"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
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
	found, err := filepath.Glob(filepath.Join(m.dir, "reports/*"))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("expected one folder of reports, found %v (%v)", found, err)
	}
	return found[0]
}

// nothingLeft fails when a process still runs out of the temporary folder, or a directory is left in it.
func (m machine) nothingLeft() {
	m.t.Helper()
	temp := ""
	for _, e := range m.env {
		if v, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			temp = v
		}
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, path := range cmdlines {
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(temp)) {
			m.t.Errorf("still running: %s", bytes.ReplaceAll(text, []byte{0}, []byte(" ")))
		}
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil {
		m.t.Fatal(err)
	}
	if len(left) > 0 {
		m.t.Errorf("left in the temporary folder: %v", left)
	}
}

func TestDrillAndItsControl(t *testing.T) {
	m := newMachine(t)
	out, code := m.run("run", m.feature(), "--reports", filepath.Join(m.dir, "reports"), "--parallel", "2", "--seed", "7")
	if code != verdict.ExitPass {
		t.Errorf("exit %d, expected 0:\n%s", code, out)
	}
	m.nothingLeft()
	for file, want := range map[string]string{
		"drill-8":  verdict.Pass,
		"drill-17": verdict.Fail, // and expected to
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

// interrupt starts a drill, waits until it says that a phase has ended, and sends a signal.
func interrupt(m machine, phase string, s syscall.Signal) (code int) {
	m.t.Helper()
	c := m.command("run", m.feature()+":8", "--reports", filepath.Join(m.dir, "reports"), "--json", "--seed", "7")
	out, err := c.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	var text bytes.Buffer
	c.Stderr = &text
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	lines := json.NewDecoder(out)
	for {
		var line struct {
			Phase   string  `json:"phase"`
			Seconds float64 `json:"seconds"`
		}
		if err := lines.Decode(&line); err != nil {
			m.t.Fatalf("the drill ended before %q did: %v\n%s", phase, err, text.String())
		}
		if line.Phase == phase && line.Seconds > 0 {
			break
		}
	}
	if err := c.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.More() { // the pipe must be read, or the drill would wait for us
			var line json.RawMessage
			if lines.Decode(&line) != nil {
				break
			}
		}
		_ = c.Wait() // its state says how it ended
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		_ = c.Process.Kill()
		m.t.Fatal("it did not end within 2 minutes after the signal")
	}
	return c.ProcessState.ExitCode()
}

func TestInterruptedDrillIsInconclusiveAndLeavesNothing(t *testing.T) {
	m := newMachine(t)
	if code := interrupt(m, "baseline", syscall.SIGTERM); code != verdict.ExitInconclusive {
		t.Errorf("exit %d, expected %d", code, verdict.ExitInconclusive)
	}
	m.nothingLeft()
	if out, code := m.run("judge", m.reports()); code != verdict.ExitInconclusive {
		t.Errorf("judge: exit %d:\n%s", code, out)
	}
}

func TestKilledDrillIsCleaned(t *testing.T) {
	m := newMachine(t)
	interrupt(m, "baseline", syscall.SIGKILL)
	if out, code := m.run("clean"); code != 0 {
		t.Errorf("clean: exit %d:\n%s", code, out)
	}
	m.nothingLeft()
	out, code := m.run("judge", m.reports())
	if code != verdict.ExitInconclusive {
		t.Errorf("judge: exit %d, expected %d:\n%s", code, verdict.ExitInconclusive, out)
	}
}
