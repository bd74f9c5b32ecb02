// Package gateway is the program that stands between the harness and containers that nobody else can reach. It is a
// container itself, on the network on which services and nodes talk and on the one by which they are observed; its ports
// are published on 127.0.0.1. It has the ways in for users, the stubs, and a way to each instance and node alone.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"backout/harness/environment/links"
	"backout/harness/environment/proxy"
	"backout/harness/fault"
	"backout/harness/service"
)

// Config is what it is told when it starts, as JSON in the environment variable Variable.
type Config struct {
	Token   string         // whoever gives orders must know it; secret
	Control int            // the port for orders
	Ways    []Way          // to instances and nodes
	Users   []Users        // ways in
	Stubs   map[int]Stub   // by port
	Links   map[string]Way // from the instances of a service to a node, "SERVICE/NODE", which can be disturbed
}

// Variable holds the configuration.
const Variable = "BACKOUT_GATEWAY"

// Way passes connections on as they are.
type Way struct {
	Port int
	To   string // host:port
}

// Users is the way in to a service.
type Users struct {
	Service   string
	Port      int
	Ready     string
	Names     []string
	Addresses []string
}

// Stub is one stub of a service.
type Stub = service.Stub

// Run is the program. It returns the exit code when it has been told to end.
func Run(stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var c Config
	err := json.Unmarshal([]byte(os.Getenv(Variable)), &c)
	if err == nil {
		err = serve(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return 1
	}
	return 0
}

// gateway is what runs.
type gateway struct {
	config Config
	ways   map[int]*links.Forward  // by port
	users  map[string]*proxy.Proxy // by service
	of     map[string]*proxy.Proxy // by instance
	links  *links.Set
	close  []func() error
}

func serve(ctx context.Context, c Config) (err error) {
	g := &gateway{config: c, ways: map[int]*links.Forward{}, users: map[string]*proxy.Proxy{}, of: map[string]*proxy.Proxy{}}
	defer func() {
		for _, f := range g.close {
			err = errors.Join(err, f())
		}
	}()
	for _, w := range c.Ways {
		f, err := links.NewForward(listen(w.Port), w.To)
		if err != nil {
			return err
		}
		g.close = append(g.close, f.Close)
		g.ways[w.Port] = f
	}
	for port, s := range c.Stubs {
		b, err := proxy.ServeStub(s, listen(port))
		if err != nil {
			return err
		}
		g.close = append(g.close, b.Close)
	}
	for _, u := range c.Users {
		p, err := proxy.New(proxy.Config{Service: u.Service, Ready: u.Ready, Listen: listen(u.Port)})
		if err != nil {
			return err
		}
		g.close = append(g.close, p.Close)
		p.Watch(u.Names, u.Addresses)
		g.users[u.Service] = p
		for _, name := range u.Names {
			g.of[name] = p
		}
	}
	g.links = links.New()
	g.close = append(g.close, g.links.Close)
	for name, w := range c.Links {
		if err := g.links.Open(name, listen(w.Port), w.To); err != nil {
			return err
		}
	}
	return g.control(ctx)
}

func listen(port int) string { return net.JoinHostPort("", strconv.Itoa(port)) }

// An order is a POST of a JSON list of words; the answer's body is what it found, or with status 409 what went wrong.
func (g *gateway) control(ctx context.Context) error {
	server := &http.Server{Addr: listen(g.config.Control), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+g.config.Token {
				http.Error(w, "a token is needed", http.StatusUnauthorized)
				return
			}
			var words []string
			if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&words); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			out, err := g.order(r.Context(), words)
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			_, _ = io.WriteString(w, out) // whoever asked may have gone
		})}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case <-ctx.Done():
		return errors.Join(server.Close())
	case err := <-ended:
		return err
	}
}

func (g *gateway) order(ctx context.Context, words []string) (string, error) {
	if len(words) < 2 {
		return "", fmt.Errorf("an order and a name were expected, found %q", words)
	}
	if out, is, err := g.link(ctx, words); is {
		return out, err
	}
	if words[0] == "ping" {
		return "", nil
	}
	if words[0] == "all" {
		p := g.users[words[1]]
		if p == nil {
			return "", fmt.Errorf("no service is named %q", words[1])
		}
		return "", p.WaitAll(ctx)
	}
	p := g.of[words[1]]
	if p == nil {
		return "", fmt.Errorf("no instance is named %q", words[1])
	}
	switch words[0] {
	case "out":
		return "", p.Out(ctx, words[1])
	case "in":
		return "", p.In(ctx, words[1])
	case "wait":
		return "", p.Wait(ctx, words[1])
	case "switch":
		return "", p.Switch(ctx, words[1:])
	case "state":
		return p.State(words[1]), nil
	}
	return "", fmt.Errorf("no order is named %q", words[0])
}

// Measured is what was seen through a link.
type Measured struct {
	Answer time.Duration
	Open   bool
}

// link carries out an order about a link or a way.
func (g *gateway) link(ctx context.Context, words []string) (out string, is bool, err error) {
	switch {
	case words[0] == "link" && len(words) == 3:
		var to fault.LinkState
		if err := json.Unmarshal([]byte(words[2]), &to); err != nil {
			return "", true, err
		}
		return "", true, g.links.Set(ctx, words[1], to)
	case words[0] == "measure":
		var m Measured
		if m.Answer, m.Open, err = g.links.Measure(ctx, words[1]); err != nil {
			return "", true, err
		}
		text, err := json.Marshal(m)
		return string(text), true, err
	case words[0] == "lead" && len(words) == 3:
		port, err := strconv.Atoi(words[1])
		if err != nil || g.ways[port] == nil {
			return "", true, fmt.Errorf("no way has the port %q", words[1])
		}
		g.ways[port].Lead(words[2])
		return "", true, nil
	}
	return "", false, nil
}

// Remote gives orders to a gateway.
type Remote struct {
	URL   string
	Token string
}

// Order waits until the order is carried out, or the context ends, which takes it back.
func (r Remote) Order(ctx context.Context, words ...string) (string, error) {
	text, err := json.Marshal(words)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, strings.NewReader(string(text)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the gateway: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("ask the gateway: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
