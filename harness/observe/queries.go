package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// queryEvery is how often each query of service.yaml and release.yaml is asked.
const queryEvery = time.Second

// heavy is the longest that a query may take to be asked each second. A heavier one is asked so often that it takes a
// fifth of the time at most, since what it costs comes out of the traffic's share of the machine.
const heavy = queryEvery / 5

// query is one query of service.yaml or release.yaml, asked on the primary.
type query struct {
	of      string // "job outbox"
	ask     func(ctx context.Context, c *pgx.Conn) (evidence.Kind, error)
	broken  func(why string) evidence.Kind // the event that says that it could not be read
	track   *track
	written beat[string]
	next    time.Time
}

// queries asks all of them in turn on one connection, so that they never take more than one core of the primary.
func (o *Observer) queries() {
	all := o.collect()
	if len(all) == 0 {
		return
	}
	var l line
	defer func() {
		if err := l.close(); err != nil {
			o.keep(fmt.Errorf("close the connection for queries: %s", o.why(err)))
		}
		for _, q := range all {
			q.track.end()
		}
	}()
	every(o.ctx, o.Interval, func() {
		for _, q := range all {
			if time.Now().Before(q.next) {
				continue
			}
			ctx, leave, ok := o.steps.enter()
			if !ok {
				for _, q := range all {
					q.track.rest()
				}
				return
			}
			o.query(ctx, &l, q)
			leave()
			if o.ctx.Err() != nil {
				return
			}
		}
	})
}

// query asks one query and writes what it said.
func (o *Observer) query(ctx context.Context, l *line, q *query) {
	node, ok := o.nodes.primaryNode()
	if !ok {
		return // not provisioned yet
	}
	start := time.Now()
	began := o.Log.At(start)
	limit, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	var k evidence.Kind
	c, err := l.get(limit, node.URL)
	if err == nil {
		k, err = q.ask(limit, c)
	}
	if ctx.Err() != nil {
		return // a step has begun, or the observation has ended: it was not asked
	}
	took := time.Since(start)
	q.next = start.Add(queryEvery)
	if took > heavy {
		q.next = start.Add(5 * took)
	}
	switch {
	case err == nil:
		q.track.read()
		if p, is := k.(*evidence.Probe); is {
			o.breaks.invariant(*p)
		}
	case late(err) || !answered(err) && !errors.Is(err, errAnswer):
		q.track.lost(began, o.why(err))
		k = q.broken(o.why(err))
	default: // it was answered: a table is not there yet, or a column is gone
		q.track.read()
		k = q.broken(o.why(err))
	}
	if q.written.due(fmt.Sprintf("%+v", k), o.Log.Now(), evidence.Seconds(o.Beat), evidence.Seconds(queryEvery/2)) {
		o.Log.Put(k)
	}
}

// errAnswer is of an answer that is not what the query should return.
var errAnswer = errors.New("the query returned")

// collect lists the queries: jobs and invariants of the service, traps of the release.
func (o *Observer) collect() []*query {
	var all []*query
	add := func(of string, ask func(context.Context, *pgx.Conn) (evidence.Kind, error), broken func(string) evidence.Kind) {
		all = append(all, &query{of: of, ask: ask, broken: broken, track: o.track(of)})
	}
	probe := func(kind, of, unit, sql string) {
		add(kind+" "+of, func(ctx context.Context, c *pgx.Conn) (evidence.Kind, error) {
			var value *float64
			if err := c.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(&value); err != nil {
				return nil, err
			}
			if value == nil {
				return nil, fmt.Errorf("%w null, one number was expected", errAnswer)
			}
			return &evidence.Probe{Name: kind, Of: of, Value: *value, Unit: unit, OK: true}, nil
		}, func(why string) evidence.Kind { return &evidence.Probe{Name: kind, Of: of, Unit: unit, Error: why} })
	}
	if s := o.Service; s != nil {
		for _, name := range slices.Sorted(maps.Keys(s.Jobs)) {
			job := s.Jobs[name]
			add("job "+name, func(ctx context.Context, c *pgx.Conn) (evidence.Kind, error) {
				return o.job(ctx, c, name, job.Open, job.Failed)
			}, func(why string) evidence.Kind { return &evidence.Job{Name: name, Error: why} })
		}
		if s.Database != nil {
			for _, name := range slices.Sorted(maps.Keys(s.Database.Invariants)) {
				probe("invariant", name, "rows", "select count(*)::float8 from ("+inner(s.Database.Invariants[name])+"\n) q")
			}
		}
	}
	if r := o.Release; r != nil {
		for _, name := range slices.Sorted(maps.Keys(r.Traps)) {
			if r.Traps[name].Count == "" {
				continue // asked of a cache or by a command
			}
			probe("trap", name, "", "select ("+inner(r.Traps[name].Count)+"\n)::float8")
		}
	}
	return all
}

// job counts open and failed jobs. Each is a statement of its own. The age of the oldest is taken on the database's own
// clock, which may be another than ours.
func (o *Observer) job(ctx context.Context, c *pgx.Conn, name, open, failed string) (evidence.Kind, error) {
	j := &evidence.Job{Name: name, OK: true}
	var age *float64 // in seconds
	asked := o.Log.Now()
	err := c.QueryRow(ctx, "select count(*), extract(epoch from clock_timestamp() - min(q.created)::timestamptz)::float8 from ("+inner(open)+"\n) q(id, created)",
		pgx.QueryExecModeExec).Scan(&j.Open, &age)
	if err != nil {
		return nil, err
	}
	if age != nil {
		at := asked - evidence.Offset(*age)
		if *age < 0 { // that clock went back since: nobody knows when the job was opened, so it may be from before
			at = 0
		}
		j.Oldest = &at
	}
	if failed != "" {
		err = c.QueryRow(ctx, "select count(*) from ("+inner(failed)+"\n) q", pgx.QueryExecModeExec).Scan(&j.Failed)
		if err != nil {
			return nil, err
		}
	}
	return j, nil
}

// inner is a query of service.yaml as it can stand in brackets.
func inner(sql string) string { return strings.TrimRight(strings.TrimSpace(sql), "; \n\t") }
