package report

import (
	"fmt"

	"backout/harness/evidence"
)

// insight is what a reader may miss in the pictures: a sentence in bold and what it rests on.
type insight struct{ Title, Text string }

// insights compare what the evidence holds. Each is said only where its numbers say so.
func (m *Model) insights() (out []insight) {
	say := func(title, format string, args ...any) {
		out = append(out, insight{title, fmt.Sprintf(format, args...)})
	}
	begun, okBegun := m.clock(evidence.ClockDeployBegun)
	decided, okDecided := m.clock(evidence.ClockDecided)
	returned, okReturned := m.clock(evidence.ClockCommandReturned)
	after, _, whole := m.aftermath()
	if from, to, ok := m.steady(); ok && okBegun && okDecided {
		base := 0.0
		if bad, n := m.failures(from, to, m.own); n > 0 {
			base = float64(bad) / float64(n)
		}
		bad, n := m.failures(begun, decided, m.own)
		if w := m.worst(); w >= 0 && n > 0 {
			own, of := m.failures(begun, decided, func(i int) bool { return i == w })
			if threshold := 1 - (1-base)*0.9; of > 0 && float64(bad)/float64(n) < threshold && float64(own)/float64(of) >= threshold {
				say("The overall rate hides the harm", "On all journeys together %s failed before the decision, inside the 10%s%% threshold; of %s it was %s.",
					percent(float64(bad)/float64(n)), nbsp, m.journeys[w], percent(float64(own)/float64(of)))
			}
		}
		if okReturned {
			meanwhile, k := m.failures(decided, after, m.own)
			if meanwhile > bad && k > 0 {
				say("The rollback failed more journeys than the release", "%s from the decision until %s, against %s from the deploy until the decision.", count(meanwhile),
					map[bool]string{true: "service was restored", false: "its commands returned"}[whole], count(bad))
			}
		}
	}
	if s := m.Verdict.Silence; s != nil && okDecided && okReturned && *s > returned-decided {
		say("Most of the time passed in silence", "The commands took %s; then it was %s until service was whole, while no command ran.", seconds(returned-decided), seconds(*s))
	}
	var early []string
	for _, a := range m.alerts {
		if a.open && okReturned && a.from < returned {
			early = append(early, a.name)
		}
	}
	if len(early) > 0 {
		say("An alert said so in time", "Raised before the last command returned, and still open at the end: %s.", few(early))
	}
	if missed := m.unseenBy(decided, okDecided); missed != "" {
		out = append(out, insight{"No alert before the decision", missed})
	}
	return out
}

// unseenBy says that the harm was shown and no alert had been raised when the order to roll back came.
func (m *Model) unseenBy(decided float64, ok bool) string {
	bad, harmed := m.clock(evidence.ClockFirstBad)
	if !ok || !harmed {
		return ""
	}
	for _, a := range m.alerts {
		if a.from >= bad && a.from <= decided {
			return ""
		}
	}
	return fmt.Sprintf("Users were harmed from %s on, and nothing was raised until %s: who waits for alerts would not have known.", offset(bad), offset(decided))
}
