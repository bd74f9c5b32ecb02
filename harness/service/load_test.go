package service

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
)

// folder makes a service's folder: service.yaml, two releases and a plan, laid over by other files.
func folder(t testing.TB, over map[string]string) string {
	t.Helper()
	files := map[string]string{
		"service.yaml":                   whole,
		"seed.sql":                       "select 1;",
		"migrations/00001_a.sql":         "-- +goose Up",
		"deploy":                         "#!/bin/sh\n",
		"releases/v1/release.yaml":       "release: v1\ngood: true\nmigrate_to: 4\n",
		"releases/v2/release.yaml":       bad,
		"releases/v2/rollback.yaml":      plan,
		"releases/v2/migrations/5_b.sql": "-- +goose Up",
	}
	dir := t.TempDir()
	for name, text := range over {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const whole = `service: shop
tier: critical
instances: 3
run:
  process:
    build: [./build]
    command: [./shop, -v]
    env: {ADDR: "{address}", PORT: 8080}
ready: /readyz
release: {header: X-Release}
database:
  migrations: {tool: goose, dir: ./migrations}
  publish: [orders, lines]
  settings: {work_mem: 8MB}
  references: [{from: refunds.order_id, to: orders.id}]
  invariants:
    totals add up: select id from orders o where total <> (select sum(price * quantity) from lines where order_id = o.id)
  frozen: {orders: "created_at < '2026-01-01'"}
  load: ./seed.sql
  rows: {orders: 100000}
values:
  sku: {pattern: "sku-%04d", from: 1, to: 1000}
  coupon: ["", SPRING]
journeys:
  checkout:
    weight: 4
    lost: {at_most: 2, why: the restore loses the last second}
    steps:
      - POST /sessions: {user: "{user}"}
        expect: 201
        keep: {token: $.token}
        once: true
      - POST /orders: {key: "{uuid}", lines: [{sku: "{sku}", quantity: 1, gift: false, note: null, price: 1.5}]}
        headers: {Authorization: "Bearer {token}"}
        expect: 201
        refused: [409, 422]
        write: {key: "{uuid}", find: "select sku from orders where client_key = $1",
                payload: {sku: "{sku}", quantity: 1, total: $.total},
                all: "select client_key from orders"}
      - GET /orders/{uuid}: {}
        expect: 200
        until: 2s
      - POST /orders/{uuid}/cancel:
        expect: 200
        cancel: "{uuid}"
  browse:
    steps:
      - GET /products:
        expect: 200
env: {LOG: json}
secrets: {PAYMENT_KEY: {file: ./secrets/payment}, TOKEN: {env: BACKOUT_TEST_TOKEN}}
jobs: {outbox: {open: "select id, created_at from outbox", failed: "select id from outbox where attempts >= 5"}}
effects: {charge: {of: checkout, at: billing, count: "GET /charges?order_key={key}", each: 1}}
caches: {pages: {read_by: browse, stale: return 0}, carts: {url: CACHE_URL_CARTS, read_by: checkout, stale: return 1}}
sessions: {token: checkout}
dependants: [billing]
allow: [mail.example, 192.0.2.7, "2001:db8::1"]
`

const bad = `release: v2
known_bad: Checkout fails.
harms:
  - {journey: checkout, success_below: 0.9, within: 20s}
  - {service: billing, journey: invoices, latency_above: 250ms}
  - {memory_above: 300 MB}
migrate_to: 5
reaches: {instances: 2, migration: 5}
may_transform: [{journey: checkout, field: total, at_most: 3, why: rounding}]
rollout:
  - {name: deploy it, run: ./deploy v2, timeout: 60s, again: safe}
`

// thatHarms is what a bad release states.
const thatHarms = `harms:
  - {journey: checkout, success_below: 0.9, within: 20s}
  - {service: billing, journey: invoices, latency_above: 250ms}
  - {memory_above: 300 MB}
`

const plan = `plan: restore the column
from: v2
to: v1
risk: schema
schema: 4
env: {TOOL: OTHER, PRIMARY: DATABASE_URL, LOGICAL: DATABASE_URL_LOGICAL}
before:
  - database: {name: shop, role: shop_migrator}
  - database: {name: shop, role: shop_migrator, url: LOGICAL}
  - unblocked: [orders, public.lines]
  - dependants: compatible
  - artefact: v1
steps:
  - name: bring it back
    run: goose -dir migrations postgres "$PRIMARY" down-to 4
    timeout: 2m
    again: refuse
    expect: {output: "OK .*00005"}
  - name: the old code
    run: ./deploy v1
    timeout: 60s
    again: safe
after:
  - every instance serves: v1
  - journey: checkout
    within: 45s
`

func load(t testing.TB, over map[string]string) *Service {
	t.Helper()
	s, err := Load(filepath.Join(folder(t, over), "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsWrittenIsWhatIsLoaded(t *testing.T) {
	s := load(t, nil)
	dir := s.Dir
	expected := &Service{
		Name: "shop", Path: filepath.Join(dir, "service.yaml"), Dir: dir, Tier: "critical", Instances: 3,
		Process:     &Process{Build: []string{"./build"}, Command: []string{"./shop", "-v"}, Env: map[string]string{"ADDR": "{address}", "PORT": "8080"}},
		ReadyWithin: time.Minute, Ready: "/readyz", Header: "X-Release",
		Database: &Database{
			Migrations: "./migrations", Publish: []string{"orders", "lines"}, Settings: map[string]string{"work_mem": "8MB"},
			References: []Reference{{Column{"refunds", "order_id"}, Column{"orders", "id"}}},
			Invariants: map[string]string{"totals add up": "select id from orders o where total <> (select sum(price * quantity) from lines where order_id = o.id)"},
			Frozen:     map[string]string{"orders": "created_at < '2026-01-01'"}, Load: "./seed.sql", Rows: map[string]int{"orders": 100000},
		},
		Values: map[string]Values{"sku": {Pattern: "sku-%04d", From: 1, To: 1000}, "coupon": {List: []string{"", "SPRING"}}},
		Journeys: []Journey{
			{Name: "checkout", Weight: 4, Lost: 2, Why: "the restore loses the last second", Steps: []Request{
				{Method: "POST", Path: "/sessions", Body: map[string]any{"user": "{user}"}, Expect: 201, Keep: []Keep{{"token", "$.token"}}, Once: true, Line: 29},
				{Method: "POST", Path: "/orders", Expect: 201, Refused: []int{409, 422}, Headers: map[string]string{"Authorization": "Bearer {token}"}, Line: 33,
					Body: map[string]any{"key": "{uuid}", "lines": []any{map[string]any{"sku": "{sku}", "quantity": uint64(1), "gift": false, "note": nil, "price": 1.5}}},
					Write: &Write{Key: "{uuid}", Find: "select sku from orders where client_key = $1", All: "select client_key from orders",
						Payload: map[string]any{"sku": "{sku}", "quantity": uint64(1), "total": "$.total"}}},
				{Method: "GET", Path: "/orders/{uuid}", Expect: 200, Until: 2 * time.Second, Line: 40},
				{Method: "POST", Path: "/orders/{uuid}/cancel", Expect: 200, Cancel: "{uuid}", Line: 43},
			}},
			{Name: "browse", Weight: 1, Steps: []Request{{Method: "GET", Path: "/products", Expect: 200, Line: 48}}},
		},
		Env:     map[string]string{"LOG": "json"},
		Secrets: map[string]Secret{"PAYMENT_KEY": {File: "./secrets/payment"}, "TOKEN": {Env: "BACKOUT_TEST_TOKEN"}},
		Jobs:    map[string]Job{"outbox": {Open: "select id, created_at from outbox", Failed: "select id from outbox where attempts >= 5"}},
		Effects: map[string]Effect{"charge": {Of: "checkout", At: "billing", Count: "GET /charges?order_key={key}", Each: 1}},
		Caches: map[string]Cache{"pages": {URL: "CACHE_URL", ReadBy: "browse", Stale: "return 0"},
			"carts": {URL: "CACHE_URL_CARTS", ReadBy: "checkout", Stale: "return 1"}},
		Sessions:   map[string]string{"token": "checkout"},
		Dependants: []string{"billing"},
		Allow:      []string{"mail.example", "192.0.2.7", "2001:db8::1"},
	}
	same(t, expected, s)

	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	same(t, &Release{
		Service: s, Name: "v2", Dir: filepath.Join(dir, "releases", "v2"), KnownBad: "Checkout fails.",
		Harms: []Harm{
			{Journey: "checkout", SuccessBelow: 0.9},
			{Service: "billing", Journey: "invoices", LatencyAbove: 250 * time.Millisecond},
			{MemoryAbove: 300e6},
		},
		Within: 20 * time.Second, MigrateTo: 5, ReachesN: 2, ReachesM: 5,
		MayTransform: []Transform{{Journey: "checkout", Field: "total", Why: "rounding", AtMost: 3}},
		Rollouts:     map[string][]Step{"process": {{Line: 11, RunLine: 11, Name: "deploy it", Run: "./deploy v2", Timeout: time.Minute, Again: "safe"}}},
	}, r)

	p, err := r.Plan("", "process")
	if err != nil {
		t.Fatal(err)
	}
	same(t, &Plan{
		Release: r, Name: "restore the column", Path: filepath.Join(r.Dir, "rollback.yaml"), From: "v2", To: "v1", Risk: "schema", Schema: 4,
		EnvLine: 6, Env: map[string]string{"TOOL": "OTHER", "PRIMARY": "DATABASE_URL", "LOGICAL": "DATABASE_URL_LOGICAL"},
		Before: []Check{
			{Line: 8, Database: &Identity{"shop", "shop_migrator", "PRIMARY"}},
			{Line: 9, Database: &Identity{"shop", "shop_migrator", "LOGICAL"}},
			{Line: 10, Unblocked: []string{"orders", "public.lines"}},
			{Line: 11, Dependants: "compatible"},
			{Line: 12, Artefact: "v1"},
		},
		Steps: []Step{
			{Line: 14, RunLine: 15, Name: "bring it back", Run: `goose -dir migrations postgres "$PRIMARY" down-to 4`, Timeout: 2 * time.Minute, Again: "refuse", Output: "OK .*00005"},
			{Line: 19, RunLine: 20, Name: "the old code", Run: "./deploy v1", Timeout: time.Minute, Again: "safe"},
		},
		After: []Check{{Line: 24, Serves: "v1", Within: 30 * time.Second}, {Line: 25, Journey: "checkout", Within: 45 * time.Second}},
	}, p)

	e := s.Evidence()
	if e.Target != 300 || !slices.Equal(e.Journeys, []string{"checkout", "browse"}) || !slices.Equal(e.Writes, []string{"checkout"}) ||
		!slices.Equal(e.References, []string{"refunds.order_id -> orders.id"}) || len(e.Budgets) != 1 || !e.Database ||
		!slices.Equal(e.Caches, []string{"carts", "pages"}) || e.Readers["pages"] != "browse" {
		t.Errorf("found %+v", e)
	}
	re := r.Evidence()
	if re.Within != 20 || re.Harms[1].LatencyAbove != 250 || re.Reaches == nil || re.Reaches.Instances != 2 || !re.Schema {
		t.Errorf("found %+v", re)
	}
	pe := p.Evidence()
	if !slices.Equal(pe.After, []string{"every instance serves v1", "the journey checkout succeeds"}) || len(pe.Before) != 5 || pe.Steps[0].Timeout != 120 {
		t.Errorf("found %+v", pe)
	}
	for _, c := range append(p.Before, p.After...) {
		if c.Kind() == "" || c.Words() == "nothing" {
			t.Errorf("expected words for %+v", c)
		}
	}

	digests, err := Digests(r.Files(p)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"service.yaml", "deploy", "migrations/00001_a.sql", "releases/v2/release.yaml", "releases/v2/rollback.yaml", "releases/v2/migrations/5_b.sql"} {
		if !strings.HasPrefix(digests[filepath.Join(dir, name)], "sha256:") {
			t.Errorf("expected a digest of %s, found %v", name, digests)
		}
	}
}

func same(t *testing.T, expected, found any) {
	t.Helper()
	x, y := reflect.ValueOf(expected).Elem(), reflect.ValueOf(found).Elem()
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			t.Errorf("%s:\nexpected %+v\nfound    %+v", x.Type().Field(i).Name, x.Field(i).Interface(), y.Field(i).Interface())
		}
	}
}

// Each mistake is made in a file that is right otherwise, and is told with its place.
func TestMistakesAreTold(t *testing.T) {
	tests := []struct{ file, from, to, err string }{
		{"service.yaml", "tier: critical", "teir: critical", `:2:1: expected one of service, tier, needs, allow, instances, run, ready, release, database, values, journeys, env, secrets, jobs, effects, caches, sessions, dependants, stubs, breaker, people, forbidden, lock, communication, hook in the file, found "teir"; did you mean "tier"?`},
		{"service.yaml", "tier: critical\n", "", `:1:1: expected "tier" in the file, found none: critical is restored within 5 minutes, standard within 15`},
		{"service.yaml", "tier: critical", "tier: cirtical", `:2:7: expected one of critical, standard in tier, found "cirtical"; did you mean "critical"?`},
		{"service.yaml", "mail.example", "mail.example:25", `:57:9: expected the name or address of a host, without a port`},
		{"service.yaml", "service: shop", "service: ../shop", `:1:10: expected a name of small letters, digits and _`},
		{"service.yaml", "instances: 3", "instances: three", `:3:12: expected a whole number from 1 to 100 in instances, found "three"`},
		{"service.yaml", "instances: 3", "instances: [3]", `:3:12: expected a whole number from 1 to 100 in instances, found a list`},
		{"service.yaml", "instances: 3", "instances: 3\ninstances: 4", `:4:1: expected YAML, found: mapping key "instances" already defined`},
		{"service.yaml", "ready: /readyz", "ready: readyz", `:9:8: expected a path that begins with /`},
		{"service.yaml", "ready: /readyz", "ready:", `:9:7: expected a text in ready, found nothing`},
		{"service.yaml", "  process:", "  proces:", `:5:3: expected one of process, containers, kubernetes in run, found "proces"; did you mean "process"?`},
		{"service.yaml", "command: [./shop, -v]", "command: []", `:7:14: expected a program in command, found an empty list`},
		{"service.yaml", "command: [./shop, -v]", "command: ./shop", `:7:14: expected a list in command, found "./shop"`},
		{"service.yaml", "dir: ./migrations", "dir: ./migration", `expected a folder in dir, found none`},
		{"service.yaml", "load: ./seed.sql", "load: ./migrations", `:19:9: expected a file in load, found a folder`},
		{"service.yaml", "publish: [orders, lines]", "publish: [goose_db_version]", `:13:13: expected tables of the service in publish, found goose's own`},
		{"service.yaml", "from: refunds.order_id", "from: refunds", `:15:23: expected TABLE.COLUMN in from, found "refunds"`},
		{"service.yaml", "totals add up: select", "totals add up: ''\n    other: select", `:17:20: expected a text in totals add up, found ""`},
		{"service.yaml", `"sku-%04d"`, `"sku-%s"`, `expected a pattern with one number in it`},
		{"service.yaml", "to: 1000", "to: 0", `expected at least 1 in to, found 0`},
		{"service.yaml", "at_most: 2, why: the restore loses the last second", "at_most: 2", `:27:11: expected "why" in lost, found none: a budget needs its reason`},
		{"service.yaml", "POST /sessions", "PSOT /sessions", `:29:9: expected METHOD PATH with one of GET, POST, PUT, PATCH, DELETE, HEAD, found "PSOT /sessions"; did you mean "POST"?`},
		{"service.yaml", "        keep: {token: $.token}", "        kept: {token: $.token}", `:31:9: expected METHOD PATH or one of expect, refused, keep, headers, once, until, write, cancel in steps, item 1, found "kept"; did you mean "keep"?`},
		{"service.yaml", "token: $.token", "token: token", `expected a path such as $.token in token, found "token"`},
		{"service.yaml", "Bearer {token}", "Bearer {tokn}", `:34:34: expected {user}, {uuid}, {coupon}, {sku}, {token} or a value that an earlier request keeps, found {tokn}; did you mean "token"?`},
		{"service.yaml", `{sku: "{sku}", quantity: 1, gift`, `{sku: "{skus}", quantity: 1, gift`, `found {skus}; did you mean "sku"?`},
		{"service.yaml", "expect: 201\n        refused", "expect: 2001\n        refused", `:35:17: expected a whole number from 100 to 599 in expect, found 2001`},
		{"service.yaml", "[409, 422]", "[409, 201]", `:36:24: expected another status than 201 in refused`},
		{"service.yaml", "client_key = $1", "client_key = 1", `:37:38: expected SQL with $1, the key of the write, or a request such as GET /notes/{key} in find`},
		{"service.yaml", `all: "select client_key from orders"`, `all: ""`, `expected a text in all, found ""`},
		{"service.yaml", "until: 2s", "until: 2", `:42:16: expected a duration such as 30s or 2m in until, found 2`},
		{"service.yaml", "until: 2s", "until: -2s", `expected a duration`},
		{"service.yaml", "{file: ./secrets/payment}", "{file: ./secrets/payment, env: X}", `expected exactly one of file, env in PAYMENT_KEY, found file, env`},
		{"service.yaml", "of: checkout, at", "of: chekout, at", `:53:24: expected a journey of shop in of, found "chekout"; did you mean "checkout"?`},
		{"service.yaml", "of: checkout, at", "of: browse, at", `expected a journey that writes in of, found "browse", which has no write`},
		{"service.yaml", "at: billing", "at: biling", `expected a dependant, a stub or the service itself in at, found "biling"; did you mean "billing"?`},
		{"service.yaml", "order_key={key}", "order_key=1", `expected a request such as GET /charges?order_key={key}`},
		{"service.yaml", "read_by: browse", "read_by: brows", `:54:27: expected a journey of shop in read_by, found "brows"; did you mean "browse"?`},
		{"service.yaml", "read_by: browse, stale: return 0", "read_by: browse", `expected "stale" in pages, found none: Lua that returns how many entries the good release cannot read`},
		{"service.yaml", "pages: {read_by: browse", "pages: {readby: browse", `:54:18: expected one of url, read_by, stale in pages, found "readby"; did you mean "read_by"?`},
		{"service.yaml", "url: CACHE_URL_CARTS", "url: redis://cache", `:54:66: expected the name of the variable that plans get, CACHE_URL or CACHE_URL_NAME, in url, found "redis://cache"`},
		{"service.yaml", "url: CACHE_URL_CARTS", "url: CACHE_URL", `:54:66: expected another name than CACHE_URL in url, which pages has`},
		{"service.yaml", "url: CACHE_URL_CARTS, ", "", `expected url in carts, since pages has CACHE_URL: a name such as CACHE_URL_CARTS`},
		{"service.yaml", "pages: {read_by", "Pages 1: {read_by", `:54:10: expected a name of small letters, digits and _ in caches, found "Pages 1"`},
		{"service.yaml", "caches: {pages: {read_by: browse, stale: return 0}, carts: {url: CACHE_URL_CARTS, read_by: checkout, stale: return 1}}", "caches: {}", `:54:9: expected at least one cache in caches, found a mapping`},
		{"service.yaml", "sessions: {token: checkout}", "sessions: {token: check, tok: checkout}", `:55:19: expected a journey of shop in token, found "check"; did you mean "checkout"?`},
		{"service.yaml", "dependants: [billing]", "dependants: [billing, shop]", `:56:23: expected another service, once`},
		{"service.yaml", "dependants: [billing]", "dependants: *all", `expected a list in dependants, found an anchor or alias; write it out`},
		{"service.yaml", "service: shop", "- service: shop", `expected YAML`},
		{"service.yaml", whole, "", `:1:1: expected one YAML document, found 0`},
		{"service.yaml", whole, "a: 1\n---\nb: 2\n", `:1:1: expected one YAML document, found 2`},
		{"service.yaml", whole, "- 1", `:1:1: expected a mapping in the file, found a list`},
		{"service.yaml", "env: {LOG: json}", "env: {LOG: json", `expected YAML`},

		{"releases/v2/release.yaml", "release: v2", "release: v3", `:1:10: expected "v2" in release, which is the name of its folder, found "v3"`},
		{"releases/v2/release.yaml", "known_bad: Checkout fails.\n", "", `expected "known_bad" in the file, found none: why it is bad`},
		{"releases/v2/release.yaml", "migrate_to: 5", "migrate_to: 5\ngood: true", `:1:1: expected exactly one of harms, traps, good in the file, found harms, good`},
		{"releases/v2/release.yaml", "harms:", "harm:", `:3:1: expected one of release, known_bad, harms, traps, good, within, migrate_to, reaches, may_transform, with, env, rollout, measured in the file, found "harm"; did you mean "harms"?`},
		{"releases/v2/release.yaml", "journey: checkout, success_below: 0.9", "success_below: 0.9", `:4:5: expected "journey" in harms, item 1, found none`},
		{"releases/v2/release.yaml", "success_below: 0.9", "success_below: 90", `expected a share above 0 and at most 1 in success_below, found 90`},
		{"releases/v2/release.yaml", "success_below: 0.9", "success_below: 0.9, restarts: 2", `expected exactly one of success_below, latency_above, restarts, memory_above, invariant, jobs_failed in harms, item 1, found success_below, restarts`},
		{"releases/v2/release.yaml", "journey: checkout, succ", "journey: chekout, succ", `expected a journey of shop in journey, found "chekout"; did you mean "checkout"?`},
		{"releases/v2/release.yaml", "service: billing", "service: payments", `expected a dependant of shop in service, found "payments"`},
		{"releases/v2/release.yaml", "memory_above: 300 MB", "memory_above: lots", `expected a size such as 300MB in memory_above, found "lots"`},
		{"releases/v2/release.yaml", "memory_above: 300 MB", "invariant: totals", `expected an invariant of service.yaml, found "totals"`},
		{"releases/v2/release.yaml", thatHarms, "traps: {entries: {cache: page, at_least: 50}}\n", `:3:26: expected a cache of service.yaml in cache, found "page"; did you mean "pages"?`},
		{"releases/v2/release.yaml", thatHarms, "traps: {entries: {at_least: 50}}\n", `expected exactly one of count, cache, command in entries, found none`},
		{"releases/v2/release.yaml", thatHarms, "traps: {entries: {cache: pages, command: ./count, at_least: 50}}\n", `expected exactly one of count, cache, command in entries, found cache, command`},
		{"releases/v2/release.yaml", thatHarms, "traps: {entries: {cach: pages, at_least: 50}}\n", `expected one of count, cache, command, at_least in entries, found "cach"; did you mean "cache"?`},
		{"releases/v2/release.yaml", thatHarms, "traps: {entries: {command: ./count}}\n", `expected "at_least" in entries, found none: how many must exist at the decision`},
		{"releases/v2/release.yaml", "instances: 2", "instances: 4", `expected a whole number from 1 to 3 in instances, found 4`},
		{"releases/v2/release.yaml", ", why: rounding", "", `expected "why" in may_transform, item 1, found none: what changes a user's data needs its reason`},
		{"releases/v2/release.yaml", ", timeout: 60s", "", `expected "timeout" in rollout, item 1, found none: after which it is ended`},
		{"releases/v2/release.yaml", "again: safe", "again: yes", `expected one of safe, refuse in again, found "yes"`},

		{"releases/v2/release.yaml", "again: safe", "again: safe, approval: ask, expires: 1m", `expected one of name, run, timeout, again, expect in rollout, item 1, found "approval"`},
		{"releases/v2/rollback.yaml", "again: safe", "again: safe\n    approval: ask", `expected "expires" in steps, item 2, found none: how long it waits until a person approves; nobody in time stops the plan`},
		{"releases/v2/rollback.yaml", "again: safe", "again: safe\n    expires: 5m", `expected approval: ask beside expires, found none`},
		{"releases/v2/rollback.yaml", "from: v2", "from: v2\napproval: hybrid", `expected what happens at the end of the window beside hybrid, found none`},
		{"releases/v2/rollback.yaml", "from: v2", "from: v2\napproval: {how: hybrid}", `expected "then" in approval, found none: what happens when nobody has confirmed within the window`},
		{"releases/v2/rollback.yaml", "from: v2", "from: v2\napproval: {how: manual, then: go on}", `expected then beside hybrid alone, found it beside manual`},
		{"releases/v2/rollback.yaml", "from: v2", "from: v2\napproval: {how: hybrid, then: go on, people: two}", `nobody's word is not a second person's`},
		{"releases/v2/rollback.yaml", "from: v2", "from: v2\napproval: {how: automatic, within: 1m}", `expected nothing beside automatic`},
		{"service.yaml", "tier: critical", "tier: critical\npeople: {anna: {}}", `expected a key or a token of anna, found neither`},
		{"service.yaml", "tier: critical", "tier: critical\npeople: {anna: {key: mine}}", `expected a public key as in authorized_keys`},
		{"service.yaml", "tier: critical", "tier: critical\npeople: {anna: {token: sesame}}", `expected sha256:64 hex digits`},
		{"service.yaml", "tier: critical", "tier: critical\nbreaker: {errors: {times: 1}}", `expected a number above 1`},
		{"service.yaml", "tier: critical", "tier: critical\nbreaker: {errors: {share: 2}}", `expected a share of 1, above 0`},
		{"service.yaml", "tier: critical", "tier: critical\nbreaker: {invariants: {readings: 0}}", `expected`},
		{"releases/v2/rollback.yaml", "again: safe", "again: safe\n    approval: two\n    expires: 5m", `expected "ask" in approval, found "two"`},

		{"releases/v2/rollback.yaml", "from: v2", "from: v1", `:2:7: expected "v2" in from, the release beside which the plan lies, found "v1"`},
		{"releases/v2/rollback.yaml", "to: v1", "to: v2", `:3:5: expected another release than from in to`},
		{"releases/v2/rollback.yaml", "to: v1", "to: ../../v1", `:3:5: expected a release of shop in to, found "../../v1"; there are v1, v2`},
		{"releases/v2/rollback.yaml", "env: {TOOL", "env: {PATH", `:6:7: expected another name than PATH in env, which every command has already`},
		{"releases/v2/rollback.yaml", "url: LOGICAL", "url: LOGICL", `expected a database of the plan's env in url, found "LOGICL"; did you mean "LOGICAL"?`},
		{"releases/v2/rollback.yaml", "  - unblocked: [orders, public.lines]", "  - unblock: [orders]", `:10:5: expected one of database, unblocked, dependants, artefact, revision, kubectl, lag, backup, space in before, found "unblock"; did you mean "unblocked"?`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `["orders; drop"]`, `expected the name of a table in unblocked, item 1, found "orders; drop"`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `{tables: [orders], before: 1}`, `expected a whole number from 2 to 2 in before, found 1`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `{tables: [orders], before: 3}`, `expected a whole number from 2 to 2 in before, found 3`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `{before: 2}`, `expected "tables" in unblocked, found none: what the steps lock`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `{tables: [orders]}`, `expected "before" in unblocked, found none: the number of a step`},
		{"releases/v2/rollback.yaml", "[orders, public.lines]", `{tables: [], before: 2}`, `expected at least one table in unblocked, found an empty list`},
		{"releases/v2/rollback.yaml", "risk: schema", "sabotage: {what: it forgets}", `expected "shown" in sabotage, found none: a command whose exit code 0 says that it took effect`},
		{"releases/v2/rollback.yaml", "dependants: compatible", "dependants: fine", `expected "compatible" in dependants, found "fine"`},
		{"releases/v2/rollback.yaml", "artefact: v1", "journey: checkout", `:12:5: expected one of database, unblocked, dependants, artefact, revision, kubectl, lag, backup, space in before, found "journey", which is a validation: move it to after`},
		{"releases/v2/rollback.yaml", "every instance serves: v1", "every instance serves: v9", `:24:28: expected a release of shop in every instance serves, found "v9"; did you mean "v1"?; there are v1, v2`},
		{"releases/v2/rollback.yaml", "    timeout: 2m\n", "", `:14:5: expected "timeout" in steps, item 1, found none`},
		{"releases/v2/rollback.yaml", "    run: ./deploy v1\n", "    run: ''\n", `expected a text in run, found ""`},
		{"releases/v2/rollback.yaml", `"OK .*00005"`, `"OK (.*00005"`, `:18:22: expected a regular expression in output, found "OK (.*00005"`},
		{"releases/v2/rollback.yaml", "plan: restore", "plan: [restore]\n#", `:1:7: expected a text in plan, found a list`},
	}
	originals := map[string]string{"service.yaml": whole, "releases/v2/release.yaml": bad, "releases/v2/rollback.yaml": plan}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.to, "/", "_"), func(t *testing.T) {
			text := strings.Replace(originals[test.file], test.from, test.to, 1)
			if text == originals[test.file] {
				t.Fatalf("%q is not in %s", test.from, test.file)
			}
			dir := folder(t, map[string]string{test.file: text})
			err := all(filepath.Join(dir, "service.yaml"))
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, test.file)+":") || !strings.Contains(err.Error(), test.err) {
				t.Errorf("expected %s, found %v", test.err, err)
			}
		})
	}
}

// What a release's ways back took is read from a file beside it, whose mistakes are told by its line.
func TestWhatWaysBackTook(t *testing.T) {
	const good = `{"rows": 1000, "way": "Down", "seconds": 2.5, "blocked": 2, "runs": 3, "load": "0.5"}`
	for name, c := range map[string]struct{ text, err string }{
		"two lines":             {good + "\n" + `{"rows": 1000, "way": "copy", "seconds": 1, "blocked": 0.1, "keep": 1, "bytes": 2048, "runs": 3, "load": "0.5"}` + "\n", ""},
		"a key that is unknown": {good + "\n" + strings.Replace(good, "rows", "row", 1), `figures.ndjson:2: expected an object such as`},
		"no way":                {strings.Replace(good, "Down", "", 1), `figures.ndjson:1: expected rows and runs above 0, a way, and no time below 0`},
		"no runs":               {strings.Replace(good, `"runs": 3`, `"runs": 0`, 1), `figures.ndjson:1: expected rows and runs above 0`},
		"nothing":               {"", `figures.ndjson:1: expected an object such as`},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, map[string]string{"releases/v2/release.yaml": bad + "measured: figures.ndjson\n", "releases/v2/figures.ndjson": c.text})
			r, err := s.Release("v2")
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("expected %s, found %v", c.err, err)
				}
			case err != nil:
				t.Error(err)
			default:
				want := []evidence.Measured{
					{Rows: 1000, Way: "Down", Seconds: 2.5, Blocked: 2, Runs: 3, Load: "0.5"},
					{Rows: 1000, Way: "copy", Seconds: 1, Blocked: 0.1, Keep: 1, Bytes: 2048, Runs: 3, Load: "0.5"},
				}
				if got := r.Evidence().Measured; !slices.Equal(got, want) {
					t.Errorf("expected %+v, found %+v", want, got)
				}
			}
		})
	}
	s := load(t, map[string]string{"releases/v2/release.yaml": bad + "measured: none.ndjson\n"})
	if _, err := s.Release("v2"); err == nil || !strings.Contains(err.Error(), "release.yaml:12:11: expected a file of measurements in measured") {
		t.Errorf("expected that the file is missed, found %v", err)
	}
}

// all loads a service, its release v2 and its plan.
func all(path string) error {
	s, err := Load(path)
	if err != nil {
		return err
	}
	r, err := s.Release("v2")
	if err != nil {
		return err
	}
	_, err = r.Plan("", "process")
	return err
}

func TestAllMistakesOfAFileAreToldInItsOrder(t *testing.T) {
	text := strings.NewReplacer("tier: critical", "teir: critical", "until: 2s", "until: 2", "of: checkout", "of: chekout").Replace(whole)
	err := all(filepath.Join(folder(t, map[string]string{"service.yaml": text}), "service.yaml"))
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		_, rest, _ := strings.Cut(l, "service.yaml:")
		place, _, _ := strings.Cut(rest, ": ")
		lines = append(lines, place)
	}
	if expected := []string{"1:1", "2:1", "42:16", "53:24"}; !slices.Equal(lines, expected) {
		t.Errorf("expected mistakes at %v, found %v", expected, err)
	}
}

func TestNamesThatLeadOutOfTheFolderAreRefused(t *testing.T) {
	s := load(t, nil)
	for _, name := range []string{"", ".", "..", "../v1", "v1/../v2", "/etc", "v1\x00", "a b"} {
		if _, err := s.Release(name); err == nil || !strings.Contains(err.Error(), "expected the name of a folder") {
			t.Errorf("release %q: expected a refusal, found %v", name, err)
		}
	}
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"..", "../v1/rollback", "a/b", "rollback.containers", "release"} {
		if _, err := r.Plan(name, "process"); err == nil || !strings.Contains(err.Error(), "expected the name of a plan") {
			t.Errorf("plan %q: expected a refusal, found %v", name, err)
		}
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "release.yaml"), []byte("release: v3\ngood: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.Dir, "releases", "v3")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release("v3"); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("expected a link that leads out to be refused, found %v", err)
	}
}

func TestPlansByEnvironment(t *testing.T) {
	s := load(t, map[string]string{
		"releases/v2/quick.containers.yaml":    plan,
		"releases/v2/rollback.kubernetes.yaml": strings.Replace(plan, "plan: restore", "plan: in Kubernetes, restore", 1),
	})
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, environment, err string
		none                   bool
	}{
		{"", "process", "", false},
		{"rollback", "process", "", false},
		{"", "kind", "", false},
		{"", "cluster", "", false},
		{"quick", "containers", "", false},
		{"", "containers", "rollback.containers.yaml, found none", true},
		{"quick", "process", "quick.yaml, found none", true},
		{"quik", "process", `found none; there are quick, rollback; did you mean "quick"?`, false},
		{"", "proces", `found "proces"; did you mean "process"?`, false},
	} {
		p, err := r.Plan(test.name, test.environment)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) || errors.Is(err, ErrNoPlan) != test.none {
			t.Errorf("%q for %s: expected %q, not applicable: %v, found %v", test.name, test.environment, test.err, test.none, err)
		}
		if err == nil && test.environment == "kind" && !strings.HasPrefix(p.Name, "in Kubernetes") {
			t.Errorf("expected the plan for Kubernetes, found %s", p.Name)
		}
	}
	names, err := s.Releases()
	if err != nil || !slices.Equal(names, []string{"v1", "v2"}) {
		t.Errorf("found %v, %v", names, err)
	}
	if _, err := s.Release("v3"); err == nil || !strings.Contains(err.Error(), "there are v1, v2") {
		t.Errorf("expected the releases that there are, found %v", err)
	}
}

func TestFind(t *testing.T) {
	one := folder(t, nil)
	top := t.TempDir()
	for name, text := range map[string]string{
		"a": strings.Replace(whole, "service: shop", "service: other", 1),
		"b": "service: [",
	} {
		if err := os.MkdirAll(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name, "service.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Find([]string{top, one}, "shop"); err != nil || s.Dir != one {
		t.Errorf("expected the service in the second root, found %v, %v", s, err)
	}
	_, err := Find([]string{top, one}, "shopp")
	if err == nil || !strings.Contains(err.Error(), `there is no service "shopp"`) || !strings.Contains(err.Error(), `did you mean "shop"?`) ||
		!strings.Contains(err.Error(), filepath.Join(top, "b", "service.yaml")+":1:") {
		t.Errorf("expected the nearest name and the file that cannot be read, found %v", err)
	}
	if _, err := Find([]string{top}, "other"); err == nil || !strings.Contains(err.Error(), "expected a folder in dir") {
		t.Errorf("expected the mistakes of the service, found %v", err)
	}
}

func TestSecrets(t *testing.T) {
	s := load(t, nil)
	t.Setenv("BACKOUT_TEST_TOKEN", "")
	if _, _, err := s.SecretValues(); err == nil || !strings.Contains(err.Error(), "secret PAYMENT_KEY") || !strings.Contains(err.Error(), "BACKOUT_TEST_TOKEN") {
		t.Errorf("expected both to be missing, found %v", err)
	}
	if err := os.MkdirAll(filepath.Join(s.Dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "secrets", "payment"), []byte("-----BEGIN-----\nabcdefghij\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BACKOUT_TEST_TOKEN", "a token")
	hide, values, err := s.SecretValues()
	if err != nil || values["TOKEN"] != "a token" || values["PAYMENT_KEY"] != "-----BEGIN-----\nabcdefghij" {
		t.Errorf("found %q, %v", values, err)
	}
	if !slices.Contains(hide, "a token") || !slices.Contains(hide, "abcdefghij") {
		t.Errorf("expected each line to be hidden, found %q", hide)
	}
}

// Whatever a file holds, reading it is a value or an error with a place.
func FuzzRead(f *testing.F) {
	for _, text := range []string{whole, bad, plan, "", "- a", "a: &x [*x]", "? [a]: b", "<<: {a: b}", "a: !!binary x", "{", "run: a", "service: |\n  x", strings.Repeat("[", 1000)} {
		f.Add(text)
	}
	dir := folder(f, nil)
	s, err := Load(filepath.Join(dir, "service.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	r, err := s.Release("v2")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var errs [3]error
		var x *Service
		x, errs[0] = readService(s.Path, []byte(text))
		_, errs[1] = readRelease(filepath.Join(r.Dir, "release.yaml"), []byte(text), s)
		_, errs[2] = readPlan(filepath.Join(r.Dir, "rollback.yaml"), []byte(text), r)
		for _, err := range errs {
			if err == nil {
				continue
			}
			for _, line := range strings.Split(err.Error(), "\n") {
				if strings.HasPrefix(line, dir) && !strings.Contains(line, ".yaml:") {
					t.Errorf("expected a place, found %s", line)
				}
			}
		}
		if errs[0] == nil {
			x.Evidence()
		}
	})
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ name, expected string }{
		{"jorney", "journeys"}, {"serivce", "service"}, {"instance", "instances"}, {"datbase", "database"}, {"data", "database"}, {"zzz", ""}, {"", ""},
	} {
		found := meant(test.name, []string{"service", "instances", "journeys", "database", "run"})
		if test.expected == "" && found != "" || test.expected != "" && !strings.Contains(found, `"`+test.expected+`"`) {
			t.Errorf("%q: expected %q, found %q", test.name, test.expected, found)
		}
	}
	for _, test := range []struct {
		a, b     string
		distance int
	}{{"", "", 0}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"naïve", "naive", 1}} {
		if d := distance(test.a, test.b); d != test.distance {
			t.Errorf("%s, %s: expected %d, found %d", test.a, test.b, test.distance, d)
		}
	}
}
