package history

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"backout/harness/verdict"
)

// Trends of the newest run against those before it.
const (
	Faster  = "faster"
	Slower  = "slower"
	Steady  = "steady"
	Unknown = "unknown" // too few runs can be compared
)

// How a trend is told: like an alert, a change must exceed 10 % of what was before, three times its spread, and a second.
// At least minCompared runs of before must be comparable, and at most maxCompared count.
const (
	minCompared = 3
	maxCompared = 10
	trendShare  = 0.1
	trendSpread = 3
	trendLeast  = 1.0
)

// DrillLine is one drill in one environment, over time. Controls are drills of the drills: they have lines of their own.
type DrillLine struct {
	Service     string
	Tier        string
	Name        string
	Feature     string
	Environment string
	Kind        string
	Runs        []Run // from the oldest to the newest
	Last        Run

	LastGreen *Run // nil: never
	Green     int  // runs that were green
	Trend     Trend
}

// Trend compares the newest run with the comparable ones before it.
type Trend struct {
	Word     string   `json:"word"`
	Compared int      `json:"compared"`         // how many runs of before
	Median   *float64 `json:"median,omitempty"` // of their seconds until restored
	Why      string   `json:"why,omitempty"`    // of unknown
}

// Drills sorts runs into lines: by service, then kind, feature, name and environment.
func Drills(runs []Run) []DrillLine {
	type key struct{ service, kind, feature, name, environment string }
	at := map[key]int{}
	var lines []DrillLine
	for _, r := range runs {
		k := key{r.Service, r.Kind, r.Feature, r.Name, r.Environment}
		i, known := at[k]
		if !known {
			i = len(lines)
			at[k] = i
			lines = append(lines, DrillLine{Service: r.Service, Name: r.Name, Feature: r.Feature, Environment: r.Environment, Kind: r.Kind})
		}
		lines[i].Runs = append(lines[i].Runs, r)
	}
	for i := range lines {
		l := &lines[i]
		l.Last = l.Runs[len(l.Runs)-1]
		l.Tier = l.Last.Tier
		for j := range l.Runs {
			if l.Runs[j].Green() {
				l.Green++
				l.LastGreen = &l.Runs[j]
			}
		}
		l.Trend = trend(l.Runs)
	}
	slices.SortStableFunc(lines, func(a, b DrillLine) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), strings.Compare(a.Feature, b.Feature),
			cmp.Compare(a.Last.Line, b.Last.Line), strings.Compare(a.Name, b.Name), strings.Compare(a.Environment, b.Environment))
	})
	return lines
}

func kindOrder(kind string) int { return slices.Index([]string{Drill, Refusal, Control, Mutant}, kind) }

// Met says, of a control or a refusal, whether the newest run met what it expects.
func (l DrillLine) Met() bool { return l.Last.Exit == verdict.ExitPass }

// trend compares the last of the runs.
func trend(runs []Run) Trend {
	last := runs[len(runs)-1]
	conditions := last.Conditions()
	switch {
	case last.Kind != Drill:
		return Trend{Word: Unknown, Why: "it is a control"}
	case last.Restored == nil:
		return Trend{Word: Unknown, Why: "service was not restored"}
	case conditions == "":
		return Trend{Word: Unknown, Why: "environment, cores, volume or windows are not known"}
	}
	var before []float64
	for _, r := range slices.Backward(runs[:len(runs)-1]) {
		if r.Restored != nil && r.Conditions() == conditions && len(before) < maxCompared {
			before = append(before, *r.Restored)
		}
	}
	if len(before) < minCompared {
		return Trend{Word: Unknown, Compared: len(before), Why: "fewer than 3 runs of before had the same environment, cores, volume and windows"}
	}
	m := median(before)
	t := Trend{Word: Steady, Compared: len(before), Median: &m}
	least := max(trendLeast, trendShare*m, trendSpread*deviation(before))
	switch change := *last.Restored - m; {
	case change > least:
		t.Word = Slower
	case -change > least:
		t.Word = Faster
	}
	return t
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// deviation is the standard deviation.
func deviation(values []float64) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		squares += (v - mean) * (v - mean) / float64(len(values))
	}
	return math.Sqrt(squares)
}

// days is a number of whole days between two times, and never less than 0.
func days(from, to time.Time) int { return max(0, int(to.Sub(from).Hours()/24)) }

// How old the newest green drill of a plan may be.
const (
	Quarter  = 92 * 24 * time.Hour // critical services are drilled each quarter
	HalfYear = 183 * 24 * time.Hour
	Sprint   = 14 * 24 * time.Hour // who drills every release does so each sprint
)

// MaxAge is how old the newest green drill may be by the tier of the service.
func MaxAge(tier string) time.Duration {
	if tier == "critical" {
		return Quarter
	}
	return HalfYear
}
