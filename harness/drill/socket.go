package drill

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
	"time"

	"backout/harness/environment"
)

// The terminal reaches a running drill by a socket in a private directory of the run, which stands in the register: one line
// of JSON with an order, one line with the answer. Only the user who runs the drill can open it.

const (
	answerWithin = 10 * time.Second // an answer waits for nothing but a lock
	maxLine      = 64 << 10
)

// Running is a drill that runs now, as others of this user find it.
type Running struct {
	Name   string // of its folder, "drops-a-column-16"
	Dir    string // of the run
	socket string
}

type answer struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
	State State  `json:"state"`
}

// listen makes the handle reachable for this user's other processes, until close.
func (h *Handle) listen(name, dir string) (close func() error, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	register, err := environment.RegisterDir()
	if err != nil {
		return nil, err
	}
	reg, err := environment.OpenRegister(register)
	if err != nil {
		return nil, err
	}
	undo := func(err error) error { return errors.Join(err, reg.Remove()) }
	private, err := reg.Directory(os.TempDir())
	if err != nil {
		return nil, undo(err)
	}
	undo = func(err error) error { return errors.Join(err, os.RemoveAll(private), reg.Remove()) }
	// Others may pass through the run's directory; not through this one, so that nobody is quicker than chmod.
	inner := filepath.Join(private, "handle")
	if err := os.Mkdir(inner, 0o700); err != nil {
		return nil, undo(err)
	}
	path := filepath.Join(inner, "socket")
	short, done, err := reachable(path)
	if err != nil {
		return nil, undo(err)
	}
	l, err := net.Listen("unix", short)
	done()
	if err != nil {
		return nil, undo(fmt.Errorf("listen for orders at %s: %w", path, err))
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by its short name, which is no more; the directory goes with it
	if err := errors.Join(os.Chmod(path, 0o600), reg.Add(environment.Entry{Kind: environment.KindHandle, Name: name, Path: path, Of: dir})); err != nil {
		return nil, undo(errors.Join(err, l.Close()))
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go h.serve(c)
		}
	}()
	return func() error { return undo(l.Close()) }, nil
}

// serve answers one order.
func (h *Handle) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(answerWithin)) // without one it waits for a client of our own user
	line, err := bufio.NewReader(io.LimitReader(c, maxLine)).ReadBytes('\n')
	if err != nil {
		return
	}
	var o Order
	var a answer
	if err := json.Unmarshal(line, &o); err != nil {
		a.Error = fmt.Sprintf("expected an order as JSON: %v", err)
	} else if o.Name != "" {
		said, err := h.Do(o)
		if a.Said = said; err != nil {
			a.Error = err.Error()
		}
	}
	a.State = h.State()
	_ = json.NewEncoder(c).Encode(a) // a client that has gone needs no answer
}

// RunningDrills are the drills of this user that run now on this machine, in whatever process.
func RunningDrills() ([]Running, error) {
	register, err := environment.RegisterDir()
	if err != nil {
		return nil, err
	}
	entries, err := environment.Living(register, environment.KindHandle)
	if err != nil {
		return nil, err
	}
	var all []Running
	for _, e := range entries {
		all = append(all, Running{Name: e.Name, Dir: e.Of, socket: e.Path})
	}
	return all, nil
}

// Order gives a running drill an order and returns what it said.
func (r Running) Order(ctx context.Context, o Order) (said string, s State, err error) {
	a, err := r.send(ctx, o)
	if err != nil {
		return "", s, fmt.Errorf("%s: %w", r.Name, err)
	}
	if a.Error != "" {
		return "", a.State, fmt.Errorf("%s: %s", r.Name, a.Error)
	}
	return a.Said, a.State, nil
}

// State asks a running drill what can be ordered now.
func (r Running) State(ctx context.Context) (State, error) {
	_, s, err := r.Order(ctx, Order{})
	return s, err
}

func (r Running) send(ctx context.Context, o Order) (a answer, err error) {
	path, done, err := reachable(r.socket)
	if err != nil {
		return a, err
	}
	defer done()
	c, err := (&net.Dialer{Timeout: answerWithin}).DialContext(ctx, "unix", path)
	if err != nil {
		return a, fmt.Errorf("reach the drill: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return a, fmt.Errorf("tell the drill: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(c, maxLine)).Decode(&a); err != nil {
		return a, fmt.Errorf("hear what the drill says: %w", err)
	}
	return a, nil
}

// maxSocket is how long the name of a socket may be. Source: unix(7), sun_path.
const maxSocket = 107

// reachable is a name of a socket that is short enough; done ends it.
func reachable(path string) (short string, done func(), err error) {
	if len(path) <= maxSocket {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

// Is says whether a person means this drill: by the name of its folder, by its folder, or by the folder of its set.
func (r Running) Is(meant string) bool {
	if meant == r.Name || meant == filepath.Base(r.Dir) {
		return true
	}
	abs, err := filepath.Abs(meant)
	return err == nil && (abs == r.Dir || strings.HasPrefix(r.Dir, abs+string(filepath.Separator)))
}
