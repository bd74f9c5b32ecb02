package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"backout/harness/verdict"
)

// The elements of JUnit's XML that CI systems agree on (https://github.com/testmoapp/junitxml). A promise that was not
// judged is an error, so that CI shows it red: unknown is not success.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string       `xml:"name,attr"`
	Tests      int          `xml:"tests,attr"`
	Failures   int          `xml:"failures,attr"`
	Errors     int          `xml:"errors,attr"`
	Skipped    int          `xml:"skipped,attr"`
	Time       string       `xml:"time,attr"`
	Timestamp  string       `xml:"timestamp,attr,omitempty"`
	File       string       `xml:"file,attr,omitempty"`
	Properties *[]junitProp `xml:"properties>property,omitempty"`
	Cases      []junitCase  `xml:"testcase"`
	Out        *junitText   `xml:"system-out,omitempty"`
}

type junitProp struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	File    string       `xml:"file,attr,omitempty"`
	Time    string       `xml:"time,attr"`
	Failure *junitResult `xml:"failure,omitempty"`
	Error   *junitResult `xml:"error,omitempty"`
	Skipped *junitResult `xml:"skipped,omitempty"`
	Out     *junitText   `xml:"system-out,omitempty"`
}

type junitResult struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

type junitText struct {
	Text string `xml:",chardata"`
}

// JUnit writes junit.xml of one run: a testsuite, a testcase a promise.
func JUnit(w io.Writer, m *Model) error {
	return writeJUnit(w, m.Run.Service.Name, []Entry{m.Entry(".")})
}

// SetJUnit writes junit.xml over all runs of a set: a testsuite a run.
func SetJUnit(w io.Writer, s Set) error { return writeJUnit(w, s.Name, s.Runs) }

func writeJUnit(w io.Writer, name string, runs []Entry) error {
	all := junitSuites{Name: "backout " + name}
	var took float64
	for _, e := range runs {
		s := e.junit()
		for i, c := range s.Cases {
			s.Cases[i].File = e.Run.Path
			s.Tests++
			switch {
			case c.Failure != nil:
				s.Failures++
			case c.Error != nil:
				s.Errors++
			case c.Skipped != nil:
				s.Skipped++
			}
		}
		all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
		took += e.Seconds
		all.Suites = append(all.Suites, s)
	}
	all.Time = fmt.Sprintf("%.3f", took)
	out, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err = io.WriteString(w, xml.Header+text(string(out))+"\n")
	return err
}

func (e Entry) junit() junitSuite {
	s := junitSuite{Name: e.title(), Time: fmt.Sprintf("%.3f", e.Seconds)}
	if e.Run.Path != "" {
		s.File = fmt.Sprintf("%s:%d", e.Run.Path, e.Run.Line)
	}
	if !e.Run.Started.IsZero() {
		s.Timestamp = e.Run.Started.UTC().Format("2006-01-02T15:04:05")
	}
	var props []junitProp
	for _, p := range []junitProp{{"verdict", e.Verdict.Verdict}, {"because", e.Verdict.Because}, {"head", e.Head},
		{"environment", e.Run.Environment}, {"seed", fmt.Sprint(e.Run.Seed)}, {"again", e.Run.Again}, {"directory", e.Dir}} {
		if p.Value != "" {
			props = append(props, p)
		}
	}
	s.Properties = &props
	// GitLab takes two cases of one class and name for one, so the class names the scenario too.
	class := e.title()
	switch {
	case e.Broke != "":
		s.Cases = []junitCase{{Name: e.title(), Class: class, Time: s.Time, Error: &junitResult{Message: "the harness broke, or the input was bad", Type: "broke", Text: e.Broke}}}
		return s
	case e.NotApplicable != "":
		s.Cases = []junitCase{{Name: e.title(), Class: class, Time: s.Time, Skipped: &junitResult{Message: e.NotApplicable}}}
		return s
	case e.Run.Mutant != nil:
		c := junitCase{Name: "the drill notices: " + e.Run.Mutant.What, Class: class, Time: s.Time}
		switch {
		case e.Verdict.Verdict == verdict.Pass && e.Run.Mutant.Equivalent != "":
			c.Skipped = &junitResult{Message: "it changes nothing: " + e.Run.Mutant.Equivalent}
		case e.Verdict.Verdict == verdict.Pass:
			c.Failure = &junitResult{Message: "the mutant survived", Type: "survived", Text: e.Verdict.Because}
		case e.Verdict.Verdict != verdict.Fail:
			c.Error = &junitResult{Message: "inconclusive", Type: "inconclusive", Text: e.Verdict.Because}
		}
		s.Cases = []junitCase{c}
		return s
	case e.Run.Expect != nil || e.Verdict.Expected != nil:
		s.Cases = []junitCase{e.expectation(class)}
		return s
	}
	var assumptions strings.Builder
	for _, a := range e.Verdict.Assumptions {
		held := "held"
		if !a.Held {
			held = "did not hold"
		}
		fmt.Fprintf(&assumptions, "assumption %s: %s. %s%s\n", held, a.Name, a.Finding, numbers(a.Evidence))
	}
	if assumptions.Len() > 0 {
		s.Out = &junitText{assumptions.String()}
	}
	red := false
	for _, p := range e.Verdict.Promises {
		c := junitCase{Name: p.Name, Class: class, Time: "0"}
		r := &junitResult{Message: p.Finding, Text: finding(p)}
		switch p.State {
		case verdict.Kept:
			c.Out = &junitText{finding(p)}
		case verdict.Broken:
			r.Type = "broken"
			c.Failure, red = r, true
		case verdict.NotApplicable:
			r.Text = ""
			c.Skipped = r
		default:
			r.Type = "not judged"
			c.Error, red = r, true
		}
		s.Cases = append(s.Cases, c)
	}
	// A verdict that is no pass is red, whatever its promises say; so is one without any.
	if e.Verdict.Verdict != verdict.Pass && !red || len(s.Cases) == 0 {
		s.Cases = append(s.Cases, junitCase{Name: "the verdict", Class: class, Time: "0",
			Error: &junitResult{Message: e.Verdict.Because, Type: e.Verdict.Verdict, Text: e.Verdict.Because}})
	}
	return s
}

// expectation is the one testcase of a drill that expects a failure: its promises break on purpose.
func (e Entry) expectation(class string) junitCase {
	v := e.Verdict
	name := "the expected failure"
	if x := e.Run.Expect; x != nil {
		switch {
		case x.Fails != "":
			name = fmt.Sprintf("the drill fails because %q", x.Fails)
		case x.Refuses != "":
			name = fmt.Sprintf("the plan refuses because %q", x.Refuses)
		}
	}
	c := junitCase{Name: name, Class: class, Time: fmt.Sprintf("%.3f", e.Seconds)}
	var out strings.Builder
	fmt.Fprintf(&out, "verdict %s: %s\n", v.Verdict, v.Because)
	for _, p := range v.Promises {
		fmt.Fprintf(&out, "%s: %s\n", p.State, p.Name)
		if p.State != verdict.NotApplicable {
			fmt.Fprintf(&out, "  %s\n", strings.ReplaceAll(strings.TrimSpace(finding(p)), "\n", "\n  "))
		}
	}
	c.Out = &junitText{out.String()}
	why := v.ExpectedWhy
	if why == "" {
		why = v.Because
	}
	switch {
	case v.Expected != nil && *v.Expected && v.Verdict != verdict.Inconclusive:
	case v.Verdict == verdict.Inconclusive || v.Expected == nil:
		c.Error = &junitResult{Message: why, Type: "inconclusive", Text: v.Because}
	default:
		c.Failure = &junitResult{Message: why, Type: "not met", Text: v.Because}
	}
	return c
}

// finding is what was found, with the evidence and what to do.
func finding(p verdict.Promise) string {
	var b strings.Builder
	if p.Text != "" && p.Text != p.Name {
		fmt.Fprintf(&b, "%s\n", p.Text)
	}
	fmt.Fprintf(&b, "%s%s\n", p.Finding, numbers(p.Evidence))
	for _, d := range p.Details {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	if p.Remedy != "" && p.State != verdict.Kept {
		fmt.Fprintf(&b, "Do: %s\n", p.Remedy)
	}
	return b.String()
}

// numbers are the numbers of events as a text cites them.
func numbers(evidence []int64) string {
	var b strings.Builder
	for i, n := range evidence {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(evidence)-i)
			break
		}
		fmt.Fprintf(&b, " #%d", n)
	}
	return b.String()
}

func (e Entry) title() string {
	switch {
	case e.Run.Feature != "" && e.Run.Name != "":
		return e.Run.Feature + ": " + e.Run.Name
	case e.Run.Name != "":
		return e.Run.Name
	case e.Run.Feature != "":
		return e.Run.Feature
	}
	return e.Dir
}
