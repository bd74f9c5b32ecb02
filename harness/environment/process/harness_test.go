package process

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/service"
)

const settingsVariable = "BACKOUT_TEST_SETTINGS"

// runHarness is a run of its own that provisions and then waits to be killed.
func runHarness() {
	parts := strings.Split(os.Getenv(settingsVariable), "|")
	t := &testing.B{} // only Helper and Fatal are used, which end this process
	o := Options{Cache: parts[0], Temp: parts[1], Register: parts[2], Progress: func(string) {}}
	e, err := New(o)
	if err == nil {
		err = e.Provision(context.Background(), alone(t, parts[3]))
	}
	for _, name := range strings.Fields(parts[4]) {
		if err == nil {
			err = e.Faults().Pause(context.Background(), name)
		}
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready", e.(*machine).dir)
	time.Sleep(time.Hour)
}

// alone is a service without dependants, built of files that are there.
func alone(t testing.TB, dir string) environment.Need {
	s := &service.Service{Name: "shop", Path: dir + "/service.yaml", Dir: dir, Instances: 2, Ready: "/readyz",
		Process: &service.Process{Build: []string{"./build"}, Command: []string{"./app"}, Env: map[string]string{
			roleVariable: "service", "ADDR": "{address}", "RELEASE": "{release}", "DATABASE_URL": "{database_url}", "REPLICA_URL": "{database_url_streaming}"}},
		Database: &service.Database{Migrations: "migrations", Load: "seed.sql", Publish: []string{"orders"}, Rows: map[string]int{"orders": 10}}}
	if _, err := cache.Find(); err == nil {
		s.Caches = map[string]service.Cache{"pages": {URL: "CACHE_URL"}}
	}
	return environment.Need{Service: s, Good: &service.Release{Name: "v1", Dir: dir + "/releases/v1", MigrateTo: 1}}
}

func TestAKilledHarnessLeavesNothingAfterClean(t *testing.T) {
	for _, c := range []struct{ name, paused string }{{"runs", ""}, {"paused", "primary shop-1"}} {
		t.Run(c.name, func(t *testing.T) { killAndClean(t, c.paused) })
	}
}

func killAndClean(t *testing.T, paused string) {
	o := options(t)
	need := sample(t, 10)
	state := filepath.Join(t.TempDir(), "register")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=harness",
		settingsVariable+"="+strings.Join([]string{o.Cache, o.Temp, state, need.Service.Dir, paused}, "|"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("%q, %v", line, err)
	}
	dir := strings.TrimSpace(strings.TrimPrefix(line, "ready "))
	if found := processesBelow(t, dir); len(found) < 3 {
		t.Errorf("expected a node and two instances, found %v", found)
	} else if _, err := cache.Find(); err == nil && !strings.Contains(strings.Join(found, "\n"), "/cache-") {
		t.Errorf("expected a cache, found %v", found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	removed, err := environment.Clean(context.Background(), state, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) == 0 || removed[len(removed)-1] != "removed "+dir {
		t.Errorf("removed %q", removed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = environment.Until(ctx, "nothing runs below "+dir, func(context.Context) error {
		if found := processesBelow(t, dir); found != nil {
			return fmt.Errorf("found %v", found)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestWithoutReplicasThereAreNone(t *testing.T) {
	need := sample(t, 1000)
	need.Streaming, need.Logical = false, false
	m := provision(t, options(t), need)
	if n := m.Nodes(); len(n) != 1 || n[0].Name != "primary" {
		t.Errorf("nodes %v", n)
	}
	if v := m.Variables(); len(v) != 2 || v["DATABASE_URL"] == "" || v["ADMIN_DATABASE_URL"] == "" {
		t.Errorf("variables %v", v)
	}
	slots, err := database.Ask[int](context.Background(), m.Nodes()[0].URL, "select count(*) from pg_replication_slots")
	if err != nil || slots != 0 {
		t.Errorf("%d slots hold back WAL for nobody, %v", slots, err)
	}
}

func TestDrillsSideBySideShareATemplate(t *testing.T) {
	o := options(t)
	o.Cache = folder(t)
	var mu sync.Mutex
	made := 0
	need := sample(t, 20)
	need.Progress = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(text, "making the database template") {
			made++
		}
	}
	var all sync.WaitGroup
	dirs := make([]string, 2)
	for n := range dirs {
		all.Go(func() {
			e, err := New(o)
			if err != nil {
				t.Error(err)
				return
			}
			m := e.(*machine)
			defer func() {
				if err := m.Destroy(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if err := m.Provision(ctx, need); err != nil {
				t.Error(err)
				return
			}
			dirs[n] = m.dir
			for _, node := range m.Nodes() {
				if got, err := database.Ask[int](ctx, node.URL, "select count(*) from orders"); err != nil || got != 20 {
					t.Errorf("%s has %d orders, %v", node.Name, got, err)
				}
			}
		})
	}
	all.Wait()
	if made != 1 || dirs[0] == dirs[1] {
		t.Errorf("the template was made %d times; the runs were in %v", made, dirs)
	}
}

func TestProvisionSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*environment.Need)
		want   string
	}{
		"a migration that fails": {func(n *environment.Need) {
			write(t, n.Service.Dir+"/migrations/00001_orders.sql", "-- +goose Up\ncreate table nonsense (\n", 0o644)
		}, "migrate shop"},
		"a load file that fails": {func(n *environment.Need) {
			write(t, n.Service.Dir+"/seed.sql", "insert into nowhere values (1)", 0o644)
		}, "load the data of shop"},
		"a number that nobody states": {func(n *environment.Need) {
			write(t, n.Service.Dir+"/seed.sql", "select 1;\nselect :rows_lines;", 0o644)
		}, "seed.sql:2: :rows_lines has no number"},
		"a build that fails": {func(n *environment.Need) {
			write(t, n.Service.Dir+"/build", "#!/bin/sh\necho no compiler here >&2\nexit 1\n", 0o755)
		}, "no compiler here"},
		"a placeholder that is none": {func(n *environment.Need) { n.Service.Process.Env["X"] = "{databse_url}" }, "{databse_url} is no placeholder"},
		"an instance that dies": {func(n *environment.Need) {
			n.Service.Process.Env["ADDR"] = "nonsense"
		}, "wait until the instances of shop are ready"},
		"nothing to replicate": {func(n *environment.Need) { n.Service.Database.Publish, n.Logical = nil, true }, "publishes no table"},
		"no command":           {func(n *environment.Need) { n.Service.Process = nil }, "no run.process.command"},
	} {
		t.Run(name, func(t *testing.T) {
			need := sample(t, 10)
			need.Dependants, need.Releases, need.Streaming, need.Logical = nil, nil, false, false
			delete(need.Service.Process.Env, "OTHER")
			c.change(&need)
			o := options(t)
			e, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			limit := 2 * time.Minute
			if name == "an instance that dies" {
				limit = 5 * time.Second // it is waited for as long as the caller wants
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			if err := e.Provision(ctx, need); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q in it", err, c.want)
			}
			if err := e.Destroy(context.Background()); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(o.Temp); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestDestroyInterruptsProvision(t *testing.T) {
	need := sample(t, 10)
	begun := make(chan struct{})
	write(t, need.Service.Dir+"/build", "#!/bin/sh\nexec sleep 600\n", 0o755)
	need.Progress = func(text string) {
		if text == "building shop v1" {
			close(begun)
		}
	}
	o := options(t)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	provisioned := make(chan error, 1)
	go func() { provisioned <- e.Provision(context.Background(), need) }()
	<-begun
	if err := e.Destroy(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-provisioned; err == nil {
		t.Error("it was provisioned all the same")
	}
	if left, _ := os.ReadDir(o.Temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := e.Provision(context.Background(), need); err == nil || !strings.Contains(err.Error(), "destroyed") {
		t.Errorf("error %v", err)
	}
}

func TestCloneIsApart(t *testing.T) {
	m := provision(t, options(t), sample(t, 1000))
	ctx := context.Background()
	if err := database.Execute(ctx, m.Nodes()[0].URL, "delete from orders"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := m.Clone(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := database.Ask[int](ctx, c.DatabaseURL, "select count(*) from orders"); err != nil || got != 1000 {
			t.Errorf("the clone has %d orders, %v", got, err)
		}
		for of, path := range map[string]string{"shop": "/count?of=REPLICA_URL", "billing": "/count?of=READ_URL"} {
			if text, _ := get(t, c.URLs[of]+path); text != "1000" {
				t.Errorf("%s of the clone sees %s orders", of, text)
			}
		}
		if len(m.Instances()) != 4 || len(m.Nodes()) != 3 {
			t.Error("the clone is observed")
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(m.dir, "clone*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if _, err := m.Clone(ctx); err != nil { // left open: Destroy closes it
		t.Error(err)
	}
}
