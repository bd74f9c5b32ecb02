package environment

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const childVariable = "BACKOUT_TEST_RUN"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childVariable); spec != "" {
		run(spec)
	}
	os.Exit(m.Run())
}

// run is a run of its own: it registers a directory and a process that outlives it, says so, and waits to be killed.
func run(spec string) {
	runtime.LockOSThread()
	state, temp, _ := strings.Cut(spec, "|")
	r, err := OpenRegister(state)
	fail(err)
	dir, err := r.Directory(temp)
	fail(err)
	fail(os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o600))
	fail(r.Add(Entry{Kind: KindProcess, Name: "sleeper"}))
	// Its child in the same group stands for what an instance has started itself.
	sleeper := exec.Command("sh", "-c", "sleep 600 & echo $!; exec sleep 600")
	sleeper.Dir = dir
	sleeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := sleeper.StdoutPipe()
	fail(err)
	fail(sleeper.Start())
	child, err := bufio.NewReader(out).ReadString('\n')
	fail(err)
	e, err := Process("sleeper", sleeper.Process.Pid)
	fail(err)
	fail(r.Add(e))
	fmt.Println(dir, sleeper.Process.Pid, strings.TrimSpace(child))
	time.Sleep(time.Hour)
}

func fail(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

type living struct {
	cmd         *exec.Cmd
	dir         string
	pid, second int
}

func start(t *testing.T, state, temp string) *living {
	t.Helper()
	l := &living{cmd: exec.Command(os.Args[0])}
	l.cmd.Env = append(os.Environ(), childVariable+"="+state+"|"+temp)
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
		if l.pid > 0 {
			_ = syscall.Kill(-l.pid, syscall.SIGKILL)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &l.dir, &l.pid, &l.second); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return l
}

// runs tells whether a process exists and has not ended.
func runs(pid int) bool {
	st, err := readStat(pid)
	return err == nil && st.state != "Z"
}

func TestCleanRemovesWhatAKilledRunLeft(t *testing.T) {
	state, temp := filepath.Join(t.TempDir(), "register"), t.TempDir()
	ctx := context.Background()
	dead, other := start(t, state, temp), start(t, state, temp)
	if removed, err := Clean(ctx, state, nil); err != nil || removed != nil {
		t.Fatalf("both live, but Clean removed %q, %v", removed, err)
	}
	if err := dead.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.cmd.Wait()
	if !runs(dead.pid) || !runs(dead.second) {
		t.Fatal("what should be cleaned is gone already")
	}
	removed, err := Clean(ctx, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("ended sleeper, process %d", dead.pid), "removed " + dead.dir}
	if strings.Join(removed, "\n") != strings.Join(want, "\n") {
		t.Errorf("removed %q, expected %q", removed, want)
	}
	if runs(dead.pid) || runs(dead.second) {
		t.Error("a process still runs")
	}
	if _, err := os.Stat(dead.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	if !runs(other.pid) {
		t.Error("a process of a living run was ended")
	}
	if _, err := os.Stat(filepath.Join(other.dir, "data")); err != nil {
		t.Errorf("the directory of a living run: %v", err)
	}
	if removed, err := Clean(ctx, state, nil); err != nil || removed != nil {
		t.Errorf("the second time it removed %q, %v", removed, err)
	}
}

// died makes the register of a run that is gone.
func died(t *testing.T, state string, lines ...string) (token string) {
	t.Helper()
	r, err := OpenRegister(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if _, err := r.file.WriteString(strings.ReplaceAll(l, "TOKEN", r.token)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r.token
}

func TestCleanLeavesStrangersAlone(t *testing.T) {
	self, err := Process("ourselves", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	process := func(start uint64, boot string) string {
		return fmt.Sprintf(`{"kind":"process","name":"other","pid":%d,"start":%d,"boot":%q}`+"\n", self.PID, start, boot)
	}
	directory := func(path string) string { return fmt.Sprintf(`{"kind":"directory","path":%q}`+"\n", path) }
	for name, c := range map[string]struct {
		line    string
		file    string // name of a file in the directory
		text    string
		wrong   string // in the error; empty: none
		removed int
	}{
		"a number that was used again":         {line: process(self.Start+1, self.Boot)},
		"a number from before the last boot":   {line: process(self.Start, "another")},
		"a process that was not started":       {line: `{"kind":"process","name":"other"}` + "\n"},
		"a process that ended":                 {line: process(self.Start, self.Boot) + fmt.Sprintf(`{"kind":"process","pid":%d,"done":true}`, self.PID) + "\n"},
		"a line that was cut off":              {line: strings.TrimSuffix(process(self.Start, self.Boot), "}\n")},
		"a directory with another name":        {line: directory(temp), wrong: "is left alone"},
		"a directory that was never made":      {line: directory(temp + "/backout-TOKEN")},
		"an empty directory without token":     {line: directory(temp + "/backout-TOKEN"), file: "-", removed: 1},
		"a directory with another run's token": {line: directory(temp + "/backout-TOKEN"), file: tokenFile, text: "another", wrong: "is left alone"},
		"a directory of somebody else":         {line: directory(temp + "/backout-TOKEN"), file: "precious", wrong: "is left alone"},
		"a directory of ours":                  {line: directory(temp + "/backout-TOKEN"), file: tokenFile, text: "TOKEN", removed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			token := died(t, state, c.line)
			dir := filepath.Join(temp, runPrefix+token)
			if c.file != "" {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if c.file != "" && c.file != "-" {
				if err := os.WriteFile(filepath.Join(dir, c.file), []byte(strings.ReplaceAll(c.text, "TOKEN", token)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			removed, err := Clean(context.Background(), state, nil)
			if (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("error %v, expected %q", err, c.wrong)
			}
			if len(removed) != c.removed {
				t.Errorf("removed %q", removed)
			}
			_, err = os.Stat(filepath.Join(dir, c.file))
			if kept := c.file != "" && c.removed == 0; kept != (err == nil && c.file != "") {
				t.Errorf("the directory: %v", err)
			}
			left, _ := filepath.Glob(filepath.Join(state, "*"+fileSuffix))
			if (len(left) > 0) != (c.wrong != "") {
				t.Errorf("left in the register: %v", left)
			}
		})
	}
}

func TestRegisterDirFollowsXDG(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/somewhere")
	if dir, err := RegisterDir(); err != nil || dir != "/somewhere/backout/register" {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "/home/me")
	if dir, err := RegisterDir(); err != nil || dir != "/home/me/.local/state/backout/register" {
		t.Errorf("%s, %v", dir, err)
	}
}

func TestARunThatEndedInGoodOrderLeavesNoRegister(t *testing.T) {
	state, temp := t.TempDir(), t.TempDir()
	r, err := OpenRegister(state)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := r.Directory(temp)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := r.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(state, "*"+fileSuffix)); left != nil {
		t.Errorf("left: %v", left)
	}
	if err := r.Add(Entry{Kind: KindProcess, Name: "late"}); err == nil {
		t.Error("a run that is over can register")
	}
}
