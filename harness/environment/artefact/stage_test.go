package artefact

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backout/harness/service"
)

// A release that was there and is gone is not made again: whether it can be deployed is what a plan asks.
func TestAReleaseIsMadeOnce(t *testing.T) {
	s := &service.Service{Name: "shop", Dir: t.TempDir()}
	r := &service.Release{Name: "v1", Dir: filepath.Join(s.Dir, "releases/v1")}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "page"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := Stages{Kind: "process", Dir: t.TempDir(), Say: func(string) {}}
	for range 2 {
		dir, err := g.Release(t.Context(), s, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "page")); err != nil || string(text) != "hello" {
			t.Errorf("found %q, %v", text, err)
		}
	}
	if err := RemoveTree(filepath.Join(g.Dir, "shop/v1")); err != nil {
		t.Fatal(err)
	}
	if dir, err := g.Release(t.Context(), s, r, nil); err == nil || !strings.Contains(err.Error(), "shop v1 was there, and somebody has taken it away") {
		t.Errorf("found %s, %v", dir, err)
	}
}
