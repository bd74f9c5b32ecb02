package service

import (
	"time"

	"backout/harness/evidence"
)

// Breaker is when a release is to be rolled back without anybody's order. It trips when one of its rules holds and closes again
// when none has come half as far for Closes.
type Breaker struct {
	// Of a journey's failures (5xx, no answer, not sent) within a stretch: their share is Times the baseline's and at least Share, and
	// there are at least Failures of them.
	Times    float64
	Share    float64 // of 1
	Failures int
	Within   time.Duration

	Readings int           // so many readings in a row find an invariant broken, a second apart
	Off      time.Duration // a metric has been an alert for so long
	Closes   time.Duration
}

// breaker reads the rules, each with its default.
func breaker(v *value, s *Service) *Breaker {
	if v == nil {
		return nil
	}
	o := v.object("errors", "invariants", "metrics", "closes")
	b := &Breaker{Times: 5, Share: 0.01, Failures: 20, Within: 10 * time.Second, Readings: 2, Off: 30 * time.Second, Closes: 30 * time.Second}
	if e := o.get("errors"); e != nil {
		e := e.object("times", "share", "failures", "within")
		if x := e.get("times"); x != nil {
			if times, ok := x.real(); ok && times > 1 {
				b.Times = times
			} else if ok {
				x.expected("a number above 1: how many times the baseline's share of failures")
			}
		}
		if x := e.get("share"); x != nil {
			if share, ok := x.real(); ok && share > 0 && share <= 1 {
				b.Share = share
			} else if ok {
				x.expected("a share of 1, above 0")
			}
		}
		if x := e.get("failures"); x != nil {
			b.Failures = int(x.number(1, 1e6))
		}
		if x := e.get("within"); x != nil {
			b.Within = x.duration()
		}
	}
	if i := o.get("invariants"); i != nil {
		b.Readings = int(i.object("readings").must("readings", "how many in a row find it broken").number(1, 1000))
		if s.Database == nil || len(s.Database.Invariants) == 0 {
			i.wrong("expected invariants of the database beside invariants, found none")
		}
	}
	if m := o.get("metrics"); m != nil {
		b.Off = m.object("for").must("for", "how long a metric is off").duration()
	}
	if c := o.get("closes"); c != nil {
		b.Closes = c.duration()
	}
	return b
}

// evidence is what judging needs to know of it.
func (b *Breaker) evidence() *evidence.BreakerRules {
	if b == nil {
		return nil
	}
	return &evidence.BreakerRules{Times: b.Times, Share: b.Share, Failures: b.Failures, Within: b.Within.Seconds(), Readings: b.Readings,
		Off: b.Off.Seconds(), Closes: b.Closes.Seconds()}
}
