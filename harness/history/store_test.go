package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestRunsComeBackAsTheyWereAdded(t *testing.T) {
	for _, place := range []string{t.TempDir(), "file://" + t.TempDir(), "mem://"} {
		s := open(t, place)
		add(t, s, green(1), green(3, red), green(2, unclear))
		l := loaded(t, s)
		if len(l.Runs) != 3 || len(l.Damaged) > 0 {
			t.Fatalf("%s: expected 3 runs, found %d, and %v", place, len(l.Runs), l.Damaged)
		}
		for i, want := range []string{"fail", "inconclusive", "pass"} {
			if l.Runs[i].Verdict != want {
				t.Errorf("%s: run %d: expected %s, found %s", place, i, want, l.Runs[i].Verdict)
			}
		}
		if r := l.Runs[0]; r.Restored != nil || r.Rows["orders"] != 1000 || r.Files["deploy"] != "sha256:bb" {
			t.Errorf("%s: %+v is not what was added", place, r)
		}
	}
}

// Unknown values are absent in the text of an object, and never zero.
func TestUnknownIsAbsent(t *testing.T) {
	_, text, err := Run{Format: 1, Kind: Drill, Service: "till", Head: "x", When: noon, Verdict: "inconclusive"}.write()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cores", "rows", "restored", "users", "silence", "target", "seed", "shares\":{\"", "files", "promise"} {
		if bytes.Contains(text, []byte(`"`+key)) {
			t.Errorf("%s is not known, and stands in %s", key, text)
		}
	}
}

// Writers side by side, each by a store of its own as processes have, overwrite nothing of each other; and one run stays one
// object, whoever adds it.
func TestWritersDoNotOverwrite(t *testing.T) {
	dir := t.TempDir()
	var work sync.WaitGroup
	const each, writers = 25, 4
	for w := range writers {
		s := open(t, dir)
		work.Go(func() {
			for i := range each {
				one := green(1, func(r *Run) { r.Head = hash(fmt.Sprint("writer ", w, i)) }) // all of the same second
				if added, err := s.Add(context.Background(), one); err != nil || !added {
					t.Errorf("expected it to be added, found %v, %v", added, err)
				}
				if _, err := s.Add(context.Background(), green(2)); err != nil { // and all of them add this one
					t.Error(err)
				}
				if _, err := s.AddRecord(context.Background(), Record{Kind: Deployment, Service: "till", When: noon, ID: fmt.Sprint(w*each + i)}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Tidy(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	l := loaded(t, open(t, dir))
	if len(l.Runs) != writers*each+1 || len(l.Records) != writers*each || len(l.Damaged) > 0 {
		t.Errorf("expected %d runs and %d records, found %d, %d and %v", writers*each+1, writers*each, len(l.Runs), len(l.Records), l.Damaged)
	}
	if n := len(objects(t, dir)); n != writers*each+1 {
		t.Errorf("expected %d objects, found %d", writers*each+1, n)
	}
}

// A run that is there stays as it is, also when another version judges the same log otherwise.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, green(1, red))
	before, err := os.ReadFile(objects(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	if added, err := s.Add(t.Context(), green(1)); err != nil || added {
		t.Errorf("the same run was added twice: %v, %v", added, err)
	}
	after, err := os.ReadFile(objects(t, dir)[0])
	if err != nil || len(objects(t, dir)) != 1 || !bytes.Equal(before, after) {
		t.Errorf("the object was changed (%v), there are %d", err, len(objects(t, dir)))
	}
}

// What is damaged is named, ends nothing, and counts as nothing.
func TestDamagedObjects(t *testing.T) {
	for name, how := range map[string]func([]byte) []byte{
		"cut":             func(text []byte) []byte { return text[:len(text)/2] },
		"empty":           func([]byte) []byte { return nil },
		"red made green":  func(text []byte) []byte { return bytes.Replace(text, []byte(`"fail"`), []byte(`"pass"`), 1) },
		"of another kind": func([]byte) []byte { return []byte(`[]`) },
	} {
		dir := t.TempDir()
		s := open(t, dir)
		add(t, s, green(1, red))
		change(t, objects(t, dir)[0], how)
		add(t, s, green(5))
		l := loaded(t, s)
		if len(l.Runs) != 1 || !l.Runs[0].Green() || len(l.Damaged) != 1 || !strings.Contains(l.Damaged[0].Name, "20261125T120000Z-till-") || l.Damaged[0].Why == "" {
			t.Errorf("%s: expected the other run and one damaged object with its name, found %d runs and %+v", name, len(l.Runs), l.Damaged)
		}
	}
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, green(1))
	if err := os.WriteFile(filepath.Join(dir, "runs", "notes.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if l := loaded(t, s); len(l.Runs) != 1 || len(l.Damaged) != 1 || l.Damaged[0].Name != "runs/notes.json" {
		t.Errorf("expected a stranger to be named, found %+v", l.Damaged)
	}
}

// An object of a later version is not understood, and says so.
func TestLaterVersions(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, green(1, func(r *Run) { r.Format = Format + 1 }))
	if l := loaded(t, s); len(l.Runs) != 0 || len(l.Damaged) != 1 || !strings.Contains(l.Damaged[0].Why, "another version of Backout") {
		t.Errorf("expected one that is not understood, found %+v", l.Damaged)
	}
}

// Whatever is in the index, or not, the same runs are read.
func TestIndex(t *testing.T) {
	for name, c := range map[string]struct {
		how     func(t *testing.T, index string)
		indexed int
		told    bool
	}{
		"whole":  {func(*testing.T, string) {}, 3, false},
		"absent": {func(t *testing.T, index string) { remove(t, index) }, 0, false},
		"garbage": {func(t *testing.T, index string) {
			change(t, index, func([]byte) []byte { return []byte("\x00\x01garbage") })
		}, 0, true},
		"cut in its last line": {func(t *testing.T, index string) { change(t, index, func(b []byte) []byte { return b[:len(b)-40] }) }, 2, true},
		"red made green": {func(t *testing.T, index string) {
			change(t, index, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"fail"`), []byte(`"pass"`)) })
		}, 2, false},
		"with what is not there": {func(t *testing.T, index string) {
			change(t, index, func(b []byte) []byte {
				return append(bytes.ReplaceAll(b, []byte(`{"name":"2026`), []byte(`{"name":"2025`)), b...)
			})
		}, 3, false},
		"older than the last run": {nil, 2, false},
	} {
		dir := t.TempDir()
		s := open(t, dir)
		add(t, s, green(3, red), green(2))
		if c.how == nil {
			rebuild(t, s)
		}
		add(t, s, green(1))
		if c.how != nil {
			rebuild(t, s)
			c.how(t, filepath.Join(dir, indexAt))
		}
		l := loaded(t, s)
		if len(l.Runs) != 3 || l.Runs[0].Green() || !l.Runs[1].Green() || !l.Runs[2].Green() || len(l.Damaged) > 0 {
			t.Errorf("%s: expected a red run and two green ones, found %+v and %+v", name, l.Runs, l.Damaged)
		}
		if l.Indexed != c.indexed || (l.Index != "") != c.told {
			t.Errorf("%s: expected %d from the index, found %d, and %q", name, c.indexed, l.Indexed, l.Index)
		}
		rebuild(t, s)
		if l := loaded(t, s); l.Indexed != 3 || l.Index != "" {
			t.Errorf("%s: rebuilt, %d are in the index, and %q", name, l.Indexed, l.Index)
		}
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rebuild(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Rebuild(t.Context(), loaded(t, s)); err != nil {
		t.Fatal(err)
	}
}

// Whoever adds runs writes the index anew once many are missing in it.
func TestTidy(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range stale + 1 {
		add(t, s, green(float64(i)))
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := 0
		if i == stale {
			want = stale + 1
		}
		if i >= stale-1 {
			if l := loaded(t, s); l.Indexed != want {
				t.Errorf("after %d runs %d are in the index, expected %d", i+1, l.Indexed, want)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{
		"gs://bucket":     "expected a folder or a URL of one of file, mem, s3, found gs://",
		"ftp://host/x":    "found ftp://",
		"file://host/x":   "expected file:///PATH",
		file:              "expected a folder, found a file",
		file + "/below":   "not a directory",
		"s3://?region=eu": "s3://?region=eu",
	} {
		s, err := Open(t.Context(), place, true)
		if err == nil {
			_, err = s.Add(t.Context(), green(1))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, found %v", place, want, err)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "absent"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("expected that a history that is not there is told, found %v", err)
	}
}
