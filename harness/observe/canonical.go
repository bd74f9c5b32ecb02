package observe

import (
	"context"
	"time"

	"backout/harness/evidence"
)

// schemaSpacing is the least time between two canonical readings of a node.
const schemaSpacing = 500 * time.Millisecond

// canonical has the node's schema read while no step runs: when the raw digest has changed since the last canonical
// reading, and once when it is demanded.
//
// The log shows a reading between two node events with the same digest, so that whoever reads it knows to which state
// of the catalogs it belongs: a reading during which the digest changed is not written but made again.
func (p *nodeProbe) canonical(ctx context.Context) {
	if p.o.Schema == nil {
		return
	}
	t := p.o.track("schema " + p.name)
	defer t.end()
	var done string // what the catalogs were at the last reading without error
	var called time.Time
	var written beat[string]
	every(ctx, p.o.Interval, func() {
		p.mu.Lock()
		n, now := p.last, p.seen
		p.mu.Unlock()
		if n.Digest == "" || !n.Reachable {
			return
		}
		if done == "" {
			done = now // what was there at first is read by the drill, as the baseline
		}
		if time.Since(called) < schemaSpacing || now == done && !p.demand.Load() {
			return
		}
		stepCtx, leave, ok := p.o.steps.enter()
		if !ok {
			return
		}
		defer leave()
		called = time.Now()
		began := p.o.Log.Now()
		// A demand that comes while it is read is one for another reading.
		demanded := p.demand.Swap(false)
		again := func() {
			if demanded {
				p.demand.Store(true)
			}
		}
		s := p.o.Schema(stepCtx, *p.now.Load(), "watch")
		if stepCtx.Err() != nil || s == nil {
			again()
			return
		}
		if s.Error != "" {
			t.lost(began, s.Error)
			if written.due(s.Error, p.o.Log.Now(), evidence.Seconds(p.o.Beat), 0) {
				p.o.Log.Put(s)
			}
			again()
			return
		}
		ended := p.o.Log.Now()
		if !p.full(ctx) {
			again()
			return
		}
		p.mu.Lock()
		same := p.seenAt >= ended && p.last.Digest == n.Digest
		if same {
			p.o.Log.Put(s)
		}
		settled := same && p.seen == now
		p.mu.Unlock()
		written = beat[string]{}
		t.rest() // it has no beat: it is read when there is a reason to
		t.read()
		if !settled {
			again()
			return
		}
		done = now
		p.full(ctx)
	})
}

// full has the node read in full and written, and tells whether that happened.
func (p *nodeProbe) full(ctx context.Context) bool {
	done := make(chan struct{})
	select {
	case p.again <- done:
	case <-ctx.Done():
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
