package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"backout/harness/verdict"
)

// starter is a machine with what `backout init` writes, whose files are changed: path -> what is replaced by what.
func newStarter(t *testing.T, changes map[string][2]string) machine {
	t.Helper()
	m := newMachine(t)
	m.root = filepath.Join(m.dir, "mine")
	if err := os.Mkdir(m.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, code := m.run("init"); code != 0 {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	for path, change := range changes {
		at := filepath.Join(m.root, path)
		text, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), change[0]) {
			t.Fatalf("%s does not hold %q", path, change[0])
		}
		if err := os.WriteFile(at, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// A rollback script or a service that misbehaves is a verdict with its reason, never a hang and never a pass.
func TestWhatMisbehaves(t *testing.T) {
	const plan, step = "releases/v2/rollback.yaml", "    run: ./deploy v1\n    timeout: 60s\n"
	for _, c := range []struct {
		name    string
		changes map[string][2]string
		code    int
		says    string
	}{
		{"a script that hangs", map[string][2]string{plan: {step, "    run: echo waiting for the moon; sleep 1000\n    timeout: 2s\n"}},
			verdict.ExitFail, "still running after 2s, ended by SIGTERM; last line: waiting for the moon"},
		{"a script that ignores SIGTERM", map[string][2]string{plan: {step, "    run: trap '' TERM; while :; do sleep 1; done\n    timeout: 1s\n"}},
			verdict.ExitFail, "did not end within 5s of SIGTERM, ended by SIGKILL"},
		{"a script that leaves children", map[string][2]string{plan: {step, "    run: ./deploy v1; sleep 1000 & sleep 1000 &\n    timeout: 60s\n"}},
			verdict.ExitPass, "all 5 promises were kept"},
		{"a script that floods its output", map[string][2]string{plan: {step, "    run: yes 'a line of output' | head -c 300000000; ./deploy v1\n    timeout: 60s\n"}},
			verdict.ExitPass, "all 5 promises were kept"},
		{"a script that writes rubbish", map[string][2]string{plan: {step, "    run: head -c 100000 /dev/urandom; printf '\\033[2J\\000\\377'; cat; ./deploy v1\n    timeout: 60s\n"}},
			verdict.ExitPass, "all 5 promises were kept"},
		{"a script that fails", map[string][2]string{plan: {step, "    run: echo no such host >&2; exit 7\n    timeout: 60s\n"}},
			verdict.ExitFail, "exited with 7; last line: no such host"},
		{"a service that is never ready", map[string][2]string{"service.yaml": {"command: [backout, stand-in, answers]", "command: [sleep, '1000']"}},
			verdict.ExitBroke, "not within 3s"},
		{"a service that ends at once", map[string][2]string{"service.yaml": {"command: [backout, stand-in, answers]", "command: [sh, -c, 'echo no licence; exit 3']"}},
			verdict.ExitBroke, "no licence"},
		{"a release that never becomes ready", map[string][2]string{"releases/v2/answers": {"GET /hello 200", "not a line"},
			"releases/v2/release.yaml": {"timeout: 60s", "timeout: 3s"}},
			verdict.ExitInconclusive, "nothing of what the release states was seen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newStarter(t, c.changes)
			if c.code == verdict.ExitBroke {
				at := filepath.Join(m.root, "service.yaml")
				text, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				quick := strings.Replace(string(text), "ready: /readyz", "ready: {path: /readyz, within: 3s}", 1)
				if err := os.WriteFile(at, []byte(quick), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, code := m.run("run", "features/rollback.feature", "--seed", "7", "--reports", filepath.Join(m.dir, "reports"))
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("expected exit %d and %q, found exit %d\n%s", c.code, c.says, code, out)
			}
			m.nothingLeft()
			var size int64
			for _, path := range must(filepath.Glob(filepath.Join(m.reports(), "*"))) {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				size += info.Size()
			}
			if size > 5<<20 {
				t.Errorf("the reports take %d MB", size>>20)
			}
		})
	}
}

func must(paths []string, err error) []string {
	if err != nil {
		panic(err)
	}
	return paths
}

// Two runs at once do not take each other's ports or directories, and the clean-up with which each begins leaves the other alone.
func TestTwoRunsAtOnce(t *testing.T) {
	t.Parallel()
	m := newStarter(t, nil)
	type end struct {
		out  string
		code int
	}
	ends := make(chan end, 2)
	for _, name := range []string{"one", "other"} {
		go func() {
			c := m.command("run", "features", "--parallel", "2", "--reports", filepath.Join(m.dir, "reports"), "--name", name)
			out, _ := c.CombinedOutput() // the exit code says how it ended
			ends <- end{string(out), c.ProcessState.ExitCode()}
		}()
	}
	for range 2 {
		if e := <-ends; e.code != verdict.ExitPass {
			t.Errorf("exit %d\n%s", e.code, e.out)
		}
	}
	m.nothingLeft()
}

// A disk that is full where the reports go is an error that says so, and no verdict.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	m := newStarter(t, nil)
	small := filepath.Join(m.dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", small, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	out, code := m.run("run", "features/rollback.feature", "--reports", small)
	if code != verdict.ExitBroke || !strings.Contains(out, "no space left on device") {
		t.Errorf("expected exit %d and the reason, found exit %d\n%s", verdict.ExitBroke, code, out)
	}
	m.nothingLeft()
}
