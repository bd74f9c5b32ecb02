package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"backout/harness/service"
)

// What the harness itself asks a stub; a stub of a service answers nothing below it.
const (
	stubCount     = "/-/count"     // ?route=POST+/charges&key=K: {"count": n}
	stubUnmatched = "/-/unmatched" // {"count": n, "answered": n, "requests": ["GET /x"]}
)

const (
	stubBody      = 1 << 20 // of a request
	stubUnmatches = 20      // requests that it lists
)

// Stub stands for something that a service calls.
type Stub struct {
	routes []service.Route
	bodies [][]byte
	listen net.Listener
	server *http.Server
	served chan error

	mu        sync.Mutex
	counts    map[[2]string]int // of route and key
	answered  int
	unmatched int
	strays    []string
}

// ServeStub listens on host:port and answers as a stub of service.yaml says.
func ServeStub(s service.Stub, listen string) (*Stub, error) {
	b := &Stub{routes: s.Routes, counts: map[[2]string]int{}, served: make(chan error, 1)}
	for _, r := range s.Routes {
		var body []byte
		if r.Body != nil {
			var err error
			if body, err = json.Marshal(r.Body); err != nil {
				return nil, fmt.Errorf("%s: body: %w", r.Name(), err)
			}
		}
		b.bodies = append(b.bodies, body)
	}
	var err error
	if b.listen, err = net.Listen("tcp", listen); err != nil {
		return nil, err
	}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}
	go func() { b.served <- b.server.Serve(b.listen) }()
	return b, nil
}

// URL is where it is called.
func (b *Stub) URL() string { return "http://" + b.listen.Addr().String() }

// Close ends it. It may be called again.
func (b *Stub) Close() error {
	err := b.server.Close()
	if served := <-b.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	b.served <- http.ErrServerClosed // it may be closed again
	return err
}

func (b *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case stubCount:
		b.mu.Lock()
		n := b.counts[[2]string{r.URL.Query().Get("route"), r.URL.Query().Get("key")}]
		b.mu.Unlock()
		reply(w, http.StatusOK, []byte(`{"count":`+strconv.Itoa(n)+`}`))
		return
	case stubUnmatched:
		b.mu.Lock()
		text, err := json.Marshal(map[string]any{"count": b.unmatched, "answered": b.answered, "requests": b.strays})
		b.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusOK, text)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, stubBody))
	if err != nil {
		return // whoever asked has gone
	}
	for i, route := range b.routes {
		key, fits := match(route.Path, r.URL.EscapedPath())
		if !fits || route.Method != r.Method {
			continue
		}
		switch {
		case strings.HasPrefix(route.Key, "$."):
			key = gjson.GetBytes(body, strings.TrimPrefix(route.Key, "$.")).String()
		case route.Key != "":
			key = r.Header.Get(route.Key)
		}
		b.mu.Lock()
		b.answered++
		b.counts[[2]string{route.Name(), key}]++
		b.mu.Unlock()
		if route.Latency > 0 {
			timer := time.NewTimer(route.Latency)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		reply(w, route.Status, b.bodies[i])
		return
	}
	b.mu.Lock()
	b.unmatched++
	if len(b.strays) < stubUnmatches {
		b.strays = append(b.strays, r.Method+" "+r.URL.EscapedPath())
	}
	b.mu.Unlock()
	http.Error(w, "the stub has no route for "+r.Method+" "+r.URL.EscapedPath(), http.StatusNotImplemented)
}

func reply(w http.ResponseWriter, status int, body []byte) {
	if body != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever asked may have gone
}

// match says whether a path is of a form with {names}, and what stands in the place of {key}.
func match(form, path string) (key string, fits bool) {
	want, have := strings.Split(form, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return "", false
	}
	for i, part := range want {
		named := strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}")
		if !named && part != have[i] || named && have[i] == "" {
			return "", false
		}
		if part == "{key}" {
			var err error
			if key, err = url.PathUnescape(have[i]); err != nil {
				return "", false
			}
		}
	}
	return key, true
}
