package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"backout/harness/service"
)

// Application is the application_name of the harness's own connections, by which lock evidence leaves them out.
const Application = "backout"

// Conn is what can be asked: a pool, a connection or a transaction.
type Conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Opened is a node and a pool of connections to it. Close closes the pool.
type Opened struct {
	service.Node
	*pgxpool.Pool
}

// URL of a database.
func URL(host string, port int, user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Open makes a small pool, marked as ours. It connects when it is first used, so a node that is down is no error here.
func Open(ctx context.Context, url string) (*pgxpool.Pool, error) { return open(ctx, url, nil) }

// OpenProbe is Open for readings while a plan may run: no statement lasts longer than 500 ms or waits longer than 50 ms
// for a lock.
func OpenProbe(ctx context.Context, url string) (*pgxpool.Pool, error) {
	return open(ctx, url, briefly())
}

func briefly() map[string]string {
	return map[string]string{"statement_timeout": "500ms", "lock_timeout": "50ms"}
}

func open(ctx context.Context, url string, settings map[string]string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	c.MaxConns, c.MinConns = 4, 0
	c.ConnConfig.ConnectTimeout = 5 * time.Second
	c.ConnConfig.DialFunc = service.DialHere
	c.ConnConfig.RuntimeParams["application_name"] = Application
	// Drills change columns under prepared statements, which then fail with "cached plan must not change result type".
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	// A step that was given up may leave its statement waiting in the server, and everybody behind it: then what is asked
	// has no answer, and nobody waits for one.
	c.ConnConfig.RuntimeParams["lock_timeout"] = "2s"
	for k, v := range settings {
		c.ConnConfig.RuntimeParams[k] = v
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return pool, nil
}

// OpenNode is Open of a node.
func OpenNode(ctx context.Context, n service.Node) (Opened, error) {
	db, err := Open(ctx, n.URL)
	if err != nil {
		return Opened{}, fmt.Errorf("%s: %w", n.Name, err)
	}
	return Opened{Node: n, Pool: db}, nil
}

// Texts is the rows of a query as text, the columns of a row separated by ", ".
func Texts(ctx context.Context, c Conn, sql string, args ...any) ([]string, error) {
	// The simple protocol, since it answers in text whatever the types are.
	rows, err := c.Query(ctx, sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var columns []string
		for _, v := range row.RawValues() {
			if v == nil {
				columns = append(columns, "NULL")
				continue
			}
			columns = append(columns, string(v))
		}
		return strings.Join(columns, ", "), nil
	})
}
