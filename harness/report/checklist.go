package report

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// maxCites are the events that a line of the page links to; of more it says how many.
const maxCites = 12

// check is a line of the post-rollback checklist. It is ticked by evidence alone.
type check struct {
	Name     string
	Look     look
	Seen     string
	Evidence []int64
}

// The states of a check. What nothing says is not observed, and never proven.
var (
	proven        = look{"is-kept", "i-ok", "proven"}
	notSo         = look{"is-broken", "i-no", "not so"}
	notObserved   = look{"is-unknown", "i-ask", "not observed"}
	personDecides = look{"is-unknown", "i-person", "a person decides"}
	noneThere     = look{"sub", "i-none", "not applicable"}
)

// checklist asks what somebody would ask before giving the all clear.
func (m *Model) checklist() []check {
	list := []check{m.health(), m.transaction(), m.consistent(), m.anomalies(), m.cachesInvalid(), m.gapless(), m.dependants(), m.told(), m.allClear()}
	for i, c := range list {
		c.Evidence = slices.DeleteFunc(c.Evidence, func(n int64) bool { return n <= 0 })
		slices.Sort(c.Evidence)
		list[i].Evidence = slices.Compact(c.Evidence)
		if c.Look == proven && len(c.Evidence) == 0 {
			list[i].Look = notObserved
			list[i].Seen += " No event is cited for it."
		}
	}
	return list
}

// checklistNumbers are the events that the checklist cites.
func (m *Model) checklistNumbers() (all []int64) {
	for _, c := range m.checklist() {
		all = append(all, c.Evidence...)
	}
	return all
}

// aftermath is the time in which service was back and still watched. whole says that it was restored at all.
func (m *Model) aftermath() (from, to float64, whole bool) {
	to = m.Seconds
	for _, name := range []string{evidence.ClockQuietBegun, evidence.ClockWatchEnded} {
		if t, ok := m.clock(name); ok {
			to = t
			break
		}
	}
	if from, whole = m.clock(evidence.ClockRestored); whole {
		return from, max(from, to), true
	}
	if t, ok := m.clock(evidence.ClockCommandReturned); ok {
		return t, max(t, to), false
	}
	return to, to, false
}

func (m *Model) health() check {
	c := check{Name: "Every endpoint’s health check passes"}
	from, to, whole := m.aftermath()
	removed := map[string]bool{}
	for _, r := range m.Verdict.Replicas {
		removed[r.Name] = r.Removed != ""
	}
	var order, bad, unseen []string
	ready, all := map[string]int{}, map[string]int{}
	for _, k := range m.instances {
		var now *state
		broken := false
		for i := range k.states {
			if s := &k.states[i]; s.t <= to {
				now = s
				broken = broken || whole && s.t > from && !s.ready && !s.lost
			}
		}
		if removed[k.name] || now != nil && now.err == deleted {
			continue
		}
		if all[k.service] == 0 {
			order = append(order, k.service)
		}
		all[k.service]++
		switch {
		case now == nil || now.lost || k.last < to-m.patience():
			unseen = append(unseen, k.name)
		case !now.ready || broken:
			bad = append(bad, k.name)
			c.Evidence = append(c.Evidence, now.n)
		default:
			ready[k.service]++
			c.Evidence = append(c.Evidence, now.n)
		}
	}
	var parts []string
	for _, service := range order {
		parts = append(parts, fmt.Sprintf("%s %d of %d", service, ready[service], all[service]))
	}
	when := " at " + offset(to)
	if whole {
		when = fmt.Sprintf(" without a break from %s to %s", offset(from), offset(to))
	}
	switch c.Seen = strings.Join(parts, ", ") + when + "."; {
	case len(order) == 0:
		c.Look, c.Seen = notObserved, "No instance was asked."
	case len(bad) > 0:
		c.Look = notSo
		c.Seen += " Not ready, or not all the time: " + few(bad) + "."
	case len(unseen) > 0:
		c.Look = notObserved
		c.Seen += " Not observed at the end: " + few(unseen) + "."
	default:
		c.Look = proven
	}
	return c
}

func (m *Model) transaction() check {
	c := check{Name: "A synthetic transaction passes from end to end", Look: proven}
	from, _, _ := m.aftermath()
	names := m.Run.Service.Writes
	if len(names) == 0 {
		names = m.Run.Service.Journeys
	}
	if len(names) == 0 {
		c.Look, c.Seen = notObserved, "The service states no journey."
		return c
	}
	var parts []string
	for _, name := range names {
		var l latest
		if i := slices.Index(m.journeys, name); i >= 0 && i < len(m.last) {
			l = m.last[i]
		}
		switch {
		case l.failed.n > l.ok.n && l.failed.t >= from:
			c.Look = notSo
			parts = append(parts, fmt.Sprintf("%s failed at %s: %s", name, offset(l.failed.t), describe(evidence.Event{Journey: &l.failed.what})))
			c.Evidence = append(c.Evidence, l.failed.n)
		case l.ok.n > 0 && l.ok.t >= from:
			text := fmt.Sprintf("%s: %s at %s", name, milliseconds(l.ok.what.MS), offset(l.ok.t))
			if len(l.ok.what.Served) > 0 {
				if _, release, _ := strings.Cut(string(l.ok.what.Served[0]), "@"); release != "" {
					text += ", on " + release
				}
			}
			parts = append(parts, text)
			c.Evidence = append(c.Evidence, l.ok.n)
		default:
			if c.Look == proven {
				c.Look = notObserved
			}
			parts = append(parts, name+": none was seen since then")
		}
	}
	c.Seen = strings.Join(parts, "; ") + "."
	return c
}

// judged is a check that the verdict has answered by promises of these names.
func (m *Model) judged(name string, promises ...string) check {
	c := check{Name: name, Look: proven}
	var kept, broken, open []string
	for _, p := range m.Verdict.Promises {
		if !slices.Contains(promises, p.Name) || p.State == verdict.NotApplicable {
			continue
		}
		switch p.State {
		case verdict.Kept:
			kept = append(kept, p.Name)
		case verdict.Broken:
			broken = append(broken, p.Name)
		default:
			open = append(open, p.Name)
		}
		c.Evidence = append(c.Evidence, p.Evidence...)
	}
	switch {
	case len(broken) > 0:
		c.Look, c.Seen = notSo, "Broken: "+strings.Join(broken, "; ")+"."
	case len(open) > 0:
		c.Look, c.Seen = notObserved, "Not judged: "+strings.Join(open, "; ")+"."
	case len(kept) > 0:
		c.Seen = "Kept: " + strings.Join(kept, "; ") + "."
	default:
		c.Look, c.Seen = notObserved, "No promise of this drill says so."
	}
	return c
}

func (m *Model) consistent() check {
	c := m.judged("Data is consistent", verdict.NodesHaveSchema, verdict.NodesHoldSameRows, verdict.FrozenUnchanged, verdict.WritesExactlyOnce,
		verdict.NothingResurrected, verdict.NoPhantoms, verdict.ReferencesLead, verdict.InvariantsHold, verdict.SequencesAhead, verdict.MigrationsMatch)
	for _, f := range m.findings {
		if slices.Contains([]string{evidence.CheckLedger, evidence.CheckFrozen, evidence.CheckReferences, evidence.CheckInvariants}, f.what.Check) {
			c.Evidence = append(c.Evidence, f.n)
		}
	}
	if !m.Run.Service.Database && c.Look == notObserved {
		c.Look, c.Seen = noneThere, "The service has no database."
	}
	return c
}

func (m *Model) anomalies() check {
	c := check{Name: "Metrics show no anomaly", Look: proven}
	var open []string
	last := 0.0
	for _, a := range m.alerts {
		if a.open {
			open = append(open, a.name)
			c.Evidence = append(c.Evidence, a.n)
		} else if last = max(last, a.to); len(open) == 0 {
			c.Evidence = append(c.Evidence, a.n, a.ended)
		}
	}
	switch {
	case len(open) > 0:
		c.Look, c.Seen = notSo, fmt.Sprintf("%s still open: %s.", many(len(open), "alert is", "alerts are"), few(open))
	case len(m.alerts) == 0:
		c.Look, c.Seen = notObserved, "No alert was raised in the whole drill, so nothing shows that one would have been."
	default:
		c.Seen = fmt.Sprintf("%s raised and cleared, the last at %s.", many(len(m.alerts), "alert was", "alerts were"), offset(last))
	}
	return c
}

func (m *Model) cachesInvalid() check {
	c := check{Name: "Caches are invalidated", Look: proven}
	if len(m.Run.Service.Caches) == 0 {
		c.Look, c.Seen = noneThere, "The service declares no cache."
		return c
	}
	from, _, _ := m.aftermath()
	var parts []string
	for _, name := range m.Run.Service.Caches {
		switch r, ok := m.caches[name]; {
		case !ok || r.t < from:
			parts = append(parts, name+": not read since then")
			if c.Look == proven {
				c.Look = notObserved
			}
		case !r.what.OK:
			parts = append(parts, name+": it could not be read")
			c.Evidence = append(c.Evidence, r.n)
			if c.Look == proven {
				c.Look = notObserved
			}
		default:
			if r.what.Stale > 0 {
				c.Look = notSo
			}
			parts = append(parts, fmt.Sprintf("%s: %s that the target cannot read, at %s", name, many(r.what.Stale, "entry", "entries"), offset(r.t)))
			c.Evidence = append(c.Evidence, r.n)
		}
	}
	c.Seen = strings.Join(parts, "; ") + "."
	return c
}

func (m *Model) gapless() check {
	c := check{Name: "The incident’s timeline has no gap", Look: proven}
	from, _ := m.clock(evidence.ClockDeployBegun)
	_, to, _ := m.aftermath()
	var parts []string
	for _, g := range m.gaps {
		if float64(g.what.To) > from && float64(g.what.From) < to {
			parts = append(parts, fmt.Sprintf("%s %s", g.what.Of, seconds(float64(g.what.To-g.what.From))))
			c.Evidence = append(c.Evidence, g.n)
		}
	}
	silent := 0
	for _, k := range slices.Concat(m.instances, m.nodes) {
		for _, s := range k.states {
			silent += boolInt(s.lost && s.t > from && s.t < to)
		}
	}
	switch {
	case m.Cut != "":
		c.Look, c.Seen = notSo, "The log has no end. "+m.Cut
	case len(parts) > 0:
		c.Look, c.Seen = personDecides, fmt.Sprintf("Not observed for a while: %s.", few(parts))
	case silent > 0:
		c.Look, c.Seen = personDecides, many(silent, "reading is", "readings are")+" missing and nothing says why."
	default:
		for _, k := range m.marks {
			if slices.Contains([]string{evidence.ClockDeployBegun, evidence.ClockDecided, evidence.ClockCommandReturned, evidence.ClockWatchEnded}, k.name) {
				c.Evidence = append(c.Evidence, k.n)
			}
		}
		c.Seen = fmt.Sprintf("No probe missed a beat from %s to %s.", offset(from), offset(to))
	}
	return c
}

func (m *Model) dependants() check {
	c := m.judged("Dependants communicate", verdict.DependantsWork)
	var names []string
	for _, d := range m.Run.Dependants {
		names = append(names, d.Name)
	}
	var wrong, asked []string
	for _, f := range m.findings {
		if f.what.Check == evidence.CheckDependants {
			c.Evidence = append(c.Evidence, f.n)
			asked = append(asked, f.what.Of)
			if f.what.Bad > 0 || !f.what.Asked {
				wrong = append(wrong, f.what.Of)
			}
		}
	}
	switch {
	case len(names) == 0:
		c.Look, c.Seen = noneThere, "Nothing depends on the service."
	case len(wrong) > 0 && c.Look == notSo:
		c.Seen += " Wrong or without an answer: " + few(wrong) + "."
	case len(asked) > 0:
		c.Seen += " Asked: " + few(asked) + "."
	}
	return c
}

// allClear is ticked by the receiver alone, who accepted it: Backout can say what stands against it.
func (m *Model) allClear() check {
	c := check{Name: "All clear is given and handed over"}
	switch m.Verdict.Verdict {
	case verdict.Pass:
		c.Look, c.Seen = personDecides, "Nothing that was promised stands against it."
		for _, k := range m.marks {
			if k.name == evidence.ClockAllClear {
				c.Evidence = append(c.Evidence, k.n)
			}
		}
		if h := m.taken; h.n > 0 && h.what.Event == evidence.ApprovalAccepted {
			c.Look, c.Seen, c.Evidence = proven, fmt.Sprintf("%s accepted it at %s. Nothing that was promised stands against it.", h.what.By, offset(h.t)), append(c.Evidence, h.n)
		}
	case verdict.Fail:
		c.Look, c.Seen = look{"is-broken", "i-no", "withheld"}, "While a promise is broken there is none. "+m.Verdict.Because
		for _, p := range m.Verdict.Promises {
			if p.State == verdict.Broken {
				c.Evidence = append(c.Evidence, p.Evidence...)
				break
			}
		}
	default:
		c.Look, c.Seen = look{"is-unknown", "i-ask", "withheld"}, "While it is not known whether service is whole there is none. "+m.Verdict.Because
	}
	return c
}

// ticks are how many checks are proven, and how many apply.
func ticks(list []check) (proved, applicable int) {
	for _, c := range list {
		proved += boolInt(c.Look == proven)
		applicable += boolInt(c.Look != noneThere)
	}
	return proved, applicable
}

// few names the first of a list, and how many more there are.
func few(list []string) string {
	if len(list) > 5 {
		list = append(list[:5:5], fmt.Sprintf("and %d more", len(list)-5))
	}
	return strings.Join(list, ", ")
}
