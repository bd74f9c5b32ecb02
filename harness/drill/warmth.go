package drill

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"backout/harness/evidence"
)

// warmth follows the journeys of the first seconds, to know when the steady state may be measured and what it was.
type warmth struct {
	mu   sync.Mutex
	now  func() evidence.Offset
	seen []sample
	all  map[string]bool // journeys that must have succeeded once
	over bool            // the steady state was measured: nothing more is kept
	down map[string]bool // instances that did not answer when they were asked last, without those that are there no more
	shut evidence.Offset // when one was seen to be down last
}

type sample struct {
	at   evidence.Offset
	ms   float64
	name string
	ok   bool
	why  string
}

func newWarmth(log *evidence.Log, journeys []string) *warmth {
	w := &warmth{now: log.Now, all: map[string]bool{}, down: map[string]bool{}, shut: -math.MaxFloat64}
	for _, j := range journeys {
		w.all[j] = true
	}
	log.Tap(func(e evidence.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := e.Instance; i != nil {
			w.down[i.Name] = !i.Up
			if !i.Up {
				w.shut = e.T
			}
		}
		if p := e.Pod; p != nil && p.Event == evidence.PodDeleted {
			delete(w.down, p.Name)
		}
		if e.Journey == nil || w.over {
			return
		}
		j := e.Journey
		w.seen = append(w.seen, sample{at: e.T, ms: j.MS, name: j.Name, ok: j.Outcome == evidence.OK,
			why: fmt.Sprintf("%s %s: request %d got status %d %s", j.Name, j.Outcome, j.Step, j.Status, j.Error)})
	})
	return w
}

// reached: every journey of the service has succeeded, within the last second none failed, and service has settled. A machine
// on which everything has just been started is busy with that.
func (w *warmth) reached() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return true // a schema alone has no users
	}
	done := map[string]bool{}
	recent := 0
	now := w.now()
	for _, s := range w.seen {
		if s.ok && w.all[s.name] {
			done[s.name] = true
		}
		if s.at >= now-1 {
			if !s.ok {
				return false
			}
			recent++
		}
	}
	return recent > 0 && len(done) == len(w.all) && w.settled(now)
}

// settled: within the last two seconds every instance answered, and the medians of the two are at most 1 ms or a quarter
// apart. A machine that does not get there in settleLimit does not get a better baseline by waiting longer; the verdict will
// say that it was not steady.
func (w *warmth) settled(now evidence.Offset) bool {
	if len(w.seen) > 0 && now-w.seen[0].at > settleLimit {
		return true
	}
	for _, down := range w.down {
		if down {
			return false
		}
	}
	if now-w.shut <= 2 {
		return false
	}
	last, before := w.median(now-1, now), w.median(now-2, now-1)
	return last > 0 && before > 0 && math.Abs(last-before) <= max(1, before/4)
}

const settleLimit = 10 // seconds

// median latency of what ended between two offsets; 0 when nothing did.
func (w *warmth) median(from, to evidence.Offset) float64 {
	var ms []float64
	for _, s := range w.seen {
		if s.at >= from && s.at < to {
			ms = append(ms, s.ms)
		}
	}
	if len(ms) == 0 {
		return 0
	}
	slices.Sort(ms)
	return ms[len(ms)/2]
}

// last is the last mismatch, for the error when it was never reached.
func (w *warmth) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.seen) {
		if !s.ok {
			return s.why
		}
	}
	for name, down := range w.down {
		if down {
			return name + " does not answer"
		}
	}
	return fmt.Sprintf("%d journeys ended, none failed, but not every journey has succeeded yet", len(w.seen))
}

// since ends the following and says what was seen since an offset, in words.
func (w *warmth) since(from evidence.Offset) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if len(w.all) == 0 {
		return "nobody uses it but the plan"
	}
	var ms []float64
	failed := map[string]int{}
	until := from
	for _, s := range w.seen {
		if s.at < from {
			continue
		}
		until = max(until, s.at)
		if !s.ok {
			failed[s.name]++
			continue
		}
		ms = append(ms, s.ms)
	}
	if len(ms) == 0 {
		return "no journey succeeded"
	}
	slices.Sort(ms)
	bad := 0
	for _, n := range failed {
		bad += n
	}
	total := len(ms) + bad
	var text strings.Builder
	fmt.Fprintf(&text, "%.0f/s, %.1f %% succeed, p95 %.0f ms", float64(total)/max(0.001, float64(until-from)), 100*float64(len(ms))/float64(total), ms[len(ms)*95/100])
	return text.String()
}
