package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// The parts of the Common Test Report Format that are written (https://github.com/ctrf-io/ctrf, schema/ctrf.schema.json).
// Times are milliseconds since 1970, and lengths are milliseconds.
type ctrfReport struct {
	Format      string      `json:"reportFormat"`
	Spec        string      `json:"specVersion"`
	GeneratedBy string      `json:"generatedBy"`
	Results     ctrfResults `json:"results"`
}

type ctrfResults struct {
	Tool        ctrfTool        `json:"tool"`
	Summary     ctrfSummary     `json:"summary"`
	Tests       []ctrfTest      `json:"tests"`
	Environment ctrfEnvironment `json:"environment"`
}

type ctrfTool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type ctrfSummary struct {
	Tests    int   `json:"tests"`
	Passed   int   `json:"passed"`
	Failed   int   `json:"failed"`
	Skipped  int   `json:"skipped"`
	Pending  int   `json:"pending"`
	Other    int   `json:"other"`
	Suites   int   `json:"suites"`
	Start    int64 `json:"start"`
	Stop     int64 `json:"stop"`
	Duration int64 `json:"duration"`
}

type ctrfTest struct {
	Name     string            `json:"name"`
	Status   string            `json:"status"`
	Raw      string            `json:"rawStatus,omitempty"`
	Duration int64             `json:"duration"`
	Suite    []string          `json:"suite"`
	Message  string            `json:"message,omitempty"`
	Trace    string            `json:"trace,omitempty"`
	File     string            `json:"filePath,omitempty"`
	Line     int               `json:"line,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

type ctrfEnvironment struct {
	App         string            `json:"appName,omitempty"`
	Version     string            `json:"appVersion,omitempty"`
	Environment string            `json:"testEnvironment,omitempty"`
	Healthy     bool              `json:"healthy"`
	Extra       map[string]string `json:"extra,omitempty"`
}

// CTRF writes ctrf.json of one run: a test a promise. What was not judged has failed, as in JUnit: of the format's other
// words tools take none for red.
func CTRF(w io.Writer, m *Model) error { return writeCTRF(w, []Entry{m.Entry(".")}) }

// SetCTRF writes ctrf.json over all runs of a set.
func SetCTRF(w io.Writer, s Set) error { return writeCTRF(w, s.Runs) }

func writeCTRF(w io.Writer, runs []Entry) error {
	r := ctrfReport{Format: "CTRF", Spec: "1.0.0", GeneratedBy: "backout", Results: ctrfResults{Tool: ctrfTool{Name: "backout"}, Tests: []ctrfTest{}}}
	sum := &r.Results.Summary
	healthy := len(runs) > 0
	for _, e := range runs {
		suite := e.junit()
		r.Results.Tool.Version = cmp.Or(r.Results.Tool.Version, text(e.Run.Versions["backout"]))
		if !e.Run.Started.IsZero() {
			start := e.Run.Started.UnixMilli()
			if sum.Start == 0 || start < sum.Start {
				sum.Start = start
			}
			sum.Stop = max(sum.Stop, start+milli(e.Seconds))
		}
		for _, c := range suite.Cases {
			t := ctrfTest{Name: cmp.Or(text(c.Name), "unnamed"), Status: "passed", Suite: []string{cmp.Or(text(suite.Name), "unnamed")}, File: text(e.Run.Path), Line: e.Run.Line,
				Tags: texts(e.Run.Tags), Labels: map[string]string{}}
			for name, value := range map[string]string{"service": e.Run.Service.Name, "release": e.Run.Release.Name, "plan": e.Run.Plan.Name, "environment": e.Run.Environment, "verdict": e.Verdict.Verdict} {
				if value != "" {
					t.Labels[name] = text(value)
				}
			}
			if len(suite.Cases) == 1 {
				t.Duration = milli(e.Seconds)
			}
			switch {
			case c.Failure != nil:
				t.Status, t.Raw, t.Message, t.Trace = "failed", text(c.Failure.Type), text(c.Failure.Message), text(c.Failure.Text)
				sum.Failed++
				healthy = false
			case c.Error != nil:
				t.Status, t.Raw, t.Message, t.Trace = "failed", text(c.Error.Type), text(c.Error.Message), text(c.Error.Text)
				sum.Failed++
				healthy = false
			case c.Skipped != nil:
				t.Status, t.Raw, t.Message = "skipped", "not applicable", text(c.Skipped.Message)
				sum.Skipped++
			default:
				sum.Passed++
			}
			sum.Tests++
			r.Results.Tests = append(r.Results.Tests, t)
		}
		sum.Suites++
	}
	sum.Stop = max(sum.Stop, sum.Start)
	sum.Duration = sum.Stop - sum.Start
	env := &r.Results.Environment
	env.Healthy = healthy
	if len(runs) == 1 {
		e := runs[0]
		env.App, env.Version, env.Environment = text(e.Run.Service.Name), text(e.Run.Release.Name), text(e.Run.Environment)
		env.Extra = map[string]string{"seed": fmt.Sprint(e.Run.Seed), "head": text(e.Head), "again": text(e.Run.Again)}
	}
	j := json.NewEncoder(w)
	j.SetIndent("", "  ")
	if err := j.Encode(r); err != nil {
		return fmt.Errorf("write CTRF: %w", err)
	}
	return nil
}

func milli(seconds float64) int64 { return int64(seconds * float64(time.Second/time.Millisecond)) }
