package history

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"backout/harness/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

// small is a history in which everything occurs once.
func small() *Log {
	slower := func(days, seconds float64) Run {
		return green(days, taking(seconds), func(r *Run) { r.Service, r.Tier, r.Target, r.Name = "desk", "standard", 900, "the cache is clean" })
	}
	control := func(r *Run) {
		red(r)
		r.Kind, r.Exit, r.Name = Control, verdict.ExitPass, "the Down brings it back empty"
	}
	another := func(r *Run) { r.Name, r.Line = "the primary fails over meanwhile", 30 }
	runs := []Run{green(200, func(r *Run) { r.Service = "loft" }), slower(60, 20), slower(50, 21), slower(40, 19), green(30, another), green(12), slower(10, 44), green(6, control), green(5, another, red), green(4, taking(18))}
	records := []Record{{Kind: Deployment, Service: "till", When: ago(20)}, {Kind: Deployment, Service: "till", When: ago(8)}, {Kind: Rollback, Service: "till", When: ago(7)}, {Kind: Deployment, Service: "attic", When: ago(3)}}
	return &Log{Place: "reports/history", Runs: runs, Records: records, Damaged: []Damaged{{"runs/x.json", "it was cut", named{service: "till", when: ago(2)}}}}
}

func TestFormats(t *testing.T) {
	s := Summarize(small(), Options{Now: noon})
	for _, f := range Formats() {
		var out bytes.Buffer
		if err := f.Write(&out, s); err != nil {
			t.Fatal(err)
		}
		if f.Name != "html" { // which has the styles of reports in it
			golden(t, "history."+f.Name, out.Bytes())
		}
		var err error
		switch f.Name {
		case "json", "shields":
			err = json.Unmarshal(out.Bytes(), &map[string]any{})
		case "csv":
			_, err = csv.NewReader(&out).ReadAll()
		case "badge":
			err = wellFormed(out.Bytes())
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestReview(t *testing.T) {
	known := []Known{{Name: "attic", Tier: "critical", Plans: []string{"releases/v2/rollback.yaml"}}, {Name: "cellar", Tier: "standard", None: []string{"v2"}},
		{Name: "till", Tier: "critical", Plans: []string{"releases/v2/rollback.yaml", "releases/v3/rollback.yaml"}}}
	r := ReviewOf(small(), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), known, noon)
	var out bytes.Buffer
	if err := r.Markdown(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "review.md", out.Bytes())
	out.Reset()
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Rollbacks in 2026-11", "attic, cellar", "a person must answer", "releases/v3/rollback.yaml was never drilled"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("expected %q in the review's page", want)
		}
	}
	// What came later is in no review of before.
	if r := ReviewOf(small(), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), nil, noon); len(r.Worse) != 0 || strings.Contains(fmt.Sprint(r.Services), "2026-11-2") {
		t.Errorf("a review of October knows November: %+v", r)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./harness/history -update writes it anew):\n%s", path, got)
	}
}

func wellFormed(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Whatever a name or a finding says is text on every page, and is obeyed by no terminal and no spreadsheet.
func TestHostileTexts(t *testing.T) {
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)> | [x](javascript:alert(1)) ` + "\x1b[31m\r`"
	hostile := green(1, red, func(r *Run) {
		r.Name, r.Because, r.Feature, r.Again, r.Environment = evil, evil, evil, evil, "=cmd|' /C calc'!A0"+evil
	})
	before := green(3, func(r *Run) { r.Name, r.Feature, r.Environment = hostile.Name, hostile.Feature, hostile.Environment })
	l := &Log{Place: evil, Runs: []Run{before, hostile}, Damaged: []Damaged{{Name: evil, Why: evil}}}
	s := Summarize(l, Options{Now: noon})
	r := ReviewOf(l, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), []Known{{Name: "till", Plans: []string{evil}}}, noon)
	pages := map[string]func(io.Writer) error{"review html": r.HTML, "review md": r.Markdown}
	for _, f := range Formats() {
		pages[f.Name] = func(w io.Writer) error { return f.Write(w, s) }
	}
	for name, write := range pages {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if name == "review md" { // in code nothing is obeyed
			text = regexp.MustCompile("(?m)(^|[^\\\\])`[^`\n]*`").ReplaceAllString(text, "$1")
		}
		if name != "csv" && name != "json" && name != "table" && (strings.Contains(text, "<script>alert") || strings.Contains(text, "<img src=x")) {
			t.Errorf("%s: a script got through", name)
		}
		if name == "table" && strings.ContainsRune(text, '\x1b') {
			t.Error("the table obeys an escape")
		}
		if name == "csv" && regexp.MustCompile(`(^|,)"?=cmd`).MatchString(text) {
			t.Error("the CSV has a formula")
		}
	}
}

// A page names no other place than itself, and what is invented is marked.
func TestPageIsAlone(t *testing.T) {
	runs, records := Generate(300, 7, noon)
	var out bytes.Buffer
	if err := HTML(&out, Summarize(&Log{Runs: runs, Records: records}, Options{Now: noon})); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"http://", "https://", "<script", "@import", "url("} {
		if strings.Contains(strings.ReplaceAll(out.String(), "http://www.w3.org", ""), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !strings.Contains(out.String(), "Generated data") {
		t.Error("invented runs are not marked")
	}
	var table bytes.Buffer
	if err := Table(&table, Summarize(&Log{Runs: runs}, Options{Now: noon})); err != nil || !strings.HasPrefix(table.String(), "GENERATED") {
		t.Errorf("invented runs are not marked in the table: %v", err)
	}
	_, message, _ := Summarize(&Log{Runs: runs}, Options{Now: noon}).badgeOf()
	if message != "generated data" {
		t.Errorf("the badge of invented runs says %q", message)
	}
	again, _ := Generate(300, 7, noon)
	if fmt.Sprint(runs[7].Head, runs[7].When) != fmt.Sprint(again[7].Head, again[7].When) {
		t.Error("the same seed invents other runs")
	}
}

// The first words of the page for each state that a history can be in.
func TestHeadline(t *testing.T) {
	late := func(r *Run) { r.Tier = "standard" }
	for _, c := range []struct {
		log  Log
		want string
	}{
		{Log{}, "Unknown. No drill has run"},
		{Log{Runs: []Run{green(1)}}, "Green. The only drill was"},
		{Log{Runs: []Run{green(1, red)}}, "Not green. The only drill was not"},
		{Log{Runs: []Run{green(1, unclear)}}, "Not green."},
		{Log{Runs: []Run{green(1), green(2, red, late, func(r *Run) { r.Name = "n" })}}, "Not all green. 1 of 2 drills was not"},
		{Log{Runs: []Run{green(93)}}, "Stale. 1 of 1 drill has"},
		{Log{Runs: []Run{green(93, late)}}, "Green."},
		{Log{Runs: []Run{green(1)}, Damaged: []Damaged{{Name: "x"}}}, "Unknown. 1 object"},
	} {
		p := Summarize(&c.log, Options{Now: noon}).page()
		if got := p.Look.Word + " " + p.Says; !strings.HasPrefix(got, c.want) {
			t.Errorf("expected %q, found %q", c.want, got)
		}
	}
}

// A line joins what can be compared, and nothing else.
func TestDrawn(t *testing.T) {
	cores := func(r *Run) { r.Cores = 16 }
	p := drawn([]Run{green(4), green(3), green(2, cores), green(1, cores), green(0, noRows)}, ago(4), noon)
	if n := strings.Count(p.Line, "M"); n != 2 || strings.Count(p.Line, "L") != 2 {
		t.Errorf("expected two lines of two points, found %q", p.Line)
	}
	if n := strings.Count(p.Kept, "M"); n != 5 {
		t.Errorf("expected five dots, found %q", p.Kept)
	}
	p = drawn([]Run{green(4), green(3, red), green(2)}, ago(4), noon)
	if strings.Contains(p.Line, "L") || p.Broken != "M250 4h0" {
		t.Errorf("a run that was never restored lies on the upper edge and breaks the line: %q, %q", p.Line, p.Broken)
	}
}

// BenchmarkHistoryPage is reading a history of 10,000 runs and writing its page, with an index and without.
func BenchmarkHistoryPage(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir)
	runs, records := Generate(10_000, 7, noon)
	for _, r := range runs {
		name, text, err := r.write()
		if err == nil {
			_, err = s.put(b.Context(), runsIn+name, text)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, r := range records {
		if _, err := s.AddRecord(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	page := func(b *testing.B) {
		for b.Loop() {
			l := loaded(b, s)
			if len(l.Runs) != len(runs) {
				b.Fatalf("expected %d runs, found %d", len(runs), len(l.Runs))
			}
			var out bytes.Buffer
			if err := HTML(&out, Summarize(l, Options{Now: noon})); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(out.Len())/1e6, "MB/page")
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/page")
	}
	b.Run("without an index", page)
	if err := s.Rebuild(b.Context(), loaded(b, s)); err != nil {
		b.Fatal(err)
	}
	b.Run("with an index", page)
}
