package report

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestFormatsAreAsTheGoldenFilesShow(t *testing.T) {
	m := load(t)
	for _, f := range Formats() {
		var got bytes.Buffer
		if err := f.Write(&got, m); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		golden(t, filepath.Join(fixture, f.File), got.Bytes())
		if f.Name == "html" && got.Len() > 700_000 {
			t.Errorf("%s has %d bytes", f.File, got.Len())
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s differs at byte %d: got %q, want %q; run go test -update and look at the difference", path, at,
			got[at:min(at+120, len(got))], want[at:min(at+120, len(want))])
	}
}
