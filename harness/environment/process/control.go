package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A request on the control socket is a line, a JSON list of words; the answer is one line, a JSON object.
type answer struct {
	Out string `json:"out,omitempty"`
	Err string `json:"err,omitempty"`
}

// Control is the client of a run's supervisor and proxies, for the scripts that roll out and roll back:
//
//	SOCKET restart NAME [--within 30s]     stop an instance and start what its link leads to now
//	SOCKET link NAME                       print the path of its link
//	SOCKET status                          a line an instance
//	SOCKET out NAME [--within 30s]         take it out of its proxy and wait until its requests are done
//	SOCKET in NAME [--ready-within 30s]    wait until it is ready and put it back
//	SOCKET wait NAME [--ready-within 30s]  wait until it is ready
//
// It returns the exit code; what went wrong is a sentence on stderr.
func Control(args []string, stdout, stderr io.Writer) int {
	if len(args) < 2 {
		fmt.Fprintln(stderr, "expected: SOCKET COMMAND [NAME]; commands are", commands)
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

// controlServer answers on the control socket.
type controlServer struct {
	listener net.Listener
	stop     context.CancelFunc
	busy     sync.WaitGroup
}

// serveControl listens on a socket that only our own user may use.
func serveControl(socket string, run func(ctx context.Context, words []string) (string, error)) (*controlServer, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", socket, err), l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &controlServer{listener: l, stop: stop}
	c.busy.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.busy.Go(func() { serveOne(ctx, conn, run) })
		}
	})
	return c, nil
}

func serveOne(ctx context.Context, conn net.Conn, run func(ctx context.Context, words []string) (string, error)) {
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
		a.Out, err = run(ctx, words)
		if err != nil {
			a.Err = err.Error()
		}
	}
	_ = json.NewEncoder(conn).Encode(a) // who asked may be gone
}

// Close ends what is being done. It may be called again.
func (c *controlServer) Close() error {
	c.stop()
	err := c.listener.Close()
	c.busy.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

const commands = "restart, link, status, out, in, wait"

// command is one order of a script.
func (m *machine) command(ctx context.Context, words []string) (string, error) {
	if len(words) == 0 {
		return "", fmt.Errorf("no command; commands are %s", commands)
	}
	verb := words[0]
	if verb == "status" {
		return m.status(), nil
	}
	if !strings.Contains(" "+strings.ReplaceAll(commands, ",", "")+" ", " "+verb+" ") {
		return "", fmt.Errorf("no command is named %q; commands are %s", verb, commands)
	}
	name, within, err := arguments(words[1:])
	if err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	i, err := m.supervisor.find(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	p := m.proxies[i.service]
	u := p.find(name)
	switch verb {
	case "link":
		return i.link + "\n", nil
	case "restart":
		return "", m.supervisor.restart(ctx, name)
	case "out":
		return "", p.out(ctx, u)
	case "in":
		return "", p.in(ctx, u)
	default:
		return "", p.wait(ctx, u)
	}
}

// arguments are the name of an instance and how long to wait, 30 s unless stated.
func arguments(words []string) (name string, within time.Duration, err error) {
	within = 30 * time.Second
	for i := 0; i < len(words); i++ {
		flag, value, has := strings.Cut(words[i], "=")
		switch {
		case flag == "--within" || flag == "--ready-within":
			if !has {
				i++
				if i == len(words) {
					return "", 0, fmt.Errorf("%s needs a duration such as 30s", flag)
				}
				value = words[i]
			}
			if within, err = time.ParseDuration(value); err != nil || within <= 0 {
				return "", 0, fmt.Errorf("%s needs a duration such as 30s, found %q", flag, value)
			}
		case strings.HasPrefix(flag, "-"):
			return "", 0, fmt.Errorf("no flag is named %s; there are --within and --ready-within", flag)
		case name != "":
			return "", 0, fmt.Errorf("one name was expected, found %s and %s", name, words[i])
		default:
			name = words[i]
		}
	}
	if name == "" {
		return "", 0, errors.New("the name of an instance is missing")
	}
	return name, within, nil
}

// status is a line an instance: what the supervisor and what the proxy know of it.
func (m *machine) status() string {
	var b strings.Builder
	for line := range strings.Lines(m.supervisor.status()) {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, " ")
		if i, err := m.supervisor.find(name); err == nil {
			p := m.proxies[i.service]
			line += ", " + p.state(p.find(name))
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// writeWrappers makes the commands `supervisor` and `proxy` that scripts find in SUPERVISOR and PROXY.
func writeWrappers(dir, socket string, self []string) error {
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
