// Package control is the socket on which the scripts of rollouts and plans give orders to the supervisor and the proxies of
// a run, and the two commands, supervisor and proxy, by which they do.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A request on the control socket is a line, a JSON list of words; the answer is one line, a JSON object.
type answer struct {
	Out string `json:"out,omitempty"`
	Err string `json:"err,omitempty"`
}

// Client is the program behind the two commands:
//
//	SOCKET restart NAME [--within 30s]     stop an instance and start it anew
//	SOCKET link NAME                       print the path of its link (processes)
//	SOCKET run NAME IMAGE [--within 30s]   put a container of another image in the place of an instance's (containers)
//	SOCKET image NAME                      print the image that it runs (containers)
//	SOCKET status                          a line an instance
//	SOCKET out NAME [--within 30s]         take it out of its proxy and wait until its requests are done
//	SOCKET in NAME [--ready-within 30s]    wait until it is ready and put it back
//	SOCKET wait NAME [--ready-within 30s]  wait until it is ready
//	SOCKET switch NAME...                  send users to exactly these instances of their service, in one go
//
// It returns the exit code; what went wrong is a sentence on stderr.
func Client(args []string, stdout, stderr io.Writer) int {
	if len(args) < 2 {
		fmt.Fprintln(stderr, "expected: SOCKET COMMAND [NAME...]; see --help of the script that calls it")
		return 1
	}
	a, err := ask(args[0], args[1:])
	if err != nil {
		fmt.Fprintf(stderr, "ask the supervisor at %s: %v\n", args[0], err)
		return 1
	}
	fmt.Fprint(stdout, a.Out)
	if a.Err != "" {
		fmt.Fprintln(stderr, a.Err)
		return 1
	}
	return 0
}

func ask(socket string, words []string) (answer, error) {
	var a answer
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(words); err != nil {
		return a, err
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return a, fmt.Errorf("it went away before it answered: %w", err)
	}
	return a, nil
}

// Server answers on the control socket.
type Server struct {
	listener net.Listener
	stop     context.CancelFunc
	busy     sync.WaitGroup
}

// longest is what a socket's path may have: sun_path of unix(7) without the zero at its end.
const longest = 107

// Serve listens on a socket that only our own user may use.
func Serve(socket string, orders Orders) (*Server, error) {
	if len(socket) > longest {
		return nil, fmt.Errorf("listen on %s: its path has %d characters, and that of a socket has at most %d: name a shorter folder with TMPDIR", socket, len(socket), longest)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", socket, err), l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Server{listener: l, stop: stop}
	c.busy.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.busy.Go(func() { serveOne(ctx, conn, orders) })
		}
	})
	return c, nil
}

func serveOne(ctx context.Context, conn net.Conn, orders Orders) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	defer stop()
	r := bufio.NewReader(io.LimitReader(conn, 64<<10))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return
	}
	var words []string
	var a answer
	if err := json.Unmarshal(line, &words); err != nil {
		a.Err = "a list of words was expected: " + err.Error()
	} else {
		// A script that is killed takes its order back, as far as it is not carried out yet.
		go func() {
			_, _ = r.ReadByte()
			cancel()
		}()
		a.Out, err = orders.carryOut(ctx, words)
		if err != nil {
			a.Err = err.Error()
		}
	}
	_ = json.NewEncoder(conn).Encode(a) // who asked may be gone
}

// Close ends what is being done. It may be called again.
func (c *Server) Close() error {
	c.stop()
	err := c.listener.Close()
	c.busy.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Order is one command: it takes names, and returns what is printed. Of is how many names: one unless stated.
type Order struct {
	Of  func(n int) bool
	Run func(ctx context.Context, names []string) (string, error)
}

// Orders are the commands that an environment knows.
type Orders map[string]Order

// On is an order about one instance that prints nothing.
func On(run func(ctx context.Context, name string) error) Order {
	return Order{Of: one, Run: func(ctx context.Context, names []string) (string, error) { return "", run(ctx, names[0]) }}
}

func one(n int) bool { return n == 1 }

func (o Orders) carryOut(ctx context.Context, words []string) (string, error) {
	commands := strings.Join(slices.Sorted(maps.Keys(o)), ", ")
	if len(words) == 0 {
		return "", fmt.Errorf("no command; commands are %s", commands)
	}
	order, known := o[words[0]]
	if !known {
		return "", fmt.Errorf("no command is named %q; commands are %s", words[0], commands)
	}
	names, within, err := arguments(words[1:])
	if err != nil {
		return "", fmt.Errorf("%s: %w", words[0], err)
	}
	of := order.Of
	if of == nil {
		of = one
	}
	if !of(len(names)) {
		if len(names) == 0 {
			return "", fmt.Errorf("%s: the name of an instance is missing", words[0])
		}
		return "", fmt.Errorf("%s: one name was expected, found %s", words[0], strings.Join(names, " and "))
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	out, err := order.Run(ctx, names)
	if err != nil {
		return out, fmt.Errorf("%s: %w", words[0], err)
	}
	return out, nil
}

// arguments are the names and how long to wait, 30 s unless stated.
func arguments(words []string) (names []string, within time.Duration, err error) {
	within = 30 * time.Second
	for i := 0; i < len(words); i++ {
		flag, value, has := strings.Cut(words[i], "=")
		switch {
		case flag == "--within" || flag == "--ready-within":
			if !has {
				i++
				if i == len(words) {
					return nil, 0, fmt.Errorf("%s needs a duration such as 30s", flag)
				}
				value = words[i]
			}
			if within, err = time.ParseDuration(value); err != nil || within <= 0 {
				return nil, 0, fmt.Errorf("%s needs a duration such as 30s, found %q", flag, value)
			}
		case strings.HasPrefix(flag, "-"):
			return nil, 0, fmt.Errorf("no flag is named %s; there are --within and --ready-within", flag)
		default:
			names = append(names, words[i])
		}
	}
	return names, within, nil
}

// Wrappers makes the commands `supervisor` and `proxy` that scripts find in SUPERVISOR and PROXY.
func Wrappers(dir, socket string, self []string) error {
	var words []string
	for _, w := range append(self, socket) {
		words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	text := "#!/bin/sh\nexec " + strings.Join(words, " ") + ` "$@"` + "\n"
	for _, name := range []string{"supervisor", "proxy"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return fmt.Errorf("write the command %s: %w", name, err)
		}
	}
	return nil
}
