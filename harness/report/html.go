package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

//go:embed report.css
var css string

// script is the pages' only one: it reads values out at the pointer, copies commands and opens what a link leads to. All
// that it shows is in the page without it.
//
//go:embed report.js
var script string

//go:embed parts.html.tmpl
var partsText string

//go:embed report.html.tmpl
var reportText string

// page is what the template of a run's report sees: words, and places on the page.
type page struct {
	*Model
	Look     look
	Title    string
	Started  string
	StartISO string
	About    []string
	Control  string
	Figures  []figure
	Shares   []share
	First    *first
	Rail     []rail
	TL       timeline
	TLSays   string
	Insights []insight
	Replicas replicas
	Writes   writes
	Schema   schemaView
	Kept     string
	Numbered []numbered
	Plan     []planStep
	PlanSays string
	NotRun   []evidence.PlanStep
	Cited    []Cited
	Facts    []group
	Checks   []check
	Ticked   string
	CSS      template.CSS
	Script   template.JS
}

// look is how a state looks: its colour, its icon and its word. Colour is never the only carrier.
type look struct{ Class, Icon, Word string }

type figure struct {
	Name, Of, Big, Small, Note string
	Parts                      []part
	Target                     bool
}

type part struct {
	Style template.CSS
	Class string
}

type share struct {
	Name, Text string
	Look       look
}

type first struct {
	Look     look
	Title    string
	Finding  string
	Details  []string
	Trail    []Cited
	More     int
	Remedies []string
}

type rail struct{ ID, Name, Text, Class string }

type numbered struct {
	verdict.Promise
	More []string // of its details, those that are folded
	No   int
	Look look
	Show string
}

type replicas struct {
	Says   string
	Style  template.CSS
	Ticks  []tick
	Refs   []tick
	Groups []replicaGroup
	Syncs  []syncRow // of services that are deployed by GitOps
	Pods   []podRow  // where instances come and go
	PodsBy string
	More   int // pods that are not listed

	SyncColumns []string
}

type replicaGroup struct {
	Name string
	Rows []replica
}

type replica struct {
	Name, Note string
	Straggler  bool
	Segs       []seg
	Converged  string
	Late       string
	Last       string
	Evidence   []int64
}

type schemaView struct {
	Says     string
	Nodes    []schemaNode
	Names    []string
	Tables   []tableRow
	Differ   []differ
	Findings []findingRow // what was wrong, or could not be asked
	InOrder  []findingRow
	Fine     []string // what is left out
}

type schemaNode struct {
	Name, Text string
	Look       look
	N          int64
	Diff       []diffLine
}

type diffLine struct{ Class, Text string }

type tableRow struct {
	Name  string
	Cells []tableCell
}

type tableCell struct {
	Node, Rows string
	Look       look
	N          int64
}

type differ struct {
	Title string
	Rows  []string
	N     int64
}

type findingRow struct {
	N                 int64
	Check, Of, Result string
	Look              look
	Rows              []string
}

type planStep struct {
	Part, Name, Command string
	isStep              bool
	Index               int
	At, Took            string
	Look                look
	Exit                int
	Expected, Actual    string
	Meanwhile           string // how users fared
	Output, Tail        string
	Lines, CutBytes     int
	Evidence            []int64
	Ran                 bool
}

type group struct {
	Name  string
	Pairs [][2]string
	Mono  bool
}

// HTML writes report.html: one file, no network. Its policy allows its own style and its own script, by the script's digest,
// and nothing else.
func HTML(w io.Writer, m *Model) error {
	t, err := templates(reportText)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, m.page()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err = io.WriteString(w, text(b.String()))
	return err
}

func templates(text string) (*template.Template, error) {
	t, err := template.New("parts").Funcs(template.FuncMap{
		"offset":  func(t evidence.Offset) string { return offset(float64(t)) },
		"seconds": seconds,
		"count64": func(n int) string { return count(n) },
		"count":   func(n int64) string { return count(n) },
		"state":   func(class, icon, word string) look { return look{class, icon, word} },
		"join":    func(list []string) string { return strings.Join(list, ", ") },
		"short":   func(s string, n int) string { return short(s, n) },
		"trim":    strings.TrimSpace,
		"allowed": func() string {
			sum := sha256.Sum256([]byte(script))
			return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		},
	}).Parse(partsText)
	if err != nil {
		return nil, err
	}
	return t.New("page").Parse(text)
}

func verdictLook(v string) look {
	switch v {
	case verdict.Pass:
		return look{"is-kept", "i-ok", "Pass."}
	case verdict.Fail:
		return look{"is-broken", "i-no", "Fail."}
	}
	return look{"is-unknown", "i-ask", "Inconclusive."}
}

func promiseLook(state string) look {
	switch state {
	case verdict.Kept:
		return look{"is-kept", "i-ok", state}
	case verdict.Broken:
		return look{"is-broken", "i-no", state}
	case verdict.NotApplicable:
		return look{"sub", "i-none", state}
	}
	return look{"is-unknown", "i-ask", cmp.Or(state, verdict.Unjudged)}
}

func outcomeLook(s *step) (class, icon string) {
	l := stepLook(s)
	return l.Class, l.Icon
}

func stepLook(s *step) look {
	switch {
	case !s.done:
		return look{"is-unknown", "i-ask", "its end was not seen"}
	case s.outcome == evidence.StepOK:
		return look{"is-kept", "i-ok", "done, as expected"}
	case s.outcome == evidence.StepFailed:
		return look{"is-broken", "i-no", "failed"}
	case s.outcome == evidence.StepUnexpected:
		return look{"is-broken", "i-no", "done, not as expected"}
	case s.outcome == evidence.StepTimeout:
		return look{"is-broken", "i-late", "timed out"}
	case s.outcome == evidence.StepRefused && s.part == evidence.PartLock:
		return look{"is-kept", "i-no", "refused: somebody else holds it"}
	case s.outcome == evidence.StepRefused && s.part == evidence.PartStep:
		return look{"is-broken", "i-no", "must not be run twice"}
	case s.outcome == evidence.StepRefused:
		return look{"is-broken", "i-no", "stopped the plan"}
	case s.outcome == evidence.StepDied:
		return look{"is-broken", "i-no", "its machine died"}
	case s.outcome == evidence.StepSkipped:
		return look{"is-unknown", "i-none", "skipped"}
	}
	return look{"is-unknown", "i-ask", s.outcome}
}

func partName(part string) string {
	switch part {
	case evidence.PartRollout:
		return "deploy"
	case evidence.PartBefore:
		return "pre-check"
	case evidence.PartAfter:
		return "validation"
	case evidence.PartUndo:
		return "taking back step"
	}
	return part
}

// whose is a command's part, and the operator where that is a second one.
func (s *step) whose() string {
	if s.by != "" {
		return s.by + "'s " + partName(s.part)
	}
	return partName(s.part)
}

// judged says whether it is a step of the rollback that is judged.
func (s *step) judged() bool { return s.part == evidence.PartStep && s.by == "" }

// rank puts the broken promises first.
func rank(state string) int {
	switch state {
	case verdict.Broken:
		return 0
	case verdict.Kept:
		return 2
	case verdict.NotApplicable:
		return 3
	}
	return 1
}

const maxDetails = 8 // of a promise that are shown at once

// promises are numbered in the order of the verdict and sorted with the broken ones first.
func promises(v verdict.Verdict) []numbered {
	var out []numbered
	for i, p := range v.Promises {
		n := numbered{p, nil, i + 1, promiseLook(p.State), cmp.Or(p.Text, p.Name)}
		if len(p.Details) > maxDetails+2 {
			n.Details, n.More = p.Details[:maxDetails], p.Details[maxDetails:]
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b numbered) int { return rank(a.State) - rank(b.State) })
	return out
}

// tallies are how many promises were kept, broken, not judged, and how many apply.
func tallies(v verdict.Verdict) (kept, broken, unjudged, applicable int) {
	for _, p := range v.Promises {
		switch p.State {
		case verdict.Kept:
			kept++
		case verdict.Broken:
			broken++
		case verdict.NotApplicable:
			continue
		default:
			unjudged++
		}
		applicable++
	}
	return
}

func (m *Model) page() *page {
	v := m.Verdict
	p := &page{Model: m, Look: verdictLook(v.Verdict), CSS: template.CSS(css), Script: template.JS(script)}
	p.Title = strings.TrimSuffix(p.Look.Word, ".") + ": " + m.Run.Service.Name + ", rollback of " + m.Run.Release.Name
	if !m.Run.Started.IsZero() {
		p.Started = m.Run.Started.UTC().Format("2 January 2006, 15:04 UTC")
		p.StartISO = m.Run.Started.UTC().Format(time.RFC3339)
		p.Title += m.Run.Started.UTC().Format(", 2 January 2006")
	}
	p.About = []string{
		fmt.Sprintf("%s, tier %s", m.Run.Service.Name, cmp.Or(m.Run.Service.Tier, "not stated")),
		fmt.Sprintf("%s back to %s", m.Run.Release.Name, m.Run.Good),
		"plan " + cmp.Or(m.Run.Plan.Name, "none"),
		m.Run.Environment + " environment",
		fmt.Sprintf("%s journeys/s by %s, open loop", plain(m.Run.Traffic.Rate), many(m.Run.Traffic.Users, "user", "users")),
	}
	if v.Expected != nil {
		p.Control = "Not met: "
		if *v.Expected {
			p.Control = "Met: "
		}
		p.Control += v.ExpectedWhy
	}
	p.Numbered = promises(v)
	p.Figures = m.figures()
	p.Shares = shares(v)
	p.First = m.first(p.Numbered)
	p.TL = m.timeline()
	p.TLSays = m.timelineSays()
	p.Insights = m.insights()
	p.Replicas = m.replicas()
	p.Writes = m.writesView()
	p.Schema = m.schemaView()
	p.Plan, p.PlanSays, p.NotRun = m.planAsRun()
	p.Facts = m.facts()
	p.Checks = m.checklist()
	ticked, applies := ticks(p.Checks)
	p.Ticked = fmt.Sprintf("%d of %d are proven. Nothing is ticked without evidence.", ticked, applies)
	for _, n := range m.allCited(p) {
		c, ok := m.cited[n]
		if !ok {
			c = Cited{N: n, T: -1, Text: fmt.Sprintf("see: backout evidence DIR | grep '^{\"n\":%d,'", n)}
		}
		p.Cited = append(p.Cited, c)
	}
	kept, broken, unjudged, applicable := tallies(v)
	p.Kept = fmt.Sprintf("%d of %d kept", kept, applicable)
	if broken > 0 {
		p.Kept += fmt.Sprintf(", %d broken", broken)
	}
	if unjudged > 0 {
		p.Kept += fmt.Sprintf(", %d not judged", unjudged)
	}
	p.rail(kept, applicable)
	return p
}

func (p *page) rail(kept, applicable int) {
	v := p.Verdict
	class := p.Look.Class
	ofAll := ""
	if kept < applicable {
		ofAll = class
	}
	differs, unread := 0, 0
	for _, n := range p.Schema.Nodes {
		differs += boolInt(n.Look.Word == "differs")
		unread += boolInt(n.Look.Word != "equal" && n.Look.Word != "differs")
	}
	schema := rail{"schema", "Schema and data", "equal", ""}
	if len(p.Schema.Nodes) == 0 {
		schema.Text = "no data"
	} else if differs > 0 {
		schema.Text, schema.Class = fmt.Sprintf("%d of %d differ", differs, len(p.Schema.Nodes)), "is-broken"
	} else if unread > 0 {
		schema.Text, schema.Class = fmt.Sprintf("%d not read", unread), "is-unknown"
	}
	replicas := rail{"replicas", "Replicas", fmt.Sprintf("%d of %d", v.Shares.Replicas[0], v.Shares.Replicas[1]), ""}
	for _, share := range p.Shares {
		if share.Name == "replicas at the target" && v.Shares.Replicas[0] < v.Shares.Replicas[1] {
			replicas.Class = share.Look.Class
		}
	}
	writes := rail{"writes", "Users’ writes", "all kept", ""}
	unchecked := notChecked(v)
	if short := v.Shares.Writes[1] - v.Shares.Writes[0] - unchecked; short > 0 {
		writes.Text, writes.Class = count(short)+" not kept", "is-broken"
	} else if unchecked > 0 {
		writes.Text, writes.Class = count(unchecked)+" not checked", "is-unknown"
	} else if v.Shares.Writes[1] == 0 {
		writes.Text = "none"
	}
	ticked, applies := ticks(p.Checks)
	checklistClass := ""
	if slices.ContainsFunc(p.Checks, func(c check) bool { return c.Look == notSo }) {
		checklistClass = "is-broken"
	}
	ran := 0
	for _, s := range p.Plan {
		if s.Ran && s.isStep {
			ran++
		}
	}
	p.Rail = []rail{
		{"verdict", "Verdict", v.Verdict, class},
		{"timeline", "Timeline", strings.TrimSuffix(offset(p.Seconds), ".0"), ""},
		replicas, writes, schema,
		{"promises", "Promises", fmt.Sprintf("%d of %d", kept, applicable), ofAll},
		{"plan", "Plan as run", fmt.Sprintf("%d of %s", ran, many(max(len(p.Run.Plan.Steps), ran), "step", "steps")), ""},
		{"checklist", "Checklist", fmt.Sprintf("%d of %d", ticked, applies), checklistClass},
		{"conditions", "Conditions", fmt.Sprintf("seed %d", p.Run.Seed), ""},
		{"evidence", "Evidence", many(len(p.Cited), "event", "events"), ""},
	}
}

func (m *Model) figures() []figure {
	v := m.Verdict
	speed := figure{Name: "Speed", Of: "decided → restored", Big: absent(v), Target: true, Parts: []part{{Style: "--v:1", Class: "hatch"}}}
	target := v.Speed.Target
	if s := v.Speed.Seconds; s != nil {
		speed.Big = seconds(*s)
		if target > 0 {
			speed.Parts = bar(*s/target, "kept")
			speed.Note = fmt.Sprintf("%s of the target, %s.", percent(*s/target), seconds(target))
			if *s > target {
				speed.Parts = []part{{Style: "--v:1" + colour("broken")}}
				speed.Note = fmt.Sprintf("The target was %s.", seconds(target))
			}
		}
	} else if target > 0 {
		speed.Note = fmt.Sprintf("Not restored; the target is %s.", seconds(target))
		if speed.Big == notSeen {
			speed.Note = fmt.Sprintf("Nobody knows whether it was restored; the target is %s.", seconds(target))
		}
	}
	if u := v.Speed.Users; u != nil {
		if v.Speed.Seconds == nil || *u != *v.Speed.Seconds {
			speed.Note += fmt.Sprintf(" Users were served after %s.", seconds(*u))
		}
	} else if len(m.Run.Service.Journeys) > 0 {
		speed.Note += map[string]string{never: " Users were never served as before.", notSeen: " Nor when users were served as before."}[absent(v)]
	}
	if f := v.Speed.FirstBad; f != nil {
		speed.Note += fmt.Sprintf(" From the first harm: %s.", seconds(*f))
	}

	kept, broken, unjudged, applicable := tallies(v)
	complete := figure{Name: "Completeness", Of: "promises kept", Big: count(kept), Small: fmt.Sprintf("of %d", applicable)}
	for _, p := range v.Promises {
		switch p.State {
		case verdict.Kept:
			complete.Parts = append(complete.Parts, part{})
		case verdict.Broken:
			complete.Parts = append(complete.Parts, part{Class: "x"})
		case verdict.NotApplicable:
		default:
			complete.Parts = append(complete.Parts, part{Class: "o"})
		}
	}
	switch {
	case v.Complete:
		complete.Note = "Complete: every promise that applies was kept."
	case broken > 0:
		complete.Note = "Not complete. Broken: "
		var names []string
		for _, p := range v.Promises {
			if p.State == verdict.Broken {
				names = append(names, p.Name)
			}
		}
		if len(names) > 2 {
			names = append(names[:2], fmt.Sprintf("%d more", len(names)-2))
		}
		complete.Note += strings.Join(names, "; ") + "."
	default:
		complete.Note = fmt.Sprintf("Not complete: %d not judged.", unjudged)
	}

	silence := figure{Name: "Silence", Of: "returned → restored", Big: absent(v), Note: "The command never returned, or service was never restored."}
	if silence.Big == notSeen {
		silence.Note = "It was not seen that the command returned, or that service was restored after it."
	}
	decided, okD := m.clock(evidence.ClockDecided)
	returned, okR := m.clock(evidence.ClockCommandReturned)
	if v.Silence != nil {
		silence.Big = seconds(*v.Silence)
		silence.Note = "Restored as soon as the last step had ended."
	} else if end, ok := m.clock(evidence.ClockWatchEnded); ok && okR {
		silence.Note = fmt.Sprintf("Not restored %s after the last step, when watching ended.", seconds(end-returned))
	} else if okR {
		silence.Note = fmt.Sprintf("The last step ended at %s; what came of it was not seen to its end.", offset(returned))
	}
	if okD && okR {
		silence.Parts = []part{{Style: template.CSS("--v:"+num(max(returned-decided, 0))) + colour("ink-3")}}
		if v.Silence != nil && *v.Silence > 0 {
			silence.Parts = append(silence.Parts, part{Style: template.CSS("--v:" + num(*v.Silence)), Class: "hatch"})
			silence.Note = fmt.Sprintf("The commands took %s.", seconds(returned-decided))
			if late := m.stragglers(); len(late) > 0 {
				silence.Note += " Last to come back: " + strings.Join(late, ", ") + "."
			}
		}
	}

	lost, unchecked := v.Shares.Writes[1]-v.Shares.Writes[0], notChecked(v)
	lost = max(lost-unchecked, 0)
	risk := figure{Name: "Writes not kept", Of: "of " + count(v.Shares.Writes[1]), Big: count(lost)}
	if v.Shares.Writes[1] > 0 {
		fates := map[string]int{}
		for _, w := range v.Writes {
			for fate, n := range w.Fates {
				fates[fate] += n
			}
		}
		for _, fate := range slices.Sorted(maps.Keys(fates)) {
			if fate != evidence.Kept && fates[fate] > 0 {
				risk.Note += fmt.Sprintf("%s %s. ", count(fates[fate]), fate)
			}
		}
		share := func(n int64) template.CSS {
			return template.CSS("--v:" + num(max(float64(n)/float64(v.Shares.Writes[1])*100, 1)))
		}
		if lost > 0 {
			risk.Parts = append(risk.Parts, part{Style: share(lost) + colour("broken")})
		}
		if unchecked > 0 {
			risk.Small = "known"
			risk.Parts = append(risk.Parts, part{Style: share(unchecked), Class: "hatch"})
		}
		if v.Shares.Writes[0] > 0 {
			risk.Parts = append(risk.Parts, part{Style: share(v.Shares.Writes[0]) + colour("kept-2")})
		}
		if risk.Note == "" {
			risk.Note = "Each acknowledged write is there once, as it was acknowledged."
		}
	} else {
		risk.Note = "No write was acknowledged."
	}
	for _, b := range m.Run.Service.Budgets {
		risk.Note += fmt.Sprintf(" Budget of %s: %d, because %s.", b.Journey, b.Lost, b.Why)
	}
	if b := m.Run.Budget; b != nil {
		risk.Note += fmt.Sprintf(" Budget of all together: %d, because %s.", b.Lost, b.Why)
	}
	return []figure{speed, complete, silence, risk}
}

func bar(share float64, c template.CSS) []part {
	share = min(max(share*100, 0.5), 100)
	return []part{{Style: template.CSS("--v:"+num(share)) + colour(c)}, {Style: template.CSS("--v:" + num(100-share))}}
}

// notChecked are the acknowledged writes that were not looked up.
func notChecked(v verdict.Verdict) (n int64) {
	for _, w := range v.Writes {
		n += int64(w.Fates["not checked"])
	}
	return n
}

// brokenOne says whether one of these promises is broken.
func brokenOne(v verdict.Verdict, names ...string) bool {
	return slices.ContainsFunc(v.Promises, func(p verdict.Promise) bool {
		return p.State == verdict.Broken && slices.Contains(names, p.Name)
	})
}

func shares(v verdict.Verdict) []share {
	var out []share
	for _, s := range []struct {
		name   string
		of     [2]int64
		broken bool
	}{{"acknowledged writes kept", v.Shares.Writes, v.Shares.Writes[1]-v.Shares.Writes[0] > notChecked(v)},
		{"frozen rows equal", v.Shares.Rows, brokenOne(v, verdict.FrozenUnchanged)},
		{"replicas at the target", v.Shares.Replicas, brokenOne(v, verdict.Restored, verdict.InstancesServe, verdict.NodesHaveSchema)},
		{"residual effects closed", v.Shares.Residual, brokenOne(v, verdict.JobsDone, verdict.CachesReadable, verdict.SessionsAccepted, verdict.EffectsExactlyOnce)}} {
		l := look{"is-kept", "i-ok", ""}
		switch {
		case s.of[1] == 0:
			l = look{"sub", "i-none", ""}
		case s.of[0] < s.of[1] && s.broken:
			l = look{"is-broken", "i-no", ""}
		case s.of[0] < s.of[1]: // not checked counts as not kept, and is not broken
			l = look{"is-unknown", "i-ask", ""}
		}
		text := fmt.Sprintf("%s of %s", count(s.of[0]), count(s.of[1]))
		if s.of[1] == 0 {
			text = "none"
		}
		out = append(out, share{s.name, text, l})
	}
	return out
}

// first is the first broken promise; of an inconclusive verdict the first assumption that did not hold; of a pass the
// promise with the least room, which is the time.
func (m *Model) first(list []numbered) *first {
	v := m.Verdict
	var f *first
	var cites []int64
	of := func(p numbered) {
		word := map[string]string{verdict.Broken: "is broken", verdict.Kept: "is kept", verdict.Unjudged: "was not judged"}[p.State]
		f = &first{Look: p.Look, Title: fmt.Sprintf("Promise %d %s: %s", p.No, word, p.Name), Finding: p.Finding, Details: slices.Concat(p.Details, p.More)}
		if p.Text != "" && p.Text != p.Name {
			f.Title += " (“" + p.Text + "”)"
		}
		cites = p.Evidence
	}
	switch v.Verdict {
	case verdict.Fail:
		if len(list) > 0 && list[0].State == verdict.Broken {
			of(list[0])
		}
	case verdict.Pass:
		for _, p := range list {
			if p.Name == "service is restored in time" && p.State == verdict.Kept {
				of(p)
				f.Title = "The promise with the least room: " + p.Name
			}
		}
	default:
		for _, a := range v.Assumptions {
			if !a.Held {
				f = &first{Look: look{"is-unknown", "i-ask", ""}, Title: "An assumption did not hold: " + a.Name, Finding: a.Finding}
				cites = a.Evidence
				break
			}
		}
		if f == nil && len(list) > 0 {
			of(list[0])
		}
	}
	if f == nil {
		f = &first{Look: verdictLook(v.Verdict), Title: "Why", Finding: v.Because}
	}
	for _, p := range list {
		if p.Remedy != "" && p.State != verdict.Kept && p.State != verdict.NotApplicable && !slices.Contains(f.Remedies, p.Remedy) {
			f.Remedies = append(f.Remedies, p.Remedy)
		}
	}
	if len(f.Details) > 8 {
		f.Details = append(slices.Clone(f.Details[:8]), fmt.Sprintf("and %d more", len(f.Details)-8))
	}
	for _, n := range cites {
		if len(f.Trail) == 8 {
			f.More = len(cites) - 8
			break
		}
		if c, ok := m.cited[n]; ok {
			f.Trail = append(f.Trail, c)
		}
	}
	slices.SortStableFunc(f.Trail, func(a, b Cited) int { return cmp.Compare(a.T, b.T) })
	return f
}

func (m *Model) timelineSays() string {
	var parts []string
	if m.Verdict.Harm != "" {
		parts = append(parts, strings.TrimSuffix(m.Verdict.Harm, ".")+".")
	}
	decided, okD := m.clock(evidence.ClockDecided)
	returned, okR := m.clock(evidence.ClockCommandReturned)
	if okD && okR {
		s := fmt.Sprintf("The rollback's commands returned %s after the decision", seconds(returned-decided))
		switch {
		case m.Verdict.Silence != nil && *m.Verdict.Silence > 0:
			s += fmt.Sprintf(", and service was whole %s later.", seconds(*m.Verdict.Silence))
		case m.Verdict.Silence != nil:
			s += ", and service was whole by then."
		default:
			s += map[string]string{never: "; service was never whole again.", notSeen: "; it was not seen that service was whole again."}[absent(m.Verdict)]
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "The run ended before the rollback."
	}
	return strings.Join(parts, " ")
}

// stragglers are the replicas that converged after the command had returned.
func (m *Model) stragglers() (late []string) {
	returned, ok := m.clock(evidence.ClockCommandReturned)
	for _, r := range m.Verdict.Replicas {
		if ok && r.Converged != nil && float64(*r.Converged) > returned {
			late = append(late, r.Name)
		}
	}
	return late
}

func (m *Model) replicas() replicas {
	v := replicas{}
	from, _ := m.clock(evidence.ClockDeployBegun)
	zero, hasZero := m.clock(evidence.ClockDecided)
	if !hasZero {
		zero = from
	}
	to := from + 10
	for _, name := range []string{evidence.ClockCommandReturned, evidence.ClockRestored} {
		if t, ok := m.clock(name); ok {
			to = max(to, t)
		}
	}
	late := m.stragglers()
	var missing, removed []string
	converged := map[string]verdict.Replica{}
	for _, r := range m.Verdict.Replicas {
		converged[r.Name] = r
		if r.Removed != "" {
			removed = append(removed, r.Name)
		} else if r.Converged == nil {
			missing = append(missing, r.Name)
			if end, ok := m.clock(evidence.ClockWatchEnded); ok {
				to = max(to, end)
			}
		} else {
			to = max(to, float64(*r.Converged))
		}
	}
	to = min(to+(to-from)*0.08+1, max(m.Seconds, from+1))
	v.Style = template.CSS(fmt.Sprintf("--t0:%s;--span:%s", num(from), num(to-from)))
	for _, s := range []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600} {
		if (to-from)/s <= 7 {
			for t := zero - math.Floor((zero-from)/s)*s; t < to-s/3; t += s {
				text := fmt.Sprintf("%+.0f%ss", t-zero, nbsp)
				if t == zero {
					text = "0" + nbsp + "s"
				}
				v.Ticks = append(v.Ticks, tick{Style: at(t), Text: text})
			}
			break
		}
	}
	const barWidth = 330 // pixels of the column of bars on a page of some width
	var labels [][2]float64
	for _, name := range []string{evidence.ClockDecided, evidence.ClockCommandReturned, evidence.ClockRestored} {
		if t, ok := m.clock(name); ok && t <= to {
			x, width := (t-from)/(to-from), (float64(len(clockName(name)))*letter+10)/barWidth
			label, class := [2]float64{x, x + width}, ""
			if label[1] > 1 {
				label, class = [2]float64{x - width, x}, "rend"
			}
			labels = append(labels, label)
			v.Refs = append(v.Refs, tick{Style: at(t), Text: clockName(name), Class: class})
		}
	}
	lanes, n := stack(labels)
	for i := range v.Refs {
		v.Refs[i].Style += template.CSS(fmt.Sprintf(";--lane:%d", lanes[i]))
	}
	v.Style += template.CSS(fmt.Sprintf(";--lanes:%d", max(n, 1)))

	v.Pods, v.More, v.PodsBy = m.pods(zero, from, to)
	v.Syncs, v.SyncColumns = syncs(m.Verdict, zero), syncColumns
	row := func(k *track, kind string) replica {
		r := replica{Name: k.name}
		c, judged := converged[k.name]
		if judged {
			r.Last = c.Last
			if c.Evidence > 0 {
				r.Evidence = []int64{c.Evidence}
			}
			switch {
			case c.Removed != "":
				r.Late, r.Converged = "not applicable", ""
			case c.Converged == nil:
				r.Late, r.Converged, r.Straggler = absent(m.Verdict), "", true
			case slices.Contains(late, k.name):
				r.Late, r.Straggler = fmt.Sprintf("%+.1f%ss", float64(*c.Converged)-zero, nbsp), true
			default:
				r.Converged = fmt.Sprintf("%+.1f%ss", float64(*c.Converged)-zero, nbsp)
			}
		}
		if kind == "instance" && k.service != m.Run.Service.Name {
			r.Note = "of " + k.service
		} else if kind == "node" && k.kind != k.name {
			r.Note = k.kind
		}
		r.Segs = m.segments(k, kind, c, judged, from, to)
		return r
	}
	for _, g := range []struct {
		name, kind string
		tracks     []*track
	}{{"Instances, by the release they serve", "instance", m.instances}, {"Postgres nodes, by their schema", "node", m.nodes}} {
		group := replicaGroup{Name: g.name}
		for _, k := range g.tracks {
			if _, judged := converged[k.name]; !judged && m.Run.Replicas > 0 && k.service == m.Run.Service.Name {
				continue // a pod that was replaced: it stands among the pods
			}
			group.Rows = append(group.Rows, row(k, g.kind))
		}
		// A replica that was judged but never seen is named all the same.
		for _, r := range m.Verdict.Replicas {
			if r.Kind == g.kind && !slices.ContainsFunc(g.tracks, func(k *track) bool { return k.name == r.Name }) {
				group.Rows = append(group.Rows, row(&track{name: r.Name, kind: r.Name, service: m.Run.Service.Name}, g.kind))
			}
		}
		if len(group.Rows) > 0 {
			v.Groups = append(v.Groups, group)
		}
	}
	total := len(m.Verdict.Replicas) - len(removed)
	v.Says = fmt.Sprintf("Seconds count from the decision. %d of %d converged.", total-len(missing), total)
	if len(late) > 0 {
		v.Says += fmt.Sprintf(" Stragglers, after the command had returned: %s.", strings.Join(late, ", "))
	}
	if len(missing) > 0 {
		v.Says += fmt.Sprintf(" %s: %s.", capital(absent(m.Verdict)), strings.Join(missing, ", "))
	}
	if len(removed) > 0 {
		v.Says += fmt.Sprintf(" Taken away by the drill for good, and not counted: %s.", strings.Join(removed, ", "))
	}
	return v
}

// piece is a stretch of the life of a replica.
type piece struct {
	a, b        float64
	class, text string
}

const maxPieces = 200 // of a replica that are drawn as they were

// thin draws very many pieces by equal cells, each as the worst that it holds.
func thin(pieces []piece, from, to float64) []piece {
	worse := func(p piece) int { return slices.Index([]string{"new", "away", "old hatch", "hatch none"}, p.class) }
	width := (to - from) / maxPieces
	cells := make([]piece, maxPieces)
	for i := range cells {
		cells[i] = piece{a: from + float64(i)*width, b: from + float64(i+1)*width, class: "new", text: "many changes"}
	}
	for _, p := range pieces {
		for i := max(int((p.a-from)/width), 0); i < maxPieces && cells[i].a < p.b; i++ {
			if worse(p) > worse(cells[i]) {
				cells[i].class = p.class
			}
		}
	}
	return cells
}

// segments are what a replica was in from..to: at the target, not yet, away, or not observed.
func (m *Model) segments(k *track, kind string, c verdict.Replica, judged bool, from, to float64) []seg {
	var pieces []piece
	deploy, _ := m.clock(evidence.ClockDeployBegun)
	for i, s := range k.states {
		a, b := s.t, min(k.last+m.patience(), m.Seconds)
		untouched := s.t < deploy && i+1 < len(k.states) // what it was before the deploy, until something changed
		if i+1 < len(k.states) {
			b = k.states[i+1].t
		}
		a, b = max(a, from), min(b, to)
		if b <= a {
			continue
		}
		p := piece{a: a, b: b, class: "new", text: s.label}
		switch {
		case s.lost:
			p.class, p.text = "hatch none", "not observed"
		case !s.up, !s.ready && kind == "instance":
			p.class, p.text = "away", ""
			if s.err != "" {
				p.text = s.err
			}
		case kind == "instance":
			if s.label != m.Run.Good && k.service == m.Run.Service.Name {
				p.class = "old hatch"
			}
		case s.err != "":
			p.class, p.text = "old hatch", strings.Join([]string{s.label, s.err}, ": ")
		case kind == "node" && judged:
			// At the target from "converged" on, as the verdict says; before the deploy it was so by definition.
			switch {
			case untouched:
			case c.Converged == nil && a >= deploy:
				p.class = "old hatch"
			case c.Converged != nil && a >= deploy && b <= float64(*c.Converged):
				p.class = "old hatch"
			case c.Converged != nil && a < float64(*c.Converged) && b > float64(*c.Converged) && a >= deploy:
				pieces = append(pieces, piece{a: a, b: float64(*c.Converged), class: "old hatch", text: s.label})
				p.a = float64(*c.Converged)
			}
		}
		pieces = append(pieces, p)
	}
	for _, g := range m.gapsOf(k.name) {
		if a, b := max(float64(g.From), from), min(float64(g.To), to); b > a {
			pieces = append(pieces, piece{a: a, b: b, class: "hatch none", text: "not observed"})
		}
	}
	if len(pieces) > maxPieces {
		pieces = thin(pieces, from, to)
	}
	var out []seg
	for i, p := range pieces {
		if i > 0 && len(out) > 0 && pieces[i-1].class == p.class && pieces[i-1].text == p.text && pieces[i-1].b == p.a {
			pieces[i].a = pieces[i-1].a
			out[len(out)-1].Style = between(pieces[i].a, p.b)
			continue
		}
		out = append(out, seg{Style: between(p.a, p.b), Class: p.class, Text: short(p.text, 60)})
	}
	return out
}

func (m *Model) schemaView() schemaView {
	v := schemaView{}
	names := slices.Clone(m.Run.Nodes)
	last := map[string]found[evidence.Schema]{}
	for _, s := range m.schemas {
		if !slices.Contains(names, s.what.Node) {
			names = append(names, s.what.Node)
		}
		if s.what.At != "baseline" && s.what.At != "target" && s.what.At != "production" {
			last[s.what.Node] = s
		}
	}
	var differs []string
	lines := 0
	for _, name := range names {
		s, ok := last[name]
		n := schemaNode{Name: name, N: s.n, Text: "schema " + short(s.what.Digest, 12) + ", read at " + offset(s.t), Look: look{"is-kept", "i-ok", "equal"}}
		switch {
		case !ok:
			n.Text, n.Look = "its schema was not read after the rollback", look{"is-unknown", "i-ask", "no data"}
		case s.what.Error != "":
			n.Text, n.Look = "it could not be read at "+offset(s.t)+": "+s.what.Error, look{"is-unknown", "i-ask", "not read"}
		case !s.what.Equal:
			n.Look = look{"is-broken", "i-no", "differs"}
			n.Diff = diff(s.what.Diff, min(400, maxDiff-lines))
			lines += len(n.Diff)
		}
		if len(s.what.Applied) > 0 {
			n.Text += fmt.Sprintf(", migrations up to %d", slices.Max(s.what.Applied))
		}
		if n.Look.Word != "equal" {
			differs = append(differs, name)
		}
		v.Nodes = append(v.Nodes, n)
	}
	v.Names = names

	tables := map[string]map[string]found[evidence.Chunk]{}
	for _, c := range m.chunks {
		k := c.what
		if k.Lo == "" && k.Hi == "" {
			if tables[k.Table] == nil {
				tables[k.Table] = map[string]found[evidence.Chunk]{}
			}
			tables[k.Table][k.Node] = c
		}
		if len(k.Differ) > 0 && len(v.Differ) < 20 {
			d := differ{Title: fmt.Sprintf("%s on %s: %s", k.Table, k.Node, many(max(k.Count, int64(len(k.Differ))), "row differs", "rows differ")), Rows: shorts(k.Differ, 200), N: c.n}
			if k.Lo != "" || k.Hi != "" {
				d.Title += fmt.Sprintf(", from %s to %s", k.Lo, k.Hi)
			}
			v.Differ = append(v.Differ, d)
		}
	}
	unequal := 0
	for i, table := range slices.Sorted(maps.Keys(tables)) {
		if i == maxTables {
			v.Fine = append(v.Fine, fmt.Sprintf("%d more tables are in the evidence.", len(tables)-i))
			break
		}
		r := tableRow{Name: table}
		for _, node := range names {
			c, ok := tables[table][node]
			t := tableCell{Node: node, Rows: count(c.what.Rows), N: c.n}
			switch {
			case !ok:
				t.Rows, t.Look = "", look{"sub", "i-none", "not there"}
			case c.what.Error != "":
				t.Rows, t.Look = "", look{"is-unknown", "i-ask", "not read"}
			case node == "primary" && c.what.Equal:
				t.Look = look{"sub", "", "reference"}
			case c.what.Equal:
				t.Look = look{"is-kept", "i-ok", "equal"}
			default:
				t.Look = look{"is-broken", "i-no", "differs"}
				if c.what.Count > 0 {
					t.Look.Word = many(c.what.Count, "row differs", "rows differ")
				}
				unequal++
			}
			r.Cells = append(r.Cells, t)
		}
		v.Tables = append(v.Tables, r)
	}
	bad := 0
	for _, f := range m.findings {
		k := f.what
		r := findingRow{N: f.n, Check: k.Check, Of: k.Of, Rows: shorts(k.Rows, 200), Look: look{"is-kept", "i-ok", "ok"}, Result: fmt.Sprintf("%s checked", count(k.Checked))}
		switch {
		case !k.Asked:
			r.Look = look{"is-unknown", "i-ask", "not read"}
			r.Result = ""
		case k.Bad > 0 || k.Error != "":
			r.Look = look{"is-broken", "i-no", "wrong"}
			if k.Bad > 0 {
				r.Look.Word = count(k.Bad) + " wrong"
			}
			bad++
		}
		r.Result = strings.Trim(strings.Join([]string{r.Result, k.Text, k.Error}, ". "), ". ")
		r.Result = strings.ReplaceAll(r.Result, "..", ".")
		v.Findings = append(v.Findings, r)
	}
	for _, f := range slices.Clone(v.Findings) {
		if f.Look.Word == "ok" {
			v.InOrder = append(v.InOrder, f)
		}
	}
	v.Findings = slices.DeleteFunc(v.Findings, func(f findingRow) bool { return f.Look.Word == "ok" })
	if more := len(v.InOrder) - maxFindings; more > 0 {
		v.Fine = append(v.Fine, fmt.Sprintf("%d more answers that were in order are in the evidence.", more))
		v.InOrder = v.InOrder[:maxFindings]
	}
	if len(v.Findings) > maxFindings {
		v.Fine = append(v.Fine, fmt.Sprintf("%d more answers are in the evidence.", len(v.Findings)-maxFindings))
		v.Findings = v.Findings[:maxFindings]
	}
	opened := 0
	for i := range v.Findings {
		if len(v.Findings[i].Rows) > 0 {
			if opened++; opened > maxOpened {
				v.Findings[i].Rows = nil
			}
		}
	}
	switch {
	case len(names) == 0:
		v.Says = "The service has no database."
	case len(differs) == 0 && unequal == 0:
		v.Says = fmt.Sprintf("Every node has its target schema and the same rows (%s).", strings.Join(names, ", "))
	case len(differs) == 0:
		v.Says = fmt.Sprintf("Every node has its target schema, but rows differ in %s.", many(unequal, "table", "tables of a node"))
	default:
		v.Says = fmt.Sprintf("Not at its target schema, or not known to be: %s.", strings.Join(differs, ", "))
	}
	if len(tables) == 0 && len(names) > 0 {
		v.Says += " Rows were not compared."
	}
	if bad > 0 {
		v.Says += fmt.Sprintf(" %s found something wrong.", many(bad, "question of the audit", "questions of the audit"))
	}
	return v
}

// What a page takes of one kind before it says that there is more.
const (
	maxDiff     = 600 // lines of all schemas
	maxFindings = 200
	maxOpened   = 20 // findings of which rows are shown
	maxTables   = 200
	maxSteps    = 100
	maxShown    = 90_000 // bytes of what all commands wrote
)

// diff colours a unified diff; one of more lines is cut.
func diff(text string, most int) []diffLine {
	var out []diffLine
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if len(out) >= most {
			return append(out, diffLine{"h", "… and more; the rest is in the evidence"})
		}
		class := ""
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "@@"):
			class = "h"
		case strings.HasPrefix(line, "-"):
			class = "m"
		case strings.HasPrefix(line, "+"):
			class = "p"
		}
		out = append(out, diffLine{class, short(line, 200)})
	}
	return out
}

// expectation is what a command should have done: what the plan says of it, and how it ends when it is well.
func (m *Model) expectation(s *step) string {
	well := "exit 0"
	words := ""
	switch {
	case s.part == evidence.PartLock:
		return "nobody else holds it"
	case s.part == evidence.PartStep && s.index <= len(m.Run.Plan.Steps) && s.index > 0:
		if limit := m.Run.Plan.Steps[s.index-1].Timeout; limit > 0 {
			well += " within " + seconds(limit)
		}
		for _, of := range []string{m.Run.Plan.Steps[s.index-1].Of, m.Run.Plan.Steps[s.index-1].Place} {
			if of != "" {
				well += "; " + of
			}
		}
	case s.part == evidence.PartBefore && s.index <= len(m.Run.Plan.Before) && s.index > 0:
		words = m.Run.Plan.Before[s.index-1]
	case s.part == evidence.PartAfter && s.index <= len(m.Run.Plan.After) && s.index > 0:
		words = m.Run.Plan.After[s.index-1]
	}
	if words == "" || words == s.name {
		words = well
	}
	if s.expected != "" && s.expected != words {
		words += "; " + s.expected
	}
	return words
}

// shown is what a command wrote, of room bytes from its beginning and as many from its end; cut counts those between.
func (s *step) shown(room int) (head, tail string, cut int) {
	head, tail, cut = s.output, s.tail, s.cut
	if tail == "" && len(head) > 2*room {
		head, tail = head[:room], head[room:]
	} else if len(head) > room {
		cut += len(head) - room
		head = head[:room]
	}
	if over := len(tail) - room; over > 0 {
		cut += over
		tail = tail[over:]
	}
	return head, tail, cut
}

// actual is what it did.
func (s *step) actual() string {
	if !s.done {
		return "its end was not seen"
	}
	text := map[string]string{evidence.StepSkipped: "it was not run", evidence.StepRefused: "refused", evidence.StepTimeout: "it was stopped when its time was over",
		evidence.StepDied: "its machine died"}[s.outcome]
	if text == "" {
		text = fmt.Sprintf("exit %d", s.exit)
	}
	if s.outcome == evidence.StepUnexpected {
		text += ", but not what was expected"
	}
	if s.err != "" {
		text += ": " + s.err
	}
	return text
}

func (m *Model) planAsRun() (steps []planStep, says string, notRun []evidence.PlanStep) {
	ran, good := 0, 0
	done := map[int]bool{}
	room := min(maxOutput, maxShown/2/max(len(m.steps), 1))
	for i, s := range m.steps {
		if i == maxSteps {
			says = fmt.Sprintf(" %d more commands are in the evidence.", len(m.steps)-i)
			break
		}
		head, tail, cut := s.shown(room)
		p := planStep{Part: s.whose(), isStep: s.judged(), Name: s.name, Command: s.command, Index: s.index, At: offset(s.from), Look: stepLook(s), Exit: s.exit,
			Expected: m.expectation(s), Actual: s.actual(), Output: head, Tail: tail, Lines: s.lines, CutBytes: cut, Took: "no end", Ran: s.done && !slices.Contains([]string{evidence.StepSkipped, evidence.StepDied, evidence.StepRefused}, s.outcome)}
		if s.done {
			p.Took = seconds(s.seconds)
			if s.seconds == 0 {
				p.Took = seconds(s.to - s.from)
			}
		}
		if bad, all := m.failures(s.from, s.to, m.own); all > 0 && s.done {
			p.Meanwhile = fmt.Sprintf("%s of %s failed meanwhile", count(bad), many(all, "journey", "journeys"))
		}
		for _, n := range []int64{s.started, s.ended} {
			if n > 0 && !slices.Contains(p.Evidence, n) {
				p.Evidence = append(p.Evidence, n)
			}
		}
		if s.judged() {
			done[s.index] = true
			if p.Ran {
				ran++
			}
			if s.outcome == evidence.StepOK {
				good++
			}
		}
		steps = append(steps, p)
	}
	for i, s := range m.Run.Plan.Steps {
		if !done[i+1] {
			notRun = append(notRun, s)
		}
	}
	planned := max(len(m.Run.Plan.Steps), ran)
	says = fmt.Sprintf("%d of %s ran; %d ended as the plan expects.", ran, many(planned, "step", "steps"), good) + says
	if ran == 0 {
		says = "No step of the plan ran."
		for _, s := range m.steps {
			if s.outcome == evidence.StepRefused && s.part == evidence.PartBefore {
				says += fmt.Sprintf(" The pre-check “%s” stopped it.", s.name)
			}
		}
	}
	return steps, says, notRun
}

func (m *Model) facts() []group {
	r := m.Run
	sorted := func(values map[string]string) (out [][2]string) {
		for _, k := range slices.Sorted(maps.Keys(values)) {
			out = append(out, [2]string{k, values[k]})
		}
		return out
	}
	beside := "other drills ran beside it: latency is drawn, not judged"
	if r.Alone {
		beside = "nothing ran beside it: latency is judged"
	}
	drill := group{Name: "Drill", Pairs: [][2]string{
		{"Feature", r.Feature}, {"Scenario", r.Name}, {"File", fmt.Sprintf("%s:%d", r.Path, r.Line)}, {"Tags", strings.Join(r.Tags, " ")},
		{"Seed", fmt.Sprint(r.Seed)}, {"Release", strings.TrimSpace(r.Release.Name + ". " + r.Release.KnownBad)},
		{"Plan", strings.TrimSpace(fmt.Sprintf("%s (%s) %s", r.Plan.Name, r.Plan.Path, r.Plan.Risk))},
		{"Traffic", fmt.Sprintf("%s journeys/s by %s; at most %d in flight", plain(r.Traffic.Rate), many(r.Traffic.Users, "user", "users"), r.Traffic.InFlight)},
		{"Beside it", beside},
		{"Windows", fmt.Sprintf("%s: baseline %s, stability %s, patience %s", r.Windows.Name, seconds(r.Windows.Baseline), seconds(r.Windows.Stability), seconds(r.Windows.Patience))},
		{"Probes", fmt.Sprintf("every %s, a beat every %s", milliseconds(r.Windows.Probe*1000), seconds(r.Windows.Beat))},
		{"Promise list", fmt.Sprintf("version %d", m.Verdict.PromiseList)},
	}}
	evidenceOf := [][2]string{{"Events", count(m.Events)}, {"Head of the chain", m.Head}}
	switch {
	case m.Cut != "":
		evidenceOf = append(evidenceOf, [2]string{"End", "the log is cut off: " + m.Cut})
	case m.End != nil:
		evidenceOf = append(evidenceOf, [2]string{"End", strings.TrimSpace(m.End.How + " " + m.End.Why)})
	}
	out := []group{drill, {Name: "Ways back, as the release's authors measured them", Pairs: measured(r.Release.Measured)}, {Name: "Versions", Pairs: sorted(r.Versions)}, {Name: "Machine", Pairs: sorted(r.Machine)},
		{Name: "Evidence", Pairs: evidenceOf, Mono: true}, {Name: "Digests, SHA-256", Pairs: sorted(r.Digests), Mono: true}}
	return slices.DeleteFunc(out, func(g group) bool { return len(g.Pairs) == 0 })
}

// allCited are the events that the page links to.
func (m *Model) allCited(p *page) []int64 {
	var all []int64
	first := func(list []int64) { all = append(all, list[:min(len(list), maxCites)]...) }
	for _, a := range m.Verdict.Assumptions {
		first(a.Evidence)
	}
	for _, p := range m.Verdict.Promises {
		first(p.Evidence)
	}
	for _, r := range m.Verdict.Replicas {
		all = append(all, r.Evidence)
	}
	for _, s := range p.Plan {
		all = append(all, s.Evidence...)
	}
	for _, n := range p.Schema.Nodes {
		all = append(all, n.N)
	}
	for _, d := range p.Schema.Differ {
		all = append(all, d.N)
	}
	for _, f := range slices.Concat(p.Schema.Findings, p.Schema.InOrder) {
		all = append(all, f.N)
	}
	for _, o := range p.Writes.Opened {
		for _, w := range o.Rows {
			all = append(all, w.N)
		}
	}
	for _, c := range p.Checks {
		first(c.Evidence)
	}
	for _, k := range p.TL.Marks {
		all = append(all, k.N)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(n int64) bool { return n <= 0 })
}
