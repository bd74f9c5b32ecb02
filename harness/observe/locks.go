package observe

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// lockSQL tells how many backends have waited for at least $1 milliseconds, ours left out, and describes the longest
// wait: its table (of a row lock: the table whose row it is), its statement, and who blocks it. It is run only when
// somebody waits, since pg_blocking_pids locks out the lock manager while it looks.
const lockSQL = `
with waits as materialized (
  select l.pid, l.locktype,
    case when l.database in (0, (select oid from pg_database where datname = current_database())) then l.relation end as relation,
    clock_timestamp() - l.waitstart as waited, left(a.query, 2000) as query, count(*) over () as waiting
  from pg_locks l join pg_stat_activity a on a.pid = l.pid
  where not l.granted and l.waitstart is not null and a.application_name not like 'backout%'
    and clock_timestamp() - l.waitstart >= $1 * interval '1 millisecond'
  order by l.waitstart limit 1)
select w.waiting, extract(epoch from w.waited)::float8, w.query,
  coalesce((select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = coalesce(w.relation, (select t.relation from pg_locks t where t.pid = w.pid and t.locktype = 'tuple' and t.granted limit 1))),
    case w.locktype when 'transactionid' then 'a row' when 'tuple' then 'a row' else w.locktype end),
  coalesce(b.blocker, 'nobody any more')
from waits w left join lateral (
  select case
      when p.pid = 0 then 'a prepared transaction'
      when a.pid is null then 'a backend that has ended'
      when a.application_name like 'backout%' then 'the harness''s own connection: ' || left(a.query, 2000)
      when a.state = 'active' then left(a.query, 2000)
      else coalesce(a.state, a.backend_type) || ', last: ' || left(a.query, 2000) end as blocker
  from unnest(pg_blocking_pids(w.pid)) with ordinality p(pid, place) left join pg_stat_activity a on a.pid = p.pid
  order by (a.application_name like 'backout%') is true, p.place limit 1) b on true`

// readLocks describes the waits on a node of at least an interval: a shorter one is between two readings anyway, and
// two users who want the same row are no evidence.
func (o *Observer) readLocks(ctx context.Context, c *pgx.Conn, node string) (*evidence.Lock, error) {
	r := &evidence.Lock{Node: node}
	rows, err := c.Query(ctx, lockSQL, float64(o.Interval)/float64(time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&r.Waiting, &r.Longest, &r.Query, &r.Relation, &r.Blocker); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	r.Query, r.Blocker = o.clean(oneLine(r.Query)), o.clean(oneLine(r.Blocker))
	return r, nil
}
