package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/postgres"
	"backout/harness/service"
)

var (
	sharedOnce  sync.Once
	sharedCache string // the tests share templates, as drills do
)

// folder is a temporary folder that the user whom PostgreSQL runs as can pass through.
func folder(t testing.TB) string {
	t.Helper()
	// Not t.TempDir, which has the test's name in it: the path of a socket must be short.
	dir, err := os.MkdirTemp("", "backout-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func options(t testing.TB) Options {
	t.Helper()
	if _, err := postgres.Find(""); err != nil {
		t.Skip(err)
	}
	sharedOnce.Do(func() {
		dir, err := os.MkdirTemp("", "backout-test-cache-")
		if err != nil {
			t.Fatal(err)
		}
		sharedCache = dir
	})
	return Options{Cache: sharedCache, Temp: folder(t), Register: t.TempDir(), Progress: func(s string) { t.Log(s) },
		Self: []string{"env", roleVariable + "=control", os.Args[0]}}
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// sample is a service with a table that is published, and one that reads it.
func sample(t testing.TB, rows int) environment.Need {
	t.Helper()
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shop := &service.Service{Name: "shop", Path: dir + "/shop/service.yaml", Dir: dir + "/shop", Instances: 3, Ready: "/readyz", Header: "X-Release",
		Process: &service.Process{Build: []string{"./build"}, Command: []string{"./app"}, Env: map[string]string{
			roleVariable: "service", "ADDR": "{address}", "RELEASE": "{release}", "NAME": "{instance}",
			"DATABASE_URL": "{database_url}", "REPLICA_URL": "{database_url_streaming}", "OTHER": "{url:billing}"}},
		Database: &service.Database{Migrations: "migrations", Publish: []string{"orders"}, Load: "seed.sql", Rows: map[string]int{"orders": rows}},
		Env:      map[string]string{"LOG": "json"}}
	billing := &service.Service{Name: "billing", Path: dir + "/billing/service.yaml", Dir: dir + "/billing", Instances: 1, Ready: "/readyz",
		Process: &service.Process{Build: []string{"./build"}, Command: []string{"./app"}, Env: map[string]string{
			roleVariable: "service", "ADDR": "{address}", "RELEASE": "{release}", "READ_URL": "{database_url_logical:shop}", "OTHER": "{url:shop}"}},
		Database: &service.Database{Migrations: "migrations"}}
	for _, s := range []*service.Service{shop, billing} {
		write(t, s.Dir+"/build", "#!/bin/sh\nset -e\ncp '"+program+"' \"$OUT/app\"\n", 0o755)
	}
	write(t, shop.Dir+"/migrations/00001_orders.sql", `-- +goose Up
create table orders (id bigint generated always as identity primary key, client_key uuid unique, coupon_code text, total numeric(10,2) not null, created_at timestamptz not null default now());
-- +goose Down
drop table orders;
`, 0o644)
	write(t, shop.Dir+"/seed.sql", `insert into orders (client_key, coupon_code, total, created_at)
select gen_random_uuid(), 'SPRING' || i % 10, i % 500, timestamptz '2025-01-01' + i * interval '1 second' from generate_series(1, :rows_orders) i;
`, 0o644)
	write(t, shop.Dir+"/deploy", `#!/bin/sh
# deploy RELEASE [INSTANCE...]
set -eu
release=$1; shift
test $# -gt 0 || set -- $INSTANCES
for i in "$@"; do
	"$PROXY" out "$i"
	ln -sfn "$RELEASES/shop/$release" "$LINKS/$i/current"
	"$SUPERVISOR" restart "$i"
	"$PROXY" in "$i" --ready-within 30s
done
`, 0o755)
	write(t, shop.Dir+"/notes.txt", "not for production", 0o644)
	write(t, shop.Dir+"/releases/v1/release.yaml", "release: v1", 0o644)
	write(t, shop.Dir+"/releases/v2/release.yaml", "release: v2", 0o644)
	write(t, shop.Dir+"/releases/v2/rollback.yaml", "plan: back", 0o644)
	write(t, shop.Dir+"/releases/v2/migrations/00002_note.sql", "-- +goose Up\nalter table orders add column note text;\n-- +goose Down\nalter table orders drop column note;\n", 0o644)
	write(t, billing.Dir+"/migrations/00001_charges.sql", "-- +goose Up\ncreate table charges (id bigint primary key);\n-- +goose Down\ndrop table charges;\n", 0o644)
	write(t, billing.Dir+"/releases/v1/release.yaml", "release: v1", 0o644)
	return environment.Need{Service: shop, Dependants: []*service.Service{billing},
		Good:      &service.Release{Name: "v1", Dir: shop.Dir + "/releases/v1", Good: true, MigrateTo: 1},
		Releases:  map[string]*service.Release{"billing": {Name: "v1", Dir: billing.Dir + "/releases/v1", Good: true}},
		Streaming: true, Logical: true, Progress: func(s string) { t.Log(s) }}
}

func provision(t testing.TB, o Options, need environment.Need) *machine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m := e.(*machine)
	t.Cleanup(func() {
		if err := m.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := m.Provision(ctx, need); err != nil {
		for _, n := range []string{"primary", "streaming", "logical", "shop-1", "billing-1"} {
			t.Log(n, m.Log(n))
		}
		t.Fatal(err)
	}
	return m
}

func get(t testing.TB, url string) (string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), resp.Header
}

// script runs a command as a rollout would.
func script(m *machine, dir, command string) (string, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range m.Platform() {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestProvisionDeployAndDestroy(t *testing.T) {
	need := sample(t, 1000)
	o := options(t)
	m := provision(t, o, need)
	ctx := context.Background()

	for _, n := range m.Nodes() {
		got, err := database.Ask[int](ctx, n.URL, "select count(*) from orders")
		if err != nil || got != 1000 {
			t.Errorf("%s has %d orders, %v", n.Name, got, err)
		}
		if n.PID() == 0 {
			t.Errorf("%s has no process", n.Name)
		}
		retry, err := database.Ask[string](ctx, n.URL, "show wal_retrieve_retry_interval")
		if err != nil || retry != "5s" {
			t.Errorf("%s: wal_retrieve_retry_interval is %s, %v", n.Name, retry, err)
		}
	}
	if len(m.Nodes()) != 3 || len(m.Instances()) != 4 {
		t.Fatalf("found nodes %v, instances %v", m.Nodes(), m.Instances())
	}

	// What the primary gets, both replicas get.
	vars := m.Variables()
	if err := database.Execute(ctx, vars["DATABASE_URL"], "insert into orders (total) values (1)"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"DATABASE_URL_STREAMING", "DATABASE_URL_LOGICAL"} {
		wait, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		err := environment.Until(wait, n+" has the new order", func(ctx context.Context) error {
			got, err := database.Ask[int](ctx, vars[n], "select count(*) from orders")
			if err == nil && got != 1001 {
				err = fmt.Errorf("it has %d", got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}

	// The service writes, the dependant reads, and no more than that.
	role := func(user, name string) string {
		u, err := url.Parse(vars["DATABASE_URL"])
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		u.User, u.Path = url.UserPassword(user, password), "/"+name
		return u.String()
	}
	for _, c := range []struct {
		user, database, sql string
		allowed             bool
	}{
		{"shop", "shop", "insert into orders (total) values (2)", true},
		{"shop", "shop", "drop table orders", false},
		{"billing", "shop", "select 1 from orders limit 1", true},
		{"billing", "shop", "delete from orders", false},
		{"shop_migrator", "shop", "create table more (id int); drop table more", true},
		{"shop", "billing", "select 1 from charges", false},
	} {
		if err := database.Execute(ctx, role(c.user, c.database), c.sql); (err == nil) != c.allowed {
			t.Errorf("%s in %s: %s: %v", c.user, c.database, c.sql, err)
		}
	}

	// Instances find what service.yaml says, and nothing else.
	seen := map[string]bool{}
	for range 6 {
		text, header := get(t, m.URL("shop")+"/environ")
		seen[header.Get("X-Upstream")] = true
		var env []string
		if err := json.Unmarshal([]byte(text), &env); err != nil {
			t.Fatal(err)
		}
		names := map[string]string{}
		for _, v := range env {
			k, v, _ := strings.Cut(v, "=")
			names[k] = v
		}
		if names["NAME"] != header.Get("X-Upstream") || names["RELEASE"] != "v1" || names["OTHER"] != m.URL("billing") || names["LOG"] != "json" {
			t.Errorf("found %v", names)
		}
		for k := range names {
			if !slices.Contains([]string{"PATH", "HOME", "LANG", "TMPDIR", "LOG", "NAME", "RELEASE", "OTHER", "ADDR", "DATABASE_URL", "REPLICA_URL", roleVariable}, k) {
				t.Errorf("an instance has %s in its environment", k)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("answers came from %v", seen)
	}
	if text, _ := get(t, m.URL("billing")+"/count?of=READ_URL"); text == "0" {
		t.Error("billing reads no orders")
	}

	// A release is staged and deployed by its own script.
	v2 := &service.Release{Name: "v2", Dir: need.Service.Dir + "/releases/v2", MigrateTo: 2}
	dir, err := m.Stage(ctx, v2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{"app": true, "deploy": true, "rollback.yaml": true, "release.yaml": true,
		"migrations/00001_orders.sql": true, "migrations/00002_note.sql": true, "notes.txt": false, "releases": false} {
		if _, err := os.Stat(filepath.Join(dir, file)); (err == nil) != want {
			t.Errorf("%s in the staged directory: %v", file, err)
		}
	}
	if out, err := script(m, dir, "./deploy v2"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, i := range m.Instances() {
		want := map[string]string{"shop": "v2", "billing": "v1"}[i.Service]
		text, _ := get(t, i.URL+"/release")
		var release string
		var pid, uid int
		if _, err := fmt.Sscan(text, &release, &pid, &uid); err != nil {
			t.Fatal(err)
		}
		if release != want || pid != i.PID() || uid == 0 {
			t.Errorf("%s says %q, its process is %d", i.Name, text, i.PID())
		}
		if n := i.Restarts(); (n == 1) != (i.Service == "shop") {
			t.Errorf("%s has %d restarts", i.Name, n)
		}
	}

	// Errors are sentences.
	for command, want := range map[string]string{
		`"$SUPERVISOR" restart shop-9`:           `no instance is named "shop-9"`,
		`"$SUPERVISOR" dance shop-1`:             `no command is named "dance"`,
		`"$PROXY" in shop-1 --ready-within soon`: "needs a duration",
		`"$PROXY" out`:                           "name of an instance is missing",
	} {
		if out, err := script(m, dir, command); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %q", command, err, out)
		}
	}
	if out, err := script(m, dir, `"$SUPERVISOR" status; readlink "$("$SUPERVISOR" link shop-1)"`); err != nil || !strings.Contains(out, "shop-3 running as ") ||
		!strings.HasSuffix(out, "/releases/shop/v2\n") || !strings.Contains(out, "in, ready") {
		t.Errorf("%v, %q", err, out)
	}

	// Nothing remains.
	run := m.dir
	urls := []string{m.URL("shop"), m.Instances()[0].URL}
	if err := m.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if found := processesBelow(t, run); found != nil {
		t.Errorf("still running: %v", found)
	}
	for _, dir := range []string{o.Temp, o.Register} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "lock" {
				t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
	for _, u := range urls {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(u, "http://")); err == nil {
			conn.Close()
			t.Errorf("%s is still open", u)
		}
	}
	if !strings.Contains(m.Log("shop-1"), "listening on") || !strings.Contains(m.Log("primary"), "ready to accept connections") {
		t.Errorf("the logs are gone: %q %q", m.Log("shop-1"), m.Log("primary"))
	}
	if _, err := m.Stage(ctx, v2, nil); err == nil {
		t.Error("Stage works after Destroy")
	}
}
