package evidence

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFolders(t *testing.T) {
	set := filepath.Join(t.TempDir(), "a [set]*")
	for _, run := range []string{"b", "a"} {
		if err := os.MkdirAll(filepath.Join(set, run), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(set, run, File), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(set, "history"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(set, "a"), filepath.Join(set, "b")
	for dir, want := range map[string][]string{set: {a, b}, a: {a}, filepath.Join(set, "history"): nil} {
		if found, err := Folders(dir); err != nil || !slices.Equal(found, want) {
			t.Errorf("%s: expected %q, found %q, %v", dir, want, found, err)
		}
	}
	if found, err := Folders(filepath.Join(set, "c")); err == nil {
		t.Errorf("a folder that is not there has %q", found)
	}
}
