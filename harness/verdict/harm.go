package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// Seen is whether the harm or the traps that the release states were seen.
type Seen struct {
	Shown bool
	// Since is the instant from which it is shown: of a rate the sample that made 50 and put the lower 95 % bound beyond
	// the threshold, of a state the observation that is at least 2 s after the first, of a trap the first reading with
	// enough of it. Of several harms the last.
	Since    evidence.Offset
	Finding  string // in words, also when nothing was seen
	Evidence []int64
}

const (
	harmSamples = 50
	stillWithin = 2 * second // before the decision the harm must be there
	withinElse  = 10.0       // seconds, of a release that states no other
)

// Harm says whether the harm or the traps that the release states are there at now. It counts from the end of the
// deploy. Of several harms or traps every one must be there. A good release harms nobody.
func (f *Facts) Harm(now evidence.Offset) Seen {
	if f.run == nil {
		return Seen{Finding: "the drill has not begun"}
	}
	s, _ := f.seen(ticks(now))
	return Seen{Shown: s.shown, Since: s.since.offset(), Finding: s.finding, Evidence: few(s.evidence)}
}

// sight is one harm or trap as it was seen.
type sight struct {
	shown    bool
	since    tick
	first    tick // the first sample that counts; 0: none
	firstN   int64
	finding  string
	evidence []int64
}

func (f *Facts) seen(now tick) (sight, bool) {
	r := &f.run.Release
	deployed, ok := f.clock(evidence.ClockDeployed)
	if r.Good || len(r.Harms)+len(r.Traps) == 0 {
		return sight{finding: r.Name + " is a good release: it states no harm"}, false
	}
	if !ok || deployed > now {
		return sight{finding: r.Name + " was not deployed"}, true
	}
	all := sight{shown: true}
	var findings []string
	for _, h := range r.Harms {
		s := f.harm(h, deployed, now)
		findings = append(findings, s.finding)
		all.shown = all.shown && s.shown
		all.since = max(all.since, s.since)
		all.evidence = append(all.evidence, s.evidence...)
		if s.firstN != 0 && (all.firstN == 0 || s.first < all.first) {
			all.first, all.firstN = s.first, s.firstN
		}
	}
	for _, t := range r.Traps {
		s := f.trap(t, now)
		findings = append(findings, s.finding)
		all.shown = all.shown && s.shown
		all.since = max(all.since, s.since)
		all.evidence = append(all.evidence, s.evidence...)
	}
	all.finding = strings.Join(findings, "; ")
	return all, true
}

func (f *Facts) harm(h evidence.Harm, deployed, now tick) sight {
	switch {
	case h.SuccessBelow > 0, h.LatencyAbove > 0:
		return f.rateHarm(h, deployed, now)
	case h.Restarts > 0, h.MemoryAbove > 0:
		return f.instanceHarm(h, deployed, now)
	case h.Invariant != "":
		limit := f.probeAt("invariant "+h.Invariant, f.clockOr(evidence.ClockDeployBegun, deployed))
		return stateHarm(f.probes.of("invariant "+h.Invariant), deployed, now, f.beat(),
			func(p probe, _ tick) bool { return p.ok && p.value > limit },
			func(p probe) string {
				return fmt.Sprintf("%s broke the invariant %q", count(int64(p.value), "row", "rows"), h.Invariant)
			}, fmt.Sprintf("the invariant %q was not broken", h.Invariant))
	case h.JobsFailed != "":
		limit := f.jobsFailed(h.JobsFailed, f.clockOr(evidence.ClockDeployBegun, deployed))
		return stateHarm(f.jobs.of(h.JobsFailed), deployed, now, f.beat(),
			func(j job, _ tick) bool { return j.ok && j.failed > limit },
			func(j job) string {
				return fmt.Sprintf("%s of %s failed", count(int64(j.failed-limit), "job", "jobs"), h.JobsFailed)
			}, fmt.Sprintf("no job of %s failed", h.JobsFailed))
	}
	return sight{finding: "it states a harm without a threshold"}
}

// rateHarm is a share of failures or of slow answers.
func (f *Facts) rateHarm(h evidence.Harm, deployed, now tick) sight {
	service := h.Service
	if service == f.run.Service.Name {
		service = ""
	}
	k := f.kindOf[kindName{service, h.Journey}]
	if k == nil {
		return sight{finding: "no journey of " + h.Journey + " was seen"}
	}
	threshold := 1 - h.SuccessBelow
	what := "failed"
	if h.LatencyAbove > 0 {
		threshold, what = 0.05, "took longer than "+millis(h.LatencyAbove) // p95 above it: more than 5 % are
	}
	// Where the harm names a dependant or the release changes the schema, whoever answers may be its victim: then every
	// journey counts, against the baseline.
	everyone := service != "" || f.run.Release.Schema
	base := 0.0
	if a, b, ok := f.baselineSpan(); ok && everyone {
		samples := k.ending(a, b)
		bad := 0
		for i := range samples {
			if hurts(h, &samples[i]) {
				bad++
			}
		}
		if len(samples) > 0 {
			base = float64(bad) / float64(len(samples))
		}
	}
	limit := max(threshold, base)

	var s sight
	var n, bad, lateN, lateBad int
	var lastN int64
	for i, all := 0, k.ending(deployed, now+1); i < len(all); i++ {
		x := &all[i]
		if x.start < deployed || x.flags&unsent != 0 {
			continue
		}
		counts, hurt := everyone, hurts(h, x)
		switch {
		case everyone:
		case x.flags&failed != 0:
			counts = f.blamed(k, x)
		default:
			counts = x.flags&fromBad != 0
		}
		if !counts {
			continue
		}
		n++
		late := x.end > now-min(stillWithin, now)
		if late {
			lateN++
		}
		if hurt {
			bad++
			if late {
				lateBad++
			}
			if s.firstN == 0 {
				s.first, s.firstN = x.end, int64(x.n)
			}
			lastN = int64(x.n)
		}
		if low, _ := wilson(bad, n); s.since == 0 && n >= harmSamples && low > limit {
			s.since = x.end
		}
	}
	low, high := wilson(bad, n)
	_, lateHigh := wilson(lateBad, lateN)
	if bad > 0 {
		s.evidence = few([]int64{s.firstN, lastN})
	}
	by := ""
	if !everyone {
		by = " that " + f.run.Release.Name + " answered"
	}
	figures := fmt.Sprintf("%s of %s %s journeys%s %s (95 %%: %s to %s)", share(bad, n), number(int64(n)), k.title(), by, what, bare(low), bare(high))
	switch {
	case n < harmSamples:
		s.finding = fmt.Sprintf("only %s%s, and %d are needed to judge", count(int64(n), k.title()+" journey", k.title()+" journeys"), by, harmSamples)
	case s.since == 0 || low <= limit:
		s.finding = fmt.Sprintf("%s, which does not show more than %s", figures, percent(limit))
	case lateBad == 0 || lateHigh < limit:
		s.finding = fmt.Sprintf("%s, but not any more in the last 2 s: %s of %s", figures, number(int64(lateBad)), number(int64(lateN)))
	default:
		s.shown = true
		s.finding = fmt.Sprintf("%s, shown %s after the deploy", figures, length((s.since - deployed).seconds()))
	}
	return s
}

func share(k, n int) string {
	if n == 0 {
		return "none"
	}
	return percent(float64(k) / float64(n))
}

func hurts(h evidence.Harm, s *sample) bool {
	if h.LatencyAbove > 0 {
		return float64(s.ms) > h.LatencyAbove
	}
	return s.flags&failed != 0
}

// blamed says whether a failure is the release's: the failing answer names it, or the proxy gave it in place of an
// instance that was on the release then, by what the instance said of itself.
func (f *Facts) blamed(k *kind, s *sample) bool {
	if s.blame == 0 {
		return s.flags&fromBad != 0
	}
	who := &f.serves[s.blame-1]
	if who.release != "" {
		return who.bad
	}
	service := k.service
	if service == "" {
		service = f.run.Service.Name
	}
	return who.instance != "" && f.names.is(f.on(service, who.instance, s.end)) == f.run.Release.Name
}

// instanceHarm is restarts or memory of an instance of the release, or of any instance of a dependant.
func (f *Facts) instanceHarm(h evidence.Harm, deployed, now tick) sight {
	service := h.Service
	if service == "" {
		service = f.run.Service.Name
	}
	none := "no instance of " + f.run.Release.Name + " restarted so often"
	if h.MemoryAbove > 0 {
		none = "no instance of " + f.run.Release.Name + " took so much memory"
	}
	best := sight{finding: none}
	for i, key := range f.instances.names {
		if !strings.HasPrefix(key, service+"/") {
			continue
		}
		name, list := key[len(service)+1:], f.instances.all[i]
		first := 0
		if r, ok := before(list, deployed); ok {
			first = r.v.restarts
		}
		s := stateHarm(list, deployed, now, f.beat(), func(v instance, t tick) bool {
			if service == f.run.Service.Name && f.names.is(f.on(service, name, t)) != f.run.Release.Name {
				return false
			}
			return h.Restarts > 0 && v.restarts-first >= h.Restarts || h.MemoryAbove > 0 && v.memory > h.MemoryAbove
		}, func(v instance) string {
			if h.Restarts > 0 {
				return fmt.Sprintf("%s restarted %s", name, count(int64(v.restarts-first), "time", "times"))
			}
			return fmt.Sprintf("%s took %s MB", name, number(v.memory>>20))
		}, none)
		if s.firstN != 0 && (best.firstN == 0 || s.first < best.first) {
			best.first, best.firstN = s.first, s.firstN
		}
		if s.shown && (!best.shown || s.since < best.since) {
			best.shown, best.since, best.finding, best.evidence = true, s.since, s.finding, s.evidence
		} else if !best.shown && s.firstN != 0 {
			best.finding, best.evidence = s.finding, s.evidence
		}
	}
	return best
}

// stateHarm is a state that was observed at least twice, 2 s apart, and in every observation from the first of them to
// now, the latest of which is not older than three beats.
func stateHarm[T any](list []reading[T], deployed, now, beat tick, is func(T, tick) bool, say func(T) string, none string) sight {
	var s sight
	var first, last *reading[T]
	for i := range list {
		r := &list[i]
		if r.t < deployed || r.t > now {
			continue
		}
		if !is(r.v, r.t) {
			first, last, s.since = nil, nil, 0
			continue
		}
		if s.firstN == 0 {
			s.first, s.firstN = r.t, r.n
		}
		if first == nil {
			first = r
		}
		last = r
		if s.since == 0 && r.t-first.t >= stillWithin {
			s.since = r.t
		}
	}
	switch {
	case s.firstN == 0:
		s.finding = none
	case last == nil:
		s.finding = none + " at the decision; it had been so from " + at(s.first)
	case s.since == 0:
		s.finding = say(last.v) + ", but not in two observations 2 s apart"
	case now-last.t > beat:
		s.finding = say(last.v) + ", but it was not observed any more"
	default:
		s.shown = true
		s.finding = say(last.v) + ", shown " + length((s.since - deployed).seconds()) + " after the deploy"
	}
	if last != nil {
		s.evidence = few([]int64{first.n, last.n})
	}
	return s
}

func (f *Facts) probeAt(name string, t tick) float64 {
	if r, ok := before(f.probes.of(name), t); ok && r.v.ok {
		return r.v.value
	}
	return 0
}

// trap is state that the rollback will meet: as much as stated, in the latest reading.
func (f *Facts) trap(t evidence.Trap, now tick) sight {
	var s sight
	list := until(f.probes.of("trap "+t.Name), now)
	if len(list) == 0 {
		s.finding = fmt.Sprintf("the trap %q was never counted", t.Name)
		return s
	}
	last := list[len(list)-1]
	for i := len(list) - 1; i >= 0 && list[i].v.ok && list[i].v.value >= t.AtLeast; i-- {
		s.shown, s.since = true, list[i].t
	}
	s.evidence = []int64{last.n}
	figure := fmt.Sprintf("%s: %s there, at least %s needed", t.Name, decimal(last.v.value, 2), decimal(t.AtLeast, 2))
	switch {
	case !last.v.ok:
		s.finding = fmt.Sprintf("the trap %q could not be counted", t.Name)
	case now-last.t > f.beat():
		s.shown = false
		s.finding = figure + ", but it was not counted any more"
	default:
		s.finding = figure
	}
	return s
}
