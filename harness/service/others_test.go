package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is a service with a stub and without a database.
const small = `service: notes
tier: standard
run: {process: {command: [./serve]}}
ready: /ready
release: {header: X-Release}
stubs: {payments: {routes: {POST /charges: {status: 201, key: $.order}, GET /rates: {body: 1.5}}}}
effects: {charged: {of: write, at: payments, count: POST /charges}}
journeys:
  write:
    steps:
      - PUT /notes/{uuid}: {text: hello}
        expect: 201
        write: {key: "{uuid}", find: "GET /notes/{key}", payload: {text: hello}, all: GET /notes/keys}
`

// bare is a schema alone.
const bare = `service: books
tier: standard
database:
  load: ./books.sql
`

func TestServicesWithoutMostOfIt(t *testing.T) {
	read := func(t *testing.T, text string) (*Service, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{"service.yaml": text, "books.sql": "create table books (id bigint);\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return Load(filepath.Join(dir, "service.yaml"))
	}
	s, err := read(t, small)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Stubs["payments"].Routes; s.Database != nil || len(r) != 2 || !r[0].Counts() || r[0].Status != 201 || r[1].Counts() || r[1].Status != 200 {
		t.Errorf("read %+v", s)
	}
	if s, err = read(t, bare); err != nil {
		t.Fatal(err)
	}
	if s.Instances != 0 || s.Process != nil || !s.Evidence().Unrecorded {
		t.Errorf("read %+v", s)
	}
	for _, c := range []struct{ text, from, to, err string }{
		{small, "GET /notes/{key}", "GET /notes/{uuid}", `:13:38: expected a request with {key} and no other placeholder, such as GET /notes/{key} in find, found "GET /notes/{uuid}"`},
		{small, "all: GET /notes/keys", `all: "GET /notes/{key}"`, `expected a request without placeholders, such as GET /notes/keys in all`},
		{small, "all: GET /notes/keys", "all: select key from notes", `expected a database in service.yaml, or GET /... in find and all, since the writes of write are looked up there, found neither`},
		{small, "POST /charges: {", "PSOT /charges: {", `:6:29: expected METHOD PATH with one of GET, POST, PUT, PATCH, DELETE, HEAD, found "PSOT /charges"; did you mean "POST"?`},
		{small, "{status: 201, key", "{state: 201, key", `expected one of status, body, latency, key in POST /charges, found "state"; did you mean "status"?`},
		{small, "key: $.order", "key: $order", `expected a path such as $.order, or the name of a header in key, found "$order"`},
		{small, "{routes: {POST /charges: {status: 201, key: $.order}, GET /rates: {body: 1.5}}}", "{}", `expected "routes" in payments, found none`},
		{small, "stubs: {payments", "stubs: {notes", `expected a name of small letters, digits and _ in stubs, which no service of the drill has, found "notes"`},
		{small, "count: POST /charges", "count: GET /rates", `expected a route of the stub payments that says which write a request is for (key: ..., or {key} in its path) in count, found "GET /rates"`},
		{small, "at: payments", "at: payment", `expected a dependant, a stub or the service itself in at, found "payment"; did you mean "payments"?`},
		{bare, "database:", "ready: /ready\ndatabase:", `:3:8: expected run beside ready, since without it nothing runs and there is only a database, found none`},
		{bare, "database:\n  load: ./books.sql\n", "", `:1:1: expected "database" in the file, found none: what there is when nothing runs: say run for a service that runs`},
		{bare, "load: ./books.sql", "settings: {work_mem: 8MB}", `expected "migrations" in database, found none: the folder of its goose migrations, or load, the file that makes its schema`},
		{bare, "load: ./books.sql", "load: {command: []}", `expected a program in command, found an empty list`},
		{bare, "load: ./books.sql", "load: {comand: [./fill]}", `expected "command" in load, found "comand"; did you mean "command"?`},
		{bare, "load: ./books.sql", "migrations: .\n  rows: {books: 3}", `expected load beside rows, which makes them, found none`},
	} {
		t.Run(strings.NewReplacer("/", "_", "\n", " ").Replace(c.to), func(t *testing.T) {
			text := strings.Replace(c.text, c.from, c.to, 1)
			if text == c.text {
				t.Fatalf("%q is not in the file", c.from)
			}
			if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("expected %s\nfound %v", c.err, err)
			}
		})
	}
}

func TestAReleaseOfASchemaAlone(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("service.yaml", bare)
	put("books.sql", "create table books (id bigint);\n")
	put("releases/v1/release.yaml", "release: v1\ngood: true\n")
	s, err := Load(filepath.Join(dir, "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, err string }{
		{"good: true\nmigrate_to: 3\n", `:3:13: expected a database with migrations in service.yaml beside migrate_to, found none`},
		{"known_bad: x\nharms: {restarts: 3}\n", `:3:8: expected run in service.yaml beside restarts and memory_above, since a schema alone has no instances, found none`},
		{"known_bad: x\nharms: {journey: write, success_below: 0.9}\n", `:3:18: expected a journey of books in journey, found "write"`},
	} {
		put("releases/v2/release.yaml", "release: v2\n"+c.text)
		if _, err := s.Release("v2"); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("expected %s\nfound %v", c.err, err)
		}
	}
	put("releases/v2/release.yaml", "release: v2\nknown_bad: x\ntraps: {rows: {count: select 1, at_least: 1}}\n")
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	put("releases/v2/rollback.yaml", "plan: back\nfrom: v2\nto: v1\nschema: 3\nsteps: [{name: x, run: psql, timeout: 1s, again: safe}]\nafter: [{every instance serves: v1}]\n")
	_, err = r.Plan("", "process")
	for _, want := range []string{":4:9: expected migrations in service.yaml beside schema, found none", ":6:10: expected run in service.yaml beside every instance serves"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %s\nfound %v", want, err)
		}
	}
	without, err := Load(filepath.Join(dir, "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	without.Database = nil
	if _, err := without.Release("v2"); err == nil || !strings.Contains(err.Error(), "expected a database in service.yaml beside count") {
		t.Errorf("traps without a database: %v", err)
	}
}
