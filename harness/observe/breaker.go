package observe

import (
	"fmt"
	"slices"
	"sync"

	"backout/harness/evidence"
	"backout/harness/service"
)

// breaker is the circuit breaker that starts a rollback by itself. It trips when one of its rules says so, and closes again when
// none has come half as far for a stated time. It only computes; the caller writes what it returns.
type breaker struct {
	rules   service.Breaker
	service string // the drilled one, whose journeys need no other name

	mu       sync.Mutex
	answers  map[string][]answer // of each journey, those that may still count, oldest first
	usual    map[string]float64  // journey -> its share of failures in the baseline
	broken   map[string]int      // invariant -> readings in a row that found it broken
	off      map[key]evidence.Offset
	from, to evidence.Offset // of the baseline
	asked    bool
	armed    bool
	open     bool
	calm     evidence.Offset // when a rule last came half as far as it must, while it is open
	looked   int             // answers since it was armed
	nearest  evidence.Breaker
}

// answer is one finished journey.
type answer struct {
	t      evidence.Offset
	failed bool
}

// remembered is for how long answers are kept before the baseline is known: longer than one may be waited for.
const remembered = evidence.Offset(180)

func newBreaker(s *service.Service) *breaker {
	if s == nil || s.Breaker == nil {
		return nil
	}
	return &breaker{rules: *s.Breaker, service: s.Name, answers: map[string][]answer{}, usual: map[string]float64{},
		broken: map[string]int{}, off: map[key]evidence.Offset{}}
}

// journey counts a finished journey. What the service refuses on purpose is no failure; a 5xx, no answer, and an arrival that could
// not be sent are.
func (b *breaker) journey(j evidence.Journey, t evidence.Offset) {
	if b == nil {
		return
	}
	of := j.Name
	if j.Service != "" && j.Service != b.service {
		of = j.Service + "/" + j.Name
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed {
		b.looked++
	}
	b.answers[of] = append(b.answers[of], answer{t, j.Outcome != evidence.OK && (j.Status == 0 || j.Status >= 500)})
}

// invariant counts the readings in a row that found rows which break an invariant. One that could not be read says nothing.
func (b *breaker) invariant(p evidence.Probe) {
	if b == nil || p.Name != "invariant" || !p.OK {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Value > 0 {
		b.broken[p.Of]++
	} else {
		delete(b.broken, p.Of)
	}
}

// alert notes since when a metric has been off: an alert is raised when it has been so for raiseAfter seconds.
func (b *breaker) alert(a *evidence.Alert, now evidence.Offset) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := key{a.Metric, a.Of}
	if a.Event == "raised" {
		b.off[k] = now - raiseAfter
	} else {
		delete(b.off, k)
	}
}

// fix has the usual shares taken from what was seen between from and to.
func (b *breaker) fix(from, to evidence.Offset) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from, b.to, b.asked, b.armed = from, to, true, false
}

// tick looks at what has come by now. The event is nil while nothing changes.
func (b *breaker) tick(now evidence.Offset) *evidence.Breaker {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.armed {
		b.forget(now - remembered)
		if b.asked && now >= b.to {
			return b.arm()
		}
		return nil
	}
	b.forget(now - evidence.Seconds(b.rules.Within))
	most := b.judge(now)
	if most.Near > b.nearest.Near {
		b.nearest = most
	}
	switch {
	case !b.open && most.Near >= 1:
		b.open, b.calm = true, now
		most.Event = evidence.BreakerTripped
		return &most
	case b.open && most.Near >= 0.5:
		b.calm = now
	case b.open && now-b.calm >= evidence.Seconds(b.rules.Closes):
		b.open = false
		most.Event = evidence.BreakerClosed
		return &most
	}
	return nil
}

// end says how much it has looked at and how near it came to tripping: one that has seen nothing has not stayed closed.
func (b *breaker) end() *evidence.Breaker {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.armed {
		return nil
	}
	e := b.nearest
	e.Event, e.Samples = evidence.BreakerEnded, b.looked
	return &e
}

// arm takes the usual shares. Each is estimated by Laplace's rule, (failed + 1) / (all + 2): in a short baseline a failure that
// happens once in a thousand is not seen, and five times nothing would be nothing.
func (b *breaker) arm() *evidence.Breaker {
	e := &evidence.Breaker{Event: evidence.BreakerArmed}
	for of, all := range b.answers {
		seen, failed := 0.0, 0.0
		for _, a := range all {
			if a.t >= b.from && a.t <= b.to {
				seen++
				if a.failed {
					failed++
				}
			}
		}
		if seen > 0 {
			b.usual[of] = (failed + 1) / (seen + 2)
			e.Samples += int(seen)
			e.Failures += int(failed)
		}
	}
	b.armed = true
	return e
}

func (b *breaker) forget(before evidence.Offset) {
	for of, all := range b.answers {
		i := slices.IndexFunc(all, func(a answer) bool { return a.t >= before })
		if i < 0 {
			i = len(all)
		}
		b.answers[of] = all[i:]
	}
}

// judge is the rule that has come furthest; Near is how far: 1 trips.
func (b *breaker) judge(now evidence.Offset) evidence.Breaker {
	most := evidence.Breaker{}
	further := func(e evidence.Breaker) {
		if e.Near > most.Near {
			most = e
		}
	}
	for of, usual := range b.usual {
		e := evidence.Breaker{Rule: "errors", Of: of, Unit: "share", Baseline: usual, Threshold: max(b.rules.Times*usual, b.rules.Share)}
		for _, a := range b.answers[of] {
			e.Samples++
			if a.failed {
				e.Failures++
			}
		}
		if e.Samples > 0 {
			e.Value = float64(e.Failures) / float64(e.Samples)
			e.Near = min(e.Value/e.Threshold, float64(e.Failures)/float64(b.rules.Failures))
			further(e)
		}
	}
	for of, n := range b.broken {
		further(evidence.Breaker{Rule: "invariant", Of: of, Unit: "readings", Value: float64(n), Threshold: float64(b.rules.Readings),
			Samples: n, Near: float64(n) / float64(b.rules.Readings)})
	}
	for k, since := range b.off {
		long := float64(now - since)
		further(evidence.Breaker{Rule: "metric", Of: fmt.Sprintf("%s of %s", k.metric, k.of), Unit: "s", Value: long,
			Threshold: b.rules.Off.Seconds(), Near: long / b.rules.Off.Seconds()})
	}
	return most
}
