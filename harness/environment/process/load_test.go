package process

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/service"
)

// schemaAlone is a service that nothing runs for.
func schemaAlone(t *testing.T, d *service.Database) environment.Need {
	t.Helper()
	dir := t.TempDir()
	s := &service.Service{Name: "things", Path: dir + "/service.yaml", Dir: dir, Database: d}
	write(t, dir+"/releases/v1/release.yaml", "release: v1\ngood: true\n", 0o644)
	return environment.Need{Service: s, Good: &service.Release{Service: s, Name: "v1", Dir: dir + "/releases/v1", Good: true},
		Progress: func(text string) { t.Log(text) }}
}

const items = "create table items (id bigint primary key, name text);\ninsert into items select n, 'item ' || n from generate_series(1, :rows_items) n;\n"

// TestDataOfEveryKind loads the same rows as a SQL file, as what pg_dump makes of that, and by a command.
func TestDataOfEveryKind(t *testing.T) {
	o := options(t)
	need := schemaAlone(t, &service.Database{Load: "items.sql", Rows: map[string]int{"items": 7}})
	write(t, need.Service.Dir+"/items.sql", items, 0o644)
	m := provision(t, o, need)
	if n := m.Instances(); len(n) != 0 {
		t.Errorf("expected no instance of a schema alone, found %v", n)
	}
	has := func(t *testing.T, m *machine, table string, n int) {
		t.Helper()
		found, err := database.Ask[int](context.Background(), m.Variables()["DATABASE_URL"], "select count(*) from "+table)
		if err != nil || found != n {
			t.Errorf("expected %d rows of %s, found %d, %v", n, table, found, err)
		}
	}
	has(t, m, "items", 7)

	dumps := t.TempDir()
	for _, kind := range []string{"custom", "plain"} {
		out, err := exec.Command("pg_dump", "--no-owner", "--no-privileges", "--format", kind, "--file", filepath.Join(dumps, kind), m.Variables()["DATABASE_URL"]).CombinedOutput()
		if err != nil {
			t.Skipf("pg_dump: %v\n%s", err, out)
		}
		t.Run(kind, func(t *testing.T) {
			need := schemaAlone(t, &service.Database{Load: filepath.Join(dumps, kind), Rows: map[string]int{"items": 7}})
			has(t, provision(t, o, need), "items", 7)
		})
		t.Run(kind+" with other rows than stated", func(t *testing.T) {
			need := schemaAlone(t, &service.Database{Load: filepath.Join(dumps, kind), Rows: map[string]int{"items": 8}})
			refused(t, o, need, "load the data of things: expected 8 rows of items, found 7")
		})
	}
	t.Run("command", func(t *testing.T) {
		need := schemaAlone(t, &service.Database{LoadCommand: []string{"./fill"}, Rows: map[string]int{"items": 5}})
		write(t, need.Service.Dir+"/fill", "#!/bin/sh\nexec psql -Xqd \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -c 'create table items as select generate_series(1, '$ROWS_items') as id'\n", 0o755)
		has(t, provision(t, o, need), "items", 5)
		before, err := database.DataOf(need.Service, need.Service.Database.Rows)
		if err != nil {
			t.Fatal(err)
		}
		write(t, need.Service.Dir+"/other", "what the command may read", 0o644)
		if after, err := database.DataOf(need.Service, need.Service.Database.Rows); err != nil || after.Sources == before.Sources {
			t.Errorf("what the command may read is no part of the template's key: %v", err)
		}
	})
	t.Run("command that fails", func(t *testing.T) {
		need := schemaAlone(t, &service.Database{LoadCommand: []string{"sh", "-c", "echo no such fixture; exit 3"}})
		refused(t, o, need, "exit status 3\nno such fixture")
	})
}

// TestADumpWithTheRecordOfItsMigrationsComesFirst: goose then applies what the dump has not.
func TestADumpWithTheRecordOfItsMigrationsComesFirst(t *testing.T) {
	o := options(t)
	first := "-- +goose Up\ncreate table items (id bigint primary key);\n-- +goose Down\ndrop table items;\n"
	need := schemaAlone(t, &service.Database{Migrations: "migrations", Load: "items.sql"})
	write(t, need.Service.Dir+"/migrations/00001_items.sql", first, 0o644)
	write(t, need.Service.Dir+"/items.sql", "insert into items values (1), (2);\n", 0o644)
	m := provision(t, o, need)
	dumps := t.TempDir()
	for _, kind := range []string{"custom", "plain"} {
		path := filepath.Join(dumps, kind)
		if out, err := exec.Command("pg_dump", "--no-owner", "--no-privileges", "--format", kind, "--file", path, m.Variables()["DATABASE_URL"]).CombinedOutput(); err != nil {
			t.Skipf("pg_dump: %v\n%s", err, out)
		}
		need := schemaAlone(t, &service.Database{Migrations: "migrations", Load: path, Rows: map[string]int{"items": 2}})
		write(t, need.Service.Dir+"/migrations/00001_items.sql", first, 0o644)
		write(t, need.Service.Dir+"/migrations/00002_notes.sql", "-- +goose Up\ncreate table notes (id bigint primary key);\n-- +goose Down\ndrop table notes;\n", 0o644)
		applied, err := database.Ask[int](context.Background(), provision(t, o, need).Variables()["DATABASE_URL"],
			"select max(version_id) + 0 * (select count(*) from notes) from goose_db_version")
		if err != nil || applied != 2 {
			t.Errorf("%s: expected migration 2 to be applied to the dump, found %d, %v", kind, applied, err)
		}
	}
}

func refused(t *testing.T, o Options, need environment.Need, why string) {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Destroy(context.Background()) })
	if err := e.Provision(context.Background(), need); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("expected an error with %q, found %v", why, err)
	}
}
