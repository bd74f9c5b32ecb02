package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

func TestFrozen(t *testing.T) {
	script := `create table orders (id bigint primary key, coupon text, total numeric(12,2), created_at date);
		insert into orders select i, E'C\t' || i, i, date '2025-01-01' + i % 700 from generate_series(1, 3000) i;
		create table lines (order_id bigint, n int, primary key (order_id, n)); insert into lines select i, 1 from generate_series(1, 3000) i`
	primary, other := pair(t, script)
	do(t, primary, "create publication p for table orders, lines; create table alone (id int primary key); insert into alone values (1)")
	f, err := postgres.Freeze(t.Context(), primary, map[string]string{"orders": "created_at < '2026-01-01'", "public.lines": "order_id <= 1000", "alone": "true"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Drop(context.Background())
	kept := f.Tables()
	if got := f.Check(t.Context(), primary); len(got) != 3 {
		t.Errorf("on the primary: expected three tables, found %+v", got)
	}
	if got := f.Check(t.Context(), other); len(got) != 2 {
		t.Errorf("on the subscriber: expected the two published tables, found %+v", got)
	}
	if kept["lines"] != 1000 || kept["orders"] < 1000 || kept["orders"] > 2000 {
		t.Fatalf("kept %v", kept)
	}
	orders := kept["orders"]
	for _, c := range []struct {
		name, sql string
		bad       int64
		line      string
	}{
		{"nothing", "select 1", 0, ""},
		{"rows outside of the cohort", "update orders set coupon = 'x' where created_at >= '2026-01-01'; insert into orders values (9000, 'n', 1, '2026-05-05')", 0, ""},
		{"a column that was added, and another order of columns", "alter table orders add more int; alter table orders rename coupon to old; alter table orders add coupon text; update orders set coupon = old", 0, ""},
		{"a type that holds the same", "alter table orders alter coupon type varchar", 0, ""},
		{"a value", "update orders set coupon = null where id = 17", 1, "id=17: coupon: was 'C\t17', is NULL"},
		{"two rows swap a value", "update orders set total = 35 - id where id in (17, 18)", 2, "id=17: total: was '17.00', is '18.00'"},
		{"a missing row", "delete from orders where id = 17", 1, "id=17: missing"},
		{"a row that was not there", "insert into orders values (9000, 'n', 1, '2025-05-05')", 1, "id=9000: was not there before"},
		{"a column came back empty", "alter table orders drop coupon; alter table orders add coupon text", orders, "id=1: coupon: was"},
		{"a column is gone", "alter table orders drop coupon", orders, ""},
		{"the predicate's column is gone", "alter table orders drop created_at", orders, ""},
		{"the table is gone", "drop table orders", orders, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			undo(t, other, "drop schema public cascade; create schema public; "+script)
			do(t, other, c.sql)
			all := f.Check(t.Context(), other)
			got := finding(t, all, "logical/orders")
			if got.Check != evidence.CheckFrozen || !got.Asked || got.Checked != orders || got.Bad != c.bad || len(got.Rows) > 20 {
				t.Errorf("expected %d of %d bad, found %+v", c.bad, orders, got)
			}
			if c.line != "" && !strings.HasPrefix(strings.Join(got.Rows, "\n"), c.line) {
				t.Errorf("expected %q, found %q", c.line, got.Rows)
			}
			if lines := finding(t, all, "logical/lines"); lines.Bad != 0 || !lines.Asked {
				t.Errorf("%+v", lines)
			}
		})
	}
	if err := f.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := postgres.Texts(t.Context(), primary, "select datname from pg_database where datname like 'backout\\_%'"); err != nil || len(got) != 0 {
		t.Errorf("expected no scratch database, found %v, %v", got, err)
	}
	do(t, other, "update orders set coupon = 'x' where id = 1")
	undo(t, other, "drop schema public cascade; create schema public; "+script)
	if got := finding(t, f.Check(t.Context(), other), "logical/orders"); got.Asked || got.Error == "" {
		t.Errorf("without the copy: expected that it could not be asked, found %+v", got)
	}
	for _, wrong := range []map[string]string{{"orders": "id < 0"}, {"orders": "nonsense"}, {"nowhere": "true"}} {
		if _, err := postgres.Freeze(t.Context(), primary, wrong); err == nil {
			t.Errorf("freeze %v: expected an error", wrong)
		}
	}
	if got, err := postgres.Texts(t.Context(), primary, "select datname from pg_database where datname like 'backout\\_%'"); err != nil || len(got) != 0 {
		t.Errorf("after errors: expected no scratch database, found %v, %v", got, err)
	}
}

func TestReferences(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, `create table orders (id bigint primary key); insert into orders values (1), (2);
		create table lines (order_id bigint references orders, n int); insert into lines values (1, 1), (2, 1), (null, 1);
		create table refunds (order_id bigint); insert into refunds values (1), (7), (8), (null);
		create table pairs (a int, b int, primary key (a, b)); create table full_ (a int, b int, foreign key (a, b) references pairs match full);
		create table late (order_id bigint); insert into late values (5); alter table late add foreign key (order_id) references orders not valid;
		alter table lines disable trigger all; insert into lines values (99, 1); alter table lines enable trigger all;
		alter table full_ disable trigger all; insert into full_ values (1, null), (null, null)`)
	undeclared := []service.Reference{
		{From: service.Column{Table: "refunds", Name: "order_id"}, To: service.Column{Table: "orders", Name: "id"}},
		{From: service.Column{Table: "lines", Name: "order_id"}, To: service.Column{Table: "orders", Name: "id"}}, // declared too: asked once
		{From: service.Column{Table: "refunds", Name: "gone"}, To: service.Column{Table: "orders", Name: "id"}},
	}
	all := postgres.References(t.Context(), n, undeclared, nil)
	for _, c := range []struct {
		of           string
		checked, bad int64
		rows         []string
	}{
		{"primary/lines.order_id -> orders.id", 3, 1, []string{"order_id=99"}},
		{"primary/refunds.order_id -> orders.id", 3, 2, []string{"order_id=7", "order_id=8"}},
		{"primary/late.order_id -> orders.id", 1, 1, []string{"order_id=5"}},
		{"primary/full_.(a, b) -> pairs.(a, b)", 1, 1, []string{"a=1 b=NULL"}},
	} {
		f := finding(t, all, c.of)
		if !f.Asked || f.Checked != c.checked || f.Bad != c.bad || !slices.Equal(f.Rows, c.rows) {
			t.Errorf("expected %+v, found %+v", c, f)
		}
	}
	if f := finding(t, all, "primary/refunds.gone -> orders.id"); f.Asked || f.Error == "" {
		t.Errorf("%+v", f)
	}
	if len(all) != 5 {
		t.Errorf("expected 5 findings, found %+v", all)
	}
	if all := postgres.References(t.Context(), tr.bare(t), nil, nil); len(all) != 1 || !all[0].Asked || all[0].Of != "primary" {
		t.Errorf("without references: %+v", all)
	}
	n.Role = "logical"
	if all := postgres.References(t.Context(), n, undeclared, []string{"orders", "lines"}); len(all) != 1 {
		t.Errorf("on a subscriber: expected the one between published tables, found %+v", all)
	}
}

func TestInvariants(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, `create table orders (id int, total int); insert into orders select i, i from generate_series(1, 30) i; create table secret (id int);
		create view v as select o.id from orders o left join secret s using (id)`)
	given := map[string]string{
		"totals are positive":  "select id from orders where total < 0;\n",
		"totals are under ten": "select id, total from orders where total >= 10 -- many",
		"reads more":           "select id from v where id < 0",
		"broken":               "select nothing from orders",
	}
	all := postgres.Invariants(t.Context(), n, given, nil)
	if f := finding(t, all, "primary/totals are under ten"); !f.Asked || f.Bad != 21 || len(f.Rows) != 20 || f.Rows[0] != "(10,10)" {
		t.Errorf("%+v", f)
	}
	if f := finding(t, all, "primary/reads more"); !f.Asked || f.Bad != 0 || f.Text != "" {
		t.Errorf("%+v", f)
	}
	if f := finding(t, all, "primary/broken"); f.Asked || f.Error == "" {
		t.Errorf("%+v", f)
	}
	if f := finding(t, all, "primary/totals are positive"); !f.Asked || f.Bad != 0 || f.Checked != 1 {
		t.Errorf("%+v", f)
	}
	n.Role = "logical"
	all = postgres.Invariants(t.Context(), n, given, []string{"orders"})
	if f := finding(t, all, "primary/reads more"); !f.Asked || !strings.Contains(f.Text, "not applicable: it reads secret") {
		t.Errorf("%+v", f)
	}
	if f := finding(t, all, "primary/totals are under ten"); f.Bad != 21 {
		t.Errorf("%+v", f)
	}
}

func TestSequences(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, `create table a (id serial primary key); insert into a values (default), (default);
		create table b (id bigint generated always as identity primary key); insert into b overriding system value values (1);
		create sequence down increment -1; create table c (id int default nextval('down')); insert into c values (default), (default);
		create sequence alone; create table empty (id serial)`)
	check := func(of string, bad int64, text string) {
		t.Helper()
		if f := finding(t, postgres.Sequences(t.Context(), n), of); !f.Asked || f.Bad != bad || f.Text != text {
			t.Errorf("expected %d %q, found %+v", bad, text, f)
		}
	}
	check("primary/a_id_seq", 0, "")
	check("primary/b_id_seq", 1, "the next value is 1, but b.id is at 1 already")
	check("primary/down", 0, "")
	check("primary/empty_id_seq", 0, "")
	do(t, n, "insert into a values (10); insert into c values (-10)")
	check("primary/a_id_seq", 1, "the next value is 3, but a.id is at 10 already")
	check("primary/down", 1, "the next value is -3, but c.id is at -10 already")
	for _, f := range postgres.Sequences(t.Context(), tr.streaming) {
		if !f.Asked || f.Bad != 0 {
			t.Errorf("on the standby: %+v", f)
		}
	}
	if all := postgres.Sequences(t.Context(), tr.logical); len(all) != 0 {
		t.Errorf("on the subscriber: %+v", all)
	}
}

func migrations(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"00001_orders.sql": "-- +goose Up\ncreate table orders (id bigint generated always as identity primary key, total int);\n-- +goose Down\ndrop table orders;\n",
		"00002_coupon.sql": "-- +goose Up\nalter table orders add coupon text;\n-- +goose Down\nselect 1;\n",
		"00003_total.sql":  "-- +goose Up\nalter table orders drop total;\n-- +goose Down\nalter table orders add total int;\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTargetSchemaAndMigrations(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, "select 1")
	dir := migrations(t)
	do(t, n, "grant create, usage on schema public to shop_migrator; grant usage on schema public to shop; revoke usage on schema public from public; alter default privileges for role shop_migrator grant select on tables to shop; alter default privileges for role shop_migrator revoke execute on functions from public")
	// What goose records, made by hand in the node's own database.
	do(t, n, `set role shop_migrator; create table goose_db_version (id int primary key generated by default as identity, version_id bigint not null, is_applied boolean not null, tstamp timestamp not null default now());
		insert into goose_db_version (version_id, is_applied) values (0, true), (1, true), (2, true);
		create table orders (id bigint generated always as identity primary key, total int); alter table orders add coupon text`)
	two, err := postgres.TargetSchema(t.Context(), n, dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	found := read(t, n)
	if diff := postgres.Diff(two.Text, found.Text); diff != "" || !slices.Equal(two.Applied, []int64{1, 2}) {
		t.Fatalf("target %v:\n%s", two.Applied, diff)
	}
	one, err := postgres.TargetSchema(t.Context(), n, dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.TargetSchema(t.Context(), n, dir, 7); err == nil || !strings.Contains(err.Error(), "number 7") {
		t.Errorf("expected an error about 7, found %v", err)
	}
	if left, err := postgres.Texts(t.Context(), n, `select datname from pg_database where datname like 'backout\_target%'`); err != nil || len(left) != 0 {
		t.Errorf("scratch databases are left: %v, %v", left, err)
	}
	check := func(target postgres.Schema, bad int64, text string) {
		t.Helper()
		f := postgres.Migrations(t.Context(), n, target)[0]
		if !f.Asked || f.Bad != bad || !strings.Contains(f.Text, text) {
			t.Errorf("expected %d %q, found %+v", bad, text, f)
		}
	}
	check(two, 0, "[1 2] recorded, and the schema is that of them")
	check(one, 1, "expected [1], recorded is [1 2]")
	do(t, n, "delete from goose_db_version where version_id = 2") // the empty Down
	check(one, 1, "[1] recorded, but the schema is not that of them")
	check(two, 1, "the schema is that of [1 2], but recorded is [1]")
}

func TestLeftovers(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, "create table a (id int, v int)")
	all := []postgres.Opened{n}
	before, err := postgres.Snapshot(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if f := postgres.Leftovers(t.Context(), all, before)[0]; !f.Asked || f.Bad != 0 || f.Checked == 0 {
		t.Fatalf("%+v", f)
	}
	do(t, n, `create role left_behind; insert into a values (1, 1), (1, 2)`)
	undo(t, n, `drop role left_behind; alter role shop reset work_mem`)
	do(t, n, `create publication p`)
	do(t, n, `alter role shop set work_mem = '1MB'`)
	do(t, n, `select pg_create_physical_replication_slot('left_slot')`)
	undo(t, n, `select pg_drop_replication_slot('left_slot')`)
	if err := run(t.Context(), n.URL, "create unique index concurrently i on a (id)"); err == nil {
		t.Fatal("expected that the index cannot be made")
	}
	idle, err := pgx.Connect(t.Context(), n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close(context.Background())
	if _, err := idle.PgConn().Exec(t.Context(), "begin; select 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
	until(t, "the transaction is old enough to count", func() bool {
		return strings.Contains(strings.Join(postgres.Leftovers(t.Context(), all, before)[0].Rows, "\n"), "idle in transaction")
	})
	rows := strings.Join(postgres.Leftovers(t.Context(), all, before)[0].Rows, "\n")
	for _, want := range []string{"role left_behind", "publication p", "invalid index public.i", "replication slot left_slot", "setting work_mem=1MB of role shop", "a transaction of backout in t_testleftovers"} {
		if !strings.Contains(rows, want) {
			t.Errorf("%q is not in\n%s", want, rows)
		}
	}
	if f := postgres.Leftovers(t.Context(), all, nil)[0]; f.Asked {
		t.Errorf("without a snapshot: %+v", f)
	}
}
