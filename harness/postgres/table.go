package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// table is a table as one node has it.
type table struct {
	Name    string // qualified and quoted, ready for SQL
	Columns map[string]column
	Key     []string // of the primary key, else of a unique index over columns that are not null; in its order
}

// column is a column as one node has it.
type column struct {
	Name    string
	Type    string // with its modifier, "numeric(12,2)"
	NotNull bool
	// Native says that equal hashes of its type mean equal texts; otherwise it is hashed as text.
	Native bool
	// Hash is the function that takes a value and a seed, where SQL can call it; empty: only inside of a ROW.
	Hash string
}

// shown is a table's name for people: as in service.yaml, without the schema public.
func shown(qualified string) string { return strings.TrimPrefix(qualified, "public.") }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// natives is each type whose values are equal exactly when their texts are, and which gives the same hash on every
// node, with its hash function where SQL can call that. All others are hashed as text: equal floats (0, -0), intervals
// (30 days, a month), citext and numerics (1.0, 1.00) have different texts, an enum's hash is that of its number in
// the catalog, and json, xml, money, bit, point ... have none. A numeric with a stated scale is stored with that scale.
func natives() map[string]string {
	return map[string]string{
		"smallint": "hashint2extended", "integer": "hashint4extended", "bigint": "hashint8extended", "oid": "hashoidextended",
		"text": "hashtextextended", "character varying": "hashtextextended", "uuid": "uuid_hash_extended",
		"numeric()": "hash_numeric_extended", "timestamp without time zone": "timestamp_hash_extended",
		"time without time zone": "time_hash_extended", "timestamp with time zone": "", "date": "", "bytea": "", "boolean": "",
	}
}

// kinded fills Native and Hash from the type.
func (c column) kinded() column {
	name, modifier, has := strings.Cut(c.Type, "(")
	if has {
		_, rest, _ := strings.Cut(modifier, ")") // "timestamp(3) with time zone"
		name = strings.TrimSpace(name) + rest
		if name == "numeric" {
			name = "numeric()"
		}
	}
	c.Hash, c.Native = natives()[name]
	return c
}

// function is the call of the type's hash function with a seed. Neither locale nor a collation that ignores case decides.
func (c column) function(seed string) string {
	value := quote(c.Name)
	switch {
	case c.Hash == "" || !c.Native:
		return fmt.Sprintf(`hashtextextended(%s::text collate "C", %s)`, value, seed)
	case c.Hash == "hashtextextended":
		value += ` collate "C"`
	}
	return fmt.Sprintf("%s(%s, %s)", c.Hash, value, seed)
}

// tables is the permanent tables of a node's database outside of system schemas, by qualified name.
func tables(ctx context.Context, c Conn) (map[string]*table, error) {
	rows, err := c.Query(ctx, `select format('%I.%I', n.nspname, c.relname), a.attname::text, format_type(a.atttypid, a.atttypmod),
			coalesce(a.attnotnull, false), coalesce(k.place, 0)::int
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		left join lateral (select x.indkey from pg_index x where x.indrelid = c.oid and x.indisunique and x.indisvalid
			and x.indpred is null and x.indexprs is null and (x.indisprimary or not exists (
				select from pg_attribute b where b.attrelid = c.oid and b.attnum = any(x.indkey) and not b.attnotnull))
			order by x.indisprimary desc, x.indisreplident desc, x.indexrelid limit 1) i on true
		left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		left join lateral unnest(i.indkey::int2[]) with ordinality k(num, place) on k.num = a.attnum
		where c.relkind in ('r', 'p') and c.relpersistence = 'p' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
		order by 1, 5, a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	all := map[string]*table{}
	var name string
	var attribute, typ *string
	var notNull bool
	var place int
	_, err = pgx.ForEachRow(rows, []any{&name, &attribute, &typ, &notNull, &place}, func() error {
		t := all[name]
		if t == nil {
			t = &table{Name: name, Columns: map[string]column{}}
			all[name] = t
		}
		if attribute == nil { // a table may have no columns
			return nil
		}
		t.Columns[*attribute] = column{Name: *attribute, Type: *typ, NotNull: notNull}.kinded()
		if place > 0 {
			t.Key = append(t.Key, *attribute)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	return all, nil
}

// qualified is the name in the catalog's own writing of a table as service.yaml names it.
func qualified(ctx context.Context, c Conn, name string) (string, error) {
	if !strings.Contains(name, ".") {
		name = "public." + name
	}
	found, err := texts(ctx, c, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.oid = to_regclass($1)`, name)
	if err != nil {
		return "", fmt.Errorf("look for table %s: %w", name, err)
	}
	if len(found) == 0 {
		return name, nil // as it is: whoever asks says that it is missing
	}
	return found[0], nil
}

// hashing is how the rows of a table are hashed, the same on all nodes.
type hashing struct {
	columns []column // by name
	key     []string
}

// agree makes the hashing of a table from what the first node has. A column whose type differs on another node is
// hashed as text.
func agree(first *table, others ...*table) hashing {
	h := hashing{key: first.Key}
	for _, c := range first.Columns {
		for _, o := range others {
			if other, is := o.Columns[c.Name]; is {
				c.Native = c.Native && other.Type == c.Type
				c.NotNull = c.NotNull && other.NotNull
			}
		}
		h.columns = append(h.columns, c)
	}
	slices.SortFunc(h.columns, func(a, b column) int { return strings.Compare(a.Name, b.Name) })
	return h
}

// inRow is the column so that its hash in a ROW is that of its text.
func (c column) inRow() string {
	switch {
	case !c.Native:
		return quote(c.Name) + "::text"
	case c.Hash == "hashtextextended":
		return quote(c.Name) + ` collate "C"`
	}
	return quote(c.Name)
}

// keyHash is an expression for the hash of the key: the hash of one column is the seed of the next one's.
func (h hashing) keyHash() string {
	seed := "0"
	for _, name := range h.key {
		i := slices.IndexFunc(h.columns, func(c column) bool { return c.Name == name })
		seed = h.columns[i].function(seed)
	}
	return seed
}

// rowHash is an expression for the hash of a row: of all its columns, found by name, seeded with the hash of the key.
// Without that seed a sum over rows would be blind to values that moved from one row to another, since
// hash_record_extended adds up its columns. Columns that are never null need no record, whose making costs more than
// the hashing, so they go on with the chain of seeds that the key began; the others follow as a ROW. Without a key the
// row's hash is hashed again, which unties its columns from each other just as well.
func (h hashing) rowHash() string {
	seed := h.keyHash()
	var rest []string
	for _, c := range h.columns {
		switch {
		case slices.Contains(h.key, c.Name):
		case c.NotNull && c.Native && c.Hash != "":
			seed = c.function(seed)
		default:
			rest = append(rest, c.inRow())
		}
	}
	if len(rest) > 0 {
		seed = fmt.Sprintf("hash_record_extended(ROW(%s), %s)", strings.Join(rest, ", "), seed)
	}
	if len(h.key) == 0 {
		return "hashint8extended(" + seed + ", 0)"
	}
	return seed
}

// sumSQL counts the rows of a table and sums their hashes. sum(bigint) adds in 128 bits and works in parallel.
func (h hashing) sumSQL(table, where string) string {
	return "select count(*), coalesce(sum(" + h.rowHash() + "), 0)::text from " + table + where
}
