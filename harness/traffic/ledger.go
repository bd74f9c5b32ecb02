package traffic

import (
	"maps"
	"sync"

	"backout/harness/evidence"
)

// Ledger is every write of the drilled service that was invoked, and whether it was acknowledged, refused or left
// unknown. Writes of dependants are in databases that the drill does not audit and are not in it.
type Ledger struct {
	mu     sync.Mutex
	chunks [][]entry // never copied, so that entries stay where they are and no arrival waits for a copy
	own    map[string]struct{}
}

// entry is one write. The names and texts of its fields are in its compiled write; it holds what varies.
type entry struct {
	write  *write
	key    string
	values []string // of the varying fields, in their order; of those from the acknowledgement JSON, empty when unknown
	state  state
	cancel state // of the request that takes it back
}

type state uint8

const (
	never state = iota // of a cancel: nobody asked for it
	pending
	acknowledged
	refused
	unknown
)

func (s state) event() string {
	switch s {
	case acknowledged:
		return evidence.Acknowledged
	case refused:
		return evidence.Refused
	}
	return evidence.Unknown
}

const chunkSize = 4096

// invoke notes a write before its request is sent.
func (l *Ledger) invoke(w *write, key string, values []string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == chunkSize {
		l.chunks = append(l.chunks, make([]entry, 0, chunkSize))
		last++
	}
	l.chunks[last] = append(l.chunks[last], entry{write: w, key: key, values: values, state: pending})
	return &l.chunks[last][len(l.chunks[last])-1]
}

// settle notes how a write ended. answer holds the fields that the acknowledgement gave, by their place.
func (l *Ledger) settle(e *entry, s state, answer map[int]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.state = s
	for i, v := range answer {
		e.values[i] = v
	}
}

// cancel notes that a write is being taken back, or how that ended.
func (l *Ledger) cancel(e *entry, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.cancel = s
}

// know notes a key that is ours though its write is not in the ledger.
func (l *Ledger) know(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own[key] = struct{}{}
}

// Count is how many writes were invoked so far, taking back not counted, and how many of them have settled how.
func (l *Ledger) Count() (invoked, acked, refusals, unknowns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, chunk := range l.chunks {
		invoked += len(chunk)
		for i := range chunk {
			switch chunk[i].state {
			case acknowledged:
				acked++
			case refused:
				refusals++
			case unknown:
				unknowns++
			}
		}
	}
	return invoked, acked, refusals, unknowns
}

// entries copies what the ledger holds now, with what is still pending as unknown.
func (l *Ledger) entries() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []entry
	for _, chunk := range l.chunks {
		all = append(all, chunk...)
	}
	for i := range all {
		if all[i].state == pending {
			all[i].state = unknown
		}
		if all[i].cancel == pending {
			all[i].cancel = unknown
		}
	}
	return all
}

// known is the keys that are ours though their writes are not in the ledger.
func (l *Ledger) known() map[string]struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.own)
}
