package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"backout/harness/postgres"
)

// on gives a connection to a node's database for a moment.
func (w World) on(ctx context.Context, node string, do func(ctx context.Context, c postgres.Conn) error) error {
	n, err := w.node(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, AskedWithin)
	defer cancel()
	pool, err := postgres.Open(ctx, n.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := do(ctx, pool); err != nil {
		return fmt.Errorf("ask %s: %w", node, err)
	}
	return nil
}

// ask reads the only row of a query.
func (w World) ask(ctx context.Context, node, sql string, into ...any) error {
	return w.on(ctx, node, func(ctx context.Context, c postgres.Conn) error { return c.QueryRow(ctx, sql).Scan(into...) })
}

// setting is one that a fault lays over a node's own, and what was there before it.
type setting struct {
	name, value string
	known, had  bool
	before      string
}

// lay puts settings in force for a node, without a restart.
func (w World) lay(ctx context.Context, node string, all []*setting) error {
	return w.on(ctx, node, func(ctx context.Context, c postgres.Conn) error {
		for _, s := range all {
			if !s.known {
				err := c.QueryRow(ctx, `select setting from pg_file_settings where name = $1 and sourcefile like '%/postgresql.auto.conf' order by seqno desc limit 1`, s.name).Scan(&s.before)
				if s.had = err == nil; err != nil && !errors.Is(err, pgx.ErrNoRows) {
					return err
				}
				s.known = true
			}
			if err := system(ctx, c, s.name, s.value); err != nil {
				return err
			}
		}
		_, err := c.Exec(ctx, `select pg_reload_conf()`)
		return err
	})
}

// back takes settings back to what they were before they were laid over.
func (w World) back(ctx context.Context, node string, all []*setting) error {
	return w.on(ctx, node, func(ctx context.Context, c postgres.Conn) error {
		for _, s := range all {
			var err error
			switch {
			case !s.known: // it was never laid over
			case s.had:
				err = system(ctx, c, s.name, s.before)
			default:
				_, err = c.Exec(ctx, `alter system reset `+pgx.Identifier{s.name}.Sanitize())
			}
			if err != nil {
				return err
			}
		}
		_, err := c.Exec(ctx, `select pg_reload_conf()`)
		return err
	})
}

func system(ctx context.Context, c postgres.Conn, name, value string) error {
	_, err := c.Exec(ctx, fmt.Sprintf(`alter system set %s = '%s'`, pgx.Identifier{name}.Sanitize(), strings.ReplaceAll(value, "'", "''")))
	return err
}
