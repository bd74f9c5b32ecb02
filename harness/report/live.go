package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

//go:embed live.css
var liveCSS string

//go:embed live.html.tmpl
var liveText string

const (
	liveRecent  = 5.0   // seconds that "now" is on the live page
	liveSamples = 20000 // journeys of that time that are kept at most
	liveFeed    = 120   // lines of the feed that are shown; the report has all
)

// Part is a piece of the live page: what the element of this id holds. An empty one is an element that holds nothing.
type Part struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// Usual is how long the parts of a drill take, in seconds, so that progress can be told in per cent.
type Usual struct {
	Runs   int // from which it was taken, as medians; 0: it is what the stated windows suggest
	Phases map[string]float64
	Steps  map[int]float64 // of the plan, from 1
}

// Live gathers from a log that is still being written what the live page shows. It is not safe for concurrent use.
type Live struct {
	builder *Builder
	facts   *verdict.Facts
	usual   Usual
	t       *template.Template

	skipped int64 // events that the page was not given, because it could not keep pace
	recent  []liveJourney
	before  map[string]*liveBaseline // by journey
	names   []string                 // of journeys, in the order in which they came
	base    [2]float64               // the baseline
	at      map[string]liveSeen      // by instance or node: what it is, and since when
	were    map[string]string        // by node: its migration at the end of the baseline
	caches  map[string]evidence.Cache
	jobs    map[string]evidence.Job
	waiting map[string]int // by node: backends that wait for locks
	writes  map[string]int // by event
	feed    []liveLine
	fed     int // lines that there were in all
	paused  *evidence.Approval
	holds   *evidence.Event
	asks    *evidence.Event
	hands   *evidence.Event // the handoff that its receiver has not answered
	aborted *evidence.Approval
}

type liveJourney struct {
	t      float64
	name   string
	ok     bool
	ms     float32
	served []evidence.Serve
}

type liveBaseline struct {
	all, bad int
	ms       []float32
}

type liveSeen struct {
	text  string
	since float64
}

type liveLine struct {
	T         float64
	At        string
	Who, Text string
	Look      look
	N         int64
}

// NewLive begins a live page.
func NewLive() (*Live, error) {
	t, err := templates(liveText)
	if err != nil {
		return nil, fmt.Errorf("make the live page: %w", err)
	}
	return &Live{builder: New(), facts: verdict.New(), t: t, before: map[string]*liveBaseline{}, at: map[string]liveSeen{}, were: map[string]string{},
		caches: map[string]evidence.Cache{}, jobs: map[string]evidence.Job{}, waiting: map[string]int{}, writes: map[string]int{}}, nil
}

// Usually says how long the parts of this drill take.
func (l *Live) Usually(u Usual) { l.usual = u }

// Skip says that so many events were not given to Add.
func (l *Live) Skip(events int64) { l.skipped += events }

// Run is what is drilled; nil: its first event was not seen yet.
func (l *Live) Run() *evidence.Run {
	if l.builder.m.Events == 0 {
		return nil
	}
	return &l.builder.m.Run
}

// Ended says whether the log's last event was added.
func (l *Live) Ended() bool { return l.builder.m.End != nil }

// Add takes the next event of the log.
func (l *Live) Add(e evidence.Event) {
	t := float64(e.T)
	if e.Write != nil && e.Write.Event != evidence.Audited {
		if !e.Write.Cancels {
			l.writes[e.Write.Event]++
		}
		l.facts.Add(e)
		l.builder.m.Events, l.builder.m.Seconds = e.N, max(l.builder.m.Seconds, t)
		return
	}
	l.facts.Add(e)
	l.builder.Add(e)
	switch {
	case e.Journey != nil:
		l.journey(t, e.Journey)
	case e.Cache != nil:
		l.caches[e.Cache.Name] = *e.Cache
	case e.Job != nil:
		l.jobs[e.Job.Name] = *e.Job
	case e.Lock != nil:
		l.waiting[e.Lock.Node] = e.Lock.Waiting
	case e.Instance != nil:
		i := e.Instance
		text := "not ready"
		switch {
		case !i.Up:
			text = "does not answer"
		case i.Ready && i.Release != "":
			text = "serves " + i.Release
		case i.Ready:
			text = "is ready"
		}
		l.see(e, i.Name, text)
	case e.Pod != nil:
		if e.Pod.Event == evidence.PodDeleted {
			l.see(e, e.Pod.Name, "is deleted")
		}
	case e.Node != nil:
		n := e.Node
		text := "is reachable"
		if n.Migration != 0 {
			text = fmt.Sprintf("is at migration %d", n.Migration)
		}
		switch {
		case !n.Reachable:
			text = "is not reachable"
		case n.Error != "":
			text = short(n.Error, 160)
		}
		l.see(e, n.Name, text)
	case e.Clock != nil:
		switch e.Clock.Name {
		case evidence.ClockBaselineBegun:
			l.base[0] = t
		case evidence.ClockBaselineEnded:
			l.base[1] = t
			for _, k := range l.builder.m.nodes {
				if n := len(k.states); n > 0 {
					l.were[k.name] = k.states[n-1].label
				}
			}
		case evidence.ClockDecided, evidence.ClockApproved, evidence.ClockWatchEnded:
			l.say(e, evidence.Harness, describe(e), look{})
		}
	case e.Phase != nil:
		l.say(e, evidence.Harness, "Phase: "+e.Phase.Name, look{})
	case e.Step != nil:
		l.step(e)
	case e.Alert != nil:
		lk := look{"is-broken", "i-alert", ""}
		if e.Alert.Event == "cleared" {
			lk = look{"is-kept", "i-ok", ""}
		}
		l.say(e, "Alert", describe(e), lk)
	case e.Fault != nil:
		l.say(e, "Fault", describe(e), look{"is-changed", "i-alert", ""})
	case e.Approval != nil:
		l.approval(e)
	case e.Message != nil:
		l.message(e)
	case e.Gap != nil:
		l.say(e, evidence.Harness, describe(e), look{"is-unknown", "i-ask", ""})
	case e.End != nil:
		l.say(e, evidence.Harness, "The drill has ended: "+describe(e), look{})
	}
}

func (l *Live) journey(t float64, j *evidence.Journey) {
	name := j.Name
	if j.Service != "" && j.Service != l.builder.m.Run.Service.Name {
		name = j.Service + ": " + j.Name
	}
	ok := j.Outcome == evidence.OK
	b := l.before[name]
	if b == nil {
		b = &liveBaseline{}
		l.before[name] = b
		l.names = append(l.names, name)
	}
	if l.base[1] == 0 { // the baseline's end is yet to come
		b.all++
		if !ok {
			b.bad++
		}
		if len(b.ms) < 4096 {
			b.ms = append(b.ms, float32(j.MS))
		}
	}
	if len(l.recent) >= liveSamples {
		l.recent = append(l.recent[:0], l.recent[liveSamples/2:]...)
	}
	l.recent = append(l.recent, liveJourney{t, name, ok, float32(j.MS), j.Served})
}

// see notes what an instance or a node is now, and tells when that has changed.
func (l *Live) see(e evidence.Event, name, text string) {
	was, known := l.at[name]
	if known && was.text == text {
		return
	}
	l.at[name] = liveSeen{text, float64(e.T)}
	if known {
		l.say(e, name, text, look{})
	}
}

func (l *Live) step(e evidence.Event) {
	s := e.Step
	who := partName(s.Part) + " " + strconv.Itoa(s.Index)
	if s.By != "" {
		who = s.By + "'s " + who
	}
	switch s.Event {
	case "started":
		l.say(e, who, s.Name, look{"", "i-run", ""})
	case "ended":
		lk := stepLook(&step{part: s.Part, done: true, outcome: s.Outcome})
		text := lk.Word
		if s.Seconds > 0 {
			text += " after " + seconds(s.Seconds)
		}
		if s.Error != "" {
			text += ": " + s.Error
		}
		l.say(e, who, text, look{lk.Class, lk.Icon, ""})
	}
}

func (l *Live) approval(e evidence.Event) {
	a := e.Approval
	switch a.Event {
	case evidence.ApprovalPaused:
		l.paused = a
	case evidence.ApprovalResumed:
		l.paused = nil
	case evidence.ApprovalWaits:
		l.holds = &e
	case evidence.ApprovalGoesOn:
		l.holds = nil
	case evidence.ApprovalAsked:
		l.asks = &e
	case evidence.ApprovalApproved, evidence.ApprovalRefused, evidence.ApprovalExpired:
		l.asks = nil
	case evidence.ApprovalHanded:
		l.hands = &e
	case evidence.ApprovalAccepted, evidence.ApprovalDeclined, evidence.ApprovalLapsed:
		l.hands = nil
	case evidence.ApprovalAborted:
		l.aborted, l.paused, l.holds = a, nil, nil
	}
	_, what, _ := strings.Cut(describe(e), ": ")
	switch a.Event {
	case evidence.ApprovalWaits:
		what = "It is held before " + a.For + "."
	case evidence.ApprovalGoesOn:
		what = fmt.Sprintf("It goes on with %s, after %s.", a.For, seconds(a.Seconds))
	case evidence.ApprovalAsked:
		what = fmt.Sprintf("It asks for approval of %s, for %s.", a.For, seconds(a.Seconds))
	case evidence.ApprovalHanded:
		what = fmt.Sprintf("It is handed over to %s, for %s: %s.", a.For, seconds(a.Seconds), strings.TrimSuffix(a.Why, "."))
	}
	l.say(e, a.By, what, look{"is-unknown", "i-person", ""})
}

// say adds a line to the feed.
func (l *Live) say(e evidence.Event, who, text string, lk look) {
	l.fed++
	if len(l.feed) >= 2*liveFeed {
		l.feed = append(l.feed[:0], l.feed[liveFeed:]...)
	}
	l.feed = append(l.feed, liveLine{float64(e.T), offset(float64(e.T)), who, short(text, 240), lk, e.N})
}

// liveUnit is one stretch of a drill's progress.
type liveUnit struct {
	Name, No, Text string
	Class          string // done, now, next
	Icon           string
	Style          template.CSS
	usual, done    float64
}

// liveView is what the templates of the parts see.
type liveView struct {
	About      []string
	Clock      string
	Percent    int
	Says       string // what it does: the headline, with how users fare
	Fails      string
	Units      []liveUnit
	ToGo       string
	Figures    []figure
	Reasons    []liveLine
	TL         timeline
	TLStyle    template.CSS
	Lanes      []lane
	Nows       []liveNow
	Future     template.CSS
	NowAt      template.CSS
	Health     []liveHealth
	Steps      []liveStep
	Impact     []liveImpact
	ImpactSays string
	Alerts     []liveAlert
	AlertsSay  string
	Feed       []liveLine
	Older      int
	Open       []liveLine
	LastEvent  string
	Skipped    string
	Usually    string
}

type liveNow struct {
	plot
	Now [][2]string
}

type liveHealth struct {
	Name, Kind, Since, Health, CPU, Memory, Latency string
	Look                                            look
}

type liveStep struct {
	Name, Took, Usual, Sent, Failed, Rate string
	Look                                  look
}

type liveImpact struct {
	Name, Now, Was, P95, WasP95, Failed, Sent string
	Bad                                       bool
}

type liveAlert struct {
	Name, From, Took, Text string
	Look                   look
	N                      int64
}

// Parts renders the pieces of the page as of an instant, in seconds since the start of the drill. Without the timeline it
// costs a fraction of the time.
func (l *Live) Parts(now float64, withTimeline bool) ([]Part, error) {
	v := l.view(now, withTimeline)
	ids := []string{"about", "clock", "headline", "activity", "progress", "figures", "reasons", "health", "impact", "alerts", "steps", "feed", "open", "last"}
	if withTimeline {
		ids = append(ids, "timeline")
	}
	var parts []Part
	var b bytes.Buffer
	for _, id := range ids {
		b.Reset()
		if err := l.t.ExecuteTemplate(&b, "live-"+id, v); err != nil {
			return nil, fmt.Errorf("render the live page: %w", err)
		}
		parts = append(parts, Part{id, b.String()})
	}
	return parts, nil
}

// LiveShell is the page around the parts.
type LiveShell struct {
	Title  string
	Token  string // against orders from elsewhere
	Parts  map[string]template.HTML
	At     int64 // the version of the parts
	Assets string
	Orders []LiveOrder
	Replay string // how many times as fast as it was; empty: it is no replay
	Drills []LiveDrill
}

// LiveOrder is a button.
type LiveOrder struct{ Name, Label, Key, Cannot, Hint string }

// LiveDrill is a drill of a set, for the list of them.
type LiveDrill struct{ Name, Href, Says string }

// LivePages writes the pages of running drills.
type LivePages struct{ t *template.Template }

// NewLivePages reads their templates, once for all who look.
func NewLivePages() (LivePages, error) {
	t, err := templates(liveText)
	if err != nil {
		return LivePages{}, fmt.Errorf("make the live page: %w", err)
	}
	return LivePages{t}, nil
}

// Page writes the page of a running drill.
func (p LivePages) Page(w io.Writer, s LiveShell) error {
	return p.t.ExecuteTemplate(w, "live-page", s)
}

// Index writes the list of the drills of a set, with the page around it.
func (p LivePages) Index(w io.Writer, s LiveShell) error {
	return p.t.ExecuteTemplate(w, "live-index", s)
}

// Drills renders the list alone.
func (p LivePages) Drills(drills []LiveDrill) (string, error) {
	var b strings.Builder
	err := p.t.ExecuteTemplate(&b, "live-drills", drills)
	return b.String(), err
}

// LiveCSS is the style of the live page.
func LiveCSS() string { return css + liveCSS }

// model is the report's model of what was seen until now, and whether service is restored. The builder goes on with its own lists.
func (l *Live) model(now float64) (*Model, verdict.State) {
	b := *l.builder
	b.m.Seconds = max(b.m.Seconds, now)
	b.m.alerts = slices.Clone(b.m.alerts)
	b.m.phases = slices.Clone(b.m.phases)
	b.m.instances = slices.Clone(b.m.instances)
	b.m.nodes = slices.Clone(b.m.nodes)
	v := verdict.Verdict{}
	restored := l.facts.Restored(evidence.Offset(now))
	if restored.Held {
		at := restored.At
		v.Clocks = verdict.Clocks{evidence.ClockRestored: &at}
	}
	return b.Model(v, ""), restored
}

func (l *Live) view(now float64, withTimeline bool) *liveView {
	m, restored := l.model(now)
	run := &m.Run
	v := &liveView{Clock: offset(now), LastEvent: count(m.Events)}
	v.About = []string{
		run.Service.Name + ", tier " + cmp.Or(run.Service.Tier, "not stated"),
		run.Release.Name + " back to " + run.Good,
		"plan " + cmp.Or(run.Plan.Name, "none"),
		run.Environment + " environment",
		plain(run.Traffic.Rate) + " journeys/s by " + many(run.Traffic.Users, "user", "users"),
	}
	if l.skipped > 0 {
		v.Skipped = many(l.skipped, "event was", "events were") + " not seen by this page, which could not keep pace: its numbers are too small. The report has them all."
	}
	for len(l.recent) > 0 && l.recent[0].t < now-liveRecent {
		cut, _ := slices.BinarySearchFunc(l.recent, now-liveRecent, func(j liveJourney, t float64) int { return cmp.Compare(j.t, t) })
		l.recent = append(l.recent[:0], l.recent[max(cut, 1):]...)
	}
	horizon := l.progress(v, m, now)
	l.users(v, m, now)
	l.health(v, m, now)
	l.alerts(v, m, now)
	l.figures(v, m, now, restored)
	l.reasons(v, m, now, restored)
	l.open(v, m, restored)
	for i := len(l.feed) - 1; i >= 0 && len(v.Feed) < liveFeed; i-- {
		v.Feed = append(v.Feed, l.feed[i])
	}
	v.Older = l.fed - len(v.Feed)
	if withTimeline {
		l.timeline(v, m, now, horizon)
	}
	return v
}

// share is the share of journeys that failed in the last seconds, and how many there were.
func (l *Live) share(which func(liveJourney) bool) (bad, all int, ms []float32) {
	for _, j := range l.recent {
		if !which(j) {
			continue
		}
		all++
		if !j.ok {
			bad++
		}
		ms = append(ms, j.ms)
	}
	return bad, all, ms
}

func (l *Live) own(name string) bool { return !strings.Contains(name, ": ") }

// livePhases are the stretches of a drill beside the plan's steps, in order, and what they are in words.
var livePhases = []struct{ name, label, does string }{
	{"provision", "Provision", "The environment is being provisioned."},
	{"baseline", "Baseline", "The steady state of GOOD is being measured."},
	{"deploy", "Deploy", "BAD is being deployed over GOOD."},
	{"decide", "Harm", "BAD is deployed; what it states is waited for."},
	{"rollback", "", "The rollback is about to begin."},
	{"watch", "Watch", "The commands have returned; service is watched until it has stayed restored."},
	{"herd", "Clients return", "Clients come back who had given up."},
	{"quiet", "Check", "Arrivals have stopped; replicas and jobs catch up."},
	{"audit", "", "The data is being checked on every node."},
	{"destroy", "", "Everything that was started is being removed."},
}

// length is how long a stretch usually takes.
func (l *Live) length(m *Model, phase string) float64 {
	if s, known := l.usual.Phases[phase]; known {
		return s
	}
	switch w := m.Run.Windows; phase {
	case "baseline":
		return w.Baseline + 1
	case "watch":
		return w.Stability + 1
	case "herd":
		if m.Run.Herd == nil {
			return 0
		}
		return m.Run.Herd.Seconds + w.Stability
	case "quiet", "destroy":
		return 1
	case "audit":
		return 2
	}
	return 3
}

func (l *Live) stepLength(i int) float64 {
	if s, known := l.usual.Steps[i]; known {
		return s
	}
	return 3
}

// progress fills in how far the drill is, and returns when it is expected to end.
func (l *Live) progress(v *liveView, m *Model, now float64) (horizon float64) {
	began := map[string]span{}
	at := -1
	for _, p := range m.phases {
		began[p.name] = p
		for i, k := range livePhases {
			if k.name == p.name {
				at = max(at, i)
			}
		}
	}
	ran := map[int]*step{}
	current := 0
	for _, s := range m.steps {
		if s.judged() {
			ran[s.index] = s
			if !s.done {
				current = s.index
			}
		}
	}
	rollback := slices.IndexFunc(livePhases, func(p struct{ name, label, does string }) bool { return p.name == "rollback" })
	words := strings.NewReplacer("GOOD", m.Run.Good, "BAD", m.Run.Release.Name)
	doing := "The drill has not begun."
	if at >= 0 {
		doing = words.Replace(livePhases[at].does)
	}
	steps := len(m.Run.Plan.Steps)
	var sum, reached, left float64
	add := func(u liveUnit, elapsed float64) {
		sum += u.usual
		switch u.Class {
		case "done":
			reached += u.usual
			u.done = 100
			u.Icon = cmp.Or(u.Icon, "i-ok")
		case "now":
			// What takes longer than usual is not done for that.
			part := min(elapsed, 0.95*u.usual)
			reached += part
			left += max(u.usual-elapsed, 0.05*u.usual)
			u.Icon = "i-run"
			u.done = 100 * part / max(u.usual, 0.01)
		default:
			left += u.usual
			u.Icon = "i-plan"
		}
		v.Units = append(v.Units, u)
	}
	for i, k := range livePhases {
		usual := l.length(m, k.name)
		class := "next"
		p, seen := began[k.name]
		switch {
		case m.End != nil || i < at:
			class = "done"
		case i == at:
			class = "now"
		}
		if k.name == "rollback" {
			for n := 1; n <= steps; n++ {
				s := ran[n]
				u := liveUnit{No: strconv.Itoa(n), Name: m.Run.Plan.Steps[n-1].Name, Class: "next", usual: l.stepLength(n), Text: "about " + seconds(l.stepLength(n))}
				elapsed := 0.0
				switch {
				case s != nil && s.done:
					u.Class = "done"
					lk := stepLook(s)
					u.Icon, u.Text = lk.Icon, lk.Word
					if s.outcome == evidence.StepOK {
						u.Text = seconds(max(s.seconds, s.to-s.from))
					}
					if s.outcome != evidence.StepOK {
						u.Class = "done bad"
						reached += u.usual
					}
				case s != nil:
					u.Class = "now"
					elapsed = now - s.from
					u.Text = fmt.Sprintf("%s of about %s", seconds(elapsed), seconds(u.usual))
				case at > rollback:
					u.Class, u.Icon, u.Text = "done bad", "i-none", "did not run"
					reached += u.usual
				}
				add(u, elapsed)
			}
			continue
		}
		if usual == 0 || k.name == "herd" && !seen && at > i {
			continue
		}
		u := liveUnit{Name: k.label, Class: class, usual: usual, Text: "about " + seconds(usual)}
		elapsed := 0.0
		switch class {
		case "done":
			u.Text = "done"
			if seen && !p.open {
				u.Text = seconds(p.to - p.from)
			}
		case "now":
			elapsed = now - p.from
			u.Text = fmt.Sprintf("%s of about %s", seconds(elapsed), seconds(usual))
		}
		if k.label == "" { // it is part of the stretch before
			last := &v.Units[len(v.Units)-1]
			sum += usual
			last.usual += usual
			switch class {
			case "done":
				reached += usual
			case "now":
				reached += min(elapsed, 0.95*usual)
				left += max(usual-elapsed, 0)
				last.Class, last.Icon = "now", "i-run"
			default:
				left += usual
				if last.Class == "done" {
					last.Class, last.Icon = "now", "i-run"
				}
			}
			continue
		}
		add(u, elapsed)
	}
	for i := range v.Units {
		u := &v.Units[i]
		if u.Class == "now" && u.Name == "Check" {
			u.done = 50
		}
		u.Style = template.CSS(fmt.Sprintf("--v:%s;--p:%s", num(max(u.usual, sum*0.055)), num(u.done)))
	}
	v.Percent = int(100 * reached / max(sum, 0.01))
	v.Usually = "by the stated windows"
	if l.usual.Runs > 0 {
		v.Usually = "by the last " + many(l.usual.Runs, "run", "runs")
	}
	v.ToGo = fmt.Sprintf("about %s to go %s", seconds(left), v.Usually)
	switch {
	case m.End != nil:
		v.Percent, doing, v.ToGo = 100, "The drill has ended.", "ended"
	case l.aborted != nil:
		doing = fmt.Sprintf("It was aborted by %s: %s.", l.aborted.By, strings.TrimSuffix(l.aborted.Why, "."))
	case l.holds != nil:
		doing = fmt.Sprintf("It is paused before %s.", l.holds.Approval.For)
		v.ToGo = "paused"
	case l.asks != nil:
		doing = fmt.Sprintf("It waits for approval of %s.", l.asks.Approval.For)
		v.ToGo = "waiting for approval"
	case l.hands != nil:
		doing = fmt.Sprintf("It is handed over to %s, who accepts or refuses it.", l.hands.Approval.For)
		v.ToGo = "handed over"
	case at == rollback && current > 0:
		doing = fmt.Sprintf("Step %d of %d is running: %s.", current, steps, strings.TrimSuffix(m.Run.Plan.Steps[min(current, steps)-1].Name, "."))
	case at == rollback && len(ran) > 0 && len(ran) < steps:
		doing = fmt.Sprintf("Step %d of %d is done.", len(ran), steps)
	}
	v.Says = doing
	return max(now+left, now*1.02)
}

// users fills in how users fare.
func (l *Live) users(v *liveView, m *Model, now float64) {
	deploy, deployed := m.clock(evidence.ClockDeployBegun)
	failed, sent := map[string]int{}, map[string]int{}
	if deployed {
		for i := binOf(deploy); i < len(m.bins); i++ {
			for j, c := range m.bins[i].journeys {
				failed[m.journeys[j]] += c.failed + c.unsent
				sent[m.journeys[j]] += c.ok + c.failed + c.unsent
			}
		}
	}
	harmed := 0
	for _, name := range l.names {
		bad, all, ms := l.share(func(j liveJourney) bool { return j.name == name })
		b := l.before[name]
		r := liveImpact{Name: name, Now: "no data", Was: "no data", P95: "no data", WasP95: "no data", Failed: "0", Sent: "0"}
		if all > 0 {
			r.Now, r.P95 = percent(float64(bad)/float64(all)), milliseconds(quantile(ms, 0.95))
		}
		if b.all > 0 {
			r.Was = percent(float64(b.bad) / float64(b.all))
			r.WasP95 = milliseconds(quantile(slices.Clone(b.ms), 0.95))
		}
		if deployed {
			r.Failed, r.Sent = count(failed[name]), count(sent[name])
		}
		if r.Bad = all > 0 && b.all > 0 && float64(bad)/float64(all) > float64(b.bad)/float64(b.all)+0.01; r.Bad {
			harmed++
		}
		v.Impact = append(v.Impact, r)
	}
	switch {
	case len(v.Impact) == 0 && m.Run.Traffic.Rate == 0:
		v.ImpactSays = "Nothing runs that users could use."
	case len(v.Impact) == 0:
		v.ImpactSays = "No user has come yet."
	case harmed == 0:
		v.ImpactSays = fmt.Sprintf("No journey fails more often than before, in the last %g%ss.", liveRecent, nbsp)
	default:
		v.ImpactSays = fmt.Sprintf("%d of %s fail more often than before, in the last %g%ss.", harmed, many(len(v.Impact), "journey", "journeys"), liveRecent, nbsp)
	}
	if n := l.writes[evidence.Acknowledged]; n > 0 {
		v.ImpactSays += fmt.Sprintf(" %s so far, %s refused, %s with an outcome that is not known; the audit looks each up.", many(n, "write was acknowledged", "writes were acknowledged"),
			count(l.writes[evidence.Refused]), count(l.writes[evidence.Unknown]))
	}
	for i := range m.Run.Plan.Steps {
		s := liveStep{Name: fmt.Sprintf("%d %s", i+1, m.Run.Plan.Steps[i].Name), Look: look{"sub", "i-plan", "not yet"}, Usual: "not known"}
		if u, known := l.usual.Steps[i+1]; known {
			s.Usual = seconds(u)
		}
		for _, r := range m.steps {
			if !r.judged() || r.index != i+1 {
				continue
			}
			to := r.to
			s.Look = stepLook(r)
			if !r.done {
				to, s.Look = now, look{"", "i-run", "running"}
			}
			s.Took = seconds(to - r.from)
			bad, all := 0, 0
			if r.outcome != evidence.StepSkipped {
				bad, all = m.failures(r.from, to, m.own)
			}
			s.Sent, s.Failed, s.Rate = count(all), count(bad), "no data"
			if all > 0 {
				s.Rate = percent(float64(bad) / float64(all))
			}
		}
		v.Steps = append(v.Steps, s)
	}
}

// health fills in what each instance and each node is now.
func (l *Live) health(v *liveView, m *Model, now float64) {
	last := func(s series) (float64, bool) {
		for i := len(s.bins) - 1; i >= 0; i-- {
			if s.bins[i].has {
				return float64(s.bins[i].max), float64(i)*binSeconds > now-m.patience()-binSeconds
			}
		}
		return 0, false
	}
	use := func(s series, text func(float64) string) string {
		if value, fresh := last(s); fresh {
			return text(value)
		}
		return "no data"
	}
	for _, k := range append(slices.Clone(m.instances), m.nodes...) {
		h := liveHealth{Name: k.name, Kind: cmp.Or(k.service, k.kind), Latency: "no data", Look: look{"is-unknown", "i-ask", "not observed"}}
		if n := len(k.states); n > 0 && k.states[n-1].err == deleted {
			continue
		}
		seen := l.at[k.name]
		h.Since, h.Health = "since "+offset(seen.since), seen.text
		if n := len(k.states); n > 0 && now-k.last <= m.patience() {
			h.Look = l.healthLook(m, k, k.states[n-1])
			if e := k.states[n-1].err; e != "" {
				h.Health = short(e, 160)
			}
		} else {
			h.Health = fmt.Sprintf("nothing was seen of it for %s", seconds(now-k.last))
		}
		h.CPU = use(k.cpu, func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) })
		h.Memory = use(k.memory, bytesOf)
		if k.kind == "instance" {
			bad, all, ms := l.share(func(j liveJourney) bool {
				return slices.ContainsFunc(j.served, func(s evidence.Serve) bool { return strings.HasPrefix(string(s), k.name+"@") })
			})
			if all > 0 {
				h.Latency = milliseconds(quantile(ms, 0.95))
				if bad > 0 {
					h.Health += fmt.Sprintf("; %d of %d journeys through it failed", bad, all)
				}
			}
		} else if k.kind == "primary" {
			h.Latency = ""
		} else {
			h.Latency = "lag " + use(k.lag, seconds)
		}
		v.Health = append(v.Health, h)
	}
}

// healthLook says whether an instance or a node is what it must come back to.
func (l *Live) healthLook(m *Model, k *track, s state) look {
	foreign := k.kind == "instance" && k.service != "" && k.service != m.Run.Service.Name
	switch {
	case s.lost:
		return look{"is-unknown", "i-ask", "not observed"}
	case k.kind == "instance" && !s.up:
		return look{"is-broken", "i-no", "no answer"}
	case k.kind == "instance" && !s.ready:
		return look{"is-changed", "i-late", "not ready"}
	case k.kind == "instance" && (foreign || s.label == m.Run.Good):
		return look{"is-kept", "i-ok", cmp.Or(s.label, "ready")}
	case k.kind == "instance" && s.label == "":
		return look{"is-unknown", "i-ask", "release unknown"}
	case k.kind == "instance":
		return look{"is-broken", "i-no", s.label}
	case !s.up:
		return look{"is-broken", "i-no", "not reachable"}
	case !s.ready:
		return look{"is-broken", "i-alert", "in error"}
	}
	if was, known := l.were[k.name]; known && was != s.label {
		return look{"is-broken", "i-no", s.label}
	}
	return look{"is-kept", "i-ok", cmp.Or(s.label, "reachable")}
}

func (l *Live) alerts(v *liveView, m *Model, now float64) {
	open := 0
	for _, a := range m.alerts {
		x := liveAlert{Name: a.name, From: offset(a.from), Took: seconds(a.to - a.from), Text: a.text, N: a.n, Look: look{"is-kept", "i-ok", "cleared"}}
		if a.open {
			open++
			x.Look = look{"is-broken", "i-alert", "open"}
			x.Took = seconds(now - a.from)
		}
		v.Alerts = append(v.Alerts, x)
	}
	slices.Reverse(v.Alerts)
	switch {
	case len(v.Alerts) == 0:
		v.AlertsSay = "None. One is raised when a metric is more than 10" + nbsp + "% worse than its baseline, and beyond what is usual, for 5" + nbsp + "s."
	default:
		v.AlertsSay = fmt.Sprintf("%d of %s open, each of a metric more than 10%s%% worse than its baseline.", open, many(len(v.Alerts), "alert is", "alerts are"), nbsp)
	}
}

func (l *Live) figures(v *liveView, m *Model, now float64, restored verdict.State) {
	target := m.Run.Service.Target
	for _, p := range m.Run.Promises {
		if p.Check == verdict.RestoredInTime && p.Within > 0 {
			target = p.Within
		}
	}
	f := figure{Name: "Since decided", Of: "of " + offset(target), Big: "not yet", Note: "Nobody has decided to roll back."}
	if decided, ok := m.clock(evidence.ClockDecided); ok {
		since := now - decided
		f.Note = seconds(max(target-since, 0)) + " left of the target"
		class := "kept"
		switch {
		case restored.Held:
			since = float64(restored.At) - decided
			f.Name, f.Note = "Restored", "service has stayed restored since "+offset(float64(restored.At))
		case since > target:
			f.Note, class = "the target has passed", "broken"
		}
		f.Big, f.Small = liveCut(seconds(since))
		f.Parts = []part{{Style: template.CSS("--v:" + num(min(since/max(target, 0.1), 1)*100) + ";--c:var(--" + class + ")")}, {Style: template.CSS("--v:" + num(max(1-since/max(target, 0.1), 0)*100))}}
		f.Target = true
	}
	v.Figures = append(v.Figures, f)

	bad, all, _ := l.share(func(j liveJourney) bool { return l.own(j.name) })
	f = figure{Name: "Users", Of: "journeys failing now", Big: "no data", Note: "No journey has ended in the last 5" + nbsp + "s."}
	if all > 0 {
		share := float64(bad) / float64(all)
		f.Big, f.Small = liveCut(percent(share))
		f.Parts = []part{{Style: template.CSS("--v:" + num(share*100) + ";--c:var(--broken)")}, {Style: template.CSS("--v:" + num(100-share*100) + ";--c:var(--kept-2)")}}
		f.Note = fmt.Sprintf("%d of %s in the last %g%ss", bad, count(all), liveRecent, nbsp)
		if deploy, ok := m.clock(evidence.ClockDeployBegun); ok {
			lost, decided := [2]int{}, math.Inf(1)
			if t, ok := m.clock(evidence.ClockDecided); ok {
				decided = t
			}
			for i := binOf(deploy); i < len(m.bins); i++ {
				for j, c := range m.bins[i].journeys {
					if m.own(j) {
						lost[boolInt(float64(i)*binSeconds >= decided)] += c.failed + c.unsent
					}
				}
			}
			f.Note = fmt.Sprintf("%s failed since the deploy: %s before the decision, %s after it", count(lost[0]+lost[1]), count(lost[0]), count(lost[1]))
		}
	}
	v.Figures = append(v.Figures, f)

	f = figure{Name: "At the target", Of: "instances and nodes", Big: "no data", Note: "Nothing has been observed yet."}
	there, waits := 0, []string{}
	for _, h := range v.Health {
		class := "o"
		if h.Look.Class == "is-kept" {
			there++
			class = ""
		} else {
			waits = append(waits, h.Name+" ("+h.Look.Word+")")
		}
		f.Parts = append(f.Parts, part{Class: class})
	}
	if n := len(v.Health); n > 0 {
		f.Big, f.Small, f.Note = strconv.Itoa(there), fmt.Sprintf("of %d", n), "all as before the deploy; the audit compares schema and data"
		if len(waits) > 0 {
			f.Note = "Waiting for " + strings.Join(waits[:min(len(waits), 4)], ", ")
			if len(waits) > 4 {
				f.Note += fmt.Sprintf(" and %d more", len(waits)-4)
			}
		}
	}
	v.Figures = append(v.Figures, f)

	open := []string{}
	for _, a := range m.alerts {
		if a.open {
			open = append(open, a.name)
		}
	}
	f = figure{Name: "Alerts", Of: "over 10" + nbsp + "% off baseline", Big: strconv.Itoa(len(open)), Small: "open", Note: fmt.Sprintf("%d raised so far", len(m.alerts))}
	if len(open) > 0 {
		f.Note = strings.Join(open[:min(len(open), 3)], ", ")
		if len(open) > 3 {
			f.Note += fmt.Sprintf(" and %d more", len(open)-3)
		}
	}
	v.Figures = append(v.Figures, f)

	switch {
	case m.End != nil || all == 0:
	case bad == 0:
		v.Fails = "No journey fails now."
	default:
		v.Fails = percent(float64(bad)/float64(all)) + " of all journeys fail now."
	}
}

// liveCut separates a figure from its unit.
func liveCut(s string) (big, small string) {
	big, small, _ = strings.Cut(s, nbsp)
	return big, small
}

// reasons are what speaks for going on and what for stopping.
func (l *Live) reasons(v *liveView, m *Model, now float64, restored verdict.State) {
	add := func(class, icon, text string, n int64) {
		v.Reasons = append(v.Reasons, liveLine{Text: text, Look: look{class, icon, ""}, N: n})
	}
	if v.Skipped != "" {
		add("is-unknown", "i-ask", v.Skipped, 0)
	}
	switch {
	case l.aborted != nil:
		add("is-unknown", "i-person", fmt.Sprintf("%s aborted it: %s", l.aborted.By, l.aborted.Why), 0)
	case l.holds != nil:
		text := fmt.Sprintf("Paused for %s before %s.", seconds(now-float64(l.holds.T)), l.holds.Approval.For)
		if l.paused != nil {
			text += fmt.Sprintf(" Ordered by %s%s.", l.paused.By, liveWhy(l.paused.Why))
		}
		add("is-unknown", "i-person", text+" Traffic goes on.", l.holds.N)
	case l.asks != nil:
		a := l.asks.Approval
		add("is-unknown", "i-person", fmt.Sprintf("%s waits for approval; in %s nobody can give it any more, and the plan stops.", liveUpper(a.For), seconds(max(float64(l.asks.T)+a.Seconds-now, 0))), l.asks.N)
	case l.hands != nil:
		a := l.hands.Approval
		add("is-unknown", "i-person", fmt.Sprintf("%s. %s accepts or refuses within %s; until then the incident is not resolved.", liveUpper(strings.TrimSuffix(a.Why, ".")), a.For, seconds(max(float64(l.hands.T)+a.Seconds-now, 0))), l.hands.N)
	case l.paused != nil:
		add("is-unknown", "i-person", fmt.Sprintf("%s ordered a pause%s. What runs now runs to its end.", l.paused.By, liveWhy(l.paused.Why)), 0)
	}
	for i := len(m.steps) - 1; i >= 0; i-- {
		if s := m.steps[i]; s.done && s.part != evidence.PartLock {
			lk := stepLook(s)
			text := fmt.Sprintf("%s %d, %s: %s", liveUpper(s.whose()), s.index, s.name, lk.Word)
			if s.err != "" {
				text += ": " + s.err
			}
			add(lk.Class, lk.Icon, short(text, 240)+".", s.ended)
			break
		}
	}
	shown := 0
	for _, a := range m.alerts {
		if a.open {
			if shown++; shown <= 3 {
				add("is-broken", "i-alert", liveUpper(a.text)+".", a.n)
			}
		}
	}
	if _, decided := m.clock(evidence.ClockDecided); decided {
		if restored.Held {
			add("is-kept", "i-ok", fmt.Sprintf("Service is restored since %s.", offset(float64(restored.At))), 0)
		}
		for i, missing := range restored.Missing {
			if i == 3 {
				add("is-changed", "i-late", fmt.Sprintf("%d more things are missing.", len(restored.Missing)-3), 0)
				break
			}
			n := int64(0)
			if i < len(restored.Evidence) {
				n = restored.Evidence[i]
			}
			add("is-changed", "i-late", "Missing: "+missing+".", n)
		}
	}
	for _, h := range v.Health {
		if h.Look.Word == "not observed" || h.Look.Word == "in error" {
			add("is-broken", "i-alert", h.Name+": "+h.Health+".", 0)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.waiting)) {
		if n := l.waiting[name]; n > 0 {
			add("is-changed", "i-late", fmt.Sprintf("%s for locks on %s.", many(n, "session waits", "sessions wait"), name), 0)
		}
	}
	if len(v.Reasons) == 0 {
		add("is-kept", "i-ok", "Nothing speaks against going on.", 0)
	}
	v.Reasons = v.Reasons[:min(len(v.Reasons), 8)]
}

func liveWhy(why string) string {
	if why == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(why, ".")
}

// liveUpper begins a sentence. Names keep their case.
func liveUpper(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if strings.ContainsAny(word, "-_./0123456789") || s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// open is what is not done yet: caches, jobs, and what must still be seen.
func (l *Live) open(v *liveView, m *Model, restored verdict.State) {
	for _, name := range slices.Sorted(maps.Keys(l.caches)) {
		c := l.caches[name]
		x := liveLine{Who: "Cache " + name, Text: "No entry of the bad release is in it.", Look: look{"is-kept", "i-ok", ""}}
		switch {
		case !c.OK:
			x.Text, x.Look = "It could not be read: "+c.Error, look{"is-unknown", "i-ask", ""}
		case c.Stale > 0:
			x.Text, x.Look = many(c.Stale, "entry cannot", "entries cannot")+" be read by "+m.Run.Good+": not purged.", look{"is-broken", "i-no", ""}
		}
		v.Open = append(v.Open, x)
	}
	for _, name := range slices.Sorted(maps.Keys(l.jobs)) {
		j := l.jobs[name]
		x := liveLine{Who: "Jobs " + name, Text: fmt.Sprintf("%d open, %d failed.", j.Open, j.Failed), Look: look{"is-kept", "i-ok", ""}}
		switch {
		case !j.OK:
			x.Text, x.Look = "They could not be read: "+j.Error, look{"is-unknown", "i-ask", ""}
		case j.Failed > 0:
			x.Look = look{"is-broken", "i-no", ""}
		case j.Open > 0:
			x.Look = look{"", "i-plan", ""}
		}
		v.Open = append(v.Open, x)
	}
	if m.End != nil {
		return
	}
	if _, ended := m.clock(evidence.ClockWatchEnded); !ended {
		x := liveLine{Who: "Stability", Text: fmt.Sprintf("%g%ss as in the baseline, after service is restored.", m.Run.Windows.Stability, nbsp), Look: look{"", "i-plan", ""}}
		if restored.Held {
			x.Text, x.Look = "Service has stayed restored.", look{"is-kept", "i-ok", ""}
		}
		v.Open = append(v.Open, x)
	}
	if _, verified := m.clock(evidence.ClockDataVerified); !verified {
		v.Open = append(v.Open, liveLine{Who: "Audit", Text: fmt.Sprintf("Every acknowledged write is looked up, and %s compared.", many(len(m.Run.Nodes), "node is", "nodes are")), Look: look{"", "i-plan", ""}})
	}
}

// timeline is the report's, with room for what is to come, the plan's steps as outlines, and on the right what is now.
func (l *Live) timeline(v *liveView, m *Model, now, horizon float64) {
	m.Seconds = max(horizon, now+1)
	v.TL = m.timeline()
	v.TLStyle = v.TL.Style
	v.NowAt = at(now)
	v.Future = between(now, v.TL.Span+1)
	wide := v.TL.Span
	// Words stand left of what they name, where there is room: a letter is about 6 of the 640 pixels of the plot.
	beside := func(text string, from, to float64, class, icon string) seg {
		room := func(length float64) int { return max(int(length/wide*640/6)-3, 8) }
		s := seg{Text: text, Class: class + " end", Icon: icon, Style: at(from)}
		most := room(from)
		if left, right := most, room(wide-to); len(text) > left && right > left {
			s.Class, s.Style, most = class, at(to), right
		}
		s.Text = short(text, most)
		return s
	}
	next := now
	for i, p := range m.Run.Plan.Steps {
		usual := l.stepLength(i + 1)
		n := lane{}
		if i == 0 {
			n.Name = "Plan steps"
		}
		name := fmt.Sprintf("%d %s", i+1, p.Name)
		var ran *step
		for _, s := range m.steps {
			if s.judged() && s.index == i+1 {
				ran = s
			}
		}
		switch {
		case ran == nil && m.End == nil:
			n.Segs = []seg{{Style: between(next, next+usual), Class: "planned"}}
			n.Label = beside(name, now, next+usual, "soon", "i-plan")
			next += usual
		case ran == nil:
			n.Label = beside(name+", did not run", now, now, "soon", "i-none")
		case !ran.done:
			end := max(ran.from+usual, now)
			n.Segs = []seg{{Style: between(ran.from, now) + colour("ink")}, {Style: between(now, end), Class: "planned"}}
			n.Label = beside(name+", running "+seconds(now-ran.from), ran.from, end, "strong", "i-run")
			next = end
		default:
			lk := stepLook(ran)
			c := template.CSS("kept")
			if lk.Class == "is-broken" {
				c = "broken"
			} else if lk.Class == "is-unknown" {
				c = "unknown-2"
			}
			n.Segs = []seg{{Style: between(ran.from, ran.to) + colour(c)}}
			n.Label = beside(name+" "+seconds(ran.to-ran.from), ran.from, ran.to, lk.Class, lk.Icon)
		}
		v.Lanes = append(v.Lanes, n)
	}
	const most = 8
	for i, a := range m.alerts {
		if i == most {
			break
		}
		n := lane{Segs: []seg{{Style: between(a.from, min(a.to, now)) + colour("broken-2"), Class: map[bool]string{true: "al", false: "al shut"}[a.open]}}}
		if i == 0 {
			n.Name = "Alerts"
		}
		n.Label = beside(a.name, a.from, min(a.to, now), "is-broken", "i-alert")
		v.Lanes = append(v.Lanes, n)
	}
	first := true
	for i := max(0, len(m.events)-most); i < len(m.events); i++ {
		e := m.events[i]
		n := lane{Label: beside(e.text, e.t, e.t, "", map[string]string{"approval": "i-person", "message": "i-msg"}[e.name])}
		if first {
			n.Name, first = "People, faults", false
		}
		v.Lanes = append(v.Lanes, n)
	}
	group := ""
	for _, p := range v.TL.Plots {
		x := liveNow{plot: p}
		if strings.Contains(p.Class, "spark") {
			if p.Name != "" {
				group, _, _ = strings.Cut(p.Name, ",")
			}
			for _, h := range v.Health {
				if h.Name == p.Small {
					x.Now = [][2]string{{"", map[string]string{"CPU": h.CPU, "Memory": h.Memory, "Lag": strings.TrimPrefix(h.Latency, "lag ")}[group]}}
				}
			}
		} else {
			x.Now = l.now(p.Name, m)
		}
		v.Nows = append(v.Nows, x)
	}
}

// now is what a line of the timeline is at its right end.
func (l *Live) now(plot string, m *Model) [][2]string {
	bad, all, ms := l.share(func(j liveJourney) bool { return l.own(j.name) })
	if all == 0 {
		return [][2]string{{"", "no data"}}
	}
	share := float64(bad) / float64(all)
	switch {
	case strings.HasPrefix(plot, "Error"):
		return [][2]string{{"failed", percent(share)}}
	case strings.HasPrefix(plot, "Success"):
		return [][2]string{{"all", percent(1 - share)}}
	case strings.HasPrefix(plot, "Latency"):
		return [][2]string{{"p95", milliseconds(quantile(ms, 0.95))}, {"p50", milliseconds(quantile(ms, 0.5))}}
	case strings.HasPrefix(plot, "Release"):
		served := map[string]int{}
		sum := 0
		for _, j := range l.recent {
			if !l.own(j.name) {
				continue
			}
			for _, s := range j.served {
				_, release, _ := strings.Cut(string(s), "@")
				served[cmp.Or(release, "none named")]++
				sum++
			}
		}
		var out [][2]string
		for _, name := range slices.Sorted(maps.Keys(served)) {
			out = append(out, [2]string{short(name, 9), percent(float64(served[name]) / float64(sum))})
		}
		return out[:min(len(out), 3)]
	case strings.HasPrefix(plot, "Lock"):
		n := 0
		for _, w := range l.waiting {
			n += w
		}
		return [][2]string{{"now", count(n)}}
	}
	return nil
}

// Line says in one line what the drill does.
func (l *Live) Line(now float64) string {
	v := &liveView{}
	m, _ := l.model(now)
	l.progress(v, m, now)
	return fmt.Sprintf("%d%s%% done. %s", v.Percent, nbsp, v.Says)
}
