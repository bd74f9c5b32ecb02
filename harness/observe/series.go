package observe

import (
	"fmt"
	"sync"

	"backout/harness/evidence"
)

// beat decides whether a reading is written: when it differs from the one written last, or when that is a beat ago.
type beat[T comparable] struct {
	last T
	at   evidence.Offset
	some bool
}

// due tells whether a reading at t is to be written, and remembers it if so. slack is how much earlier than a beat a
// reading may be written, so that the beat is not missed by waiting for the next one.
func (b *beat[T]) due(reading T, t, every, slack evidence.Offset) bool {
	if b.some && reading == b.last && t-b.at < every-slack {
		return false
	}
	b.last, b.at, b.some = reading, t, true
	return true
}

// track writes the gaps in the readings of one subject: from the start of a reading that timed out to the next that
// completed, and any stretch of more than two beats in which none completed.
type track struct {
	log  *evidence.Log
	of   string
	beat evidence.Offset

	mu   sync.Mutex
	last evidence.Offset // when a reading completed last
	some bool
	open bool
	from evidence.Offset
	why  string
}

func (o *Observer) track(of string) *track {
	return &track{log: o.Log, of: of, beat: evidence.Seconds(o.Beat)}
}

// lost says that a reading that began at from could not be completed.
func (t *track) lost(from evidence.Offset, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		t.open, t.from, t.why = true, from, why
	}
}

// read says that a reading has completed now.
func (t *track) read() {
	now := t.log.Now()
	t.mu.Lock()
	from, why, gap := t.from, t.why, t.open
	if !gap && t.some && now-t.last > 2*t.beat {
		from, why, gap = t.last, fmt.Sprintf("no reading completed for %.1f s: this machine was too busy to observe", float64(now-t.last)), true
	}
	t.open, t.last, t.some = false, now, true
	t.mu.Unlock()
	if gap {
		t.log.Put(&evidence.Gap{Of: t.of, From: from, To: now, Why: why})
	}
}

// rest says that readings stop for a reason that is none of theirs, such as a step that runs.
func (t *track) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.some = false
}

// end writes the gap that is open when the observation ends.
func (t *track) end() {
	now := t.log.Now()
	t.mu.Lock()
	from, why, open := t.from, t.why, t.open
	t.open = false
	t.mu.Unlock()
	if open {
		t.log.Put(&evidence.Gap{Of: t.of, From: from, To: now, Why: why})
	}
}
