package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/environment"
)

// supervised is a supervisor and an instance that runs `sh run.sh` in the release that its link leads to.
func supervised(t *testing.T, scripts map[string]string, first string) (*supervisor, *instance) {
	t.Helper()
	dir := t.TempDir()
	for release, text := range scripts {
		write(t, filepath.Join(dir, release, "run.sh"), text, 0o644)
	}
	register, err := environment.OpenRegister(filepath.Join(dir, "register"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSupervisor(register, nil)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := register.Remove(); err != nil {
			t.Error(err)
		}
	})
	sp := spec{name: "app-1", service: "app", link: filepath.Join(dir, "current"), log: filepath.Join(dir, "app-1.log"),
		command: []string{"sh", "run.sh"},
		env: func(release string) ([]string, error) {
			return []string{"PATH=" + os.Getenv("PATH"), "RELEASE=" + release}, nil
		}}
	if err := os.Symlink(filepath.Join(dir, first), sp.link); err != nil {
		t.Fatal(err)
	}
	i, err := s.add(sp)
	if err != nil {
		t.Fatal(err)
	}
	return s, i
}

// wrote waits until the instance's log holds a text.
func wrote(t *testing.T, i *instance, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := environment.Until(ctx, "the log of "+i.name+" holds "+text, func(context.Context) error {
		if log := tail(i.log); !strings.Contains(log, text) {
			return fmt.Errorf("it holds %q", log)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const waits = "echo $RELEASE runs as $$; trap 'echo ended in good order; exit 0' TERM; while :; do sleep 600 & wait $!; done\n"

func TestARestartRunsWhatTheLinkLeadsToNow(t *testing.T) {
	s, i := supervised(t, map[string]string{"v1": waits, "v2": waits}, "v1")
	wrote(t, i, "v1 runs")
	first := int(i.pid.Load())
	if err := os.Remove(i.link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("v2", i.link); err != nil {
		t.Fatal(err)
	}
	if got := int(i.pid.Load()); got != first {
		t.Error("moving the link restarted it")
	}
	if err := s.restart(context.Background(), "app-1"); err != nil {
		t.Fatal(err)
	}
	wrote(t, i, "v2 runs")
	wrote(t, i, "ended in good order")
	if syscall.Kill(first, 0) == nil {
		t.Error("the first process is still there")
	}
	if i.restarts.Load() != 1 {
		t.Errorf("restarts: %d", i.restarts.Load())
	}
}

func TestAnInstanceThatExitsIsStartedAgain(t *testing.T) {
	_, i := supervised(t, map[string]string{"v1": "echo once; test -e second && exec sleep 600; touch second; exit 3\n"}, "v1")
	wrote(t, i, "once\nsupervisor: it ended by itself: exit status 3\nonce\n")
	if i.restarts.Load() != 1 {
		t.Errorf("restarts: %d", i.restarts.Load())
	}
}

func TestWhatDoesNotEndIsKilledWithAllThatItStarted(t *testing.T) {
	s, i := supervised(t, map[string]string{"v1": "trap '' TERM; sleep 600 & echo child $!; while :; do sleep 600; done\n"}, "v1")
	s.grace = 10 * time.Millisecond
	wrote(t, i, "child ")
	var child int
	_, rest, _ := strings.Cut(tail(i.log), "child ")
	if _, err := fmt.Sscan(rest, &child); err != nil {
		t.Fatal(err)
	}
	if err := s.restart(context.Background(), "app-1"); err != nil {
		t.Fatal(err)
	}
	wrote(t, i, "did not end within 10ms of SIGTERM")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := environment.Until(ctx, "its child is gone", func(context.Context) error {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child)); err == nil && !strings.Contains(string(text), ") Z ") {
			return fmt.Errorf("process %d is still there", child)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestARestartThatCannotStartSaysSo(t *testing.T) {
	s, i := supervised(t, map[string]string{"v1": waits}, "v1")
	good, err := os.Readlink(i.link)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(i.link)
	if err := os.Symlink("nowhere", i.link); err != nil {
		t.Fatal(err)
	}
	err = s.restart(context.Background(), "app-1")
	if err == nil || !strings.Contains(err.Error(), "start app-1: its link leads nowhere") {
		t.Errorf("error %v", err)
	}
	// It is tried again, so mending the link is enough.
	_ = os.Remove(i.link)
	if err := os.Symlink(good, i.link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = environment.Until(ctx, "it runs again", func(context.Context) error {
		if i.pid.Load() == 0 {
			return fmt.Errorf("it does not run: %s", tail(i.log))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAClosedSupervisorStartsNothing(t *testing.T) {
	s, i := supervised(t, map[string]string{"v1": waits}, "v1")
	for range 2 {
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if i.pid.Load() != 0 {
		t.Error("it still runs")
	}
	if err := i.order(context.Background(), order{}); err == nil {
		t.Error("a closed supervisor restarts")
	}
	if _, err := s.add(spec{name: "late"}); err == nil {
		t.Error("a closed supervisor starts")
	}
}

// An instance that is held is like a machine that does not answer: who asks waits for it, and nobody starts it.
func TestAnInstanceThatIsHeldDoesNotAnswer(t *testing.T) {
	s, i := supervised(t, map[string]string{"v1": waits}, "v1")
	wrote(t, i, "v1 runs as")
	was := i.pid.Load()
	if err := i.hold("gone"); err != nil {
		t.Fatal(err)
	}
	if err := i.hold("paused"); err == nil || !strings.Contains(err.Error(), "app-1 is gone already") {
		t.Errorf("held twice: %v", err)
	}
	if err := syscall.Kill(-int(was), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := environment.Until(ctx, "it has ended", func(context.Context) error {
		if i.pid.Load() != 0 {
			return errors.New("it runs")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 4*shortestPause)
	defer cancel()
	if err := s.restart(short, "app-1"); err == nil || !strings.Contains(err.Error(), "app-1 does not answer: it is gone") {
		t.Errorf("expected that it does not answer, found %v", err)
	}
	if pid := i.pid.Load(); pid != 0 {
		t.Errorf("it was started again as %d while it was held", pid)
	}
	answered := make(chan error, 1)
	go func() { answered <- s.restart(ctx, "app-1") }()
	i.release()
	if err := <-answered; err != nil {
		t.Errorf("the order that waited for it: %v", err)
	}
	if pid := i.pid.Load(); pid == 0 || pid == was {
		t.Errorf("expected another process than %d, found %d", was, pid)
	}
	i.release() // again
}
