package rollback

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// LockFile is the file in the deployed directory that whoever runs a rollback there has locked. The lock is the kernel's
// and goes with its holder, however that ends; what stands in the file tells others who it is.
const LockFile = "rollback.lock"

// told is how long somebody who is refused waits for the holder to have written who it is.
const told = time.Second

// Held says that somebody else runs a rollback.
type Held struct {
	evidence.Holder
	Path    string        // of the file
	Lease   bool          // it is the lease that is held, in place of the file
	Expires time.Duration // of the lease: until it does, unless it is renewed
}

func (e *Held) Error() string {
	if e.Lease && e.PID == 0 {
		return fmt.Sprintf("%s holds the lease and has not said what it runs: wait until it has ended, or talk to it", e.Operator)
	}
	if e.PID == 0 {
		return fmt.Sprintf("somebody else runs a rollback here and has not said who: %s is locked; `fuser %s` says by which process: wait until it has ended", e.Path, e.Path)
	}
	where := "before its first step"
	if e.Step > 0 {
		where = fmt.Sprintf("at step %d of %d (%s)", e.Step, e.Steps, e.StepName)
	}
	if e.Lease {
		return fmt.Sprintf("%s runs the plan %q on %s, process %d, since %s, and is %s: wait until it has ended; if its machine died, the lease is free in %.1f s; if it hangs, talk to %s",
			e.Operator, e.Plan, e.Host, e.PID, e.Since.UTC().Format("2006-01-02 15:04:05 UTC"), where, max(0, e.Expires.Seconds()), e.Operator)
	}
	return fmt.Sprintf("%s runs the plan %q on %s, process %d, since %s, and is %s: wait until it has ended; if it hangs, talk to %s, then end process %d on %s: the lock goes with it",
		e.Operator, e.Plan, e.Host, e.PID, e.Since.UTC().Format("2006-01-02 15:04:05 UTC"), where, e.Operator, e.PID, e.Host)
}

// lock is one that is held. It is not safe for concurrent use.
type lock struct {
	file *os.File
	as   evidence.Holder
}

// Take takes the lock on rollbacks in the deployed directory and, where there is one, the lease, by which operators on all
// machines take turns. That is to be done before the pre-checks of a plan. The error is a *Held when somebody else has it.
func (r *Runner) Take(ctx context.Context, p *service.Plan) error {
	path := filepath.Join(cmp.Or(r.LockDir, r.Dir), LockFile)
	as := r.holder(p)
	l, err := take(ctx, path, as)
	held := new(Held)
	if err != nil && !errors.As(err, &held) {
		err = fmt.Errorf("lock %s: %w", path, err)
	}
	if err == nil && r.Lease != nil {
		if r.lease, err = r.takeLease(ctx, p, as); err != nil {
			if !errors.As(err, &held) {
				err = fmt.Errorf("take the lease on rollbacks of %s: %w", r.Service.Name, err)
			}
			err = errors.Join(err, l.release())
		}
	}
	event := evidence.Step{Part: evidence.PartLock, Index: 1, Name: "the lock on rollbacks", Event: "ended", Outcome: evidence.StepOK}
	switch {
	case errors.As(err, &held):
		event.Outcome, event.Holder, event.Error = evidence.StepRefused, &held.Holder, r.Log.Clean(err.Error())
	case err != nil:
		event.Outcome, event.Error = evidence.StepFailed, r.Log.Clean(err.Error())
	default:
		r.lock = l
		event.Holder = &l.as
		if r.lease != nil {
			as.Token = r.lease.token
			event.Holder = &as
		}
	}
	if err != nil || r.Operator != "" || r.Lease != nil {
		r.put(event)
	}
	return err
}

// Release gives lock and lease to others. Without them nothing is done.
func (r *Runner) Release() error {
	var wrong []error
	if l := r.lease; l != nil {
		r.lease = nil
		if err := l.release(context.Background()); err != nil {
			wrong = append(wrong, fmt.Errorf("give the lease back, which is free in %s then: %w", l.expiry, err))
		}
	}
	if l := r.lock; l != nil {
		r.lock = nil
		if err := l.release(); err != nil {
			wrong = append(wrong, fmt.Errorf("give the lock back: %w", err))
		}
	}
	if r.journal != nil {
		wrong = append(wrong, r.journal.Close())
		r.journal = nil
	}
	return errors.Join(wrong...)
}

func (l *lock) release() error {
	// Whoever has opened the file before it goes finds that it has gone, and opens the next one.
	var removed error
	if there, err := os.Stat(l.file.Name()); err == nil && l.is(there) {
		removed = os.Remove(l.file.Name())
	}
	return errors.Join(removed, l.file.Close())
}

// atStep notes the step that comes now, for those who come and are refused.
func (r *Runner) atStep(ctx context.Context, step int, name string) error {
	if r.lock != nil {
		if err := r.lock.at(step, name); err != nil {
			return fmt.Errorf("note step %d in the lock: %w", step, err)
		}
	}
	if r.lease == nil {
		return nil
	}
	// Whether that could be written is asked right before the step, see stepBegins.
	_ = r.lease.renew(ctx, func(h *evidence.Holder) { h.Step, h.StepName = step, name }, nil)
	return nil
}

// whileHeld is a context that ends when somebody else takes the lease over.
func (r *Runner) whileHeld(ctx context.Context) (context.Context, func()) {
	if r.lease == nil {
		return ctx, func() {}
	}
	life := r.lease.life
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (r *Runner) holder(p *service.Plan) evidence.Holder {
	h := evidence.Holder{Operator: r.Operator, PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Millisecond), Plan: p.Name, Steps: len(p.Steps)}
	if h.Operator == "" {
		h.Operator = fmt.Sprintf("user %d", os.Getuid())
		if u, err := user.Current(); err == nil {
			h.Operator = u.Username
		}
	}
	var err error
	if h.Host, err = os.Hostname(); err != nil {
		h.Host = "a host without a name"
	}
	return h
}

func take(ctx context.Context, path string, as evidence.Holder) (*lock, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		l := &lock{file, as}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			held := &Held{Path: path}
			within, cancel := context.WithTimeout(ctx, told)
			// Not having been told changes nothing: it is refused.
			_ = until(within, 10*time.Millisecond, func(context.Context) error { return l.alive(&held.Holder) })
			cancel()
			return nil, errors.Join(held, file.Close())
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		there, err := os.Stat(path)
		if err == nil && l.is(there) {
			if err := l.write(); err != nil {
				return nil, errors.Join(err, file.Close())
			}
			return l, nil
		}
		file.Close() // its holder has given it back and removed it meanwhile
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// alive reads who holds it. What a dead holder of this host has left stands there until the next one has written.
func (l *lock) alive(h *evidence.Holder) error {
	if err := l.read(h); err != nil {
		return err
	}
	if host, err := os.Hostname(); err == nil && host == h.Host && errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH) {
		return fmt.Errorf("process %d, which stands in the lock, has ended", h.PID)
	}
	return nil
}

// is says whether the file at its path is still the one that is locked.
func (l *lock) is(there os.FileInfo) bool {
	mine, err := l.file.Stat()
	return err == nil && os.SameFile(mine, there)
}

// at notes the step that comes now.
func (l *lock) at(step int, name string) error {
	l.as.Step, l.as.StepName = step, name
	return l.write()
}

func (l *lock) write() error {
	text, err := json.MarshalIndent(l.as, "", "  ")
	if err != nil {
		return err
	}
	if _, err := l.file.WriteAt(append(text, '\n'), 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(len(text) + 1))
}

// read is an error while the holder is writing.
func (l *lock) read(h *evidence.Holder) error {
	text, err := io.ReadAll(io.NewSectionReader(l.file, 0, 64<<10))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, h)
}

// Beside is the runner of a second operator, who runs the same commands in the same place.
func (r *Runner) Beside(operator string) *Runner {
	return &Runner{Log: r.Log, Service: r.Service, Dir: r.Dir, Vars: r.Vars, Platform: r.Platform, Tracer: r.Tracer, Running: r.Running,
		Lease: r.Lease, Dial: r.Dial, Operator: operator, By: operator}
}
