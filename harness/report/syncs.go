package report

import (
	"fmt"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// syncRow is how one commit came to the cluster. Times count from the commit, or from what was seen first where there was none.
type syncRow struct {
	Service, Revision string
	Why               string   // why it was applied where nobody had committed, or why it failed
	At                string   // when it began, since the decision
	Times             []string // detected, applied, healthy, every pod
}

// syncColumns are the times of a row.
var syncColumns = []string{"Detected", "Applied", "Healthy", "Every pod"}

// syncs are the rows of the table; seconds of At count from zero.
func syncs(v verdict.Verdict, zero float64) (rows []syncRow) {
	for _, s := range v.Syncs {
		r := syncRow{Service: s.Service, Revision: commit(s.Revision), Why: s.Message}
		begun := s.Committed
		switch {
		case s.Committed != nil:
		case s.Drifted != nil:
			begun, r.Why = s.Drifted, because("the cluster had drifted from it", s.Message)
		case s.Syncing != nil:
			begun, r.Why = s.Syncing, because("the controller was told to apply it again", s.Message)
		}
		if begun == nil {
			continue // nobody saw it begin
		}
		r.At = fmt.Sprintf("%+.1f%ss", float64(*begun)-zero, nbsp)
		for _, t := range []*evidence.Offset{s.Detected, s.Applied, s.Healthy, s.EveryPod} {
			text := ""
			switch {
			case t != nil:
				text = fmt.Sprintf("%.1f%ss", float64(*t-*begun), nbsp)
			case s.Failed != nil && len(r.Times) == 1:
				text = fmt.Sprintf("failed after %.1f%ss", float64(*s.Failed-*begun), nbsp)
			}
			r.Times = append(r.Times, text)
		}
		rows = append(rows, r)
	}
	return rows
}

// decided is the offset from which times count; without a decision they count from the start.
func decided(v verdict.Verdict) float64 {
	if t := v.Clocks[evidence.ClockDecided]; t != nil {
		return float64(*t)
	}
	return 0
}

// commit is the name of a commit as Git shortens it.
func commit(revision string) string { return revision[:min(7, len(revision))] }

func because(why, message string) string {
	if message != "" {
		why += "; " + message
	}
	return why
}
