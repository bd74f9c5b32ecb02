package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// podRow is a pod on the page: a line of the waterfall, and the same as words.
type podRow struct {
	Name, Owner, Node, Release string
	Note                       string
	Late                       string // what it did of another release after the command had returned; empty: nothing
	Segs                       []seg
	Times                      []string // created, scheduled, started, ready, first answer, told to end, deleted
}

const maxPods = 60

// pods are drawn on the scale of the replicas; seconds count from zero, the decision.
func (m *Model) pods(zero, from, to float64) (rows []podRow, more int, says string) {
	list := m.Verdict.Pods
	if len(list) > maxPods {
		// Those that came last are of the rollback.
		more, list = len(list)-maxPods, list[len(list)-maxPods:]
	}
	for _, p := range list {
		r := podRow{Name: p.Name, Owner: p.Owner, Node: p.Node, Release: p.Release, Late: straggles(m.Verdict, p)}
		switch {
		case p.Failing != "":
			r.Note = p.Failing
		case p.Ready == nil && p.FirstServed == nil && p.Release == "":
			r.Note = "never ready"
		}
		for _, t := range []*evidence.Offset{p.Created, p.Scheduled, p.Started, p.Ready, p.FirstServed, p.Deleting, p.Deleted} {
			text := "not seen"
			if t != nil {
				text = fmt.Sprintf("%+.1f%ss", float64(*t)-zero, nbsp)
			}
			r.Times = append(r.Times, text)
		}
		r.Segs = m.podSegments(p, from, to)
		rows = append(rows, r)
	}
	late := stragglers(m.Verdict)
	says = fmt.Sprintf("Seconds count from the decision.%s", lastBad(m.Verdict))
	if len(late) > 0 {
		says += " Stragglers: " + strings.Join(late, "; ") + "."
	}
	return rows, more, says
}

// podSegments are the parts of a pod's life, each until the next one that was seen.
func (m *Model) podSegments(p verdict.Pod, from, to float64) (out []seg) {
	serving := seg{Class: "new", Text: p.Release}
	if p.Release != "" && p.Release != m.Run.Good {
		serving.Class = "old hatch"
	}
	type part struct {
		at *evidence.Offset
		seg
	}
	parts := []part{
		{p.Created, seg{Style: colour("well"), Text: "created"}},
		{p.Scheduled, seg{Style: colour("rule"), Text: "scheduled"}},
		{p.Started, seg{Style: colour("rule-2"), Text: "started"}},
		{p.Ready, serving},
		{p.Deleting, seg{Class: "away", Text: "told to end"}},
		{p.Deleted, seg{}},
	}
	parts = slices.DeleteFunc(parts, func(x part) bool { return x.at == nil })
	if len(parts) == 0 || p.Created == nil && p.Scheduled == nil && p.Started == nil && p.Ready == nil {
		begun := evidence.Offset(from) // nobody saw it come
		parts = append([]part{{&begun, serving}}, parts...)
	}
	add := func(a, b float64, s seg) {
		if a, b = max(a, from), min(b, to); b < a || b == a && s.Text != "first answer" {
			return
		}
		s.Style = between(a, b) + s.Style
		out = append(out, s)
	}
	for i, x := range parts {
		end := to
		if i+1 < len(parts) {
			end = float64(*parts[i+1].at)
		} else if p.Deleted != nil {
			continue
		}
		add(float64(*x.at), end, x.seg)
	}
	if f := p.FirstServed; f != nil && float64(*f) >= from {
		add(float64(*f), float64(*f), seg{Style: template.CSS(";--c:var(--ink)"), Text: "first answer"})
	}
	return out
}

// straggles says what a pod did of another release than the target after the command had returned; empty: nothing.
func straggles(v verdict.Verdict, p verdict.Pod) string {
	returned := v.Clocks[evidence.ClockCommandReturned]
	if returned == nil || !p.ServedOn {
		return ""
	}
	text := "it was never deleted"
	if p.Deleted != nil {
		text = "it was deleted " + seconds(float64(*p.Deleted-*returned)) + " later"
	}
	if p.BadResponses > 0 {
		text += fmt.Sprintf(", and users got %s from it for %s", many(p.BadResponses, "answer", "answers"), seconds(p.BadSeconds))
	}
	return text
}

// stragglers are the pods that served another release than the target after the command had returned, in words.
func stragglers(v verdict.Verdict) (late []string) {
	for _, p := range v.Pods {
		if text := straggles(v, p); text != "" {
			late = append(late, fmt.Sprintf("%s of %s: %s", p.Name, p.Release, text))
		}
	}
	if len(late) > 5 {
		late = append(late[:5], fmt.Sprintf("and %d more", len(late)-5))
	}
	return late
}

// lastBad sets what status says against what users got.
func lastBad(v verdict.Verdict) string {
	returned, last := v.Clocks[evidence.ClockCommandReturned], v.Clocks[evidence.ClockLastBadResponse]
	switch {
	case returned == nil || last == nil:
		return ""
	case *last > *returned:
		return fmt.Sprintf(" Users got the last answer of another release %s after the command had returned.", seconds(float64(*last-*returned)))
	}
	return fmt.Sprintf(" Users got the last answer of another release %s before the command returned.", seconds(float64(*returned-*last)))
}
