package verdict

import (
	"math"
	"slices"

	"backout/harness/evidence"
)

// clocks are those that the drill wrote and those that follow from observation. One that every drill should reach and
// this one did not is null; one that does not apply is absent.
func (j *judging) clocks() Clocks {
	c := Clocks{}
	should := []string{evidence.ClockBaselineBegun, evidence.ClockBaselineEnded, evidence.ClockDeployBegun, evidence.ClockDeployed,
		evidence.ClockDecided, evidence.ClockStarted, evidence.ClockCommandReturned, evidence.ClockWatchEnded, evidence.ClockDataVerified}
	instead, _ := j.instead()
	if j.refuses() != "" { // nothing starts
		should = should[:5]
	} else if instead == "" {
		should = append(should, evidence.ClockRestored)
		if j.f.used() {
			should = append(should, evidence.ClockUsersRestored)
		}
	}
	for _, name := range should {
		c[name] = nil
	}
	set := func(name string, t tick) {
		o := t.offset()
		c[name] = &o
	}
	for name, m := range j.f.clocks {
		set(name, m.t)
	}
	if instead == "" && j.users == yes && j.f.used() {
		set(evidence.ClockUsersRestored, j.usersAt)
	}
	if instead == "" && j.whole == yes {
		set(evidence.ClockRestored, j.restoredAt)
	}
	if len(j.run.Release.Harms) > 0 {
		c[evidence.ClockFirstBad], c[evidence.ClockDetected] = nil, nil
		if j.sight.firstN != 0 {
			set(evidence.ClockFirstBad, j.sight.first)
		}
	}
	if detected := j.detected(); detected < forever {
		set(evidence.ClockDetected, detected)
	}
	if s := j.f.strays; j.run.Replicas > 0 && len(s) > 0 {
		set(evidence.ClockLastBadResponse, s[len(s)-1].t)
	}
	return c
}

// detected is when the first alert was raised after the deploy had begun, or when the harm was shown; forever: neither was.
func (j *judging) detected() tick {
	detected := forever
	if len(j.run.Release.Harms) > 0 && j.sight.shown {
		detected = j.sight.since
	}
	begun := j.f.clockOr(evidence.ClockDeployBegun, forever)
	for _, a := range j.f.alerts {
		if a.t >= begun {
			detected = min(detected, a.t)
		}
	}
	return detected
}

func (j *judging) speed() (Speed, *float64) {
	s := Speed{Target: j.limit()}
	s.People, s.Paused, _ = j.kept()
	if instead, _ := j.instead(); j.watch == nil || instead != "" {
		return s, nil
	}
	took := func(from, to tick) *float64 {
		x := rounded((to - from).seconds())
		return &x
	}
	if j.users == yes && j.f.used() {
		s.Users = took(j.watch.decided, j.usersAt)
	}
	if j.whole != yes {
		return s, nil
	}
	s.Seconds = took(j.watch.decided, j.restoredAt)
	if len(j.run.Release.Harms) > 0 && j.sight.firstN != 0 {
		s.FirstBad = took(j.sight.first, j.restoredAt)
	}
	returned, ok := j.f.clock(evidence.ClockCommandReturned)
	if !ok {
		return s, nil
	}
	silence := took(returned, max(returned, j.restoredAt)) // restored before the last command returned: no silence at all
	return s, silence
}

// replicas are the instances and the nodes, in the order of the drill.
func (j *judging) replicas() []Replica {
	all := []Replica{}
	add := func(r Replica, converged tick, ok bool) {
		if ok {
			o := converged.offset()
			r.Converged = &o
		}
		all = append(all, r)
	}
	f := j.f
	for i := range j.instances {
		l := &j.instances[i]
		if l.pod && !j.stays(l) && !j.servedOn(l) {
			continue // it was replaced
		}
		r := Replica{Name: l.name, Kind: "instance", Last: "never seen"}
		if list := f.readings(l); len(list) > 0 {
			last := list[len(list)-1]
			r.Evidence = last.n
			r.Last = f.lastWord(last.v)
		}
		p := f.instancePart(l, forever)
		t, ok := p.converged(j.end)
		if l.pod {
			j.times(&r, l)
			if !l.there() {
				t, ok = l.to, true // from then on it serves nobody
			}
		}
		add(r, t, ok)
	}
	for _, t := range j.run.Together {
		for _, key := range f.others(t) {
			p := f.otherPart(t, key, forever)
			converged, ok := p.converged(j.end)
			last := f.instances.of(key)
			r := Replica{Name: p.name, Kind: "instance", Last: f.lastWord(last[len(last)-1].v), Evidence: last[len(last)-1].n}
			add(r, converged, ok)
		}
	}
	for _, name := range j.run.Nodes {
		r := Replica{Name: name, Kind: "node", Last: "schema never read"}
		if list := f.schemas[name]; len(list) > 0 {
			last := list[len(list)-1]
			r.Evidence = last.n
			switch {
			case !last.read:
				r.Last = "schema could not be read"
			case !last.equal:
				r.Last = last.differs()
			default:
				r.Last = j.targetSchema()
			}
		}
		health := f.nodePart(name, forever, math.Inf(1))
		if list := f.nodes.of(name); len(list) > 0 && health.is == no {
			r.Last += ", " + health.bad[len(health.bad)-1].text
			r.Evidence = list[len(list)-1].n
		}
		schema := f.schemaPart(name, forever)
		f.blind(&health)
		f.blind(&schema)
		t, ok := health.converged(j.end)
		s, same := schema.converged(j.end)
		add(r, max(t, s), ok && same)
	}
	var names []string
	for _, l := range f.everyone(forever) {
		names = append(names, l.name)
	}
	for _, name := range slices.Concat(names, f.run.Nodes) {
		if d := f.removed(name); d != nil {
			kind := either(has(f.run.Nodes, name), "node", "instance")
			add(Replica{Name: name, Kind: kind, Last: d.Text + " for good", Removed: d.Text}, 0, false)
		}
	}
	return all
}

// lastWord is what an instance was when it was last seen.
func (f *Facts) lastWord(i instance) string {
	switch release := f.names.is(i.release); {
	case !i.up:
		return "down"
	case release == "":
		return "up, release unknown"
	case !i.ready:
		return release + ", not ready"
	default:
		return release
	}
}

func (j *judging) targetSchema() string {
	if j.run.Plan.Schema != 0 {
		return "the schema of migration " + number(j.run.Plan.Schema)
	}
	return "the schema of before"
}

// shares have fixed denominators. What was not checked counts as not kept.
func (j *judging) shares() Shares {
	var s Shares
	s.Writes = [2]int64{j.tally.kept, j.tally.acknowledged}
	for _, table := range j.run.Service.Frozen {
		equal, all := j.frozenRows(table)
		s.Rows[0] += equal
		s.Rows[1] += all
	}
	for i := range j.instances {
		if l := &j.instances[i]; j.stays(l) {
			s.Replicas[1]++
			if is, _, _ := j.instanceAtEnd(l); is == yes {
				s.Replicas[0]++
			}
		}
	}
	s.Replicas[1] = max(s.Replicas[1], int64(j.run.Replicas))
	for _, t := range j.run.Together {
		for _, key := range j.f.others(t) {
			s.Replicas[1]++
			if p := j.f.otherPart(t, key, forever); j.watched {
				if is, _ := p.holds(j.end-1, j.end); is == yes {
					s.Replicas[0]++
				}
			}
		}
	}
	for _, name := range j.run.Nodes {
		s.Replicas[1]++
		if last, n := j.audited(name); n > 0 && last.read && last.equal && j.f.nodePart(name, forever, math.Inf(1)).is == yes {
			s.Replicas[0]++
		}
	}
	closed := func(names []string, ok func(name string) bool) {
		for _, name := range names {
			s.Residual[1]++
			if ok(name) {
				s.Residual[0]++
			}
		}
	}
	asked := func(check string) func(string) bool {
		return func(name string) bool {
			found := false
			for _, x := range j.findings(check) {
				if x.v.Of == name {
					if !x.v.Asked || x.v.Bad > 0 || x.v.Error != "" {
						return false
					}
					found = true
				}
			}
			return found
		}
	}
	closed(j.run.Service.Jobs, asked(evidence.CheckJobs))
	closed(j.run.Service.Sessions, asked(evidence.CheckSessions))
	closed(j.run.Service.Effects, asked(evidence.CheckEffects))
	closed(j.run.Service.Caches, func(name string) bool {
		list := j.f.caches.of(name)
		return len(list) > 0 && list[len(list)-1].v.ok && list[len(list)-1].v.stale == 0
	})
	return s
}

// instanceAtEnd is what an instance was when watching had ended: by its last reading, which must not be older than three
// beats then.
func (j *judging) instanceAtEnd(l *life) (answer, string, int64) {
	all := j.f.readings(l)
	last, seen := before(all, forever)
	old := !j.watched || last.t < j.end-min(j.f.beat(), j.end)
	if l.pod && (!seen || old) {
		if is, text, n := j.wordAtEnd(l); is != unknown {
			return is, text, n
		}
	}
	switch {
	case !seen:
		return unknown, l.name + " was never seen", 0
	case old:
		return unknown, l.name + " was not seen at the end", last.n
	}
	at := last.t
	if l.pod && l.deleting < forever {
		at = l.deleting // what it was before it was told to end counts no more
	}
	text, is := j.f.is(l, last.v, max(at, last.t))
	return is, text, last.n
}
