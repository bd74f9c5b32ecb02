package process

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// Lacks says what this machine has not that drills of these services need; empty: nothing. What can be fetched is not
// lacking.
func Lacks(all []*service.Service) string {
	for _, s := range all {
		for _, program := range slices.Sorted(maps.Keys(s.Needs)) {
			if !onThisMachine(program) {
				return fmt.Sprintf("%s needs %s (%s), which is not on PATH: %s", s.Name, program, s.Path, s.Needs[program])
			}
		}
		if len(s.Caches) == 0 {
			continue
		}
		if _, err := cache.Find(); err != nil {
			return fmt.Sprintf("%s has a cache (%s): %s", s.Name, s.Path, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return ""
}

// onThisMachine looks for a program on PATH, and where Debian has servers, which is on root's PATH alone.
func onThisMachine(program string) bool {
	for _, name := range []string{program, filepath.Join("/usr/sbin", program)} {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
	}
	return false
}

// startCache starts a server that keeps nothing on disk, and returns when it answers with the run's password, which a
// stranger on its port would not know.
func (m *machine) startCache(ctx context.Context, under *supervisor, name string, w wiring.Wiring) error {
	dir := m.nodeDir(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	conf := filepath.Join(dir, "cache.conf") // in a file, since the arguments of a process are for everybody to read
	text := fmt.Sprintf(`bind 127.0.0.1
port %d
requirepass %s
databases %d
dir %s
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
daemonize no
`, w.Cache, w.Password, max(1, len(wiring.Caches(w.Need))), strconv.Quote(dir))
	err := os.WriteFile(conf, []byte(text), 0o600)
	if err != nil {
		return err
	}
	if m.owner != nil {
		for _, path := range []string{dir, conf} {
			if err := os.Chown(path, int(m.owner.Uid), int(m.owner.Gid)); err != nil {
				return err
			}
		}
	}
	_, err = under.add(spec{name: name, link: dir, log: filepath.Join(m.dir, "logs", name+".log"),
		command: []string{m.cacheProgram.Server, conf}, env: func(string) ([]string, error) { return []string{"LANG=C"}, nil }})
	if err != nil {
		return err
	}
	url := cache.URL("127.0.0.1", w.Cache, w.Password, 0)
	err = environment.Until(ctx, name+" answers", func(ctx context.Context) error {
		client, err := cache.Open(url, "backout") // a new one each time: after a refused connection a client rests for a second
		if err != nil {
			return err
		}
		defer client.Close()
		return client.Ping(ctx)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, environment.LastLines(name, m.Log(name), 5))
	}
	return nil
}

// Caches implements environment.Environment.
func (m *machine) Caches() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wiring.CacheURLs()
}
