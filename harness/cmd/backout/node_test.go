package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"backout/harness/verdict"
)

// process is the pid of the only process of this machine's drill of which something holds.
func (m machine) process(what string, holds func(proc string) bool) int {
	m.t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, proc := range found {
		if !holds(proc) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			m.t.Fatal(err)
		}
		return pid
	}
	m.t.Fatalf("no process of %s was found", what)
	return 0
}

// postmaster is the pid of a node, which the harness itself has started: its children look the same for an instant.
func (m machine) postmaster(node string) int {
	m.t.Helper()
	return m.process(node, func(proc string) bool {
		text, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		return err == nil && m.ours(proc) && bytes.Contains(text, []byte(m.temp())) && bytes.Contains(text, []byte("postgres\x00-D")) && bytes.Contains(text, []byte("/"+node))
	})
}

// ours says whether a process is a child of this machine's program.
func (m machine) ours(proc string) bool {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if parent, is := strings.CutPrefix(line, "PPid:"); is {
			program, err := os.Readlink(filepath.Join("/proc", strings.TrimSpace(parent), "exe"))
			return err == nil && program == filepath.Join(m.dir, "backout")
		}
	}
	return false
}

// instance is the pid of an instance, which writes into a log of its name.
func (m machine) instance(name string) int {
	m.t.Helper()
	return m.process(name, func(proc string) bool {
		log, err := os.Readlink(filepath.Join(proc, "fd/1"))
		return err == nil && strings.HasPrefix(log, m.temp()) && strings.HasSuffix(log, "/logs/"+name+".log")
	})
}

// A Postgres node or an instance that dies or hangs while a release is rolled back is a verdict with its reason: never a
// hang, and a pass only of what was mended.
func TestWhatDiesOrHangs(t *testing.T) {
	for _, c := range []struct {
		name, phase string
		pid         func(machine) int
		signal      syscall.Signal
		says        string // a pattern
		mended      bool
	}{
		{"the primary dies", "rolled back", func(m machine) int { return m.postmaster("primary") }, syscall.SIGKILL, "unexpected postmaster exit|connection refused", false},
		{"the logical replica hangs", "rolled back", func(m machine) int { return m.postmaster("logical") }, syscall.SIGSTOP, "the logical replica", false},
		{"an instance hangs", "restored", func(m machine) int { return m.instance("shop-2") }, syscall.SIGSTOP, "shop-2", false},
		{"an instance dies and is started again", "restored", func(m machine) int { return m.instance("shop-2") }, syscall.SIGKILL, "shop-2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			code, stderr := m.during(c.phase, func() {
				if err := syscall.Kill(c.pid(m), c.signal); err != nil {
					t.Error(err)
				}
			})
			if code != verdict.ExitFail && code != verdict.ExitInconclusive && !(c.mended && code == verdict.ExitPass) {
				t.Errorf("exit %d, expected a fail or inconclusive\n%s", code, stderr)
			}
			m.nothingLeft()
			text, err := os.ReadFile(filepath.Join(m.reports(), "verdict.json"))
			if err != nil || !regexp.MustCompile(c.says).Match(text) && !c.mended {
				t.Errorf("expected %q in the verdict (%v)\n%s", c.says, err, text)
			}
			if printed, _ := m.run("evidence", m.reports()); c.mended && !strings.Contains(printed, `"restarts":3`) { // after those of the two deploys
				t.Errorf("nothing in the evidence says that %s was started again", c.says)
			}
		})
	}
}
