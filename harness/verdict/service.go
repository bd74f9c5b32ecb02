package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// isRestored is about the end of watching.
func isRestored(j *judging) result {
	switch {
	case j.watch == nil:
		return result{state: Unjudged, finding: "nobody decided to roll back"}
	case !j.watched:
		return result{state: Unjudged, finding: "watching did not end"}
	}
	w := j.watch
	switch j.whole {
	case yes:
		return result{state: Kept, evidence: w.shows(j.restoredAt, true),
			finding: fmt.Sprintf("restored %s after the decision, and it stayed so for %s until watching ended",
				length((j.restoredAt - w.decided).seconds()), length((j.end - j.restoredAt).seconds()))}
	case unknown:
		r := result{state: Unjudged, finding: "what is missing was not observed: " + j.lacks(2)}
		if j.short || len(j.missing) == 0 {
			r.finding = fmt.Sprintf("watching ended %s after the decision, before %s had passed in which service must stay restored",
				length((j.end - w.decided).seconds()), length(w.window.seconds()))
		}
		r.details, r.evidence = j.lackDetails()
		return r
	}
	since, last := j.f.clockOr(evidence.ClockCommandReturned, w.decided), "the last step"
	if _, ok := j.f.clock(evidence.ClockCommandReturned); !ok {
		last = "the decision"
	}
	r := result{state: Broken, finding: fmt.Sprintf("watched for %s after %s: %s", length(max(j.end-since, 0).seconds()), last, j.lacks(2))}
	r.details, r.evidence = j.lackDetails()
	if len(j.missing) > 0 {
		r.remedy = remedyOf(j.missing[0].check)
	}
	return r
}

func remedyOf(name string) string {
	for _, c := range checks() {
		if c.name == name {
			return c.remedy
		}
	}
	return "Look at the failing journeys that the evidence cites: their answers say what the plan leaves undone."
}

// lacks are the first things that were missing in the last window.
func (j *judging) lacks(most int) string {
	var texts []string
	for _, m := range j.missing {
		if m.is == j.whole {
			texts = append(texts, m.detail)
		}
	}
	if len(texts) > most {
		return strings.Join(texts[:most], "; ") + "; and " + number(int64(len(texts)-most)) + " more"
	}
	return strings.Join(texts, "; ")
}

func (j *judging) lackDetails() (details []string, ns []int64) {
	for _, m := range j.missing {
		details = append(details, m.detail)
		ns = append(ns, m.n)
	}
	return details, ns
}

func isInTime(j *judging) result {
	within := j.limit()
	if j.watch == nil || !j.watched {
		return result{state: Unjudged, finding: "watching did not end"}
	}
	if j.whole == yes {
		took := (j.restoredAt - j.watch.decided).seconds()
		r := result{state: Kept, finding: fmt.Sprintf("restored after %s, and %s are promised", length(took), limit(within))}
		if took > within {
			r = result{state: Broken, finding: fmt.Sprintf("restored only after %s, and %s are promised", length(took), limit(within)),
				evidence: j.watch.shows(j.restoredAt, true)}
			if _, paused, ns := j.kept(); took-paused <= within {
				// Whether it would have been in time without the order, nobody has seen.
				r.state, r.evidence = Unjudged, ns
				r.finding += fmt.Sprintf(", and an order to pause took %s of it", length(paused))
			}
		}
		return r
	}
	watched := (j.end - j.watch.decided).seconds()
	_, paused, _ := j.kept()
	switch {
	case paused > 0 && watched-paused < within:
		return result{state: Unjudged, finding: fmt.Sprintf("watching ended %s after the decision, of which an order to pause took %s, before %s had passed without it",
			length(watched), length(paused), limit(within))}
	case watched < within:
		return result{state: Unjudged, finding: fmt.Sprintf("watching ended %s after the decision, before the %s had passed", length(watched), limit(within))}
	case j.whole == unknown:
		return result{state: Unjudged, finding: fmt.Sprintf("%s passed, and it was not observed whether service was restored: %s", limit(within), j.lacks(2))}
	}
	_, ns := j.lackDetails()
	return result{state: Broken, evidence: ns, finding: fmt.Sprintf("%s passed and service was not restored: %s", limit(within), j.lacks(2))}
}

// instancesServe asks the last readings, and whether any response or reading after service was restored (or, when it never
// was, after watching) came from another release.
func instancesServe(j *judging) result {
	r := result{state: Kept}
	var bad, open []string
	for i := range j.instances {
		l := &j.instances[i]
		if !l.there() {
			continue
		}
		switch is, text, n := j.instanceAtEnd(l); is {
		case no:
			bad = append(bad, text+j.stillServed(l.name))
			r.evidence = append(r.evidence, n)
		case unknown:
			open = append(open, text)
			r.evidence = append(r.evidence, n)
		}
	}
	switch is, text, n := j.enoughAtEnd(); is {
	case no:
		bad = append(bad, text)
		r.evidence = append(r.evidence, n)
	case unknown:
		open = append(open, text)
		r.evidence = append(r.evidence, n)
	}
	for _, p := range j.heldAtEnd() {
		bad = append(bad, p.text)
		r.evidence = append(r.evidence, p.n)
	}
	after := j.end
	if j.whole == yes {
		after = j.restoredAt
	}
	if j.watch != nil {
		counts := map[uint16]int64{}
		for _, s := range j.watch.strays(after+1, forever) {
			if counts[s.serve]++; counts[s.serve] == 1 {
				r.evidence = append(r.evidence, int64(s.n))
			}
		}
		for i := range j.f.serves {
			if n := counts[uint16(i)]; n > 0 {
				who := &j.f.serves[i]
				bad = append(bad, fmt.Sprintf("%s came from %s of %s after %s", count(n, "response", "responses"), who.release,
					either(who.instance != "", who.instance, "an unnamed instance"), at(after)))
			}
		}
	}
	for i := range j.instances {
		l := &j.instances[i]
		for _, x := range j.f.readings(l) {
			if release := j.f.names.is(x.v.release); x.t > after && release != "" && release != j.run.Good {
				text := l.name + " served " + release + " at " + at(x.t)
				if is, _, _ := j.instanceAtEnd(l); is != no || !l.there() {
					bad = append(bad, text+", after "+at(after))
					r.evidence = append(r.evidence, x.n)
				}
				break
			}
		}
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, list(bad, 3), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, list(open, 3), open
	default:
		r.finding = count(int64(len(j.instances)), "instance serves ", "instances serve ") + j.run.Good
		if j.run.Replicas > 0 {
			r.finding = count(int64(j.serving()), "pod serves ", "pods serve ") + j.run.Good
		}
	}
	return r
}

// stillServed says for how long users got answers of another release from an instance after the command had returned.
func (j *judging) stillServed(name string) string {
	returned, ok := j.f.clock(evidence.ClockCommandReturned)
	if !ok || j.watch == nil {
		return ""
	}
	last := tick(0)
	for _, s := range j.watch.strays(returned, forever) {
		if j.f.serves[s.serve].instance == name {
			last = s.t
		}
	}
	if last == 0 {
		return ""
	}
	return ", and users got its answers for " + length((last - returned).seconds()) + " after the command had returned"
}

func latencyBack(j *judging) result {
	if j.watch == nil || !j.watched {
		return result{state: Unjudged, finding: "watching did not end"}
	}
	w := j.watch
	start := j.aligned - min(w.window, j.aligned)
	if j.users == yes {
		start = j.usersAt
	}
	var bad, open, good []string
	for i := range w.base {
		k := &w.base[i]
		worst := bucket{}
		empty := false
		for t := range buckets(start, start+w.window) {
			l := k.bucket(t)
			empty = empty || l.n == 0
			worst = bucket{n: 1, median: max(worst.median, l.median), p95: max(worst.p95, l.p95)}
		}
		text := fmt.Sprintf("%s: median at most %s and p95 %s in any 5 s (baseline %s and %s, allowed %s and %s with floors of %s and %s)",
			k.title(), millis(worst.median), millis(worst.p95), millis(k.median.value), millis(k.p95.value),
			millis(k.median.most()), millis(k.p95.most()), millis(k.median.floor()), millis(k.p95.floor()))
		switch {
		case worst.median > k.median.most() || worst.p95 > k.p95.most():
			bad = append(bad, text)
		case empty:
			open = append(open, "no journey of "+k.title()+" succeeded in 5 s from "+at(start))
		default:
			good = append(good, text)
		}
	}
	switch {
	case len(bad) > 0:
		return result{state: Broken, finding: list(bad, 1), details: bad}
	case len(open) > 0:
		return result{state: Unjudged, finding: list(open, 2), details: open}
	case len(good) == 0:
		return result{state: Unjudged, finding: "there is no baseline"}
	}
	return result{state: Kept, finding: list(good, 1), details: good}
}
