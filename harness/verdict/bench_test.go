package verdict_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// BenchmarkJudgeAnHour reads and judges the evidence of an hour at 200 journeys a second, more than a million events.
func BenchmarkJudgeAnHour(b *testing.B) {
	path := filepath.Join(b.TempDir(), "evidence.ndjson.zst")
	l, err := evidence.Create(path, time.Unix(0, 0))
	if err != nil {
		b.Fatal(err)
	}
	evidence.Synthesize(l, evidence.Synthetic{Hours: 1, Rate: 200, Seed: 7})
	if _, err := l.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		f := verdict.New()
		events, folding := 0, time.Duration(0)
		for e, err := range evidence.Read(path) {
			if err != nil {
				b.Fatal(err)
			}
			t := time.Now()
			f.Add(e)
			folding += time.Since(t)
			events++
		}
		read := time.Since(began)
		v := verdict.Judge(f)
		judged := time.Since(began) - read
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(events), "events")
		b.ReportMetric(float64(info.Size())/(1<<20), "MB-on-disk")
		b.ReportMetric(read.Seconds(), "s-read-and-fold")
		b.ReportMetric(folding.Seconds(), "s-fold")
		b.ReportMetric(judged.Seconds(), "s-judge")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-facts")
		b.ReportMetric(float64(after.Sys)/(1<<20), "MB-from-system")
		if v.Verdict == "" {
			b.Fatal("no verdict")
		}
		runtime.KeepAlive(f)
	}
}
