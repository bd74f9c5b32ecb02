package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

//go:embed set.html.tmpl
var setText string

// Set is what one `backout run` did: its drills, in the order of the features.
type Set struct {
	Name string
	Runs []Entry
}

// Entry is one drill of a set.
type Entry struct {
	Dir     string // of the run, relative to the set's; "." when the set is one run; empty when nothing was written
	Run     evidence.Run
	Head    string // of the log's chain
	Seconds float64
	Verdict verdict.Verdict

	NotApplicable string // why it could not apply here: listed, never passed; Verdict is then empty
	Broke         string // the harness itself broke, or the input was bad; Verdict may then be empty
}

// SetFormat is one way to render a set.
type SetFormat struct {
	Name  string
	File  string
	Write func(w io.Writer, s Set) error
}

// SetFormats are all of them.
func SetFormats() []SetFormat {
	return []SetFormat{
		{"html", "index.html", SetHTML},
		{"junit", "junit.xml", SetJUnit},
		{"md", "summary.md", SetMarkdown},
		{"kills", "kills.json", SetKills},
		{"ctrf", "ctrf.json", SetCTRF},
	}
}

// SetHTML writes index.html: the drills of a set with their verdicts, and links to their reports.
func SetHTML(w io.Writer, s Set) error {
	t, err := templates(setText)
	if err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	p := setPage{Title: cmp.Or(s.Name, "Rollback drills"), CSS: template.CSS(css), Says: s.says()}
	for _, e := range s.Runs {
		l := setLine{Entry: e, Name: e.title(), Look: e.result(), Speed: e.speed(), Kept: e.kept(), Because: e.because()}
		if e.Dir != "" {
			l.Link = path.Join(e.Dir, "report.html")
		}
		if e.Broke != "" || e.NotApplicable != "" {
			l.Link = ""
		}
		if e.Run.Release.Name != "" {
			l.About = fmt.Sprintf("%s: %s back to %s, %s", e.Run.Service.Name, e.Run.Release.Name, e.Run.Good, e.Run.Environment)
		}
		for _, n := range promises(e.Verdict) {
			if n.State == verdict.Broken || n.State == verdict.Unjudged {
				l.Open = append(l.Open, n)
			}
		}
		p.Lines = append(p.Lines, l)
	}
	p.Kills = s.Kills()
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	_, err = io.WriteString(w, text(b.String()))
	return err
}

type setPage struct {
	Title, Says string
	CSS         template.CSS
	Lines       []setLine
	Kills       Kills
}

type setLine struct {
	Entry
	Name, About, Link    string
	Look                 look
	Speed, Kept, Because string
	Open                 []numbered
}

// says counts the results, the bad ones first.
func (s Set) says() string {
	if len(s.Runs) == 0 {
		return "No drill ran."
	}
	counts := map[string]int{}
	for _, e := range s.Runs {
		counts[e.result().Word]++
	}
	var parts []string
	for _, word := range []string{"Broke", "Fail", "Expectation not met", "Mutant survived", "Inconclusive", "Pass", "Failed as expected", "Refused as expected", "Mutant killed", "Not applicable"} {
		if n := counts[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(word)))
		}
	}
	return many(len(s.Runs), "drill", "drills") + ": " + strings.Join(parts, ", ") + "."
}

// result is what became of a drill in a word. A control that failed as expected is not red.
func (e Entry) result() look {
	switch v := e.Verdict; {
	case e.Broke != "":
		return look{"is-broken", "i-alert", "Broke"}
	case e.NotApplicable != "":
		return look{"sub", "i-none", "Not applicable"}
	case e.Run.Mutant != nil && v.Verdict == verdict.Fail:
		return look{"is-kept", "i-ok", "Mutant killed"}
	case e.Run.Mutant != nil && v.Verdict == verdict.Pass:
		return look{"is-unknown", "i-ask", "Mutant survived"}
	case v.Verdict == verdict.Inconclusive, v.Verdict == "":
		return look{"is-unknown", "i-ask", "Inconclusive"}
	case v.Expected != nil && *v.Expected && v.Verdict == verdict.Pass:
		return look{"is-kept", "i-ok", "Refused as expected"}
	case v.Expected != nil && *v.Expected:
		return look{"is-kept", "i-ok", "Failed as expected"}
	case v.Expected != nil:
		return look{"is-broken", "i-no", "Expectation not met"}
	case v.Verdict == verdict.Pass:
		return look{"is-kept", "i-ok", "Pass"}
	}
	return look{"is-broken", "i-no", "Fail"}
}

func (e Entry) because() string {
	return cmp.Or(e.Broke, e.NotApplicable, e.Verdict.Because)
}

func (e Entry) speed() string {
	switch {
	case e.Broke != "" || e.NotApplicable != "" || e.Run.Expect != nil && e.Run.Expect.Refuses != "":
		return "" // nothing was to be restored
	case e.Verdict.Speed.Seconds == nil:
		return absent(e.Verdict)
	}
	return seconds(*e.Verdict.Speed.Seconds)
}

func (e Entry) kept() string {
	kept, _, _, applicable := tallies(e.Verdict)
	if e.Broke != "" || e.NotApplicable != "" {
		return ""
	}
	return fmt.Sprintf("%d of %d", kept, applicable)
}
