package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// leaseTable is made by whoever comes first. token grows with each holder. A dead holder's sessions may still run until
// undrained is false again. progress is of the last plan that began, until one ends as it should.
const leaseTable = `create table if not exists backout_lease (
  service text primary key, token bigint not null, holder jsonb, expires timestamptz not null,
  undrained boolean not null default false, progress jsonb)`

// row is the lease in a database. It expires by the clock of that database.
type row struct {
	service string
	token   int64
	expiry  time.Duration
	config  *pgx.ConnConfig
	conn    *pgx.Conn
}

// leaseRow is how the database of the lease is reached.
func (r *Runner) leaseRow(expiry time.Duration) (turns, error) {
	config, err := pgx.ParseConfig(r.Lease.URL)
	if err != nil {
		return nil, errors.New("the URL of the lease's database cannot be read") // pgx's own error may show it
	}
	config.ConnectTimeout = leaseWithin
	config.DialFunc = r.dial()
	config.RuntimeParams["application_name"] = "backout lease"
	config.RuntimeParams["lock_timeout"] = "8000"
	config.RuntimeParams["statement_timeout"] = "9000"
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	return &row{service: r.Service.Name, expiry: expiry, config: config}, nil
}

// take is one transaction, so that one of those who come at the same time gets it.
func (l *row) take(ctx context.Context, as evidence.Holder) (found before, err error) {
	if err := l.open(ctx); err != nil {
		return found, err
	}
	there := false
	if err := l.conn.QueryRow(ctx, "select to_regclass('backout_lease') is not null").Scan(&there); err != nil {
		return found, err
	}
	tx, err := l.conn.Begin(ctx)
	if err != nil {
		return found, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing after a commit
	if !there {
		// Two who make a table at once are in each other's way, "if not exists" or not.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext('backout_lease'))"); err != nil {
			return found, err
		}
		if _, err := tx.Exec(ctx, leaseTable); err != nil {
			return found, err
		}
	}
	// The first token is a time, so that tokens grow also when somebody has deleted the row.
	if _, err := tx.Exec(ctx, "insert into backout_lease (service, token, expires) values ($1, $2, '-infinity') on conflict do nothing", l.service, time.Now().UnixMilli()); err != nil {
		return found, err
	}
	var holder, progress []byte
	var left float64
	held := false
	err = tx.QueryRow(ctx, `select token, holder, progress, undrained or holder is not null, holder is not null and expires > clock_timestamp(),
		coalesce(extract(epoch from nullif(expires, '-infinity') - clock_timestamp()), 0)::float8 from backout_lease where service = $1 for update`, l.service).
		Scan(&l.token, &holder, &progress, &found.undrained, &held, &left)
	if err != nil {
		return found, err
	}
	if held {
		h := &Held{Lease: true, Expires: time.Duration(left * float64(time.Second))}
		if err := json.Unmarshal(holder, &h.Holder); err != nil {
			return found, fmt.Errorf("read who holds it: %w", err)
		}
		return found, h
	}
	if progress != nil {
		if err := json.Unmarshal(progress, &found.progress); err != nil {
			return found, fmt.Errorf("read how far the plan before was: %w", err)
		}
	}
	l.token++
	as.Token, found.token = l.token, l.token
	text, err := json.Marshal(as)
	if err != nil {
		return found, err
	}
	if _, err := tx.Exec(ctx, "update backout_lease set token = $2, holder = $3::jsonb, undrained = $4, expires = clock_timestamp() + make_interval(secs => $5) where service = $1",
		l.service, l.token, string(text), found.undrained, l.expiry.Seconds()); err != nil {
		return found, err
	}
	return found, tx.Commit(ctx)
}

// open connects, where there is no connection that works.
func (l *row) open(ctx context.Context) (err error) {
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	l.conn, err = pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		l.conn = nil
		return fmt.Errorf("connect to the lease's database: %w", err)
	}
	return nil
}

func (l *row) hangUp(ctx context.Context) {
	if l.conn != nil {
		hangUp(ctx, l.conn)
		l.conn = nil
	}
}

func (l *row) renew(ctx context.Context, as evidence.Holder, progress *Progress) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	holder, err := json.Marshal(as)
	if err != nil {
		return err
	}
	var keeps *string // nil: as it was
	if progress != nil {
		text, err := json.Marshal(progress)
		if err != nil {
			return err
		}
		s := string(text)
		keeps = &s
	}
	tag, err := l.conn.Exec(ctx, `update backout_lease set expires = clock_timestamp() + make_interval(secs => $3), holder = $4::jsonb,
		progress = coalesce($5::jsonb, progress) where service = $1 and token = $2`, l.service, l.token, l.expiry.Seconds(), string(holder), keeps)
	if err != nil {
		l.hangUp(ctx)
		return fmt.Errorf("renew the lease: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var now evidence.Holder
	var text []byte
	if err := l.conn.QueryRow(ctx, "select holder from backout_lease where service = $1", l.service).Scan(&text); err != nil || json.Unmarshal(text, &now) != nil {
		now = evidence.Holder{} // that it is lost is known, and by whom is not
	}
	return lostTo(l.service, now)
}

func (l *row) drained(ctx context.Context) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	_, err := l.conn.Exec(ctx, "update backout_lease set undrained = false where service = $1 and token = $2", l.service, l.token)
	return err
}

func (l *row) give(ctx context.Context) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	_, err := l.conn.Exec(ctx, "update backout_lease set holder = null, expires = '-infinity' where service = $1 and token = $2", l.service, l.token)
	return err
}
