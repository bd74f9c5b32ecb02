package verdict

import (
	"cmp"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// life is an instance of the drilled service and how long it is there: from the beginning to the end, or as long as a pod
// is. Outside its life it is neither bad nor unknown.
type life struct {
	name     string
	pod      bool // it comes and goes
	from, to tick // from is in it, to is not; forever: it was not seen to go
	deleting tick // it was told to end; forever: it was not
	begun    int64
	ended    int64                    // the events that say so
	words    []reading[*evidence.Pod] // what the cluster said of it
}

// there says whether it is there at the end, as far as was seen.
func (l *life) there() bool { return l.to == forever }

// roster is the instances of the drilled service that were seen until now: those that the drill names, or every pod that
// ever was there, in the order in which they came. What a declared fault has removed for good takes no part.
func (f *Facts) roster(now tick) []life {
	return slices.DeleteFunc(f.everyone(now), func(l life) bool { return f.removed(l.name) != nil })
}

func (f *Facts) everyone(now tick) []life {
	var all []life
	if f.run.Replicas == 0 {
		for _, name := range f.run.Instances {
			all = append(all, life{name: name, to: forever, deleting: forever})
		}
		return all
	}
	seen := map[string]bool{}
	for _, key := range slices.Concat(f.pods.names, f.instances.names) {
		if name, ok := strings.CutPrefix(key, f.run.Service.Name+"/"); ok && !seen[name] {
			seen[name] = true
			all = append(all, f.lives(name, now)...)
		}
	}
	slices.SortStableFunc(all, func(a, b life) int { return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.name, b.name)) })
	return all
}

// lives of a pod's name, one after the other: a StatefulSet gives it again. One begins with whatever is seen first, and
// the next ones when the cluster says that they were created; a reading that comes in late begins none.
func (f *Facts) lives(name string, now tick) []life {
	key := instanceKey(f.run.Service.Name, name)
	words, seen := until(f.pods.of(key), now), until(f.instances.of(key), now)
	var all []life
	open := false
	begin := func(t tick, n int64) {
		all = append(all, life{name: name, pod: true, from: t, to: forever, deleting: forever, begun: n})
		open = true
	}
	if len(seen) > 0 && (len(words) == 0 || seen[0].t < words[0].t) {
		begin(seen[0].t, seen[0].n)
	}
	for _, w := range words {
		if !open && (len(all) == 0 || w.v.Event == evidence.PodCreated) {
			begin(w.t, w.n)
		}
		if !open {
			continue
		}
		l := &all[len(all)-1]
		l.words = append(l.words, w)
		switch {
		case finished(w.v):
			l.to, l.ended, open = w.t, w.n, false
		case w.v.Event == evidence.PodDeleting:
			l.deleting = min(l.deleting, w.t)
		}
	}
	return slices.DeleteFunc(all, func(l life) bool { return l.to <= l.from })
}

// finished says whether a word ends a pod: it is deleted, or it failed for good and only its object stays.
func finished(w *evidence.Pod) bool {
	return w.Event == evidence.PodDeleted || w.Event == evidence.PodFailing && (w.Reason == evidence.PodEvicted || w.Reason == evidence.PodSucceeded)
}

// readings are what an instance was seen as while it was there.
func (f *Facts) readings(l *life) []reading[instance] {
	list := f.instances.of(instanceKey(f.run.Service.Name, l.name))
	if !l.pod {
		return list
	}
	return until(list[len(until(list, l.from-1)):], l.to-1)
}

// said is the release that an instance last said to be in its life, up to an instant.
func (f *Facts) said(l *life, t tick) string {
	list := until(f.readings(l), t)
	for i := len(list) - 1; i >= 0; i-- {
		if release := f.names.is(list[i].v.release); release != "" {
			return release
		}
	}
	return ""
}

// is says what is wrong with an instance by a reading of it. A pod that nothing answers for is not ready, whatever the way to
// it answers in its place; and one that is told to end need not serve any more, but must not answer with another release.
func (f *Facts) is(l *life, i instance, t tick) (string, answer) {
	if !l.pod {
		return f.instanceIs(l.name, i)
	}
	release := f.names.is(i.release)
	silent := !i.up || release == "" && !i.ready
	switch {
	case t >= l.deleting && (silent || release == f.run.Good):
		return "", yes
	case t >= l.deleting && release != "":
		return l.name + " is being deleted and still serves " + release, no
	case i.up && silent:
		return l.name + " is not ready", no
	}
	return f.instanceIs(l.name, i)
}

// waits are the stretches in which, by the word of the cluster, a pod cannot serve yet or cannot serve any more. A word
// holds until the next one, but not while nobody heard the cluster.
func (f *Facts) waits(l *life) []span {
	var all []span
	for i, w := range l.words {
		s := span{from: w.t, to: min(l.to, l.deleting), n: w.n}
		if i+1 < len(l.words) {
			s.to = min(s.to, l.words[i+1].t)
		}
		switch w.v.Event {
		case evidence.PodCreated, evidence.PodScheduled:
			s.text = l.name + " has not started yet"
		case evidence.PodStarted, evidence.PodUnready, evidence.PodRestarted:
			s.text = l.name + " is not ready"
		case evidence.PodFailing:
			s.text = strings.TrimSuffix(l.name+" is failing: "+short(w.v.Reason), ": ")
		default:
			continue
		}
		all = append(all, s)
	}
	return without(without(apart(all), f.gaps["pods"]), f.gaps["instance "+l.name])
}

// harmless says whether a pod that is told to end was never seen to serve another release than the target.
func (f *Facts) harmless(l *life) bool {
	release := f.said(l, forever)
	return l.deleting < forever && (release == "" || release == f.run.Good)
}

// podPart makes of what was read of a pod what it is: where no reading says it, the word of the cluster counts.
func (f *Facts) podPart(p *part, l *life, now tick) {
	p.bad, p.unknown = apart(p.bad), apart(p.unknown)
	waits := f.waits(l)
	p.bad = append(p.bad, common(p.unknown, waits)...)
	p.unknown = without(p.unknown, waits)
	if f.harmless(l) {
		p.unknown = without(p.unknown, []span{{from: l.deleting, to: forever}})
	}
	silent := len(until(f.readings(l), now)) == 0
	switch k := len(waits) - 1; {
	case !l.there() && l.to <= now:
		p.is, p.since, p.readAt, p.shown = yes, l.to, l.to, l.ended
	case silent && k >= 0 && waits[k].to == forever:
		p.is, p.since, p.readAt = no, waits[k].from, waits[k].from
	case silent && f.harmless(l):
		p.is, p.since = yes, l.deleting
	}
}

// inLife leaves of a part what was while the pod was there.
func (p *part) inLife(l *life) {
	outside := []span{{from: 0, to: l.from}, {from: l.to, to: forever}}
	p.bad, p.unknown = without(p.bad, outside), without(p.unknown, outside)
}

// common are the stretches in which spans of both lists are, with the words of the second.
func common(a, b []span) []span {
	var all []span
	for _, x := range a {
		for _, y := range b {
			if from, to := max(x.from, y.from), min(x.to, y.to); from < to {
				all = append(all, span{from: from, to: to, n: y.n, text: y.text})
			}
		}
	}
	return apart(all)
}

// without are spans less what others cover.
func without(spans, others []span) []span {
	for _, o := range others {
		var left []span
		for _, s := range spans {
			before, after := s, s
			before.to, after.from = min(s.to, o.from), max(s.from, o.to)
			if before.from < before.to {
				left = append(left, before)
			}
			if after.from < after.to {
				left = append(left, after)
			}
		}
		spans = left
	}
	return spans
}

// replicasPart is whether as many pods serve the target as must: of those that are there and not told to end.
func (f *Facts) replicasPart(lives []life, pods []part) part {
	type edge struct {
		t          tick
		good, open int
		n          int64
	}
	var edges []edge
	step := func(l *life, spans []span, good, open int) {
		for _, s := range spans {
			edges = append(edges, edge{s.from, good, open, f.number(l, s.from)}, edge{s.to, -good, -open, f.number(l, s.to)})
		}
	}
	for i := range lives {
		l, p := &lives[i], &pods[i]
		serving := without([]span{{from: l.from, to: min(l.to, l.deleting)}}, p.bad)
		good := without(serving, p.unknown)
		step(l, good, 1, 0)
		step(l, without(serving, good), 0, 1)
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Compare(a.t, b.t) })
	edges = append(edges, edge{t: forever})

	p := part{name: "pods", cluster: true, is: unknown}
	want := f.run.Replicas
	good, open, from, n := 0, 0, tick(0), int64(0)
	for _, e := range edges {
		if e.t > from {
			text := number(int64(good)) + " of " + count(int64(want), "pod serves ", "pods serve ") + f.run.Good
			s, is := span{from: from, to: e.t, n: n, text: text}, yes
			switch {
			case good >= want:
			case good+open >= want:
				is = unknown
				s.text = "it was not seen whether " + count(int64(want), "pod serves ", "pods serve ") + f.run.Good
				p.unknown = joined(p.unknown, s)
			default:
				is = no
				p.bad = joined(p.bad, s)
			}
			if is != p.is || from == 0 {
				p.is, p.since, p.shown = is, from, n
			}
			p.readAt, from = from, e.t
		}
		good, open, n = good+e.good, open+e.open, max(n, e.n)
	}
	for _, g := range f.gaps["pods"] {
		g.text = strings.TrimSuffix("it was not observed which pods there are: "+g.text, ": ")
		p.unknown = append(p.unknown, g)
	}
	p.unknown = apart(p.unknown)
	return p
}

// joined adds a span to a list, to the last one if it says the same.
func joined(list []span, s span) []span {
	if k := len(list) - 1; k >= 0 && list[k].to == s.from && list[k].text == s.text {
		list[k].to = s.to
		return list
	}
	return append(list, s)
}

// number is the event that last said anything of a pod, up to an instant.
func (f *Facts) number(l *life, t tick) int64 {
	n := int64(0)
	if r, ok := before(f.readings(l), t); ok {
		n = r.n
	}
	if w, ok := before(l.words, t); ok {
		n = max(n, w.n)
	}
	return n
}

// endpointParts are, for each Service and each pod that its endpoints held after the command had returned while the pod's
// last known release was not the target, how long they did. What is deleted and still held counts too: requests go there.
func (f *Facts) endpointParts(lives []life, now tick) []part {
	returned, ok := f.clock(evidence.ClockCommandReturned)
	if !ok {
		return nil
	}
	var all []part
	for _, service := range sorted(f.endpoints.names) {
		list := until(f.endpoints.of(service), now)
		for i := range lives {
			l := &lives[i]
			p := part{name: "endpoints of " + service, cluster: true}
			for k, e := range list {
				s := span{from: max(e.t, returned, l.from), to: forever, n: e.n}
				if k+1 < len(list) {
					s.to = list[k+1].t
				}
				if j := slices.IndexFunc(lives, func(x life) bool { return x.name == l.name && x.from > l.from }); j >= 0 {
					s.to = min(s.to, lives[j].from) // then it is another pod of that name
				}
				if has(e.v.Pods, l.name) && s.from < s.to {
					for _, b := range f.otherThanTarget(l, s, "the endpoints of "+service+" still hold "+l.name+" of ") {
						p.bad = joined(p.bad, b)
					}
				}
			}
			if len(p.bad) == 0 {
				continue
			}
			last := p.bad[len(p.bad)-1]
			if p.is, p.since, p.readAt = no, last.from, last.from; last.to < forever {
				p.is, p.since, p.readAt = yes, last.to, last.to
				if e, ok := before(list, last.to); ok {
					p.shown = e.n
				}
			}
			p.unknown = common(p.bad, f.gaps["pods"])
			p.bad = without(p.bad, f.gaps["pods"])
			all = append(all, p)
		}
	}
	return all
}

// otherThanTarget are the parts of a stretch in which a pod's last known release was not the target.
func (f *Facts) otherThanTarget(l *life, s span, text string) []span {
	var all []span
	add := func(release string, from, to tick) {
		if release != "" && release != f.run.Good && from < to {
			all = joined(all, span{from: from, to: to, n: s.n, text: text + release})
		}
	}
	release, from := f.said(l, s.from), s.from
	for _, r := range f.readings(l) {
		if r.t > s.from && r.t < s.to && r.v.release != 0 {
			add(release, from, r.t)
			release, from = f.names.is(r.v.release), r.t
		}
	}
	add(release, from, s.to)
	return all
}
