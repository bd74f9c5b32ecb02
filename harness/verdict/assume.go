package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// What an assumption of a steady baseline allows.
const (
	rateReached   = 0.95 // of the scheduled journeys
	mostFailures  = 0.01 // of a journey, in the baseline; the lower 95 % bound must not lie beyond it
	steadySamples = 1    // of every journey of the drilled service
)

// assume works out what must hold for promises to be judged. An assumption that does not apply is not in the list.
func (j *judging) assume() []Assumption {
	var all []Assumption
	if j.f.used() {
		all = append(all, j.rateReached(), j.baselineSteady())
	}
	all = append(all, j.releaseReached())
	if j.stated {
		name := HarmSeen
		if len(j.run.Release.Harms) == 0 {
			name = TrapThere
		}
		all = append(all, j.harmSeen(name))
	}
	if instead, _ := j.instead(); len(j.run.Nodes) > 0 && instead == "" {
		all = append(all, j.nodesRead())
	}
	all = append(all, j.withoutGap())
	if len(j.f.faulted) > 0 || j.run.Plan.Sabotage != "" || len(j.run.Faults) > 0 || j.run.Death != nil {
		all = append(all, j.faultInForce())
	}
	for i := range all {
		all[i].Evidence = few(all[i].Evidence)
	}
	return all
}

func (j *judging) rateReached() Assumption {
	a := Assumption{Name: RateReached}
	from, to, ok := j.f.baselineSpan()
	if !ok {
		a.Finding = "there is no baseline"
		return a
	}
	sent, dropped := 0, 0
	for _, k := range j.f.kinds {
		if k.service != "" {
			continue // dependants get their share in addition
		}
		for _, s := range k.samples {
			if s.start < from || s.start >= to {
				continue
			}
			if s.flags&unsent != 0 {
				dropped++
				a.Evidence = append(a.Evidence, int64(s.n))
				continue
			}
			sent++
		}
	}
	seconds := (to - from).seconds()
	scheduled := j.run.Traffic.Rate * seconds
	a.Finding = fmt.Sprintf("%s of %s scheduled journeys were sent in %s", number(int64(sent)), number(int64(scheduled+0.5)), length(seconds))
	if dropped > 0 {
		a.Finding += fmt.Sprintf(", %s could not be sent because the in-flight limit was reached", number(int64(dropped)))
	}
	a.Held = scheduled > 0 && float64(sent) >= rateReached*scheduled && dropped == 0
	return a
}

func (j *judging) baselineSteady() Assumption {
	a := Assumption{Name: BaselineSteady}
	from, to, ok := j.f.baselineSpan()
	if !ok {
		a.Finding = "there is no baseline"
		return a
	}
	base := j.f.baselines()
	if j.watch != nil {
		base = j.watch.base
	}
	var bad, good []string
	for _, name := range j.run.Service.Journeys {
		n := 0
		for i := range base {
			if base[i].service == "" && base[i].name == name {
				n = base[i].n
			}
		}
		if n < steadySamples {
			bad = append(bad, "no journey of "+name+" ended in it")
		}
	}
	for i := range base {
		b := &base[i]
		if low, _ := wilson(b.failed, b.n); low > mostFailures {
			bad = append(bad, fmt.Sprintf("%s of %s %s journeys failed", percent(b.share()), number(int64(b.n)), b.title()))
			a.Evidence = append(a.Evidence, b.failure)
		}
		if j.run.Alone {
			bad = append(bad, b.unsteady()...)
		}
		text := fmt.Sprintf("%s: %s of %s failed", b.title(), percent(b.share()), number(int64(b.n)))
		if latency := b.median.value; latency > 0 {
			text += fmt.Sprintf(", median %s, p95 %s (spread %s and %s)", millis(latency), millis(b.p95.value), millis(b.median.spread), millis(b.p95.spread))
		}
		good = append(good, text)
	}
	stayed := 0
	for i := range j.instances {
		l := &j.instances[i]
		if text, n := j.unsteady(l, from, to); text != "" {
			bad = append(bad, text)
			a.Evidence = append(a.Evidence, n)
		}
		if l.from <= from && l.to > to {
			stayed++
		}
	}
	if stayed < j.run.Replicas {
		bad = append(bad, fmt.Sprintf("%d of %s there all the time", stayed, count(int64(j.run.Replicas), "pod was", "pods were")))
	}
	if a.Held = len(bad) == 0; a.Held {
		a.Finding = strings.Join(good, "; ")
	} else {
		a.Finding = list(bad, 3)
	}
	return a
}

// unsteady says what an instance did in the baseline besides serving the good release.
func (j *judging) unsteady(l *life, from, to tick) (string, int64) {
	name := l.name
	if l.pod {
		if l.from > to || l.to <= from {
			return "", 0 // it was not there
		}
		if text, n := l.moved(from, to); text != "" {
			return text + " in it", n
		}
	}
	all := j.f.readings(l)
	seen := until(all, to)
	first := len(until(all, from))
	if first > 0 {
		first-- // what it was when the baseline began
	}
	if seen = seen[min(first, len(seen)):]; len(seen) == 0 {
		return name + " was not seen in it", 0
	}
	for i, r := range seen {
		if text, is := j.f.is(l, r.v, r.t); is != yes {
			return text + " in it", r.n
		}
		if i > 0 && r.v.restarts != seen[0].v.restarts {
			return name + " restarted in it", r.n
		}
	}
	return "", 0
}

func (j *judging) releaseReached() Assumption {
	f, r := j.f, &j.run.Release
	a := Assumption{Name: ReleaseReached}
	deployed, ok := f.clock(evidence.ClockDeployed)
	if !ok {
		a.Finding = r.Name + " was not deployed"
		return a
	}
	begun := f.clockOr(evidence.ClockDeployBegun, deployed)
	shownBy := max(f.clockOr(evidence.ClockDecided, f.clockOr(evidence.ClockStarted, f.last)), deployed)

	var on, off []string
	for i := range j.instances {
		l := &j.instances[i]
		reached := false
		for _, x := range until(f.readings(l), shownBy) {
			if x.t >= begun && f.names.is(x.v.release) == r.Name {
				reached = true
				a.Evidence = append(a.Evidence, x.n)
				break
			}
		}
		if reached {
			on = append(on, l.name)
		} else if l.from <= shownBy && l.to > shownBy {
			off = append(off, l.name)
		}
	}
	want, migration, exact := len(j.instances), r.MigrateTo, false
	if j.run.Replicas > 0 {
		want = j.run.Replicas
	}
	if r.Reaches != nil {
		if r.Reaches.Instances > 0 {
			want = r.Reaches.Instances
		}
		if r.Reaches.Migration > 0 {
			migration, exact = r.Reaches.Migration, true
		}
	}
	a.Held = len(on) >= want
	a.Finding = fmt.Sprintf("%d of %d instances served %s, %d stated", len(on), len(j.instances), r.Name, want)
	if j.run.Replicas > 0 {
		a.Finding = fmt.Sprintf("%s served %s, %d stated", count(int64(len(on)), "pod", "pods"), r.Name, want)
	} else if len(j.instances) == 0 {
		begun, by := false, ""
		for _, s := range f.steps {
			if s.part == evidence.PartRollout && s.ended {
				begun, by = true, fmt.Sprintf("the rollout of %s ended", r.Name)
				a.Evidence = append(a.Evidence, s.n)
			}
		}
		if a.Held, a.Finding = begun, by; !begun {
			a.Finding = "no step of its rollout ended"
		}
	}
	if !a.Held && len(off) > 0 {
		a.Finding += "; not " + list(off, 3)
	}
	if migration > 0 && len(j.run.Nodes) > 0 {
		var wrong []string
		for _, name := range j.run.Nodes {
			x, ok := before(f.nodes.of(name), shownBy)
			switch {
			case !ok:
				wrong = append(wrong, f.nodeTitle(name)+" was not read")
			case x.v.migration < migration, exact && x.v.migration != migration:
				wrong = append(wrong, fmt.Sprintf("%s is at %d", f.nodeTitle(name), x.v.migration))
				a.Evidence = append(a.Evidence, x.n)
			}
		}
		if len(wrong) > 0 {
			a.Held = false
			a.Finding += fmt.Sprintf("; migration %d was not reached: %s", migration, list(wrong, 3))
		} else {
			a.Finding += fmt.Sprintf("; every node was at migration %d", migration)
		}
	}
	if missing := j.othersReached(begun, shownBy); len(missing) > 0 {
		a.Held = false
		a.Finding += "; " + list(missing, 3)
	}
	for _, s := range f.steps {
		if s.part == evidence.PartRollout && s.ended && s.outcome != evidence.StepOK {
			a.Finding += fmt.Sprintf("; step %d of the rollout ended as %s", s.index, s.outcome)
			a.Evidence = append(a.Evidence, s.n)
		}
	}
	return a
}

func (j *judging) harmSeen(name string) Assumption {
	s := &j.sight
	a := Assumption{Name: name, Held: s.shown, Finding: s.finding, Evidence: s.evidence}
	if a.Finding == "" {
		a.Finding = "nothing was observed"
	}
	if !a.Held || name == TrapThere {
		return a
	}
	within := j.run.Release.Within
	if within <= 0 {
		within = withinElse
	}
	if took := (s.since - j.f.clockOr(evidence.ClockDeployed, 0)).seconds(); took > within {
		a.Held = false
		a.Finding += fmt.Sprintf(", and %s is stated", limit(within))
	}
	return a
}

// nodesRead: at the audit the harness could read the schema of every node, and ask it what it asked.
func (j *judging) nodesRead() Assumption {
	a := Assumption{Name: NodesRead}
	var bad []string
	for _, name := range j.run.Nodes {
		who := j.f.nodeTitle(name)
		s, n := j.audited(name)
		switch {
		case n == 0:
			bad = append(bad, who+" was not read at the audit")
		case !s.read:
			bad = append(bad, strings.TrimSuffix(who+" could not be read: "+s.err, ": "))
			a.Evidence = append(a.Evidence, s.n)
		}
		for _, x := range j.findings(evidence.CheckQuiet) {
			if x.v.Of == name && !x.v.Asked {
				bad = append(bad, strings.TrimSuffix(who+" could not be asked how far it is: "+short(x.v.Error), ": "))
				a.Evidence = append(a.Evidence, x.n)
			}
		}
	}
	if a.Held = len(bad) == 0; a.Held {
		a.Finding = count(int64(len(j.run.Nodes)), "node was", "nodes were") + " read at the audit"
	} else {
		a.Finding = list(bad, 3)
	}
	return a
}

// audited is a node's canonical schema at the audit, and how many readings of it there are.
func (j *judging) audited(name string) (last schema, n int) {
	for _, s := range j.f.schemas[name] {
		if s.at == "audit" {
			last = s
			n++
		}
	}
	return last, n
}

// withoutGap: a gap matters where it alone keeps from saying whether service was restored. What was seen bad is seen,
// whatever else was not.
func (j *judging) withoutGap() Assumption {
	a := Assumption{Name: ObservationWithout, Held: true}
	switch {
	case j.refuses() != "":
		a.Finding = "nothing is rolled back, and nothing is watched"
	case j.givesUp():
		a.Finding = "service is not restored, and what is there at the end was read"
	case j.watch == nil:
		a.Held, a.Finding = false, "nobody decided to roll back, so nothing was watched"
	case j.whole == yes:
		a.Finding = fmt.Sprintf("everything was observed from %s for %s", at(j.restoredAt), length(j.watch.window.seconds()))
		a.Evidence = j.watch.shows(j.restoredAt, true)
	case j.whole == no:
		a.Finding = "what is missing was seen"
	default:
		a.Held = false
		var gaps []string
		for _, m := range j.missing {
			gaps = append(gaps, m.detail)
			a.Evidence = append(a.Evidence, m.n)
		}
		if a.Finding = list(gaps, 3); j.short || a.Finding == "" {
			a.Finding = fmt.Sprintf("it was watched for less than the %s that service must stay restored", length(j.watch.window.seconds()))
		}
	}
	return a
}
