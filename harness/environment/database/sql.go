// Package database makes the databases of a drill: roles, schema, data, publication and subscription, by SQL alone, on
// nodes that an environment has started.
package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/environment"
	"backout/harness/postgres"
	"backout/harness/service"
)

// Connect opens one connection that is marked as ours.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["application_name"] = postgres.Application
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	c.ConnectTimeout = 5 * time.Second
	c.DialFunc = service.DialHere
	return pgx.ConnectConfig(ctx, c)
}

// Use runs f on a connection of its own.
func Use(ctx context.Context, url string, f func(*pgx.Conn) error) error {
	conn, err := Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(clean)
	}()
	return f(conn)
}

// Execute runs a text of SQL, one statement or more, by the simple protocol. Several statements are one transaction.
func Execute(ctx context.Context, url, text string) error {
	return Use(ctx, url, func(c *pgx.Conn) error { return Run(ctx, c, text) })
}

// Run runs a text of SQL on a connection.
func Run(ctx context.Context, c *pgx.Conn, text string) error {
	_, err := c.PgConn().Exec(ctx, text).ReadAll()
	return err
}

// Ask is the one value of a query.
func Ask[T any](ctx context.Context, url, query string) (T, error) {
	var v T
	err := Use(ctx, url, func(c *pgx.Conn) error { return c.QueryRow(ctx, query).Scan(&v) })
	return v, err
}

// Conninfo is how one node reaches another. The values need no quotes.
func Conninfo(host string, port int, password, database, application string) string {
	text := fmt.Sprintf("host=%s port=%d user=%s password=%s application_name=%s sslmode=disable", host, port, postgres.Superuser, password, application)
	if database != "" {
		text += " dbname=" + database
	}
	return text
}

// UntilOn is Until with a connection, which is opened again when it breaks. To connect is most of the work.
func UntilOn(ctx context.Context, what, url string, f func(context.Context, *pgx.Conn) error) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = conn.Close(clean)
		}
	}()
	return environment.Until(ctx, what, func(ctx context.Context) (err error) {
		if conn == nil || conn.IsClosed() {
			if conn, err = Connect(ctx, url); err != nil {
				conn = nil
				return err
			}
		}
		return f(ctx, conn)
	})
}

// WaitStreaming waits until a hot standby has replayed what the primary had written at the call.
func WaitStreaming(ctx context.Context, primary, standby string) error {
	lsn, err := Ask[string](ctx, primary, "select pg_current_wal_lsn()::text")
	if err != nil {
		return fmt.Errorf("the primary's WAL position: %w", err)
	}
	return UntilOn(ctx, "the streaming replica is in sync", standby, func(ctx context.Context, c *pgx.Conn) error {
		var at, receiver string
		var enough bool
		err := c.QueryRow(ctx, `select coalesce(at::text, 'nothing'), coalesce(at >= $1::pg_lsn, false), coalesce((select status from pg_stat_wal_receiver), 'absent')
			from pg_last_wal_replay_lsn() at`, lsn).Scan(&at, &enough, &receiver)
		if err != nil {
			return err
		}
		if !enough || receiver != "streaming" {
			return fmt.Errorf("it has replayed %s of %s, and its receiver is %s", at, lsn, receiver)
		}
		return nil
	})
}

// WaitLogical waits until all subscriptions have applied what the primary had written at the call.
func WaitLogical(ctx context.Context, primary string, logical Node, password string, databases []Database) error {
	return Use(ctx, primary, func(p *pgx.Conn) error {
		var lsn string
		if err := p.QueryRow(ctx, "select pg_current_wal_lsn()::text").Scan(&lsn); err != nil {
			return fmt.Errorf("the primary's WAL position: %w", err)
		}
		for _, d := range Subscribed(databases) {
			err := UntilOn(ctx, "the subscription to "+d.Name+" is in sync", logical.URL(password, d.Name), func(ctx context.Context, l *pgx.Conn) error {
				var ready int
				if err := l.QueryRow(ctx, "select count(*) from pg_subscription_rel where srsubstate = 'r'").Scan(&ready); err != nil {
					return err
				}
				if ready != len(d.Publish) {
					return fmt.Errorf("%d of %d tables are ready", ready, len(d.Publish))
				}
				var active, enough bool
				var at string
				err := p.QueryRow(ctx, "select active, confirmed_flush_lsn::text, confirmed_flush_lsn >= $2::pg_lsn from pg_replication_slots where slot_name = $1",
					d.Slot(), lsn).Scan(&active, &at, &enough)
				if err != nil {
					return fmt.Errorf("slot %s: %w", d.Slot(), err)
				}
				if !active || !enough {
					return fmt.Errorf("slot %s: active %t, confirmed %s of %s", d.Slot(), active, at, lsn)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
