package traffic

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"backout/harness/evidence"
	"backout/harness/service"
)

const (
	alternations = 15
	stretch      = time.Second // of one measurement
	atOnce       = 64          // journeys, and vegeta's workers
)

// asTheCommand gives Go as many processors as the command does, to our side and to the other, and takes them back.
func asTheCommand() (restore func()) {
	was := runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	return func() { runtime.GOMAXPROCS(was) }
}

// BenchmarkTrafficRate compares the rate that journeys of one write reach, with the evidence log and the ledger on and
// one request in five on a new connection, with that of vegeta's attacker and the same request, in alternated runs.
func BenchmarkTrafficRate(b *testing.B) {
	defer asTheCommand()()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	for b.Loop() {
		var ours, theirs, ratios []float64
		for range alternations {
			theirs = append(theirs, vegetaRate(b, server.URL))
			ours = append(ours, ourRate(b, server.URL))
			ratios = append(ratios, ours[len(ours)-1]/theirs[len(theirs)-1])
		}
		report(b, ours, "journeys/s")
		report(b, theirs, "vegeta/s")
		report(b, ratios, "ratio")
	}
}

// BenchmarkTrafficScheduling compares how late journeys begin, at the 99th percentile, with how late an empty loop of
// sleeps wakes at the same instants, in alternated runs.
func BenchmarkTrafficScheduling(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	for _, rate := range []int{200, 4000} {
		b.Run(fmt.Sprintf("%dps", rate), func(b *testing.B) {
			defer asTheCommand()() // here, since b.Run sets the number anew
			for b.Loop() {
				var ours, theirs, ratios []float64
				for range alternations {
					theirs = append(theirs, emptyLateness(rate))
					ours = append(ours, ourLateness(b, server.URL, rate))
					ratios = append(ratios, ours[len(ours)-1]/theirs[len(theirs)-1])
				}
				report(b, ours, "µs-p99")
				report(b, theirs, "µs-p99-empty")
				report(b, ratios, "ratio")
			}
		})
	}
}

// oneWrite is a service whose one journey is one write.
func oneWrite() *service.Service {
	return &service.Service{Name: "bench", Header: "X-Release", Journeys: []service.Journey{{Name: "write", Weight: 1, Steps: []service.Request{{
		Method: http.MethodPost, Path: "/writes", Body: map[string]any{"key": "{uuid}", "quantity": 1}, Expect: http.StatusNoContent,
		Write: &service.Write{Key: "{uuid}", Payload: map[string]any{"quantity": 1}},
	}}}}}
}

func benchTraffic(b *testing.B, url string, rate float64) (*Traffic, *evidence.Log) {
	b.Helper()
	log, err := evidence.Create(filepath.Join(b.TempDir(), fmt.Sprintf("%d-", time.Now().UnixNano())+evidence.File), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	t, err := New(Config{Log: log, Targets: []Target{{Service: oneWrite(), URL: url}}, Rate: rate, Users: 50, InFlight: atOnce, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	return t, log
}

func ourRate(b *testing.B, url string) float64 {
	t, log := benchTraffic(b, url, 0)
	began := time.Now()
	t.Start(b.Context())
	time.Sleep(stretch)
	if err := t.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if _, err := log.Close(); err != nil {
		b.Fatal(err)
	}
	invoked, acked, _, _ := t.Ledger().Count()
	if invoked != acked {
		b.Fatalf("%d of %d writes were acknowledged", acked, invoked)
	}
	return float64(acked) / took.Seconds()
}

func vegetaRate(b *testing.B, url string) float64 {
	attacker := vegeta.NewAttacker(vegeta.Workers(atOnce), vegeta.MaxWorkers(atOnce), vegeta.Timeout(DefaultTimeout), vegeta.KeepAlive(true))
	target := vegeta.NewStaticTargeter(vegeta.Target{
		Method: http.MethodPost, URL: url + "/writes", Body: []byte(`{"key":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","quantity":1}`),
		Header: http.Header{"Content-Type": {"application/json"}},
	})
	began := time.Now()
	n := 0
	for r := range attacker.Attack(target, vegeta.ConstantPacer{}, stretch, "") {
		if r.Error != "" {
			b.Fatal(r.Error)
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds()
}

func ourLateness(b *testing.B, url string, rate int) float64 {
	t, log := benchTraffic(b, url, float64(rate))
	var mu sync.Mutex
	late := make([]time.Duration, 0, rate*int(stretch/time.Second)+rate)
	t.late = func(d time.Duration) {
		mu.Lock()
		late = append(late, d)
		mu.Unlock()
	}
	t.Start(b.Context())
	time.Sleep(stretch)
	if err := t.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	if _, err := log.Close(); err != nil {
		b.Fatal(err)
	}
	return p99(late)
}

func emptyLateness(rate int) float64 {
	late := make([]time.Duration, 0, rate*int(stretch/time.Second)+rate)
	began := time.Now()
	for n := 1; ; n++ {
		at := began.Add(time.Duration(n) * time.Second / time.Duration(rate))
		if at.Sub(began) > stretch {
			return p99(late)
		}
		time.Sleep(time.Until(at))
		late = append(late, time.Since(at))
	}
}

func p99(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)*99/100].Nanoseconds()) / 1000
}

// report gives the median of the runs and their spread, from the lower to the upper quartile.
func report(b *testing.B, runs []float64, unit string) {
	s := slices.Sorted(slices.Values(runs))
	b.Logf("%s: median %.4g, quartiles %.4g to %.4g, all %.4g", unit, s[len(s)/2], s[len(s)/4], s[len(s)*3/4], runs)
	b.ReportMetric(s[len(s)/2], unit)
	b.ReportMetric(0, "ns/op")
}
