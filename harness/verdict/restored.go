package verdict

import (
	"fmt"
	"slices"
	"sort"

	"backout/harness/evidence"
)

// State is whether a state holds at an instant, since when, and what it lacks.
type State struct {
	Held bool
	At   evidence.Offset // the instant from which it holds without a break; of a state that does not hold it means nothing
	// Missing says in plain sentences what was not as it must be, or not known, in the last stability window. They hold
	// no figure that changes by itself, so that comparing them tells whether anything changed.
	Missing  []string
	Evidence []int64
}

// UsersRestored says whether users have been served as in the baseline for the whole stability window before now.
func (f *Facts) UsersRestored(now evidence.Offset) State { return f.state(now, false) }

// Restored says whether everything that observation can see has been as before for the whole stability window before
// now: users, and every instance, node, kind of job and cache.
func (f *Facts) Restored(now evidence.Offset) State { return f.state(now, true) }

func (f *Facts) state(now evidence.Offset, whole bool) State {
	if f.run == nil {
		return State{Missing: []string{"the drill has not begun"}}
	}
	t := ticks(now)
	w := f.watching(t)
	if w == nil {
		return State{Missing: []string{"it has not been decided to roll back"}}
	}
	is, since := w.since(t, whole)
	if is == yes {
		return State{Held: true, At: since.offset(), Evidence: w.shows(since, whole)}
	}
	var s State
	for _, m := range w.missing(t, whole) {
		s.Missing = append(s.Missing, m.stable)
		s.Evidence = append(s.Evidence, m.n)
	}
	s.Evidence = few(s.Evidence)
	if len(s.Missing) == 0 {
		s.Missing = []string{"it has not been so for " + decimal(w.window.seconds(), 1) + " s yet"}
	}
	return s
}

// Open says in plain sentences what is not as it was before, or not known, at this instant: of users in the two seconds
// before it. None: all that observation can see is as before, since whenever.
func (f *Facts) Open(now evidence.Offset) []string {
	if f.run == nil {
		return []string{"the drill has not begun"}
	}
	t := ticks(now)
	w := f.watching(t)
	if w == nil {
		return []string{"it has not been decided to roll back"}
	}
	var open []string
	for _, l := range w.missingAt(t) {
		if !slices.Contains(open, l.stable) {
			open = append(open, l.stable)
		}
	}
	return open
}

// watch is what is needed to say from when service was as before. Candidates for that instant are half a second apart,
// from the decision on; one is good when the whole stability window from it is.
type watch struct {
	f       *Facts
	base    []baseline
	parts   []part
	decided tick
	window  tick
	rate    float64 // journeys a second of the drilled service, in the baseline
	crowded bool    // more clients than in the baseline: latency is not compared with it
}

const candidateEvery = second / 2

// watching prepares it with all that was seen until now; nil before the decision.
func (f *Facts) watching(now tick) *watch {
	decided, ok := f.clock(evidence.ClockDecided)
	if !ok || decided > now {
		return nil
	}
	w := &watch{f: f, base: f.baselines(), parts: f.parts(now), decided: decided,
		window: max(ticks(evidence.Offset(f.run.Windows.Stability)), second)}
	from, to, _ := f.baselineSpan()
	for i := range w.base {
		if w.base[i].service == "" {
			w.rate += float64(w.base[i].n) / (to - from).seconds()
		}
	}
	return w
}

// since answers at an instant whether the state has held for the window before it, and since which candidate it has
// without a break. A relapse counts: the state holds from the candidate after it.
func (w *watch) since(end tick, whole bool) (answer, tick) {
	room := end - w.window - w.decided
	if room < 0 {
		return unknown, 0
	}
	last := w.decided + room/candidateEvery*candidateEvery
	if is := w.at(last, whole); is != yes {
		return is, 0
	}
	first := last
	for first-candidateEvery >= w.decided && w.at(first-candidateEvery, whole) == yes {
		first -= candidateEvery
	}
	return yes, first
}

// at judges one candidate.
func (w *watch) at(c tick, whole bool) answer {
	is := w.users(c, c+w.window, nil)
	if whole && is != no {
		for i := range w.parts {
			part, _ := w.parts[i].holds(c, c+w.window)
			is = max(is, part)
			if is == no {
				break
			}
		}
	}
	return is
}

// used says whether the service has users: a schema alone has none, and nothing is said of them.
func (f *Facts) used() bool { return len(f.run.Service.Journeys) > 0 }

// lack is one thing that is not as it must be: in words that stay the same while nothing changes, and with figures.
type lack struct {
	is             answer // no or unknown
	check          string // whose remedy helps; empty: users suffer
	stable, detail string
	n              int64
}

// users judges all journeys in a stretch. tell, which may be nil, is told of everything that is wrong.
func (w *watch) users(a, b tick, tell func(lack)) answer {
	if !w.f.used() {
		return yes
	}
	is := yes
	found := func(l lack) bool {
		is = max(is, l.is)
		if tell != nil {
			tell(l)
		}
		return tell == nil && is == no
	}
	if len(w.base) == 0 && found(lack{is: unknown, stable: "there is no baseline", detail: "there is no baseline"}) {
		return is
	}
	own := 0
	for i := range w.base {
		k := &w.base[i]
		n, bad := k.touching(a, b)
		if k.service == "" {
			own += n
		}
		switch {
		case n == 0:
			text := "no journey of " + k.title() + " ended"
			found(lack{is: unknown, stable: text, detail: text})
		case !k.tolerates(bad, n):
			l := lack{is: no, stable: k.title() + " fails more often than in the baseline"}
			if tell != nil {
				l.n = k.firstFailure(a, b)
				l.detail = fmt.Sprintf("%s of %s %s journeys failed (%s; in the baseline %s)", number(int64(bad)), number(int64(n)),
					k.title(), percent(float64(bad)/float64(n)), percent(k.share()))
			}
			if found(l) {
				return is
			}
		}
	}
	if s := w.strays(a, b); len(s) > 0 {
		seen := map[uint16]bool{}
		for _, x := range s {
			if seen[x.serve] {
				continue
			}
			seen[x.serve] = true
			who := w.f.serves[x.serve]
			text := "responses come from " + who.release
			if who.instance != "" {
				text = who.instance + " answers with " + who.release
			}
			if found(lack{no, InstancesServe, text, text, int64(x.n)}) {
				return is
			}
		}
	}
	if w.f.silent(a, b) {
		text := "users' journeys are not observed without a break"
		found(lack{is: unknown, stable: text, detail: text})
	}
	if float64(own) < w.rate*(b-a).seconds()/2 {
		text := "fewer than half as many journeys were seen as in the baseline"
		found(lack{is: unknown, stable: text, detail: text})
	}
	if !w.f.run.Alone || w.crowded || tell == nil && is == no {
		return is
	}
	for i := range w.base {
		k := &w.base[i]
		for t := range buckets(a, b) {
			l := k.bucket(t)
			slow := ""
			switch {
			case l.n == 0:
				text := "no journey of " + k.title() + " succeeded in five seconds"
				found(lack{is: unknown, stable: text, detail: text})
				continue
			case l.median > k.median.most():
				slow = fmt.Sprintf("median %s, at most %s allowed (baseline %s)", millis(l.median), millis(k.median.most()), millis(k.median.value))
			case l.p95 > k.p95.most():
				slow = fmt.Sprintf("p95 %s, at most %s allowed (baseline %s)", millis(l.p95), millis(k.p95.most()), millis(k.p95.value))
			default:
				continue
			}
			if found(lack{is: no, check: LatencyBack, stable: k.title() + " is slower than in the baseline", detail: k.title() + " from " + at(t) + ": " + slow}) {
				return is
			}
			break // one bucket of a journey says it
		}
	}
	return is
}

// buckets are the starts of the 5-second buckets of a stretch, counted from its begin; where it is no multiple of five
// seconds the last one ends with it.
func buckets(a, b tick) func(func(tick) bool) {
	return func(yield func(tick) bool) {
		t := a
		for ; t+bucketLength <= b; t += bucketLength {
			if !yield(t) {
				return
			}
		}
		if t < b {
			yield(b - bucketLength)
		}
	}
}

// strays are the responses from another release than the target in a stretch.
func (w *watch) strays(a, b tick) []stray {
	all := w.f.strays
	lo := sort.Search(len(all), func(i int) bool { return all[i].t >= a })
	hi := sort.Search(len(all), func(i int) bool { return all[i].t >= b })
	return all[lo:max(lo, hi)]
}

// silent says whether no journey of the drilled service ended for longer than two seconds of a stretch, or than ten
// journeys take at the stated rate.
func (f *Facts) silent(a, b tick) bool {
	if !f.ended || b-f.lastEnd > f.quiet {
		return true
	}
	i := sort.Search(len(f.silences), func(i int) bool { return f.silences[i].to > a })
	for ; i < len(f.silences) && f.silences[i].from < b; i++ {
		if min(f.silences[i].to, b)-max(f.silences[i].from, a) > f.quiet {
			return true
		}
	}
	return false
}

// missing is everything that was not as it must be in the window before an instant, what was seen bad first. Of a part
// the latest counts.
func (w *watch) missing(end tick, whole bool) []lack {
	start := max(w.decided, end-w.window)
	if start >= end {
		return nil
	}
	var all []lack
	w.users(start, end, func(l lack) {
		if !slices.ContainsFunc(all, func(x lack) bool { return x.stable == l.stable }) {
			all = append(all, l)
		}
	})
	if whole {
		all = w.lacking(all, start, end)
	}
	return badFirst(all)
}

// missingAt is everything that is not as it must be at an instant: of users in the two seconds before it.
func (w *watch) missingAt(end tick) []lack {
	var all []lack
	w.users(end-min(2*second, end), end, func(l lack) {
		if l.is == no {
			all = append(all, l)
		}
	})
	return badFirst(w.lacking(all, end-1, end))
}

func (w *watch) lacking(all []lack, start, end tick) []lack {
	for i := range w.parts {
		if is, s := w.parts[i].holds(start, end); is != yes {
			all = append(all, lack{is, w.parts[i].check(), s.text, s.text, s.n})
		}
	}
	return all
}

func badFirst(all []lack) []lack {
	slices.SortStableFunc(all, func(a, b lack) int { return int(b.is) - int(a.is) })
	return all
}

// shows cites what made a state hold from an instant: the last response of the release before it, and the readings by
// which parts came back after the decision, the latest first.
func (w *watch) shows(since tick, whole bool) []int64 {
	var ns []int64
	if s := w.strays(0, since); len(s) > 0 {
		ns = append(ns, int64(s[len(s)-1].n))
	}
	if whole {
		back := slices.DeleteFunc(slices.Clone(w.parts), func(p part) bool { return p.since < w.decided || p.since > since })
		slices.SortStableFunc(back, func(a, b part) int { return int(b.since) - int(a.since) })
		for i := range back {
			ns = append(ns, back[i].shown)
		}
	}
	return few(ns)
}
