package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Life is what every kind of environment has: its options with their defaults, the calls that are under way, and an end
// that waits for them.
type Life struct {
	Options

	context context.Context
	stop    context.CancelFunc
	busy    sync.WaitGroup

	mu     sync.Mutex
	over   bool
	ending sync.Mutex
}

// NewLife gives the options that are empty what stands beside them in Options.
func NewLife(o Options) (*Life, error) {
	l := &Life{Options: o}
	if l.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the cache: %w; set XDG_CACHE_HOME", err)
		}
		l.Cache = filepath.Join(dir, "backout")
	}
	if l.Temp == "" {
		l.Temp = os.TempDir()
	}
	if l.Register == "" {
		dir, err := RegisterDir()
		if err != nil {
			return nil, err
		}
		l.Register = dir
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if len(l.Self) == 0 {
		l.Self = []string{own, "ctl"}
	}
	if len(l.Gateway) == 0 {
		l.Gateway = []string{own, "gateway"}
	}
	l.context, l.stop = context.WithCancel(context.Background())
	return l, nil
}

// TellTo has what takes long told to somebody else than Options says; nil changes nothing.
func (l *Life) TellTo(progress func(text string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if progress != nil {
		l.Progress = progress
	}
}

// Say tells people what takes long.
func (l *Life) Say(text string) {
	l.mu.Lock()
	say := l.Progress
	l.mu.Unlock()
	if say != nil {
		say(text)
	}
}

// Context ends with the environment.
func (l *Life) Context() context.Context { return l.context }

// Begin is the start of a call that End interrupts and waits for; done is its end.
func (l *Life) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, nil, errors.New("the environment is destroyed")
	}
	l.busy.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.context, cancel)
	return ctx, func() { stop(); cancel(); l.busy.Done() }, nil
}

// End interrupts the calls that are under way, waits for them, and has everything removed, one call of End at a time. remove is
// told of calls that did not return. The caller's context may be over, which is often why everything must go: there is
// a limit of its own, for the calls and for the removal.
func (l *Life) End(ctx context.Context, within time.Duration, remove func(ctx context.Context, late error) error) error {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.stop()
	idle := make(chan struct{})
	go func() { l.busy.Wait(); close(idle) }()
	var late error
	select {
	case <-idle:
	case <-time.After(within):
		late = errors.New("calls of Provision, Stage or Clone did not return when they were told to")
	}
	l.ending.Lock()
	defer l.ending.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := remove(ctx, late); err != nil {
		return fmt.Errorf("destroy the environment: %w", err)
	}
	return nil
}
