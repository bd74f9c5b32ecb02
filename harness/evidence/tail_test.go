package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A tail gives every event of a log that grows, once and in order, and none before its segment is whole.
func TestATailFollowsALogThatGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	tail, err := NewTail(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	next := func() []Event {
		t.Helper()
		events, err := tail.Next()
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	if got := next(); len(got) != 0 {
		t.Fatalf("found %d events of no log", len(got))
	}
	whole := filepath.Join(t.TempDir(), File)
	log, err := Create(whole, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for segment := range 3 {
		for range 10 {
			log.PutAt(Offset(segment*6), &Probe{Name: "load", OK: true}) // each its own segment of time
		}
	}
	log.PutAt(18, &End{How: "complete"})
	if _, err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	grew := 0
	for size := 0; size <= len(text); size++ { // a byte at a time
		if err := os.WriteFile(path, text[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		got := next()
		for _, e := range got {
			if n++; e.N != n {
				t.Fatalf("event %d came in the place of %d", e.N, n)
			}
		}
		if len(got) > 0 {
			grew++
		}
		if tail.Closed() && size < len(text) {
			t.Fatalf("closed after %d of %d bytes", size, len(text))
		}
	}
	if n != 31 || grew < 3 || !tail.Closed() {
		t.Errorf("expected 31 events in at least 3 pieces and the end, found %d in %d, %v", n, grew, tail.Closed())
	}
	if got := next(); len(got) != 0 {
		t.Errorf("%d events came twice", len(got))
	}
}

func TestATailNoticesThatALogDidNotOnlyGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	log, err := Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log.Put(&Probe{Name: "load"})
	if _, err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string][]byte{"shorter": text[:10], "more after its end": append(append([]byte{}, text...), text...)} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		tail, err := NewTail(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tail.Next(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := tail.Next(); !errors.As(err, new(*EditedError)) {
			t.Errorf("%s: expected that it was edited, found %v", name, err)
		}
		tail.Close()
	}
}
