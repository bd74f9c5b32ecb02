package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Lease is where operators on all machines take turns: one row a service in a Postgres database of its own, which no
// rollback restores.
type Lease struct {
	URL    string        // secret
	Expiry time.Duration // after its last renewal the lease is free; renewed three times as often; by the clock of that database
}

// LeaseExpiry is the expiry unless service.yaml states one.
const LeaseExpiry = 15 * time.Second

// How long is waited for the database of the lease, and for an old holder's sessions to be gone.
const (
	leaseWithin = 10 * time.Second
	drainWithin = 20 * time.Second
)

// leaseTable is made by whoever comes first. token grows with each holder. A dead holder's sessions may still run until
// undrained is false again. progress is of the last plan that began, until one ends as it should.
const leaseTable = `create table if not exists backout_lease (
  service text primary key, token bigint not null, holder jsonb, expires timestamptz not null,
  undrained boolean not null default false, progress jsonb)`

// leased is a lease that is held. Its methods are safe for concurrent use.
type leased struct {
	service string
	token   int64
	expiry  time.Duration
	config  *pgx.ConnConfig

	mu    sync.Mutex // guards all below
	conn  *pgx.Conn
	as    evidence.Holder
	found Progress // what the row said of the plan before

	life context.Context // ends when somebody else holds it
	lose context.CancelCauseFunc
	stop func() // the heart, and waits for it
}

// Lost says that somebody else has taken the lease over.
type Lost struct{ Service, By string }

func (e *Lost) Error() string {
	return fmt.Sprintf("the lease on rollbacks of %s was taken over by %s, since it had not been renewed in time: nothing more is run here", e.Service, e.By)
}

// leaseConfig is how the database of the lease is reached.
func (r *Runner) leaseConfig() (*pgx.ConnConfig, error) {
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
	return config, nil
}

// takeLease takes the lease, ends what sessions older holders have left in the plan's databases, and keeps the lease from
// expiring until release. The error is a *Held when somebody else has it.
func (r *Runner) takeLease(ctx context.Context, p *service.Plan, as evidence.Holder) (_ *leased, err error) {
	config, err := r.leaseConfig()
	if err != nil {
		return nil, err
	}
	l := &leased{service: r.Service.Name, expiry: r.Lease.Expiry, config: config, as: as}
	if l.expiry == 0 {
		l.expiry = LeaseExpiry
	}
	within, cancel := context.WithTimeout(ctx, 2*leaseWithin)
	defer cancel()
	undrained := false
	if undrained, err = l.take(within); err != nil {
		l.hangUp(ctx)
		return nil, err
	}
	l.life, l.lose = context.WithCancelCause(context.Background())
	l.beat()
	if undrained {
		if err := r.drain(ctx, p, l); err != nil {
			return nil, errors.Join(err, l.release(ctx))
		}
	}
	return l, nil
}

// take is one transaction, so that one of those who come at the same time gets it.
func (l *leased) take(ctx context.Context) (undrained bool, err error) {
	if err := l.open(ctx); err != nil {
		return false, err
	}
	there := false
	if err := l.conn.QueryRow(ctx, "select to_regclass('backout_lease') is not null").Scan(&there); err != nil {
		return false, err
	}
	tx, err := l.conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing after a commit
	if !there {
		// Two who make a table at once are in each other's way, "if not exists" or not.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext('backout_lease'))"); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, leaseTable); err != nil {
			return false, err
		}
	}
	// The first token is a time, so that tokens grow also when somebody has deleted the row.
	if _, err := tx.Exec(ctx, "insert into backout_lease (service, token, expires) values ($1, $2, '-infinity') on conflict do nothing", l.service, time.Now().UnixMilli()); err != nil {
		return false, err
	}
	var holder, progress []byte
	var left float64
	held := false
	err = tx.QueryRow(ctx, `select token, holder, progress, undrained or holder is not null, holder is not null and expires > clock_timestamp(),
		coalesce(extract(epoch from nullif(expires, '-infinity') - clock_timestamp()), 0)::float8 from backout_lease where service = $1 for update`, l.service).
		Scan(&l.token, &holder, &progress, &undrained, &held, &left)
	if err != nil {
		return false, err
	}
	if held {
		h := &Held{Lease: true, Expires: time.Duration(left * float64(time.Second))}
		if err := json.Unmarshal(holder, &h.Holder); err != nil {
			return false, fmt.Errorf("read who holds it: %w", err)
		}
		return false, h
	}
	if progress != nil {
		if err := json.Unmarshal(progress, &l.found); err != nil {
			return false, fmt.Errorf("read how far the plan before was: %w", err)
		}
	}
	l.token++
	l.as.Token = l.token
	text, err := json.Marshal(l.as)
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "update backout_lease set token = $2, holder = $3::jsonb, undrained = $4, expires = clock_timestamp() + make_interval(secs => $5) where service = $1",
		l.service, l.token, string(text), undrained, l.expiry.Seconds()); err != nil {
		return false, err
	}
	return undrained, tx.Commit(ctx)
}

// open connects, where there is no connection that works.
func (l *leased) open(ctx context.Context) (err error) {
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

func (l *leased) hangUp(ctx context.Context) {
	if l.conn != nil {
		hangUp(ctx, l.conn)
		l.conn = nil
	}
}

// renew is the one way in which a holder speaks: it says that it lives and what it does, and hears whether the lease is
// still its own. The error is a *Lost when it is not, and any other when that could not be known.
func (l *leased) renew(ctx context.Context, change func(*evidence.Holder), progress *Progress) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life.Err() != nil {
		return context.Cause(l.life)
	}
	if change != nil {
		change(&l.as)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, leaseWithin, fmt.Errorf("no answer within %s", leaseWithin))
	defer cancel()
	if err := l.open(ctx); err != nil {
		return err
	}
	holder, err := json.Marshal(l.as)
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
	by := "somebody who has gone since"
	var now evidence.Holder
	var text []byte
	if err := l.conn.QueryRow(ctx, "select holder from backout_lease where service = $1", l.service).Scan(&text); err == nil && json.Unmarshal(text, &now) == nil && now.Operator != "" {
		by = fmt.Sprintf("%s on %s, process %d, token %d", now.Operator, now.Host, now.PID, now.Token)
	}
	lost := &Lost{l.service, by}
	l.lose(lost)
	return lost
}

// beat renews the lease while anything runs. What it learns ends the step that runs; when nothing can be learnt, the step
// goes on, and the check before the next one stops the plan.
func (l *leased) beat() {
	ctx, cancel := context.WithCancel(l.life)
	ended := make(chan struct{})
	l.stop = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		tick := time.NewTicker(l.expiry / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = l.renew(ctx, nil, nil) // see above
			}
		}
	}()
}

// release gives the lease to others. done says that the plan has ended as it should, and leaves nothing to be resumed.
func (l *leased) release(ctx context.Context) error {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseWithin)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.hangUp(ctx)
	if l.life.Err() != nil {
		return nil // it is another one's
	}
	l.lose(errors.New("the lease was given back"))
	if err := l.open(ctx); err != nil {
		return err
	}
	_, err := l.conn.Exec(ctx, "update backout_lease set holder = null, expires = '-infinity' where service = $1 and token = $2", l.service, l.token)
	return err
}

// die is what becomes of a lease whose holder is gone: nobody renews it any more, and nobody gives it back.
func (l *leased) die(ctx context.Context) {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangUp(ctx)
}

// session is how the sessions of a holder's steps are called in the plan's databases.
func session(service string, token int64) string {
	return fmt.Sprintf("rollback %s %d", service, token)
}

// mark names the sessions of a step after the token: libpq and what reads its variables by PGAPPNAME, others by the URL.
func (l *leased) mark(all map[string]string) {
	name := session(l.service, l.token)
	all["PGAPPNAME"] = name
	for key, value := range all {
		if !strings.HasPrefix(value, "postgres://") && !strings.HasPrefix(value, "postgresql://") {
			continue
		}
		u, err := url.Parse(value)
		if err != nil {
			continue // the client says what is wrong with it
		}
		q := u.Query()
		q.Set("application_name", name)
		u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // libpq takes a + for itself
		all[key] = u.String()
	}
}

// drain ends the sessions of older tokens in the plan's databases and waits until they are gone: a statement goes on in the
// server when its client was killed.
func (r *Runner) drain(ctx context.Context, p *service.Plan, l *leased) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for _, u := range r.databases(p) {
		if err := r.drainOne(ctx, u, l, p); err != nil {
			return fmt.Errorf("an older holder of the lease died, and it could not be made sure that nothing of it still runs in the database of %s: %w", u, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(ctx); err != nil {
		return err
	}
	_, err := l.conn.Exec(ctx, "update backout_lease set undrained = false where service = $1 and token = $2", l.service, l.token)
	return err
}

// databases are the variables of the plan's env that lead to Postgres.
func (r *Runner) databases(p *service.Plan) []string {
	var all []string
	for name, of := range p.Env {
		if service.IsDatabase(of) && r.Vars[of] != "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// drainOne asks again until no session of an older token is left, ending those that are.
func (r *Runner) drainOne(ctx context.Context, name string, l *leased, p *service.Plan) error {
	conn, err := r.connect(ctx, r.Vars[p.Env[name]])
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer hangUp(ctx, conn)
	prefix := strings.TrimSuffix(session(l.service, 0), "0")
	return until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		if l.life.Err() != nil {
			return context.Cause(l.life)
		}
		rows, err := conn.Query(ctx, "select pid, application_name, coalesce(usename, '') from pg_catalog.pg_stat_activity where starts_with(application_name, $1) and pid <> pg_backend_pid()", prefix)
		if err != nil {
			return err
		}
		type old struct {
			pid        int
			name, role string
		}
		left, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o old, err error) {
			err = row.Scan(&o.pid, &o.name, &o.role)
			return o, err
		})
		if err != nil {
			return err
		}
		var still []string
		for _, o := range left {
			token, err := strconv.ParseInt(strings.TrimPrefix(o.name, prefix), 10, 64)
			if err != nil || token >= l.token {
				continue
			}
			what := fmt.Sprintf("process %d of %s, %q", o.pid, o.role, o.name)
			if _, err := conn.Exec(ctx, "select pg_catalog.pg_terminate_backend($1)", o.pid); err != nil {
				what += fmt.Sprintf(" (%v)", err)
			}
			still = append(still, what)
		}
		if len(still) > 0 {
			return fmt.Errorf("still there after it was ended: %s", strings.Join(still, ", "))
		}
		return nil
	})
}
