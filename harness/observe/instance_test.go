package observe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// fake is an instance whose answers a test chooses.
type fake struct {
	*httptest.Server
	release atomic.Value
	status  atomic.Int64
	hang    atomic.Bool
	free    chan struct{} // closed: whoever hangs goes on
	freed   sync.Once
}

func newFake(t testing.TB) *fake {
	f := &fake{free: make(chan struct{})}
	f.release.Store("v1")
	f.status.Store(200)
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Error(w, "no such path", http.StatusNotFound)
			return
		}
		if f.hang.Load() {
			select {
			case <-f.free:
			case <-r.Context().Done():
			}
		}
		w.Header().Set("X-Release", f.release.Load().(string))
		w.WriteHeader(int(f.status.Load()))
		fmt.Fprintln(w, "answer")
	}))
	f.Server.Start()
	t.Cleanup(func() {
		f.freed.Do(func() { close(f.free) })
		f.Server.Close()
	})
	return f
}

func TestInstances(t *testing.T) {
	one, two := newFake(t), newFake(t)
	restarts := atomic.Int64{}
	s := record(t)
	observe(t, Config{Log: s.log, Beat: 500 * time.Millisecond,
		Service: &service.Service{Name: "shop", Ready: "/readyz", Header: "X-Release"},
		Instances: func() []service.Instance {
			return []service.Instance{
				{Name: "shop-1", Service: "shop", URL: one.URL, PID: os.Getpid, Restarts: func() int { return int(restarts.Load()) }},
				{Name: "shop-2", Service: "shop", URL: two.URL},
			}
		}})
	v1 := func(i *evidence.Instance) bool { return i.Up && i.Ready && i.Release == "v1" && i.Error == "" }
	s.await(t, "shop-1 with CPU and memory", 0, instance("shop-1", func(i *evidence.Instance) bool {
		return v1(i) && i.PID == os.Getpid() && i.Memory > 1<<20 && i.CPU >= 0
	}))
	s.await(t, "shop-2", 0, instance("shop-2", v1))

	for _, c := range []struct {
		name   string
		change func()
		sees   func(*evidence.Instance) bool
	}{
		{"another release", func() { one.release.Store("v2") }, func(i *evidence.Instance) bool { return i.Ready && i.Release == "v2" }},
		{"not ready", func() { one.status.Store(503) }, func(i *evidence.Instance) bool {
			return i.Up && !i.Ready && i.Release == "v2" && i.Error == "the readiness check answered 503 Service Unavailable"
		}},
		{"ready again", func() { one.status.Store(204) }, func(i *evidence.Instance) bool { return i.Ready && i.Error == "" }},
		{"restarted", func() { restarts.Add(1) }, func(i *evidence.Instance) bool { return i.Restarts == 1 }},
		{"hangs", func() { one.hang.Store(true) }, func(i *evidence.Instance) bool {
			return !i.Up && !i.Ready && i.Release == "" && i.Error == "no answer within 400ms"
		}},
		{"the other one, while the first hangs", func() { two.release.Store("v3") }, nil},
		{"goes on", func() { one.hang.Store(false); one.freed.Do(func() { close(one.free) }) }, func(i *evidence.Instance) bool { return i.Up }},
		{"dies", func() { one.Server.CloseClientConnections(); one.Server.Close() }, func(i *evidence.Instance) bool {
			return !i.Up && i.Error == "dial: connect: connection refused"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := s.last()
			c.change()
			if c.sees != nil {
				s.await(t, c.name, mark, instance("shop-1", c.sees))
				return
			}
			s.await(t, c.name, mark, instance("shop-2", func(i *evidence.Instance) bool { return i.Release == "v3" }))
		})
	}
	if gaps := s.unforced(""); len(gaps) > 0 {
		t.Errorf("gap %+v: an instance that does not answer was observed", *gaps[0].Gap)
	}
}

// An instance that appears later is observed from then on; one that is gone is not, and one that moves is followed.
func TestRoster(t *testing.T) {
	one, two := newFake(t), newFake(t)
	two.release.Store("v2")
	var now atomic.Pointer[[]service.Instance]
	now.Store(&[]service.Instance{{Name: "shop-1", Service: "shop", URL: one.URL}})
	s := record(t)
	observe(t, Config{Log: s.log, Interval: 10 * time.Millisecond, Beat: 100 * time.Millisecond,
		Service:    &service.Service{Name: "other", Ready: "/", Header: "X-Other"},
		Dependants: []*service.Service{{Name: "shop", Ready: "/readyz", Header: "X-Release"}},
		Instances:  func() []service.Instance { return *now.Load() }})
	s.await(t, "shop-1", 0, instance("shop-1", func(i *evidence.Instance) bool { return i.Release == "v1" }))
	now.Store(&[]service.Instance{{Name: "shop-1", Service: "shop", URL: two.URL}, {Name: "shop-2", Service: "shop", URL: one.URL}})
	s.await(t, "shop-1 where it is now", 0, instance("shop-1", func(i *evidence.Instance) bool { return i.Release == "v2" }))
	s.await(t, "shop-2", 0, instance("shop-2", func(i *evidence.Instance) bool { return i.Release == "v1" }))
	now.Store(&[]service.Instance{{Name: "shop-2", Service: "shop", URL: one.URL}})
	until(t, "shop-1 is observed no more", func() bool {
		mark := s.last()
		beats := func(name string) int {
			return len(s.events(mark, instance(name, func(*evidence.Instance) bool { return true })))
		}
		until(t, "three beats of shop-2", func() bool { return beats("shop-2") >= 3 })
		return beats("shop-1") == 0
	})
}

func TestShorten(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"short", "short"},
		{strings.Repeat("a", 20), strings.Repeat("a", 20)},
		{strings.Repeat("a", 21), strings.Repeat("a", 17) + "..."},
		{strings.Repeat("ä", 11), strings.Repeat("ä", 8) + "..."},
	} {
		if got := shorten(c.in, 20); got != c.out {
			t.Errorf("%q: expected %q, found %q", c.in, c.out, got)
		}
	}
}
