package live

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/service"
	"backout/harness/traffic"
)

const (
	tenViewers   = 10
	rounds       = 15
	stretch      = 4 * time.Second // of one measurement
	arrivals     = 200             // a second
	behind       = 10 * time.Minute
	resolved     = 1.1                  // what ten viewers may cost; where nobody differs more from nobody, nothing can be said
	viewersOf    = "BACKOUT_VIEWERS_OF" // of a process that is nothing but viewers: the page that they look at
	viewersReady = "looking"
)

func TestMain(m *testing.M) {
	if page := os.Getenv(viewersOf); page != "" {
		lookAt(page)
		return
	}
	os.Exit(m.Run())
}

// lookAt is ten people who look at a page, and take what they are sent, until their process is ended.
func lookAt(page string) {
	var ready, all sync.WaitGroup
	ready.Add(tenViewers)
	for range tenViewers {
		all.Go(func() {
			r, err := http.Get(page + "events?since=0")
			ready.Done()
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
		})
	}
	ready.Wait()
	fmt.Println(viewersReady)
	all.Wait()
}

// BenchmarkTenViewers measures how late journeys begin, at the 99th percentile, while ten people look at the live page of a drill
// that has run for ten minutes, against nobody: alternated, and nobody against nobody for the spread. The viewers are a process of
// their own on the same machine.
func BenchmarkTenViewers(b *testing.B) {
	was := runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // as the command does
	defer runtime.GOMAXPROCS(was)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer service.Close()
	log, page, _ := busyPage(b)
	for b.Loop() {
		var none, ten, ratios, spread []float64
		for range rounds {
			first := lateness(b, log, service.URL)
			leave := tenLook(b, page)
			with := lateness(b, log, service.URL)
			leave()
			second := lateness(b, log, service.URL)
			none, ten = append(none, first, second), append(ten, with)
			ratios, spread = append(ratios, with/((first+second)/2)), append(spread, second/first)
		}
		tell(b, none, "µs-p99-nobody")
		tell(b, ten, "µs-p99-ten")
		tell(b, ratios, "ten/nobody")
		tell(b, spread, "nobody/nobody")
		b.ReportMetric(0, "ns/op")
		if least, most := quartiles(spread); least < 1/resolved || most > resolved {
			b.Logf("not resolvable: nobody against nobody differs by more than %g here and now", resolved)
		}
	}
}

// busyPage is the page of a drill that began ten minutes ago, and the log from which it goes on learning.
func busyPage(b *testing.B) (*evidence.Log, string, *page) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "before-"+evidence.File)
	before, err := evidence.Create(path, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	evidence.Synthesize(before, evidence.Synthetic{Hours: behind.Hours(), Rate: arrivals, Seed: 1})
	if _, err := before.Close(); err != nil {
		b.Fatal(err)
	}
	log, err := evidence.Create(filepath.Join(b.TempDir(), evidence.File), time.Now().Add(-behind))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = log.Close() })
	s, err := Start(Options{Addr: "127.0.0.1:0", Set: b.TempDir(), Alone: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	p, err := newPage("bench", "bench", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for e, err := range evidence.Read(path) {
		if err != nil {
			b.Fatal(err)
		}
		if e.End == nil && (e.Phase == nil || e.Phase.Name != "destroy") {
			p.live.Add(e)
		}
	}
	p.now, p.state, p.do = log.Now, func() drill.State { return drill.State{} }, nil
	log.Tap(p.queue.put)
	s.add(p)
	return log, s.URL() + "bench/", p
}

// tenLook lets ten people look until leave is called.
func tenLook(b *testing.B, page string) (leave func()) {
	b.Helper()
	own, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, own)
	c.Env = append(os.Environ(), viewersOf+"="+page)
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	ready := make([]byte, len(viewersReady))
	if _, err := io.ReadFull(out, ready); err != nil || string(ready) != viewersReady {
		b.Fatalf("the viewers did not come: %q, %v", ready, err)
	}
	return func() { end(); _ = c.Wait() } // it was killed
}

// lateness is how late journeys begin at the 99th percentile, in microseconds.
func lateness(b *testing.B, log *evidence.Log, url string) float64 {
	b.Helper()
	var mu sync.Mutex
	var late []time.Duration
	one := &service.Service{Name: "web", Header: "X-Release", Journeys: []service.Journey{{Name: "order", Weight: 1, Steps: []service.Request{{
		Method: http.MethodPost, Path: "/orders", Body: map[string]any{"key": "{uuid}", "quantity": 1}, Expect: http.StatusNoContent,
		Write: &service.Write{Key: "{uuid}", Payload: map[string]any{"quantity": 1}}}}}}}
	t, err := traffic.New(traffic.Config{Log: log, Targets: []traffic.Target{{Service: one, URL: url}}, Rate: arrivals, Users: 50, Seed: 1,
		Late: func(d time.Duration) { mu.Lock(); late = append(late, d); mu.Unlock() }})
	if err != nil {
		b.Fatal(err)
	}
	t.Start(b.Context())
	time.Sleep(stretch) // the length of a measurement
	if err := t.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	if len(late) < arrivals*int(stretch/time.Second)*9/10 {
		b.Fatalf("%d journeys began only", len(late))
	}
	slices.Sort(late)
	return float64(late[len(late)*99/100].Nanoseconds()) / 1000
}

// tell gives the median of the rounds, and their quartiles.
func tell(b *testing.B, all []float64, unit string) {
	s := slices.Sorted(slices.Values(all))
	least, most := quartiles(all)
	b.Logf("%s: median %.4g, quartiles %.4g to %.4g", unit, s[len(s)/2], least, most)
	b.ReportMetric(s[len(s)/2], unit)
}

func quartiles(all []float64) (lower, upper float64) {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/4], s[len(s)*3/4]
}

// BenchmarkRendering measures what one rendering of that page takes, with its timeline and without.
func BenchmarkRendering(b *testing.B) {
	for name, with := range map[string]bool{"with-timeline": true, "without": false} {
		b.Run(name, func(b *testing.B) {
			_, _, p := busyPage(b)
			for b.Loop() {
				if _, err := p.live.Parts(behind.Seconds(), with); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
