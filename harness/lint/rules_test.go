package lint

import (
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/service"
)

// sizes of the cases: orders is large, coupons is not, and nobody says what others are.
var sizes = Sizes{Rows: map[string]int{"orders": 5_000_000, "coupons": 20}, Large: 100_000}

const (
	up      = "-- +goose Up\n"
	down    = "\n-- +goose Down\n"
	limit   = "set local lock_timeout = '3s';\n"
	without = "-- +goose NO TRANSACTION\n"
)

// cases are SQL by the rule that must speak of it, and SQL that is nearly the same of which it must not.
var cases = map[string]struct{ speaks, silent []string }{
	"no-down": {
		[]string{
			up + limit + "alter table orders add column a int;",
			up + limit + "alter table orders add column a int;" + down,
			up + limit + "alter table orders add column a int;" + down + "select 'down SQL query';",
			up + limit + "alter table orders add column a int;" + down + "SELECT 1; -- nothing to do",
			up + limit + "alter table orders add column a int;" + down + limit,
		},
		[]string{
			up + limit + "alter table orders add column a int;" + down + limit + "alter table orders drop column a;",
			up + "insert into coupons values (1);" + down + "do $$ begin raise exception 'there is no way back'; end $$;",
			up + "select setval('a', 1);" + down + "select setval('a', 2);",
			up + "select 1;",
			limit + "alter table orders add column a int;", // a script for psql has no Down
		},
	},
	"down-incomplete": {
		[]string{
			up + "create table a (id int);\ncreate table b (id int);" + down + "drop table b;",
			up + limit + "alter table orders add column a int, add column b int;" + down + limit + "alter table orders drop column a;",
			up + limit + "alter table orders rename column a to b;" + down + limit + "comment on table orders is 'x';",
			up + limit + "alter table orders drop column a;" + down + "comment on table orders is 'x';",
			up + limit + "drop table coupons;" + down + "comment on table orders is 'x';",
		},
		[]string{
			up + "create table a (id int);" + down + "drop table a;",
			up + limit + "alter table orders rename column a to b;" + down + limit + "alter table orders rename column b to a;",
			up + "create table a (id int);\ndrop table a;\ninsert into coupons values (1);" + down + "delete from coupons where id = 1;",
			up + limit + "alter table orders drop column a;" + down + limit + "alter table orders add column a int;",
			up + "create table a (id int);\nalter table a add column b int;" + down + "drop table a;",
		},
	},
	"down-loses-data": {
		[]string{
			up + "alter table orders add column a int;" + down + "alter table orders drop column a;",
			up + "create table a (id int);\ninsert into a select id from orders;" + down + "drop table a;",
			up + "alter table orders add column a int;" + down + "update orders set b = 1 where a = 2;\nalter table orders drop column a;",
			up + "create table a (id int);" + down + "truncate a;",
		},
		[]string{
			up + "alter table orders add column a int;" + down + "create table kept as select id, a from orders;\nalter table orders drop column a;",
			up + "alter table orders add column a int;" + down + "update orders set b = a where b is null;\nalter table orders drop column a;",
			up + "create table a (id int);" + down + "insert into b select * from a;\ndrop table a;",
			up + "create table a (id int);" + down + "update orders o set x = a.id from a where a.id = o.id;\ndrop table a;",
			up + "select 1;" + down + "create temp table t (id int);\ndrop table t;",
			"drop table a;", // not a Down
		},
	},
	"up-loses-data": {
		[]string{up + "alter table orders drop column a;", up + "drop table coupons;"},
		[]string{up + "create table kept as select id, a from orders;\nalter table orders drop column a;", up + "insert into kept select * from coupons;\ndrop table coupons;"},
	},
	"down-brings-back-empty": {
		[]string{
			up + "create table k as select id, a from orders;\nalter table orders drop column a;" + down + "alter table orders add column a int;\ndrop table k;",
			up + "insert into k select * from coupons;\ndrop table coupons;" + down + "create table coupons (id int);",
		},
		[]string{
			up + "create table k as select id, a from orders;\nalter table orders drop column a;" + down + "alter table orders add column a int;\nupdate orders o set a = k.a from k where k.id = o.id;\ndrop table k;",
			up + "insert into k select * from coupons;\ndrop table coupons;" + down + "create table coupons (id int);\ninsert into coupons select * from k;",
		},
	},
	"add-column-rewrites": {
		[]string{"alter table orders add column a uuid default gen_random_uuid();", "alter table orders add column a bigserial;", "alter table orders add column a int generated always as identity;",
			"alter table orders add column a int generated always as (b * 2) stored;", "alter table unknown add column a float default random();", "alter table orders add column a timestamptz default clock_timestamp();"},
		[]string{"alter table orders add column a int default 5;", "alter table orders add column a timestamptz not null default now();", "alter table coupons add column a uuid default gen_random_uuid();",
			"create table new (id int);\nalter table new add column a uuid default gen_random_uuid();", "alter table orders add column a timestamptz default current_timestamp;"},
	},
	"add-column-scans": {
		[]string{"alter table orders add column a text check (a in ('web'));", "alter table orders add column a int unique;", "alter table orders add column a int references coupons;"},
		[]string{"alter table orders add column a text;", "alter table coupons add column a text check (a in ('web'));"},
	},
	"add-column-fails": {
		[]string{"alter table orders add column a int not null;"},
		[]string{"alter table orders add column a int not null default 0;", "alter table orders add column a int;", "alter table orders add column a bigserial not null;"},
	},
	"alter-type-rewrites": {
		[]string{"alter table orders alter column id type bigint;"},
		[]string{"alter table coupons alter column id type bigint;", "alter table orders alter column id set default 1;"},
	},
	"set-not-null-scans": {
		[]string{"alter table orders alter column a set not null;"},
		[]string{"alter table coupons alter column a set not null;", "alter table orders alter column a drop not null;",
			"alter table orders add constraint c check (a is not null) not valid;\nalter table orders validate constraint c;\nalter table orders alter column a set not null;"},
	},
	"constraint-scans": {
		[]string{"alter table orders add constraint c check (a > 0);", "alter table orders add foreign key (a) references coupons;", "alter table orders add unique (a);"},
		[]string{"alter table orders add constraint c check (a > 0) not valid;", "alter table orders add foreign key (a) references coupons not valid;", "alter table orders add constraint c unique using index i;", "alter table coupons add unique (a);"},
	},
	"table-moves": {
		[]string{"alter table orders set tablespace fast;", "alter table orders set unlogged;"},
		[]string{"alter table orders set (fillfactor = 70);", "alter table coupons set logged;"},
	},
	"create-index-blocks": {
		[]string{"create index on orders (a);", "create unique index i on public.orders (a);"},
		[]string{"create index concurrently on orders (a);", "create index on coupons (a);", "create table new (id int);\ncreate index on new (id);"},
	},
	"reindex-blocks": {
		[]string{"reindex table orders;"},
		[]string{"reindex (concurrently) table orders;", "reindex table concurrently orders;", "reindex table coupons;"},
	},
	"vacuum-full": {
		[]string{"vacuum full orders;", "vacuum (full, analyze) orders;", "vacuum full;", "cluster orders using i;"},
		[]string{"vacuum orders;", "vacuum full coupons;"},
	},
	"lock-table": {
		[]string{"lock table orders;", "lock table orders in share mode;"},
		[]string{"lock table orders in row exclusive mode;", "lock table coupons;"},
	},
	"changes-every-row": {
		[]string{"update orders set a = 1;", "delete from orders;"},
		[]string{"update orders set a = 1 where id between 1 and 1000;", "delete from coupons;"},
	},
	"no-lock-timeout": {
		[]string{"alter table coupons add column a int;", "drop view v;", "drop index i;", "truncate orders;", "create trigger t before update on orders for each row execute function f();",
			"alter table coupons rename column a to b;", "set lock_timeout = default;\nalter table coupons add column a int;", "drop trigger t on orders;",
			"begin;\n" + limit + "commit;\ndrop view v;", without + up + limit + "alter table coupons add column a int;", up + limit + "alter table a add column b int;" + down + "alter table a drop column b;"},
		[]string{"set lock_timeout = '3s';\nalter table coupons add column a int;", up + limit + "alter table coupons add column a int;", "create table a (id int);\nalter table a add column b int;",
			"create index concurrently on orders (a);", "drop index concurrently i;", "lock table orders nowait;", "select set_config('lock_timeout', '3s', false);\ndrop view v;",
			"begin;\nset local lock_timeout = '3s';\nalter table coupons add column a int;\ncommit;"},
	},
	"set-local-without-transaction": {
		[]string{without + up + limit, limit},
		[]string{up + limit, without + up + "set lock_timeout = '3s';", "begin;\n" + limit + "commit;"},
	},
	"refused-in-transaction": {
		[]string{up + "vacuum coupons;", up + "create index concurrently on orders (a);", up + "drop index concurrently i;", "begin;\ncreate index concurrently on orders (a);\ncommit;"},
		[]string{"begin;\ncommit;\nvacuum coupons;", without + up + "vacuum coupons;", up + "analyze coupons;", without + up + "create index concurrently on orders (a);", "create index concurrently on orders (a);", up + "create index on orders (a);"},
	},
	unreadable: {
		[]string{"alter tabel orders add column a int;", up + "select 'no end;"},
		[]string{"\\set ON_ERROR_STOP on\nselect :n as n, :'text' as t \\gset\n\\if :there\nselect a::text from b;\n\\endif", "", "-- nothing"},
	},
}

func TestEveryRuleOfSQLSpeaksAndIsSilent(t *testing.T) {
	for _, r := range Rules {
		if _, there := cases[r.Name]; r.SQL != nil && !there {
			t.Errorf("expected cases of the rule %s, found none", r.Name)
		}
	}
	rules := func(text string) (names []string) {
		for _, f := range SQL("x.sql", text, sizes) {
			if f.Line < 1 || f.Line > strings.Count(text, "\n")+1 || f.File != "x.sql" || f.Found == "" || f.Do == "" {
				t.Errorf("expected a place in the text, what was found and what to do, found %+v", f)
			}
			names = append(names, f.Rule)
		}
		return names
	}
	for rule, c := range cases {
		for _, text := range c.speaks {
			if found := rules(text); !slices.Contains(found, rule) {
				t.Errorf("expected %s of\n%s\nfound %v", rule, text, found)
			}
		}
		for _, text := range c.silent {
			if found := rules(text); slices.Contains(found, rule) {
				t.Errorf("expected no %s of\n%s\nfound %v", rule, text, found)
			}
		}
		if len(c.speaks) == 0 || len(c.silent) == 0 {
			t.Errorf("expected cases of both kinds of %s", rule)
		}
	}
}

// The line is that of the statement, below what stands before it.
func TestTheLineIsThatOfTheStatement(t *testing.T) {
	found := SQL("x.sql", "-- +goose Up\n/* two\nlines */\n\n-- and why\n  create index on orders (a); lock table orders;\n\n-- +goose Down\ndrop index i;", sizes)
	lines := map[string]int{}
	for _, f := range found {
		if _, there := lines[f.Rule]; !there {
			lines[f.Rule] = f.Line
		}
	}
	if lines["create-index-blocks"] != 6 || lines["lock-table"] != 6 || lines["no-lock-timeout"] != 6 {
		t.Errorf("expected line 6, found %v", found)
	}
	if bad := SQL("x.sql", "select 1;\n\nselect from where;", sizes); len(bad) != 1 || bad[0].Line != 3 || bad[0].Rule != unreadable {
		t.Errorf("expected line 3 of what cannot be read, found %v", bad)
	}
}

func TestEveryRuleOfPlansSpeaksAndIsSilent(t *testing.T) {
	right := func() *service.Plan {
		s := &service.Service{Name: "web", Path: "service.yaml", Tier: "critical", Allow: []string{"db.staging.example"}}
		return &service.Plan{
			Release: &service.Release{Service: s, Name: "v2", Dir: t.TempDir()}, Path: "rollback.yaml", Env: map[string]string{"DB": "DATABASE_URL", "CACHE": "CACHE_URL"},
			Before: []service.Check{{Database: &service.Identity{Name: "web", Role: "migrator", URL: "DB"}}},
			Steps:  []service.Step{{Line: 9, RunLine: 10, Name: "one", Run: "psql -h db.staging.example -c 'select 1'", Timeout: 5 * time.Minute, Again: "safe", Output: "1"}},
			After:  []service.Check{{Serves: "v1"}},
		}
	}
	if found := Plan(right()); len(found) > 0 {
		t.Fatalf("expected nothing of a right plan, found %v", found)
	}
	wrong := map[string]func(*service.Plan){
		"no-pre-check":          func(p *service.Plan) { p.Before[0].BeforeStep = 2 },
		"no-identity":           func(p *service.Plan) { p.Env["OTHER"] = "DATABASE_URL_LOGICAL" },
		"no-expected-outcome":   func(p *service.Plan) { p.Steps[0].Output = "" },
		"no-validation":         func(p *service.Plan) { p.After = nil },
		"timeout-beyond-target": func(p *service.Plan) { p.Steps[0].Timeout += time.Second },
		"foreign-host":          func(p *service.Plan) { p.Steps[0].Run = "psql -h db.prod.example -c 'select 1'" },
	}
	for _, r := range Rules {
		if r.Plan == nil {
			continue
		}
		change := wrong[r.Name]
		if change == nil {
			t.Errorf("expected a case of the rule %s, found none", r.Name)
			continue
		}
		p := right()
		change(p)
		if found := Plan(p); len(found) != 1 || found[0].Rule != r.Name {
			t.Errorf("expected %s alone, found %v", r.Name, found)
		}
	}
}

func FuzzSQL(f *testing.F) {
	for _, c := range cases {
		for _, text := range append(c.speaks, c.silent...) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, found := range accept(SQL("x.sql", text, sizes), "x.sql", text) {
			if found.Line < 1 || found.Line > strings.Count(text, "\n")+1 {
				t.Errorf("expected a line of the text, found %+v", found)
			}
		}
	})
}
