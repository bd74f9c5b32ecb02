package report

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// What a report keeps of an hour must fit in memory and on a page: series are kept in bins of half a second, and of
// everything that may come in any number only so many.
const (
	binSeconds = 0.5
	maxSamples = 256 // latencies in a bin; of more, every second one is kept
	maxBins    = 24 * 3600 / binSeconds
	maxListed  = 2000    // events of a kind that are kept for citing
	maxOutput  = 8 << 10 // bytes of a command's output that are shown from its beginning, and as many from its end
	maxChanges = 2000    // of an instance or a node
)

// Model is everything that a report shows.
type Model struct {
	Run     evidence.Run
	Verdict verdict.Verdict
	Head    string  // of the log's chain
	Seconds float64 // from the start to the last event
	Events  int64
	Cut     string // why the log has no end; empty when it has one
	End     *evidence.End

	phases    []span
	marks     []mark
	journeys  []string // in the order of their first event
	releases  []string
	bins      []bin
	instances []*track
	nodes     []*track
	steps     []*step
	alerts    []span
	faults    []span // declared ones, in force
	events    []mark // approvals, messages, sabotages
	locks     []lock
	gaps      []found[evidence.Gap]
	caches    map[string]found[evidence.Cache] // the last reading of each
	last      []latest                         // of each journey, as journeys names them
	schemas   []found[evidence.Schema]
	chunks    []found[evidence.Chunk]
	findings  []found[evidence.Finding]
	tells     []found[evidence.Message] // to stakeholders, and what did not get to anybody
	actions   int                       // that were told on the channel of status
	taken     found[evidence.Approval]  // the last word about the handoff; n is 0 where there is none
	writes    []found[evidence.Write]   // audited and not simply kept
	moreFates int                       // those that are not listed
	unsettled []found[evidence.Write]   // refused, or without an answer
	samples   []*sample                 // writes that were kept, a few of each window
	settled   map[string]*settled       // what is known of the writes that are listed, once Cite has looked for it
	cited     map[int64]Cited
}

// Cited is an event in words.
type Cited struct {
	N    int64
	T    evidence.Offset
	From string // its kind and whom it is of
	Text string
}

type span struct {
	name, text string
	from, to   float64
	open       bool // it had not ended when the log did
	n          int64
	ended      int64 // the event that ended it, where one did
}

type mark struct {
	name, text string
	t          float64
	n          int64
}

type found[K any] struct {
	n    int64
	t    float64
	what K
}

// latest is how a journey went last.
type latest struct{ ok, failed found[evidence.Journey] }

// settled is when a write was sent and answered, and by which trace it is found in the service's own records.
type settled struct {
	sent, answered float64
	trace          string
}

// sample is one of the first writes of a window of the ledger; it is shown if the audit says that it was kept.
type sample struct {
	settled
	key, journey, window string
	n                    int64
	acknowledged, kept   bool
}

type lock struct {
	node    string
	t       float64
	waiting int
	longest float64
	text    string
}

// bin counts the journeys that were scheduled in half a second.
type bin struct {
	journeys []tally
	served   []int
	ms       []float32
	stride   int
	skip     int
}

type tally struct{ ok, failed, unsent int }

// track is what one instance or node was seen as.
type track struct {
	name, kind string // kind: instance, streaming ...
	service    string
	states     []state
	last       float64 // its last reading
	cpu        series
	memory     series
	lag        series
	dropped    int
}

// state holds from t until the next one.
type state struct {
	t     float64
	n     int64
	up    bool   // it answered
	ready bool   // it was in service
	label string // release, or migration
	err   string
	lost  bool // not observed
}

// deleted is the state of a pod that is there no more.
const deleted = "deleted"

// series keeps the least and the most of each bin.
type series struct{ bins []extreme }

type extreme struct {
	min, max float32
	has      bool
}

func (s *series) add(t, v float64) {
	i := binOf(t)
	for len(s.bins) <= i {
		s.bins = append(s.bins, extreme{})
	}
	b := &s.bins[i]
	f := float32(v)
	if !b.has {
		*b = extreme{f, f, true}
		return
	}
	b.min, b.max = min(b.min, f), max(b.max, f)
}

func binOf(t float64) int { return int(min(max(t, 0)/binSeconds, maxBins)) }

// step is one command, from its start to its end.
type step struct {
	part, name     string
	by             string // a second operator; empty: whose rollback is judged
	index          int
	command        string
	from, to       float64
	started, ended int64
	outcome        string
	exit           int
	seconds        float64
	expected, err  string
	output, tail   string
	lines          int
	cut            int // bytes left out between output and tail
	done           bool
}

// Builder gathers from a log what a report shows, in one pass and bounded memory. It is not safe for concurrent use.
type Builder struct {
	m     Model
	names map[string]int
	rel   map[string]int
	track map[string]*track
	open  map[string]*span
	kinds map[string]int

	window  string             // of the ledger, in which the log is
	samples map[string]*sample // by their keys

	// What a verdict is likely to cite of very many events that are alike: the last ones.
	beats map[string]found[evidence.Instance]
	other found[evidence.Journey] // that another release than the target answered
}

// New begins a report.
func New() *Builder {
	return &Builder{m: Model{cited: map[int64]Cited{}, caches: map[string]found[evidence.Cache]{}}, window: "before", samples: map[string]*sample{}, beats: map[string]found[evidence.Instance]{}, names: map[string]int{}, rel: map[string]int{}, track: map[string]*track{},
		open: map[string]*span{}, kinds: map[string]int{}}
}

// Add takes the next event of the log.
func (b *Builder) Add(e evidence.Event) {
	m := &b.m
	t := float64(e.T)
	m.Events = e.N
	m.Seconds = max(m.Seconds, t)
	b.keep(e)
	switch {
	case e.Journey != nil:
		b.journey(e.N, t, e.Journey)
	case e.Instance != nil:
		b.instance(e.N, t, e.Instance)
	case e.Pod != nil:
		if k := b.track[e.Pod.Name]; k != nil && e.Pod.Event == evidence.PodDeleted {
			k.see(state{t: t, n: e.N, err: deleted})
		}
	case e.Node != nil:
		b.node(e.N, t, e.Node)
	case e.Write != nil:
		b.write(e.N, t, e.Write)
	case e.Cache != nil:
		m.caches[e.Cache.Name] = found[evidence.Cache]{e.N, t, *e.Cache}
	case e.Run != nil:
		m.Run = *e.Run
		for _, name := range e.Run.Service.Journeys {
			b.journeyIndex(name)
		}
		for _, name := range []string{e.Run.Good, e.Run.Release.Name} {
			b.releaseIndex(name)
		}
	case e.Phase != nil:
		if n := len(m.phases); n > 0 {
			m.phases[n-1].to, m.phases[n-1].open = t, false
		}
		m.phases = append(m.phases, span{name: e.Phase.Name, text: e.Phase.Text, from: t, open: true, n: e.N})
	case e.Clock != nil:
		m.marks = append(m.marks, mark{e.Clock.Name, e.Clock.Why, t, e.N})
		if w := windowBegun[e.Clock.Name]; w != "" {
			b.window = w
		}
	case e.Step != nil:
		b.step(e.N, t, e.Step)
	case e.Lock != nil:
		l := lock{e.Lock.Node, t, e.Lock.Waiting, e.Lock.Longest, e.Lock.Relation}
		if e.Lock.Blocker != "" {
			l.text = strings.TrimSpace(l.text + " behind " + e.Lock.Blocker)
		}
		if len(m.locks) < 20*maxListed {
			m.locks = append(m.locks, l)
		}
	case e.Alert != nil:
		b.alert(e.N, t, e.Alert)
	case e.Fault != nil:
		b.fault(e)
	case e.Approval != nil:
		b.event("approval", e)
		b.handoff(e)
	case e.Message != nil:
		b.message(e)
	case e.Schema != nil:
		m.schemas = append(m.schemas, found[evidence.Schema]{e.N, t, *e.Schema})
		if len(m.schemas) > maxListed { // of a node that is read again and again, the last readings matter
			m.schemas = slices.Delete(m.schemas, maxListed/2, maxListed/2+1)
		}
	case e.Chunk != nil:
		if len(m.chunks) < maxListed {
			m.chunks = append(m.chunks, found[evidence.Chunk]{e.N, t, *e.Chunk})
		}
	case e.Finding != nil:
		if len(m.findings) < maxListed {
			m.findings = append(m.findings, found[evidence.Finding]{e.N, t, *e.Finding})
		}
	case e.Gap != nil:
		if len(m.gaps) < maxListed {
			m.gaps = append(m.gaps, found[evidence.Gap]{e.N, t, *e.Gap})
		}
	case e.End != nil:
		m.End = e.End
	}
}

// fault draws a declared fault as a stretch from when it was seen in force until it was lifted; a sabotage is an event.
func (b *Builder) fault(e evidence.Event) {
	m, f, t := &b.m, e.Fault, float64(e.T)
	if f.Number < 1 || f.Number > len(m.Run.Faults) {
		b.event("fault", e)
		return
	}
	d := m.Run.Faults[f.Number-1]
	last := -1
	for i := range m.faults {
		if m.faults[i].name == d.Text {
			last = i
		}
	}
	open := last >= 0 && m.faults[last].open
	switch f.Event {
	case evidence.FaultInForce:
		if !open {
			m.faults = append(m.faults, span{name: d.Text, text: d.Text, from: t, open: true, n: e.N})
		}
	case evidence.FaultNotInForce, evidence.FaultLifted:
		if open {
			m.faults[last].to, m.faults[last].open = t, false
		} else if f.Event == evidence.FaultNotInForce {
			m.faults = append(m.faults, span{name: d.Text, text: d.Text + ": not seen in force", from: t, to: t, n: e.N})
		}
	}
}

func (b *Builder) event(name string, e evidence.Event) {
	if len(b.m.events) < maxListed {
		b.m.events = append(b.m.events, mark{name, describe(e), float64(e.T), e.N})
	}
}

// keep remembers what is likely to be cited. Cite fills in what is not.
func (b *Builder) keep(e evidence.Event) {
	key := e.Key()
	switch {
	case e.Journey != nil && e.Journey.Outcome == evidence.OK:
		return
	case e.Write != nil && (e.Write.Event == evidence.Invoked || e.Write.Event == evidence.Acknowledged):
		return
	}
	// The first ones are of the beginning of what went wrong; a beat that says the same again is one of many.
	if b.kinds[key] < maxListed {
		b.kinds[key]++
		b.m.cited[e.N] = cite(e)
	}
}

// remember keeps an event that the page cites whatever the verdict does.
func (b *Builder) remember(n int64, t float64, k evidence.Kind) {
	e := evidence.Event{N: n, T: evidence.Offset(t)}
	k.Put(&e)
	b.m.cited[n] = cite(e)
}

func cite(e evidence.Event) Cited { return Cited{e.N, e.T, from(e), describe(e)} }

func (b *Builder) journeyIndex(name string) int {
	i, ok := b.names[name]
	if !ok {
		i = len(b.m.journeys)
		b.names[name] = i
		b.m.journeys = append(b.m.journeys, name)
	}
	return i
}

func (b *Builder) releaseIndex(name string) int {
	i, ok := b.rel[name]
	if !ok {
		i = len(b.m.releases)
		b.rel[name] = i
		b.m.releases = append(b.m.releases, name)
	}
	return i
}

// journey counts a journey in the bin of the time for which it was scheduled.
func (b *Builder) journey(e int64, t float64, j *evidence.Journey) {
	own := j.Service == "" || j.Service == b.m.Run.Service.Name
	name := j.Name
	if !own {
		name = j.Service + ": " + j.Name
	}
	at := binOf(float64(j.At))
	for len(b.m.bins) <= at {
		b.m.bins = append(b.m.bins, bin{})
	}
	n := &b.m.bins[at]
	i := b.journeyIndex(name)
	for len(n.journeys) <= i {
		n.journeys = append(n.journeys, tally{})
	}
	for len(b.m.last) <= i {
		b.m.last = append(b.m.last, latest{})
	}
	switch j.Outcome {
	case evidence.OK:
		n.journeys[i].ok++
		b.m.last[i].ok = found[evidence.Journey]{e, t, *j}
	case evidence.Unsent:
		n.journeys[i].unsent++
	default:
		n.journeys[i].failed++
		b.m.last[i].failed = found[evidence.Journey]{e, t, *j}
	}
	if !own || j.Outcome == evidence.Unsent {
		return
	}
	n.sample(float32(j.MS))
	for _, s := range j.Served {
		_, release, _ := strings.Cut(string(s), "@")
		if release != "" && release != b.m.Run.Good {
			b.other = found[evidence.Journey]{e, t, *j}
		}
		k := b.releaseIndex(release)
		for len(n.served) <= k {
			n.served = append(n.served, 0)
		}
		n.served[k]++
	}
}

func (n *bin) sample(ms float32) {
	if n.stride == 0 {
		n.stride = 1
	}
	if n.skip++; n.skip < n.stride {
		return
	}
	n.skip = 0
	if len(n.ms) == maxSamples {
		for i := range maxSamples / 2 {
			n.ms[i] = n.ms[2*i]
		}
		n.ms = n.ms[:maxSamples/2]
		n.stride *= 2
	}
	n.ms = append(n.ms, ms)
}

func (b *Builder) trackOf(name, kind string, list *[]*track) *track {
	k, ok := b.track[name]
	if !ok {
		k = &track{name: name, kind: kind}
		b.track[name] = k
		*list = append(*list, k)
	}
	return k
}

// see says whether it was new.
func (k *track) see(s state) bool {
	k.last = max(k.last, s.t)
	if n := len(k.states); n > 0 {
		p := k.states[n-1]
		if p.up == s.up && p.ready == s.ready && p.label == s.label && p.lost == s.lost {
			return false
		}
	}
	if len(k.states) >= maxChanges {
		k.dropped++
		return false
	}
	k.states = append(k.states, s)
	return true
}

func (b *Builder) instance(n int64, t float64, i *evidence.Instance) {
	k := b.trackOf(i.Name, "instance", &b.m.instances)
	k.service = i.Service
	b.silent(k, t)
	if k.see(state{t: t, n: n, up: i.Up, ready: i.Ready, label: i.Release, err: i.Error}) {
		b.remember(n, t, i)
	}
	b.beats[i.Name] = found[evidence.Instance]{n, t, *i}
	if i.Up {
		k.cpu.add(t, i.CPU)
		k.memory.add(t, float64(i.Memory))
	}
}

func (b *Builder) node(n int64, t float64, d *evidence.Node) {
	k := b.trackOf(d.Name, d.Role, &b.m.nodes)
	k.kind = d.Role
	b.silent(k, t)
	label := ""
	if d.Migration != 0 {
		label = fmt.Sprintf("migration %d", d.Migration)
	}
	k.see(state{t: t, n: n, up: d.Reachable, ready: d.Reachable && d.Error == "", label: label, err: d.Error})
	if d.Reachable {
		k.cpu.add(t, d.CPU)
		k.memory.add(t, float64(d.Memory))
		k.lag.add(t, d.Lag)
	}
}

// silent marks what was not observed since the last reading, when a beat is missing.
func (b *Builder) silent(k *track, t float64) {
	if n := len(k.states); n > 0 && k.states[n-1].err == deleted {
		return // there was nothing to be observed
	}
	if len(k.states) > 0 && t-k.last > b.m.patience() {
		k.see(state{t: k.last + b.m.patience()/2, lost: true})
	}
}

// patience is how old a reading may be before it says nothing any more: three beats.
func (m *Model) patience() float64 {
	if m.Run.Windows.Beat > 0 {
		return 3 * m.Run.Windows.Beat
	}
	return 3
}

func (b *Builder) step(n int64, t float64, s *evidence.Step) {
	var cur *step
	for i := len(b.m.steps) - 1; i >= 0 && cur == nil; i-- {
		if p := b.m.steps[i]; p.part == s.Part && p.index == s.Index && p.name == s.Name && p.by == s.By && !p.done {
			cur = p
		}
	}
	if cur == nil {
		cur = &step{part: s.Part, name: s.Name, by: s.By, index: s.Index, from: t, to: t, started: n}
		b.m.steps = append(b.m.steps, cur)
	}
	cur.to = max(cur.to, t)
	if s.Command != "" {
		cur.command = s.Command
	}
	if s.Output != "" {
		cur.add(s.Output)
	}
	if s.Event != "ended" {
		return
	}
	cur.done, cur.ended = true, n
	cur.outcome, cur.exit, cur.seconds = s.Outcome, s.Exit, s.Seconds
	cur.expected, cur.err = s.Expected, s.Error
}

// add keeps the beginning and the end of what a command wrote.
func (s *step) add(text string) {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	s.lines += strings.Count(text, "\n")
	if room := maxOutput - len(s.output); room > 0 && s.tail == "" {
		head := text[:min(len(text), room)]
		s.output += head
		text = text[len(head):]
	}
	s.tail += text
	if over := len(s.tail) - maxOutput; over > maxOutput {
		s.cut += over
		s.tail = s.tail[over:]
	}
}

func (b *Builder) alert(n int64, t float64, a *evidence.Alert) {
	key := a.Metric + "\x00" + a.Of
	if a.Event == "cleared" {
		if s := b.open[key]; s != nil {
			s.to, s.open, s.ended = t, false, n
			b.m.alerts = append(b.m.alerts, *s)
			delete(b.open, key)
		}
		return
	}
	if b.open[key] == nil && len(b.m.alerts) < maxListed {
		b.open[key] = &span{name: strings.TrimSpace(a.Metric + " " + a.Of), text: describe(evidence.Event{Alert: a}), from: t, open: true, n: n}
	}
}

// Cut says that the log has no end, and why.
func (b *Builder) Cut(why string) { b.m.Cut = why }

// Model ends the report. head is that of the log's chain.
func (b *Builder) Model(v verdict.Verdict, head string) *Model {
	m := b.m
	m.Verdict, m.Head = v, head
	for _, l := range m.last {
		for _, j := range []found[evidence.Journey]{l.ok, l.failed} {
			if j.n > 0 {
				b.remember(j.n, j.t, &j.what)
			}
		}
	}
	for _, c := range m.caches {
		b.remember(c.n, c.t, &c.what)
	}
	for _, i := range b.beats {
		b.remember(i.n, i.t, &i.what)
	}
	if b.other.n > 0 {
		b.remember(b.other.n, b.other.t, &b.other.what)
	}
	if m.End == nil && m.Cut == "" {
		m.Cut = fmt.Sprintf("It stops after event %d, at %s.", m.Events, offset(m.Seconds))
	}
	for _, s := range b.open {
		m.alerts = append(m.alerts, *s)
	}
	slices.SortFunc(m.alerts, func(a, b span) int { return int(a.n - b.n) })
	order := func(list []*track, names []string) {
		place := func(k *track) int {
			if i := slices.Index(names, k.name); i >= 0 {
				return i
			}
			return len(names)
		}
		slices.SortStableFunc(list, func(a, b *track) int { return cmp.Or(place(a)-place(b), strings.Compare(a.name, b.name)) })
	}
	order(m.instances, m.Run.Instances)
	order(m.nodes, m.Run.Nodes)
	for i := range m.alerts {
		if m.alerts[i].open {
			m.alerts[i].to = m.Seconds
		}
	}
	for i := range m.phases {
		if m.phases[i].open {
			m.phases[i].to = m.Seconds
		}
	}
	return &m
}

// Cite reads the log once more for the events that the verdict cites and that were not kept on the first pass, which
// keeps a bounded number, and for when the writes that are listed were sent, and their traces. Without it such an event is
// listed by its number alone, and such a write by its key alone.
func (m *Model) Cite(events iter.Seq2[evidence.Event, error]) error {
	missing := map[int64]bool{}
	for _, n := range append(m.citedNumbers(), m.checklistNumbers()...) {
		if _, ok := m.cited[n]; !ok {
			missing[n] = true
		}
	}
	m.settled = map[string]*settled{}
	for _, w := range m.writes {
		if w.what.Key != "" && w.what.Fate != evidence.Phantom { // nobody sent a phantom
			m.settled[w.what.Key] = &settled{}
		}
	}
	unanswered := len(m.settled)
	if len(missing)+unanswered == 0 {
		return nil
	}
	for e, err := range events {
		if err != nil {
			return fmt.Errorf("read the events that are cited: %w", err)
		}
		if missing[e.N] {
			m.cited[e.N] = cite(e)
			delete(missing, e.N)
		}
		if w := e.Write; w != nil && w.Event != evidence.Audited && !w.Cancels && m.settled[w.Key] != nil {
			s := m.settled[w.Key]
			if s.trace == "" {
				s.trace = e.Write.Trace
			}
			if e.Write.Event == evidence.Invoked {
				s.sent = float64(e.T)
			} else if s.answered == 0 {
				s.answered = float64(e.T)
				unanswered--
			}
		}
		if len(missing)+unanswered == 0 {
			return nil
		}
	}
	return nil
}

// citedNumbers are the events that the verdict cites, in order.
func (m *Model) citedNumbers() []int64 {
	var all []int64
	for _, a := range m.Verdict.Assumptions {
		all = append(all, a.Evidence...)
	}
	for _, p := range m.Verdict.Promises {
		all = append(all, p.Evidence...)
	}
	for _, r := range m.Verdict.Replicas {
		if r.Evidence > 0 {
			all = append(all, r.Evidence)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// clock is when a clock stood, and whether it did.
func (m *Model) clock(name string) (float64, bool) {
	if at := m.Verdict.Clocks[name]; at != nil {
		return float64(*at), true
	}
	for _, k := range m.marks {
		if k.name == name {
			return k.t, true
		}
	}
	return 0, false
}

// Entry is the run as a line of a set. dir is its directory, relative to the set's.
func (m *Model) Entry(dir string) Entry {
	return Entry{Dir: dir, Run: m.Run, Head: m.Head, Seconds: m.Seconds, Verdict: m.Verdict}
}
