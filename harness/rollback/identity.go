package rollback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/service"
)

// connect opens one connection with the plan's own URL, as a step would, that neither waits nor stands in the way of
// anybody.
func (r *Runner) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read") // pgx's own error may show it
	}
	config.ConnectTimeout = 3 * time.Second
	config.DialFunc = r.dial()
	config.RuntimeParams["application_name"] = "backout"
	config.RuntimeParams["statement_timeout"] = "500"
	config.RuntimeParams["lock_timeout"] = "50"
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec // nothing stays prepared
	return pgx.ConnectConfig(ctx, config)
}

// dial is how the checks reach what they ask.
func (r *Runner) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	if r.Dial != nil {
		return r.Dial
	}
	return service.DialHere
}

// hangUp closes a connection also when the check's time is over.
func hangUp(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	c.Close(ctx) // it was read from, and what was read has arrived
}

// identity asks the database that a plan would change which one it is, and which role the plan has there.
func identity(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	conn, err := r.connect(ctx, r.Vars[p.Env[c.Database.URL]])
	if err != nil {
		return fmt.Errorf("connect with %s: %w", c.Database.URL, err)
	}
	defer hangUp(ctx, conn)
	var name, session, role string
	err = conn.QueryRow(ctx, "select current_database(), session_user, current_user").Scan(&name, &session, &role)
	switch {
	case err != nil:
		return fmt.Errorf("ask %s: %w", c.Database.URL, err)
	case name != c.Database.Name:
		return foundf("expected %s to be the database %s, found %s", c.Database.URL, c.Database.Name, name)
	case session != c.Database.Role:
		return foundf("expected %s to connect as %s, found %s", c.Database.URL, c.Database.Role, session)
	case role != c.Database.Role:
		return foundf("expected %s to act as %s, found %s, which it is set to on connecting", c.Database.URL, c.Database.Role, role)
	}
	return nil
}
