package report

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
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

// Everything that scripts, logs and databases say is text, wherever it stands.
func TestHostileTextIsText(t *testing.T) {
	const evil = "```" + `</style></script><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`" + `|](javascript:alert(1)) ]]> ` + "\x00\x1b[31m\xff"
	b := New()
	n := int64(0)
	put := func(k evidence.Kind) {
		n++
		e := evidence.Event{N: n, T: evidence.Offset(n)}
		k.Put(&e)
		b.Add(e)
	}
	put(&evidence.Run{Name: evil, Feature: evil, Path: evil, Text: evil, Again: evil, Environment: evil, Good: evil, Nodes: []string{evil},
		Service: evidence.Service{Name: evil, Tier: evil, Journeys: []string{evil}, Budgets: []evidence.Budget{{Journey: evil, Lost: 1, Why: evil}}},
		Release: evidence.Release{Name: evil + "2", KnownBad: evil}, Plan: evidence.Plan{Name: evil, Path: evil, Steps: []evidence.PlanStep{{Name: evil, Run: evil}}},
		Versions: map[string]string{"backout": evil, evil: evil}, Digests: map[string]string{evil: evil}, Machine: map[string]string{evil: evil}, Tags: []string{evil}})
	put(&evidence.Phase{Name: evil})
	put(&evidence.Clock{Name: evidence.ClockDecided, Why: evil})
	put(&evidence.Step{Part: evil, Index: 1, Name: evil, Event: "started", Command: evil})
	put(&evidence.Step{Part: evil, Index: 1, Name: evil, Event: "output", Output: evil})
	put(&evidence.Step{Part: evil, Index: 1, Name: evil, Event: "ended", Outcome: evil, Error: evil, Expected: evil})
	put(&evidence.Alert{Metric: evil, Of: evil, Event: "raised", Unit: evil})
	put(&evidence.Message{Channel: evil, Text: evil})
	put(&evidence.Fault{Name: evil, Of: evil, Event: evil})
	put(&evidence.Lock{Node: evil, Waiting: 3, Longest: 1, Relation: evil, Blocker: evil})
	put(&evidence.Instance{Name: evil, Service: evil, Up: true, Ready: true, Release: evil})
	put(&evidence.Node{Name: evil, Role: evil, Reachable: true, Migration: 1, Error: evil})
	put(&evidence.Journey{Name: evil, Outcome: evidence.Failed, At: 5, MS: 3, Served: []evidence.Serve{evil + "@" + evil}, Error: evil})
	put(&evidence.Schema{Node: evil, At: "audit", Digest: evil, Diff: "-" + evil + "\n+" + evil})
	put(&evidence.Chunk{Node: evil, Table: evil, Differ: []string{evil}, Count: 1})
	put(&evidence.Finding{Check: evil, Of: evil, Asked: true, Bad: 1, Rows: []string{evil}, Text: evil, Error: evil})
	put(&evidence.Write{Event: evidence.Audited, Fate: evidence.Lost, Key: evil, Journey: evil, Fields: []string{evil}, Effect: evil})
	put(&evidence.Pod{Name: evil, Service: evil, Event: evil, Node: evil, Image: evil, Owner: evil, Reason: evil})
	put(&evidence.Endpoints{Service: evil, Pods: []string{evil}})
	put(&evidence.Gap{Of: evil, From: 1, To: 3, Why: evil})
	put(&evidence.End{How: evil, Why: evil})
	at := evidence.Offset(3)
	v := verdict.Verdict{Verdict: verdict.Fail, Because: evil, Harm: evil, Clocks: verdict.Clocks{evidence.ClockDecided: &at, evidence.ClockCommandReturned: &at, evil: nil},
		Assumptions: []verdict.Assumption{{Name: evil, Finding: evil, Evidence: []int64{1}}},
		Promises:    []verdict.Promise{{Name: evil, Text: evil + "!", State: verdict.Broken, Finding: evil, Details: []string{evil}, Remedy: evil, Evidence: []int64{2, 13}}},
		Replicas:    []verdict.Replica{{Name: evil, Kind: "instance", Last: evil}},
		Pods: []verdict.Pod{{Name: evil, Owner: evil, Node: evil, Release: evil, Failing: evil, Created: &at, ServedOn: true, BadResponses: 2},
			{Name: evil, Release: evil}},
		Writes: []verdict.Window{{Name: evil, Acknowledged: 1, Fates: map[string]int{evil: 1}}}}
	m := b.Model(v, "sha256:"+evil)
	b.Cut(evil)
	m.Cut = evil
	set := Set{Name: evil, Runs: []Entry{m.Entry("a b)c"), {Run: m.Run, Broke: evil}, {Run: m.Run, NotApplicable: evil}}}

	outputs := map[string][]byte{}
	for _, f := range Formats() {
		var out bytes.Buffer
		if err := f.Write(&out, m); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		outputs[f.Name] = out.Bytes()
	}
	for _, f := range SetFormats() {
		var out bytes.Buffer
		if err := f.Write(&out, set); err != nil {
			t.Fatalf("%s of a set: %v", f.Name, err)
		}
		outputs["set "+f.Name] = out.Bytes()
	}
	for name, out := range outputs {
		switch {
		case strings.HasSuffix(name, "json"):
			continue
		case strings.HasSuffix(name, "md"): // what stands as code is code, fenced by more than it holds
			out = regexp.MustCompile("(?s)\n````+\n.*?\n````+\n|`sha256:[^`]*`").ReplaceAll(out, nil)
		}
		if name == "html" { // the page's own two: the numbers of the timeline, and the script
			own := regexp.MustCompile(`(?s)<script type="application/json" id="tl-data">[^<]*</script>|<script>` + regexp.QuoteMeta(script) + `</script>`)
			if n := len(own.FindAll(out, -1)); n != 2 {
				t.Errorf("html has %d of its own two scripts", n)
			}
			out = own.ReplaceAll(out, nil)
		}
		for _, bad := range []string{"<script", "<img", "</style></", "\x00"} {
			if bytes.Contains(out, []byte(bad)) {
				t.Errorf("%s holds %q", name, bad)
			}
		}
		switch {
		case strings.HasSuffix(name, "html"):
			if n := bytes.Count(out, []byte("</style>")); n != 1 {
				t.Errorf("%s has %d ends of its style", name, n)
			}
		case strings.HasSuffix(name, "junit"):
			if err := xml.Unmarshal(out, new(junitSuites)); err != nil {
				t.Errorf("%s is not XML: %v", name, err)
			}
		case strings.HasSuffix(name, "md"):
			if regexp.MustCompile(`[^\\]\]\(javascript`).Match(out) {
				t.Errorf("%s has a link that it was given", name)
			}
		}
	}
}

// A log may end anywhere, and a page of what there is must still come out.
func TestAnythingThatIsMissingIsSaidAndBreaksNothing(t *testing.T) {
	full := load(t)
	r := &evidence.Reader{Path: filepath.Join(fixture, evidence.File)}
	for _, stop := range []int64{0, 1, 2, 200, 1100, 1800} {
		b := New()
		for e, err := range r.Events() {
			if err != nil {
				t.Fatal(err)
			}
			if e.N > stop {
				break
			}
			b.Add(e)
		}
		b.Cut("the harness was killed")
		for _, v := range []verdict.Verdict{{}, full.Verdict, {Verdict: verdict.Inconclusive, Because: "the log has no end"}} {
			m := b.Model(v, "")
			for _, f := range Formats() {
				var out bytes.Buffer
				if err := f.Write(&out, m); err != nil {
					t.Fatalf("%s after %d events: %v", f.Name, stop, err)
				}
				if s := out.String(); f.Name == "html" && (!strings.Contains(s, "the harness was killed") || strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || strings.Contains(s, "ZgotmplZ")) {
					t.Errorf("after %d events: the page does not say what is missing, or draws what is no number", stop)
				}
			}
		}
	}
}

func TestJUnitIsRedForWhateverIsNoPass(t *testing.T) {
	yes, no := true, false
	control := evidence.Run{Name: "a control", Expect: &evidence.Expect{Fails: "rows that nobody touched are unchanged"}}
	broken := []verdict.Promise{{Name: "a", State: verdict.Broken, Finding: "gone"}}
	for name, c := range map[string]struct {
		e                          Entry
		tests, fail, errs, skipped int
	}{
		"a pass":                      {Entry{Verdict: verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept}, {Name: "b", State: verdict.NotApplicable}}}}, 2, 0, 0, 1},
		"a broken promise":            {Entry{Verdict: verdict.Verdict{Verdict: verdict.Fail, Promises: broken}}, 1, 1, 0, 0},
		"a promise not judged":        {Entry{Verdict: verdict.Verdict{Verdict: verdict.Inconclusive, Promises: []verdict.Promise{{Name: "a", State: verdict.Unjudged}}}}, 1, 0, 1, 0},
		"an unknown state":            {Entry{Verdict: verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: "new"}}}}, 1, 0, 1, 0},
		"no verdict at all":           {Entry{}, 1, 0, 1, 0},
		"a pass without promises":     {Entry{Verdict: verdict.Verdict{Verdict: verdict.Pass}}, 1, 0, 1, 0},
		"inconclusive, all kept":      {Entry{Verdict: verdict.Verdict{Verdict: verdict.Inconclusive, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept}}}}, 2, 0, 1, 0},
		"not applicable":              {Entry{NotApplicable: "no plan for processes"}, 1, 0, 0, 1},
		"broke":                       {Entry{Broke: "no PostgreSQL here"}, 1, 0, 1, 0},
		"a control that went red":     {Entry{Run: control, Verdict: verdict.Verdict{Verdict: verdict.Fail, Expected: &yes, Promises: broken}}, 1, 0, 0, 0},
		"a control that stayed green": {Entry{Run: control, Verdict: verdict.Verdict{Verdict: verdict.Pass, Expected: &no}}, 1, 1, 0, 0},
		"a control, inconclusive":     {Entry{Run: control, Verdict: verdict.Verdict{Verdict: verdict.Inconclusive, Expected: &no}}, 1, 0, 1, 0},
		"a control without an answer": {Entry{Run: control, Verdict: verdict.Verdict{Verdict: verdict.Fail, Promises: broken}}, 1, 0, 1, 0},
	} {
		var out bytes.Buffer
		if err := SetJUnit(&out, Set{Runs: []Entry{c.e}}); err != nil {
			t.Fatal(err)
		}
		var got junitSuites
		if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Tests != c.tests || got.Failures != c.fail || got.Errors != c.errs || got.Skipped != c.skipped {
			t.Errorf("%s: %d tests, %d failures, %d errors, %d skipped, want %d, %d, %d, %d\n%s", name, got.Tests, got.Failures, got.Errors, got.Skipped, c.tests, c.fail, c.errs, c.skipped, out.String())
		}
	}
}

func TestASetIsAsTheGoldenFilesShow(t *testing.T) {
	yes := true
	m := load(t)
	pass, control := m.Entry("good-release"), m.Entry("controls-drops-a-column")
	pass.Run.Name, pass.Verdict = "A good release loses nothing", verdict.Verdict{Verdict: verdict.Pass, Because: "restored after 21.0 s, 12 of 12 promises kept.", Complete: true,
		Promises: []verdict.Promise{{Name: "service is restored", State: verdict.Kept, Finding: "after 21.0 s"}}, Speed: verdict.Speed{Seconds: new(float64)}, Silence: new(float64)}
	*pass.Verdict.Speed.Seconds = 21
	control.Run.Name, control.Run.Expect = "The Down brings the column back empty", &evidence.Expect{Fails: "rows that nobody touched are unchanged"}
	control.Verdict.Expected, control.Verdict.ExpectedWhy = &yes, "“rows that nobody touched are unchanged” is broken, as it must be."
	s := Set{Name: "20261123-064512-gate", Runs: []Entry{m.Entry("drops-a-column"), pass, control,
		{Run: evidence.Run{Feature: "Kubernetes", Name: "A rollout is undone"}, NotApplicable: "its release has no plan for processes"},
		{Run: evidence.Run{Feature: "Flags", Name: "A flag is turned off"}, Broke: "features/flags/off.feature:7: no such release \"v9\""}}}
	for _, f := range SetFormats() {
		var got bytes.Buffer
		if err := f.Write(&got, s); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		golden(t, filepath.Join("testdata/set", f.File), got.Bytes())
	}
}

// An hour of evidence gives a page of a size that a browser likes, and every event that is cited is on it.
func TestALongRunIsASmallPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes and reads an hour of evidence")
	}
	path := filepath.Join(t.TempDir(), evidence.File)
	l, err := evidence.Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	evidence.Synthesize(l, evidence.Synthetic{Hours: 1, Rate: 10, Seed: 7})
	if _, err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := &evidence.Reader{Path: path}
	b := New()
	var ordinary int64
	for e, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Journey != nil && e.Journey.Outcome == evidence.OK {
			ordinary = e.N
		}
		b.Add(e)
	}
	m := b.Model(verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept, Evidence: []int64{ordinary}}}}, r.Head())
	if err := m.Cite(r.Events()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := HTML(&out, m); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 800_000 {
		t.Errorf("the page has %d bytes", out.Len())
	}
	if c, ok := m.cited[ordinary]; !ok || !strings.HasPrefix(c.From, "journey") {
		t.Errorf("an event that was cited is not on the page: %+v", c)
	}
}

func TestWhatWasNotObservedIsNotDrawn(t *testing.T) {
	m := load(t)
	page := m.page()
	gaps := 0
	for _, p := range page.TL.Plots {
		if strings.Contains(p.Small, "shop-2") {
			gaps += len(p.Gaps)
			line := p.Paths[len(p.Paths)-1].D
			if strings.Count(line, "M") < 2 {
				t.Errorf("%s %s: the line is not broken where nothing was observed", p.Name, p.Small)
			}
		}
	}
	if gaps == 0 {
		t.Error("the gap of shop-2 is not hatched")
	}
}
