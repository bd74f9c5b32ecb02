package observe

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/service"
)

// seen collects the events of a log.
type seen struct {
	log *evidence.Log
	mu  sync.Mutex
	all []evidence.Event
}

func record(t testing.TB) *seen {
	t.Helper()
	log, err := evidence.Create(filepath.Join(t.TempDir(), evidence.File), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{log: log}
	log.Tap(func(e evidence.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, e)
	})
	t.Cleanup(func() {
		if _, err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// events are those with a number above after that hold.
func (s *seen) events(after int64, holds func(evidence.Event) bool) []evidence.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []evidence.Event
	for _, e := range s.all {
		if e.N > after && holds(e) {
			found = append(found, e)
		}
	}
	return found
}

// last is the number of the last event.
func (s *seen) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.all))
}

// await waits for the first event after a number that holds.
func (s *seen) await(t testing.TB, what string, after int64, holds func(evidence.Event) bool) evidence.Event {
	t.Helper()
	var found []evidence.Event
	until(t, what, func() bool {
		found = s.events(after, holds)
		return len(found) > 0
	})
	return found[0]
}

// gaps of a subject; of everything for "".
func (s *seen) gaps(of string) []evidence.Event {
	return s.events(0, func(e evidence.Event) bool { return e.Gap != nil && (of == "" || e.Gap.Of == of) })
}

// unforced are the gaps that are not the fault of a machine on which too much else runs.
func (s *seen) unforced(of string) []evidence.Event {
	return slices.DeleteFunc(s.gaps(of), func(e evidence.Event) bool {
		for _, forced := range []string{"too busy", "statement timeout", "no answer within", "the primary could not be read"} {
			if strings.Contains(e.Gap.Why, forced) {
				return true
			}
		}
		return false
	})
}

func node(name string, holds func(*evidence.Node) bool) func(evidence.Event) bool {
	return func(e evidence.Event) bool { return e.Node != nil && e.Node.Name == name && holds(e.Node) }
}

func instance(name string, holds func(*evidence.Instance) bool) func(evidence.Event) bool {
	return func(e evidence.Event) bool { return e.Instance != nil && e.Instance.Name == name && holds(e.Instance) }
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s: %s", what)
		}
		<-tick.C
	}
}

// observe starts an observer that is stopped with the test.
func observe(t testing.TB, c Config) *Observer {
	t.Helper()
	o := Start(context.Background(), c)
	t.Cleanup(func() {
		if err := o.Stop(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// run sends a script of several statements.
func run(ctx context.Context, url, sql string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("%w in:\n%s", err, sql)
	}
	return nil
}

func do(t testing.TB, n service.Node, sql string) {
	t.Helper()
	if err := run(t.Context(), n.URL, sql); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
}

// undo runs a script when the test is over.
func undo(t testing.TB, n service.Node, sql string) {
	t.Helper()
	t.Cleanup(func() {
		if err := run(context.Background(), n.URL, sql); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	})
}

// session is a connection that holds what it is told to.
func session(t testing.TB, n service.Node, sql string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), n.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	if _, err := c.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return c
}
