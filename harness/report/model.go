package report

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// Builder gathers from a log what a report shows, in one pass and bounded memory. It is not safe for concurrent use.
type Builder struct{ run *evidence.Run }

// New begins a report.
func New() *Builder { return &Builder{} }

// Add takes the next event of the log.
func (b *Builder) Add(e evidence.Event) {
	if e.Run != nil {
		b.run = e.Run
	}
}

// Cut says that the log ended without an end, and why.
func (b *Builder) Cut(why string) {}

// Model is everything that a report shows.
type Model struct {
	Run     evidence.Run
	Verdict verdict.Verdict
	Head    string  // of the log's chain
	Seconds float64 // from the start to the last event
}

// Model ends the report. head is that of the log's chain.
func (b *Builder) Model(v verdict.Verdict, head string) *Model {
	m := &Model{Verdict: v, Head: head}
	if b.run != nil {
		m.Run = *b.run
	}
	return m
}

// Entry is the run as a line of a set. dir is its directory, relative to the set's.
func (m *Model) Entry(dir string) Entry {
	return Entry{Dir: dir, Run: m.Run, Head: m.Head, Seconds: m.Seconds, Verdict: m.Verdict}
}
