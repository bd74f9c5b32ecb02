package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/verdict"
)

// phases of a drill as progress names them, and how the verdict says in which one the log ends.
var phases = []struct{ begun, log string }{
	{"provisioned", "provision"},
	{"baseline", "baseline"},
	{"v2-drops-coupon", "deploy"},
	{"decided", "decide"},
	{"rolled back", "rollback"},
	{"restored", "watch"},
	{"quiet point", "quiet"},
	{"checked", "audit"},
	{"destroy", "destroy"},
}

// interrupt starts a drill, sends signals when a phase has begun, and waits for its end.
func (m machine) interrupt(phase string, signals ...syscall.Signal) (code int, stderr string) {
	m.t.Helper()
	return m.start(phase, func(c *exec.Cmd) {
		for _, s := range signals {
			if err := c.Process.Signal(s); err != nil {
				m.t.Fatal(err)
			}
		}
	})
}

// during does something when a phase of a drill has begun, and waits for the drill's end.
func (m machine) during(phase string, do func()) (code int, stderr string) {
	m.t.Helper()
	return m.start(phase, func(*exec.Cmd) { do() })
}

func (m machine) start(phase string, do func(*exec.Cmd)) (code int, stderr string) {
	m.t.Helper()
	args := []string{"run", cmp.Or(m.drill, m.feature()+":8"), "--reports", filepath.Join(m.dir, "reports"), "--json", "--seed", "7", "--env", m.place()}
	c := m.command(append(args, m.flags...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	var text bytes.Buffer
	c.Stderr = &text
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	var told bytes.Buffer // why it ended too early is told there too
	lines := json.NewDecoder(io.TeeReader(out, &told))
	for {
		var line struct {
			Phase string `json:"phase"`
			Begun bool   `json:"begun"`
		}
		if err := lines.Decode(&line); err != nil {
			_ = c.Wait()
			m.t.Fatalf("the drill ended before %q began: %v\n%s%s", phase, err, told.String(), text.String())
		}
		if line.Phase == phase && line.Begun {
			break
		}
	}
	do(c)
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
	case <-time.After(8 * time.Minute):
		_ = c.Process.Kill()
		m.t.Fatalf("it did not end within 8 minutes after %q", phase)
	}
	return c.ProcessState.ExitCode(), text.String()
}

// Whatever phase a drill is in, Ctrl-C (also twice), SIGTERM and kill -9 leave nothing behind, and what was observed until
// then is judged: inconclusive, saying where it stopped.
func TestInterruptedInEachPhase(t *testing.T) {
	for _, how := range []struct {
		name    string
		signals []syscall.Signal
	}{
		{"Ctrl-C twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
		{"SIGTERM", []syscall.Signal{syscall.SIGTERM}},
		{"kill -9", []syscall.Signal{syscall.SIGKILL}},
	} {
		for _, phase := range phases {
			t.Run(how.name+" in "+phase.log, func(t *testing.T) {
				t.Parallel()
				m := newMachine(t)
				code, stderr := m.interrupt(phase.begun, how.signals...)
				killed := how.signals[0] == syscall.SIGKILL
				late := phase.log == "destroy" || phase.log == "audit" // the drill may have ended by itself before the signal was seen
				switch {
				case killed:
					if out, code := m.run("clean"); code != 0 {
						t.Errorf("clean: exit %d:\n%s", code, out)
					}
				case code != verdict.ExitInconclusive && !(late && code == verdict.ExitPass):
					t.Errorf("exit %d, expected %d\n%s", code, verdict.ExitInconclusive, stderr)
				}
				m.nothingLeft()
				if strings.Contains(stderr, "panic") {
					t.Errorf("it panicked:\n%s", stderr)
				}
				m.judgedAs(phase.log, late)
			})
		}
	}
}

// What a killed run left is removed by the next one, which says so and is not disturbed.
func TestTheNextRunRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.interrupt("baseline", syscall.SIGKILL)
	out, code := m.run("run", m.feature()+":8", "--reports", filepath.Join(m.dir, "next"), "--seed", "7")
	if code != verdict.ExitPass || !strings.Contains(out, "left by a run that was killed: ") {
		t.Errorf("expected a pass and what was removed, found exit %d\n%s", code, out)
	}
	m.nothingLeft()
}

// judgedAs checks the verdict of what was written until a drill was interrupted.
func (m machine) judgedAs(phase string, late bool) {
	m.t.Helper()
	dir := m.reports()
	if info, err := os.Stat(filepath.Join(dir, "evidence.ndjson.zst")); err != nil || info.Size() == 0 {
		return // killed before the first segment was full: there is nothing to judge, and nothing that says pass
	}
	out, code := m.run("judge", dir)
	switch {
	case code == verdict.ExitPass && late:
	case code != verdict.ExitInconclusive:
		m.t.Errorf("judge: exit %d, expected %d:\n%s", code, verdict.ExitInconclusive, out)
	case !strings.Contains(out, "in the phase ") && !strings.Contains(out, "no run event"):
		m.t.Errorf("judge does not say where it stopped:\n%s", out)
	}
}
