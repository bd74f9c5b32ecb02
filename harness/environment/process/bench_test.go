package process

import (
	"context"
	"testing"
	"time"
)

// BenchmarkProvision is a primary with 100,000 orders, both replicas in sync, three instances and a dependant ready;
// the template and the artefacts are warm.
func BenchmarkProvision(b *testing.B) {
	o := options(b)
	need := sample(b, 100_000)
	benchmark(b, func() *machine { return provision(b, o, need) })
}

func benchmark(b *testing.B, provision func() *machine) {
	if err := provision().Destroy(context.Background()); err != nil { // makes the template
		b.Fatal(err)
	}
	var gone time.Duration
	var last []string
	b.ResetTimer()
	for range b.N {
		m := provision()
		b.StopTimer()
		last = m.phases
		begun := time.Now()
		if err := m.Destroy(context.Background()); err != nil {
			b.Fatal(err)
		}
		gone += time.Since(begun)
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/provision")
	b.ReportMetric(gone.Seconds()/float64(b.N), "s/destroy")
	for _, p := range last {
		b.Log(p)
	}
}
