// Package report renders a run's evidence and verdict into files for people and machines. It judges nothing: what
// it says about a run, the verdict or an event said first.
package report

import (
	"encoding/json"
	"io"

	"backout/harness/verdict"
)

// Format is one way to render a run.
type Format struct {
	Name  string // as --format names it
	File  string // in the run's directory
	Write func(w io.Writer, m *Model) error
}

// Formats are all of them. An addition is a file of this package and a line here.
func Formats() []Format {
	return []Format{
		{"html", "report.html", HTML},
		{"junit", "junit.xml", JUnit},
		{"md", "summary.md", Markdown},
		{"json", "verdict.json", JSON},
		{"ctrf", "ctrf.json", CTRF},
		{"openmetrics", "metrics.prom", OpenMetrics},
		{"postmortem", "postmortem.md", Postmortem},
	}
}

// JSON is the verdict alone, without the things that differ from place to place, so that judging a saved run again
// gives the same file byte for byte.
func JSON(w io.Writer, m *Model) error { return WriteVerdict(w, m.Verdict) }

// WriteVerdict writes verdict.json.
func WriteVerdict(w io.Writer, v verdict.Verdict) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
