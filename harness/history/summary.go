package history

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"backout/harness/report"
	"backout/harness/verdict"
)

// Options say of what a summary is.
type Options struct {
	Service string // this one alone; empty: all
	Now     time.Time
}

// Summary is what a history says, as it is printed and drawn.
type Summary struct {
	Place     string    `json:"history"`
	Now       time.Time `json:"now"`
	Generated bool      `json:"generated,omitempty"` // some of it was invented
	Runs      int       `json:"runs"`
	Services  []Service `json:"services"`
	Damaged   []Trouble `json:"damaged,omitempty"` // what could not be read, and counts as nothing
	Index     string    `json:"index,omitempty"`   // why the index was of no use

	from, to time.Time // of all runs
}

// Trouble is an object that could not be read.
type Trouble struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Service is one service over time.
type Service struct {
	Name      string `json:"name"`
	Tier      string `json:"tier,omitempty"`
	Frequency Rate   `json:"rollbacks_per_deployment"` // share is absent where no deployment was recorded: unknown
	Drills    []Row  `json:"drills"`
	Controls  []Row  `json:"controls,omitempty"` // and refusals and mutants: none of them is a rollback of the service that failed
}

// Row is one drill in one environment.
type Row struct {
	Drill        string     `json:"drill"`
	Where        string     `json:"where"`
	Kind         string     `json:"kind"`
	Plan         string     `json:"plan"`
	Environment  string     `json:"environment"`
	Conditions   string     `json:"conditions,omitempty"`
	LastDrilled  time.Time  `json:"last_drilled"`
	Verdict      string     `json:"verdict"`
	Because      string     `json:"because,omitempty"`
	Expected     *bool      `json:"expected,omitempty"`
	Exit         int        `json:"exit"`
	Restored     *float64   `json:"restored_seconds,omitempty"`
	Users        *float64   `json:"users_seconds,omitempty"`
	Silence      *float64   `json:"silence_seconds,omitempty"`
	Target       float64    `json:"target_seconds,omitempty"`
	Complete     bool       `json:"complete"`
	Shares       Shares     `json:"shares"`
	Trend        Trend      `json:"trend"`
	Runs         int        `json:"runs"`
	Green        int        `json:"green"`
	LastGreen    *time.Time `json:"last_green,omitempty"` // absent: never
	MaxAgeDays   int        `json:"max_age_days"`         // by the tier
	Stale        bool       `json:"stale"`                // its last green drill is older, or there is none
	Again        string     `json:"again,omitempty"`
	PromisesKept string     `json:"promises_kept,omitempty"`
	Generated    bool       `json:"generated,omitempty"`

	line DrillLine
}

// Summarize says what a history holds.
func Summarize(l *Log, o Options) Summary {
	s := Summary{Place: l.Place, Now: o.Now.UTC(), Index: l.Index}
	var runs []Run
	for _, r := range l.Runs {
		if o.Service == "" || r.Service == o.Service {
			runs = append(runs, r)
			s.Generated = s.Generated || r.Generated
		}
	}
	s.Runs = len(runs)
	if len(runs) > 0 {
		s.from, s.to = runs[0].When, runs[len(runs)-1].When
	}
	for _, d := range l.Damaged {
		if o.Service == "" || d.service == o.Service || d.service == "" {
			s.Damaged = append(s.Damaged, Trouble{d.Name, d.Why})
		}
	}
	service := func(name string) *Service {
		i := slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == name })
		if i < 0 {
			i = len(s.Services)
			s.Services = append(s.Services, Service{Name: name, Frequency: Frequency(l.Records, name, time.Time{}, o.Now)})
		}
		return &s.Services[i]
	}
	for _, line := range Drills(runs) {
		v := service(line.Service)
		v.Tier = cmp.Or(line.Tier, v.Tier)
		if row := rowOf(line, o.Now); line.Kind == Drill {
			v.Drills = append(v.Drills, row)
		} else {
			v.Controls = append(v.Controls, row)
		}
	}
	for _, r := range l.Records { // a service that is deployed and was never drilled is one too
		if o.Service == "" || r.Service == o.Service {
			service(r.Service)
			s.Generated = s.Generated || r.Generated
		}
	}
	slices.SortStableFunc(s.Services, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func rowOf(l DrillLine, now time.Time) Row {
	r := l.Last
	row := Row{Drill: l.Name, Where: r.Where(), Kind: l.Kind, Plan: r.Plan.Path, Environment: l.Environment, Conditions: r.Conditions(),
		LastDrilled: r.When, Verdict: r.Verdict, Because: r.Because, Expected: r.Expected, Exit: r.Exit, Restored: r.Restored, Users: r.Users,
		Silence: r.Silence, Target: r.Target, Complete: r.Complete, Shares: r.Shares, Trend: l.Trend, Runs: len(l.Runs), Green: l.Green,
		Again: r.Again, Generated: r.Generated, MaxAgeDays: int(MaxAge(l.Tier).Hours() / 24), line: l}
	if kept := r.Promises[verdict.Kept]; len(r.Promises) > 0 {
		row.PromisesKept = fmt.Sprintf("%d of %d", kept, kept+r.Promises[verdict.Broken]+r.Promises[verdict.Unjudged])
	}
	row.Stale = l.LastGreen == nil
	if g := l.LastGreen; g != nil {
		row.LastGreen = &g.When
		row.Stale = now.Sub(g.When) > MaxAge(l.Tier)
	}
	return row
}

// Word is the newest verdict in a word or two.
func (r Row) Word() string {
	switch {
	case r.Exit == verdict.ExitBroke:
		return "broke"
	case r.Kind == Drill:
		return r.Verdict
	case r.Kind == Mutant && r.Verdict == verdict.Fail:
		return "killed"
	case r.Exit == verdict.ExitPass:
		return r.Verdict + ", as it must"
	case r.Exit == verdict.ExitFail:
		return r.Verdict + ", as it must not"
	}
	return r.Verdict
}

// Speed is how fast service was restored, against the target.
func (r Row) Speed() string {
	switch {
	case r.Kind == Refusal:
		return "" // nothing was to be restored
	case r.Restored == nil:
		return "never"
	case r.Target == 0:
		return report.Seconds(*r.Restored)
	}
	return report.Seconds(*r.Restored) + " of " + report.Seconds(r.Target)
}

// Completeness says whether everything came back, with the shares that are not whole.
func (r Row) Completeness() string {
	if r.Complete {
		return "complete"
	}
	var parts []string
	for _, s := range r.Shares.list() {
		if s.of != nil && s.of[0] < s.of[1] {
			parts = append(parts, fmt.Sprintf("%s %s of %s", s.name, report.Count(int(s.of[0])), report.Count(int(s.of[1]))))
		}
	}
	return strings.TrimSuffix("not complete: "+strings.Join(parts, ", "), ": ")
}

type namedShare struct {
	name string
	of   *[2]int64
}

func (s Shares) list() []namedShare {
	return []namedShare{{"writes", s.Writes}, {"rows", s.Rows}, {"replicas", s.Replicas}, {"effects closed", s.Residual}}
}

// GreenAge is how long ago it was green.
func (r Row) GreenAge(now time.Time) string {
	if r.LastGreen == nil {
		return "never"
	}
	return Ago(*r.LastGreen, now)
}

// Ago is a length of time before now as people say it.
func Ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < -skew:
		return "still to come"
	case d < time.Hour:
		return "just now"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	}
}

// Kind is one way to write a summary.
type Kind struct {
	Name  string
	Write func(w io.Writer, s Summary) error
}

// Formats are all of them. An addition is a line here.
func Formats() []Kind {
	return []Kind{{"table", Table}, {"json", JSON}, {"csv", CSV}, {"html", HTML}, {"badge", Badge}, {"shields", Shields}}
}

// JSON writes all of it.
func JSON(w io.Writer, s Summary) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// columns of the table and of CSV are told by one list each: a name, and what stands in it.
func (s Summary) each(do func(v Service, r Row)) {
	for _, v := range s.Services {
		for _, r := range append(slices.Clone(v.Drills), v.Controls...) {
			do(v, r)
		}
	}
}

// Table writes it for a terminal, and for grep: with no spaces but plain ones.
func Table(to io.Writer, s Summary) error {
	w := &strings.Builder{}
	if s.Generated {
		fmt.Fprintln(w, "GENERATED: runs in this history were invented, and no drill took place.")
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, v := range s.Services {
		fmt.Fprintf(t, "%s  %s  rollbacks: %s\n", v.Name, v.Tier, v.Frequency)
		if len(v.Drills) == 0 {
			fmt.Fprintln(t, "  never drilled")
		} else {
			fmt.Fprintln(t, "  DRILL\tIN\tLAST\tVERDICT\tRESTORED\tCOMPLETE\tTREND\tGREEN\tLAST GREEN")
		}
		for _, r := range v.Drills {
			stale := ""
			if r.Stale {
				stale = fmt.Sprintf(", stale: at most %d d", r.MaxAgeDays)
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\t%s\n", Plain(r.Drill), Plain(r.Environment), Ago(r.LastDrilled, s.Now), r.Word(), r.Speed(),
				r.Completeness(), r.Trend.Word, r.Green, r.Runs, r.GreenAge(s.Now)+stale)
		}
		if n := len(v.Controls); n > 0 {
			met := 0
			for _, r := range v.Controls {
				if r.line.Met() || r.Kind == Mutant && r.Verdict == verdict.Fail {
					met++
				}
			}
			fmt.Fprintf(t, "  controls, refusals and mutants: %d of %d as they must be\n", met, n)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if s.Runs == 0 {
		fmt.Fprintf(w, "No run in %s.\n", s.Place)
	}
	_, err := io.WriteString(to, strings.ReplaceAll(w.String(), "\u00a0", " "))
	return err
}

// Plain is text without what a terminal would obey.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// CSV writes a line a drill.
func CSV(w io.Writer, s Summary) error {
	c := csv.NewWriter(w)
	head := []string{"service", "tier", "kind", "drill", "where", "environment", "last_drilled", "verdict", "exit", "restored_seconds", "target_seconds", "complete",
		"trend", "green", "runs", "last_green", "max_age_days", "stale", "deployments", "rollbacks", "rollbacks_per_deployment", "generated"}
	if err := c.Write(head); err != nil {
		return err
	}
	s.each(func(v Service, r Row) {
		green := ""
		if r.LastGreen != nil {
			green = r.LastGreen.Format(time.RFC3339)
		}
		deployments, rollbacks := "", ""
		if v.Frequency.Share != nil {
			deployments, rollbacks = strconv.Itoa(v.Frequency.Deployments), strconv.Itoa(v.Frequency.Rollbacks)
		}
		line := []string{v.Name, v.Tier, r.Kind, r.Drill, r.Where, r.Environment, r.LastDrilled.Format(time.RFC3339), r.Verdict, strconv.Itoa(r.Exit), known(r.Restored),
			strconv.FormatFloat(r.Target, 'f', -1, 64), strconv.FormatBool(r.Complete), r.Trend.Word, strconv.Itoa(r.Green), strconv.Itoa(r.Runs), green,
			strconv.Itoa(r.MaxAgeDays), strconv.FormatBool(r.Stale), deployments, rollbacks, known(v.Frequency.Share), strconv.FormatBool(r.Generated)}
		for i := range line {
			line[i] = noFormula(line[i])
		}
		_ = c.Write(line) // Error tells below
	})
	c.Flush()
	return c.Error()
}

func known(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// noFormula keeps a spreadsheet from running what a name says.
func noFormula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// badgeOf is what a badge says, and its colour: the least good drill decides.
func (s Summary) badgeOf() (label, message, colour string) {
	label = "rollback drills"
	if len(s.Services) == 1 {
		label = s.Services[0].Name + " rollback drills"
	}
	green, stale, all := 0, 0, 0
	var oldest *time.Time
	for _, v := range s.Services {
		for _, r := range v.Drills {
			all++
			if r.line.Last.Green() {
				green++
			}
			if r.Stale {
				stale++
			}
			if r.LastGreen != nil && (oldest == nil || r.LastGreen.Before(*oldest)) {
				oldest = r.LastGreen
			}
		}
	}
	switch {
	case s.Generated:
		return label, "generated data", unknownColour
	case all == 0:
		return label, "never drilled", unknownColour
	case len(s.Damaged) > 0:
		return label, fmt.Sprintf("%d of %d green, %d unreadable", green, all, len(s.Damaged)), unknownColour
	case green < all:
		return label, fmt.Sprintf("%d of %d green", green, all), brokenColour
	case stale > 0:
		return label, fmt.Sprintf("%d of %d stale", stale, all), changedColour
	}
	return label, fmt.Sprintf("%d of %d green, oldest %s", green, all, Ago(*oldest, s.Now)), keptColour
}

// Colours of the badge, those of the report's light page.
const (
	keptColour    = "#1a67a3"
	brokenColour  = "#b93a0a"
	changedColour = "#845600"
	unknownColour = "#65529b"
)

// Shields writes the JSON of https://shields.io/badges/endpoint-badge.
func Shields(w io.Writer, s Summary) error {
	label, message, colour := s.badgeOf()
	return json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 1, "label": label, "message": message, "color": colour})
}
