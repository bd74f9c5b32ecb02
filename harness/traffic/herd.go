package traffic

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"backout/harness/evidence"
)

// Herd has clients of the drilled service come back who had given up while it was bad: so many journeys per second for a
// time, beside the traffic that goes on. They are spread evenly, as all arrivals are, and have a limit of their own: as many
// may be under way as arrive within the time-out of a request, since until then a client waits. Herd returns when all of
// them have ended; when ctx ends, what is in flight is cut off.
func (t *Traffic) Herd(ctx context.Context, rate float64, length time.Duration) error {
	base, err := t.stream("")
	if err != nil {
		return fmt.Errorf("let clients come back: %w", err)
	}
	cl, err := newClient(base.client.base(), base.program.service, t.timeout)
	if err != nil {
		return fmt.Errorf("let clients come back: %w", err)
	}
	defer cl.cutBy(ctx)()
	seed := t.seed()
	pcg := rand.NewPCG(seed[0], seed[1])
	s := &stream{program: base.program, client: cl, users: base.users, pcg: pcg, random: rand.New(pcg),
		pacer: vegeta.ConstantPacer{Freq: max(1, int(math.Round(rate*1000))), Per: 1000 * time.Second}}
	// Without an alarm the runtime's timers wake the arrivals, less exactly.
	if s.alarm, _ = newAlarm(); s.alarm != nil {
		defer s.alarm.stop()
	}
	workers := make(chan *worker, HerdInFlight(rate, t.timeout)) // one for each journey that may be under way
	for range cap(workers) {
		workers <- nil
	}
	var underWay sync.WaitGroup
	defer underWay.Wait()
	began := time.Now()
	for n := uint64(0); ; n++ {
		due, _ := s.pacer.Pace(0, n)
		if due >= length {
			return nil
		}
		at := began.Add(due)
		if ctx.Err() != nil || !t.sleep(s.alarm, at) {
			return context.Cause(ctx)
		}
		c := s.next()
		c.at = at
		select {
		case <-t.stop:
			return context.Cause(ctx)
		case w := <-workers:
			if w == nil {
				w = newWorker(t)
			}
			underWay.Go(func() {
				t.log.Put(w.run(&c))
				workers <- w
			})
		default:
			t.log.Put(&evidence.Journey{Name: c.journey.name, Service: s.program.label, User: c.user.number, At: t.log.At(at), Outcome: evidence.Unsent})
		}
	}
}

// HerdInFlight is how many journeys of clients who come back may be under way at once.
func HerdInFlight(rate float64, timeout time.Duration) int {
	return max(50, int(math.Ceil(rate*timeout.Seconds())))
}
