package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"backout/harness/drill"
	"backout/harness/evidence"
)

// Follow serves what is in a folder: a run or a set, finished, or one that another process is still making. It returns when
// that is known, and goes on until Close.
func (s *Server) Follow(ctx context.Context) error {
	if info, err := os.Stat(s.set); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: expected the folder of a run or of a set: %w", s.set, errors.Join(err, notFolder(err)))
	}
	if err := s.look(); err != nil {
		return err
	}
	if len(s.all()) == 0 && !s.indexThere() {
		return fmt.Errorf("%s: expected the folder of a run, which holds %s, or of a set, which holds such folders; found neither", s.set, evidence.File)
	}
	s.work.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = s.look() // a set that cannot be read now may be read later; its pages stay
			}
		}
	})
	return nil
}

func notFolder(err error) error {
	if err == nil {
		return errors.New("it is a file")
	}
	return nil
}

// look adds runs that are new, and learns which of them can be steered.
func (s *Server) look() error {
	dirs := []string{s.set}
	if !s.alone {
		var err error
		if dirs, err = evidence.Folders(s.set); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	for _, p := range s.all() {
		known[p.dir] = true
		p.ask()
	}
	for _, dir := range dirs {
		if known[dir] {
			continue
		}
		p, err := newPage(filepath.Base(dir), filepath.Base(dir), dir)
		if err != nil {
			return err
		}
		if p.ended = reported(dir); p.ended {
			p.live = nil
		} else {
			if err := p.follow(); err != nil {
				return err
			}
		}
		s.add(p)
	}
	return nil
}

// follow has the page learn from the log that another process writes.
func (p *page) follow() error {
	tail, err := evidence.NewTail(filepath.Join(p.dir, evidence.File))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var last evidence.Offset
	p.pull = func() ([]evidence.Event, error) {
		if tail.Closed() {
			return nil, nil
		}
		events, err := tail.Next()
		mu.Lock()
		defer mu.Unlock()
		for _, e := range events {
			last = max(last, e.T)
		}
		return events, err
	}
	p.now = func() evidence.Offset { // that of the last segment: what came after it is not known
		mu.Lock()
		defer mu.Unlock()
		return last
	}
	p.remote = &remote{}
	p.ask()
	p.state = p.remote.state
	p.do = p.remote.do
	return nil
}

// remote is the handle of a drill in another process.
type remote struct {
	mu      sync.Mutex
	running *drill.Running
	last    drill.State
}

// ask learns whether the drill runs and what can be ordered.
func (p *page) ask() {
	r := p.remote
	if r == nil || p.done() {
		return
	}
	all, err := drill.RunningDrills()
	dir, abs := filepath.Abs(p.dir)
	var running *drill.Running
	for i := range all {
		if err == nil && abs == nil && all[i].Dir == dir {
			running = &all[i]
		}
	}
	s := drill.State{Cannot: map[string]string{}}
	for _, name := range drill.OrderNames() {
		s.Cannot[name] = "no process of this user on this machine runs this drill"
	}
	if running != nil {
		ctx, cancel := context.WithTimeout(context.Background(), every)
		defer cancel()
		if now, err := running.State(ctx); err == nil {
			s = now
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.last = running, s
}

func (r *remote) state() drill.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *remote) do(o drill.Order) (string, error) {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if running == nil {
		return "", errors.New("no process of this user on this machine runs this drill")
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
	defer cancel()
	said, s, err := running.Order(ctx, o)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Cannot != nil {
		r.last = s
	}
	return said, err
}

// Alone says whether a folder is that of one run.
func Alone(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, evidence.File))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
