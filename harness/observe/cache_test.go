package observe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"backout/harness/cache"
	"backout/harness/evidence"
	"backout/harness/service"
)

// realCache starts a Redis or Valkey of this machine with a password, and gives its URL and a way to run commands on it.
func realCache(t *testing.T) (url string, do func(args ...string), stop, restart func()) {
	t.Helper()
	program, err := cache.Find()
	if err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "cache.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass hush\nsave \"\"\nappendonly no\ndir %s\n", port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url = cache.URL("127.0.0.1", port, "hush", 0)
	var server *exec.Cmd
	start := func() {
		server = exec.Command(program.Server, conf)
		server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := cache.Open(url, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		until(t, "the cache answers", func() bool { return c.Ping(t.Context()) == nil })
	}
	stop = func() {
		_ = server.Process.Kill() // it may be gone already
		_ = server.Wait()
	}
	start()
	t.Cleanup(func() { stop() })
	return url, func(args ...string) {
		t.Helper()
		out, err := exec.Command(program.Client, append([]string{"-e", "--no-auth-warning", "-u", url}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}, stop, start
}

const countNew = `
	local n = 0
	for _, key in ipairs(redis.call("KEYS", "page:*")) do
		if redis.call("GET", key) == "new" then n = n + 1 end
	end
	return n`

func ofCache(holds func(*evidence.Cache) bool) func(evidence.Event) bool {
	return func(e evidence.Event) bool { return e.Cache != nil && e.Cache.Name == "pages" && holds(e.Cache) }
}

func TestCache(t *testing.T) {
	url, do, stop, restart := realCache(t)
	var mu sync.Mutex
	urls := map[string]string{} // before it is provisioned there is none
	s := record(t)
	o := observe(t, Config{Log: s.log, Interval: 20 * time.Millisecond,
		Service: &service.Service{Name: "web", Caches: map[string]service.Cache{"pages": {Stale: countNew}}},
		Release: &service.Release{Name: "v2", Traps: map[string]service.Trap{"entries": {Cache: "pages", AtLeast: 2}}},
		Caches: func() map[string]string {
			mu.Lock()
			defer mu.Unlock()
			return urls
		}})
	mu.Lock()
	urls = map[string]string{"pages": url}
	mu.Unlock()

	s.await(t, "an empty cache", 0, ofCache(func(c *evidence.Cache) bool { return c.OK && c.Stale == 0 }))
	do("mset", "page:1", "new", "page:2", "old", "page:3", "new", "other", "new")
	stale := s.await(t, "two entries", 0, ofCache(func(c *evidence.Cache) bool { return c.OK && c.Stale == 2 }))
	s.await(t, "the trap", 0, func(e evidence.Event) bool {
		return e.Probe != nil && e.Probe.Name == "trap" && e.Probe.Of == "entries" && e.Probe.OK && e.Probe.Value == 2
	})
	s.await(t, "a beat", stale.N, ofCache(func(c *evidence.Cache) bool { return c.OK && c.Stale == 2 }))

	// While a step runs nothing is asked.
	o.Step(true)
	mark := s.last()
	do("flushdb")
	until(t, "three seconds", func() bool {
		return len(s.events(mark, func(e evidence.Event) bool { return e.Probe != nil && e.Probe.Name == "load" })) >= 3
	})
	if asked := s.events(mark, ofCache(func(*evidence.Cache) bool { return true })); len(asked) > 0 {
		t.Errorf("asked while a step ran: %+v", *asked[0].Cache)
	}
	o.Step(false)
	s.await(t, "the purge", mark, ofCache(func(c *evidence.Cache) bool { return c.OK && c.Stale == 0 }))
	if gaps := s.unforced("cache pages"); len(gaps) > 0 {
		t.Errorf("gap %+v; expected none, a step is a reason to rest", *gaps[0].Gap)
	}

	// A cache that is gone is not one without entries, and the gap ends with it.
	mark = s.last()
	stop()
	gone := s.await(t, "a cache that is gone", mark, ofCache(func(c *evidence.Cache) bool { return !c.OK }))
	if strings.Contains(gone.Cache.Error, "hush") || gone.Cache.Error == "" {
		t.Errorf("error %q; expected one without the password", gone.Cache.Error)
	}
	restart()
	s.await(t, "the gap", mark, func(e evidence.Event) bool { return e.Gap != nil && e.Gap.Of == "cache pages" })
	s.await(t, "the cache again", gone.N, ofCache(func(c *evidence.Cache) bool { return c.OK }))
}

func TestCacheScriptsThatDoNotCount(t *testing.T) {
	url, _, _, _ := realCache(t)
	for _, c := range []struct{ name, script, err string }{
		{"it writes", `return redis.call("SET", "a", "b")`, "Write commands are not allowed"},
		{"it is no Lua", `return (`, "compiling script"},
		{"it forgets to return", `local n = 1`, "nil, a whole number was expected"},
		{"it returns a text", `return "three"`, "three, a whole number of at least 0 was expected"},
		{"it returns less than nothing", `return -1`, "-1, a whole number of at least 0 was expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := record(t)
			observe(t, Config{Log: s.log, Interval: 20 * time.Millisecond,
				Service: &service.Service{Name: "web", Caches: map[string]service.Cache{"pages": {Stale: c.script}}},
				Caches:  func() map[string]string { return map[string]string{"pages": url} }})
			e := s.await(t, "an answer that is no number", 0, ofCache(func(c *evidence.Cache) bool { return !c.OK }))
			if !strings.Contains(e.Cache.Error, c.err) {
				t.Errorf("error %q; expected %q", e.Cache.Error, c.err)
			}
			if gaps := s.unforced("cache pages"); len(gaps) > 0 {
				t.Errorf("gap %+v; expected none, it was answered", *gaps[0].Gap)
			}
		})
	}
}

func TestTrapOfACommand(t *testing.T) {
	s := record(t)
	var mu sync.Mutex
	out, failed := "3\n", error(nil)
	observe(t, Config{Log: s.log, Interval: 20 * time.Millisecond,
		Release: &service.Release{Name: "v2", Traps: map[string]service.Trap{"files": {Command: "ls spool | wc -l", AtLeast: 2}}},
		Command: func(_ context.Context, command string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			if command != "ls spool | wc -l" {
				t.Errorf("asked %q", command)
			}
			return out, failed
		}})
	trap := func(holds func(*evidence.Probe) bool) func(evidence.Event) bool {
		return func(e evidence.Event) bool {
			return e.Probe != nil && e.Probe.Name == "trap" && e.Probe.Of == "files" && holds(e.Probe)
		}
	}
	s.await(t, "three", 0, trap(func(p *evidence.Probe) bool { return p.OK && p.Value == 3 }))
	mu.Lock()
	out = "three"
	mu.Unlock()
	e := s.await(t, "no number", 0, trap(func(p *evidence.Probe) bool { return !p.OK }))
	if !strings.Contains(e.Probe.Error, `it printed "three", one number was expected`) {
		t.Errorf("error %q", e.Probe.Error)
	}
	mu.Lock()
	failed = errors.New("exit status 2")
	mu.Unlock()
	s.await(t, "a command that fails", e.N, trap(func(p *evidence.Probe) bool { return !p.OK && p.Error == "exit status 2" }))
}
