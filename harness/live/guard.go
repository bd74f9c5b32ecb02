package live

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
)

// guard lets in who may see and steer the drills of this machine, and nobody else. A page of another site can make a browser
// send requests here: its Origin tells. It can have its own name lead here (DNS rebinding): then Host tells. It can read no
// answer of ours, so it has not the token that orders carry.
type guard struct {
	port   string
	hosts  map[string]bool // names by which this server may be called, beside addresses
	bound  net.IP          // the address that it listens on
	token  string          // who comes from another machine must have it; empty: nobody can come from another machine
	orders string          // the token that the page gives with an order
}

// newToken is 32 bytes that nobody can guess.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it ends the program
	return base64.RawURLEncoding.EncodeToString(b)
}

// same compares in constant time.
func same(a, b string) bool { return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// listen opens ADDR. Without a host it is 127.0.0.1; an address that other machines reach needs a token, which is made.
func listen(addr string) (net.Listener, *guard, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("serve at %s: expected HOST:PORT, such as 127.0.0.1:0: %w", addr, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, fmt.Errorf("serve at %s: %w", addr, err)
	}
	at := l.Addr().(*net.TCPAddr)
	g := &guard{bound: at.IP, hosts: map[string]bool{"localhost": true}, orders: newToken()}
	_, g.port, _ = net.SplitHostPort(at.String())
	if net.ParseIP(host) == nil {
		g.hosts[strings.ToLower(host)] = true
	}
	if !at.IP.IsLoopback() {
		g.token = newToken()
		if name, err := os.Hostname(); err == nil {
			g.hosts[strings.ToLower(name)] = true
		}
	}
	return l, g, nil
}

// url is where a person finds the page. It holds the token where one is needed: print it, write it into no log.
func (g *guard) url() string {
	host := g.bound.String()
	if g.bound.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	url := "http://" + net.JoinHostPort(host, g.port) + "/"
	if g.token != "" {
		url += "?token=" + g.token
	}
	return url
}

func (g *guard) cookie() string { return "backout-" + g.port } // cookies are shared by the ports of a host

// known says whether this server goes by that name.
func (g *guard) known(hostport string) bool {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port != g.port {
		return false
	}
	if ip := net.ParseIP(host); ip != nil { // an address cannot be rebound
		return !g.bound.IsLoopback() || ip.IsLoopback()
	}
	return g.hosts[strings.ToLower(host)]
}

// stranger says why a request is not let in; nil: it is.
func (g *guard) stranger(r *http.Request) error {
	if !g.known(r.Host) {
		return fmt.Errorf("this server is not called %q", short(r.Host))
	}
	if g.token != "" {
		c, err := r.Cookie(g.cookie())
		if (err != nil || !same(c.Value, g.token)) && !same(r.URL.Query().Get("token"), g.token) {
			return errors.New("the token is missing or wrong: use the address that backout printed")
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return nil
	case http.MethodPost:
	default:
		return fmt.Errorf("%s is not understood here", short(r.Method))
	}
	if origin := r.Header.Get("Origin"); origin != "http://"+r.Host {
		return fmt.Errorf("an order must come from this server's own page, not from %q", short(origin))
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return fmt.Errorf("an order must come from this server's own page, not %s", short(site))
	}
	return nil
}

func short(s string) string { return s[:min(len(s), 100)] }

// policies. The page loads its own script and style, and talks to this server. A report stands alone, whatever is in it: it has
// no origin, so that nothing in it could give an order.
const (
	pagePolicy   = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
	reportPolicy = "sandbox allow-scripts allow-modals allow-downloads; connect-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

// wrap lets strangers in no further than a word why.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // an order's Origin is told, and nothing to others
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if err := g.stranger(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if same(r.URL.Query().Get("token"), g.token) && r.Method == http.MethodGet {
			http.SetCookie(w, &http.Cookie{Name: g.cookie(), Value: g.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
			u := *r.URL
			q := u.Query()
			q.Del("token")
			u.RawQuery = q.Encode()
			http.Redirect(w, r, u.RequestURI(), http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}
