package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/santhosh-tekuri/jsonschema/v6"

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

// evil is what a script, a log, a database or whoever names a thing may say.
const evil = "```" + `</style></script><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`" + `|](javascript:alert(1)) ]]> ` + "\x00\x1b[31m\x1b]0;title\x07\u202eesrever\u2066\xff"

// hostile is a run of which everything is called so.
func hostile() *Model {
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
	m.Cut = evil
	return m
}

// Everything that scripts, logs and databases say is text, wherever it stands.
func TestHostileTextIsText(t *testing.T) {
	m := hostile()
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
		if name == "json" || name == "set kills" { // data as it is, escaped by JSON
			continue
		}
		if at := bytes.IndexFunc(out, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		}); at >= 0 || !utf8.Valid(out) {
			t.Errorf("%s holds a control character or is no UTF-8: %q", name, out[max(0, at):min(len(out), at+20)])
		}
		markdown := strings.HasSuffix(name, "md") || name == "postmortem"
		switch {
		case strings.HasSuffix(name, "ctrf"):
			if err := ctrfSchema(t).Validate(decoded(t, out)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue // text in JSON, which whoever shows it escapes
		case name == "openmetrics":
			parser := expfmt.NewTextParser(model.UTF8Validation)
			if _, err := parser.TextToMetricFamilies(bytes.NewReader(out)); err != nil {
				t.Error(err)
			}
			continue
		case markdown: // what stands as code is code, fenced by more than it holds
			out = regexp.MustCompile("`sha256:[^`]*`").ReplaceAll(unfenced(out), nil)
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
		case markdown:
			if regexp.MustCompile(`[^\\]\]\(javascript`).Match(out) {
				t.Errorf("%s has a link that it was given", name)
			}
		}
	}
}

// unfenced is Markdown without its blocks of code.
func unfenced(text []byte) []byte {
	var out []byte
	fence := ""
	for line := range bytes.Lines(text) {
		switch trimmed := strings.TrimRight(string(line), "\n"); {
		case fence != "" && trimmed == fence:
			fence = ""
		case fence == "" && len(trimmed) >= 3 && strings.Trim(trimmed, "`") == "":
			fence = trimmed
		case fence == "":
			out = append(out, line...)
		}
	}
	return out
}

func decoded(t *testing.T, raw []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
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

// GitLab takes two cases of one class, name and file for one, and shows the first alone.
func TestJUnitHasNoTwoCasesOfOneName(t *testing.T) {
	v := verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept}, {Name: "b", State: verdict.Broken}}}
	run := func(name string) Entry {
		return Entry{Run: evidence.Run{Feature: "One feature", Name: name, Path: "one.feature"}, Verdict: v}
	}
	var out bytes.Buffer
	if err := SetJUnit(&out, Set{Runs: []Entry{run("first"), run("second")}}); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range got.Suites {
		for _, c := range s.Cases {
			key := c.Class + "|" + c.Name + "|" + c.File
			if seen[key] || c.File != "one.feature" {
				t.Errorf("a second %s", key)
			}
			seen[key] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d cases", len(seen))
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

// Evidence of any length gives a page of a size that a browser likes, and every event that is cited is on it.
func TestALongRunIsASmallPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes and reads an hour of evidence")
	}
	for _, c := range []struct {
		hours float64
		most  int
	}{{1.0 / 6, 1_000_000}, {1, 2_000_000}} {
		path := filepath.Join(t.TempDir(), evidence.File)
		l, err := evidence.Create(path, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		evidence.Synthesize(l, evidence.Synthetic{Hours: c.hours, Rate: 200, Seed: 7})
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
			if ordinary == 0 && e.T > 100 && e.Journey != nil && e.Journey.Outcome == evidence.OK {
				ordinary = e.N
			}
			b.Add(e)
		}
		passed := b.Model(verdict.Verdict{Verdict: verdict.Pass}, r.Head())
		if err := passed.Cite(func(func(evidence.Event, error) bool) { t.Error("the log of a run that went well is read twice") }); err != nil {
			t.Fatal(err)
		}
		quiet := size(t, b.Model(verdict.Verdict{Verdict: verdict.Pass}, r.Head()))
		busy(b, c.hours*3600)
		m := b.Model(verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept, Evidence: []int64{ordinary}}},
			Writes: []verdict.Window{{Name: "bad", Acknowledged: 5000, Unknown: 5000, Fates: map[string]int{evidence.Lost: 5000}}}}, r.Head())
		if err := m.Cite(r.Events()); err != nil {
			t.Fatal(err)
		}
		loud := size(t, m)
		t.Logf("%.0f minutes: %d bytes, and %d when everything that may go wrong does", c.hours*60, quiet, loud)
		if loud > c.most {
			t.Errorf("the page of %.0f minutes has %d bytes, of at most %d", c.hours*60, loud, c.most)
		}
		if c, ok := m.cited[ordinary]; !ok || !strings.HasPrefix(c.From, "journey") {
			t.Errorf("an event that was cited is not on the page: %+v", c)
		}
		var summary bytes.Buffer
		if err := Markdown(&summary, m); err != nil || summary.Len() > maxSummary {
			t.Errorf("the summary has %d bytes: %v", summary.Len(), err)
		}
	}
}

func size(t *testing.T, m *Model) int {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}

// busy adds to a run of so many seconds everything that can go wrong, more often than anybody would read.
func busy(b *Builder, seconds float64) {
	n := int64(10_000_000)
	put := func(t float64, k evidence.Kind) {
		n++
		e := evidence.Event{N: n, T: evidence.Offset(t)}
		k.Put(&e)
		b.Add(e)
	}
	line := strings.Repeat("x", 99) + "\n"
	for i := range 3000 {
		t := seconds * float64(i) / 3000
		name := fmt.Sprintf("%d", i)
		put(t, &evidence.Alert{Metric: "latency", Of: name, Event: "raised", Value: 3, Unit: "ms"})
		put(t, &evidence.Message{Channel: "#shop", Text: "message " + name + " " + line})
		put(t, &evidence.Approval{By: "somebody", Event: "asked", For: name})
		put(t, &evidence.Gap{Of: "instance web-1", From: evidence.Offset(t), To: evidence.Offset(t + 0.5), Why: line})
		put(t, &evidence.Lock{Node: "primary", Waiting: i % 40, Longest: t, Relation: line, Blocker: line})
		put(t, &evidence.Instance{Name: "web-1", Service: "web", Up: i%2 == 0, Ready: i%2 == 0, Release: "v" + name, CPU: float64(i%7) / 3, Memory: int64(i) << 20})
		put(t, &evidence.Write{Key: name, Journey: "checkout", Event: evidence.Unknown, Trace: line})
		put(t, &evidence.Write{Key: name, Journey: "checkout", Event: evidence.Audited, Fate: evidence.Lost, Fields: []string{line, line}})
		put(t, &evidence.Finding{Check: evidence.CheckReferences, Of: name, Asked: true, Bad: 3, Rows: []string{line, line, line}})
		put(t, &evidence.Chunk{Node: "logical", Table: name, Lo: "1", Hi: "2", Differ: slices.Repeat([]string{line}, 20), Count: 20})
		put(t, &evidence.Chunk{Node: "logical", Table: name, Count: 20})
		if i%50 == 0 {
			put(t, &evidence.Schema{Node: []string{"primary", "streaming", "logical"}[i/50%3], At: "audit", Diff: strings.Repeat("-"+line, 3000)})
			put(t, &evidence.Step{Part: evidence.PartStep, Index: i, Name: "step " + name, Event: "started", Command: line})
			for range 300 {
				put(t, &evidence.Step{Part: evidence.PartStep, Index: i, Name: "step " + name, Event: "output", Output: line})
			}
			put(t, &evidence.Step{Part: evidence.PartStep, Index: i, Name: "step " + name, Event: "ended", Outcome: evidence.StepFailed, Error: line})
		}
	}
}

// A summary that is longer than the page of a CI job takes is not shown at all.
func TestASummaryOfManyDrillsIsShort(t *testing.T) {
	var s Set
	long := strings.Repeat("words ", 5000)
	for range 800 {
		e := Entry{Dir: "run", Run: evidence.Run{Name: "a drill", Again: long}, Verdict: verdict.Verdict{Verdict: verdict.Fail, Because: "it failed"}}
		for range 100 {
			e.Verdict.Promises = append(e.Verdict.Promises, verdict.Promise{Name: "a", State: verdict.Broken, Finding: long, Details: []string{long, long}, Remedy: long})
		}
		s.Runs = append(s.Runs, e)
	}
	var out bytes.Buffer
	if err := SetMarkdown(&out, s); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 1<<20 || !strings.Contains(out.String(), "left out here") {
		t.Errorf("%d bytes, of at most 1 MiB", out.Len())
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

// Unknown is not broken either: of a run that was cut off nothing is called never, lost or red that nobody looked for.
func TestWhatNobodyLookedForIsNotCalledBroken(t *testing.T) {
	r := &evidence.Reader{Path: filepath.Join(fixture, evidence.File)}
	b := New()
	for e, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if e.T > 36 {
			break
		}
		b.Add(e)
	}
	b.Cut("its machine died")
	v := func(state string) verdict.Verdict {
		return verdict.Verdict{Verdict: verdict.Inconclusive, Because: "the log has no end", Promises: []verdict.Promise{{Name: verdict.Restored, State: state}},
			Clocks: verdict.Clocks{evidence.ClockRestored: nil}, Shares: verdict.Shares{Writes: [2]int64{0, 70}, Rows: [2]int64{0, 2}, Replicas: [2]int64{0, 6}, Residual: [2]int64{0, 4}},
			Replicas: []verdict.Replica{{Name: "shop-1", Kind: "instance"}}, Writes: []verdict.Window{{Name: "before", Acknowledged: 70, Fates: map[string]int{"not checked": 70}}}}
	}
	for state, word := range map[string]string{verdict.Unjudged: notSeen, verdict.Broken: never} {
		m := b.Model(v(state), "")
		p := m.page()
		for _, f := range p.Figures {
			if (f.Name == "Speed" || f.Name == "Silence") && f.Big != word {
				t.Errorf("restored is %s: %s says %q", state, f.Name, f.Big)
			}
			if f.Name == "Writes not kept" && f.Big != "0" {
				t.Errorf("%s writes are called lost, and none was looked up", f.Big)
			}
		}
		for _, s := range p.Shares {
			if s.Look.Class == "is-broken" != (state == verdict.Broken && s.Name == "replicas at the target") {
				t.Errorf("restored is %s: %s is %s", state, s.Name, s.Look.Class)
			}
		}
		for _, l := range p.Rail {
			if l.Class == "is-broken" && state == verdict.Unjudged && l.ID != "checklist" { // an alert was open, and the log has no end
				t.Errorf("the rail calls %s broken: %s", l.ID, l.Text)
			}
		}
		var md, postmortem bytes.Buffer
		if err := errors.Join(Markdown(&md, m), Postmortem(&postmortem, m)); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"summary.md": md.String(), "postmortem.md": postmortem.String()} {
			if has := strings.Contains(text, "never"); has != (word == never) {
				t.Errorf("restored is %s: %s says never: %v\n%s", state, name, has, text)
			}
		}
		if got := m.Entry("").speed(); got != word {
			t.Errorf("restored is %s: the set says %q", state, got)
		}
	}
}
