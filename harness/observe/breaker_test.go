package observe

import (
	"math/rand/v2"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// usualRules are those of a service that says no others.
var usualRules = service.Breaker{Times: 5, Share: 0.01, Failures: 20, Within: 10 * time.Second, Readings: 2, Off: 30 * time.Second, Closes: 30 * time.Second}

// ten is a breaker after ten seconds of baseline with 100 checkouts a second, so many of which failed in all.
func ten(failed int) (*breaker, func(seconds, perSecond, failed int) []evidence.Breaker) {
	b := newBreaker(&service.Service{Name: "shop", Breaker: &usualRules})
	now := evidence.Offset(0)
	feed := func(seconds, perSecond, failed int) (events []evidence.Breaker) {
		for range seconds {
			for i := range perSecond {
				j := evidence.Journey{Name: "checkout", Outcome: evidence.OK}
				if i < failed {
					j.Outcome, j.Status = evidence.Failed, 500
				}
				now += evidence.Offset(1) / evidence.Offset(perSecond)
				b.journey(j, now)
			}
			if e := b.tick(now); e != nil {
				events = append(events, *e)
			}
		}
		return events
	}
	feed(1, 100, failed)
	feed(9, 100, 0)
	b.fix(0, now)
	return b, feed
}

func names(events []evidence.Breaker) (all []string) {
	for _, e := range events {
		all = append(all, e.Event+" "+e.Rule)
	}
	return all
}

func TestBreakerTripsAndCloses(t *testing.T) {
	for _, c := range []struct {
		name   string
		failed int // of 1,000 in the baseline
		then   func(feed func(seconds, n, failed int) (e []evidence.Breaker)) []evidence.Breaker
		events []string // after it was armed
	}{
		{"nothing fails", 0, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker { return feed(30, 100, 0) }, nil},
		{"4 times the baseline", 10, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker { return feed(30, 100, 4) }, nil},
		{"6 times the baseline", 10, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker { return feed(30, 100, 6) }, []string{"tripped errors"}},
		{"half of them fail, but fewer than 20 do", 0, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker {
			e := feed(30, 100, 0)
			return append(e, feed(1, 38, 19)...)
		}, nil},
		{"half of all fail and few come", 0, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker { return feed(30, 4, 2) }, []string{"tripped errors"}},
		{"it goes down to a third and stays open", 10, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker {
			return append(feed(20, 100, 10), feed(60, 100, 3)...)
		}, []string{"tripped errors"}},
		{"it is over, it closes, and trips again", 10, func(feed func(int, int, int) []evidence.Breaker) []evidence.Breaker {
			e := append(feed(20, 100, 10), feed(60, 100, 1)...)
			return append(e, feed(20, 100, 10)...)
		}, []string{"tripped errors", "closed errors", "tripped errors"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, feed := ten(c.failed)
			if e := feed(1, 100, 0); len(e) != 1 || e[0].Event != evidence.BreakerArmed || e[0].Samples != 1000 || e[0].Failures != c.failed {
				t.Fatalf("expected it to be armed with 1,000 answers, found %+v", e)
			}
			got := names(c.then(feed))
			if len(got) != len(c.events) {
				t.Fatalf("expected %v, found %v", c.events, got)
			}
			for i := range got {
				if got[i] != c.events[i] {
					t.Errorf("expected %v, found %v", c.events, got)
				}
			}
		})
	}
}

func TestBreakerOfInvariantsAndMetrics(t *testing.T) {
	b, feed := ten(0)
	feed(1, 100, 0)
	now := evidence.Offset(11)
	broken := evidence.Probe{Name: "invariant", Of: "totals add up", Value: 2, OK: true}
	b.invariant(broken)
	b.invariant(evidence.Probe{Name: "invariant", Of: "totals add up", Error: "timed out"})
	if e := b.tick(now); e != nil {
		t.Fatalf("one reading tripped it: %+v", e)
	}
	b.invariant(evidence.Probe{Name: "invariant", Of: "totals add up", OK: true})
	b.invariant(broken)
	if e := b.tick(now); e != nil {
		t.Fatalf("a reading, and one after it held again, tripped it: %+v", e)
	}
	b.invariant(broken)
	if e := b.tick(now); e == nil || e.Event != evidence.BreakerTripped || e.Rule != "invariant" || e.Of != "totals add up" {
		t.Fatalf("expected two readings in a row to trip it, found %+v", e)
	}

	b, feed = ten(0)
	feed(1, 100, 0)
	b.alert(&evidence.Alert{Metric: "latency", Of: "checkout", Event: "raised"}, 11)
	if e := b.tick(35.9); e != nil {
		t.Fatalf("an alert of less than 30 s tripped it: %+v", e)
	}
	if e := b.tick(36); e == nil || e.Rule != "metric" || e.Of != "latency of checkout" {
		t.Fatalf("expected an alert that has stayed for 30 s to trip it, found %+v", e)
	}
	b, feed = ten(0)
	feed(1, 100, 0)
	b.alert(&evidence.Alert{Metric: "latency", Of: "checkout", Event: "raised"}, 11)
	b.alert(&evidence.Alert{Metric: "latency", Of: "checkout", Event: "cleared"}, 30)
	if e := b.tick(60); e != nil {
		t.Fatalf("an alert that was cleared tripped it: %+v", e)
	}
}

// Refusals and what the client got wrong are no failures of the service; an arrival that was not sent is.
func TestWhatTheBreakerCounts(t *testing.T) {
	for _, c := range []struct {
		j    evidence.Journey
		want int
	}{
		{evidence.Journey{Outcome: evidence.OK, Status: 201}, 0},
		{evidence.Journey{Outcome: evidence.Failed, Status: 422}, 0},
		{evidence.Journey{Outcome: evidence.Failed, Status: 503}, 1},
		{evidence.Journey{Outcome: evidence.Failed}, 1},
		{evidence.Journey{Outcome: evidence.Unsent}, 1},
	} {
		b, _ := ten(0)
		b.tick(10)
		c.j.Name = "checkout"
		b.answers["checkout"] = nil
		b.journey(c.j, 10.5)
		if got := b.answers["checkout"][0].failed; got != (c.want == 1) {
			t.Errorf("%+v: expected %d failure, found %v", c.j, c.want, got)
		}
	}
}

// Noise of one failure in a hundred, with a second in ten that has five times as many, does not trip it in a simulated hour.
func TestBreakerUnderNoise(t *testing.T) {
	b := newBreaker(&service.Service{Name: "shop", Breaker: &usualRules})
	random := rand.New(rand.NewPCG(7, 8))
	now := evidence.Offset(0)
	second := func() *evidence.Breaker {
		p := 0.007
		if random.IntN(10) == 0 {
			p = 0.035
		}
		for range 60 {
			now += 1.0 / 60
			j := evidence.Journey{Name: "checkout", Outcome: evidence.OK}
			if random.Float64() < p {
				j.Outcome, j.Status = evidence.Failed, 503
			}
			b.journey(j, now)
		}
		return b.tick(now)
	}
	for range 15 {
		second()
	}
	b.fix(0, now)
	for range 3600 {
		if e := second(); e != nil && e.Event != evidence.BreakerArmed {
			t.Fatalf("noise tripped it at %.0f s: %+v", float64(now), e)
		}
	}
	if e := b.end(); e == nil || e.Samples < 200000 || e.Near <= 0 || e.Near >= 1 {
		t.Errorf("expected it to say how near the noise came, found %+v", e)
	}
}
