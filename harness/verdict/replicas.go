package verdict

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"backout/harness/evidence"
)

// span is a stretch of time [from, to) in which something was not as it must be, or in which nobody knows.
type span struct {
	from, to tick
	n        int64  // the event that shows it
	text     string // in words, the same as long as nothing changes
}

// part is one thing that must be as before for service to be restored: an instance, a node, a kind of job, a cache.
type part struct {
	name     string
	bad      []span // it was seen not to be so
	unknown  []span // nobody knows
	shown    int64  // the reading from which it is as it must be
	is       answer // by the last reading
	since    tick   // of that
	readAt   tick   // the last reading
	instance bool
	other    bool // of a dependant that is rolled back together with the drilled service
	cluster  bool // of what a cluster says of pods: how many serve, and which ones endpoints hold
	node     bool
	schema   bool // of a node: its schema, not its health
	cache    bool
}

// check is the one whose remedy brings it back.
func (p *part) check() string {
	switch {
	case p.other:
		return ServicesServe
	case p.instance, p.cluster:
		return InstancesServe
	case p.schema:
		return NodesHaveSchema
	case p.node:
		return NodesHoldSameRows
	case p.cache:
		return CachesReadable
	}
	return JobsDone
}

// holds says how it was in a stretch: seen bad wins over not known.
func (p *part) holds(a, b tick) (answer, *span) {
	if s := meets(p.bad, a, b); s != nil {
		return no, s
	}
	if s := meets(p.unknown, a, b); s != nil {
		return unknown, s
	}
	return yes, nil
}

// answer to a question: unknown is not yes.
type answer uint8

const (
	yes answer = iota
	unknown
	no
)

// meets finds the last span that overlaps a stretch; spans are sorted and apart from each other.
func meets(spans []span, a, b tick) *span {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].from >= b })
	if i > 0 && spans[i-1].to > a {
		return &spans[i-1]
	}
	return nil
}

// apart sorts spans and joins those that overlap, keeping the words of the first.
func apart(spans []span) []span {
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out []span
	for _, s := range spans {
		if s.to <= s.from {
			continue
		}
		if k := len(out); k > 0 && s.from < out[k-1].to {
			out[k-1].to = max(out[k-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// beat is how old a reading may be before it says nothing any more: three beats.
func (f *Facts) beat() tick {
	if b := f.run.Windows.Beat; b > 0 {
		return ticks(evidence.Offset(3 * b))
	}
	return 3 * second
}

// follow makes a part of readings: say tells of each what is wrong with it, and whether it says anything at all. What was
// read holds until the next reading, but not longer than three beats.
func follow[T any](p *part, list []reading[T], now, beat tick, say func(T, tick) (string, answer)) {
	list = until(list, now)
	if len(list) == 0 {
		p.unknown = append(p.unknown, span{from: 0, to: forever, text: p.name + " was never seen"})
		p.is = unknown
		return
	}
	p.unknown = append(p.unknown, span{from: 0, to: list[0].t, text: p.name + " had not been seen yet"})
	was := unknown
	for i, r := range list {
		end := forever
		if i+1 < len(list) {
			end = list[i+1].t
		}
		fresh := min(end, r.t+min(beat, forever-r.t))
		text, ok := say(r.v, r.t)
		switch ok {
		case no:
			if k := len(p.bad); k > 0 && p.bad[k-1].to == r.t && p.bad[k-1].text == text {
				p.bad[k-1].to, p.bad[k-1].n = fresh, r.n
			} else {
				p.bad = append(p.bad, span{from: r.t, to: fresh, n: r.n, text: text})
			}
		case unknown:
			p.unknown = append(p.unknown, span{from: r.t, to: fresh, n: r.n, text: text})
		case yes:
			if was != yes {
				p.shown = r.n
			}
		}
		if was != ok || i == 0 {
			p.since = r.t
		}
		was, p.is, p.readAt = ok, ok, r.t
		if fresh < end {
			p.unknown = append(p.unknown, span{from: fresh, to: end, n: r.n, text: p.name + " was not seen for more than three beats"})
			was = unknown
		}
	}
}

// parts is everything besides users that must be as before, seen until now.
func (f *Facts) parts(now tick) []part {
	var all []part
	add := func(p part) {
		f.blind(&p)
		all = append(all, p)
	}
	lives := f.roster(now)
	for i := range lives {
		all = append(all, f.instancePart(&lives[i], now))
	}
	if f.run.Replicas > 0 {
		all = append(all, f.replicasPart(lives, all))
		all = append(all, f.endpointParts(lives, now)...)
	}
	for _, t := range f.run.Together {
		for _, key := range f.others(t) {
			all = append(all, f.otherPart(t, key, now))
		}
	}
	for _, name := range f.Remaining(f.run.Nodes) {
		add(f.nodePart(name, now, mostLag))
		add(f.schemaPart(name, now))
	}
	for _, name := range sorted(f.run.Service.Jobs) {
		add(f.jobPart(name, now))
	}
	for _, name := range sorted(f.run.Service.Caches) {
		p := part{name: "cache " + name, cache: true}
		follow(&p, f.caches.of(name), now, f.beat(), func(c cache, _ tick) (string, answer) {
			switch {
			case !c.ok:
				return "the cache " + name + " could not be read", unknown
			case c.stale > 0:
				return "the cache " + name + " holds entries that " + f.run.Good + " cannot read", no
			}
			return "", yes
		})
		add(p)
	}
	return all
}

// blind lays the gaps of the observation over a part. What seemed bad in a gap, a node that gave no answer in time, was not
// seen: a reading that timed out is a gap.
func (f *Facts) blind(p *part) {
	for _, of := range p.gaps() {
		for _, g := range f.gaps[of] {
			g.text = strings.TrimSuffix(p.name+" was not observed: "+g.text, ": ")
			p.unknown = append(p.unknown, g)
			if of != "node "+p.name {
				continue
			}
			p.bad = slices.DeleteFunc(p.bad, func(s span) bool {
				in := s.from >= g.from && s.from < g.to
				if in {
					p.unknown = append(p.unknown, s)
				}
				return in
			})
		}
	}
	p.bad, p.unknown = apart(p.bad), apart(p.unknown)
}

// gaps are the names under which observe writes gaps of a part.
func (p *part) gaps() []string {
	switch {
	case p.instance:
		return []string{"instance " + p.name}
	case p.schema:
		return []string{"digest " + p.name}
	case p.node:
		return []string{"node " + p.name, "lag " + p.name}
	}
	return []string{p.name} // "job outbox", "cache pages"
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func (f *Facts) instancePart(l *life, now tick) part {
	p := part{name: l.name, instance: true}
	follow(&p, f.readings(l), now, f.beat(), func(i instance, t tick) (string, answer) { return f.is(l, i, t) })
	if !l.pod {
		f.blind(&p)
		return p
	}
	f.podPart(&p, l, now)
	f.blind(&p)
	p.inLife(l)
	return p
}

// instanceIs says what is wrong with an instance after the rollback.
func (f *Facts) instanceIs(name string, i instance) (string, answer) {
	release := f.names.is(i.release)
	switch {
	case !i.up:
		return name + " is down", no
	case release == "":
		return name + " does not say its release", unknown
	case release != f.run.Good:
		return name + " serves " + release, no
	case !i.ready:
		return name + " is not ready", no
	}
	return "", yes
}

func (f *Facts) nodePart(name string, now tick, most float64) part {
	p := part{name: name, node: true}
	follow(&p, f.nodes.of(name), now, f.beat(), func(d node, _ tick) (string, answer) {
		who := f.nodeTitle(name)
		switch {
		case !d.reachable:
			return strings.TrimSuffix(who+" cannot be reached: "+f.names.is(d.err), ": "), no
		case d.err != 0:
			return who + ": " + f.names.is(d.err), no
		case d.lag > most:
			return who + " is more than 1 s behind", no
		}
		return "", yes
	})
	return p
}

// schemaPart follows a node's schema. A canonical reading says what it is until the raw digest changes; then nobody knows
// until the next one. The baseline's own reading counts when the plan states no other schema. A reading that differs from
// the target takes back every earlier one that did not.
func (f *Facts) schemaPart(name string, now tick) part {
	p := part{name: name, node: true, schema: true}
	who := f.nodeTitle(name)
	state, text := unknown, who+"'s schema was not read yet"
	since, n := tick(0), int64(0)
	digest := uint16(0)
	turn := func(t tick, to answer, words string, by int64) {
		switch state {
		case no:
			p.bad = append(p.bad, span{from: since, to: t, n: n, text: text})
		case unknown:
			p.unknown = append(p.unknown, span{from: since, to: t, n: n, text: text})
		}
		if to == yes && state != yes {
			p.shown = by
		}
		if state != to {
			p.since = t
		}
		state, text, since, n = to, words, t, by
	}
	digests := until(f.nodes.of(name), now)
	for _, s := range f.schemas[name] {
		if s.t > now {
			break
		}
		for len(digests) > 0 && (digests[0].t < s.t || digests[0].t == s.t && digests[0].n < s.n) {
			digest = f.changed(digests[0], digest, who, turn)
			digests = digests[1:]
		}
		switch {
		case s.at == "baseline" && f.run.Plan.Schema != 0 && (s.digest == "" || s.digest != f.digests[name]):
		case !s.read:
			turn(s.t, unknown, who+"'s schema could not be read: "+s.err, s.n)
		case !s.equal:
			turn(s.t, no, who+" has not its schema: "+s.differs(), s.n)
		default:
			turn(s.t, yes, "", s.n)
		}
	}
	for _, d := range digests {
		digest = f.changed(d, digest, who, turn)
	}
	p.is = state
	if settled := p.since; state != yes {
		turn(forever, yes, "", p.shown)
		p.since = settled
	}
	for _, s := range f.schemas[name] {
		if s.t <= now {
			p.readAt = s.t
		}
	}

	for i := len(f.schemas[name]) - 1; i >= 0; i-- {
		if s := f.schemas[name][i]; s.t <= now && s.read && !s.equal {
			last := span{from: 0, to: s.t, n: s.n, text: who + " has not its schema: " + s.differs()}
			later := []span{last}
			for _, b := range p.bad {
				if b.from >= s.t {
					later = append(later, b)
				}
			}
			p.bad = later
			break
		}
	}
	return p
}

func (f *Facts) changed(d reading[node], digest uint16, who string, turn func(tick, answer, string, int64)) uint16 {
	switch {
	case d.v.digest == 0 || !d.v.reachable:
		return digest
	case digest != 0 && d.v.digest != digest:
		turn(d.t, unknown, who+"'s schema has changed and was not read since", d.n)
	}
	return d.v.digest
}

// differs says in a few words how a schema differs from its target.
func (s schema) differs() string {
	var texts []string
	if len(s.missing) > 0 {
		texts = append(texts, list(s.missing, 2)+" "+plural(len(s.missing), "is", "are")+" missing")
	}
	if len(s.extra) > 0 {
		texts = append(texts, list(s.extra, 2)+" "+plural(len(s.extra), "was", "were")+" not there before")
	}
	if len(texts) == 0 {
		return "it differs from its target"
	}
	return strings.Join(texts, "; ")
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// jobPart follows a kind of job: none that was opened before the command returned may be open, and no more may have
// failed than had before the release was deployed.
func (f *Facts) jobPart(name string, now tick) part {
	p := part{name: "job " + name}
	list := f.jobs.of(name)
	failedBefore := f.jobsFailed(name, f.clockOr(evidence.ClockDeployBegun, 0))
	returned := f.clockOr(evidence.ClockCommandReturned, forever)
	follow(&p, list, now, f.beat(), func(j job, _ tick) (string, answer) {
		switch {
		case !j.ok:
			return "the jobs of " + name + " could not be read", unknown
		case j.failed > failedBefore:
			return "jobs of " + name + " have failed", no
		case j.open > 0 && j.oldest <= returned:
			return "jobs of " + name + " from before are open", no
		}
		return "", yes
	})
	return p
}

// jobsFailed is how many jobs of a kind had failed at an instant, by the last reading that could be made.
func (f *Facts) jobsFailed(name string, t tick) int {
	list := until(f.jobs.of(name), t)
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].v.ok {
			return list[i].v.failed
		}
	}
	return 0
}

// mostLag in seconds of a node of a restored service.
const mostLag = 1

// role is what a node is: by its last reading, else by its name.
func (f *Facts) role(name string) string {
	list := f.nodes.of(name)
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].v.role != 0 {
			return f.names.is(list[i].v.role)
		}
	}
	return name
}

// nodeTitle is how findings name a node.
func (f *Facts) nodeTitle(name string) string {
	switch {
	case name == "primary":
		return "the primary"
	case name == "streaming" || name == "logical":
		return "the " + name + " replica"
	}
	return name
}

// converged is when a part became as it must be and stayed so. A gap that was over while watching puts it off: nobody
// knows what it was meanwhile.
func (p *part) converged(watched tick) (tick, bool) {
	if p.is != yes {
		return 0, false
	}
	t := p.since
	for _, s := range p.unknown {
		if s.from < watched && s.to < forever {
			t = max(t, s.to)
		}
	}
	return t, true
}
