// Package proxy is what stands between users and instances: a service's way in, and stubs of what services call.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// header is how the proxy says which instance an answer is from, its own answers in place of an instance included.
const header = "X-Upstream"

// Proxy is a service's way in: round robin over the instances that are in and healthy. It sends a request once: when an
// instance fails, the user sees it.
type Proxy struct {
	service  string
	listener net.Listener
	server   *http.Server
	ready    string // path of the readiness check
	control  func(network, address string, c syscall.RawConn) error
	every    time.Duration
	stop     context.CancelFunc
	checks   sync.WaitGroup

	mu        sync.Mutex
	upstreams []*upstream
	next      int
}

// upstream is an instance as its proxy sees it.
type upstream struct {
	name      string
	address   string
	forward   *httputil.ReverseProxy
	transport *http.Transport

	// Guarded by Proxy.mu.
	in       bool
	healthy  bool
	why      string // why it is not healthy
	inFlight int
	drained  chan struct{} // closed when inFlight reaches 0; nil when nobody waits
}

// Config of a proxy.
type Config struct {
	Service string
	Ready   string // path of the readiness check
	Listen  string // host:port
	// Control is called before a connection is made, see net.Dialer; service.Here lets none leave this machine.
	Control func(network, address string, c syscall.RawConn) error
}

// New listens. It answers 503 until upstreams are added and healthy.
func New(c Config) (*Proxy, error) {
	service := c.Service
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("start the proxy of %s: %w", service, err)
	}
	p := &Proxy{service: service, listener: l, ready: c.Ready, control: c.Control, every: 100 * time.Millisecond}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: log.New(io.Discard, "", 0)} // users see what fails, and evidence has it from them
	go p.server.Serve(l)
	return p, nil
}

// URL is where users go in.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Watch adds the upstreams and checks their health from now on. They are in.
func (p *Proxy) Watch(names, addresses []string) {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	buffers := &pool{}
	for i, name := range names {
		u := newUpstream(p, name, addresses[i], buffers)
		p.mu.Lock()
		p.upstreams = append(p.upstreams, u)
		p.mu.Unlock()
		p.checks.Go(func() { p.check(ctx, u) })
	}
}

func newUpstream(p *Proxy, name, address string, buffers httputil.BufferPool) *upstream {
	u := &upstream{name: name, address: address, in: true, why: "not checked yet"}
	dialer := &net.Dialer{Timeout: time.Second, Control: p.control}
	u.transport = &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConns:        512,
		MaxIdleConnsPerHost: 512,
		// Shorter than the idle time-outs of servers, so that no request meets a connection that is about to be closed.
		IdleConnTimeout:       4 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		DisableCompression:    true,
		ReadBufferSize:        16 << 10,
		WriteBufferSize:       16 << 10,
	}
	target := &url.URL{Scheme: "http", Host: address}
	u.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			if r.Out.Body == nil {
				// Go's transport sends a request again on another connection when it has no body and the first one
				// turns out to be dead. A body that cannot be rewound turns that off; this one is empty.
				r.Out.Body = empty{}
			}
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header[header] = []string{name}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			status := http.StatusBadGateway
			var timeout net.Error
			switch {
			case isDial(err):
				p.fail(u, err)
				status = http.StatusServiceUnavailable
			case errors.As(err, &timeout) && timeout.Timeout():
				status = http.StatusGatewayTimeout
			}
			w.Header().Set(header, name)
			http.Error(w, fmt.Sprintf("%s did not answer: %v", name, err), status)
		},
		Transport:  u.transport,
		BufferPool: buffers,
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	return u
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// empty is a body without content that is not http.NoBody.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
func (empty) Close() error             { return nil }

// pool of buffers through which bodies are copied.
type pool struct{ p sync.Pool }

func (b *pool) Get() []byte {
	if v, is := b.p.Get().(*[]byte); is {
		return *v
	}
	return make([]byte, 32<<10)
}

func (b *pool) Put(v []byte) { b.p.Put(&v) }

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u := p.take()
	if u == nil {
		http.Error(w, "no instance of "+p.service+" is in and healthy", http.StatusServiceUnavailable)
		return
	}
	defer p.release(u)
	u.forward.ServeHTTP(w, r)
}

// take is the next instance that is in and healthy, or nil.
func (p *Proxy) take() *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.upstreams {
		u := p.upstreams[p.next%len(p.upstreams)]
		p.next++
		if u.in && u.healthy {
			u.inFlight++
			return u
		}
	}
	return nil
}

func (p *Proxy) release(u *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.inFlight--
	if u.inFlight == 0 && u.drained != nil {
		close(u.drained)
		u.drained = nil
	}
}

// fail takes an instance that cannot be reached out of the rotation until its readiness answers again.
func (p *Proxy) fail(u *upstream, err error) { p.set(u, err) }

func (p *Proxy) set(u *upstream, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.healthy, u.why = err == nil, ""
	if err != nil {
		u.why = err.Error()
	}
}

// check asks for readiness again and again.
func (p *Proxy) check(ctx context.Context, u *upstream) {
	client := &http.Client{
		Timeout:       time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second, Control: p.control}).DialContext, IdleConnTimeout: 4 * time.Second},
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		err := AskReady(ctx, client, "http://"+u.address+p.ready)
		if ctx.Err() != nil {
			return
		}
		p.set(u, err)
		p.mu.Lock()
		every := p.every
		if err != nil {
			every /= 5 // an instance that comes back is seen soon
		}
		p.mu.Unlock()
		tick.Reset(every)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// AskReady is nil when a readiness check answers with a success.
func AskReady(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return errors.New("connection refused")
		}
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s: %s", url, resp.Status, strings.TrimSpace(string(text[:min(len(text), 200)])))
	}
	return nil
}

func (p *Proxy) find(name string) (*upstream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, u := range p.upstreams {
		if u.name == name {
			return u, nil
		}
		names = append(names, u.name)
	}
	return nil, fmt.Errorf("no instance of %s is named %q; there are %s", p.service, name, strings.Join(names, ", "))
}

// Out takes an instance out of the rotation and waits until the requests that it has are done.
func (p *Proxy) Out(ctx context.Context, name string) error {
	u, err := p.find(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	u.in = false
	var drained chan struct{}
	if u.inFlight > 0 {
		if u.drained == nil {
			u.drained = make(chan struct{})
		}
		drained = u.drained
	}
	p.mu.Unlock()
	if drained != nil {
		select {
		case <-drained:
		case <-ctx.Done():
			p.mu.Lock()
			n := u.inFlight
			p.mu.Unlock()
			if n > 0 {
				return fmt.Errorf("take %s out: it is out, but %d of its requests are not done yet: %w", u.name, n, ctx.Err())
			}
		}
	}
	u.transport.CloseIdleConnections()
	return nil
}

// In puts an instance back when its readiness answers, asked now.
func (p *Proxy) In(ctx context.Context, name string) error {
	u, err := p.find(name)
	if err != nil {
		return err
	}
	if err := p.wait(ctx, u); err != nil {
		return fmt.Errorf("put %s in: %w", u.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u.in, u.healthy, u.why = true, true, ""
	return nil
}

// Switch sends users to exactly these instances, in one go, once each of them has answered that it is ready. Requests that
// the others have are not cut off; it does not wait for them.
func (p *Proxy) Switch(ctx context.Context, names []string) error {
	chosen := map[*upstream]bool{}
	for _, name := range names {
		u, err := p.find(name)
		if err != nil {
			return err
		}
		if err := p.wait(ctx, u); err != nil {
			return fmt.Errorf("switch to %s: %w", name, err)
		}
		chosen[u] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		if u.in = chosen[u]; u.in {
			u.healthy, u.why = true, ""
		}
	}
	return nil
}

// Wait returns when an instance's readiness answers, asked now.
func (p *Proxy) Wait(ctx context.Context, name string) error {
	u, err := p.find(name)
	if err != nil {
		return err
	}
	return p.wait(ctx, u)
}

func (p *Proxy) wait(ctx context.Context, u *upstream) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second, Control: p.control}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not asked yet")
	for {
		err := AskReady(ctx, client, "http://"+u.address+p.ready)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is ready: %w; last: %w", u.name, ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// WaitAll returns when every upstream is in and healthy.
func (p *Proxy) WaitAll(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var missing []string
		p.mu.Lock()
		for _, u := range p.upstreams {
			if !u.healthy {
				missing = append(missing, u.name+": "+u.why)
			}
		}
		p.mu.Unlock()
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until the instances of %s are ready: %w; last: %s", p.service, context.Cause(ctx), strings.Join(missing, "; "))
		case <-tick.C:
		}
	}
}

// State of an instance in words.
func (p *Proxy) State(name string) string {
	u, err := p.find(name)
	if err != nil {
		return err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	in := map[bool]string{true: "in", false: "out"}[u.in]
	if u.healthy {
		return in + ", ready"
	}
	return in + ", not ready: " + u.why
}

// Close cuts all connections. It may be called again.
func (p *Proxy) Close() error {
	if p.stop != nil {
		p.stop()
	}
	err := p.server.Close()
	p.checks.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		u.transport.CloseIdleConnections()
	}
	if err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the proxy of %s: %w", p.service, err)
	}
	return nil
}
