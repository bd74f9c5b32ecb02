package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// programs is a PATH that holds programs which print a text whatever they are asked.
func programs(t *testing.T, say map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range say {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+text+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestFind(t *testing.T) {
	redis := "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1a2b"
	for _, c := range []struct {
		name    string
		there   map[string]string
		is, err string
	}{
		{"Redis", map[string]string{"redis-server": redis, "redis-cli": ""}, "redis 7.0.15", ""},
		{"Valkey", map[string]string{"valkey-server": "Valkey server v=8.0.1 sha=00000000:0", "valkey-cli": ""}, "valkey 8.0.1", ""},
		{"an old Redis beside Valkey", map[string]string{"redis-server": "Redis server v=6.2.14 sha=0", "redis-cli": "",
			"valkey-server": "Valkey server v=7.2.8 sha=0", "valkey-cli": ""}, "valkey 7.2.8", ""},
		{"nothing", nil, "", "apt-get install redis-server"},
		{"an old Redis", map[string]string{"redis-server": "Redis server v=6.2.14 sha=0", "redis-cli": ""}, "", "is version 6.2.14, but 7 or later is needed"},
		{"no command line", map[string]string{"redis-server": redis}, "", "has no redis-cli on PATH beside it"},
		{"something else", map[string]string{"redis-server": "hello", "redis-cli": ""}, "", `expected a version, found "hello"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs(t, c.there)
			p, err := Find()
			if c.err == "" {
				if err != nil || p.Name+" "+p.Version != c.is || !strings.HasSuffix(p.Client, p.Name+"-cli") {
					t.Errorf("found %+v, %v", p, err)
				}
				return
			}
			if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("expected %s, found %v", c.err, err)
			}
		})
	}
}

func TestAnAddressThatIsNoneIsNotTold(t *testing.T) {
	if _, err := Open("http://default:hush@127.0.0.1", "test"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("found %v", err)
	}
}
