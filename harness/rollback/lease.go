package rollback

import (
	"context"
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
// rollback restores, or one Lease of Kubernetes a service.
type Lease struct {
	URL     string        // secret
	Cluster *LeaseCluster // in place of URL
	Expiry  time.Duration // after its last renewal the lease is free; renewed three times as often
}

// LeaseExpiry is the expiry unless service.yaml states one.
const LeaseExpiry = 15 * time.Second

// How long is waited for where the lease is kept, and for an old holder's sessions to be gone.
const (
	leaseWithin = 10 * time.Second
	drainWithin = 20 * time.Second
)

// turns is where it is written who holds a lease. Whatever changes it is one transaction.
type turns interface {
	// take writes down a new holder with a token that is greater than all before, and tells what was there; a *Held when somebody
	// else has it.
	take(ctx context.Context, as evidence.Holder) (before, error)
	// renew writes what the holder of the token does, and progress where it is not nil; a *Lost when somebody else has it.
	renew(ctx context.Context, as evidence.Holder, progress *Progress) error
	// drained writes that nothing of an older holder runs any more.
	drained(ctx context.Context) error
	// give writes that nobody holds it any more.
	give(ctx context.Context) error
	hangUp(ctx context.Context)
}

// before is what a new holder finds.
type before struct {
	token     int64    // of the new one
	undrained bool     // sessions of a dead holder may still run
	progress  Progress // of the last plan that began, until one ends as it should
}

// leased is a lease that is held. Its methods are safe for concurrent use.
type leased struct {
	service string
	token   int64
	expiry  time.Duration
	found   Progress // how far the plan before came

	mu    sync.Mutex // guards all below
	turns turns
	as    evidence.Holder

	life context.Context // ends when somebody else holds it
	lose context.CancelCauseFunc
	stop func() // the heart, and waits for it
}

// Lost says that somebody else has taken the lease over.
type Lost struct{ Service, By string }

func (e *Lost) Error() string {
	return fmt.Sprintf("the lease on rollbacks of %s was taken over by %s, since it had not been renewed in time: nothing more is run here", e.Service, e.By)
}

// lostTo is a Lost by what is known of the one who has it now.
func lostTo(service string, now evidence.Holder) *Lost {
	by := "somebody who has gone since"
	if now.Operator != "" {
		by = fmt.Sprintf("%s on %s, process %d, token %d", now.Operator, now.Host, now.PID, now.Token)
	}
	return &Lost{service, by}
}

// turns is where this runner takes turns.
func (r *Runner) turns(expiry time.Duration) (turns, error) {
	if r.Lease.Cluster != nil {
		return r.leaseOfCluster(expiry)
	}
	return r.leaseRow(expiry)
}

// takeLease takes the lease, ends what sessions older holders have left in the plan's databases, and keeps the lease from
// expiring until release. The error is a *Held when somebody else has it.
func (r *Runner) takeLease(ctx context.Context, p *service.Plan, as evidence.Holder) (_ *leased, err error) {
	l := &leased{service: r.Service.Name, expiry: r.Lease.Expiry, as: as}
	if l.expiry == 0 {
		l.expiry = LeaseExpiry
	}
	if l.turns, err = r.turns(l.expiry); err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, l.expiry+2*leaseWithin)
	defer cancel()
	found, err := l.turns.take(within, as)
	if err != nil {
		l.turns.hangUp(ctx)
		return nil, err
	}
	l.token, l.as.Token, l.found = found.token, found.token, found.progress
	l.life, l.lose = context.WithCancelCause(context.Background())
	l.beat()
	if found.undrained {
		if err := r.drain(ctx, p, l); err != nil {
			return nil, errors.Join(err, l.release(ctx))
		}
	}
	return l, nil
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
	err := l.turns.renew(ctx, l.as, progress)
	if lost := new(Lost); errors.As(err, &lost) {
		l.lose(lost)
	}
	return err
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
	defer l.turns.hangUp(ctx)
	if l.life.Err() != nil {
		return nil // it is another one's
	}
	l.lose(errors.New("the lease was given back"))
	return l.turns.give(ctx)
}

// die is what becomes of a lease whose holder is gone: nobody renews it any more, and nobody gives it back.
func (l *leased) die(ctx context.Context) {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns.hangUp(ctx)
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
	return l.turns.drained(ctx)
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
