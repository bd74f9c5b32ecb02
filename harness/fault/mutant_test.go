package fault

import (
	"slices"
	"strings"
	"testing"

	"backout/harness/service"
)

func right() Right {
	return Right{
		Plan: &service.Plan{
			Env: map[string]string{"PRIMARY": "DATABASE_URL", "LOGICAL": "DATABASE_URL_LOGICAL"},
			Steps: []service.Step{
				{Name: "subscriber", Run: `goose -dir migrations postgres "$LOGICAL" down`, Output: "OK"},
				{Name: "primary", Run: `goose -dir migrations postgres "$PRIMARY" down`, Output: "OK"},
				{Name: "wait", Run: "./wait"},
				{Name: "code", Run: "./deploy v1", Output: "web-2 runs v1"},
			}},
		Instances: []string{"web-1", "web-2"},
		Down: map[string]string{"migrations/00005_x.sql": `-- +goose Up
drop index items_name;
-- +goose Down
-- A comment; with a semicolon.
set local lock_timeout = '3s';
alter table items add column note text;
update items i set note = 'a;b''c' from old o where o.id = i.id;
create index items_name on items (name);
grant select on items to reader;
-- +goose StatementBegin
create function f() returns int language sql as $$ select 1; $$;
-- +goose StatementEnd
create trigger t before update on items for each row execute function f();
alter table items alter column note set default '';
`},
		Scripts: map[string]string{"deploy": "for i in $INSTANCES; do :; done", "unused.sql": "select 1;"},
	}
}

func TestEveryRuleMakesMutants(t *testing.T) {
	all := Mutants(right())
	for _, rule := range Rules() {
		if !slices.ContainsFunc(all, func(m Mutant) bool { return m.Rule == rule }) {
			t.Errorf("no mutant by the rule %q", rule)
		}
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.What] {
			t.Errorf("two mutants are called %q", m.What)
		}
		seen[m.What] = true
		if text(m) == text(Mutant{Plan: right().Plan}) {
			t.Errorf("%s changes nothing", m.What)
		}
		for path, sql := range m.Overlay {
			if !strings.HasPrefix(sql, "-- +goose Up\ndrop index items_name;\n-- +goose Down") {
				t.Errorf("%s: %s: the Up was changed:\n%s", m.What, path, sql)
			}
		}
	}
}

func TestMutantsAreWhatTheySay(t *testing.T) {
	for _, c := range []struct{ what, step, sql string }{
		{what: "nothing is done at PRIMARY", step: `goose -dir migrations postgres "$LOGICAL" down|./wait|./deploy v1`},
		{what: "step 3 before step 2", step: `goose -dir migrations postgres "$LOGICAL" down|./wait|goose -dir migrations postgres "$PRIMARY" down|./deploy v1`},
		{what: "step 4 forgets web-1", step: `goose -dir migrations postgres "$LOGICAL" down|goose -dir migrations postgres "$PRIMARY" down|./wait|export INSTANCES='web-2'; ./deploy v1`},
		{what: `without migrations/00005_x.sql, "create index items_name on items (name)"`, sql: "old o where o.id = i.id;\ngrant select"},
		{what: `migrations/00005_x.sql committed after 4 of 8 statements`, sql: "items (name);\ncommit;\ndo 'begin raise"},
		{what: `null items.note after migrations/00005_x.sql, "update items i set note = 'a;b''c' from old o where o.id = i..."`,
			sql: "i.id;\nupdate items set note = null where note is not null;\ncreate index"},
	} {
		all := Mutants(right())
		i := slices.IndexFunc(all, func(m Mutant) bool { return m.What == c.what })
		if i < 0 {
			var names []string
			for _, m := range all {
				names = append(names, m.What)
			}
			t.Fatalf("no mutant %q among\n%s", c.what, strings.Join(names, "\n"))
		}
		var runs []string
		for _, s := range all[i].Plan.Steps {
			runs = append(runs, s.Run)
		}
		if c.step != "" && strings.Join(runs, "|") != c.step {
			t.Errorf("%s: steps %q, want %q", c.what, runs, c.step)
		}
		if sql := all[i].Overlay["migrations/00005_x.sql"]; !strings.Contains(sql, c.sql) {
			t.Errorf("%s: want %q in\n%s", c.what, c.sql, sql)
		}
	}
}

func TestDrawIsFairAndRepeats(t *testing.T) {
	all := Mutants(right())
	rule := func(m Mutant) string { return m.Rule }
	first := Draw(all, rule, 17, 7)
	if len(first) != 17 {
		t.Fatalf("drew %d of 17", len(first))
	}
	rules := map[string]int{}
	for _, m := range first {
		rules[m.Rule]++
	}
	if len(rules) != len(Rules()) {
		t.Errorf("17 mutants are of %d rules: %v", len(rules), rules)
	}
	same := func(a, b []Mutant) bool {
		return slices.EqualFunc(a, b, func(x, y Mutant) bool { return x.What == y.What })
	}
	if !same(first, Draw(Mutants(right()), rule, 17, 7)) {
		t.Error("the same seed drew others")
	}
	if same(first, Draw(Mutants(right()), rule, 17, 8)) {
		t.Error("another seed drew the same")
	}
	if n := len(Draw(all, rule, 1000, 1)); n != len(all) {
		t.Errorf("drew %d of all %d", n, len(all))
	}
}
