package live

import (
	"os"
	"path/filepath"
	"testing"

	"backout/harness/evidence"
)

// How long parts usually take is learned from whole runs of the same drill, and from nothing else.
func TestWhatIsUsualIsLearnedFromEarlierRuns(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(sample, evidence.File))
	if err != nil {
		t.Fatal(err)
	}
	var run *evidence.Run
	for e, err := range evidence.Read(filepath.Join(sample, evidence.File)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Run != nil {
			run = e.Run
		}
	}
	reports := t.TempDir()
	put := func(path string, text []byte) {
		dir := filepath.Join(reports, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, evidence.File), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("20260101-000000-one", whole)
	put("20260102-000000-set/drill-8", whole)
	put("20260103-000000-cut", whole[:len(whole)/2]) // it is not whole
	put("20260104-000000-own", whole)                // it runs now
	u := usually(reports, filepath.Join(reports, "20260104-000000-own"), run)
	if took := phaseAt(t, "deploy") - phaseAt(t, "baseline"); u.Runs != 2 || u.Phases["baseline"] != took || len(u.Steps) != len(run.Plan.Steps) || u.Steps[1] <= 0 {
		t.Errorf("expected a baseline of %g s from two runs, found %+v", took, u)
	}
	other := *run
	other.Plan.Path = "another.yaml"
	if u := usually(reports, "", &other); u.Runs != 0 {
		t.Errorf("learned from another drill: %+v", u)
	}
}
