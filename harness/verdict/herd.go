package verdict

import (
	"fmt"

	"backout/harness/evidence"
)

// answeredWithin is how many seconds the last of those who came back may have taken: three requests by their time-out.
const answeredWithin = 30

// staysRestored: once service was restored and clients came back who had given up, all of them were served, and so was
// everybody for the stability window afterwards; in its second half everything was as before, replicas too.
func staysRestored(j *judging) result {
	h := j.run.Herd
	begun, came := j.f.clock(evidence.ClockHerdBegun)
	ended, over := j.f.clock(evidence.ClockHerdEnded)
	quiet, watched := j.f.clock(evidence.ClockQuietBegun)
	switch {
	case j.watch == nil || !came:
		return result{state: Unjudged, finding: "nobody came back, because service was not seen restored"}
	case !over || !watched || quiet < ended:
		return result{state: Unjudged, finding: "it was not watched until all clients who came back had been served"}
	}
	shown := j.f.clocks[evidence.ClockHerdBegun].n
	r := result{evidence: []int64{shown}}
	what := fmt.Sprintf("from %s on %s times as many clients came back for %s", at(begun), decimal(h.Times, 1), length(h.Seconds))

	w := *j.watch
	var all []lack
	found := func(l lack) { all = append(all, l) }
	w.crowded = true
	w.users(begun, quiet, found)
	w.crowded = false // when they have gone, latency is what it was again
	w.users(ended+(quiet-ended)/2, quiet, found)
	all = badFirst(w.lacking(all, ended+(quiet-ended)/2, quiet)) // a replica may lag while they come, and then catch up
	is := yes
	for _, l := range all {
		is = max(is, l.is)
		r.details = append(r.details, l.detail)
		r.evidence = append(r.evidence, l.n)
	}
	took := (ended - begun).seconds()
	arrived, expected := j.f.arrived(begun, begun+ticks(evidence.Offset(h.Seconds))), (1+h.Times)*j.run.Traffic.Rate*h.Seconds
	switch {
	case is == no:
		r.state, r.finding = Broken, what+": "+list(r.details, 2)
		for _, l := range all {
			if l.is == no && l.check != "" {
				r.remedy = remedyOf(l.check)
				break
			}
		}
	case is == unknown:
		r.state, r.finding = Unjudged, what+", but it was not seen how they were served: "+list(r.details, 2)
	case took > h.Seconds+answeredWithin:
		// Arrivals are logged by when they were due, so only the length says that they were not sent in time.
		r.state, r.finding = Unjudged, fmt.Sprintf("%s, but it took %s until the last of them had been sent and served: they were fewer at a time", what, length(took))
	case float64(arrived) < rateReached*expected:
		r.state, r.finding = Unjudged, fmt.Sprintf("%s, but only %s of %s scheduled journeys arrived", what, number(int64(arrived)), number(int64(expected+0.5)))
	default:
		r.state, r.finding = Kept, fmt.Sprintf("%s: %s journeys of theirs and others were served as before", what, number(int64(arrived)))
	}
	return r
}

// arrived counts the journeys of the drilled service that were scheduled in a stretch.
func (f *Facts) arrived(a, b tick) int {
	n := 0
	for _, k := range f.kinds {
		if k.service == "" {
			n += from(k.starts, b) - from(k.starts, a)
		}
	}
	return n
}
