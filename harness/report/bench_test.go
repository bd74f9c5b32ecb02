package report

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// BenchmarkReportOfAnHour renders the report of a drill of an hour at 200 journeys a second: how long that
// takes on top of reading the log, and the most memory that reading, judging and rendering need in one process.
func BenchmarkReportOfAnHour(b *testing.B) {
	path := filepath.Join(b.TempDir(), evidence.File)
	l, err := evidence.Create(path, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	evidence.Synthesize(l, evidence.Synthetic{Hours: 1, Rate: 200, Seed: 7})
	if _, err := l.Close(); err != nil {
		b.Fatal(err)
	}
	read := func(use func(evidence.Event)) time.Duration {
		began := time.Now()
		for e, err := range evidence.Read(path) {
			if err != nil {
				b.Fatal(err)
			}
			use(e)
		}
		return time.Since(began)
	}
	for b.Loop() {
		debug.FreeOSMemory()
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak counts from here
			b.Log("the peak of memory includes what came before: ", err)
		}
		builder, facts := New(), verdict.New()
		var building time.Duration
		reading := read(func(e evidence.Event) {
			began := time.Now()
			builder.Add(e)
			building += time.Since(began)
			facts.Add(e)
		})
		m := builder.Model(verdict.Judge(facts), "")
		began := time.Now()
		if err := m.Cite(evidence.Read(path)); err != nil {
			b.Fatal(err)
		}
		size := &counter{}
		if err := HTML(size, m); err != nil {
			b.Fatal(err)
		}
		html := time.Since(began)
		for _, f := range Formats() {
			if err := f.Write(io.Discard, m); err != nil {
				b.Fatal(err)
			}
		}
		all := time.Since(began)
		b.ReportMetric(reading.Seconds(), "s-reading-judging-building")
		b.ReportMetric((building + html).Seconds(), "s-of-the-report")
		b.ReportMetric((building + all).Seconds(), "s-of-all-formats")
		b.ReportMetric(float64(size.n)/1e6, "MB-page")
		b.ReportMetric(peak(b), "MB-peak")
	}
}

// peak is the most memory that the process had resident, in MB.
func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("the most memory of a process is read from /proc: ", err)
	}
	kb, _ := strconv.ParseFloat(string(regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(status)[1]), 64)
	return kb / 1024
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

var _ io.Writer = (*counter)(nil)
