package report

import (
	"fmt"
	"math"
	"strings"

	"backout/harness/evidence"
)

// pictureWidth is of the timeline as text, in characters.
const pictureWidth = 72

// picture is the timeline as text, for where there is neither style nor script: the page of a CI job, a mail, a terminal.
// Every name in it is cut and stripped of what would end its block.
func (m *Model) picture() string {
	span := math.Max(m.Seconds, 1)
	var b strings.Builder
	column := func(t float64) int { return min(max(int(t/span*pictureWidth), 0), pictureWidth-1) }
	row := func(name string, cells []rune, note string) {
		fmt.Fprintf(&b, "%-14s %s %s\n", short(plainText(name), 14), string(cells), short(plainText(note), 44))
	}
	blank := func() []rune { return []rune(strings.Repeat(" ", pictureWidth)) }

	axis := blank()
	for _, share := range []float64{0, 0.25, 0.5, 0.75} {
		copy(axis[int(share*pictureWidth):], []rune(strings.TrimSuffix(offset(share*span), ".0")))
	}
	row("", axis, strings.TrimSuffix(offset(span), ".0"))

	bars := []rune("▁▂▃▄▅▆▇█")
	rate := func(name string, which func(int) bool) {
		cells, worst := blank(), 1.0
		for i := range cells {
			from, to := float64(i)/pictureWidth*span, float64(i+1)/pictureWidth*span
			cells[i] = '·'
			if bad, all := m.failures(from, math.Max(from, to-binSeconds), which); all > 0 {
				share := 1 - float64(bad)/float64(all)
				worst = min(worst, share)
				cells[i] = bars[int(share*float64(len(bars)-1))] // only all is the full height
			}
		}
		row(name, cells, "success, worst "+percent(worst))
	}
	if len(m.bins) > 0 {
		if w := m.worst(); w >= 0 {
			rate(m.journeys[w], func(i int) bool { return i == w })
		}
		rate("all journeys", m.own)
	}
	stretch := func(name string, from, to float64, fill rune, note string) {
		cells := blank()
		for i := column(from); i <= column(to); i++ {
			cells[i] = fill
		}
		row(name, cells, note)
	}
	shown := 0
	for _, s := range m.steps {
		if !s.judged() {
			continue
		}
		if shown++; shown > 12 {
			row("", blank(), "and more steps")
			break
		}
		stretch(fmt.Sprintf("step %d", s.index), s.from, s.to, '█', s.name+", "+stepLook(s).Word)
	}
	for i, a := range m.alerts {
		if i == 6 {
			row("", blank(), fmt.Sprintf("and %d more alerts", len(m.alerts)-i))
			break
		}
		stretch("alert", a.from, a.to, '▒', a.name)
	}
	if len(m.tells) > 0 {
		cells, lost := blank(), 0
		for _, k := range m.tells {
			if k.what.Event == "" {
				cells[column(k.t)] = '●'
			} else {
				lost++
			}
		}
		row("told", cells, many(len(m.tells)-lost, "message", "messages")+map[bool]string{true: ", not all at once"}[lost > 0])
	}
	for i, f := range m.faults {
		if i == 6 {
			break
		}
		to := f.to
		if f.open {
			to = m.Seconds
		}
		stretch("fault", f.from, to, '░', f.text)
	}
	for i, g := range m.gaps {
		if i == 4 {
			row("", blank(), fmt.Sprintf("and %d more gaps", len(m.gaps)-i))
			break
		}
		stretch("not observed", float64(g.what.From), float64(g.what.To), '?', g.what.Of)
	}
	clocks, words := blank(), []string{}
	for i, c := range []string{evidence.ClockDeployBegun, evidence.ClockFirstBad, evidence.ClockDetected, evidence.ClockDecided, evidence.ClockCommandReturned, evidence.ClockUsersRestored, evidence.ClockRestored, evidence.ClockWatchEnded} {
		letter := rune('A' + i)
		if t, ok := m.clock(c); ok {
			at := column(t)
			for at < pictureWidth-1 && clocks[at] != ' ' {
				at++ // one that would stand on another stands beside it
			}
			clocks[at] = letter
			words = append(words, fmt.Sprintf("%c %s %s", letter, clockName(c), offset(t)))
		} else {
			words = append(words, fmt.Sprintf("%c %s %s", letter, clockName(c), absent(m.Verdict)))
		}
	}
	row("clocks", clocks, "")
	b.WriteString("\n" + strings.Join(words, " | ") + "\n")
	return b.String()
}

// plainText is a text in one line that ends no block of code.
func plainText(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("`", "'", "\ufffd", "").Replace(text(s))), " ")
}
