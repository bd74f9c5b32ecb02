package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// Before is what was there in the baseline, by node.
type Before map[string][]string

// leftovers lists, in words, what a rollback may leave behind in a cluster that no reading of the schema shows.
// Sessions count only when their transaction is older than a second: younger ones are at work. The harness's own
// scratch databases and sessions are left out.
const leftovers = `
select format('database %I', datname) from pg_database where datname not like 'backout\_%'
union all select format('replication slot %I', slot_name) from pg_replication_slots where not temporary
union all select format('replication origin %I', roname) from pg_replication_origin where roname not like 'pg\_%'
union all select format('prepared transaction %L of database %I', gid, database) from pg_prepared_xacts
union all select format('role %I', rolname) from pg_roles where rolname !~ '^pg_'
union all select format('publication %I', pubname) from pg_publication
union all select format('subscription %I', subname) from pg_subscription
union all select format('invalid index %I.%I', n.nspname, c.relname) from pg_index x join pg_class c on c.oid = x.indexrelid
	join pg_namespace n on n.oid = c.relnamespace where not (x.indisvalid and x.indisready) and c.relkind = 'i'
union all select format('setting %s of %s', setting, concat_ws(' in ', case when s.setrole = 0 then 'every role' else 'role ' || quote_ident(pg_get_userbyid(s.setrole)) end,
	(select 'database ' || quote_ident(datname) from pg_database where oid = s.setdatabase))) from pg_db_role_setting s, unnest(s.setconfig) setting
	where s.setdatabase = 0 or s.setdatabase in (select oid from pg_database)
union all select format('ALTER SYSTEM SET %s', name) from pg_settings where sourcefile like '%/postgresql.auto.conf'
union all select format('process %s: a transaction of %s in %s, %s since %s s: %s', pid, usename, datname, state, extract(epoch from clock_timestamp() - xact_start)::int,
	left(regexp_replace(query, '\s+', ' ', 'g'), 80))
	from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'backout'
	and xact_start < clock_timestamp() - interval '1 second'`

// Snapshot notes what is there, for Leftovers.
func Snapshot(ctx context.Context, nodes []Opened) (Before, error) {
	before := Before{}
	for _, n := range nodes {
		found, err := texts(ctx, n, leftovers)
		if err != nil {
			return nil, fmt.Errorf("note what is on %s: %w", n.Name, err)
		}
		before[n.Name] = found
	}
	return before, nil
}

// Leftovers looks for what was not there before: one finding CheckLeftovers for each node. Every old or idle
// transaction counts, whether another one was there before or not.
func Leftovers(ctx context.Context, nodes []Opened, before Before) []evidence.Finding {
	var out []evidence.Finding
	for _, n := range nodes {
		f := evidence.Finding{Check: evidence.CheckLeftovers, Of: n.Name}
		known, noted := before[n.Name]
		found, err := texts(ctx, n, leftovers)
		switch {
		case err != nil:
			f.Error = err.Error()
		case !noted:
			f.Error = "what was there before is not known"
		default:
			f.Asked, f.Checked = true, int64(len(found))
			slices.Sort(found)
			for _, o := range found {
				if !slices.Contains(known, o) || strings.HasPrefix(o, "process ") {
					f.Bad++
					if len(f.Rows) < told {
						f.Rows = append(f.Rows, o)
					}
				}
			}
			if f.Bad > 0 {
				f.Text = fmt.Sprintf("%d that were not there before", f.Bad)
			}
		}
		out = append(out, f)
	}
	return out
}
