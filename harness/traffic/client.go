package traffic

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"backout/harness/service"
)

const (
	// idleLimit is how long a connection may rest before it is used again. It is shorter than the idle time-outs of
	// proxies (nginx 75 s, Node 5 s), so that a healthy proxy does not close a connection under a request.
	idleLimit = 2 * time.Second

	// bodyLimit is what is kept of an answer; the rest is read and thrown away.
	bodyLimit = 1 << 20
)

// A client sends requests to one address over connections of its own.
//
// It is not net/http's Transport, because that one sends a request again when an idle connection turns out to be dead:
// every GET, and a POST with an Idempotency-Key, on its own decision. In a drill a request is sent once and a dead
// connection is what the user got. It also costs half as much, having no goroutines per connection.
type client struct {
	addr    string // host:port
	host    string // as in the Host header
	prefix  string // of every path
	header  string // the response header that names the release, canonical; empty: none does
	names   string // the response header that names the instance where no proxy does, canonical; empty: none does
	timeout time.Duration
	dialer  net.Dialer

	mu   sync.Mutex
	idle []*conn // the last one was used last
	all  map[*conn]struct{}
	cut  bool
	done chan struct{} // closed when it is cut
}

// conn is one connection and what it takes to use it again without garbage.
type conn struct {
	net.Conn
	in    *bufio.Reader
	raw   syscall.RawConn
	peek  func(fd uintptr) bool
	alive bool // the answer of peek
	rest  time.Time
}

// answer is what came back. Body is valid until the next request of the same worker.
type answer struct {
	status   int
	serve    serve
	body     []byte // up to bodyLimit of it
	complete bool   // it was read to its end
}

// serve is who answered: the instance by the proxy's word, or its own where there is none; the release by the response's own.
type serve struct{ instance, release string }

var errCut = errors.New("cut off when traffic was stopped")

// newClient is a client of http://host:port/prefix on this machine, where a service answers. nil: nobody says who answers.
func newClient(base string, s *service.Service, timeout time.Duration) (*client, error) {
	header, names := "", ""
	if s != nil {
		header, names = s.Header, s.InstanceHeader
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("address of traffic: %w", err)
	}
	if u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("address of traffic: expected http://127.0.0.1:PORT, found %q", base)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("address of traffic: %q is not on this machine, and traffic goes nowhere else", base)
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "80")
	}
	return &client{
		addr: addr, host: u.Host, prefix: strings.TrimSuffix(u.EscapedPath(), "/"),
		header: http.CanonicalHeaderKey(header), names: http.CanonicalHeaderKey(names), timeout: timeout,
		dialer: net.Dialer{KeepAlive: -1, Timeout: timeout, Control: service.Here},
		all:    map[*conn]struct{}{},
		done:   make(chan struct{}),
	}, nil
}

// do sends a request once and reads the whole answer into buf, grown as needed. With fresh it uses a connection of its
// own; the request then says "Connection: close".
func (c *client) do(req *http.Request, request []byte, fresh bool, buf []byte) (answer, error) {
	deadline := time.Now().Add(c.timeout)
	k, err := c.get(deadline, fresh)
	if err != nil {
		return answer{body: buf[:0]}, c.explain(err)
	}
	a, again, err := k.exchange(req, request, buf, c)
	if err != nil || !again || fresh {
		c.drop(k)
	} else {
		c.put(k)
	}
	if err != nil {
		return a, c.explain(err)
	}
	return a, nil
}

// get gives a connection whose deadline is set: one that rested shortly and is not closed, or a new one.
func (c *client) get(deadline time.Time, fresh bool) (*conn, error) {
	for !fresh {
		c.mu.Lock()
		if len(c.idle) == 0 {
			c.mu.Unlock()
			break
		}
		k := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		c.mu.Unlock()
		if time.Since(k.rest) < idleLimit && k.SetDeadline(deadline) == nil && k.usable() && !c.isCut() {
			return k, nil
		}
		c.drop(k)
	}
	d, err := c.dialer.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: d, in: bufio.NewReaderSize(d, 4096)}
	if s, ok := d.(syscall.Conn); ok {
		if k.raw, err = s.SyscallConn(); err != nil {
			d.Close()
			return nil, err
		}
		k.peek = func(fd uintptr) bool {
			var b [1]byte
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			k.alive = err == syscall.EAGAIN // neither closed nor with bytes that nobody asked for
			return true
		}
	}
	if err := k.SetDeadline(deadline); err != nil {
		d.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		d.Close()
		return nil, errCut
	}
	c.all[k] = struct{}{}
	return k, nil
}

// usable says whether the other end still holds an idle connection.
func (k *conn) usable() bool {
	k.alive = false
	return k.raw != nil && k.raw.Read(k.peek) == nil && k.alive
}

// exchange sends the request and reads the answer. again says whether the connection can be used again.
func (k *conn) exchange(req *http.Request, request, buf []byte, c *client) (a answer, again bool, err error) {
	a.body = buf[:0]
	if _, err := k.Write(request); err != nil {
		return a, false, err
	}
	var resp *http.Response
	for {
		if resp, err = http.ReadResponse(k.in, req); err != nil {
			return a, false, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	a.status = resp.StatusCode
	a.serve.instance = resp.Header.Get("X-Upstream")
	if a.serve.instance == "" && c.names != "" {
		a.serve.instance = resp.Header.Get(c.names)
	}
	if c.header != "" {
		a.serve.release = resp.Header.Get(c.header)
	}
	if resp.Body != http.NoBody {
		if a.body, err = readBody(a.body, resp.Body); err != nil {
			return a, false, fmt.Errorf("read the answer's body: %w", err)
		}
	}
	a.complete = true
	return a, !resp.Close && a.status != http.StatusSwitchingProtocols && k.in.Buffered() == 0, nil
}

// readBody reads to the end and keeps up to bodyLimit.
func readBody(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= bodyLimit {
				_, err := io.Copy(io.Discard, r)
				return buf, err
			}
			buf = append(buf, make([]byte, max(512, cap(buf)))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

func (c *client) put(k *conn) {
	k.rest = time.Now()
	c.mu.Lock()
	if !c.cut {
		c.idle = append(c.idle, k)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.drop(k)
}

func (c *client) drop(k *conn) {
	k.Close()
	c.mu.Lock()
	delete(c.all, k)
	c.mu.Unlock()
}

func (c *client) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// close cuts off what is in flight and closes every connection. Later requests end with errCut.
func (c *client) close() {
	c.mu.Lock()
	if !c.cut {
		close(c.done)
	}
	c.cut = true
	c.idle = nil
	var open []*conn
	for k := range c.all {
		open = append(open, k)
	}
	c.mu.Unlock()
	for _, k := range open {
		k.Close()
	}
}

// cutBy closes the client when the context ends; the function that it returns closes it in any case.
func (c *client) cutBy(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, c.close)
	return func() { stop(); c.close() }
}

// pause waits. It says false when the client is closed meanwhile.
func (c *client) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// explain says in a user's words why there was no answer.
func (c *client) explain(err error) error {
	switch {
	case c.isCut():
		return errCut
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer within %s", c.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before the whole answer")
	}
	return err
}

// base is the address that the client was made with.
func (c *client) base() string { return "http://" + c.host + c.prefix }
