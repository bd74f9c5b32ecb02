package report

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// What became of a sabotage.
const (
	Killed      = "killed"         // the drill failed for the stated reason; of a mutant: it did not pass
	Survived    = "survived"       // the drill passed: it does not see this
	OtherReason = "another reason" // it failed, and what was to be broken was not
	NotShown    = "not shown"      // inconclusive
	Equivalent  = "equivalent"     // a mutant that passed, with a written reason why it changes nothing
	NotQuiet    = "not quiet"      // latency could not be judged, because the machine was not quiet
	NotHere     = "not applicable" // not in this environment
	BrokeDown   = "broke"          // the harness itself
	NotRun      = "was not run"    // of the unsabotaged drill
)

// Kill is one row of the kill table: a sabotage, the check that is to notice it, and those that did.
type Kill struct {
	Sabotage string   `json:"sabotage"` // what is wrong on purpose
	Rule     string   `json:"rule,omitempty"`
	Service  string   `json:"service"`
	Release  string   `json:"release"`
	Plan     string   `json:"plan"`
	Drill    string   `json:"drill"`              // where the scenario stands
	Expected string   `json:"expected,omitempty"` // the check; a mutant has none
	Caught   []string `json:"caught"`             // the checks that were broken
	Result   string   `json:"result"`
	Why      string   `json:"why,omitempty"`

	// Unsabotaged is the verdict of the same drill by its right plan, in the same set.
	Unsabotaged string `json:"unsabotaged"`
	link        string
}

// Kills is the kill table of a set.
type Kills struct {
	Controls []Kill `json:"controls"`
	Mutants  []Kill `json:"mutants,omitempty"`

	Unnamed  []string `json:"unnamed,omitempty"`  // checks that no control of the set names
	Unkilled []string `json:"unkilled,omitempty"` // checks that no control of the set killed, although one names them
}

// Kills is the table of the set's controls and mutants; empty when it had none.
func (s Set) Kills() Kills {
	var k Kills
	named, killed := map[string]bool{}, map[string]bool{}
	for _, e := range s.Runs {
		switch {
		case e.Run.Mutant != nil:
			k.Mutants = append(k.Mutants, s.kill(e))
		case e.Run.Expect != nil && e.Run.Expect.Fails != "":
			row := s.kill(e)
			k.Controls = append(k.Controls, row)
			named[row.Expected] = true
			for _, name := range row.Caught {
				killed[name] = killed[name] || row.Result == Killed && name == row.Expected
			}
		}
	}
	if len(k.Controls) == 0 {
		return k
	}
	for _, name := range verdict.Names() {
		switch {
		case !named[name]:
			k.Unnamed = append(k.Unnamed, name)
		case !killed[name]:
			k.Unkilled = append(k.Unkilled, name)
		}
	}
	return k
}

func (s Set) kill(e Entry) Kill {
	r, v := e.Run, e.Verdict
	k := Kill{Sabotage: r.Plan.Sabotage, Service: r.Service.Name, Release: r.Release.Name, Plan: planName(r), Caught: []string{},
		Drill: fmt.Sprintf("%s:%d", r.Path, r.Line), Why: e.because(), Unsabotaged: s.unsabotaged(e)}
	if e.Dir != "" {
		k.link = e.Dir
	}
	for _, p := range v.Promises {
		if p.State == verdict.Broken {
			k.Caught = append(k.Caught, p.Name)
		}
	}
	if r.Expect != nil {
		k.Expected = r.Expect.Fails
	}
	mutant := r.Mutant != nil
	if mutant {
		k.Sabotage, k.Rule, k.Drill = r.Mutant.What, r.Mutant.Rule, r.Again
	}
	met := v.Expected != nil && *v.Expected
	switch {
	case e.NotApplicable != "":
		k.Result = NotHere
	case e.Broke != "":
		k.Result = BrokeDown
	case r.Alone && notQuiet(v) && (v.Verdict == verdict.Inconclusive || unjudged(v, k.Expected)):
		k.Result = NotQuiet
	case v.Verdict == verdict.Inconclusive:
		k.Result = NotShown
	case met, mutant && v.Verdict == verdict.Fail:
		k.Result, k.Why = Killed, ""
	case mutant && r.Mutant.Equivalent != "":
		k.Result, k.Why = Equivalent, r.Mutant.Equivalent
	case v.Verdict == verdict.Fail:
		k.Result, k.Why = OtherReason, v.ExpectedWhy
	default:
		k.Result = Survived
	}
	return k
}

// notQuiet says whether nothing failed but the assumption that the machine lets latency be steady.
func notQuiet(v verdict.Verdict) bool {
	unsteady := false
	for _, a := range v.Assumptions {
		if !a.Held && a.Name != verdict.BaselineSteady {
			return false
		}
		unsteady = unsteady || !a.Held
	}
	return unsteady
}

// unjudged says whether a promise could not be judged.
func unjudged(v verdict.Verdict, name string) bool {
	return slices.ContainsFunc(v.Promises, func(p verdict.Promise) bool { return p.Name == name && p.State == verdict.Unjudged })
}

// unsabotaged is the verdict of the set's drill that rolls the same release back by its right plan.
func (s Set) unsabotaged(of Entry) string {
	found := NotRun
	for _, e := range s.Runs {
		a, b := e.Run, of.Run
		if a.Mutant != nil || a.Expect != nil || a.Service.Name != b.Service.Name || a.Release.Name != b.Release.Name ||
			a.Good != b.Good || planName(a) != "rollback" || a.Alone != b.Alone {
			continue
		}
		if found = e.Verdict.Verdict; e.Broke != "" {
			found = BrokeDown
		}
		if found != verdict.Pass {
			return found
		}
	}
	return found
}

func planName(r evidence.Run) string {
	name, _, _ := strings.Cut(filepath.Base(r.Plan.Path), ".")
	return name
}

// Rate is how many of the sabotages that could be judged were killed.
func Rate(rows []Kill) (killed, of int) {
	for _, k := range rows {
		switch k.Result {
		case Killed:
			killed++
			of++
		case NotHere, NotQuiet, Equivalent:
		default:
			of++
		}
	}
	return killed, of
}

// Says is the table in a sentence.
func (k Kills) Says() string {
	var parts []string
	for _, text := range []string{says(k.Controls, "controls"), says(k.Mutants, "mutants")} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}

// says how many of the rows were killed; empty without any.
func says(rows []Kill, what string) string {
	if len(rows) == 0 {
		return ""
	}
	killed, of := Rate(rows)
	text := fmt.Sprintf("%d of %d %s killed", killed, of, what)
	for _, other := range []string{Equivalent, NotQuiet, NotHere} {
		if n := countOf(rows, other); n > 0 {
			text += fmt.Sprintf(", %d %s", n, other)
		}
	}
	return text
}

// Look is how the result is shown.
func (k Kill) Look() look {
	switch k.Result {
	case Killed:
		return look{"is-kept", "i-ok", k.Result}
	case Survived, OtherReason, BrokeDown:
		return look{"is-broken", "i-no", k.Result}
	case NotHere, Equivalent:
		return look{"sub", "i-none", k.Result}
	}
	return look{"is-unknown", "i-ask", k.Result}
}

// Link leads to the drill's report.
func (k Kill) Link() string {
	if k.link == "" {
		return ""
	}
	return path.Join(k.link, "report.html")
}

func countOf(rows []Kill, result string) int {
	n := 0
	for _, k := range rows {
		if k.Result == result {
			n++
		}
	}
	return n
}

// Wrong says what a set of controls must not show; nothing when it proves that the drills notice.
func (k Kills) Wrong() (fails, open []string) {
	for _, row := range slices.Concat(k.Controls, k.Mutants) {
		name := fmt.Sprintf("%s (%s of %s)", row.Sabotage, row.Plan, row.Release)
		switch row.Result {
		case Survived, OtherReason, BrokeDown:
			fails = append(fails, name+": "+row.Result+": "+row.Why)
		case NotShown, NotQuiet:
			open = append(open, name+": "+row.Result+": "+row.Why)
		}
		switch {
		case row.Result == NotHere || row.Unsabotaged == verdict.Pass:
		case row.Unsabotaged == verdict.Fail || row.Unsabotaged == BrokeDown:
			fails = append(fails, name+": the same drill by the right plan: "+row.Unsabotaged)
		default:
			open = append(open, name+": the same drill by the right plan: "+row.Unsabotaged)
		}
	}
	for _, name := range k.Unnamed {
		fails = append(fails, fmt.Sprintf("no control names the check %q", name))
	}
	return fails, open
}

// SetKills writes kills.json.
func SetKills(w io.Writer, s Set) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	k := s.Kills()
	if k.Controls == nil {
		k.Controls = []Kill{}
	}
	return e.Encode(k)
}

// Lines is the table for a terminal.
func (k Kills) Lines() []string {
	var lines []string
	for _, row := range slices.Concat(k.Controls, k.Mutants) {
		lines = append(lines, fmt.Sprintf("%-15s %s: %s", row.Result, row.Release, row.Sabotage))
		if row.Expected != "" {
			lines = append(lines, fmt.Sprintf("%-15s   expected  %s", "", row.Expected))
		}
		if len(row.Caught) > 0 {
			lines = append(lines, fmt.Sprintf("%-15s   caught by %s", "", strings.Join(row.Caught, "; ")))
		}
		if row.Why != "" {
			lines = append(lines, fmt.Sprintf("%-15s   %s", "", row.Why))
		}
		if row.Unsabotaged != verdict.Pass {
			lines = append(lines, fmt.Sprintf("%-15s   the same drill by the right plan: %s", "", row.Unsabotaged))
		}
	}
	return lines
}

// markdown is the table for the page of a CI job.
func (k Kills) markdown(b *strings.Builder) {
	for _, x := range []struct {
		rows        []Kill
		title, what string
	}{{k.Controls, "Controls", "controls"}, {k.Mutants, "Mutants", "mutants"}} {
		if len(x.rows) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n\n| Result | Sabotage | Release | Expected to catch it | Caught by | Unsabotaged |\n|---|---|---|---|---|---|\n", x.title, md(says(x.rows, x.what)))
		for _, row := range x.rows {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", row.Result, md(row.Sabotage), md(row.Release), md(row.Expected), md(strings.Join(row.Caught, "; ")), row.Unsabotaged)
		}
	}
}
