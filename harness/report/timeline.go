package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"backout/harness/evidence"
)

// The timeline: geometry is SVG, words are HTML, and both are placed by the time that they are of, so that text never
// scales. x is tenths of a second, y is 0 to 200 from the top.
const plotHeight = 200

type timeline struct {
	Span    float64
	Zoom    [2]float64 // from the decision to restored, and its length
	Column  string     // what one point of a line is
	Style   template.CSS
	Ticks   []tick
	Rules   []tick // of clocks; Class main: decided, returned, restored
	Tints   []seg
	Phases  []seg
	Clocks  []clk
	Key     []clk
	Dims    []seg
	Lanes   int
	Steps   []lane
	Others  []lane // alerts, faults, approvals, messages
	Plots   []plot
	Notes   []string
	Periods []period
}

type tick struct {
	Style       template.CSS
	Text, Class string
}

type seg struct {
	Style             template.CSS
	Text, Class, Icon string
}

type clk struct {
	Style          template.CSS
	No             int
	Name, At       string
	Class          string
	Since, Meaning string
}

type lane struct {
	Name  string
	Class string
	Segs  []seg
	Label seg
}

type plot struct {
	Name, Small, Class string
	Height             int
	Box                string
	Paths              []curve
	Stacks             []seg
	Gaps               []seg
	Labels             []seg
	Ys                 []seg
	Values             [][2]string
}

type curve struct{ Class, D string }

// period is a line of the timeline as a table.
type period struct {
	Name, From, To        string
	Sent                  string
	Failed, P50, P95, Bad string
}

func at(t float64) template.CSS          { return template.CSS("--t:" + num(t)) }
func between(a, b float64) template.CSS  { return template.CSS("--a:" + num(a) + ";--b:" + num(b)) }
func atY(t, y float64) template.CSS      { return template.CSS("--t:" + num(t) + ";--y:" + num(y)) }
func colour(c template.CSS) template.CSS { return ";--c:var(--" + c + ")" }
func num(v float64) string               { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }

// point is a column of a plot: the least and the most of its bins.
type point struct {
	lo, hi float64
	ok     bool
}

// columns says how many bins make a column and how many columns there are: about nine hundred fill the widest page.
func (m *Model) columns() (per, n int) {
	bins := binOf(m.Seconds) + 1
	per = max(1, int(math.Ceil(float64(bins)/900)))
	return per, (bins + per - 1) / per
}

// line draws points with breaks where there are none: what was not observed is never interpolated.
func line(points []point, per int, y func(float64) float64) string {
	var b strings.Builder
	broken := true
	for i, p := range points {
		if !p.ok {
			broken = true
			continue
		}
		x := num((float64(i) + 0.5) * float64(per) * binSeconds * 10)
		op := "L"
		if broken {
			op = "M"
		}
		lo, hi := num(math.Round(y(p.lo))), num(math.Round(y(p.hi)))
		b.WriteString(op + x + " " + hi)
		if lo != hi {
			b.WriteString("V" + lo)
		}
		// A point that stands alone is drawn as one, with a round cap.
		if broken && (i+1 == len(points) || !points[i+1].ok) {
			b.WriteString("h0")
		}
		broken = false
	}
	return b.String()
}

// area fills the most of the points down to the bottom, a run of points at a time.
func area(points []point, per int, y func(float64) float64) string {
	var b strings.Builder
	w := float64(per) * binSeconds * 10
	for i := 0; i < len(points); {
		if !points[i].ok || points[i].hi == 0 {
			i++
			continue
		}
		b.WriteString("M" + num((float64(i)+0.5)*w) + " " + num(y(0)))
		j := i
		for ; j < len(points) && points[j].ok && points[j].hi > 0; j++ {
			b.WriteString("L" + num((float64(j)+0.5)*w) + " " + num(math.Round(y(points[j].hi))))
		}
		b.WriteString("L" + num((float64(j)-0.5)*w) + " " + num(y(0)) + "z")
		i = j
	}
	return b.String()
}

// points merges a series into columns. A reading holds until the next one, as probes write changes and beats, but no
// longer than the patience.
func (m *Model) points(s series, gaps []evidence.Gap) []point {
	per, n := m.columns()
	out := make([]point, n)
	hold := int(m.patience() / binSeconds)
	last := -1
	for i := 0; i < n*per; i++ {
		var e extreme
		if i < len(s.bins) && s.bins[i].has {
			e, last = s.bins[i], i
		} else if last >= 0 && i-last <= hold && later(s, i, hold) {
			v := s.bins[last].max
			e = extreme{v, v, true}
		}
		t := float64(i) * binSeconds
		for _, g := range gaps {
			if t >= float64(g.From) && t+binSeconds <= float64(g.To) {
				e.has = false
			}
		}
		if !e.has {
			continue
		}
		p := &out[i/per]
		if !p.ok {
			*p = point{float64(e.min), float64(e.max), true}
		} else {
			p.lo, p.hi = min(p.lo, float64(e.min)), max(p.hi, float64(e.max))
		}
	}
	return out
}

// later says whether another reading follows soon enough, so that a line does not go on after its last reading.
func later(s series, i, hold int) bool {
	for j := i; j < len(s.bins) && j <= i+hold; j++ {
		if s.bins[j].has {
			return true
		}
	}
	return false
}

// holes are the stretches without data between the first point and the last.
func holes(points []point, per int) []seg {
	first, last := -1, -1
	for i, p := range points {
		if p.ok {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	var out []seg
	w := float64(per) * binSeconds
	for i := first; i >= 0 && i < last; i++ {
		if points[i].ok {
			continue
		}
		j := i
		for j < last && !points[j].ok {
			j++
		}
		out = append(out, seg{Style: between(float64(i)*w, float64(j)*w), Class: "hatch none", Text: "not observed"})
		i = j
	}
	return out
}

// rates are the shares of journeys that failed or could not be sent. which: the journeys to count.
func (m *Model) rates(which func(int) bool) []point {
	per, n := m.columns()
	out := make([]point, n)
	for i, b := range m.bins {
		bad, all := 0, 0
		for j, c := range b.journeys {
			if which(j) {
				bad += c.failed + c.unsent
				all += c.ok + c.failed + c.unsent
			}
		}
		if all == 0 || i/per >= n {
			continue
		}
		share := float64(bad) / float64(all)
		if p := &out[i/per]; !p.ok {
			*p = point{share, share, true}
		} else {
			p.lo, p.hi = min(p.lo, share), max(p.hi, share)
		}
	}
	return out
}

// own says whether a journey is of the drilled service.
func (m *Model) own(i int) bool {
	return i < len(m.Run.Service.Journeys) || !strings.Contains(m.journeys[i], ": ")
}

// worst is the journey of which the largest share failed; -1 when none did.
func (m *Model) worst() int {
	best, worst := 0.0, -1
	for i := range m.journeys {
		bad, all := 0, 0
		for _, b := range m.bins {
			if i < len(b.journeys) {
				c := b.journeys[i]
				bad += c.failed + c.unsent
				all += c.ok + c.failed + c.unsent
			}
		}
		if all > 0 && float64(bad)/float64(all) > best {
			best, worst = float64(bad)/float64(all), i
		}
	}
	return worst
}

// latency is a quantile of each column, in ms.
func (m *Model) latency(q float64) []point {
	per, n := m.columns()
	out := make([]point, n)
	var all []float32
	for i := 0; i < n; i++ {
		all = all[:0]
		for _, b := range m.bins[min(i*per, len(m.bins)):min((i+1)*per, len(m.bins))] {
			all = append(all, b.ms...)
		}
		if len(all) > 0 {
			v := quantile(all, q)
			out[i] = point{v, v, true}
		}
	}
	return out
}

func quantile(all []float32, q float64) float64 {
	slices.Sort(all)
	return float64(all[min(int(q*float64(len(all))), len(all)-1)])
}

func most(points []point) (v float64) {
	for _, p := range points {
		if p.ok {
			v = max(v, p.hi)
		}
	}
	return v
}

func least(points []point) float64 {
	v := math.Inf(1)
	for _, p := range points {
		if p.ok {
			v = min(v, p.lo)
		}
	}
	return v
}

func (m *Model) timeline() timeline {
	per, _ := m.columns()
	tl := timeline{Span: math.Max(math.Ceil(m.Seconds), 1)}
	tl.Zoom = [2]float64{0, tl.Span}
	if decided, ok := m.clock(evidence.ClockDecided); ok {
		end, ok := m.clock(evidence.ClockRestored)
		if !ok {
			if end, ok = m.clock(evidence.ClockWatchEnded); !ok {
				end = tl.Span
			}
		}
		from := max(0, decided-3)
		tl.Zoom = [2]float64{from, max(end+3-from, 5)}
	}
	tl.Style = template.CSS(fmt.Sprintf("--dur:%s;--d0:0;--ds:%s;--z0:%s;--zs:%s", num(tl.Span), num(tl.Span), num(tl.Zoom[0]), num(tl.Zoom[1])))
	tl.Column = "half a second"
	if per > 1 {
		tl.Column = seconds(float64(per) * binSeconds)
	}
	m.axis(&tl)
	m.clocks(&tl)
	m.lanes(&tl)
	for _, f := range []func() []plot{m.plotErrors, m.plotLatency, m.plotServed, m.plotLag, m.plotLocks, m.plotUse} {
		tl.Plots = append(tl.Plots, f()...)
	}
	for i := range tl.Plots {
		tl.Plots[i].Box = fmt.Sprintf("0 0 %s %d", num(tl.Span*10), plotHeight)
	}
	tl.Periods = m.periods()
	return tl
}

func (m *Model) axis(tl *timeline) {
	step := 10.0
	for _, s := range []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600} {
		if tl.Span/s <= 15 {
			step = s
			break
		}
	}
	for i, t := 0, 0.0; t <= tl.Span; i, t = i+1, t+step {
		k := tick{Style: at(t), Text: strings.TrimSuffix(offset(t), ".0")}
		if i%4 == 0 {
			k.Class = "t30"
		}
		if i == 0 {
			k.Class += " t0"
		} else if t > tl.Span*0.97 {
			k.Class += " tend"
		}
		tl.Ticks = append(tl.Ticks, k)
	}
	for _, p := range m.phases {
		class := ""
		if (p.to - p.from) < tl.Span/18 {
			class = "tiny"
		}
		tl.Phases = append(tl.Phases, seg{Style: between(p.from, p.to), Text: p.name, Class: class})
	}
}

// The clocks in the order of the design, and what each is.
var clockOrder = []struct{ name, meaning string }{
	{evidence.ClockDeployBegun, "the command that deploys the release begins"},
	{evidence.ClockDeployed, "that command ends"},
	{evidence.ClockFirstBad, "the first sample that counts as harm"},
	{evidence.ClockDetected, "the first alert, or the harm is shown"},
	{evidence.ClockDecided, "the order to roll back, before approvals"},
	{evidence.ClockApproved, "the order is approved"},
	{evidence.ClockStarted, "the first step of the plan begins"},
	{evidence.ClockCommandReturned, "the last step of the plan ends"},
	{evidence.ClockLastBadResponse, "users got the last answer from another release than the target"},
	{evidence.ClockUsersRestored, "from here users are served as before"},
	{evidence.ClockRestored, "from here everything is as before, on every replica"},
	{evidence.ClockWatchEnded, "watching ends"},
	{evidence.ClockHerdBegun, "clients come back who had given up"},
	{evidence.ClockHerdEnded, "the last of their journeys has ended"},
	{evidence.ClockDataVerified, "the audit of the data ends"},
	{evidence.ClockAllClear, "nothing residual is open"},
}

func (m *Model) clocks(tl *timeline) {
	decided, hasDecided := m.clock(evidence.ClockDecided)
	type timed struct {
		clk
		t    float64
		main bool
	}
	var seen []timed
	for _, c := range clockOrder {
		t, ok := m.clock(c.name)
		if _, listed := m.Verdict.Clocks[c.name]; !ok {
			if listed {
				tl.Key = append(tl.Key, clk{Name: clockName(c.name), At: "never", Meaning: c.meaning, Class: "never"})
			}
			continue
		}
		k := timed{clk{Name: clockName(c.name), At: offset(t), Meaning: c.meaning}, t, false}
		if hasDecided && t >= decided {
			k.Since = "+" + seconds(t-decided)
		}
		switch c.name {
		case evidence.ClockDecided, evidence.ClockCommandReturned, evidence.ClockRestored:
			k.main = true
		}
		seen = append(seen, k)
	}
	slices.SortStableFunc(seen, func(a, b timed) int { return int(math.Copysign(1, a.t-b.t)) * boolInt(a.t != b.t) })
	var ends []float64
	never := tl.Key
	tl.Key = nil
	for i, k := range seen {
		// A label is as wide as its letters, at about 6 of the 1000 pixels of the plot.
		width := (float64(len(k.Name)+len(k.At))*6 + 34) / 1000 * tl.Span
		from, end := k.t, k.t > tl.Span*0.86
		if end {
			from = k.t - width
		}
		l := 0
		for l < len(ends) && ends[l] > from {
			l++
		}
		if l == len(ends) {
			ends = append(ends, 0)
		}
		ends[l] = from + width
		k.No = i + 1
		k.Style = at(k.t) + template.CSS(fmt.Sprintf(";--lane:%d", l))
		rule := tick{Style: at(k.t)}
		if k.main {
			k.Class, rule.Class = "main", "main"
		}
		if end {
			k.Class += " end"
		}
		tl.Rules = append(tl.Rules, rule)
		tl.Clocks = append(tl.Clocks, k.clk)
		tl.Key = append(tl.Key, k.clk)
	}
	tl.Key = append(tl.Key, never...)
	tl.Lanes = max(len(ends), 1)
	returned, hasReturned := m.clock(evidence.ClockCommandReturned)
	restored, hasRestored := m.clock(evidence.ClockRestored)
	if hasDecided && hasReturned {
		tl.Dims = append(tl.Dims, seg{Style: between(decided, returned), Text: seconds(returned - decided)})
	}
	if hasReturned && hasRestored && restored > returned {
		tl.Dims = append(tl.Dims, seg{Style: between(returned, restored), Text: seconds(restored - returned)})
		tl.Tints = append(tl.Tints, seg{Style: between(returned, restored)})
	} else if end, ok := m.clock(evidence.ClockWatchEnded); hasReturned && !hasRestored && ok && end > returned {
		tl.Tints = append(tl.Tints, seg{Style: between(returned, end)})
	}
	if hasReturned && (returned-decided)/tl.Span < 0.05 {
		for i := range tl.Dims {
			tl.Dims[i].Class = "z" // too narrow for its words unless zoomed
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *Model) lanes(tl *timeline) {
	const most = 24
	side := func(s *seg, t float64) {
		if t > tl.Span*0.6 {
			s.Class += " end"
		}
	}
	for i, s := range m.steps {
		if len(tl.Steps) == most {
			tl.Notes = append(tl.Notes, fmt.Sprintf("%d more commands are listed under Plan as run.", len(m.steps)-i))
			break
		}
		class, icon := outcomeLook(s)
		c := template.CSS("kept")
		switch class {
		case "is-broken":
			c = "broken"
		case "is-unknown":
			c = "unknown-2"
		}
		l := lane{Segs: []seg{{Style: between(s.from, s.to) + colour(c)}}}
		if i == 0 {
			l.Name = "Commands"
		}
		l.Label = seg{Text: short(s.whose()+" "+strconv.Itoa(s.index)+": "+s.name, 64), Class: class, Icon: icon}
		mark := s.to
		if s.to > tl.Span*0.6 {
			mark = s.from
		}
		l.Label.Style = at(mark)
		side(&l.Label, s.to)
		tl.Steps = append(tl.Steps, l)
	}
	for i, a := range m.alerts {
		if i == most {
			tl.Notes = append(tl.Notes, fmt.Sprintf("%d more alerts were raised.", len(m.alerts)-i))
			break
		}
		class := "al shut"
		if a.open {
			class = "al"
		}
		l := lane{Segs: []seg{{Style: between(a.from, a.to) + colour("broken-2"), Class: class}}}
		if i == 0 {
			l.Name = "Alerts"
		}
		text := a.name
		if a.open {
			text += ", still open"
		}
		l.Label = seg{Text: text, Style: at(a.to), Class: "is-broken", Icon: "i-alert"}
		if a.to > tl.Span*0.6 {
			l.Label.Style, l.Label.Class = at(a.from), "is-broken end"
		}
		tl.Others = append(tl.Others, l)
	}
	for i, f := range m.faults {
		if f.open {
			f.to = m.Seconds
		}
		l := lane{Segs: []seg{{Style: between(f.from, f.to) + colour("broken-2"), Class: "al shut"}}}
		if i == 0 {
			l.Name = "Faults"
		}
		l.Label = seg{Text: short(f.text, 64), Style: at(f.to), Icon: "i-alert"}
		if f.to > tl.Span*0.6 {
			l.Label.Style, l.Label.Class = at(f.from), "end"
		}
		tl.Others = append(tl.Others, l)
	}
	last := ""
	for i, e := range m.events {
		if i == most {
			tl.Notes = append(tl.Notes, fmt.Sprintf("%d more approvals, messages and faults are in the evidence.", len(m.events)-i))
			break
		}
		l := lane{Label: seg{Style: at(e.t), Text: short(e.text, 64), Icon: "i-msg"}}
		side(&l.Label, e.t)
		if e.name != last {
			l.Name = map[string]string{"fault": "Faults", "approval": "Approvals", "message": "Messages"}[e.name]
			last = e.name
		}
		tl.Others = append(tl.Others, l)
	}
}

// scale maps 0..top to the height of the plot.
func scale(top float64) func(float64) float64 {
	return func(v float64) float64 { return plotHeight - 4 - (plotHeight-12)*min(v/top, 1) }
}

// upY is where a value stands in per cent from the bottom, for words beside a line.
func upY(y float64) float64 { return 100 - y*100/plotHeight }

func round(top float64, steps ...float64) float64 {
	for _, s := range steps {
		if top <= s {
			return s
		}
	}
	return top
}

func (m *Model) plotErrors() []plot {
	if len(m.bins) == 0 {
		return nil
	}
	per, _ := m.columns()
	all := m.rates(m.own)
	p := plot{Name: "Error rate", Small: "by scheduled time", Height: 120}
	shown, name := all, "all journeys"
	if w := m.worst(); w >= 0 {
		shown, name = m.rates(func(i int) bool { return i == w }), m.journeys[w]
	}
	top := round(max(most(shown), most(all)), 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
	y := scale(top)
	p.Paths = append(p.Paths, curve{"grid", fmt.Sprintf("M0 %s%s", num(y(0)), m.across())}, curve{"grid", fmt.Sprintf("M0 %s%s", num(y(top/2)), m.across())},
		curve{"harm", area(shown, per, y)})
	if name != "all journeys" {
		p.Paths = append(p.Paths, curve{"thin", line(all, per, y)})
		p.Values = append(p.Values, [2]string{name, percent(most(shown))})
	}
	p.Paths = append(p.Paths, curve{"", line(shown, per, y)})
	p.Values = append(p.Values, [2]string{"all", percent(most(all))})
	for i, v := range []float64{0, top / 2, top} {
		p.Ys = append(p.Ys, seg{Style: template.CSS("--y:" + num(upY(y(v)))), Text: percent(v), Class: []string{"", "q", "hi"}[i]})
	}
	if most(shown) > 0 {
		p.Labels = append(p.Labels, m.peak(shown, per, y, name))
	} else {
		p.Labels = append(p.Labels, seg{Style: atY(1, 16), Text: "no journey failed"})
	}
	p.Gaps = holes(all, per)
	return []plot{p}
}

// across is a horizontal line over the whole plot, from where the path is.
func (m *Model) across() string { return "h" + num(math.Max(math.Ceil(m.Seconds), 1)*10) }

// peak puts a name beside the highest point of a line.
func (m *Model) peak(points []point, per int, y func(float64) float64, name string) seg {
	at := 0
	for i, p := range points {
		if p.ok && p.hi > points[at].hi {
			at = i
		}
	}
	t := (float64(at) + 0.5) * float64(per) * binSeconds
	s := seg{Style: atY(t, min(upY(y(points[at].hi)), 92)), Text: name, Class: "strong"}
	if t > m.Seconds*0.7 {
		s.Class += " end"
	}
	return s
}

func (m *Model) plotLatency() []plot {
	p50, p95 := m.latency(0.5), m.latency(0.95)
	if most(p95) == 0 {
		return nil
	}
	per, _ := m.columns()
	p := plot{Name: "Latency", Small: "log scale", Height: 104}
	lo := math.Floor(math.Log10(max(least(p50), 0.1)))
	hi := max(math.Ceil(math.Log10(max(most(p95), 0.1))), lo+1)
	y := func(v float64) float64 {
		return plotHeight - 4 - (plotHeight-12)*min(max((math.Log10(max(v, 1e-3))-lo)/(hi-lo), 0), 1)
	}
	from, okFrom := m.clock(evidence.ClockBaselineBegun)
	to, okTo := m.clock(evidence.ClockBaselineEnded)
	if okFrom && okTo {
		w := float64(per) * binSeconds
		in := p95[min(int(math.Ceil(from/w)), len(p95)):min(int(to/w), len(p95))]
		if a, b := least(in), most(in); b > 0 {
			p.Paths = append(p.Paths, curve{"band", fmt.Sprintf("M0 %s%sV%sH0z", num(y(b)), m.across(), num(y(a)))})
			p.Labels = append(p.Labels, seg{Style: atY(0.5, min(upY(y(b))+9, 94)), Text: "p95 of the baseline", Class: "opt is-kept"})
		}
	}
	for e := lo; e <= hi; e++ {
		v := math.Pow(10, e)
		p.Paths = append(p.Paths, curve{"grid", fmt.Sprintf("M0 %s%s", num(y(v)), m.across())})
		class := map[bool]string{true: "hi", false: "q"}[e == hi]
		if e == lo {
			class = ""
		}
		p.Ys = append(p.Ys, seg{Style: template.CSS("--y:" + num(upY(y(v)))), Text: strings.Replace(milliseconds(v), ".0", "", 1), Class: class})
	}
	p.Paths = append(p.Paths, curve{"thin", line(p50, per, y)}, curve{"", line(p95, per, y)})
	p.Labels = append(p.Labels, m.peak(p95, per, y, "p95"))
	p.Values = [][2]string{{"p95", milliseconds(most(p95))}, {"p50", milliseconds(most(p50))}}
	p.Gaps = holes(p95, per)
	return []plot{p}
}

func (m *Model) plotServed() []plot {
	per, n := m.columns()
	sums := make([][]int, n)
	any := false
	for i, b := range m.bins {
		if i/per >= n {
			break
		}
		for r, c := range b.served {
			s := &sums[i/per]
			for len(*s) <= r {
				*s = append(*s, 0)
			}
			(*s)[r] += c
			any = any || c > 0
		}
	}
	if !any {
		return nil
	}
	p := plot{Name: "Release served", Small: "share of answers", Height: 56}
	// From the bottom: the target, the bad release, any other, and answers that name none.
	order := []int{}
	for r := range m.releases {
		if m.releases[r] != "" {
			order = append(order, r)
		}
	}
	for r := range m.releases {
		if m.releases[r] == "" {
			order = append(order, r)
		}
	}
	below := make([]float64, n)
	w := float64(per) * binSeconds
	for _, r := range order {
		name, class := m.releases[r], "stack other hatch"
		switch {
		case name == m.Run.Good:
			class = "stack v1"
		case name == m.Run.Release.Name:
			class = "stack v2 hatch"
		case name == "":
			class, name = "stack nobody hatch", "no release named"
		}
		var up, down []string
		largest, place, some := 0.0, 0, false
		shares := make([]float64, n)
		for i := range n {
			total, own := 0, 0
			for k, c := range sums[i] {
				total += c
				if k == r {
					own = c
				}
			}
			if total > 0 {
				shares[i] = float64(own) / float64(total)
				some = some || own > 0
			}
			if shares[i] > largest {
				largest, place = shares[i], i
			}
		}
		if !some {
			continue
		}
		for i := range n {
			x, x2 := num(float64(i)*w/math.Ceil(m.Seconds)*100), num(min(float64(i+1)*w/math.Ceil(m.Seconds)*100, 100))
			top, bottom := num(100-(below[i]+shares[i])*100), num(100-below[i]*100)
			// Equal neighbours are one stretch.
			if i > 0 && i+1 < n && shares[i] == shares[i-1] && below[i] == below[i-1] && shares[i] == shares[i+1] && below[i] == below[i+1] {
				continue
			}
			up = append(up, x+"% "+top+"%", x2+"% "+top+"%")
			down = append(down, x+"% "+bottom+"%", x2+"% "+bottom+"%")
		}
		slices.Reverse(down)
		p.Stacks = append(p.Stacks, seg{Class: class, Style: template.CSS("clip-path:polygon(" + strings.Join(append(up, down...), ",") + ")")})
		if largest > 0.15 {
			t := float64(place) * w
			s := seg{Style: atY(t, (below[place]+largest/2)*100), Text: name}
			if strings.Contains(class, "hatch") {
				s.Class = "onbad"
			}
			if t > m.Seconds*0.75 {
				s.Class += " end"
			}
			p.Labels = append(p.Labels, s)
		}
		for i := range n {
			below[i] += shares[i]
		}
		p.Values = append(p.Values, [2]string{short(name, 9), percent(largest)})
	}
	// The bad release says more than the target, which is all of them at some time.
	p.Values = slices.DeleteFunc(p.Values, func(v [2]string) bool { return v[0] == short(m.Run.Good, 9) })
	p.Values = p.Values[:min(len(p.Values), 3)]
	pts := make([]point, n)
	for i := range pts {
		for _, c := range sums[i] {
			pts[i].ok = pts[i].ok || c > 0
		}
	}
	p.Gaps = holes(pts, per)
	return []plot{p}
}

func (m *Model) gapsOf(name string) (out []evidence.Gap) {
	for _, g := range m.gaps {
		if g.Of == name || strings.HasSuffix(g.Of, " "+name) {
			out = append(out, g)
		}
	}
	return out
}

// sparks draws one small line for each replica.
func (m *Model) sparks(title, small string, tracks []*track, of func(*track) series, top float64, value func(float64) string, limit float64) []plot {
	per, _ := m.columns()
	var out []plot
	for _, k := range tracks {
		points := m.points(of(k), m.gapsOf(k.name))
		if k.kind == "primary" && strings.HasPrefix(title, "Lag") {
			continue
		}
		own := top
		if own == 0 {
			own = most(points)
		}
		if own == 0 {
			own = 1
		}
		y := scale(own)
		p := plot{Small: k.name, Class: "spark", Height: 24, Gaps: holes(points, per)}
		if len(out) == 0 {
			p.Name, p.Class = title, "spark head"
			if small != "" {
				p.Name += ", " + small
			}
		}
		p.Paths = append(p.Paths, curve{"grid", fmt.Sprintf("M0 %s%s", num(y(0)), m.across())})
		if limit > 0 && limit <= own {
			p.Paths = append(p.Paths, curve{"thr", fmt.Sprintf("M0 %s%s", num(y(limit)), m.across())})
		}
		p.Paths = append(p.Paths, curve{"", line(points, per, y)})
		v := "no data"
		if lo := least(points); !math.IsInf(lo, 1) {
			v = value(most(points))
		}
		p.Values = [][2]string{{"", v}}
		out = append(out, p)
	}
	return out
}

func (m *Model) plotLag() []plot {
	top := 0.0
	for _, k := range m.nodes {
		top = max(top, most(m.points(k.lag, nil)))
	}
	return m.sparks("Lag", "limit 1 s", m.nodes, func(k *track) series { return k.lag }, round(max(top, 1.1), 1.1, 2, 5, 10, 30, 60), seconds, 1)
}

func (m *Model) plotUse() []plot {
	all := append(slices.Clone(m.instances), m.nodes...)
	if m.Run.Replicas > 0 { // of pods nobody measures it
		all = slices.DeleteFunc(all, func(k *track) bool { return most(m.points(k.cpu, nil)) == 0 })
	}
	top := 0.0
	for _, k := range all {
		top = max(top, most(m.points(k.cpu, nil)))
	}
	cpu := m.sparks("CPU", "cores", all, func(k *track) series { return k.cpu }, top, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }, 0)
	return append(cpu, m.sparks("Memory", "own scales", all, func(k *track) series { return k.memory }, 0, bytesOf, 0)...)
}

// plotLocks draws how many backends wait, all nodes together.
func (m *Model) plotLocks() []plot {
	per, n := m.columns()
	worst := lock{}
	waiting := map[string]int{}
	points := make([]point, n)
	at := 0
	set := func(until float64) {
		total := 0
		for _, w := range waiting {
			total += w
		}
		for ; at < n && float64(at*per)*binSeconds < until; at++ {
			points[at] = point{float64(total), max(points[at].hi, float64(total)), true}
		}
	}
	for _, l := range m.locks {
		set(l.t)
		waiting[l.node] = l.waiting
		if c := binOf(l.t) / per; c < n {
			points[c].hi = max(points[c].hi, float64(l.waiting))
		}
		if l.longest > worst.longest || worst.waiting == 0 {
			worst = l
		}
	}
	if most(points) == 0 {
		return nil
	}
	set(m.Seconds)
	y := scale(most(points))
	p := plot{Name: "Lock waits", Small: "backends", Height: 48, Values: [][2]string{{"most", count(int(most(points)))}, {"longest", seconds(worst.longest)}}}
	p.Paths = []curve{{"grid", fmt.Sprintf("M0 %s%s", num(y(0)), m.across())}, {"harm", area(points, per, y)}, {"", line(points, per, y)}}
	if worst.text != "" {
		s := seg{Style: atY(worst.t+m.Seconds*0.03, 70), Text: short(worst.node+": "+worst.text, 72), Class: "opt"}
		if worst.t > m.Seconds*0.5 {
			s.Class += " end"
		}
		p.Labels = append(p.Labels, s)
	}
	return []plot{p}
}

// periods is the timeline as a table: for each phase and each step, how users fared meanwhile.
func (m *Model) periods() []period {
	var out []period
	add := func(name string, from, to float64) {
		p := period{Name: name, From: offset(from), To: offset(to)}
		bad, all, served, byBad := 0, 0, 0, 0
		var ms []float32
		for i := binOf(from); i <= binOf(to) && i < len(m.bins); i++ {
			b := m.bins[i]
			for j, c := range b.journeys {
				if m.own(j) {
					bad += c.failed + c.unsent
					all += c.ok + c.failed + c.unsent
				}
			}
			for r, c := range b.served {
				served += c
				if m.releases[r] == m.Run.Release.Name && m.releases[r] != m.Run.Good {
					byBad += c
				}
			}
			ms = append(ms, b.ms...)
		}
		p.Sent, p.Failed, p.P50, p.P95, p.Bad = "0", "no data", "no data", "no data", "no data"
		if all > 0 {
			p.Sent = count(all)
			p.Failed = fmt.Sprintf("%s, %s", count(bad), percent(float64(bad)/float64(all)))
		}
		if len(ms) > 0 {
			p.P50, p.P95 = milliseconds(quantile(ms, 0.5)), milliseconds(quantile(ms, 0.95))
		}
		if served > 0 {
			p.Bad = percent(float64(byBad) / float64(served))
		}
		out = append(out, p)
	}
	for _, p := range m.phases {
		add(p.name, p.from, p.to)
	}
	for _, s := range m.steps {
		if s.judged() {
			add(fmt.Sprintf("step %d: %s", s.index, s.name), s.from, s.to)
		}
	}
	return out
}
