// Package links puts a connection between a service and its database through a proxy of our own, so that a drill can slow
// it down or cut it.
package links

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"backout/harness/fault"
	"backout/harness/service"
)

// Set is some links, by name. Its methods are safe for concurrent use.
type Set struct {
	server *toxiproxy.ApiServer // which nobody can ask anything: the proxies want one

	mu     sync.Mutex
	links  map[string]*link
	closed bool
}

type link struct {
	proxy *toxiproxy.Proxy
	slow  bool
}

// New is a set without a link.
func New() *Set {
	return &Set{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), links: map[string]*link{}}
}

// Open begins to hand on what comes to one address to another.
func (s *Set) Open(name, listen, upstream string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("open the link %s: the links are closed", name)
	case s.links[name] != nil:
		return fmt.Errorf("open the link %s: there is one of this name", name)
	}
	p := toxiproxy.NewProxy(s.server, name, listen, upstream)
	if err := p.Start(); err != nil {
		return fmt.Errorf("open the link %s from %s to %s: %w", name, listen, upstream, err)
	}
	s.links[name] = &link{proxy: p}
	return nil
}

const slowness = "slow"

// Set changes what a link is like, also for the connections that are open on it.
func (s *Set) Set(ctx context.Context, name string, to fault.LinkState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[name]
	if l == nil {
		return fmt.Errorf("there is no link %s", name)
	}
	if l.slow {
		if err := l.proxy.Toxics.RemoveToxic(ctx, slowness); err != nil {
			return fmt.Errorf("make the link %s as fast as before: %w", name, err)
		}
		l.slow = false
	}
	if to.Slow > 0 {
		toxic := fmt.Sprintf(`{"name": %q, "type": "latency", "stream": "downstream", "attributes": {"latency": %d}}`, slowness, to.Slow.Milliseconds())
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("slow the link %s down: %w", name, err)
		}
		l.slow = true
	}
	if to.Dropped {
		l.proxy.Stop()
		return nil
	}
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("open the link %s again: %w", name, err)
	}
	return nil
}

// Measure asks a PostgreSQL server through the link whether it speaks TLS, which every one answers with a byte before
// anybody signs in. It says how long that took, and whether there was an answer at all.
func (s *Set) Measure(ctx context.Context, name string) (answer time.Duration, open bool, err error) {
	s.mu.Lock()
	l := s.links[name]
	s.mu.Unlock()
	if l == nil {
		return 0, false, fmt.Errorf("there is no link %s", name)
	}
	conn, err := service.DialHere(ctx, "tcp", reachable(l.proxy.Listen))
	if err != nil {
		return 0, false, ctx.Err() // refused is an observation; a time that is over is none
	}
	defer conn.Close()
	if until, limited := ctx.Deadline(); limited {
		if err := conn.SetDeadline(until); err != nil {
			return 0, false, err
		}
	}
	begun := time.Now()
	// SSLRequest. Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return 0, false, ctx.Err()
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0, false, ctx.Err()
	}
	return time.Since(begun), true, nil
}

// reachable is an address to connect to: one that listens everywhere is reached on this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// Close cuts all links. It may be called again.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.links {
		l.proxy.Stop()
	}
	return nil
}
