package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// steered is a drill that asks for approval and runs in another process, as orders find it.
type steered struct {
	machine
	reports string
	lines   chan string // what it prints
	ended   chan error
}

// steer starts the drill of notes, whose plan asks for approval here.
func steer(t *testing.T, args ...string) steered {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("this service needs python3: %v", err)
	}
	m := newMachine(t)
	services := filepath.Join(m.dir, "services")
	if err := os.CopyFS(services, os.DirFS(filepath.Join(m.root, "harness/cmd/backout/testdata/others"))); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(services, "notes/releases/v2-fails-writes/rollback.yaml")
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	asks := strings.Replace(string(text), "again: safe\n", "again: safe\n    approval: ask\n    expires: 3m\n", 1)
	if err := os.WriteFile(plan, []byte(asks), 0o644); err != nil || asks == string(text) {
		t.Fatalf("the plan does not ask: %v", err)
	}
	s := steered{machine: m, reports: filepath.Join(m.dir, "reports"), lines: make(chan string, 1000), ended: make(chan error, 1)}
	c := m.command(append([]string{"run", filepath.Join(services, "notes.feature") + ":7", "--services", services, "--reports", s.reports, "--seed", "7", "--json"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			s.lines <- in.Text()
		}
		close(s.lines)
		s.ended <- c.Wait()
	}()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return s
}

// until reads what the drill prints up to a line with this in it.
func (s steered) until(text string) {
	s.t.Helper()
	limit := time.After(3 * time.Minute)
	for {
		select {
		case line, more := <-s.lines:
			if !more {
				s.t.Fatalf("the drill ended before it said %q", text)
			}
			if strings.Contains(line, text) {
				return
			}
		case <-limit:
			s.t.Fatalf("the drill did not say %q within 3 minutes", text)
		}
	}
}

// order gives an order as a person types it, and expects what it says.
func (s steered) order(says string, args ...string) {
	s.t.Helper()
	if out, code := s.run(args...); code != 0 || !strings.Contains(out, says) {
		s.t.Fatalf("backout %s: expected %q, found exit %d:\n%s", strings.Join(args, " "), says, code, out)
	}
}

// end waits for the drill's end and returns its exit code, its verdict, and what is in the evidence of people.
func (s steered) end() (code int, v verdict.Verdict, people string) {
	s.t.Helper()
	var exit *exec.ExitError
	if err := <-s.ended; errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(s.reports, "*"))
	if err != nil || len(dirs) != 1 {
		s.t.Fatalf("expected one run, found %v (%v)", dirs, err)
	}
	text, err := os.ReadFile(filepath.Join(dirs[0], "verdict.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		s.t.Fatal(err)
	}
	for e, err := range evidence.Read(filepath.Join(dirs[0], evidence.File)) {
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case e.Approval != nil:
			people += e.Approval.By + " " + e.Approval.Event + " " + e.Approval.For + "; "
		case e.Clock != nil && (e.Clock.Name == evidence.ClockApproved || e.Clock.Name == evidence.ClockStarted):
			people += e.Clock.Name + "; "
		}
	}
	return code, v, people
}

// People steer a drill that runs in another process by what they type, and what they did is evidence.
func TestADrillIsPausedAndApprovedFromTheTerminal(t *testing.T) {
	t.Parallel()
	s := steer(t)
	s.until(`"phase":"baseline"`)
	s.order("paused: it is held", "pause", "--by", "ada", "--why", "look at the baseline")
	if out, code := s.run("pause", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "it is paused already, by ada") {
		t.Errorf("a second pause: exit %d:\n%s", code, out)
	}
	if out, code := s.run("approve", "notes-7", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "nothing waits for approval") {
		t.Errorf("an approval too early: exit %d:\n%s", code, out)
	}
	s.until("paused before the deploy of v2-fails-writes")
	s.order("resumed: the deploy of v2-fails-writes", "resume", s.reports, "--by", "grace")
	s.until("waiting for approval")
	s.order("approved: step 1", "approve", "notes-7", "--by", "grace", "--why", "harm was seen")
	code, v, people := s.end()
	if code != verdict.ExitPass || v.Verdict != verdict.Pass || v.Speed.People <= 0 || v.Speed.Paused != 0 || !strings.Contains(v.Because, "People kept it waiting") {
		t.Errorf("expected a pass that says how long people took, found exit %d, %s, %g s: %s", code, v.Verdict, v.Speed.People, v.Because)
	}
	const want = "ada paused ; backout waits the deploy of v2-fails-writes; grace resumed the deploy of v2-fails-writes; " +
		"backout goes on the deploy of v2-fails-writes; backout asked step 1: every instance, one after the other; " +
		"grace approved step 1: every instance, one after the other; approved; started; "
	if people != want {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}

// An aborted drill leaves nothing, is inconclusive, and names who aborted it and why.
func TestADrillIsAbortedFromTheTerminal(t *testing.T) {
	t.Parallel()
	s := steer(t)
	s.until("waiting for approval")
	if out, code := s.run("abort", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "expected a reason") {
		t.Errorf("an abort without a reason: exit %d:\n%s", code, out)
	}
	s.order("aborted: what runs is stopped", "abort", "--by", "ada", "--why", "the wrong release")
	code, v, people := s.end()
	if code != verdict.ExitInconclusive || v.Verdict != verdict.Inconclusive || !strings.Contains(v.Because, "was aborted in the phase") || !strings.Contains(v.Because, "by ada: the wrong release") {
		t.Errorf("expected inconclusive, found exit %d, %s: %s", code, v.Verdict, v.Because)
	}
	if want := "backout asked step 1: every instance, one after the other; ada aborted ; ada refused step 1: every instance, one after the other; "; people != want {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}
