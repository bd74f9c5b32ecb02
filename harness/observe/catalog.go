package observe

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// All statements in this file read raw catalogs and shared memory only. None calls a function that opens a user's
// table (pg_get_indexdef, pg_get_viewdef, pg_total_relation_size, ::regclass of one, ...): those queue behind ACCESS
// EXCLUSIVE. Tried on PostgreSQL 15; the columns exist since 15.

// state is what one statement says about a node.
type state struct {
	recovery     bool
	lsn          int64 // written, in recovery replayed
	receiver     bool  // a WAL receiver runs
	waiting      int   // backends that wait for a lock
	stamp        string
	goose        bool // goose's table is there
	subscription *string
	slot         *string
	enabled      *bool
	worker       *bool // its apply worker runs
	errors       *int64
	unsynced     *int64 // tables of the subscription whose first copy is not done
	slots        []string
	applied      []int64 // of slots
}

// stateSQL. The stamp covers the catalogs that migrations change, each row by its identity and the transaction that
// wrote it, so it changes with every change, also with one that is taken back later; it means nothing else, and a new
// cluster with the same schema has another. Objects of users have object ids from 16384 on (FirstNormalObjectId), and
// catalogs are indexed by them, so nothing is scanned. Catalogs that few migrations touch (enums, policies, extensions,
// ...) are left to the full digest, since each costs some microseconds ten times a second.
//
// A subscriber's position is what its apply worker has reported as applied, which is ahead of confirmed_flush_lsn by
// the time that its own WAL takes to reach the disk; without a worker it is confirmed_flush_lsn.
const stateSQL = `
select pg_is_in_recovery(),
  coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, '0/0'), 0)::bigint,
  exists (select from pg_stat_get_wal_receiver() where pid is not null),
  (select count(*) from pg_stat_get_activity(null) where wait_event_type = 'Lock' and application_name not like 'backout%'),
  (select concat(sum(h), '/', count(*)) from (
    select hash_record_extended(row(1, oid, xmin), 0) h from pg_class where oid >= 16384 and relpersistence <> 't'
    union all select hash_record_extended(row(2, attrelid, attnum, xmin), 0) from pg_attribute where attrelid >= 16384
    union all select hash_record_extended(row(3, oid, xmin), 0) from pg_constraint where oid >= 16384
    union all select hash_record_extended(row(4, indexrelid, xmin), 0) from pg_index where indexrelid >= 16384
    union all select hash_record_extended(row(5, oid, xmin), 0) from pg_attrdef where oid >= 16384
    union all select hash_record_extended(row(6, oid, xmin), 0) from pg_trigger where oid >= 16384
    union all select hash_record_extended(row(7, oid, xmin), 0) from pg_proc where oid >= 16384
    union all select hash_record_extended(row(8, oid, xmin), 0) from pg_type where oid >= 16384
    union all select hash_record_extended(row(9, oid, xmin), 0) from pg_rewrite where oid >= 16384
    union all select hash_record_extended(row(10, oid, xmin), 0) from pg_namespace) s),
  exists (select from pg_class where relname = 'goose_db_version' and relkind = 'r' and pg_table_is_visible(oid)),
  s.name, s.slot, s.enabled, s.worker, s.errors, s.unsynced,
  l.names, l.applied
from (select array_agg(r.slot_name::text order by r.slot_name) names,
        array_agg(pg_wal_lsn_diff(greatest(r.confirmed_flush_lsn, w.replay_lsn), '0/0')::bigint order by r.slot_name) applied
      from pg_get_replication_slots() r left join pg_stat_get_wal_senders() w on w.pid = r.active_pid
      where r.slot_type = 'logical' and r.confirmed_flush_lsn is not null) l
left join (
  select s.subname::text as name, s.subslotname::text as slot, s.subenabled as enabled,
    exists (select from pg_stat_get_subscription(s.oid) w where w.relid is null and w.pid is not null) worker,
    (select e.apply_error_count + e.sync_error_count from pg_stat_get_subscription_stats(s.oid) e) errors,
    (select count(*) from pg_subscription_rel r where r.srsubid = s.oid and r.srsubstate <> 'r') unsynced
  from pg_subscription s where s.subdbid = (select oid from pg_database where datname = current_database())
  order by s.subname limit 1) s on true`

func readState(ctx context.Context, c *pgx.Conn) (s state, err error) {
	err = c.QueryRow(ctx, stateSQL).Scan(&s.recovery, &s.lsn, &s.receiver, &s.waiting, &s.stamp, &s.goose,
		&s.subscription, &s.slot, &s.enabled, &s.worker, &s.errors, &s.unsynced, &s.slots, &s.applied)
	return s, err
}

// migrationSQL is the highest version that is applied. Old versions of goose add a row with is_applied false when they
// take a migration back, new ones delete the row.
const migrationSQL = `
select coalesce(max(version_id), 0) from (
  select distinct on (version_id) version_id, is_applied from goose_db_version order by version_id, id desc) v
where is_applied`

func readMigration(ctx context.Context, c *pgx.Conn) (version int64, err error) {
	err = c.QueryRow(ctx, migrationSQL).Scan(&version)
	return version, err
}
