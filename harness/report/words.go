package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

const nbsp = "\u00a0" // between a number and its unit

// offset writes a time of the run as m:ss.s.
func offset(t float64) string {
	tenths := int64(math.Round(t * 10))
	sign := ""
	if tenths < 0 {
		sign, tenths = "-", -tenths
	}
	return fmt.Sprintf("%s%d:%02d.%d", sign, tenths/600, tenths/10%60, tenths%10)
}

// seconds writes a length of time.
func seconds(s float64) string {
	switch {
	case s >= 3600:
		return fmt.Sprintf("%d%sh %d%smin", int(s)/3600, nbsp, int(s)/60%60, nbsp)
	case s >= 120:
		if rest := int(s) % 60; rest != 0 {
			return fmt.Sprintf("%d%smin %d%ss", int(s)/60, nbsp, rest, nbsp)
		}
		return fmt.Sprintf("%d%smin", int(s)/60, nbsp)
	}
	return strconv.FormatFloat(s, 'f', 1, 64) + nbsp + "s"
}

// count writes a whole number with commas.
func count[N int | int32 | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// many writes a number of things.
func many[N int | int32 | int64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + more
}

func milliseconds(ms float64) string {
	switch {
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + nbsp + "s"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 0, 64) + nbsp + "ms"
	}
	return strconv.FormatFloat(ms, 'f', 1, 64) + nbsp + "ms"
}

func percent(share float64) string {
	p := share * 100
	digits := 0
	if p > 0 && p < 10 || p > 99 && p < 100 {
		digits = 1
	}
	return strconv.FormatFloat(p, 'f', digits, 64) + nbsp + "%"
}

func bytesOf(b float64) string {
	if b >= 1<<30 {
		return strconv.FormatFloat(b/(1<<30), 'f', 1, 64) + nbsp + "GB"
	}
	return strconv.FormatFloat(b/(1<<20), 'f', 0, 64) + nbsp + "MB"
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// short cuts a text to n characters.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	r := []rune(s[:min(len(s), 4*n+utf8.UTFMax)]) // no letter is longer
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func shorts(list []string, n int) []string {
	var out []string
	for _, s := range list {
		out = append(out, short(s, n))
	}
	return out
}

// Words for what did not come: never says that it was looked for until the end, and notSeen that nobody knows.
const (
	never   = "never"
	notSeen = "not seen"
)

// absent is the word for a clock that did not stand. Only a broken promise says that service was not restored; a run that was
// cut off, or that could not be judged, does not.
func absent(v verdict.Verdict) string {
	for _, p := range v.Promises {
		if p.Name == verdict.Restored && p.State == verdict.Broken {
			return never
		}
	}
	return notSeen
}

// from is the kind of an event and whom it is of.
func from(e evidence.Event) string {
	of := func(kind string, parts ...string) string {
		for _, p := range parts {
			if p != "" {
				kind += " " + p
			}
		}
		return kind
	}
	switch {
	case e.Journey != nil:
		return of("journey", e.Journey.Service, e.Journey.Name)
	case e.Write != nil:
		return of("write", e.Write.Journey)
	case e.Probe != nil:
		return of("probe", e.Probe.Name, e.Probe.Of)
	case e.Instance != nil:
		return of("instance", e.Instance.Name)
	case e.Pod != nil:
		return of("pod", e.Pod.Name)
	case e.Endpoints != nil:
		return of("endpoints", e.Endpoints.Service)
	case e.Sync != nil:
		return of("sync", e.Sync.Service)
	case e.Node != nil:
		return of("node", e.Node.Name)
	case e.Job != nil:
		return of("job", e.Job.Name)
	case e.Lock != nil:
		return of("lock", e.Lock.Node)
	case e.Schema != nil:
		return of("schema", e.Schema.Node)
	case e.Chunk != nil:
		return of("chunk", e.Chunk.Node, e.Chunk.Table)
	case e.Finding != nil:
		return of("finding", e.Finding.Check)
	case e.Cache != nil:
		return of("cache", e.Cache.Name)
	case e.Fault != nil:
		return of("fault", e.Fault.Name)
	case e.Step != nil:
		return strings.TrimSpace(of(e.Step.By, e.Step.Part, strconv.Itoa(e.Step.Index)))
	}
	if key := e.Key(); key != "" {
		return key
	}
	return "event"
}

// describe is an event in words, for the list of those that are cited.
func describe(e evidence.Event) string {
	var w words
	switch {
	case e.Run != nil:
		w.add("%s", e.Run.Name)
	case e.Phase != nil:
		w.add("%s", e.Phase.Name)
		w.maybe(e.Phase.Text)
	case e.Clock != nil:
		w.add("%s", clockName(e.Clock.Name))
		w.maybe(e.Clock.Why)
	case e.Instance != nil:
		i := e.Instance
		w.add("%s", map[bool]string{true: "ready", false: "not ready"}[i.Ready])
		if !i.Up {
			w = words{"no answer"}
		}
		if i.Release != "" {
			w.add("serves %s", i.Release)
		}
		if i.Restarts > 0 {
			w.add("%s", many(i.Restarts, "restart", "restarts"))
		}
		w.maybe(i.Error)
	case e.Pod != nil:
		p := e.Pod
		w.add("%s", p.Event)
		w.maybe(p.Reason)
		if p.Restarts > 0 {
			w.add("%s", many(p.Restarts, "restart", "restarts"))
		}
		if p.Owner != "" {
			w.add("of %s", p.Owner)
		}
		if p.Node != "" {
			w.add("on %s", p.Node)
		}
		if p.Image != "" {
			w.add("image %s", p.Image)
		}
	case e.Sync != nil:
		w.add("%s", e.Sync.Event)
		if e.Sync.Revision != "" {
			w.add("commit %s", commit(e.Sync.Revision))
		}
		w.maybe(e.Sync.Message)
	case e.Endpoints != nil:
		w.add("sends requests to %s", many(len(e.Endpoints.Pods), "pod", "pods"))
		w.maybe(strings.Join(e.Endpoints.Pods, ", "))
	case e.Node != nil:
		n := e.Node
		if !n.Reachable {
			w.add("not reachable")
		}
		if n.Migration != 0 {
			w.add("migration %d", n.Migration)
		}
		if n.Reachable && n.Role != "primary" {
			w.add("lag %s, %s bytes", seconds(n.Lag), count(n.LagBytes))
		}
		if n.Digest != "" {
			w.add("catalog %s", short(n.Digest, 12))
		}
		w.maybe(n.Error)
	case e.Journey != nil:
		j := e.Journey
		w.add("%s after %s", j.Outcome, milliseconds(j.MS))
		if j.Step > 0 {
			w.add("request %d", j.Step)
		}
		if j.Status > 0 {
			w.add("status %d", j.Status)
		}
		if j.Blame != "" {
			w.add("from %s", j.Blame)
		}
		if j.Visible > 0 {
			w.add("visible after %s", milliseconds(j.Visible))
		}
		w.maybe(j.Error)
		if j.Trace != "" {
			w.add("trace %s", j.Trace)
		}
	case e.Write != nil:
		x := e.Write
		what := x.Event
		if x.Cancels {
			what = "taking it back: " + what
		}
		w.add("%s", what)
		if x.Fate != "" {
			w.add("%s", x.Fate)
		}
		if len(x.Keys) > 0 {
			w.add("%s", many(len(x.Keys), "write", "writes"))
		}
		if x.Key != "" {
			w.add("key %s", x.Key)
		}
		if x.Rows > 0 || x.Fate == evidence.Lost || x.Fate == evidence.Duplicated {
			w.add("found %s", many(x.Rows, "time", "times"))
		}
		if x.Effect != "" {
			w.add("effect %s", x.Effect)
		}
		w.maybe(strings.Join(x.Fields, "; "))
	case e.Probe != nil:
		p := e.Probe
		if p.OK {
			w.add("%s", strings.TrimSpace(plain(p.Value)+" "+p.Unit))
		} else {
			w.add("could not be read")
		}
		w.maybe(p.Error)
	case e.Step != nil:
		s := e.Step
		w.maybe(s.Name)
		w.add("%s", s.Event)
		if s.Outcome != "" {
			w.add("%s, exit %d, %s", s.Outcome, s.Exit, seconds(s.Seconds))
		}
		w.maybe(s.Expected)
		w.maybe(s.Error)
		w.maybe(strings.TrimSpace(s.Output))
		if s.Output == "" {
			w.maybe(s.Command)
		}
	case e.Lock != nil:
		l := e.Lock
		w.add("%s, the longest for %s", many(l.Waiting, "backend waits", "backends wait"), seconds(l.Longest))
		if l.Relation != "" {
			w.add("on %s", l.Relation)
		}
		if l.Blocker != "" {
			w.add("behind %s", l.Blocker)
		}
		w.maybe(l.Query)
	case e.Alert != nil:
		a := e.Alert
		w.add("%s %s", strings.TrimSpace(a.Metric+" "+a.Of), a.Event)
		w.add("%s%s%s against %s in the baseline, alert at %s", number(a.Value), nbsp, a.Unit, number(a.Baseline), number(a.Threshold))
	case e.Breaker != nil:
		b := e.Breaker
		w.add("breaker %s", b.Event)
		if b.Rule != "" {
			w.add("%s of %s: %s%s%s against %s, %s%% of the way", b.Rule, b.Of, number(b.Value), nbsp, b.Unit, number(b.Threshold), number(100*b.Near))
		}
		if b.Samples > 0 {
			w.add("%s failed of %s", count(int64(b.Failures)), count(int64(b.Samples)))
		}
	case e.Fault != nil:
		w.add("%s %s", strings.TrimSpace(e.Fault.Name+" "+e.Fault.Of), e.Fault.Event)
		w.maybe(e.Fault.Text)
		w.maybe(e.Fault.Error)
	case e.Approval != nil:
		w = append(w, approval(e.Approval)...)
	case e.Message != nil:
		w = append(w, message(e.Message)...)
	case e.Cache != nil:
		w.add("%s", many(e.Cache.Stale, "stale entry", "stale entries"))
		w.maybe(e.Cache.Error)
	case e.Job != nil:
		j := e.Job
		if !j.OK {
			w.add("could not be read")
		} else {
			w.add("%d open, %d failed", j.Open, j.Failed)
			if j.Oldest != nil {
				w.add("the oldest from %s", offset(float64(*j.Oldest)))
			}
		}
		w.maybe(j.Error)
	case e.Schema != nil:
		s := e.Schema
		w.add("%s", s.At)
		switch {
		case s.Error != "":
			w.add("could not be read: %s", s.Error)
		case s.At == "baseline" || s.At == "target":
		case s.At == "production" && s.Equal:
			w.add("equals production's")
		case s.At == "production":
			w.add("differs from production's")
		case s.Equal:
			w.add("equals its target")
		default:
			w.add("differs from its target")
		}
		if s.Digest != "" {
			w.add("%s", short(s.Digest, 12))
		}
	case e.Chunk != nil:
		c := e.Chunk
		if c.Lo != "" || c.Hi != "" {
			w.add("%s to %s", c.Lo, c.Hi)
		}
		switch {
		case c.Error != "":
			w.add("could not be read: %s", c.Error)
		case c.Equal:
			w.add("%s, equal to the primary's", many(c.Rows, "row", "rows"))
		default:
			w.add("%s, %s", many(c.Rows, "row", "rows"), many(c.Count, "differs", "differ"))
		}
	case e.Finding != nil:
		f := e.Finding
		w.maybe(f.Of)
		switch {
		case !f.Asked:
			w.add("could not be asked")
		default:
			w.add("%s wrong of %s", count(f.Bad), count(f.Checked))
		}
		w.maybe(f.Text)
		w.maybe(f.Error)
	case e.Gap != nil:
		w.add("%s not observed from %s to %s", e.Gap.Of, offset(float64(e.Gap.From)), offset(float64(e.Gap.To)))
		w.maybe(e.Gap.Why)
	case e.End != nil:
		w.add("%s", e.End.How)
		w.maybe(e.End.Why)
	}
	return short(strings.Join(w, ", "), 300)
}

type words []string

func (w *words) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

func (w *words) maybe(s string) {
	if s != "" {
		*w = append(*w, s)
	}
}

func number(v float64) string {
	switch {
	case v != 0 && math.Abs(v) < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case math.Abs(v) < 1e15:
		return count(int64(math.Round(v)))
	}
	return plain(v)
}

// clockName is a clock in words.
func clockName(name string) string {
	switch name {
	case evidence.ClockCommandReturned:
		return "command returned"
	}
	return strings.ReplaceAll(name, "_", " ")
}
