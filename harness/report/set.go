package report

import (
	"io"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// Set is what one `backout run` did: its drills, in the order of the features.
type Set struct {
	Name string
	Runs []Entry
}

// Entry is one drill of a set.
type Entry struct {
	Dir     string // of the run, relative to the set's; "." when the set is one run; empty when nothing was written
	Run     evidence.Run
	Head    string // of the log's chain
	Seconds float64
	Verdict verdict.Verdict

	NotApplicable string // why it could not apply here: listed, never passed; Verdict is then empty
	Broke         string // the harness itself broke, or the input was bad; Verdict may then be empty
}

// SetFormat is one way to render a set.
type SetFormat struct {
	Name  string
	File  string
	Write func(w io.Writer, s Set) error
}

// SetFormats are all of them.
func SetFormats() []SetFormat {
	return []SetFormat{
		{"html", "index.html", SetHTML},
		{"junit", "junit.xml", SetJUnit},
		{"md", "summary.md", SetMarkdown},
	}
}
