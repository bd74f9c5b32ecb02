package rollback

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/service"
)

// How locks are looked for.
const (
	samples  = 11 // over a second, so that a transaction that is in every one of them is older than a second
	interval = 100 * time.Millisecond
	old      = time.Second
	// idle is how long a transaction may wait for its client. Every service that sends more than one statement in a
	// transaction is idle in it for moments, which stand in nobody's way.
	idle = 500 * time.Millisecond
)

// holders reads who holds a lock on the tables, from raw catalogs alone: every mode conflicts with ACCESS EXCLUSIVE.
// $1 is the list of tables. Sessions of other roles show neither their state nor their age to a role without
// pg_read_all_stats; then their transaction's number is all there is.
//
// Left out are the harness's own sessions and autovacuum, which has no user and gives its lock up to whoever waits for it,
// unless it prevents wraparound: then the table is older than the limit.
const holders = `
select l.virtualtransaction, coalesce(l.pid, 0), l.mode, c.relname,
       coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), -1)::float8,
       coalesce(extract(epoch from clock_timestamp() - a.state_change), -1)::float8,
       coalesce(a.query, ''), coalesce(p.gid, ''),
       coalesce(extract(epoch from clock_timestamp() - p.prepared), -1)::float8
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
left join pg_catalog.pg_locks x on l.pid is null and x.pid is null and x.locktype = 'transactionid' and x.granted
  and x.virtualtransaction = l.virtualtransaction
left join pg_catalog.pg_prepared_xacts p on p.transaction = x.transactionid
where l.locktype = 'relation' and l.granted
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and l.relation = any($1::oid[])
  and coalesce(a.application_name, '') not like 'backout%'
  and not (l.pid is not null and a.usesysid is null and l.mode = 'ShareUpdateExclusiveLock'
           and age(c.relfrozenxid) < current_setting('autovacuum_freeze_max_age')::bigint
           and mxid_age(c.relminmxid) < current_setting('autovacuum_multixact_freeze_max_age')::bigint)`

// holder is a transaction that holds a lock.
type holder struct {
	transaction      string
	pid              int
	mode, table      string
	user, app, state string
	age, idle        float64 // seconds; -1: hidden
	query, gid       string
	prepared         float64
	seen             int // samples
}

// blocks says why the holder is in the way; empty: it is not, or not yet known to be.
func (h holder) blocks() string {
	who := fmt.Sprintf("pid %d (%s%s)", h.pid, h.user, prefixed(", ", h.app))
	switch {
	case h.transaction == "": // none
	case h.pid == 0:
		return fmt.Sprintf("prepared transaction '%s'%s holds %s on %s", h.gid, since(h.prepared), h.mode, h.table)
	case strings.HasPrefix(h.state, "idle in transaction") && h.idle > idle.Seconds():
		return fmt.Sprintf("%s is %s%s and holds %s on %s", who, h.state, since(h.idle), h.mode, h.table)
	case h.age > old.Seconds():
		return fmt.Sprintf("%s is %s in a transaction%s and holds %s on %s", who, h.state, since(h.age), h.mode, h.table)
	case h.seen == samples:
		return fmt.Sprintf("%s has been in the same transaction for more than %s and holds %s on %s", who, old, h.mode, h.table)
	}
	return ""
}

func since(seconds float64) string {
	if seconds < 0 {
		return ""
	}
	return fmt.Sprintf(" for %.1f s", seconds)
}

func prefixed(with, s string) string {
	if s == "" {
		return ""
	}
	return with + s
}

// unblocked looks, for a second and on every node that the plan names, for what the steps' locks would wait for.
func unblocked(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	nodes := map[string]string{} // variable -> the plan's name for it
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		if v := p.Env[name]; service.IsDatabase(v) && nodes[v] == "" {
			nodes[v] = name
		}
	}
	if len(nodes) == 0 {
		return fmt.Errorf("expected a database in the plan's env, found none")
	}
	variables := slices.Sorted(maps.Keys(nodes))
	errs := make([]error, len(variables))
	blocked := make([][]string, len(variables))
	var all sync.WaitGroup
	for i, v := range variables {
		all.Go(func() {
			found, err := r.sample(ctx, r.Vars[v], c.Unblocked)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", nodes[v], err)
			}
			for _, h := range found {
				text := nodes[v] + ": " + h.blocks()
				switch {
				case h.query == "":
				case h.pid != 0 && h.state == "" && h.age < 0:
					text += " (what it does is hidden from this role: grant it pg_read_all_stats)"
				default:
					text += ": " + short(r.Log.Clean(h.query))
				}
				blocked[i] = append(blocked[i], text)
			}
		})
	}
	all.Wait()
	if found := slices.Concat(blocked...); len(found) > 0 {
		return foundf("%s", strings.Join(found, "; "))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sample returns the holders that are in the way on one node, by their transaction and table.
func (r *Runner) sample(ctx context.Context, url string, tables []string) ([]holder, error) {
	conn, err := r.connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer hangUp(ctx, conn)
	var oids []uint32
	for _, t := range tables {
		var oid *uint32
		if err := conn.QueryRow(ctx, "select to_regclass($1)::oid", t).Scan(&oid); err != nil {
			return nil, fmt.Errorf("look for the table %s: %w", t, err)
		}
		if oid == nil {
			return nil, fmt.Errorf("expected the table %s, found none", t)
		}
		oids = append(oids, *oid)
	}
	seen := map[string]holder{}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range samples {
		if i > 0 {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-tick.C:
			}
		}
		rows, err := conn.Query(ctx, holders, oids)
		if err != nil {
			return nil, fmt.Errorf("read who holds locks: %w", err)
		}
		now, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h holder, err error) {
			err = row.Scan(&h.transaction, &h.pid, &h.mode, &h.table, &h.user, &h.app, &h.state, &h.age, &h.idle, &h.query, &h.gid, &h.prepared)
			return h, err
		})
		if err != nil {
			return nil, fmt.Errorf("read who holds locks: %w", err)
		}
		counted := map[string]bool{}
		for _, h := range now {
			key := h.transaction + " " + h.table
			if counted[key] {
				continue // a transaction may hold several modes; one is enough to tell
			}
			counted[key] = true
			before := seen[key]
			if h.seen = before.seen + 1; h.blocks() == "" && before.blocks() != "" {
				continue // it is idle no longer: it was in the way all the same
			}
			seen[key] = h
		}
	}
	var blocking []holder
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if h := seen[key]; h.blocks() != "" {
			blocking = append(blocking, h)
		}
	}
	return blocking, nil
}

// short is one line of a query.
func short(query string) string {
	query = strings.Join(strings.Fields(query), " ")
	if r := []rune(query); len(r) > 120 {
		query = string(r[:120]) + "..."
	}
	return query
}
