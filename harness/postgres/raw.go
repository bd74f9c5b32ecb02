package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// RawDigest is a digest of the raw catalogs, for probes: it never waits for a lock on a user's table, since it reads
// none and calls none of the functions that open one. It says that something changed, never that two databases are
// equal: expressions hold the numbers of columns, and a column that is dropped and added again has another number.
// What changes without DDL (statistics, file numbers, hints) is left out. Use a connection of OpenProbe.
func RawDigest(ctx context.Context, c Conn) (string, error) {
	var digest string
	// Prepared, since planning takes longer than reading; its result is one text whatever happens to the schema.
	if err := c.QueryRow(ctx, rawDigest, pgx.QueryExecModeCacheStatement).Scan(&digest); err != nil {
		return "", fmt.Errorf("read raw catalogs: %w", err)
	}
	return digest, nil
}

// rawDigest sums a hash of each row by catalog. Objects that users make have numbers from 16384 on
// (FirstNormalObjectId in src/include/access/transam.h); schema public is older, but its grants change. Rows of
// temporary tables, which come and go with sessions, are left out by the name of their schema.
const rawDigest = `
with ns as (
	select oid from pg_namespace where nspname !~ '^pg_(toast|temp)'
), rel as materialized (
	select oid, relname, relnamespace, reltype, relowner, relam, relkind, relpersistence, relispartition, relrowsecurity,
		relforcerowsecurity, relreplident, relispopulated, reloptions, relacl, relpartbound::text
	from pg_class where oid >= 16384 and relnamespace in (select oid from ns)
)
select md5(concat_ws(' ',
	(select sum(hashtextextended(rel::text, 0)) from rel),
	(select sum(hashtextextended((attrelid, attnum, attname, atttypid, atttypmod, attnotnull, atthasdef, attidentity, attgenerated,
		attisdropped, attstorage, attcompression, attcollation, attacl, attoptions)::text, 0))
		from pg_attribute where attrelid >= 16384 and attnum > 0 and attrelid in (select oid from rel)),
	(select sum(hashtextextended((adrelid, adnum, adbin)::text, 0)) from pg_attrdef where adrelid in (select oid from rel)),
	(select sum(hashtextextended(c::text, 0)) from pg_constraint c where oid >= 16384),
	(select sum(hashtextextended((indexrelid, indrelid, indisunique, indisprimary, indisexclusion, indimmediate, indisclustered,
		indisvalid, indisready, indislive, indisreplident, indkey, indcollation, indclass, indoption, indexprs, indpred)::text, 0))
		from pg_index where indexrelid in (select oid from rel)),
	(select sum(hashtextextended(s::text, 0)) from pg_sequence s where seqrelid in (select oid from rel)),
	(select sum(hashtextextended(i::text, 0)) from pg_inherits i where inhrelid >= 16384),
	(select sum(hashtextextended(p::text, 0)) from pg_partitioned_table p),
	(select sum(hashtextextended(t::text, 0)) from pg_trigger t where oid >= 16384),
	(select sum(hashtextextended(t::text, 0)) from pg_event_trigger t),
	(select sum(hashtextextended(w::text, 0)) from pg_rewrite w where oid >= 16384),
	(select sum(hashtextextended(p::text, 0)) from pg_proc p where oid >= 16384),
	(select sum(hashtextextended(a::text, 0)) from pg_aggregate a where aggfnoid >= 16384),
	(select sum(hashtextextended((oid, typname, typnamespace, typowner, typlen, typtype, typnotnull, typbasetype, typtypmod, typdefault, typacl)::text, 0))
		from pg_type where oid >= 16384 and typnamespace in (select oid from ns)),
	(select sum(hashtextextended(e::text, 0)) from pg_enum e),
	(select sum(hashtextextended(p::text, 0)) from pg_policy p),
	(select sum(hashtextextended(e::text, 0)) from pg_extension e),
	(select sum(hashtextextended(s::text, 0)) from pg_statistic_ext s),
	(select sum(hashtextextended(d::text, 0)) from pg_default_acl d),
	(select sum(hashtextextended((oid, nspname, nspowner, nspacl)::text, 0)) from pg_namespace where oid in (select oid from ns))))`
