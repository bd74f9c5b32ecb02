package postgres_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/postgres"
)

func TestProductionsSchemaIsComparedWithoutWhatDiffersBetweenInstallations(t *testing.T) {
	const schema = `
create table items (id bigint primary key, owner text not null);
create view owners as select id, owner from items;
create function f() returns int language sql as 'select 1';
create type mood as enum ('a', 'b');
`
	tr := nodes(t)
	n := database(t, tr, schema)
	a := read(t, n)
	do(t, n, `
create role landlord;
grant create on schema public to landlord;
alter table items owner to landlord;
alter view owners owner to landlord;
alter function f() owner to landlord;
alter type mood owner to landlord;
grant select on items to landlord;
alter default privileges grant select on tables to landlord;
`)
	undo(t, n, "drop owned by landlord cascade; drop role landlord")
	b := read(t, n)
	if a.Digest() == b.Digest() {
		t.Fatal("the two differ in nothing: the test shows nothing")
	}
	if postgres.Portable(a.Text) != postgres.Portable(b.Text) {
		t.Errorf("expected no difference, found\n%s", postgres.Diff(postgres.Portable(a.Text), postgres.Portable(b.Text)))
	}
	if !strings.Contains(postgres.Portable(a.Text), "owner: text not null") && !strings.Contains(postgres.Portable(a.Text), "items.owner") {
		t.Errorf("the column called owner is lost:\n%s", postgres.Portable(a.Text))
	}
	do(t, n, "alter table items add column note text")
	if postgres.Portable(a.Text) == postgres.Portable(read(t, n).Text) {
		t.Error("a new column is not seen")
	}
}

func TestTheFileOfProductionsSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "production.schema")
	var file bytes.Buffer
	s := postgres.Schema{Text: "column items.id: bigint\ngrant on table items to web: SELECT by web\ntable items: owner web\n"}
	if err := postgres.WriteProduction(&file, s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"as written", file.String(), ""},
		{"edited", strings.Replace(file.String(), "bigint", "text", 1), "so it was changed"},
		{"another file", "hello\n", ":1: expected # backout schema 1"},
		{"empty", "", ":1: expected # backout schema 1"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		text, err := postgres.ReadProduction(path)
		switch {
		case c.want == "" && (err != nil || text != "column items.id: bigint\ntable items:\n"):
			t.Errorf("%s: found %q, %v", c.name, text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: expected an error with %q, found %v", c.name, c.want, err)
		}
	}
}
