package live

import (
	"sync"

	"backout/harness/evidence"
)

// mostQueued is how many events wait for the page at most: minutes of a busy drill.
const mostQueued = 1 << 17

// queue stands between a log, which must never wait, and the page, which may be late.
type queue struct {
	mu     sync.Mutex
	events []evidence.Event
	lost   int64
}

// put is quick and never waits: it is called under the lock of the log. When nobody takes what is here, journeys, writes and
// readings are lost and counted; what happens once is kept.
func (q *queue) put(e evidence.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) >= mostQueued && often(e) {
		q.lost++
		return
	}
	q.events = append(q.events, e)
}

// often says whether an event is one of many of its kind.
func often(e evidence.Event) bool {
	return e.Journey != nil || e.Write != nil || e.Probe != nil || e.Instance != nil || e.Node != nil || e.Job != nil || e.Cache != nil ||
		e.Lock != nil || e.Step != nil && e.Step.Event == "output"
}

// take empties the queue. lost is how many events have been lost since the last call.
func (q *queue) take(room []evidence.Event) (events []evidence.Event, lost int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events, lost = q.events, q.lost
	q.events, q.lost = room[:0], 0
	return events, lost
}
