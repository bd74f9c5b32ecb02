package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"backout/harness/postgres"
)

func read(t testing.TB, n postgres.Opened) postgres.Schema {
	t.Helper()
	var s postgres.Schema
	until(t, "the schema of "+n.Name+" is read within its time-outs", func() (read bool) {
		var err error
		s, err = postgres.ReadSchema(t.Context(), n.Pool)
		if err != nil && !strings.Contains(err.Error(), "timeout") { // a busy machine may need a second try
			t.Fatalf("%s: %v", n.Name, err)
		}
		return err == nil
	})
	return s
}

func TestSchemaOfEveryNodeIsTheSame(t *testing.T) {
	tr := nodes(t)
	quiet(t, tr)
	p := read(t, tr.primary)
	if testing.Verbose() {
		t.Log("\n" + p.Text)
	}
	for _, n := range []postgres.Opened{tr.streaming, tr.logical} {
		s := read(t, n)
		if s.Digest() != p.Digest() {
			t.Errorf("%s:\n%s", n.Name, postgres.Diff(p.Text, s.Text))
		}
	}
	if want := []int64{1, 2}; !slices.Equal(p.Applied, want) {
		t.Errorf("applied: expected %v, found %v", want, p.Applied)
	}
	if strings.Contains(p.Text, "goose") {
		t.Error("goose's own table is in the text")
	}
	for _, want := range []string{
		"column public.orders.coupon_code: text  -- position 3\n",
		"column public.orders.total: numeric(12,2) not null default 0",
		"constraint public.lines.lines_order_id_fkey: FOREIGN KEY (order_id) REFERENCES public.orders(id)\n",
		"trigger public.lines.touched: ", "view public.orders_view: ", "enum public.mood: 'sad', 'ok'",
		"grant on table public.orders to shop: DELETE by shop_migrator, INSERT by shop_migrator, SELECT by shop_migrator, UPDATE by shop_migrator\n",
		"sequence public.orders_id_seq: bigint from 1 by 1", "default privileges of shop_migrator on tables to shop: ",
	} {
		if !strings.Contains(p.Text, want) {
			t.Errorf("%q is not in the text", want)
		}
	}
}

func TestSchemaSeesEveryChange(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, `create table a (id int primary key, v text collate "C" default 'x', w int);
		create table b (id int primary key, a int references a);
		create index a_v on a (v); create sequence s; create view x as select id, v from a; create materialized view m as select id from a;
		create function f(i int) returns int language sql as 'select i'; create domain d as int check (value > 0); create type c as (p int, q text);
		create type e as enum ('one'); create function tf() returns trigger language plpgsql as 'begin return new; end';
		create trigger tr before insert on a for each row execute function tf(); create policy po on a using (id > 1);
		create statistics st on id, w from a; create rule r as on delete to b do also select 1;
		create aggregate total(int) (sfunc = int4pl, stype = int);
		create table parts (id int) partition by range (id); create table part1 partition of parts for values from (1) to (5);`)
	before := read(t, n)
	raw, err := postgres.RawDigest(t.Context(), n.Pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ sql, line string }{
		{"alter table a drop column w", "column public.a.w is missing"},
		{"alter table a alter v set default 'y'", "column public.a.v: expected text collate \"C\" default 'x'::text, found text collate \"C\" default 'y'::text"},
		{"alter table a alter v type varchar", "column public.a.v: expected"},
		{"alter table a alter w set not null", "column public.a.w: expected integer, found integer not null"},
		{"alter table a alter v set storage external", "column public.a.v: expected"},
		{"alter table a add z int", "column public.a.z is not in the target"},
		{"alter table b drop constraint b_a_fkey", "constraint public.b.b_a_fkey is missing"},
		{"alter table b drop constraint b_a_fkey, add constraint b_a_fkey foreign key (a) references a not valid", "NOT VALID"},
		{"alter table b disable trigger all", "not enforced: 2 of its triggers changed (D)"},
		{"alter table a disable trigger tr", ", disabled"},
		{"drop index a_v", "index public.a_v is missing"},
		{"update pg_index set indisvalid = false where indexrelid = 'a_v'::regclass", "invalid"},
		{"alter sequence s increment 2", "sequence public.s: expected"},
		{"create or replace view x as select id, v || 'x' as v from a", "column"},
		{"create or replace function f(i int) returns int language sql as 'select i + 1'", "function public.f(i integer): expected"},
		{"alter function f(int) set work_mem = '1MB'", "set work_mem"},
		{"alter domain d set default 3", "domain public.d: expected"},
		{"alter type c add attribute z int", "type public.c: expected"},
		{"alter type e add value 'two'", "enum public.e: expected 'one', owner backout, found 'one', 'two', owner backout"},
		{"alter policy po on a using (id > 2)", "policy public.a.po: expected"},
		{"alter table a enable row level security", "row security"},
		{"grant select on a to shop", "grant on table public.a to shop is not in the target"},
		{"grant select (v) on a to shop", "grant on column public.a.v to shop is not in the target"},
		{"grant create on schema public to shop", "grant on schema public to shop"},
		{"alter default privileges grant select on tables to shop", "default privileges of backout on tables to shop"},
		{"alter table a owner to shop", "owner shop"},
		{"alter table a replica identity full", "replica identity full"},
		{"drop statistics st", "statistics public.st is missing"},
		{"drop rule r on b", "rule public.b.r is missing"},
		{"drop table part1", "table public.part1 is missing"},
		{"alter table a set (fillfactor = 50)", "fillfactor=50"},
		{"create schema more", "schema more is not in the target"},
		{"drop aggregate total(int)", "aggregate public.total(integer) is missing"},
		{"create event trigger et on ddl_command_start execute function etf()", "event trigger et"},
		{"refresh materialized view m with no data", "not populated"},
	} {
		t.Run(change.sql, func(t *testing.T) {
			sql := change.sql
			if strings.HasPrefix(sql, "create event trigger") {
				sql = "create function etf() returns event_trigger language plpgsql as 'begin end'; " + sql
			}
			if strings.Contains(sql, "view x") {
				sql = strings.Replace(sql, "v || 'x' as v", "(v || 'x') collate \"C\" as v", 1)
				change.line = "view public.x: expected"
			}
			if strings.Contains(sql, "alter v type") {
				sql = "drop view x; " + sql
			}
			// One transaction that is rolled back; read from within it.
			ctx := t.Context()
			c, err := pgx.Connect(ctx, n.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.Background())
			if strings.Contains(sql, "add value") { // its new value can be read only after a commit
				do(t, n, sql)
				undo(t, n, "drop type e; create type e as enum ('one')")
			} else {
				if _, err := c.PgConn().Exec(ctx, "begin isolation level repeatable read; set allow_system_table_mods = on; select 1").ReadAll(); err != nil {
					t.Fatal(err)
				}
				if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			after, err := postgres.ReadWithin(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if after.Digest() == before.Digest() {
				t.Fatal("the canonical schema has not changed")
			}
			if diff := postgres.Diff(before.Text, after.Text); !strings.HasPrefix(diff, "--- target\n+++ found\n@@") {
				t.Errorf("diff: %s", diff)
			}
			words := strings.Join(postgres.Differences(before.Text, after.Text), "\n")
			if !strings.Contains(words, change.line) {
				t.Errorf("expected %q in:\n%s", change.line, words)
			}
			now, err := postgres.RawDigest(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if now == raw {
				t.Error("the raw digest has not changed")
			}
		})
	}
	if after := read(t, n); after.Digest() != before.Digest() {
		t.Errorf("after all of it:\n%s", postgres.Diff(before.Text, after.Text))
	}
}

func TestColumnPositionIsShownNotJudged(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, "create table a (id int, coupon text, total int)")
	before := read(t, n)
	do(t, n, "alter table a drop column coupon; alter table a add coupon text")
	after := read(t, n)
	if !strings.Contains(before.Text, "coupon: text  -- position 2") || !strings.Contains(after.Text, "coupon: text  -- position 3") {
		t.Errorf("positions are not shown:\n%s\n%s", before.Text, after.Text)
	}
	if before.Digest() != after.Digest() || postgres.Diff(before.Text, after.Text) != "" || postgres.Differences(before.Text, after.Text) != nil {
		t.Errorf("position is judged: %s", postgres.Diff(before.Text, after.Text))
	}
}

func TestReadingsDoNotWaitBehindADDL(t *testing.T) {
	tr := nodes(t)
	n := database(t, tr, "create table a (id int primary key); create view v as select id from a; create index i on a (id)")
	calm, err := postgres.RawDigest(t.Context(), n.Pool)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := n.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "lock table a in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	probe, err := postgres.OpenProbe(t.Context(), n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	raw, err := postgres.RawDigest(t.Context(), probe)
	if err != nil || raw != calm {
		t.Errorf("the raw digest under a lock: expected the same as before, found %q, %v", raw, err)
	}
	if _, err := postgres.ReadSchema(t.Context(), probe); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("the canonical reading under a lock: expected a lock timeout, found %v", err)
	}
}

func BenchmarkRawDigest(b *testing.B) {
	tr := nodes(b)
	probe, err := postgres.OpenProbe(b.Context(), tr.primary.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer probe.Close()
	for b.Loop() {
		if _, err := postgres.RawDigest(b.Context(), probe); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSchema(b *testing.B) {
	tr := nodes(b)
	for b.Loop() {
		read(b, tr.primary)
	}
}
