package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

// readerName is the application_name of a long reader. It is not the harness's own, so that evidence of locks shows it.
const readerName = "long reader"

// longReader reads on a standby in one transaction that does not end. The standby lets it: replay of whatever needs a
// table for itself waits until it is done.
type longReader struct {
	World
	name     string
	settings []*setting
	conn     *pgx.Conn
}

func reader() Kind {
	return Kind{
		Name: "reader", Forms: []Form{{Text: "a long reader on {target} holds back replay"}}, On: []string{OnStreaming},
		New: func(w World, d evidence.DeclaredFault) Fault {
			return &longReader{World: w, name: d.Of, settings: []*setting{
				{name: "hot_standby_feedback", value: "off"},       // or the primary would wait with what the reader still sees
				{name: "max_standby_streaming_delay", value: "-1"}, // or the reader would be ended after a while
			}}
		},
	}
}

func (f *longReader) Inject(ctx context.Context) error {
	if err := f.lay(ctx, f.name, f.settings); err != nil {
		return err
	}
	n, err := f.node(f.name)
	if err != nil {
		return err
	}
	c, err := pgx.ParseConfig(n.URL)
	if err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	c.DialFunc, c.ConnectTimeout = service.DialHere, AskedWithin
	c.RuntimeParams["application_name"] = readerName
	c.RuntimeParams["lock_timeout"] = "2s"
	if f.conn, err = pgx.ConnectConfig(ctx, c); err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*AskedWithin)
	defer cancel()
	if _, err := f.conn.Exec(ctx, `begin isolation level repeatable read read only`); err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	tables, err := postgres.Texts(ctx, f.conn, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_' order by 1`)
	if err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	for _, t := range tables {
		if _, err := f.conn.Exec(ctx, `select from `+t+` limit 1`); err != nil {
			return fmt.Errorf("read %s on %s: %w", t, f.name, err)
		}
	}
	return nil
}

func (f *longReader) InForce(ctx context.Context) (string, bool, error) {
	var tables int
	var since float64
	var set bool
	var waits string
	err := f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error {
		return c.QueryRow(ctx, `select count(distinct l.relation), coalesce(extract(epoch from clock_timestamp() - min(a.xact_start)), 0)::float8,
			current_setting('hot_standby_feedback') = 'off' and current_setting('max_standby_streaming_delay') = '-1',
			coalesce((select wait_event from pg_stat_activity where backend_type = 'startup'), '')
			from pg_stat_activity a join pg_locks l on l.pid = a.pid join pg_class r on r.oid = l.relation and r.relkind in ('r', 'p')
			join pg_namespace n on n.oid = r.relnamespace and n.nspname !~ '^pg_'
			where a.application_name = $1 and a.xact_start is not null and l.granted and l.mode = 'AccessShareLock'`, readerName).Scan(&tables, &since, &set, &waits)
	})
	if err != nil {
		return "", false, err
	}
	seen := fmt.Sprintf("one transaction on %s has been reading %d tables for %.1f s", f.name, tables, since)
	if waits == "RecoveryConflictSnapshot" || waits == "relation" {
		seen += ", and replay waits for it"
	}
	return seen, tables > 0 && set, nil
}

func (f *longReader) Lift(ctx context.Context) error {
	var closed error
	if f.conn != nil {
		within, cancel := context.WithTimeout(ctx, AskedWithin)
		defer cancel()
		closed = f.conn.Close(within)
		f.conn = nil
	}
	return errors.Join(closed, f.back(ctx, f.name, f.settings))
}

// Gone is that the reader is. Whether the standby has caught up is for the drill to judge.
func (f *longReader) Gone(ctx context.Context) (string, bool, error) {
	var left int
	err := f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error {
		return c.QueryRow(ctx, `select count(*) from pg_stat_activity where application_name = $1`, readerName).Scan(&left)
	})
	return fmt.Sprintf("%d long readers are on %s", left, f.name), err == nil && left == 0, err
}
