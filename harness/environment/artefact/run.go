package artefact

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Spoken runs a program in a group of its own, which ends with us or with the context. What it said last is in the error.
func Spoken(cmd *exec.Cmd, what string) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		said := bytes.TrimSpace(text.Bytes())
		return fmt.Errorf("%s: %w\n%s", what, err, said[max(0, len(said)-4<<10):])
	}
	return nil
}

// Keyed are locks by name.
type Keyed struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *Keyed) Lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	l := k.locks[name]
	if l == nil {
		l = &sync.Mutex{}
		k.locks[name] = l
	}
	k.mu.Unlock()
	l.Lock()
	return l.Unlock
}
