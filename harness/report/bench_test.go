package report

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// BenchmarkBuild reads an hour of evidence at 200 journeys a second into a report, and writes its page.
func BenchmarkBuild(b *testing.B) {
	path := filepath.Join(b.TempDir(), evidence.File)
	l, err := evidence.Create(path, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	evidence.Synthesize(l, evidence.Synthetic{Hours: 1, Rate: 200, Seed: 7})
	if _, err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		builder := New()
		for e, err := range evidence.Read(path) {
			if err != nil {
				b.Fatal(err)
			}
			builder.Add(e)
		}
		size := &counter{}
		if err := HTML(size, builder.Model(verdict.Verdict{Verdict: verdict.Pass}, "")); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size.n)/1e3, "KB-of-page")
	}
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

var _ io.Writer = (*counter)(nil)
