package verdict

import (
	"cmp"

	"backout/harness/evidence"
)

// moved says how a pod came, went or began anew in a stretch, by the word of the cluster.
func (l *life) moved(from, to tick) (string, int64) {
	switch {
	case l.from > from && l.from <= to:
		return l.name + " came", l.begun
	case l.to > from && l.to <= to:
		return l.name + " went", l.ended
	}
	for _, w := range l.words {
		switch {
		case w.t <= from || w.t > to:
		case w.v.Event == evidence.PodDeleting:
			return l.name + " was going", w.n
		case w.v.Event == evidence.PodRestarted:
			return l.name + " restarted", w.n
		}
	}
	return "", 0
}

// stays says whether an instance is there at the end and counts: of pods that are told to end only those count that are not
// as they must be.
func (j *judging) stays(l *life) bool {
	if !l.there() || l.deleting == forever {
		return l.there()
	}
	is, _, _ := j.instanceAtEnd(l)
	return is != yes
}

// wordAtEnd is what a pod is at the end by the word of the cluster, where nothing was read of it.
func (j *judging) wordAtEnd(l *life) (answer, string, int64) {
	if j.f.harmless(l) {
		return yes, "", 0
	}
	waits := j.f.waits(l)
	if k := len(waits) - 1; k >= 0 && waits[k].to == forever {
		return no, waits[k].text, waits[k].n
	}
	return unknown, "", 0
}

// serving is how many pods serve the target at the end and are not told to end.
func (j *judging) serving() int {
	n := 0
	for i := range j.instances {
		l := &j.instances[i]
		if is, _, _ := j.instanceAtEnd(l); l.there() && l.deleting == forever && is == yes {
			n++
		}
	}
	return n
}

// enoughAtEnd says whether as many pods as must serve the target at the end, and which event said so last.
func (j *judging) enoughAtEnd() (answer, string, int64) {
	want, good, open := j.run.Replicas, j.serving(), 0
	for i := range j.instances {
		l := &j.instances[i]
		if is, _, _ := j.instanceAtEnd(l); l.there() && is == unknown {
			open++
		}
	}
	text := number(int64(good)) + " of " + count(int64(want), "pod serves ", "pods serve ") + j.run.Good
	last := int64(0)
	for i := range j.instances {
		last = max(last, j.instances[i].begun, j.instances[i].ended)
	}
	switch {
	case good >= want:
		return yes, "", 0
	case good+open >= want:
		return unknown, "at least " + text, last
	}
	return no, text, last
}

// heldAtEnd are the pods of another release that endpoints hold at the end.
func (j *judging) heldAtEnd() (held []span) {
	if j.run.Replicas == 0 {
		return nil
	}
	for _, p := range j.f.endpointParts(j.instances, forever) {
		if p.is == no && len(p.bad) > 0 {
			held = append(held, p.bad[len(p.bad)-1])
		}
	}
	return held
}

// badResponses are how many answers of another release users got from a pod after the command had returned, and when the
// last one came.
func (j *judging) badResponses(l *life) (n int64, last tick) {
	returned, ok := j.f.clock(evidence.ClockCommandReturned)
	if !ok {
		return 0, 0
	}
	next := forever // another pod of that name
	for _, x := range j.instances {
		if x.name == l.name && x.from > l.from {
			next = min(next, x.from)
		}
	}
	for _, s := range j.f.strays {
		if s.t > returned && s.t >= l.from && s.t < next && j.f.serves[s.serve].instance == l.name {
			n, last = n+1, s.t
		}
	}
	return n, last
}

// servedOn says whether a pod served another release than the target after the command had returned.
func (j *judging) servedOn(l *life) bool {
	returned, ok := j.f.clock(evidence.ClockCommandReturned)
	if !ok || l.to <= returned {
		return false
	}
	for _, r := range j.f.readings(l) {
		if release := j.f.names.is(r.v.release); r.t > returned && release != "" && release != j.run.Good {
			return true
		}
	}
	n, _ := j.badResponses(l)
	return n > 0
}

// times says of a replica that comes and goes when it did.
func (j *judging) times(r *Replica, l *life) {
	r.Came = offset(l.from, true)
	r.Went = offset(l.to, l.to < forever)
	if release := j.f.said(l, forever); !l.there() && release != "" {
		r.Last, r.Evidence = release+", deleted", l.ended
	} else if is, text, n := j.instanceAtEnd(l); is == no && l.deleting < forever {
		r.Last, r.Evidence = text, n
	}
	if is, text, n := j.wordAtEnd(l); r.Last == "never seen" && is == no {
		r.Last, r.Evidence = text, n
	}
}

func offset(t tick, seen bool) *evidence.Offset {
	if !seen {
		return nil
	}
	o := t.offset()
	return &o
}

// pods are those of the drilled service from "deploy begun" on.
func (j *judging) pods() (all []Pod) {
	begun, ok := j.f.clock(evidence.ClockDeployBegun)
	if !ok || j.run.Replicas == 0 {
		return nil
	}
	for i := range j.instances {
		if l := &j.instances[i]; l.to > begun {
			all = append(all, j.pod(l))
		}
	}
	return all
}

func (j *judging) pod(l *life) Pod {
	p := Pod{Name: l.name, Release: j.f.said(l, forever), ServedOn: j.servedOn(l)}
	first := func(at **evidence.Offset, t tick) {
		if *at == nil {
			*at = offset(t, true)
		}
	}
	for _, w := range l.words {
		p.Owner, p.Node = cmp.Or(w.v.Owner, p.Owner), cmp.Or(w.v.Node, p.Node)
		switch w.v.Event {
		case evidence.PodCreated:
			first(&p.Created, w.t)
		case evidence.PodScheduled:
			first(&p.Scheduled, w.t)
		case evidence.PodStarted:
			first(&p.Started, w.t)
		case evidence.PodReady:
			first(&p.Ready, w.t)
			p.Failing = ""
		case evidence.PodFailing:
			p.Failing = short(w.v.Reason)
		}
	}
	for _, m := range j.f.firsts[l.name] {
		if m.t >= l.from && m.t < l.to {
			first(&p.FirstServed, m.t)
		}
	}
	p.Deleting, p.Deleted = offset(l.deleting, l.deleting < forever), offset(l.to, l.to < forever)
	n, last := j.badResponses(l)
	if returned, ok := j.f.clock(evidence.ClockCommandReturned); ok && n > 0 {
		p.BadResponses, p.BadSeconds = n, rounded((last - returned).seconds())
	}
	return p
}
