package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// writes is what happened to users' writes, as the page shows it.
type writes struct {
	Says    string
	Columns []string
	Rows    []writeRow
	Total   writeRow
	Opened  []opened
	More    int // writes that are not listed at all
}

type writeRow struct {
	Name, When string
	Width      template.CSS
	Parts      []part
	Cells      []cell
}

// cell is a number of the table; ID is of the rows that it stands for, empty where there are none to show.
type cell struct {
	Key, Text, Class, ID string
}

// opened are the rows that a cell opens to.
type opened struct {
	ID, Title string
	Open      bool
	Rows      []writeLine
	Of        int // how many writes the cell counts
}

type writeLine struct {
	Sent, Journey, Key, Found, Trace string
	Fields                           []string
	N                                int64
}

const (
	maxRows = 10 // of a cell that are shown
	maxKept = 5  // of the writes that were kept, in each window
)

// windowBegun names the window of the ledger that a clock begins.
var windowBegun = map[string]string{evidence.ClockDeployBegun: "bad", evidence.ClockStarted: "during", evidence.ClockCommandReturned: "after"}

// write keeps of the ledger what is shown of it: what was not simply kept, and a few that were.
func (b *Builder) write(n int64, t float64, w *evidence.Write) {
	m := &b.m
	switch w.Event {
	case evidence.Invoked:
		if !w.Cancels {
			of := 0
			for _, s := range m.samples {
				of += boolInt(s.window == b.window)
			}
			if of < 2*maxKept && b.samples[w.Key] == nil {
				s := &sample{settled: settled{sent: t, trace: w.Trace}, key: w.Key, journey: w.Journey, window: b.window}
				b.samples[w.Key] = s
				m.samples = append(m.samples, s)
			}
		}
	case evidence.Acknowledged:
		if s := b.samples[w.Key]; s != nil && !w.Cancels {
			s.acknowledged, s.answered, s.n, s.window = true, t, n, b.window
			b.remember(n, t, w)
		}
	case evidence.Refused, evidence.Unknown:
		if !w.Cancels && len(m.unsettled) < maxListed {
			m.unsettled = append(m.unsettled, found[evidence.Write]{n, t, *w})
		}
	case evidence.Audited:
		if w.Fate == evidence.Kept {
			for _, key := range append(w.Keys, w.Key) {
				if s := b.samples[key]; s != nil && !w.Cancels {
					s.kept = true
				}
			}
		}
		if w.Fate != evidence.Kept && w.Fate != evidence.Absent || len(w.Fields) > 0 || w.Effect != "" {
			if len(m.writes) < maxListed {
				m.writes = append(m.writes, found[evidence.Write]{n, t, *w})
			} else {
				m.moreFates++
			}
		}
	}
}

// windowAt is the window of the ledger at a time. A write belongs to the latest one that it touches.
func (m *Model) windowAt(t float64) string {
	for _, clock := range []string{evidence.ClockCommandReturned, evidence.ClockStarted, evidence.ClockDeployBegun} {
		if begun, ok := m.clock(clock); ok && t >= begun {
			return windowBegun[clock]
		}
	}
	return "before"
}

// lines are the writes that can be shown, by window and by what became of them.
func (m *Model) lines() map[string]map[string][]writeLine {
	out := map[string]map[string][]writeLine{}
	add := func(window, fate string, l writeLine) {
		if out[window] == nil {
			out[window] = map[string][]writeLine{}
		}
		out[window][fate] = append(out[window][fate], l)
	}
	for _, w := range m.unsettled {
		add(m.windowAt(w.t), w.what.Event, writeLine{Sent: offset(w.t), Journey: w.what.Journey, Key: short(w.what.Key, 80), Trace: short(w.what.Trace, 64), N: w.n,
			Found: fmt.Sprintf("answered with status %d", w.what.Status)})
	}
	for _, s := range m.samples {
		if s.kept && s.acknowledged && len(out[s.window][evidence.Kept]) < maxKept {
			add(s.window, evidence.Kept, writeLine{Sent: offset(s.sent), Journey: s.journey, Key: s.key, Trace: s.trace, N: s.n, Found: "1 row, as it was acknowledged"})
		}
	}
	for _, w := range m.writes {
		l := writeLine{Journey: w.what.Journey, Key: short(w.what.Key, 80), Trace: short(w.what.Trace, 64), Fields: shorts(w.what.Fields[:min(len(w.what.Fields), 8)], 200), N: w.n, Found: many(w.what.Rows, "row", "rows")}
		if w.what.Key == "" {
			l.Key = many(len(w.what.Keys), "key", "keys")
		}
		if w.what.Effect != "" {
			l.Found = fmt.Sprintf("effect %s %s", w.what.Effect, many(w.what.Rows, "time", "times"))
		}
		window := ""
		if s := m.settled[w.what.Key]; s != nil {
			l.Trace = cmp.Or(l.Trace, s.trace)
			if s.sent > 0 {
				l.Sent, window = offset(s.sent), "after" // one that never got an answer touches the last
			}
			if s.answered > 0 {
				window = m.windowAt(s.answered)
			}
		}
		fate := w.what.Fate
		if w.what.Effect != "" {
			fate = "effect"
		}
		add(window, fate, l)
	}
	return out
}

func (m *Model) writesView() writes {
	fates := []string{evidence.Kept, evidence.Transformed, evidence.Lost, evidence.Duplicated, evidence.Resurrected, evidence.Phantom}
	for _, w := range m.Verdict.Writes {
		for _, fate := range slices.Sorted(maps.Keys(w.Fates)) {
			if !slices.Contains(fates, fate) {
				fates = append(fates, fate)
			}
		}
	}
	v := writes{Columns: []string{"Sent", "Refused", "Unknown", "Acknowledged"}, More: m.moreFates}
	for _, fate := range fates {
		v.Columns = append(v.Columns, capital(fate))
	}
	lines := m.lines()
	when := m.windows()
	most := 1
	for _, w := range m.Verdict.Writes {
		most = max(most, w.Acknowledged+w.Refused+w.Unknown)
	}
	// open lists the rows of a cell, and names the place on the page where they stand.
	open := func(window, title, fate string, of int, red bool) string {
		rows := lines[window][fate]
		if len(rows) == 0 {
			return ""
		}
		delete(lines[window], fate)
		id := fmt.Sprintf("w%d", len(v.Opened)+1)
		o := opened{ID: id, Title: title, Open: red, Rows: rows, Of: max(of, len(rows))}
		if len(o.Rows) > maxRows {
			o.Rows = o.Rows[:maxRows]
		}
		v.Opened = append(v.Opened, o)
		return id
	}
	total := verdict.Window{Name: "all", Fates: map[string]int{}}
	cells := func(w verdict.Window, window string) []cell {
		out := []cell{{Key: "Sent", Text: count(w.Acknowledged + w.Refused + w.Unknown)}, {Key: "Refused", Text: count(w.Refused)},
			{Key: "Unknown", Text: count(w.Unknown)}, {Key: "Acknowledged", Text: count(w.Acknowledged)}}
		numbers := []int{0, w.Refused, w.Unknown, 0}
		for i, fate := range fates {
			c := cell{Key: v.Columns[4+i], Text: count(w.Fates[fate])}
			if w.Fates[fate] > 0 && fate != evidence.Kept {
				c.Class = map[string]string{evidence.Transformed: "is-changed", "not checked": "is-unknown"}[fate]
				if c.Class == "" {
					c.Class = "is-broken"
				}
			}
			out = append(out, c)
			numbers = append(numbers, w.Fates[fate])
		}
		for i := range out {
			if out[i].Text == "0" {
				out[i].Class = "zero"
				continue
			}
			if key := strings.ToLower(out[i].Key); window != "" && numbers[i] > 0 {
				out[i].ID = open(window, capital(window)+", "+key, key, numbers[i], out[i].Class == "is-broken" || out[i].Class == "is-changed")
			}
		}
		return out
	}
	for _, w := range m.Verdict.Writes {
		all := w.Acknowledged + w.Refused + w.Unknown
		r := writeRow{Name: capital(w.Name), When: when[w.Name], Cells: cells(w, w.Name),
			Width: template.CSS("--w:" + num(float64(all)/float64(most)*100))}
		add := func(n int, c template.CSS, class string) {
			if n > 0 {
				p := part{Style: template.CSS("--v:" + num(float64(n))), Class: class}
				if c != "" {
					p.Style += colour(c)
				}
				r.Parts = append(r.Parts, p)
			}
		}
		for _, fate := range fates {
			c := template.CSS("broken")
			switch fate {
			case evidence.Kept:
				c = "kept-2"
			case evidence.Transformed:
				c = "changed-2"
			case "not checked":
				c = "unknown-2"
			case evidence.Phantom, evidence.Resurrected:
				continue // not among the acknowledged ones
			}
			add(w.Fates[fate], c, "")
			total.Fates[fate] += w.Fates[fate]
		}
		for _, fate := range []string{evidence.Phantom, evidence.Resurrected} {
			total.Fates[fate] += w.Fates[fate]
		}
		add(w.Refused, "", "r hatch")
		add(w.Unknown, "unknown", "")
		total.Acknowledged += w.Acknowledged
		total.Refused += w.Refused
		total.Unknown += w.Unknown
		v.Rows = append(v.Rows, r)
	}
	v.Total = writeRow{Name: "All", Cells: cells(total, "")}
	// What belongs to no cell stands below all the same: effects, and writes that nobody was seen to send.
	for _, window := range slices.Sorted(maps.Keys(lines)) {
		for _, fate := range slices.Sorted(maps.Keys(lines[window])) {
			if window == "" || fate == "effect" {
				title := capital(fate)
				if fate == "effect" {
					title = "Effects that did not happen once"
				}
				open(window, title, fate, 0, true)
			}
		}
	}
	slices.SortStableFunc(v.Opened, func(a, b opened) int { return boolInt(b.Open) - boolInt(a.Open) })
	unchecked := notChecked(m.Verdict)
	switch lost := m.Verdict.Shares.Writes[1] - m.Verdict.Shares.Writes[0]; {
	case m.Verdict.Shares.Writes[1] == 0:
		v.Says = "No write was acknowledged."
	case lost > 0 && lost == unchecked:
		v.Says = fmt.Sprintf("%s of %s acknowledged writes were not looked up: nobody knows whether they were kept.", count(lost), count(m.Verdict.Shares.Writes[1]))
	case lost == 0:
		v.Says = fmt.Sprintf("Each of the %s acknowledged writes is there once, as it was acknowledged.", count(m.Verdict.Shares.Writes[1]))
	default:
		v.Says = fmt.Sprintf("%s of %s acknowledged writes were not kept, or could not be looked up.", count(lost), count(m.Verdict.Shares.Writes[1]))
	}
	return v
}

// windows are the clocks that bound each window of the ledger.
func (m *Model) windows() map[string]string {
	out := map[string]string{}
	for _, w := range []struct{ name, from, to string }{
		{"before", "", evidence.ClockDeployBegun}, {"bad", evidence.ClockDeployBegun, evidence.ClockStarted},
		{"during", evidence.ClockStarted, evidence.ClockCommandReturned}, {"after", evidence.ClockCommandReturned, ""}} {
		from, okFrom := m.clock(w.from)
		to, okTo := m.clock(w.to)
		switch {
		case okFrom && okTo:
			out[w.name] = offset(from) + " to " + offset(to)
		case okFrom:
			out[w.name] = "from " + offset(from)
		case okTo:
			out[w.name] = "until " + offset(to)
		}
	}
	return out
}

func capital(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] }
