package process

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/cache"
	"backout/harness/service"
)

// withCaches gives a service two caches; the test is skipped where no program for them is.
func withCaches(t testing.TB, s *service.Service) {
	t.Helper()
	if _, err := cache.Find(); err != nil {
		t.Skip(err)
	}
	s.Caches = map[string]service.Cache{"pages": {URL: "CACHE_URL"}, "carts": {URL: "CACHE_URL_CARTS"}}
	s.Process.Env["PAGES"], s.Process.Env["CARTS"] = "{cache_url:pages}", "{cache_url:carts}"
}

// has counts the keys of a cache.
func has(t *testing.T, url string) int {
	t.Helper()
	c, err := cache.Open(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := c.Count(context.Background(), `return redis.call("DBSIZE")`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCachesAreThereAndGo(t *testing.T) {
	need := sample(t, 10)
	withCaches(t, need.Service)
	m := provision(t, options(t), need)
	ctx := context.Background()

	vars, caches := m.Variables(), m.Caches()
	if vars["CACHE_URL"] != caches["pages"] || vars["CACHE_URL_CARTS"] != caches["carts"] || caches["pages"] == caches["carts"] || vars["DATABASE_URL"] == "" {
		t.Errorf("variables %v, caches %v", vars, caches)
	}
	resp, err := http.Get(m.URL("shop") + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	if err := json.Unmarshal(body, &environ); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"PAGES": caches["pages"], "CARTS": caches["carts"]} {
		if !strings.Contains(strings.Join(environ, "\n"), name+"="+url) {
			t.Errorf("expected %s=%s in %v", name, url, environ)
		}
	}

	// A plan's commands fill one of them, by its own command line and with the password.
	out, err := script(m, t.TempDir(), `"$CACHE_CLI" -e --no-auth-warning -u '`+caches["pages"]+`' set a b`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if has(t, caches["pages"]) != 1 || has(t, caches["carts"]) != 0 {
		t.Errorf("pages have %d, carts %d; expected 1 and 0", has(t, caches["pages"]), has(t, caches["carts"]))
	}
	if out, err := script(m, t.TempDir(), `"$CACHE_CLI" -e -u '`+strings.Replace(caches["pages"], m.password, "guessed", 1)+`' set a c`); err == nil {
		t.Errorf("another password was taken: %s", out)
	}
	if !strings.Contains(m.Log("cache"), "Ready to accept connections") {
		t.Errorf("log %q", m.Log("cache"))
	}
	program, err := cache.Find()
	if err != nil || m.Versions()[program.Name] != program.Version {
		t.Errorf("versions %v, %v", m.Versions(), err)
	}
	if out, _ := script(m, t.TempDir(), `"$SUPERVISOR" status`); strings.Contains(string(out), "cache") {
		t.Errorf("what restarts instances knows the cache:\n%s", out)
	}

	clone, err := m.Clone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	get(t, clone.URLs["shop"]+"/readyz")
	if _, err := os.Stat(m.nodeDir("clone-1-cache")); err != nil {
		t.Errorf("the clone has no cache of its own: %v", err)
	}
	if err := clone.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(m.nodeDir("clone-1-cache")); !os.IsNotExist(err) {
		t.Errorf("the clone's cache is still there: %v", err)
	}

	dir := m.dir
	if files, _ := filepath.Glob(filepath.Join(m.nodeDir("cache"), "*")); len(files) != 1 {
		t.Errorf("expected nothing but its configuration on disk, found %v", files)
	}
	if err := m.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if found := processesBelow(t, dir); found != nil {
		t.Errorf("still there: %v", found)
	}
	if !strings.Contains(m.Log("cache"), "Ready to accept connections") {
		t.Error("its log is gone with it")
	}
}

func TestWhatIsLackingIsSaidWithWhatMendsIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	without := &service.Service{Name: "web", Path: "web/service.yaml"}
	if found := Lacks([]*service.Service{without}); found != "" {
		t.Errorf("found %q; expected nothing for a service without caches", found)
	}
	with := &service.Service{Name: "items", Path: "items/service.yaml", Caches: map[string]service.Cache{"pages": {}}}
	needs := &service.Service{Name: "pages", Path: "pages/service.yaml", Needs: map[string]string{"no-such-program": "apt-get install it"}}
	if found := Lacks([]*service.Service{without, needs}); !strings.Contains(found, "pages needs no-such-program (pages/service.yaml)") || !strings.Contains(found, "apt-get install it") {
		t.Errorf("found %q", found)
	}
	found := Lacks([]*service.Service{without, with})
	if !strings.Contains(found, "items has a cache (items/service.yaml)") || !strings.Contains(found, "apt-get install redis-server") || strings.Contains(found, "\n") {
		t.Errorf("found %q", found)
	}
}
