package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/service"
)

// reference is a foreign key, declared or not.
type reference struct {
	from, to               string // tables, qualified and quoted
	fromColumns, toColumns []string
	full                   bool // MATCH FULL: all columns are null or none
}

func (r reference) name() string {
	one := func(table string, columns []string) string {
		if len(columns) == 1 {
			return shown(table) + "." + columns[0]
		}
		return shown(table) + ".(" + strings.Join(columns, ", ") + ")"
	}
	return one(r.from, r.fromColumns) + " -> " + one(r.to, r.toColumns)
}

// References looks for orphans: rows that lead nowhere, by every foreign key that the node declares, whether PostgreSQL
// enforces it (NOT VALID, triggers disabled) or not, and by those that service.yaml names. There is one finding
// CheckReferences for each, of "node/table.column -> table.column"; Checked counts the rows that refer to something.
// On a subscriber those between tables that are not both published are left out, since the others hold nothing. A node
// without any has one finding that says so.
func References(ctx context.Context, n Opened, undeclared []service.Reference, published []string) []evidence.Finding {
	failed := func(of string, err error) evidence.Finding {
		return evidence.Finding{Check: evidence.CheckReferences, Of: of, Error: err.Error()}
	}
	all, err := declared(ctx, n)
	if err != nil {
		return []evidence.Finding{failed(n.Name, err)}
	}
	var out []evidence.Finding
	for _, u := range undeclared {
		r := reference{fromColumns: []string{u.From.Name}, toColumns: []string{u.To.Name}}
		r.from, err = qualified(ctx, n, u.From.Table)
		if err == nil {
			r.to, err = qualified(ctx, n, u.To.Table)
		}
		if err != nil {
			out = append(out, failed(n.Name+"/"+r.name(), err))
			continue
		}
		if !slices.ContainsFunc(all, func(o reference) bool { return o.name() == r.name() }) {
			all = append(all, r)
		}
	}
	has, err := publishedOn(ctx, n, published)
	if err != nil {
		return append(out, failed(n.Name, err))
	}
	for _, r := range all {
		if !has(r.from) || !has(r.to) {
			continue
		}
		f := evidence.Finding{Check: evidence.CheckReferences, Of: n.Name + "/" + r.name()}
		if err := r.orphans(ctx, n, &f); err != nil {
			f = failed(f.Of, err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		out = append(out, evidence.Finding{Check: evidence.CheckReferences, Of: n.Name, Asked: true, Text: "there are no references"})
	}
	return out
}

// publishedOn tells which tables hold on this node what they hold on the primary.
func publishedOn(ctx context.Context, n Opened, published []string) (func(table string) bool, error) {
	if n.Role != Logical {
		return func(string) bool { return true }, nil
	}
	names := map[string]bool{}
	for _, p := range published {
		q, err := qualified(ctx, n, p)
		if err != nil {
			return nil, err
		}
		names[q] = true
	}
	return func(table string) bool { return names[table] }, nil
}

// declared is the foreign keys of a node. Those of partitions are told by the partitioned table.
func declared(ctx context.Context, n Opened) ([]reference, error) {
	rows, err := n.Query(ctx, `select format('%I.%I', fn.nspname, f.relname), format('%I.%I', tn.nspname, t.relname), c.confmatchtype = 'f',
			array(select a.attname::text from unnest(c.conkey) with ordinality k(num, place) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.num order by place),
			array(select a.attname::text from unnest(c.confkey) with ordinality k(num, place) join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.num order by place)
		from pg_constraint c join pg_class f on f.oid = c.conrelid join pg_namespace fn on fn.oid = f.relnamespace
		join pg_class t on t.oid = c.confrelid join pg_namespace tn on tn.oid = t.relnamespace
		where c.contype = 'f' and c.conparentid = 0 and fn.nspname !~ '^pg_' order by 1, 4`)
	if err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	var all []reference
	var r reference
	_, err = pgx.ForEachRow(rows, []any{&r.from, &r.to, &r.full, &r.fromColumns, &r.toColumns}, func() error {
		if !slices.ContainsFunc(all, func(o reference) bool { return o.name() == r.name() }) {
			all = append(all, r)
		}
		r.fromColumns, r.toColumns = nil, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	return all, nil
}

func (r reference) orphans(ctx context.Context, n Opened, f *evidence.Finding) error {
	var filled, empty, joined, text []string
	for i := range r.fromColumns {
		from, to := "f."+quote(r.fromColumns[i]), "t."+quote(r.toColumns[i])
		filled = append(filled, from+" is not null")
		empty = append(empty, from+" is null")
		joined = append(joined, to+" = "+from)
		text = append(text, fmt.Sprintf("%s || coalesce(%s::text, 'NULL')", literalSQL(r.fromColumns[i]+"="), from))
	}
	refers := strings.Join(filled, " and ")
	if r.full {
		refers = "not (" + strings.Join(empty, " and ") + ")"
	}
	lost := fmt.Sprintf("from %s f where %s and not exists (select from %s t where %s)", r.from, refers, r.to, strings.Join(joined, " and "))
	err := n.QueryRow(ctx, fmt.Sprintf("select (select count(*) from %s f where %s), (select count(*) %s)", r.from, refers, lost)).Scan(&f.Checked, &f.Bad)
	if err != nil {
		return err
	}
	f.Asked = true
	if f.Bad == 0 {
		return nil
	}
	f.Text = fmt.Sprintf("%d of %d rows of %s lead nowhere", f.Bad, f.Checked, shown(r.from))
	f.Rows, err = texts(ctx, n, fmt.Sprintf("select concat_ws(' ', %s) %s order by 1 limit %d", strings.Join(text, ", "), lost, told))
	return err
}

func literalSQL(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
