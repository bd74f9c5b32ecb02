package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
)

func doubled(s string) string { return strings.ReplaceAll(s, "'", "''") }

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

func do(t testing.TB, n postgres.Opened, sql string) {
	t.Helper()
	if err := run(t.Context(), n.URL, sql); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
}

// undo runs a script when the test is over.
func undo(t testing.TB, n postgres.Opened, sql string) {
	t.Helper()
	t.Cleanup(func() {
		if err := run(context.Background(), n.URL, sql); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	})
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s: %s", what)
		}
		<-tick.C
	}
}

// quiet waits until all nodes have what the primary has.
func quiet(t testing.TB, tr *trio) {
	t.Helper()
	for _, f := range postgres.Quiet(t.Context(), tr.all(), postgres.Barrier{Timeout: 20 * time.Second}) {
		if !f.Asked || f.Bad != 0 {
			t.Fatalf("quiet point: %+v", f)
		}
	}
}

// database makes a database of its own on the primary's cluster.
func database(t testing.TB, tr *trio, sql string) postgres.Opened {
	t.Helper()
	name := "t_" + strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return '_'
		}
		return r
	}, strings.ToLower(t.Name()))
	name = name[:min(len(name), 55)]
	do(t, tr.primary, "create database "+name)
	n := tr.primary.Node
	n.URL = strings.Replace(n.URL, "/shop?", "/"+name+"?", 1)
	o, err := postgres.OpenNode(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	undo(t, tr.primary, "drop database "+name+" with (force)")
	t.Cleanup(o.Close)
	do(t, o, sql)
	return o
}

func finding(t testing.TB, all []evidence.Finding, of string) evidence.Finding {
	t.Helper()
	var names []string
	for _, f := range all {
		if f.Of == of {
			return f
		}
		names = append(names, f.Of)
	}
	t.Fatalf("no finding of %s, found those of %q", of, names)
	return evidence.Finding{}
}
