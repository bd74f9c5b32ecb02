package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Wanted is a rollback plan as it is checked out now.
type Wanted struct {
	Service string
	Release string
	Path    string            // of the plan, from the service's folder
	Files   map[string]string // on which the rollback rests -> sha256; paths are from the service's folder
}

// Finding is what the gate says of one plan.
type Finding struct {
	Wanted
	Reasons []string // why it is not fresh; none: it is
	Changed []string // files that are not as they were, each with what became of it
	Green   *Run     // the newest green drill, of the version that is checked out if there is one
	Mend    string   // the command that drills it again; empty: it was never drilled
}

// Fresh says that the gate is open for this plan.
func (f Finding) Fresh() bool { return len(f.Reasons) == 0 }

// skew is how far a clock of another machine may be ahead.
const skew = time.Hour

// Gate says whether a plan was drilled green, recently, and as it is now. Controls, invented runs and what cannot be read
// count as nothing; but what cannot be read may have been red.
func Gate(l *Log, w Wanted, now time.Time, maxAge time.Duration) Finding {
	f := Finding{Wanted: w}
	var drills []Run
	controls := 0
	for _, r := range l.Runs {
		switch {
		case r.Generated || r.Service != w.Service || r.Plan.Path != w.Path:
		case r.Kind != Drill:
			controls++
		default:
			drills = append(drills, r)
		}
	}
	because := func(format string, args ...any) { f.Reasons = append(f.Reasons, fmt.Sprintf(format, args...)) }
	if len(drills) == 0 {
		beside := ""
		if controls > 0 {
			beside = fmt.Sprintf("; %d of sabotaged, changed or refusing plans do not count", controls)
		}
		because("there is no drill of this plan%s", beside)
		return f
	}
	f.Mend = drills[len(drills)-1].Again
	for _, line := range Drills(drills) {
		if last := line.Last; !last.Green() && now.Sub(last.When) <= maxAge {
			because("%s in %s was not green when it ran last, on %s: %s", last.Where(), last.Environment, day(last.When), says(last))
			f.Mend = cmp.Or(last.Again, f.Mend)
		}
	}
	for _, r := range slices.Backward(drills) {
		if r.Green() && f.Green == nil || r.Green() && len(changes(r.Files, w.Files)) == 0 {
			f.Green = &r
			if len(changes(r.Files, w.Files)) == 0 {
				break
			}
		}
	}
	if f.Green == nil {
		because("no drill of it was ever green, and it was drilled %d times", len(drills))
		return f
	}
	age := now.Sub(f.Green.When)
	switch {
	case age > maxAge:
		because("its last green drill is %d days old, and may be at most %d", days(f.Green.When, now), int(maxAge.Hours()/24))
	case age < -skew:
		because("its last green drill is of %s, which is still to come: is a clock wrong?", f.Green.When.Format(time.RFC3339))
	}
	if f.Changed = changes(f.Green.Files, w.Files); len(f.Changed) > 0 {
		because("it was drilled with another version: %s", strings.Join(f.Changed, ", "))
	}
	for _, d := range l.Damaged {
		if d.service == w.Service && d.when.After(f.Green.When) && strings.HasPrefix(d.Name, runsIn) {
			because("%s cannot be read and is newer: it may have been red (%s); restore it, or remove it and drill again", d.Name, d.Why)
		}
	}
	return f
}

// says is a run's verdict with its reason.
func says(r Run) string { return strings.TrimRight(r.Verdict+", "+r.Because, ", ") }

// changes is what became of files between a drill and now.
func changes(then, now map[string]string) []string {
	var all []string
	for path := range maps.Keys(now) {
		switch sum, known := then[path]; {
		case !known:
			all = append(all, path+" is new")
		case sum != now[path]:
			all = append(all, path+" changed")
		}
	}
	for path := range maps.Keys(then) {
		if _, there := now[path]; !there {
			all = append(all, path+" is gone")
		}
	}
	slices.Sort(all)
	return all
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
