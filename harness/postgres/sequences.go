package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// Sequences compares each sequence with the column that it numbers, which it is owned by or which takes it as its
// default: one finding CheckSequences for each, of "node/sequence", bad when the next value is there already or was
// passed. A node without any has one finding that says so. A subscriber's sequences stay where they were, so there they are not asked.
func Sequences(ctx context.Context, n Opened) []evidence.Finding {
	if n.Role == Logical {
		return nil
	}
	rows, err := n.Query(ctx, `select distinct format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), a.attname::text, q.seqincrement
		from pg_sequence q join pg_class s on s.oid = q.seqrelid join pg_namespace sn on sn.oid = s.relnamespace
		join lateral (
			select d.refobjid as rel, d.refobjsubid as num from pg_depend d
			where d.classid = 'pg_class'::regclass and d.objid = s.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
			union select f.adrelid, f.adnum from pg_depend d join pg_attrdef f on f.oid = d.objid
			where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
		) of on true
		join pg_class t on t.oid = of.rel join pg_namespace tn on tn.oid = t.relnamespace
		join pg_attribute a on a.attrelid = of.rel and a.attnum = of.num and not a.attisdropped
		where sn.nspname !~ '^pg_' and s.relpersistence = 'p' and t.relkind in ('r', 'p') and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
		order by 1, 2, 3`)
	type numbered struct {
		Sequence, Table, Column string
		Increment               int64
	}
	var all []numbered
	if err == nil {
		all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[numbered])
	}
	if err != nil {
		return []evidence.Finding{{Check: evidence.CheckSequences, Of: n.Name, Error: fmt.Sprintf("read sequences: %v", err)}}
	}
	var out []evidence.Finding
	for _, s := range all {
		f := evidence.Finding{Check: evidence.CheckSequences, Of: n.Name + "/" + shown(s.Sequence), Checked: 1}
		reach, passed := "max", "<="
		if s.Increment < 0 {
			reach, passed = "min", ">="
		}
		var next, used string
		var behind bool
		err := n.QueryRow(ctx, fmt.Sprintf(`select next::text, coalesce(used::text, ''), coalesce(next %s used, false)
			from (select case when is_called then last_value + %d else last_value end::numeric as next from %s) s,
				(select %s(%s)::numeric as used from %s) t`, passed, s.Increment, s.Sequence, reach, quote(s.Column), s.Table)).Scan(&next, &used, &behind)
		if err != nil {
			f.Checked, f.Error = 0, err.Error()
			out = append(out, f)
			continue
		}
		f.Asked = true
		if behind {
			f.Bad = 1
			f.Text = fmt.Sprintf("the next value is %s, but %s.%s is at %s already", next, shown(s.Table), s.Column, used)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		out = append(out, evidence.Finding{Check: evidence.CheckSequences, Of: n.Name, Asked: true, Text: "no sequence numbers a column"})
	}
	return out
}
