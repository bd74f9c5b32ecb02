package observe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"backout/harness/service"
)

// application marks our connections on the server, so that lock evidence leaves them out.
const application = "backout-probe"

// Time-outs on the server. No reading may stand in the way of a step for longer.
const (
	statementTimeout = 500 * time.Millisecond
	lockTimeout      = 50 * time.Millisecond
)

// line is one connection to a node. It comes back by itself: a broken one is dropped, the next use dials again.
type line struct {
	url  string
	conn *pgx.Conn
}

// get is the connection, dialled when there is none or the node has moved.
func (l *line) get(ctx context.Context, url string) (*pgx.Conn, error) {
	if l.conn != nil && (l.conn.IsClosed() || l.url != url) {
		_ = l.close() // of a node that has moved: nothing is lost with it
	}
	if l.conn != nil {
		return l.conn, nil
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the address of the node cannot be read") // the error holds the password
	}
	// A statement that is cancelled because a step begins must not cost the connection.
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 100 * time.Millisecond}
	}
	c.DialFunc = service.DialHere
	c.RuntimeParams["application_name"] = application
	c.RuntimeParams["statement_timeout"] = fmt.Sprint(statementTimeout.Milliseconds())
	c.RuntimeParams["lock_timeout"] = fmt.Sprint(lockTimeout.Milliseconds())
	c.RuntimeParams["default_transaction_read_only"] = "on" // a reading changes nothing, whatever service.yaml says
	c.RuntimeParams["jit"] = "off"                          // compiling takes longer than these statements
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	l.url, l.conn = url, conn
	return conn, nil
}

func (l *line) close() error {
	if l.conn == nil {
		return nil
	}
	conn := l.conn
	l.conn = nil
	if conn.IsClosed() {
		return nil // pgx sees to it in the background
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // also when the observation has ended
	defer cancel()
	return conn.Close(ctx)
}

// lateCodes are the errors of statements that the server gave up because they took too long: statement_timeout,
// lock_timeout, and a conflict with replay on a standby. They say nothing about what was asked.
// Source: PostgreSQL, Appendix A, error codes.
var lateCodes = map[string]bool{"57014": true, "55P03": true, "40001": true}

// late tells whether a reading failed because it took too long.
func late(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return lateCodes[pg.Code]
	}
	return unanswered(err)
}

// unanswered tells whether the server has said nothing in time.
func unanswered(err error) bool {
	var n net.Error
	return pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// answered tells whether an error is the server's answer to a statement, not a broken or refused connection.
func answered(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized != "FATAL" && pg.SeverityUnlocalized != "PANIC"
}

// why is a database error in few words, without address and user.
func (o *Observer) why(err error) string {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &pg) && pg.Code == "57014" && strings.Contains(pg.Message, "user request"): // our own cancel
		return fmt.Sprintf("no answer within %s", o.timeout())
	case errors.As(err, &pg):
		return o.clean(fmt.Sprintf("%s (%s)", pg.Message, pg.Code))
	case unanswered(err):
		return fmt.Sprintf("no answer within %s", o.timeout())
	case errors.As(err, &connect):
		for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
			err = inner
		}
		return o.clean("cannot connect: " + err.Error())
	}
	return o.clean(err.Error())
}
