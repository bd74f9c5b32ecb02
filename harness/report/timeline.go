package report

import (
	"cmp"
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
	Worst   string // the journey of which the largest share failed
	Marks   []moment
	Data    chart
}

// chart is what the page's script reads out at a moment: for each series the number of each column, or none.
type chart struct {
	Step   float64             `json:"step"` // seconds
	Start  float64             `json:"start"`
	End    float64             `json:"end"`
	Phases []phaseStart        `json:"phases"`
	Series map[string]readings `json:"series"`
}

type phaseStart struct {
	T    float64 `json:"t"`
	Name string  `json:"name"`
}

// readings are written with three digits; one that is no number is a gap, and null.
type readings []float32

func (n readings) MarshalJSON() ([]byte, error) {
	out := make([]byte, 1, 4*len(n)+2)
	out[0] = '['
	for i, v := range n {
		if i > 0 {
			out = append(out, ',')
		}
		if v != v {
			out = append(out, "null"...)
			continue
		}
		digits := 0
		for a := math.Abs(float64(v)); a > 0 && a < 100 && digits < 3; a *= 10 {
			digits++
		}
		at := len(out)
		out = strconv.AppendFloat(out, float64(v), 'f', digits, 32)
		if digits > 0 {
			for out[len(out)-1] == '0' && len(out)-1 > at {
				out = out[:len(out)-1]
			}
			if out[len(out)-1] == '.' {
				out = out[:len(out)-1]
			}
		}
	}
	return append(out, ']'), nil
}

// moment is a line of the marks as a table.
type moment struct {
	At, Kind, Text string
	N              int64
	t              float64
}

type tick struct {
	Style       template.CSS
	Text, Class string
}

type seg struct {
	Style             template.CSS
	Text, Class, Icon string
	Label, Late       string // of a mark: the words beside it, and on which side its tip opens
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
	Marks []seg // of what happened at one moment each
	Value string
	Tip   string // what the value is
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
	Values             []value
}

// value stands on the right of a plot: the worst of a line, and where the script finds it at a moment.
type value struct {
	Name, Text string
	ID, Unit   string
	Of         string // in full, for the words at the pointer
}

type curve struct{ Class, D string }

// period is a line of the timeline as a table.
type period struct {
	Name, From, Took, Status    string
	Sent, Failed, Rate, Worst   string
	P50, P95, Bad, Waiting, Lag string
}

func at(t float64) template.CSS         { return template.CSS("--t:" + num(t)) }
func between(a, b float64) template.CSS { return template.CSS("--a:" + num(a) + ";--b:" + num(b)) }
func atY(t, y float64) template.CSS     { return template.CSS("--t:" + num(t) + ";--y:" + num(y)) }

// atLeft is the left edge of what is drawn, be it the whole drill or a part.
func atLeft(y float64) template.CSS { return template.CSS("--t:var(--t0);--y:" + num(y)) }

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

// area fills what is between a line and a level, a run of points at a time. of gives the value of a point; where it says
// that there is nothing, nothing is filled.
func area(points []point, per int, y func(float64) float64, level float64, of func(point) (float64, bool)) string {
	var b strings.Builder
	w := float64(per) * binSeconds * 10
	for i := 0; i < len(points); {
		if _, some := of(points[i]); !some || !points[i].ok {
			i++
			continue
		}
		b.WriteString("M" + num((float64(i)+0.5)*w) + " " + num(math.Round(y(level))))
		j := i
		for ; j < len(points) && points[j].ok; j++ {
			v, some := of(points[j])
			if !some {
				break
			}
			b.WriteString("L" + num((float64(j)+0.5)*w) + " " + num(math.Round(y(v))))
		}
		b.WriteString("L" + num((float64(j)-0.5)*w) + " " + num(math.Round(y(level))) + "z")
		i = j
	}
	return b.String()
}

// above is the most of a point that is more than nothing.
func above(p point) (float64, bool) { return p.hi, p.hi > 0 }

// series gives the points to the page's script. of: which end of a column is the worse one.
func (tl *timeline) series(id string, points []point, of func(point) float64) {
	n := make(readings, len(points))
	for i, p := range points {
		n[i] = float32(math.NaN())
		if p.ok {
			n[i] = float32(of(p))
		}
	}
	tl.Data.Series[id] = n
}

func highest(p point) float64 { return p.hi }

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

const maxHoles = 60 // of a row that are drawn one by one

// holes are the stretches without data between the first point and the last, and the gaps that the log states, also those
// that are shorter than a column. Where there are very many, those that are nearest to each other are drawn as one.
func holes(points []point, per int, gaps []evidence.Gap) []seg {
	first, last := -1, -1
	for i, p := range points {
		if p.ok {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	var all [][2]float64
	w := float64(per) * binSeconds
	for i := first; i >= 0 && i < last; i++ {
		if points[i].ok {
			continue
		}
		j := i
		for j < last && !points[j].ok {
			j++
		}
		all = append(all, [2]float64{float64(i) * w, float64(j) * w})
		i = j
	}
	for _, g := range gaps {
		if g.To > g.From {
			all = append(all, [2]float64{float64(g.From), float64(g.To)})
		}
	}
	slices.SortFunc(all, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
	for near := 0.0; ; near = 2*near + w {
		var merged [][2]float64
		for _, h := range all {
			if n := len(merged); n > 0 && h[0] <= merged[n-1][1]+near {
				merged[n-1][1] = max(merged[n-1][1], h[1])
				continue
			}
			merged = append(merged, h)
		}
		if all = merged; len(all) <= maxHoles {
			break
		}
	}
	var out []seg
	for _, h := range all {
		out = append(out, seg{Style: between(h[0], h[1]), Class: "hatch none", Text: "not observed"})
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
		// Room on both sides for the words of the clocks.
		room := max(3, (end-decided)*0.2)
		from := max(0, decided-room)
		tl.Zoom = [2]float64{from, max(end+room-from, 5)}
	}
	tl.Style = template.CSS(fmt.Sprintf("--dur:%s;--d0:0;--ds:%s;--z0:%s;--zs:%s", num(tl.Span), num(tl.Span), num(tl.Zoom[0]), num(tl.Zoom[1])))
	tl.Column = "half a second"
	if per > 1 {
		tl.Column = seconds(float64(per) * binSeconds)
	}
	tl.Data = chart{Step: float64(per) * binSeconds, Start: tl.Zoom[0], End: tl.Span, Series: map[string]readings{}}
	if t, ok := m.clock(evidence.ClockDecided); ok {
		tl.Data.Start = t
	}
	if w := m.worst(); w >= 0 {
		tl.Worst = m.journeys[w]
	}
	m.axis(&tl)
	m.clocks(&tl)
	m.lanes(&tl)
	for _, f := range []func(*timeline) []plot{m.plotSuccess, m.plotLatency, m.plotServed, m.plotLag, m.plotLocks, m.plotUse} {
		tl.Plots = append(tl.Plots, f(&tl)...)
	}
	for i := range tl.Plots {
		tl.Plots[i].Box = fmt.Sprintf("0 0 %s %d", num(tl.Span*10), plotHeight)
	}
	tl.Periods = m.periods()
	tl.Marks = m.moments()
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
		tl.Phases = append(tl.Phases, seg{Style: between(p.from, p.to), Text: p.name})
		tl.Data.Phases = append(tl.Data.Phases, phaseStart{p.from, p.name})
	}
}

// Widths of words, in pixels: a letter of the pictures' type, and the plot of the timeline on a wide page and on one that
// leaves the times of the clocks out.
const (
	letter     = 6.3
	plotWide   = 790
	plotNarrow = 540
)

// stack puts labels on lanes so that none lies on another. from and to of each are shares of the width, in their order.
func stack(labels [][2]float64) (lanes []int, n int) {
	var ends []float64
	for _, l := range labels {
		at := 0
		for at < len(ends) && ends[at] > l[0] {
			at++
		}
		if at == len(ends) {
			ends = append(ends, 0)
		}
		ends[at] = l[1]
		lanes = append(lanes, at)
	}
	return lanes, len(ends)
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
				tl.Key = append(tl.Key, clk{Name: clockName(c.name), At: absent(m.Verdict), Meaning: c.meaning, Class: "never"})
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
	missing := tl.Key
	tl.Key = nil
	labels := make([][2]float64, len(seen))
	flipped := make([]bool, len(seen))
	for i, k := range seen {
		width := max((float64(len(k.Name)+len(k.At)+1)*letter+32)/plotWide, (float64(len(k.Name))*letter+28)/plotNarrow)
		x := k.t / tl.Span
		labels[i] = [2]float64{x, x + width}
		if flipped[i] = x+width > 1; flipped[i] {
			labels[i] = [2]float64{x - width, x + 0.004}
		}
	}
	lanes, n := stack(labels)
	tl.Lanes = max(n, 1)
	for i, k := range seen {
		k.No = i + 1
		k.Style = at(k.t) + template.CSS(fmt.Sprintf(";--lane:%d", lanes[i]))
		rule := tick{Style: at(k.t)}
		if k.main {
			k.Class, rule.Class = "main", "main"
		}
		if flipped[i] {
			k.Class += " end"
		}
		tl.Rules = append(tl.Rules, rule)
		tl.Clocks = append(tl.Clocks, k.clk)
		tl.Key = append(tl.Key, k.clk)
	}
	tl.Key = append(tl.Key, missing...)
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
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// beside puts words on the side of a bar where there is more room.
func (tl *timeline) beside(label seg, from, to float64) seg {
	label.Style = at(to)
	if from > tl.Span-to {
		label.Style = at(from)
		label.Class += " end"
	}
	return label
}

const maxLanes = 24 // of commands, of alerts and of faults

func (m *Model) lanes(tl *timeline) {
	for i, s := range m.steps {
		if len(tl.Steps) == maxLanes {
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
		l.Label = tl.beside(seg{Text: short(s.whose()+" "+strconv.Itoa(s.index)+": "+s.name, 64), Class: class, Icon: icon}, s.from, s.to)
		if bad, all := m.failures(s.from, s.to, m.own); all > 0 && s.part == evidence.PartStep {
			l.Value, l.Tip = percent(float64(bad)/float64(all)), fmt.Sprintf("%s of %s failed meanwhile", count(bad), many(all, "journey", "journeys"))
		}
		tl.Steps = append(tl.Steps, l)
	}
	for i, a := range m.alerts {
		if i == maxLanes {
			tl.Notes = append(tl.Notes, fmt.Sprintf("%d more alerts were raised.", len(m.alerts)-i))
			break
		}
		class := "al shut"
		if a.open {
			class = "al"
		}
		l := lane{Segs: []seg{{Style: between(a.from, a.to) + colour("broken-2"), Class: class, Text: short(a.text, 160)}}}
		if i == 0 {
			l.Name = "Alerts"
		}
		text := a.name
		if a.open {
			text += ", still open"
		}
		l.Label = tl.beside(seg{Text: text, Class: "is-broken", Icon: "i-alert"}, a.from, a.to)
		tl.Others = append(tl.Others, l)
	}
	for i, f := range m.faults {
		if i == maxLanes {
			tl.Notes = append(tl.Notes, fmt.Sprintf("%d more faults were in force.", len(m.faults)-i))
			break
		}
		if f.open {
			f.to = m.Seconds
		}
		l := lane{Segs: []seg{{Style: between(f.from, f.to) + colour("broken-2"), Class: "al shut", Text: short(f.text, 160)}}}
		if i == 0 {
			l.Name = "Faults"
		}
		l.Label = tl.beside(seg{Text: short(f.text, 64), Icon: "i-alert"}, f.from, f.to)
		tl.Others = append(tl.Others, l)
	}
	for _, k := range []struct{ kind, name, icon string }{{"fault", "Sabotage", "i-alert"}, {"approval", "Approvals", "i-approve"}, {"message", "Messages", "i-msg"}} {
		if l := m.marked(tl, k.kind, k.icon); len(l.Marks) > 0 {
			l.Name = k.name
			tl.Others = append(tl.Others, l)
		}
	}
}

const maxMarks = 40 // of a kind that are drawn

// marked is a lane of what happened at moments. Each says what it is when it is pointed at or focused; beside it stand its
// first words where there is room.
func (m *Model) marked(tl *timeline, kind, icon string) lane {
	var l lane
	var all []mark
	for _, e := range m.events {
		if e.name == kind {
			all = append(all, e)
		}
	}
	if len(all) > maxMarks {
		tl.Notes = append(tl.Notes, fmt.Sprintf("%d more of %s stand in the table.", len(all)-maxMarks, kind))
		all = all[:maxMarks]
	}
	for i, e := range all {
		s := seg{Style: at(e.t), Icon: icon, Text: offset(e.t) + " " + short(e.text, 160)}
		room := tl.Span - e.t
		if i+1 < len(all) {
			room = all[i+1].t - e.t
		}
		words := short(e.text, 32)
		width := float64(len([]rune(words)))*letter + 24
		switch {
		case room/tl.Span*plotWide >= width:
			s.Label = words
		case room/tl.Zoom[1]*plotWide >= width && i+1 < len(all):
			s.Label, s.Class = words, "z"
		}
		if e.t > tl.Span*0.7 {
			s.Late = "late" // its tip opens to the left
			if i == len(all)-1 && s.Label == "" && (i == 0 || (e.t-all[i-1].t)/tl.Span*plotWide >= 2*width) {
				s.Label, s.Class = words, "end m"
			}
		}
		l.Marks = append(l.Marks, s)
	}
	return l
}

// moments are the clocks, alerts, faults, approvals and messages as a table.
func (m *Model) moments() []moment {
	var all []moment
	add := func(kind string, t float64, n int64, text string) {
		all = append(all, moment{offset(t), kind, text, n, t})
	}
	for _, c := range clockOrder {
		if t, ok := m.clock(c.name); ok {
			var n int64
			for _, k := range m.marks {
				if k.name == c.name {
					n = k.n
				}
			}
			add("clock", t, n, clockName(c.name)+": "+c.meaning)
		}
	}
	for _, a := range m.alerts {
		text := a.text
		if a.open {
			text += "; still open at the end"
		} else {
			text += "; cleared at " + offset(a.to)
		}
		add("alert", a.from, a.n, text)
	}
	for _, f := range m.faults {
		text := f.text
		if !f.open {
			text += ", until " + offset(f.to)
		}
		add("fault", f.from, f.n, text)
	}
	for _, e := range m.events {
		add(map[string]string{"fault": "sabotage"}[e.name]+map[string]string{"approval": "approval", "message": "message"}[e.name], e.t, e.n, e.text)
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.t, b.t) })
	if len(all) > maxMoments {
		all = append(all[:maxMoments:maxMoments], moment{Text: fmt.Sprintf("%d more are in the evidence", len(all)-maxMoments)})
	}
	return all
}

const maxMoments = 150 // that the table lists

// failures counts the journeys of a stretch that failed or could not be sent.
func (m *Model) failures(from, to float64, which func(int) bool) (bad, all int) {
	for i := binOf(from); i <= binOf(to) && i < len(m.bins); i++ {
		for j, c := range m.bins[i].journeys {
			if which(j) {
				bad += c.failed + c.unsent
				all += c.ok + c.failed + c.unsent
			}
		}
	}
	return bad, all
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

func (m *Model) plotSuccess(tl *timeline) []plot {
	if len(m.bins) == 0 {
		return nil
	}
	per, _ := m.columns()
	succeeded := func(which func(int) bool) []point {
		points := m.rates(which)
		for i, p := range points {
			points[i].lo, points[i].hi = 1-p.hi, 1-p.lo
		}
		return points
	}
	all := succeeded(m.own)
	p := plot{Name: "Success rate", Small: "by scheduled time", Height: 128, Gaps: holes(all, per, nil)}
	shown, name := all, "all journeys"
	if w := m.worst(); w >= 0 {
		shown, name = succeeded(func(i int) bool { return i == w }), m.journeys[w]
	}
	// The scale always reaches down to the threshold.
	low := 1 - round(1-min(least(shown), least(all)), 0.2, 0.5, 1)
	y := func(v float64) float64 { return scale(1 - low)(v - low) }
	base := 1.0
	if from, to, ok := m.steady(); ok {
		if bad, n := m.failures(from, to, m.own); n > 0 {
			base = 1 - float64(bad)/float64(n)
			in := cutOut(all, from, to, float64(per)*binSeconds)
			p.Paths = append(p.Paths, curve{"band", fmt.Sprintf("M0 %s%sV%sH0z", num(math.Floor(y(max(most(in), base)))-2), m.across(), num(math.Ceil(y(min(least(in), base)))+2))})
			p.Paths = append(p.Paths, curve{"thr", fmt.Sprintf("M0 %s%s", num(math.Round(y(base*0.9))), m.across())})
			p.Labels = append(p.Labels, seg{Style: atLeft(upY(y(base*0.9)) - 7), Text: "10" + nbsp + "% below the baseline", Class: "opt is-broken"})
		}
	}
	p.Paths = append(p.Paths, curve{"grid", fmt.Sprintf("M0 %s%s", num(y(low)), m.across())},
		curve{"harm", area(shown, per, y, base, func(p point) (float64, bool) { return p.lo, p.lo < base })})
	if name != "all journeys" {
		p.Paths = append(p.Paths, curve{"thin", line(all, per, y)})
		p.Values = append(p.Values, value{name, percent(least(shown)), "worst", "%", name})
		tl.series("worst", shown, func(p point) float64 { return p.lo * 100 })
	}
	p.Paths = append(p.Paths, curve{"", line(shown, per, y)})
	p.Values = append(p.Values, value{"all", percent(least(all)), "all", "%", "all journeys"})
	tl.series("all", all, func(p point) float64 { return p.lo * 100 })
	for i, v := range []float64{low, (1 + low) / 2, 1} {
		p.Ys = append(p.Ys, seg{Style: template.CSS("--y:" + num(upY(y(v)))), Text: percent(v), Class: []string{"", "q", "hi"}[i]})
	}
	if least(shown) < 1 {
		p.Labels = append(p.Labels, m.extreme(shown, per, y, name, func(p point) float64 { return -p.lo }))
	} else {
		p.Labels = append(p.Labels, seg{Style: atLeft(60), Text: "no journey failed", Class: "strong"})
	}
	return []plot{p}
}

// steady is the baseline's stretch.
func (m *Model) steady() (from, to float64, ok bool) {
	from, okFrom := m.clock(evidence.ClockBaselineBegun)
	to, okTo := m.clock(evidence.ClockBaselineEnded)
	return from, to, okFrom && okTo
}

// cutOut are the columns that lie in a stretch as a whole.
func cutOut(points []point, from, to, width float64) []point {
	a := min(int(math.Ceil(from/width)), len(points))
	return points[a:max(a, min(int(to/width), len(points)))]
}

// across is a horizontal line over the whole plot, from where the path is.
func (m *Model) across() string { return "h" + num(math.Max(math.Ceil(m.Seconds), 1)*10) }

// extreme puts a name beside the point of a line that of says is the most.
func (m *Model) extreme(points []point, per int, y func(float64) float64, name string, of func(point) float64) seg {
	at := -1
	for i, p := range points {
		if p.ok && (at < 0 || of(p) > of(points[at])) {
			at = i
		}
	}
	if at < 0 {
		return seg{}
	}
	t := (float64(at) + 0.5) * float64(per) * binSeconds
	s := seg{Style: atY(t, min(max(upY(y(math.Abs(of(points[at])))), 8), 90)), Text: name, Class: "strong"}
	if t > m.Seconds*0.7 {
		s.Class += " end"
	}
	return s
}

func (m *Model) plotLatency(tl *timeline) []plot {
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
	if from, to, ok := m.steady(); ok {
		in := cutOut(p95, from, to, float64(per)*binSeconds)
		if a, b := least(in), most(in); b > 0 {
			p.Paths = append(p.Paths, curve{"band", fmt.Sprintf("M0 %s%sV%sH0z", num(y(b)), m.across(), num(y(a)))})
			p.Labels = append(p.Labels, seg{Style: atLeft(max(upY(y(a))-9, 6)), Text: "p95 of the baseline", Class: "opt is-kept"})
			var values []float32
			for _, c := range in {
				if c.ok {
					values = append(values, float32(c.hi))
				}
			}
			limit := quantile(values, 0.5) * 1.1
			p.Paths = append(p.Paths, curve{"thr", fmt.Sprintf("M0 %s%s", num(math.Round(y(limit))), m.across())})
			p.Labels = append(p.Labels, seg{Style: atLeft(min(upY(y(max(b, limit)))+9, 92)), Text: "10" + nbsp + "% over its median, " + milliseconds(limit), Class: "opt is-broken"})
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
	p.Labels = append(p.Labels, m.extreme(p95, per, y, "p95", highest))
	p.Values = []value{{"p95", milliseconds(most(p95)), "p95", "ms", "p95"}, {"p50", milliseconds(most(p50)), "p50", "ms", "p50"}}
	tl.series("p95", p95, highest)
	tl.series("p50", p50, highest)
	p.Gaps = holes(p95, per, nil)
	return []plot{p}
}

const maxReleases = 6 // that are drawn each by itself

func (m *Model) plotServed(tl *timeline) []plot {
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
	// Of very many releases the rest is drawn as one.
	rest := -1
	if len(order) > maxReleases {
		rest = order[maxReleases-1]
		for i := range sums {
			for _, r := range order[maxReleases:] {
				if r < len(sums[i]) {
					for len(sums[i]) <= rest {
						sums[i] = append(sums[i], 0)
					}
					sums[i][rest] += sums[i][r]
					sums[i][r] = 0
				}
			}
		}
		order = order[:maxReleases]
	}
	below := make([]float64, n)
	w := float64(per) * binSeconds
	for _, r := range order {
		name, class := m.releases[r], "stack other hatch"
		switch {
		case r == rest:
			name = "other releases"
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
		// The bad release says more than the target, which is all of them at some time.
		if name != m.Run.Good && len(p.Values) < 3 {
			id := fmt.Sprintf("r%d", r)
			p.Values = append(p.Values, value{name, percent(largest), id, "%", name})
			own := make([]point, n)
			for i := range own {
				own[i] = point{shares[i] * 100, shares[i] * 100, answered(sums[i])}
			}
			tl.series(id, own, highest)
		}
	}
	pts := make([]point, n)
	for i := range pts {
		pts[i].ok = answered(sums[i])
	}
	p.Gaps = holes(pts, per, nil)
	return []plot{p}
}

func answered(sums []int) bool {
	return slices.ContainsFunc(sums, func(n int) bool { return n > 0 })
}

func (m *Model) gapsOf(name string) (out []evidence.Gap) {
	for _, g := range m.gaps {
		if g.what.Of == name || strings.HasSuffix(g.what.Of, " "+name) {
			out = append(out, g.what)
		}
	}
	return out
}

const maxSparks = 12 // replicas of which a line is drawn

// sparks draws one small line for each replica. shown writes a value; the script gets it divided by per, in unit.
func (m *Model) sparks(tl *timeline, title, small string, tracks []*track, of func(*track) series, top float64, shown func(float64) string, limit, scaled float64, unit string) []plot {
	per, _ := m.columns()
	var out []plot
	if len(tracks) > maxSparks {
		tl.Notes = append(tl.Notes, fmt.Sprintf("%s is drawn of %d of %d; the rest is in the evidence.", title, maxSparks, len(tracks)))
		tracks = tracks[:maxSparks]
	}
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
		p := plot{Small: k.name, Class: "spark", Height: 24, Gaps: holes(points, per, m.gapsOf(k.name))}
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
			v = shown(most(points))
		}
		id := strings.ToLower(title[:1]) + strconv.Itoa(len(out))
		p.Values = []value{{"", v, id, unit, k.name + ", " + title}}
		tl.series(id, points, func(p point) float64 { return p.hi / scaled })
		out = append(out, p)
	}
	return out
}

func (m *Model) plotLag(tl *timeline) []plot {
	top := 0.0
	for _, k := range m.nodes {
		top = max(top, most(m.points(k.lag, nil)))
	}
	return m.sparks(tl, "Lag", "limit 1 s", m.nodes, func(k *track) series { return k.lag }, round(max(top, 1.1), 1.1, 2, 5, 10, 30, 60), seconds, 1, 1, "s")
}

func (m *Model) plotUse(tl *timeline) []plot {
	all := append(slices.Clone(m.instances), m.nodes...)
	if m.Run.Replicas > 0 { // of pods nobody measures it
		all = slices.DeleteFunc(all, func(k *track) bool { return most(m.points(k.cpu, nil)) == 0 })
	}
	top := 0.0
	for _, k := range all {
		top = max(top, most(m.points(k.cpu, nil)))
	}
	cpu := m.sparks(tl, "CPU", "cores", all, func(k *track) series { return k.cpu }, top, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }, 0, 1, "cores")
	return append(cpu, m.sparks(tl, "Memory", "own scales", all, func(k *track) series { return k.memory }, 0, bytesOf, 0, 1<<20, "MB")...)
}

// plotLocks draws how many backends wait, all nodes together.
func (m *Model) plotLocks(tl *timeline) []plot {
	per, _ := m.columns()
	points, worst := m.lockWaits()
	if most(points) == 0 {
		return nil
	}
	y := scale(most(points))
	p := plot{Name: "Lock waits", Small: "backends", Height: 48,
		Values: []value{{"most", count(int(most(points))), "locks", "", "backends that wait"}, {Name: "longest", Text: seconds(worst.longest)}}}
	tl.series("locks", points, highest)
	p.Paths = []curve{{"grid", fmt.Sprintf("M0 %s%s", num(y(0)), m.across())}, {"harm", area(points, per, y, 0, above)}, {"", line(points, per, y)}}
	if worst.text != "" {
		s := seg{Style: atY(worst.t+m.Seconds*0.03, 70), Text: short(worst.node+": "+worst.text, 72), Class: "opt"}
		if worst.t > m.Seconds*0.5 {
			s.Style = atY(worst.t-m.Seconds*0.01, 70)
			s.Class += " end"
		}
		p.Labels = append(p.Labels, s)
	}
	return []plot{p}
}

// lockWaits are how many backends wait, and the longest wait.
func (m *Model) lockWaits() (all []point, longest lock) {
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
	if len(m.locks) > 0 {
		set(m.Seconds)
	}
	return points, worst
}

// periods is the timeline as a table: for each phase and each command, how users fared meanwhile.
func (m *Model) periods() []period {
	var out []period
	worst := m.worst()
	per, _ := m.columns()
	waits, _ := m.lockWaits()
	var lags [][]point
	for _, k := range m.nodes {
		lags = append(lags, m.points(k.lag, m.gapsOf(k.name)))
	}
	add := func(name, status string, from, to float64) {
		p := period{Name: name, Status: status, From: offset(from), Took: seconds(to - from)}
		served, byBad := 0, 0
		var ms []float32
		for i := binOf(from); i <= binOf(to) && i < len(m.bins); i++ {
			b := m.bins[i]
			for r, c := range b.served {
				served += c
				if m.releases[r] == m.Run.Release.Name && m.releases[r] != m.Run.Good {
					byBad += c
				}
			}
			ms = append(ms, b.ms...)
		}
		p.Sent, p.Failed, p.Rate, p.Worst, p.P50, p.P95, p.Bad, p.Waiting, p.Lag = "0", "0", "no data", "no data", "no data", "no data", "no data", "no data", "no data"
		if bad, all := m.failures(from, to, m.own); all > 0 {
			p.Sent, p.Failed, p.Rate = count(all), count(bad), percent(float64(bad)/float64(all))
		}
		if bad, all := m.failures(from, to, func(i int) bool { return i == worst }); all > 0 {
			p.Worst = fmt.Sprintf("%s of %s", count(bad), count(all))
		}
		if len(ms) > 0 {
			p.P50, p.P95 = milliseconds(quantile(ms, 0.5)), milliseconds(quantile(ms, 0.95))
		}
		if served > 0 {
			p.Bad = percent(float64(byBad) / float64(served))
		}
		within := func(points []point) (float64, bool) {
			a := min(int(from/(float64(per)*binSeconds)), len(points))
			in := points[a:min(int(to/(float64(per)*binSeconds))+1, len(points))]
			return most(in), slices.ContainsFunc(in, func(p point) bool { return p.ok })
		}
		if v, ok := within(waits); ok {
			p.Waiting = count(int(v))
		} else if len(m.locks) == 0 && len(m.nodes) > 0 {
			p.Waiting = "0" // probes write a wait when there is one
		}
		lag, seen := 0.0, false
		for _, points := range lags {
			if v, ok := within(points); ok {
				lag, seen = max(lag, v), true
			}
		}
		if seen {
			p.Lag = seconds(lag)
		}
		out = append(out, p)
	}
	for _, p := range m.phases {
		add(p.name, "", p.from, p.to)
	}
	for i, s := range m.steps {
		if i == maxSteps {
			break
		}
		add(fmt.Sprintf("%s %d: %s", s.whose(), s.index, s.name), stepLook(s).Word, s.from, s.to)
	}
	return out
}
