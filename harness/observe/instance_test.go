package observe

import (
	"errors"
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

// Instances come and go as pods do: one that appears is observed within a beat, and one that is gone leaves no gap behind,
// neither when it answered nor when it did not answer any more.
func TestInstancesThatComeAndGoLeaveNoGap(t *testing.T) {
	one, two := newFake(t), newFake(t)
	var now atomic.Pointer[[]service.Instance]
	first := service.Instance{Name: "shop-7d9f-aaa", Service: "shop", URL: one.URL}
	second := service.Instance{Name: "shop-5c4b-bbb", Service: "shop", URL: two.URL}
	now.Store(&[]service.Instance{first})
	s := record(t)
	observe(t, Config{Log: s.log, Interval: 10 * time.Millisecond, Beat: 200 * time.Millisecond,
		Service:   &service.Service{Name: "shop", Ready: "/readyz", Header: "X-Release"},
		Instances: func() []service.Instance { return *now.Load() }})
	up := func(i *evidence.Instance) bool { return i.Up && i.Ready }
	s.await(t, "the first", 0, instance(first.Name, up))
	now.Store(&[]service.Instance{first, second})
	s.await(t, "the second", 0, instance(second.Name, up))
	now.Store(&[]service.Instance{first})
	one.hang.Store(true)
	s.await(t, "the first hangs", 0, instance(first.Name, func(i *evidence.Instance) bool { return !i.Up }))
	now.Store(&[]service.Instance{})
	one.hang.Store(false)
	mark := s.last()
	now.Store(&[]service.Instance{second})
	s.await(t, "the second comes again", mark, instance(second.Name, up))
	if gaps := s.unforced(""); len(gaps) > 0 {
		t.Errorf("gap %+v: an instance that is there no more is not unobserved", *gaps[0].Gap)
	}
}

// When the way to an instance is cut nobody knows what it is: that is a gap, and neither "down" nor what it was before.
func TestAnInstanceThatNobodyCanAskIsAGap(t *testing.T) {
	one := newFake(t)
	cut := atomic.Bool{}
	s := record(t)
	observe(t, Config{Log: s.log, Interval: 10 * time.Millisecond, Beat: 200 * time.Millisecond,
		Service: &service.Service{Name: "shop", Ready: "/readyz", Header: "X-Release"},
		Instances: func() []service.Instance {
			return []service.Instance{{Name: "shop-7d9f-aaa", Service: "shop", URL: one.URL, Blind: func() error {
				if cut.Load() {
					return errors.New("the API server does not answer")
				}
				return nil
			}}}
		}})
	any := instance("shop-7d9f-aaa", func(*evidence.Instance) bool { return true })
	s.await(t, "it is asked", 0, any)
	cut.Store(true)
	one.release.Store("v2") // an answer that comes all the same is not believed
	until(t, "no reading for two beats", func() bool {
		all := s.events(0, any)
		return s.log.Now()-all[len(all)-1].T > 0.4
	})
	if gaps := s.gaps(""); len(gaps) > 0 {
		t.Fatalf("gap %+v: it is still open", *gaps[0].Gap)
	}
	mark := s.last()
	cut.Store(false)
	s.await(t, "it is asked again", mark, instance("shop-7d9f-aaa", func(i *evidence.Instance) bool { return i.Release == "v2" }))
	gap := s.await(t, "the gap", mark, func(e evidence.Event) bool { return e.Gap != nil }).Gap
	if gap.Of != "instance shop-7d9f-aaa" || gap.Why != "the API server does not answer" || gap.To-gap.From < 0.3 { // it ends with the last ask that was blind, which may be some milliseconds short of two beats
		t.Errorf("found %+v", *gap)
	}
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
