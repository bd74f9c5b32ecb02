package observe

import (
	"context"
	"sync"
	"time"
)

// steps lets queries and canonical readings run only while no step does.
type steps struct {
	parent context.Context

	mu      sync.Mutex
	running bool
	busy    int
	idle    chan struct{} // closed when busy has come down to 0; nil while nobody waits for it
	ctx     context.Context
	cancel  context.CancelFunc
}

func newSteps(parent context.Context) *steps {
	s := &steps{parent: parent}
	s.ctx, s.cancel = context.WithCancel(parent)
	return s
}

// enter begins something that must not run beside a step. Its context ends when a step begins.
func (s *steps) enter() (ctx context.Context, leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return nil, nil, false
	}
	s.busy++
	return s.ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
		if s.busy == 0 && s.idle != nil {
			close(s.idle)
			s.idle = nil
		}
	}, true
}

// begin says that a step starts and waits until everything that entered has left. Most of it does so in a few
// milliseconds; the rest is cancelled. What does not obey within two seconds, which is four times the longest
// statement, is not waited for.
func (s *steps) begin() {
	s.mu.Lock()
	s.running = true
	if s.busy > 0 && s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle, cancel := s.idle, s.cancel
	s.mu.Unlock()
	defer cancel()
	if idle == nil {
		return
	}
	for _, patience := range []time.Duration{20 * time.Millisecond, 2 * time.Second} {
		late := time.NewTimer(patience)
		select {
		case <-idle:
			late.Stop()
			return
		case <-late.C:
			cancel()
		}
	}
}

func (s *steps) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return
	}
	s.running = false
	s.ctx, s.cancel = context.WithCancel(s.parent)
}
