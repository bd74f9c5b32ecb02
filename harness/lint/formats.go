package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"backout/harness/report"
)

// Formats are what findings can be written as.
var Formats = map[string]func(io.Writer, Looked) error{"text": Text, "json": JSON, "sarif": SARIF}

// Text is a line a finding that nobody accepts, and a summary.
func Text(w io.Writer, l Looked) error {
	var t strings.Builder
	open := l.Open()
	for _, f := range open {
		fmt.Fprintln(&t, f)
	}
	fmt.Fprintf(&t, "%s and %s: %s, and %d accepted for a reason\n", report.Many(l.Plans, "plan", "plans"), report.Many(l.Scripts, "SQL file", "SQL files"),
		report.Many(len(open), "finding", "findings"), len(l.Findings)-len(open))
	_, err := io.WriteString(w, t.String())
	return err
}

// JSON is all findings, also those that are accepted.
func JSON(w io.Writer, l Looked) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	findings := l.Findings
	if findings == nil {
		findings = []Finding{}
	}
	return e.Encode(struct {
		Plans    int       `json:"plans"`
		Scripts  int       `json:"scripts"`
		Findings []Finding `json:"findings"`
	}{l.Plans, l.Scripts, findings})
}

// SARIF is version 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), which code hosts show beside the lines. What is
// accepted is a suppression in source.
func SARIF(w io.Writer, l Looked) error {
	type text struct {
		Text string `json:"text"`
	}
	type rule struct {
		ID    string `json:"id"`
		Short text   `json:"shortDescription"`
	}
	type suppression struct {
		Kind string `json:"kind"`
		Why  string `json:"justification"`
	}
	type result struct {
		Rule         string           `json:"ruleId"`
		Level        string           `json:"level"`
		Message      text             `json:"message"`
		Locations    []map[string]any `json:"locations"`
		Suppressions []suppression    `json:"suppressions,omitempty"`
	}
	rules := []rule{}
	for _, r := range Rules {
		rules = append(rules, rule{r.Name, text{r.Why}})
	}
	results := []result{}
	for _, f := range l.Findings {
		one := result{f.Rule, "error", text{f.Found + ". " + f.Do + "."}, []map[string]any{{"physicalLocation": map[string]any{
			"artifactLocation": map[string]any{"uri": filepath.ToSlash(f.File)},
			"region":           map[string]any{"startLine": f.Line},
		}}}, nil}
		if f.Accepted != "" {
			one.Suppressions = []suppression{{"inSource", f.Accepted}}
		}
		results = append(results, one)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []map[string]any{{
			"tool":    map[string]any{"driver": map[string]any{"name": "backout lint", "rules": rules}},
			"results": results,
		}},
	})
}
