package verdict

import (
	"fmt"

	"backout/harness/evidence"
)

// breakerTrips: the breaker tripped after the deploy had begun and before the decision, and not later than promised after the
// first failure for which the release is to blame.
func breakerTrips(j *judging) result {
	within := j.statedWithin(BreakerTrips)
	begun, ok := j.f.clock(evidence.ClockDeployBegun)
	if !ok || j.f.breaker(evidence.BreakerArmed) == nil {
		return result{state: Unjudged, finding: "the breaker did not know the baseline before the release was deployed"}
	}
	trip := j.f.breaker(evidence.BreakerTripped)
	if trip == nil {
		if _, decided := j.f.clock(evidence.ClockDecided); !decided {
			return result{state: Unjudged, finding: "the drill ended before anybody decided"}
		}
		r := result{state: Broken, finding: "it did not trip"}
		if e := j.f.breaker(evidence.BreakerEnded); e != nil {
			r.finding, r.evidence = "it did not trip; "+nearest(e.v), []int64{e.n}
		}
		return r
	}
	r := result{evidence: []int64{trip.n}}
	if trip.t < begun {
		r.state, r.finding = Broken, fmt.Sprintf("it tripped at %s, before the release was deployed: %s", at(trip.t), tripped(trip.v))
		return r
	}
	first, n := j.f.firstBlamed(begun, trip.t)
	if s := j.sight; s.firstN != 0 && (n == 0 || s.first < first) && s.first <= trip.t {
		first, n = s.first, s.firstN
	}
	if n == 0 {
		r.state, r.finding = Broken, fmt.Sprintf("it tripped at %s, and nothing had failed for which %s is to blame: %s", at(trip.t), j.run.Release.Name, tripped(trip.v))
		return r
	}
	took := (trip.t - first).seconds()
	r.evidence = append(r.evidence, n)
	r.state, r.finding = Kept, fmt.Sprintf("it tripped %s after the first bad answer: %s", length(took), tripped(trip.v))
	if took > within {
		r.state = Broken
		r.finding += fmt.Sprintf("; promised: %s", limit(within))
	}
	return r
}

// breakerQuiet: from the baseline to the end of watching the breaker looked at what was answered and never tripped.
func breakerQuiet(j *judging) result {
	if trip := j.f.breaker(evidence.BreakerTripped); trip != nil {
		return result{state: Broken, evidence: []int64{trip.n}, finding: fmt.Sprintf("it tripped at %s: %s", at(trip.t), tripped(trip.v))}
	}
	armed, ended := j.f.breaker(evidence.BreakerArmed), j.f.breaker(evidence.BreakerEnded)
	switch {
	case armed == nil || ended == nil:
		return result{state: Unjudged, finding: "it was not watched to the end"}
	case ended.v.Samples == 0:
		return result{state: Unjudged, finding: "it looked at no answer"}
	}
	return result{state: Kept, evidence: []int64{armed.n, ended.n}, finding: fmt.Sprintf("it looked at %s; %s",
		count(int64(ended.v.Samples), "answer", "answers"), nearest(ended.v))}
}

// said is one word of the breaker.
type said struct {
	numbered[evidence.Breaker]
	t tick
}

// Tripped says why the breaker has tripped; empty: it has not.
func (f *Facts) Tripped() string {
	if trip := f.breaker(evidence.BreakerTripped); trip != nil {
		return tripped(trip.v)
	}
	return ""
}

// breaker is the first event of that name; nil: there is none.
func (f *Facts) breaker(event string) *said {
	for i := range f.breakers {
		if f.breakers[i].v.Event == event {
			return &f.breakers[i]
		}
	}
	return nil
}

// firstBlamed is the first failure between two instants for which the release is to blame: where it changes the schema, any.
func (f *Facts) firstBlamed(from, to tick) (first tick, n int64) {
	for _, k := range f.kinds {
		for i, all := 0, k.ending(from, to+1); i < len(all); i++ {
			x := &all[i]
			if x.start < from || x.flags&failed == 0 || !f.run.Release.Schema && !f.blamed(k, x) {
				continue
			}
			if n == 0 || x.end < first {
				first, n = x.end, int64(x.n)
			}
		}
	}
	return first, n
}

func tripped(b *evidence.Breaker) string {
	switch b.Rule {
	case "errors":
		return fmt.Sprintf("%s of %s %s failed, against %s in the baseline and %s that trip it", number(int64(b.Failures)), number(int64(b.Samples)),
			b.Of, percent(b.Baseline), percent(b.Threshold))
	case "invariant":
		return fmt.Sprintf("%s found the invariant %q broken", count(int64(b.Samples), "reading", "readings in a row"), b.Of)
	}
	return fmt.Sprintf("%s has been an alert for %s", b.Of, length(b.Value))
}

func nearest(b *evidence.Breaker) string {
	if b.Rule == "" {
		return "nothing came near to tripping it"
	}
	return fmt.Sprintf("the nearest that anything came to tripping it is %s of the way, %s of %s", percent(b.Near), b.Rule, b.Of)
}
