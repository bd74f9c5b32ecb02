package fault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

// readerName is the application_name of a long reader. It is not the harness's own, so that evidence of locks shows it.
const readerName = "long reader"

// longReader reads on a standby in transactions that do not end. The standby lets it: replay of whatever needs a table for
// itself waits until they are done, and all that comes after it. So that it does wait, a table of its own is among those that
// it reads, and is dropped on the primary; it lies in the maintenance database, where nobody looks.
type longReader struct {
	World
	name     string
	settings []*setting
	conns    []*pgx.Conn
}

const readersTable = "backout_long_reader"

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
	if err := f.maintain(ctx, `create table if not exists `+readersTable+` ()`); err != nil {
		return err
	}
	own, err := f.read(ctx, true)
	if err != nil {
		return err
	}
	if seen, err := Await(ctx, 10*time.Second, func(ctx context.Context) (string, bool, error) {
		var there bool
		err := own.QueryRow(ctx, `select to_regclass($1) is not null`, readersTable).Scan(&there)
		return fmt.Sprintf("the reader's table is on %s: %v", f.name, there), there, err
	}); err != nil {
		return fmt.Errorf("%s: %w", seen, err)
	}
	if err := f.hold(ctx, own, readersTable); err != nil {
		return err
	}
	all, err := f.read(ctx, false)
	if err != nil {
		return err
	}
	tables, err := postgres.Texts(ctx, all, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_' order by 1`)
	if err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	if err := f.hold(ctx, all, tables...); err != nil {
		return err
	}
	return f.maintain(ctx, `drop table `+readersTable)
}

// read opens a connection to the standby: to its maintenance database, or to the service's.
func (f *longReader) read(ctx context.Context, maintenance bool) (*pgx.Conn, error) {
	n, err := f.node(f.name)
	if err != nil {
		return nil, err
	}
	c, err := pgx.ParseConfig(n.URL)
	if err != nil {
		return nil, fmt.Errorf("read on %s: %w", f.name, err)
	}
	if maintenance {
		c.Database = "postgres"
	}
	c.DialFunc, c.ConnectTimeout = service.DialHere, AskedWithin
	c.RuntimeParams["application_name"] = readerName
	c.RuntimeParams["lock_timeout"] = "2s"
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("read on %s: %w", f.name, err)
	}
	f.conns = append(f.conns, conn)
	return conn, nil
}

// hold reads tables in a transaction that stays open.
func (f *longReader) hold(ctx context.Context, conn *pgx.Conn, tables ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*AskedWithin)
	defer cancel()
	if _, err := conn.Exec(ctx, `begin isolation level repeatable read read only`); err != nil {
		return fmt.Errorf("read on %s: %w", f.name, err)
	}
	for _, t := range tables {
		if _, err := conn.Exec(ctx, `select from `+t+` limit 1`); err != nil {
			return fmt.Errorf("read %s on %s: %w", t, f.name, err)
		}
	}
	return nil
}

// maintain runs a statement in the maintenance database of the primary.
func (f *longReader) maintain(ctx context.Context, statement string) error {
	n, err := f.node(OnPrimary)
	if err != nil {
		return err
	}
	u, err := url.Parse(n.URL)
	if err != nil {
		return err
	}
	u.Path = "/postgres"
	ctx, cancel := context.WithTimeout(ctx, AskedWithin)
	defer cancel()
	pool, err := postgres.Open(ctx, u.String())
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, statement); err != nil {
		return fmt.Errorf("the reader's own table: %w", err)
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
	held := waits == "RecoveryConflictSnapshot" || waits == "relation"
	seen := fmt.Sprintf("one transaction on %s has been reading %d tables for %.1f s, and replay goes on", f.name, tables, since)
	if held {
		seen = strings.TrimSuffix(seen, "goes on") + "waits for it"
	}
	return seen, tables > 0 && set && held, nil
}

func (f *longReader) Lift(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, AskedWithin)
	defer cancel()
	var wrong []error
	for _, c := range f.conns {
		wrong = append(wrong, c.Close(within))
	}
	f.conns = nil
	return errors.Join(append(wrong, f.maintain(ctx, `drop table if exists `+readersTable), f.back(ctx, f.name, f.settings))...)
}

// Gone is that the reader is. Whether the standby has caught up is for the drill to judge.
func (f *longReader) Gone(ctx context.Context) (string, bool, error) {
	var left int
	err := f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error {
		return c.QueryRow(ctx, `select count(*) from pg_stat_activity where application_name = $1`, readerName).Scan(&left)
	})
	return fmt.Sprintf("%d long readers are on %s", left, f.name), err == nil && left == 0, err
}
