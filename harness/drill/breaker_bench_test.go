package drill_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/observe"
	"backout/harness/service"
	"backout/harness/traffic"
)

// One failure in a hundred is usual, and in one second of ten three times as many. Five times what that comes to is worse.
const (
	usualFailures = 0.01
	noise         = 3
	fiveTimes     = 5 * usualFailures * (9 + noise) / 10
	perSecond     = 60
	patience      = 5 * time.Minute
)

// noisy is a service that fails at random, watched by a breaker of the usual rules.
type noisy struct {
	share atomic.Int64 // of a million
	words chan evidence.Breaker
	first chan evidence.Offset // of the first failure after worse
	worse atomic.Bool
	close func()
	log   *evidence.Log
}

func startNoisy(b *testing.B, seed uint64) *noisy {
	b.Helper()
	n := &noisy{words: make(chan evidence.Breaker, 100), first: make(chan evidence.Offset, 1)}
	n.share.Store(usualFailures * 1e6)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p := float64(n.share.Load()) / 1e6
		if p < fiveTimes && time.Now().Unix()%10 == 0 {
			p *= noise
		}
		mu.Lock()
		fails := random.Float64() < p
		mu.Unlock()
		if fails {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	log, err := evidence.Create(filepath.Join(b.TempDir(), evidence.File), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	n.log = log
	one := &service.Service{Name: "web", Header: "X-Release", Journeys: []service.Journey{{Name: "order", Weight: 1, Steps: []service.Request{{
		Method: http.MethodGet, Path: "/", Expect: http.StatusOK}}}},
		Breaker: &service.Breaker{Times: 5, Share: 0.01, Failures: 20, Within: 10 * time.Second, Readings: 2, Off: 30 * time.Second, Closes: 30 * time.Second}}
	watching := observe.Start(context.Background(), observe.Config{Log: log, Service: one,
		Instances: func() []service.Instance { return nil }, Nodes: func() []service.Node { return nil }})
	log.Tap(func(e evidence.Event) {
		switch {
		case e.Journey != nil:
			watching.Journey(*e.Journey, e.T)
			if n.worse.Load() && e.Journey.Outcome != evidence.OK {
				select {
				case n.first <- e.T:
				default:
				}
			}
		case e.Breaker != nil:
			n.words <- *e.Breaker
		}
	})
	load, err := traffic.New(traffic.Config{Log: log, Targets: []traffic.Target{{Service: one, URL: server.URL}}, Rate: perSecond, Users: 50, Seed: int64(seed)})
	if err != nil {
		b.Fatal(err)
	}
	load.Start(context.Background())
	from := log.Now()
	// The length of the baseline. In a quarter of a minute there are eleven failures, more or less three: five times that is anything.
	time.Sleep(time.Minute)
	watching.Baseline(from, log.Now())
	if e := <-n.words; e.Event != evidence.BreakerArmed {
		b.Fatalf("expected it to be armed, found %+v", e)
	}
	n.close = func() {
		if err := load.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		if err := watching.Stop(); err != nil {
			b.Error(err)
		}
		server.Close()
		_, _ = log.Close()
	}
	return n
}

// BenchmarkBreaker measures how long after the first bad answer the breaker trips when five times as many fail, twenty times, and
// whether it trips in a quarter of an hour of healthy noisy traffic.
func BenchmarkBreaker(b *testing.B) {
	var all sync.WaitGroup
	all.Go(func() {
		n := startNoisy(b, 1000)
		defer n.close()
		quiet := 15 * time.Minute
		select {
		case e := <-n.words:
			b.Errorf("noise tripped it: %+v", e)
		case <-time.After(quiet): // the length of the measurement
			b.Logf("healthy noisy traffic, %d/s, for %s: it stayed closed", perSecond, quiet)
		}
	})
	var mu sync.Mutex
	var took []float64
	seeds := make(chan uint64)
	for range 4 {
		all.Go(func() {
			for seed := range seeds {
				n := startNoisy(b, seed)
				n.worse.Store(true)
				n.share.Store(fiveTimes * 1e6)
				first := <-n.first
				select {
				case e := <-n.words:
					if e.Event != evidence.BreakerTripped {
						b.Errorf("expected it to trip, found %+v", e)
					}
				case <-time.After(patience):
					b.Errorf("it did not trip within %s", patience)
				}
				at := n.log.Now()
				n.close()
				mu.Lock()
				took = append(took, float64(at-first))
				mu.Unlock()
			}
		})
	}
	for seed := range uint64(20) {
		seeds <- seed
	}
	close(seeds)
	all.Wait()
	slices.Sort(took)
	b.Logf("five times the usual failures (%.1f %% to %.0f %%), %d/s, %d times: tripped after %.1f s (%.1f to %.1f)", 20*fiveTimes, 100*fiveTimes, perSecond,
		len(took), took[len(took)/2], took[0], took[len(took)-1])
}
