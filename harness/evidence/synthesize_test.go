package evidence

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func synthetic(t testing.TB, s Synthetic) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), File)
	l, err := Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	Synthesize(l, s)
	closeLog(t, l)
	return path
}

// BenchmarkRead reads an hour of evidence at 200 journeys a second: its size, and the time and memory of reading it.
func BenchmarkRead(b *testing.B) {
	path := synthetic(b, Synthetic{Hours: 1, Rate: 200, Seed: 7})
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	events := 0
	var peak uint64
	for b.Loop() {
		events = 0
		for _, err := range Read(path) {
			if err != nil {
				b.Fatal(err)
			}
			if events++; events%100_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse+m.StackInuse)
			}
		}
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-on-disk")
	b.ReportMetric(float64(peak)/1e6, "MB-heap")
	b.ReportMetric(float64(events), "events")
}

// BenchmarkEncodingJSON decodes the same lines with encoding/json, and BenchmarkDecodeLine with what Read uses.
func BenchmarkEncodingJSON(b *testing.B) { benchmarkLines(b, false) }
func BenchmarkDecodeLine(b *testing.B)   { benchmarkLines(b, true) }

func BenchmarkPut(b *testing.B) {
	l, _ := create(b)
	j := &Journey{Name: "checkout", User: 7, At: 1.5, MS: 7.123456, Outcome: OK, Served: []Serve{"shop-1@v1", "shop-2@v1"},
		Trace: "4bf92f3577b34da6a3ce929d0e0e4736"}
	b.ReportAllocs()
	for b.Loop() {
		l.Put(j)
	}
	b.StopTimer()
	closeLog(b, l)
}
