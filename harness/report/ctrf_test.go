package report

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// ctrfSchema is the published schema; testdata/ctrf/README says where it is from.
func ctrfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile("testdata/ctrf/ctrf.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("ctrf.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("ctrf.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCTRFKeepsToItsSchema(t *testing.T) {
	schema := ctrfSchema(t)
	m := load(t)
	write := func(runs []Entry) []byte {
		var out bytes.Buffer
		if err := writeCTRF(&out, runs); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	valid := func(raw []byte) error {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		return schema.Validate(doc)
	}
	for name, runs := range map[string][]Entry{
		"a run": {m.Entry(".")}, "nothing": nil, "an empty entry": {{}},
		"a set": {m.Entry("a"), {Broke: "no such release"}, {NotApplicable: "no plan"}},
		"hostile": {{Run: evidence.Run{Name: "\x00\xff\x1b[31m", Feature: "\x00", Tags: []string{"\xff"}}, Verdict: verdict.Verdict{Verdict: verdict.Fail,
			Promises: []verdict.Promise{{State: verdict.Broken}}}}},
	} {
		if err := valid(write(runs)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := bytes.Replace(write([]Entry{m.Entry(".")}), []byte(`"status": "failed"`), []byte(`"status": "not judged"`), 1)
	if valid(broken) == nil {
		t.Error("the schema lets a status pass that it does not know")
	}
}

// Whoever counts the failures of CTRF sees red for whatever is no pass, exactly as with JUnit.
func TestCTRFIsRedForWhateverIsNoPass(t *testing.T) {
	for name, c := range map[string]struct {
		v                       verdict.Verdict
		passed, failed, skipped int
	}{
		"a pass":                               {verdict.Verdict{Verdict: verdict.Pass, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept}, {Name: "b", State: verdict.NotApplicable}}}, 1, 0, 1},
		"a fail":                               {verdict.Verdict{Verdict: verdict.Fail, Promises: []verdict.Promise{{Name: "a", State: verdict.Broken}}}, 0, 1, 0},
		"not judged":                           {verdict.Verdict{Verdict: verdict.Inconclusive, Promises: []verdict.Promise{{Name: "a", State: verdict.Unjudged}}}, 0, 1, 0},
		"inconclusive, and every promise kept": {verdict.Verdict{Verdict: verdict.Inconclusive, Promises: []verdict.Promise{{Name: "a", State: verdict.Kept}}}, 1, 1, 0},
		"no verdict":                           {verdict.Verdict{}, 0, 1, 0},
	} {
		var out bytes.Buffer
		if err := writeCTRF(&out, []Entry{{Verdict: c.v}}); err != nil {
			t.Fatal(err)
		}
		var got ctrfReport
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		s := got.Results.Summary
		if s.Passed != c.passed || s.Failed != c.failed || s.Skipped != c.skipped || s.Tests != c.passed+c.failed+c.skipped || s.Other+s.Pending != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if healthy := got.Results.Environment.Healthy; healthy != (c.failed == 0) {
			t.Errorf("%s: healthy is %v", name, healthy)
		}
	}
}
