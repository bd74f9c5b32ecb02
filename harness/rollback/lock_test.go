package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

var two = &service.Plan{Name: "take it back", Steps: []service.Step{
	{Name: "one", Run: "true", Timeout: time.Minute},
	{Name: "two", Run: "true", Timeout: time.Minute},
}}

func TestASecondOperatorIsRefusedAndToldWhoHoldsIt(t *testing.T) {
	r, seen := runner(t)
	r.Operator = "alice"
	other := r.Beside("bob")
	if err := r.Take(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	var held []*rollback.Held
	r.Between = func(ctx context.Context, _ int) error {
		h := new(rollback.Held)
		if err := other.Take(ctx, two); !errors.As(err, &h) {
			t.Errorf("expected to be refused, found %v", err)
		}
		held = append(held, h)
		return nil
	}
	if err := r.Steps(t.Context(), two, nil); err != nil {
		t.Fatal(err)
	}
	if len(held) != 2 || held[0].Step != 1 || held[1].Step != 2 || held[1].StepName != "two" {
		t.Fatalf("expected to be told of each step, found %+v", held)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"alice runs the plan \"take it back\" on " + host, fmt.Sprintf("process %d, since 2", os.Getpid()),
		"at step 2 of 2 (two)", "wait until it has ended", "talk to alice"} {
		if !strings.Contains(held[1].Error(), part) {
			t.Errorf("expected %q in %q", part, held[1].Error())
		}
	}
	var locks []evidence.Step
	for _, s := range seen.only(t, "ended") {
		if s.Part == evidence.PartLock {
			locks = append(locks, s)
		}
	}
	if len(locks) != 3 || locks[0].By != "" || locks[0].Outcome != evidence.StepOK || locks[2].By != "bob" ||
		locks[2].Outcome != evidence.StepRefused || locks[2].Holder == nil || locks[2].Holder.Operator != "alice" || locks[2].Error == "" {
		t.Errorf("found %+v", locks)
	}

	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, rollback.LockFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("expected the file to be gone, found %v", err)
	}
	if err := other.Take(t.Context(), two); err != nil {
		t.Errorf("expected the lock to be free, found %v", err)
	}
	if err := other.Release(); err != nil {
		t.Error(err)
	}
}

// Its file removed under it, nobody can know of a lock; the first one must not remove the second one's file then.
func TestAFileThatWasRemovedLocksNobodyOut(t *testing.T) {
	r, _ := runner(t)
	other := r.Beside("bob")
	if err := r.Take(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, rollback.LockFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := other.Take(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"bob"`) {
		t.Errorf("expected bob's file, found %s %v", text, err)
	}
	if err := other.Release(); err != nil {
		t.Error(err)
	}
}

func TestWhoDoesNotSayWhoItIsHoldsTheLockAllTheSame(t *testing.T) {
	r, _ := runner(t)
	file, err := os.Create(filepath.Join(r.Dir, rollback.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	held := new(rollback.Held)
	if err := r.Take(t.Context(), two); !errors.As(err, &held) || !strings.Contains(err.Error(), "has not said who") {
		t.Errorf("expected to be refused, found %v", err)
	}
}

// A lock goes with its holder. The test's own binary is the holder that is killed.
func TestTheLockGoesWithItsHolder(t *testing.T) {
	if dir := os.Getenv("BACKOUT_TEST_LOCK"); dir != "" {
		r, _ := runner(t)
		r.Dir, r.Operator = dir, "alice"
		if err := r.Take(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		<-t.Context().Done() // until it is killed
		return
	}
	r, _ := runner(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheLockGoesWithItsHolder$")
	cmd.Env = append(os.Environ(), "BACKOUT_TEST_LOCK="+r.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	held := new(rollback.Held)
	if err := r.Take(t.Context(), two); !errors.As(err, &held) || held.Operator != "alice" || held.PID != cmd.Process.Pid {
		t.Errorf("expected to be refused by alice, process %d, found %v", cmd.Process.Pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("expected it to be killed")
	}
	if err := r.Take(t.Context(), two); err != nil {
		t.Errorf("expected the lock to be free, found %v", err)
	}
}
