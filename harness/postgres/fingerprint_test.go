package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/postgres"
)

// pair is two databases that stand for a primary and a subscriber, with the same script run in both.
func pair(t testing.TB, script string) (primary, logical postgres.Opened) {
	t.Helper()
	tr := nodes(t)
	primary = database(t, tr, script)
	logical = sibling(t, tr, primary, script)
	return primary, logical
}

func sibling(t testing.TB, tr *trio, of postgres.Opened, script string) postgres.Opened {
	t.Helper()
	var name string
	if err := of.QueryRow(t.Context(), "select current_database() || '_2'").Scan(&name); err != nil {
		t.Fatal(err)
	}
	do(t, tr.primary, "create database "+name)
	n := of.Node
	n.Name, n.Role = "logical", "logical"
	n.URL = strings.Replace(n.URL, strings.TrimSuffix(name, "_2"), name, 1)
	o, err := postgres.OpenNode(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	undo(t, tr.primary, "drop database "+name+" with (force)")
	t.Cleanup(o.Close)
	do(t, o, script)
	return o
}

func whole(t testing.TB, chunks []evidence.Chunk, node, table string) evidence.Chunk {
	t.Helper()
	for _, c := range chunks {
		if c.Node == node && c.Table == table && c.Lo == "" {
			return c
		}
	}
	t.Fatalf("no chunk of %s on %s in %+v", table, node, chunks)
	return evidence.Chunk{}
}

func TestCompareFindsHealthyNodesEqual(t *testing.T) {
	tr := nodes(t)
	quiet(t, tr)
	chunks := postgres.Compare(t.Context(), tr.all(), []string{"orders", "lines"})
	for _, c := range chunks {
		if !c.Equal || c.Error != "" || c.Count != 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, n := range []string{"primary", "streaming", "logical"} {
		if c := whole(t, chunks, n, "orders"); c.Rows != 5000 || c.Sum == "0" {
			t.Errorf("%s: expected 5000 rows, found %+v", n, c)
		}
	}
	whole(t, chunks, "streaming", "customers")
	for _, c := range chunks {
		if c.Node == "logical" && c.Table == "customers" {
			t.Error("a table that is not published was compared on the subscriber")
		}
	}
}

const couponTable = `create table orders (id bigint primary key, coupon text, total numeric(12,2), note citext_like, mark numeric, f float8, gap interval, doc jsonb);
	insert into orders select i, 'C' || i, i, 'note', 1.0, 0, '30 days', '{"a": 1}' from generate_series(1, 10000) i;`

func TestCompareSeesWhatDiffers(t *testing.T) {
	script := `create domain citext_like as text; create type mood as enum ('sad', 'ok');` + couponTable + `
		create table keyless (a int, b text); insert into keyless select i, 'b' || i from generate_series(1, 100) i;
		create table pairs (a int, b text, v int, primary key (b, a)); insert into pairs select i, 'b' || (i % 7), i from generate_series(1, 100) i;
		create table feelings (id int primary key, m mood); insert into feelings values (1, 'sad'), (2, 'ok');
		create table empty ();`
	primary, logical := pair(t, script)
	all := []string{"orders", "keyless", "pairs", "feelings", "empty"}
	for _, c := range []struct {
		name, sql, table string
		count            int64
		line             string // one of Differ
	}{
		{"nothing", "select 1", "", 0, ""},
		{"one value", "update orders set coupon = null where id = 17", "orders", 1, "id=17: coupon: primary 'C17', logical NULL"},
		{"two rows swap a value", "update orders set coupon = case id when 17 then 'C18' else 'C17' end where id in (17, 18)", "orders", 2, "id=18: coupon: primary 'C18', logical 'C17'"},
		{"a column shifted by one row", "update orders set coupon = 'C' || (id % 10000) + 1", "orders", 10000, "id=1: coupon: primary 'C1', logical 'C2'"},
		{"a row is gone", "delete from orders where id = 9998", "orders", 1, "id=9998: not on logical"},
		{"a row too many", "insert into orders (id) values (30000)", "orders", 1, "id=30000: on logical but not on primary"},
		{"another scale", "update orders set mark = 1.00 where id = 5", "orders", 1, "id=5: mark: primary '1.0', logical '1.00'"},
		{"minus zero", "update orders set f = '-0' where id = 5", "orders", 1, "id=5: f: primary '0', logical '-0'"},
		{"a month for 30 days", "update orders set gap = '1 mon' where id = 5", "orders", 1, "id=5: gap: primary '30 days', logical '1 mon'"},
		{"a document", `update orders set doc = '{"a": 1.0}' where id = 5`, "orders", 1, `id=5: doc: primary '{"a": 1}', logical '{"a": 1.0}'`},
		{"a column came back empty", "alter table orders drop column coupon; alter table orders add coupon text", "orders", 10000, "id=2: coupon: primary 'C2', logical NULL"},
		{"a column came back with its data", "alter table orders rename coupon to old; alter table orders add coupon text; update orders set coupon = old; alter table orders drop old", "", 0, ""},
		{"a column is missing", "alter table orders drop column coupon", "orders", 10000, "column coupon is missing on logical"},
		{"a column too many", "alter table orders add more int", "orders", 10000, "column more is on logical but not on the primary"},
		{"the table is missing", "drop table orders", "orders", 10000, "the table is missing on logical"},
		{"a type that holds the same", "alter table orders alter coupon type varchar(40)", "", 0, ""},
		{"a value of a table without a key", "update keyless set b = 'x' where a = 7", "keyless", 2, "(a='7', b='b7'): 1 times on primary, 0 on logical"},
		{"a swap in a table without a key", "update keyless set b = case a when 7 then 'b8' else 'b7' end where a in (7, 8)", "keyless", 4, "(a='7', b='b8'): 0 times on primary, 1 on logical"},
		{"a row twice in a table without a key", "insert into keyless values (7, 'b7')", "keyless", 1, "(a='7', b='b7'): 1 times on primary, 2 on logical"},
		{"a key of two columns", "update pairs set v = 0 where a = 7", "pairs", 1, "b=b0 a=7: v: primary '7', logical '0'"},
		{"values moved between parts of a key", "update pairs set a = 1007 where a = 7", "pairs", 2, "b=b0 a=1007: on logical but not on primary"},
		{"an enum", "update feelings set m = 'ok' where id = 1", "feelings", 1, "id=1: m: primary 'sad', logical 'ok'"},
		{"the key is gone and a row is there twice", "alter table feelings drop constraint feelings_pkey; insert into feelings values (1, 'sad')", "feelings", 1, "id=1: 1 times on primary, 2 on logical"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reset := "drop schema public cascade; create schema public; " + script
			undo(t, logical, reset)
			do(t, logical, c.sql)
			chunks := postgres.Compare(t.Context(), []postgres.Opened{primary, logical}, all)
			var inChunks int64
			for _, k := range chunks {
				if k.Error != "" {
					t.Errorf("%+v", k)
				}
				if k.Lo != "" {
					inChunks += k.Count
					if k.Equal || k.Table != c.table {
						t.Errorf("a chunk that should not be told: %+v", k)
					}
				} else if k.Equal != (k.Table != c.table || k.Node == "primary") {
					t.Errorf("equal is wrong in %+v", k)
				}
			}
			if c.table == "" {
				return
			}
			k := whole(t, chunks, "logical", c.table)
			if k.Count != c.count || len(k.Differ) > 20 {
				t.Errorf("expected %d rows that differ, found %+v", c.count, k)
			}
			if !strings.Contains(strings.Join(k.Differ, "\n"), c.line) && c.count < 20 || len(k.Differ) == 0 {
				t.Errorf("expected %q among %q", c.line, k.Differ)
			}
			if inChunks != 0 && inChunks != c.count {
				t.Errorf("the chunks hold %d rows that differ, expected %d", inChunks, c.count)
			}
		})
	}
}

func TestCompareCutsALargeTable(t *testing.T) {
	for _, key := range []string{"i::bigint", "'k' || i", "md5(i::text)::uuid", "timestamptz '2026-01-01' + i * interval '1 second'"} {
		t.Run(key, func(t *testing.T) {
			primary, logical := pair(t, fmt.Sprintf(`create table big as select %s as id, i as v from generate_series(1, 30000) i; alter table big add primary key (id)`, key))
			do(t, logical, "update big set v = -1 where v = 29000")
			chunks := postgres.Compare(t.Context(), []postgres.Opened{primary, logical}, []string{"big"})
			if len(chunks) != 3 {
				t.Fatalf("expected the two tables and one chunk, found %+v", chunks)
			}
			c := chunks[2]
			if c.Rows == 0 || c.Rows > 15000 || c.Count != 1 || c.Lo == "" || c.Hi == "" {
				t.Errorf("%+v", c)
			}
			if w := whole(t, chunks, "logical", "big"); w.Count != 1 || len(w.Differ) != 1 || !strings.HasSuffix(w.Differ[0], "v: primary '29000', logical '-1'") {
				t.Errorf("%+v", w)
			}
		})
	}
}

func TestCompareIsHonestAboutWhatItCannotRead(t *testing.T) {
	primary, logical := pair(t, "create table a (id int primary key)")
	gone := logical
	gone.Node.URL = "postgres://backout:x@127.0.0.1:1/shop"
	gone, err := postgres.OpenNode(t.Context(), gone.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	chunks := postgres.Compare(t.Context(), []postgres.Opened{primary, gone}, []string{"a"})
	if c := whole(t, chunks, "logical", "a"); c.Error == "" || c.Equal {
		t.Errorf("%+v", c)
	}
	chunks = postgres.Compare(t.Context(), []postgres.Opened{primary, logical}, []string{"a", "nowhere"})
	for _, n := range []string{"primary", "logical"} {
		if c := whole(t, chunks, n, "nowhere"); c.Error == "" || c.Equal {
			t.Errorf("%+v", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range postgres.Compare(ctx, []postgres.Opened{primary, logical}, []string{"a"}) {
		if c.Error == "" || c.Equal {
			t.Errorf("cancelled: %+v", c)
		}
	}
}
