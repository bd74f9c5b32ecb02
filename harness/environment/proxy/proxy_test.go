package proxy

import (
	"backout/harness/environment"
	"backout/harness/service"
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// backend is an instance as a proxy sees it.
type backend struct {
	server *httptest.Server
	ready  atomic.Bool
	served atomic.Int64
}

func proxied(t *testing.T, handlers ...http.HandlerFunc) (*Proxy, []*backend) {
	t.Helper()
	p, err := New(Config{Service: "app", Ready: "/readyz", Listen: "127.0.0.1:0", Control: service.Here})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	var all []*backend
	var names, addresses []string
	for n, h := range handlers {
		b := &backend{}
		b.ready.Store(true)
		b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" {
				if !b.ready.Load() {
					http.Error(w, "not now", http.StatusServiceUnavailable)
				}
				return
			}
			b.served.Add(1)
			h(w, r)
		}))
		t.Cleanup(b.server.Close)
		all = append(all, b)
		names = append(names, fmt.Sprintf("app-%d", n+1))
		addresses = append(addresses, b.server.Listener.Addr().String())
	}
	p.Watch(names, addresses)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.WaitAll(ctx); err != nil {
		t.Fatal(err)
	}
	return p, all
}

// send is a request on a connection of its own.
func send(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "k")
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func ok(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }

// hangUp accepts the request and cuts the connection.
func hangUp(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestTheProxyNamesTheInstanceAndTakesTurns(t *testing.T) {
	p, all := proxied(t, ok, ok, ok)
	for range 9 {
		resp, text := send(t, "POST", p.URL(), "hello")
		if resp.StatusCode != http.StatusOK || text != "hello" || !strings.HasPrefix(resp.Header.Get(header), "app-") {
			t.Errorf("%s %q from %q", resp.Status, text, resp.Header.Get(header))
		}
	}
	for n, b := range all {
		if b.served.Load() != 3 {
			t.Errorf("instance %d had %d of 9 requests", n+1, b.served.Load())
		}
	}
}

func TestARequestIsSentOnce(t *testing.T) {
	p, all := proxied(t, hangUp, hangUp)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, body := range []string{"", "text"} {
			before := all[0].served.Load() + all[1].served.Load()
			resp, _ := send(t, method, p.URL(), body)
			if resp.StatusCode != http.StatusBadGateway || !strings.HasPrefix(resp.Header.Get(header), "app-") {
				t.Errorf("%s %q: %s from %q", method, body, resp.Status, resp.Header.Get(header))
			}
			if n := all[0].served.Load() + all[1].served.Load() - before; n != 1 {
				t.Errorf("%s %q was sent %d times", method, body, n)
			}
		}
	}
}

// A server that closes a kept connection as soon as the second request is on it: what Go's transport would send again.
func TestARequestOnADeadConnectionIsNotSentAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var seen atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for first := true; ; first = false {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					if req.URL.Path != "/readyz" {
						seen.Add(1)
						if !first {
							return
						}
					}
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	p, err := New(Config{Service: "app", Ready: "/readyz", Listen: "127.0.0.1:0", Control: service.Here})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Watch([]string{"app-1"}, []string{l.Addr().String()})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.WaitAll(ctx); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST"} {
		before := seen.Load()
		first, _ := send(t, method, p.URL(), "")
		second, _ := send(t, method, p.URL(), "")
		if first.StatusCode != http.StatusOK || second.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %s, %s", method, first.Status, second.Status)
		}
		if n := seen.Load() - before; n != 2 {
			t.Errorf("%s: 2 requests were sent %d times", method, n)
		}
	}
}

func TestAnInstanceThatIsNotReadyGetsNothing(t *testing.T) {
	p, all := proxied(t, ok, ok)
	all[0].ready.Store(false)
	all[1].server.Close() // refuses connections
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := environment.Until(ctx, "no instance is healthy", func(context.Context) error {
		if resp, text := send(t, "GET", p.URL(), ""); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get(header) != "" {
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all[0].ready.Store(true)
	err = environment.Until(ctx, "the first is back", func(context.Context) error {
		if resp, text := send(t, "GET", p.URL(), ""); resp.StatusCode != http.StatusOK || resp.Header.Get(header) != "app-1" {
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARefusedConnectionNamesTheInstance(t *testing.T) {
	p, all := proxied(t, ok)
	p.stop() // no more health checks: only the refused connection itself tells
	p.checks.Wait()
	all[0].server.Close()
	resp, _ := send(t, "GET", p.URL(), "")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get(header) != "app-1" {
		t.Errorf("%s from %q", resp.Status, resp.Header.Get(header))
	}
	if state := p.State("app-1"); p.take() != nil || !strings.Contains(state, "not ready") {
		t.Errorf("it is still in the rotation: %s", state)
	}
}

func TestOutWaitsForRequestsInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	p, _ := proxied(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		ok(w, r)
	}, ok)
	p.mu.Lock()
	p.next = 0
	p.mu.Unlock()
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Post(p.URL(), "text/plain", strings.NewReader("slow"))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- resp.Status + " " + string(text)
	}()
	<-entered
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Out(over, "app-1"); err == nil || !strings.Contains(err.Error(), "1 of its requests are not done") {
		t.Errorf("error %v", err)
	}
	out := make(chan error, 1)
	go func() { out <- p.Out(context.Background(), "app-1") }()
	for range 4 {
		if resp, _ := send(t, "GET", p.URL(), ""); resp.Header.Get(header) != "app-2" {
			t.Errorf("an instance that is out answered: %s", resp.Header.Get(header))
		}
	}
	close(leave)
	if err := <-out; err != nil {
		t.Error(err)
	}
	if got := <-answered; got != "200 OK slow" {
		t.Errorf("the request in flight: %s", got)
	}
	if err := p.In(context.Background(), "app-1"); err != nil {
		t.Error(err)
	}
	if got := p.State("app-1"); got != "in, ready" {
		t.Error(got)
	}
}

func TestInWaitsForReadiness(t *testing.T) {
	p, all := proxied(t, ok)
	if err := p.Out(context.Background(), "app-1"); err != nil {
		t.Fatal(err)
	}
	all[0].ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := p.In(ctx, "app-1")
	if err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("error %v", err)
	}
	if got := p.State("app-1"); !strings.HasPrefix(got, "out") {
		t.Error(got)
	}
}

// BenchmarkProxy is a request through the proxy; BenchmarkDirect the same without it.
func BenchmarkProxy(b *testing.B) { forward(b, true) }

func BenchmarkDirect(b *testing.B) { forward(b, false) }

func forward(b *testing.B, through bool) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	p, err := New(Config{Service: "app", Ready: "/readyz", Listen: "127.0.0.1:0", Control: service.Here})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	p.Watch([]string{"app-1"}, []string{server.Listener.Addr().String()})
	if err := p.WaitAll(context.Background()); err != nil {
		b.Fatal(err)
	}
	url := server.URL
	if through {
		url = p.URL()
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Get(url)
			if err != nil {
				b.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNoContent {
				b.Error(resp.Status)
				return
			}
		}
	})
}
