package rollback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Times of ending a command.
const (
	grace   = 5 * time.Second // between SIGTERM and SIGKILL
	drained = 2 * time.Second // how long output is still read after the shell has ended, while children hold it open
)

// group is a running command: the shell and what it started, in a process group of their own.
type group struct {
	cmd     *exec.Cmd
	guard   *exec.Cmd
	release *os.File // the guard's life line: the group dies when it is closed, as it is when the harness dies
	started chan error
	ended   chan error // of the shell
}

// start runs `sh -c TEXT` in dir. The shell dies with the harness by Pdeathsig, what it started by the guard.
func start(text, dir string, env []string, stdout, stderr *os.File) (*group, error) {
	g := &group{started: make(chan error, 1), ended: make(chan error, 1)}
	g.cmd = exec.Command("sh", "-c", text)
	g.cmd.Dir, g.cmd.Env = dir, env
	g.cmd.Stdout, g.cmd.Stderr = stdout, stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	go func() {
		// Pdeathsig follows the thread that forked, so the thread must live as long as the shell does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := g.cmd.Start()
		if err == nil {
			// Before the shell is waited for: until then its process group cannot have gone.
			if err = g.watch(); err != nil {
				g.signal(syscall.SIGKILL)
				err = errors.Join(err, ignoreExit(g.cmd.Wait()))
			}
		}
		g.started <- err
		if err == nil {
			g.ended <- g.cmd.Wait()
		}
	}()
	if err := <-g.started; err != nil {
		return nil, fmt.Errorf("start the command: %w", err)
	}
	return g, nil
}

// watch starts the guard, a member of the group that kills it when the harness is gone. As a member it also keeps the
// group's number from being given to another group, so that the group can be ended safely after the shell has ended.
func (g *group) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	pid := strconv.Itoa(g.cmd.Process.Pid)
	g.guard = exec.Command("sh", "-c", `trap '' HUP INT TERM PIPE; read -r _; kill -s KILL -- "-$1"`, "backout-guard", pid)
	g.guard.Env = []string{"PATH=" + os.Getenv("PATH")}
	g.guard.Stdin = r
	g.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.cmd.Process.Pid}
	if err := g.guard.Start(); err != nil {
		return errors.Join(fmt.Errorf("guard it: %w", err), w.Close())
	}
	g.release = w
	return nil
}

func (g *group) signal(s syscall.Signal) error {
	if err := syscall.Kill(-g.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to the group of process %d: %w", s, g.cmd.Process.Pid, err)
	}
	return nil
}

// others are the members of the group beside the shell and the guard: what the command has left running.
func (g *group) others() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == g.cmd.Process.Pid || pid == g.guard.Process.Pid {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		// PID (COMMAND) STATE PPID PGRP ..., see proc(5); the command may hold anything, also parentheses.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(g.cmd.Process.Pid) && fields[0] != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// end kills what is left of the group, the guard too. The shell must have ended.
func (g *group) end() error {
	err := g.signal(syscall.SIGKILL)
	return errors.Join(err, ignoreExit(g.guard.Wait()), g.release.Close())
}

func ignoreExit(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

// result is how the shell ended.
type result struct {
	exit    int    // 128 + N when signal N ended it, as shells say it
	stopped string // why it was ended before its time; empty: it ended by itself
	timeout bool
	died    string // at what the machine died that ran it, see Death
	err     error  // the harness could not do its part
}

// wait waits for the shell to end, and ends it when the timeout passes or the context is done; stopping is called before.
func (g *group) wait(ctx context.Context, timeout time.Duration, stopping func()) result {
	var r result
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	var err error
	select {
	case err = <-g.ended:
	case <-limit.C:
		r.timeout, r.stopped = true, fmt.Sprintf("still running after %s", timeout)
	case <-ctx.Done():
		r.stopped = fmt.Sprintf("interrupted (%v)", context.Cause(ctx))
	}
	if r.stopped != "" {
		stopping()
		r.err = g.signal(syscall.SIGTERM)
		last := time.NewTimer(grace)
		defer last.Stop()
		select {
		case err = <-g.ended:
			r.stopped += ", ended by SIGTERM"
			r.err = errors.Join(r.err, g.signal(syscall.SIGKILL)) // its children may ignore SIGTERM
		case <-last.C:
			r.stopped += fmt.Sprintf(", did not end within %s of SIGTERM, ended by SIGKILL", grace)
			r.err = errors.Join(r.err, g.signal(syscall.SIGKILL))
			err = <-g.ended
		}
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		status, _ := exit.Sys().(syscall.WaitStatus)
		if r.exit = status.ExitStatus(); status.Signaled() {
			r.exit = 128 + int(status.Signal())
		}
	case err != nil:
		r.err = errors.Join(r.err, err)
	}
	return r
}

// groups are those whose shell has ended and that still have members.
type groups struct {
	mu   sync.Mutex
	left []*group
}

func (s *groups) keep(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = append(s.left, g)
}

// end kills all of them.
func (s *groups) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, g := range s.left {
		errs = append(errs, g.end())
	}
	s.left = nil
	return errors.Join(errs...)
}
