package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// withinCeiling: as long as the rollback ran, and at its end, it had not touched more than its plan allows, unless a person had
// approved that.
func withinCeiling(j *judging) result {
	returned, ok := j.f.clock(evidence.ClockCommandReturned)
	if _, started := j.f.clock(evidence.ClockStarted); !started {
		return result{state: Kept, finding: "nothing of the plan ran"}
	}
	if !ok {
		return result{state: Unjudged, finding: "the plan did not end"}
	}
	r := result{state: Kept}
	var said []string
	for _, of := range slices.Sorted(maps.Keys(j.run.Plan.Ceiling)) {
		most := j.run.Plan.Ceiling[of]
		all := j.f.probes.of(evidence.ProbeImpact + " " + of + " touched")
		if len(all) == 0 || !all[len(all)-1].v.ok || all[len(all)-1].t > returned {
			return result{state: Unjudged, finding: "it was not counted how many " + of + " it touched"}
		}
		highest := all[0]
		for _, x := range all {
			if x.v.ok && x.v.value > highest.v.value {
				highest = x
			}
		}
		r.evidence = append(r.evidence, highest.n)
		text := amount(of, highest.v.value) + " touched, at most " + amount(of, most)
		if highest.v.value > most {
			if by := j.f.allowedMore(highest.t, of); by != "" {
				text += ", which " + by + " approved"
			} else {
				r.state = Broken
			}
		}
		said = append(said, text)
	}
	r.finding = strings.Join(said, "; ")
	return r
}

func amount(of string, n float64) string {
	if of == "traffic" {
		return percent(n) + " of the traffic"
	}
	return fmt.Sprintf("%s %s", number(int64(n)), of)
}

// allowedMore is who approved, until an instant, that it goes beyond its ceiling; empty: nobody.
func (f *Facts) allowedMore(until tick, of string) string {
	for _, a := range f.more {
		if a.t <= until && strings.Contains(a.v.For, of) {
			return a.v.By
		}
	}
	return ""
}
