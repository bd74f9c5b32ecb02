package history

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"backout/harness/report"
	"backout/harness/verdict"
)

//go:embed history.css
var css string

//go:embed history.html.tmpl
var pageText string

// look is how a state looks: its colour, its icon and its word. Colour is never the only carrier.
type look struct{ Class, Icon, Word string }

// historyPage is what the template sees.
type historyPage struct {
	Summary
	Title    string
	CSS      template.CSS
	Says     string
	Look     look
	Figures  []figure
	Open     []attention // what to look at, the worst first
	Services []pageService
	Span     string
	Controls []pageControl
	Met      int
	Axis     []axisTick
}

type figure struct{ Name, Of, Big, Small, Note string }

type attention struct {
	Look                look
	Service, Drill, Why string
	Again, ID           string
}

type pageService struct {
	Name, Tier, ID, Says string
	Cells                []cell
}

type pageControl struct {
	Look                 look
	Service, Name, Where string
	Because              string
	Runs                 int
}

type axisTick struct {
	Text  string
	Style template.CSS
}

// cell is one small multiple.
type cell struct {
	Row
	ID    string
	Look  look
	Last  string // how long ago
	Notes []string
	Plot  plot
	Runs  []cellRun
	More  int
}

type cellRun struct {
	When, Restored, Conditions string
	Look                       look
}

// plot is a picture of speeds over the whole page's time: 1000 wide, 100 high, its own scale upwards.
type plot struct {
	Line                  string // those that can be compared are joined
	Kept, Broken, Unknown string // dots
	Target                string // a line; empty: it is above the scale
	Top                   string // what the upper edge is
	Says                  string // the same in words
}

// HTML writes the page: one file, no network, no script.
func HTML(w io.Writer, s Summary) error {
	t, err := report.Page(pageText)
	if err != nil {
		return fmt.Errorf("write the page of the history: %w", err)
	}
	if err := t.Execute(w, s.page()); err != nil {
		return fmt.Errorf("write the page of the history: %w", err)
	}
	return nil
}

func (s Summary) page() historyPage {
	p := historyPage{Summary: s, Title: "Rollback drills over time", CSS: report.Styles() + template.CSS("\n"+css)}
	from, to := s.span()
	p.Span = fmt.Sprintf("%s to %s", day(from), day(to))
	p.Axis = axis(from, to)
	green, all, stale, slower := 0, 0, 0, 0
	var oldest, slowest *Row
	whose := map[*Row]string{}
	for vi := range s.Services {
		v := &s.Services[vi]
		ps := pageService{Name: v.Name, Tier: v.Tier, ID: fmt.Sprintf("s%d", vi)}
		for ri := range v.Drills {
			r := &v.Drills[ri]
			all++
			whose[r] = v.Name + ": " + r.Drill
			c := r.cell(fmt.Sprintf("s%dd%d", vi, ri), s.Now, from, to)
			ps.Cells = append(ps.Cells, c)
			if r.line.Last.Green() {
				green++
			}
			if r.Stale {
				stale++
			}
			if r.Trend.Word == Slower {
				slower++
			}
			if r.LastGreen != nil && (oldest == nil || r.LastGreen.Before(*oldest.LastGreen)) {
				oldest = r
			}
			if r.Restored != nil && r.Target > 0 && (slowest == nil || *r.Restored/r.Target > *slowest.Restored/slowest.Target) {
				slowest = r
			}
			if a, is := r.attention(v.Name, c, s.Now); is {
				p.Open = append(p.Open, a)
			}
		}
		ps.Says = v.says()
		p.Services = append(p.Services, ps)
		for _, r := range v.Controls {
			good := r.line.Met() || r.Kind == Mutant && r.Verdict == verdict.Fail
			if good {
				p.Met++
			}
			l := look{"is-kept", "i-ok", r.Word()}
			if !good {
				l = look{"is-broken", "i-no", r.Word()}
			}
			p.Controls = append(p.Controls, pageControl{l, v.Name, r.Drill, r.Where, r.Because, r.Runs})
		}
	}
	slices.SortStableFunc(p.Open, func(a, b attention) int { return weight(a.Look.Class) - weight(b.Look.Class) })
	p.headline(green, all, stale)
	p.figures(green, all, stale, slower, oldest, slowest, whose)
	return p
}

func weight(class string) int {
	return slices.Index([]string{"is-broken", "is-unknown", "is-changed"}, class)
}

func (p *historyPage) headline(green, all, stale int) {
	switch {
	case all == 0:
		p.Look, p.Says = look{"is-unknown", "i-ask", "Unknown."}, "No drill has run: nothing is known of the rollbacks."
	case all == 1 && green == 1 && stale == 0 && len(p.Damaged) == 0:
		p.Look, p.Says = look{"is-kept", "i-ok", "Green."}, "The only drill was green when it ran last, and recently enough."
	case green == all && stale == 0 && len(p.Damaged) == 0:
		p.Look, p.Says = look{"is-kept", "i-ok", "Green."}, fmt.Sprintf("All %s were green when they ran last, and recently enough.", report.Many(all, "drill", "drills"))
	case all == 1 && green == 0:
		p.Look, p.Says = look{"is-broken", "i-no", "Not green."}, "The only drill was not green when it ran last."
	case green < all:
		p.Look, p.Says = look{"is-broken", "i-no", "Not all green."}, fmt.Sprintf("%d of %d drills %s not green when last run.", all-green, all, one(all-green, "was", "were"))
	case stale > 0:
		p.Look, p.Says = look{"is-changed", "i-late", "Stale."}, fmt.Sprintf("%d of %s %s not been green for longer than the tier allows.", stale, report.Many(all, "drill", "drills"), one(stale, "has", "have"))
	default:
		p.Look, p.Says = look{"is-unknown", "i-ask", "Unknown."}, fmt.Sprintf("%s cannot be read, and may have been red.", report.Many(len(p.Damaged), "object", "objects"))
	}
}

// one chooses the word for one or for more.
func one(n int, is, are string) string {
	if n == 1 {
		return is
	}
	return are
}

func (p *historyPage) figures(green, all, stale, slower int, oldest, slowest *Row, whose map[*Row]string) {
	f := []figure{{Name: "Green", Of: "when last drilled", Big: fmt.Sprint(green), Small: fmt.Sprintf("of %d", all), Note: fmt.Sprintf("%d stale, %d slower than before", stale, slower)}}
	if oldest == nil {
		f = append(f, figure{Name: "Oldest green", Of: "of a drill", Big: "never"})
	} else {
		f = append(f, figure{Name: "Oldest green", Of: "of a drill", Big: fmt.Sprint(days(*oldest.LastGreen, p.Now)), Small: "days", Note: fmt.Sprintf("%s; at most %d", whose[oldest], oldest.MaxAgeDays)})
	}
	if slowest == nil {
		f = append(f, figure{Name: "Slowest", Of: "of its target", Big: "no data"})
	} else {
		f = append(f, figure{Name: "Slowest", Of: "of its target", Big: report.Seconds(*slowest.Restored), Small: "of " + report.Seconds(slowest.Target), Note: whose[slowest]})
	}
	var total Rate
	for _, v := range p.Summary.Services {
		total.Deployments += v.Frequency.Deployments
		total.Rollbacks += v.Frequency.Rollbacks
	}
	if total.Deployments > 0 {
		f = append(f, figure{Name: "Rolled back", Of: "in production", Big: fmt.Sprint(total.Rollbacks), Small: fmt.Sprintf("of %s", report.Count(total.Deployments)),
			Note: report.Percent(float64(total.Rollbacks)/float64(total.Deployments)) + " of the deployments that were recorded"})
	} else {
		f = append(f, figure{Name: "Rolled back", Of: "in production", Big: "unknown", Note: "no deployment was recorded; drills do not count"})
	}
	p.Figures = f
}

func (v *Service) says() string {
	if len(v.Drills) == 0 {
		return "Never drilled. Rollbacks in production: " + v.Frequency.String() + "."
	}
	runs, green := 0, 0
	for _, r := range v.Drills {
		runs, green = runs+r.Runs, green+r.Green
	}
	return fmt.Sprintf("%s, %d of %s green. Rollbacks in production: %s.", report.Many(len(v.Drills), "drill", "drills"), green, report.Many(runs, "run", "runs"), v.Frequency)
}

// lookOf is how a run looks.
func lookOf(r Run) look {
	switch {
	case r.Exit == verdict.ExitBroke:
		return look{"is-broken", "i-alert", "Broke"}
	case r.Verdict == verdict.Pass:
		return look{"is-kept", "i-ok", "Pass"}
	case r.Verdict == verdict.Fail:
		return look{"is-broken", "i-no", "Fail"}
	}
	return look{"is-unknown", "i-ask", "Inconclusive"}
}

// attention says why somebody should look at a drill.
func (r *Row) attention(service string, c cell, now time.Time) (attention, bool) {
	a := attention{Look: c.Look, Service: service, Drill: r.Drill, Again: r.Again, ID: c.ID}
	switch {
	case !r.line.Last.Green():
		a.Why = r.Because
	case r.Stale:
		a.Look = look{"is-changed", "i-late", "Stale"}
		a.Why = fmt.Sprintf("its last green run is %d days old, and its tier allows %d", days(*r.LastGreen, now), r.MaxAgeDays)
	case r.Trend.Word == Slower:
		a.Look = look{"is-changed", "i-late", "Slower"}
		a.Why = fmt.Sprintf("restored after %s; the median of %d comparable runs before was %s", report.Seconds(*r.Restored), r.Trend.Compared, report.Seconds(*r.Trend.Median))
	default:
		return a, false
	}
	return a, true
}

// Since is Ago in a sentence.
func Since(t, now time.Time) string {
	ago := Ago(t, now)
	if ago[0] >= '0' && ago[0] <= '9' {
		ago += " ago"
	}
	return ago
}

// maxListed is how many runs are listed beside a picture.
const maxListed = 12

func (r *Row) cell(id string, now, from, to time.Time) cell {
	c := cell{Row: *r, ID: id, Look: lookOf(r.line.Last), Last: Since(r.LastDrilled, now), Plot: drawn(r.line.Runs, from, to)}
	trend := r.Trend.Word
	if r.Trend.Median != nil {
		trend += fmt.Sprintf(", median before %s", report.Seconds(*r.Trend.Median))
	} else {
		trend += ": " + r.Trend.Why
	}
	c.Notes = []string{"Trend " + trend, r.Completeness(), fmt.Sprintf("%d of %s green", r.Green, report.Many(r.Runs, "run", "runs"))}
	if r.PromisesKept != "" {
		c.Notes[1] += ", " + r.PromisesKept + " promises kept"
	}
	for i := len(r.line.Runs) - 1; i >= 0; i-- {
		if len(c.Runs) == maxListed {
			c.More = i + 1
			break
		}
		one := r.line.Runs[i]
		restored := "never"
		if one.Restored != nil {
			restored = report.Seconds(*one.Restored)
		}
		c.Runs = append(c.Runs, cellRun{one.When.Format("2006-01-02 15:04"), restored, one.Conditions(), lookOf(one)})
	}
	return c
}

// span is the time that all pictures of the page share.
func (s Summary) span() (from, to time.Time) {
	if s.Runs == 0 {
		return s.Now, s.Now
	}
	from, to = s.from, s.Now
	if to.Before(s.to) {
		to = s.to
	}
	if to.Sub(from) < 7*24*time.Hour {
		from = to.Add(-7 * 24 * time.Hour)
	}
	return from, to
}

func place(t, from, to time.Time) float64 { return float64(t.Sub(from)) / float64(to.Sub(from)) }

// axis are the first days of months, or fewer where there are many.
func axis(from, to time.Time) []axisTick {
	months := int(to.Sub(from).Hours()/24/30) + 1
	step := max(1, (months+5)/6)
	var ticks []axisTick
	for t := time.Date(from.Year(), from.Month()+1, 1, 0, 0, 0, 0, time.UTC); t.Before(to); t = t.AddDate(0, step, 0) {
		if x := place(t, from, to); x < 0.94 {
			ticks = append(ticks, axisTick{t.Format("Jan"), template.CSS(fmt.Sprintf("left:%.2f%%", 100*x))})
		}
	}
	return ticks
}

// drawn is the picture of a drill's runs. Marks are rounded to one place in 400 across and 100 upwards, and one that would
// lie on another is left away, so that a page of any number of runs stays small.
func drawn(runs []Run, from, to time.Time) plot {
	most := 0.0
	for _, r := range runs {
		if r.Restored != nil {
			most = max(most, *r.Restored)
		}
	}
	p := plot{}
	if most == 0 {
		most = 1
	}
	scale := nice(most)
	p.Top = report.Seconds(scale)
	target := runs[len(runs)-1].Target
	y := func(v float64) int { return 100 - int(math.Round(88*v/scale)) } // the upper edge is for what never was restored
	if target > 0 && target <= scale {
		p.Target = fmt.Sprintf("M0 %dH1000", y(target))
	}
	x := func(r Run) int { return int(math.Round(400*place(r.When, from, to))) * 5 / 2 }
	seen := map[string]bool{}
	dot := func(into *strings.Builder, at string) {
		if !seen[at] {
			seen[at] = true
			into.WriteString(at)
		}
	}
	var kept, broken, unknown, line strings.Builder
	before, never := "", 0
	for _, r := range runs {
		height := 4
		conditions := ""
		if r.Restored != nil {
			height = y(*r.Restored)
			conditions = r.Conditions()
		} else {
			never++
		}
		at := fmt.Sprintf("M%d %dh0", x(r), height)
		switch {
		case r.Green():
			dot(&kept, at)
		case r.Verdict == verdict.Inconclusive && r.Exit != verdict.ExitBroke:
			dot(&unknown, at)
		default:
			dot(&broken, at)
		}
		if conditions != "" { // a line joins what can be compared, and nothing else
			if conditions == before {
				dot(&line, fmt.Sprintf("L%d %d", x(r), height))
			} else {
				fmt.Fprintf(&line, "M%d %d", x(r), height)
			}
		}
		before = conditions
	}
	p.Kept, p.Broken, p.Unknown, p.Line = kept.String(), broken.String(), unknown.String(), line.String()
	green := 0
	for _, r := range runs {
		if r.Green() {
			green++
		}
	}
	p.Says = fmt.Sprintf("%d runs from %s to %s: %d green, %d never restored, at most %s until restored", len(runs), day(runs[0].When), day(runs[len(runs)-1].When), green, never, report.Seconds(most))
	return p
}

// nice is the next number upwards that is read easily.
func nice(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10} {
		if m*unit >= v {
			return m * unit
		}
	}
	return 10 * unit
}
