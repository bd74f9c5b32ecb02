package history

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"backout/harness/report"
)

//go:embed review.html.tmpl
var reviewText string

// Known is a service that is checked out where the review is made.
type Known struct {
	Name  string
	Tier  string
	Plans []string // paths of its own rollback plans, from its folder
	None  []string // releases that are no first one and have no plan at all
}

// Review is a month of rollbacks.
type Review struct {
	Month     string // "2026-11"
	Until     time.Time
	Place     string
	Generated bool
	Services  []ReviewService
	Worse     []Regression
	Never     []string  // services without any drill until the end of the month
	Damaged   []Trouble // what could not be read
}

// ReviewService is a service in that month.
type ReviewService struct {
	Name, Tier       string
	Runs, Green      int
	Complete         int      // runs in which everything came back
	Median, Slowest  *float64 // seconds until restored; nil: no run was
	Unrestored       int      // runs in which it never was
	Target           float64  // seconds; 0: not known
	Silence          *float64 // the longest
	Rate             Rate
	Ready            []Answer
	LastDrilled, Why string
}

// Regression is a drill that became worse.
type Regression struct{ Service, Drill, Where, Why, Again string }

// Answers to a question of the audit.
const (
	Yes   = "yes"
	No    = "no"
	AskIt = "unknown" // a person must answer
)

// Answer is one question of the audit, with what it rests on.
type Answer struct{ Question, Answer, Text string }

const aPerson = "a person must answer; no drill shows it"

// ParseMonth reads "2026-11".
func ParseMonth(text string) (time.Time, error) {
	month, err := time.Parse("2006-01", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("expected a month such as 2026-11, found %q", text)
	}
	return month, nil
}

// ReviewOf is the review of a month. Known are services that are checked out: those that were never drilled are among them.
func ReviewOf(l *Log, month time.Time, known []Known, now time.Time) Review {
	end := month.AddDate(0, 1, 0)
	until := end.Add(-time.Second)
	if now.Before(until) {
		until = now.UTC()
	}
	r := Review{Month: month.Format("2006-01"), Until: until, Place: l.Place}
	for _, d := range l.Damaged {
		r.Damaged = append(r.Damaged, Trouble{d.Name, d.Why})
	}
	var runs []Run
	names := map[string]Known{}
	for _, k := range known {
		names[k.Name] = k
	}
	meet := func(name, tier string) {
		k := names[name]
		if k.Name = name; k.Tier == "" {
			k.Tier = tier
		}
		names[name] = k
	}
	for _, run := range l.Runs {
		if run.When.Before(end) {
			meet(run.Service, run.Tier)
			r.Generated = r.Generated || run.Generated
			if run.Kind == Drill {
				runs = append(runs, run)
			}
		}
	}
	for _, rec := range l.Records {
		if rec.When.Before(end) {
			meet(rec.Service, "")
			r.Generated = r.Generated || rec.Generated
		}
	}
	lines := Drills(runs)
	for _, line := range lines {
		if why := worse(line, month); why != "" {
			r.Worse = append(r.Worse, Regression{line.Service, line.Name, line.Last.Where(), why, line.Last.Again})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		s := reviewService(names[name], lines, month, until)
		s.Rate = Frequency(l.Records, name, month, until)
		r.Services = append(r.Services, s)
		if s.LastDrilled == "" {
			r.Never = append(r.Never, name)
		}
	}
	return r
}

// worse says why a drill is worse than before in a month in which it ran; empty: it is not, or it did not run.
func worse(l DrillLine, month time.Time) string {
	if l.Last.When.Before(month) {
		return ""
	}
	if !l.Last.Green() {
		for _, r := range slices.Backward(l.Runs[:len(l.Runs)-1]) {
			if r.Green() {
				return fmt.Sprintf("%s on %s (%s); it was green on %s", l.Last.Verdict, day(l.Last.When), l.Last.Because, day(r.When))
			}
		}
		return ""
	}
	if l.Trend.Word == Slower {
		return fmt.Sprintf("restored after %s; the median of %d runs of before under the same conditions (%s) was %s",
			report.Seconds(*l.Last.Restored), l.Trend.Compared, l.Last.Conditions(), report.Seconds(*l.Trend.Median))
	}
	return ""
}

func reviewService(k Known, all []DrillLine, month, until time.Time) ReviewService {
	s := ReviewService{Name: k.Name, Tier: k.Tier}
	var lines []DrillLine
	var speeds []float64
	var last Run
	for _, l := range all {
		if l.Service != k.Name {
			continue
		}
		lines = append(lines, l)
		if last.When.Before(l.Last.When) {
			last = l.Last
		}
		for _, r := range l.Runs {
			if r.When.Before(month) {
				continue
			}
			s.Runs++
			if r.Green() {
				s.Green++
			}
			if r.Complete {
				s.Complete++
			}
			if r.Restored != nil {
				speeds = append(speeds, *r.Restored)
			} else {
				s.Unrestored++
			}
			if r.Silence != nil && (s.Silence == nil || *r.Silence > *s.Silence) {
				s.Silence = r.Silence
			}
		}
	}
	if len(speeds) > 0 {
		m, slowest := median(speeds), slices.Max(speeds)
		s.Median, s.Slowest = &m, &slowest
	}
	if !last.When.IsZero() {
		s.LastDrilled, s.Target = day(last.When), last.Target
	}
	s.Ready = readiness(k, lines, last, until)
	return s
}

// readiness answers the questions of the audit from evidence, and says where a person must.
func readiness(k Known, lines []DrillLine, last Run, until time.Time) []Answer {
	documented := Answer{"Is the rollback documented?", AskIt, "no plan was drilled, and none is checked out here: " + aPerson}
	switch {
	case len(k.Plans) > 0 && len(k.None) == 0:
		documented.Answer, documented.Text = Yes, fmt.Sprintf("%s beside the releases: %s", report.Many(len(k.Plans), "plan", "plans"), several(k.Plans))
	case len(k.None) > 0:
		documented.Answer, documented.Text = No, "there is no plan beside "+several(k.None)
	case last.Plan.Path != "":
		documented.Answer, documented.Text = Yes, fmt.Sprintf("%s, a plan of %s, was drilled on %s", last.Plan.Path, report.Many(last.Plan.Steps, "step", "steps"), day(last.When))
	}
	type plan struct{ green, tried *Run }
	plans := map[string]*plan{}
	for _, path := range k.Plans {
		plans[path] = &plan{}
	}
	for _, l := range lines {
		for i := range l.Runs {
			r := &l.Runs[i]
			p := plans[r.Plan.Path]
			if p == nil {
				if len(k.Plans) > 0 {
					continue // a plan that is not the service's own any more
				}
				p = &plan{}
				plans[r.Plan.Path] = p
			}
			p.tried = r
			if r.Green() && (p.green == nil || p.green.When.Before(r.When)) {
				p.green = r
			}
		}
	}
	allowed := MaxAge(k.Tier)
	var open []string
	for _, l := range lines {
		if plans[l.Last.Plan.Path] != nil && !l.Last.Green() && until.Sub(l.Last.When) <= allowed {
			open = append(open, fmt.Sprintf("%s of %s was not green on %s", l.Last.Where(), l.Last.Plan.Path, day(l.Last.When)))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(plans)) {
		switch p := plans[path]; {
		case p.tried == nil:
			open = append(open, path+" was never drilled")
		case p.green == nil:
			open = append(open, path+" was never green")
		case until.Sub(p.green.When) > allowed:
			open = append(open, fmt.Sprintf("%s was green %d days ago", path, days(p.green.When, until)))
		}
	}
	tested := Answer{"Is it tested?", Yes, fmt.Sprintf("%s green within %d days", report.Many(len(plans), "plan was", "plans were"), days(until.Add(-allowed), until))}
	switch {
	case len(lines) == 0:
		tested.Answer, tested.Text = No, "it was never drilled"
	case len(open) > 0:
		tested.Answer, tested.Text = No, several(open)
	}
	automated := Answer{"Is it automated?", AskIt, "it was never drilled: " + aPerson}
	if green := newestGreen(lines); green != nil {
		automated.Answer, automated.Text = Yes, fmt.Sprintf("all %s of %s are commands, and ran without a person on %s; who starts them in production a person must say",
			report.Many(green.Plan.Steps, "step", "steps"), green.Plan.Path, day(green.When))
	}
	long := Answer{"Is it known how long it takes, and is that within the target?", AskIt, "no drill was restored: " + aPerson}
	if green := newestGreen(lines); green != nil && green.Restored != nil {
		slowest := *green.Restored
		at := *green
		for _, l := range lines {
			if l.LastGreen != nil && l.LastGreen.Restored != nil && *l.LastGreen.Restored > slowest {
				slowest, at = *l.LastGreen.Restored, *l.LastGreen
			}
		}
		long.Answer = Yes
		if at.Target > 0 && slowest > at.Target {
			long.Answer = No
		}
		long.Text = fmt.Sprintf("at most %s of %s in the newest green run of each drill (%s, %s, %s)", report.Seconds(slowest), report.Seconds(at.Target), at.Where(), day(at.When),
			strings.TrimPrefix(at.Conditions()+"; it is not production", "; "))
	}
	return []Answer{documented, tested, automated, long,
		{"Do dashboards show it?", AskIt, aPerson},
		{"Is there a communication plan?", AskIt, aPerson}}
}

func newestGreen(lines []DrillLine) *Run {
	var newest *Run
	for _, l := range lines {
		if l.LastGreen != nil && (newest == nil || newest.When.Before(l.LastGreen.When)) {
			newest = l.LastGreen
		}
	}
	return newest
}

// several joins what a sentence can hold, and counts the rest.
func several(list []string) string {
	if n := len(list); n > 4 {
		return strings.Join(list[:3], ", ") + fmt.Sprintf(" and %d more", n-3)
	}
	return strings.Join(list, ", ")
}

// Says is the month in a sentence or two.
func (r Review) Says() string {
	runs, green := 0, 0
	for _, s := range r.Services {
		runs, green = runs+s.Runs, green+s.Green
	}
	if runs == 0 {
		return fmt.Sprintf("No drill ran in %s. Never drilled: %s.", r.Month, orNone(r.Never))
	}
	return fmt.Sprintf("%d of %s green. Became worse: %d. Never drilled: %s.", green, report.Many(runs, "run was", "runs were"), len(r.Worse), orNone(r.Never))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return several(list)
}

// Cells are the figures of a service in the order of the table's head.
func (s ReviewService) Cells() []string {
	if s.Runs == 0 {
		last := "never drilled"
		if s.LastDrilled != "" {
			last = "not this month; last " + s.LastDrilled
		}
		return []string{last, "", "", "", "", "", s.Rate.String()}
	}
	restored := func(v *float64) string {
		if v == nil {
			return "never"
		}
		return report.Seconds(*v)
	}
	slowest := restored(s.Slowest)
	if s.Unrestored > 0 && s.Slowest != nil {
		slowest += fmt.Sprintf(", %d never", s.Unrestored)
	}
	if s.Slowest != nil && s.Target > 0 && *s.Slowest > s.Target {
		slowest += ", over the target"
	}
	target, silence := "", ""
	if s.Target > 0 {
		target = report.Seconds(s.Target)
	}
	if s.Silence != nil {
		silence = report.Seconds(*s.Silence)
	}
	return []string{fmt.Sprintf("%d of %d", s.Green, s.Runs), restored(s.Median), slowest, target, silence, fmt.Sprintf("%d of %d", s.Complete, s.Runs), s.Rate.String()}
}

// Columns are the head of the table of figures, after the service.
func (Review) Columns() []string {
	return []string{"Green", "Restored, median", "Slowest", "Target", "Longest silence", "Complete", "Rolled back"}
}

// Markdown writes the review for a page or a mail.
func (r Review) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Rollbacks in %s\n\n%s\n\n", r.Month, report.Escape(r.Says()))
	if r.Generated {
		b.WriteString("**Generated data: runs in this history were invented, and no drill took place.**\n\n")
	}
	b.WriteString("## Figures\n\n| Service | " + strings.Join(r.Columns(), " | ") + " |\n|---" + strings.Repeat("|---", len(r.Columns())) + "|\n")
	for _, s := range r.Services {
		fmt.Fprintf(&b, "| %s (%s)", report.Escape(s.Name), report.Escape(cmp.Or(s.Tier, "tier unknown")))
		for _, c := range s.Cells() {
			b.WriteString(" | " + report.Escape(c))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\nRolled back is rollbacks per deployment in production, as they were recorded; a drill is none of either.\n\n## Became worse\n\n")
	for _, x := range r.Worse {
		fmt.Fprintf(&b, "- **%s**, %s (`%s`): %s.", report.Escape(x.Service), report.Escape(x.Drill), mdCode(x.Where), report.Escape(x.Why))
		if x.Again != "" {
			fmt.Fprintf(&b, " Again: `%s`", mdCode(x.Again))
		}
		b.WriteString("\n")
	}
	if len(r.Worse) == 0 {
		b.WriteString("Nothing that can be compared. Speeds are compared between runs of the same environment, cores, volume and windows.\n")
	}
	b.WriteString("\n## Never drilled\n\n")
	for _, name := range r.Never {
		fmt.Fprintf(&b, "- %s\n", report.Escape(name))
	}
	if len(r.Never) == 0 {
		b.WriteString("None of the services that are known here.\n")
	}
	b.WriteString("\n## Ready?\n")
	for _, s := range r.Services {
		fmt.Fprintf(&b, "\n### %s\n\n", report.Escape(s.Name))
		for _, a := range s.Ready {
			fmt.Fprintf(&b, "- %s **%s**: %s.\n", a.Question, a.Answer, report.Escape(a.Text))
		}
	}
	if len(r.Damaged) > 0 {
		b.WriteString("\n## What cannot be read\n\nThese count as nothing, and never as green.\n\n")
		for _, d := range r.Damaged {
			fmt.Fprintf(&b, "- `%s`: %s\n", mdCode(d.Name), report.Escape(d.Why))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mdCode is text for between backticks, where nothing else is read.
func mdCode(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "`", "")), " ")
}

// HTML writes the review as one file.
func (r Review) HTML(w io.Writer) error {
	t, err := report.Page(reviewText)
	if err != nil {
		return fmt.Errorf("write the review: %w", err)
	}
	p := struct {
		Review
		Title string
		CSS   template.CSS
	}{r, "Rollbacks in " + r.Month, report.Styles() + template.CSS("\n"+css)}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write the review: %w", err)
	}
	return nil
}
