package traffic

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"backout/harness/service"
)

// scripted is a server that answers the first request of each connection and does with the next ones what then says.
type scripted struct {
	net.Listener
	arrived chan string   // request lines
	closed  chan struct{} // a connection was closed by then
}

func newScripted(t *testing.T, then func(c net.Conn, in *bufio.Reader, s *scripted)) *scripted {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: l, arrived: make(chan string, 16), closed: make(chan struct{}, 16)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if s.take(in) {
					c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
					then(c, in, s)
				}
			}()
		}
	}()
	return s
}

func (s *scripted) take(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	r.Body.Close()
	s.arrived <- r.Method + " " + r.URL.Path
	return true
}

func testClient(t *testing.T, base string, timeout time.Duration) *client {
	t.Helper()
	c, err := newClient(base, &service.Service{Header: "X-Release"}, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func request(method string) (*http.Request, []byte) {
	return &http.Request{Method: method}, []byte(method + " /orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: 1\r\nContent-Length: 0\r\n\r\n")
}

// A request that dies on a kept connection is a failure: it is not sent again, whatever its method and headers.
func TestRequestIsNeverSentAgain(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		s := newScripted(t, func(c net.Conn, in *bufio.Reader, s *scripted) { s.take(in) }) // and closes
		cl := testClient(t, "http://"+s.Addr().String(), DefaultTimeout)
		req, text := request(method)
		if a, err := cl.do(req, text, false, nil); err != nil || a.status != 200 || string(a.body) != "ok" {
			t.Fatalf("%s: first answer: %v %q %v", method, a.status, a.body, err)
		}
		if a, err := cl.do(req, text, false, nil); err == nil {
			t.Errorf("%s: on a connection that died: found %d, expected an error", method, a.status)
		}
		if n := len(s.arrived); n != 2 {
			t.Errorf("%s: two requests arrived as %d", method, n)
		}
	}
}

// A connection that a server closed while it was idle is no failure: the next request goes over a new one.
func TestClosedIdleConnectionIsNotUsed(t *testing.T) {
	s := newScripted(t, func(c net.Conn, in *bufio.Reader, s *scripted) { c.Close(); s.closed <- struct{}{} })
	cl := testClient(t, "http://"+s.Addr().String(), DefaultTimeout)
	req, text := request(http.MethodPost)
	for n := range 3 {
		if a, err := cl.do(req, text, false, nil); err != nil || a.status != 200 {
			t.Fatalf("request %d: found %d, %v", n+1, a.status, err)
		}
		<-s.closed
	}
	if n := len(s.arrived); n != 3 {
		t.Errorf("three requests arrived as %d", n)
	}
}

func TestAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Upstream", "shop-2")
		w.Header().Set("X-Release", "v1")
		switch r.URL.Path {
		case "/chunked":
			w.Write([]byte("one "))
			w.(http.Flusher).Flush()
			w.Write([]byte("two"))
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		case "/elsewhere":
			http.Redirect(w, r, "/chunked", http.StatusFound)
		case "/long":
			w.Write([]byte(strings.Repeat("x", bodyLimit+100_000)))
		}
	}))
	defer server.Close()
	cl := testClient(t, server.URL, DefaultTimeout)
	for path, want := range map[string]struct {
		status, length int
	}{"/chunked": {200, 7}, "/hints": {204, 0}, "/elsewhere": {302, -1}, "/long": {200, -1}, "/plain": {200, 0}} {
		for _, fresh := range []bool{false, true} {
			text := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
			if fresh {
				text += "Connection: close\r\n"
			}
			a, err := cl.do(&http.Request{Method: http.MethodGet}, []byte(text+"\r\n"), fresh, nil)
			if err != nil || a.status != want.status || !a.complete || a.serve != (serve{"shop-2", "v1"}) {
				t.Errorf("%s: found %+v, %v", path, a, err)
			}
			if want.length >= 0 && len(a.body) != want.length {
				t.Errorf("%s: found a body of %d bytes, expected %d", path, len(a.body), want.length)
			}
		}
	}
	if n := len(cl.all); n != 1 {
		t.Errorf("%d connections are open after requests one by one, expected 1", n)
	}
}

// Where a proxy says who answers, its word counts; elsewhere the instance's own does, if service.yaml names its header.
func TestWhoAnswered(t *testing.T) {
	for _, c := range []struct {
		name, header, upstream, own string
		want                        serve
	}{
		{"a proxy says it", "X-Instance", "shop-2", "shop-7d9f-aaa", serve{"shop-2", "v1"}},
		{"the instance says it", "X-Instance", "", "shop-7d9f-aaa", serve{"shop-7d9f-aaa", "v1"}},
		{"nobody asked it to", "", "", "shop-7d9f-aaa", serve{"", "v1"}},
		{"nobody says it", "X-Instance", "", "", serve{"", "v1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Release", "v1")
				for name, value := range map[string]string{"X-Upstream": c.upstream, "X-Instance": c.own} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
			}))
			defer server.Close()
			cl, err := newClient(server.URL, &service.Service{Header: "X-Release", InstanceHeader: c.header}, DefaultTimeout)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.close()
			req, text := request(http.MethodGet)
			if a, err := cl.do(req, text, false, nil); err != nil || a.serve != c.want {
				t.Errorf("found %+v and %v, expected %+v", a.serve, err, c.want)
			}
		})
	}
}

func TestClientStaysOnThisMachine(t *testing.T) {
	for _, base := range []string{"http://example.com", "http://192.0.2.1:80", "https://127.0.0.1", "127.0.0.1:80", "http://0.0.0.0:80"} {
		if _, err := newClient(base, nil, time.Second); err == nil {
			t.Errorf("%s: expected an error", base)
		}
	}
	if err := service.Here("tcp", "192.0.2.1:80", nil); err == nil {
		t.Error("a name that leads elsewhere: expected an error")
	}
}

func TestClosedClientCutsOffAndStaysClosed(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-release }))
	defer server.Close()
	defer close(release)
	cl := testClient(t, server.URL, time.Minute)
	ended := make(chan error)
	req, text := request(http.MethodPost)
	go func() { _, err := cl.do(req, text, false, nil); ended <- err }()
	<-asked
	cl.close()
	if err := <-ended; !errors.Is(err, errCut) {
		t.Errorf("in flight: found %v", err)
	}
	if _, err := cl.do(req, text, false, nil); !errors.Is(err, errCut) {
		t.Errorf("afterwards: found %v", err)
	}
}
