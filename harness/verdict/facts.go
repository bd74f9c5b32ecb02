package verdict

import (
	"cmp"
	"strconv"
	"strings"

	"backout/harness/evidence"
)

// Facts is what a verdict needs to know of a log, folded event by event. It keeps a few bytes for each journey and each
// write and none of their texts, so that an hour at 200 journeys a second fits in some tens of megabytes.
// It is not safe for concurrent use.
type Facts struct {
	run    *evidence.Run
	phases []phase
	clocks map[string]mark // the first of each name counts
	end    *evidence.End
	cut    *cut
	last   tick // of the latest event
	gone   bool // the drill has begun to destroy: what disappears from now on is no observation

	traffic
	ledger

	instances  series[instance]            // by service and name
	pods       series[*evidence.Pod]       // what a cluster said of pods, by service and name
	endpoints  series[*evidence.Endpoints] // by Service of Kubernetes
	syncs      series[*evidence.Sync]      // by application
	firsts     map[string][]mark           // by pod: when it gave users its first answer, in each of its lives
	nodes      series[node]
	jobs       series[job]
	caches     series[cache]
	probes     series[probe]       // by name and what it is of
	schemas    map[string][]schema // by node
	production *evidence.Schema    // the baseline's schema against production's; nil: nobody compared
	digests    map[string]string   // node -> canonical digest of its stated target
	gaps       map[string][]span   // by what was not observed, as the gap names it
	steps      []step              // in the order in which they began
	locks      []taken             // in the order in which operators came
	beside     []step              // that a second operator began
	alerts     []mark              // those raised
	more       []allowance         // what people approved beyond the plan's ceiling
	breakers   []said              // the circuit breaker\'s words
	people     []span              // in which the drill waited for people
	waiting    *span               // in which it waits; nil: it does not
	aborted    *evidence.Approval  // who aborted it; nil: nobody did
	told       []told              // what people were told, and what became of it
	handoff    *taking             // the last that is known of the handoff; nil: nothing
	faults     map[string]*fault   // by name and what it is of
	faulted    []string            // keys of faults, in order
	chunks     []numbered[evidence.Chunk]
	findings   []numbered[evidence.Finding]
}

type phase struct {
	name string
	t    tick
}

type mark struct {
	t    tick
	n    int64
	text string
}

type cut struct {
	t   tick
	why string
}

type numbered[T any] struct {
	n int64
	v *T
}

type step struct {
	part      string
	index     int
	name      string
	began     tick
	n         int64 // of its start, later of its end
	ended     bool
	endedAt   tick
	outcome   string
	exit      int
	why       string // its error or the expectation that was not met
	seconds   float64
	lastLines string
}

type allowance struct {
	numbered[evidence.Approval]
	t tick
}

// taken is an operator's try to take the lock on rollbacks.
type taken struct {
	n       int64
	t       tick
	by      string // empty: whose rollback is judged
	outcome string
	holder  *evidence.Holder
	why     string
}

type fault struct {
	name    string
	n       int64 // the event that says most of it
	inForce bool
	since   tick // of inForce
	lostAt  tick // when it was seen not to be in force any more; 0: never
	lifted  bool
	gone    bool
	err     string // why it was not seen in force
	stays   string // why it was not seen gone
}

// New returns facts of an empty log.
func New() *Facts {
	return &Facts{
		clocks: map[string]mark{}, schemas: map[string][]schema{}, digests: map[string]string{},
		gaps: map[string][]span{}, faults: map[string]*fault{}, firsts: map[string][]mark{},
		traffic: newTraffic(), ledger: newLedger(),
	}
}

// Cut says that the log ended at an offset without its End event, and why.
func (f *Facts) Cut(at evidence.Offset, why string) { f.cut = &cut{t: ticks(at), why: why} }

// Add folds the next event of the log. Run comes first; of each Clock the first counts. Instances, pods, endpoints, nodes, jobs, caches,
// probes and journeys are no observations any more once the phase "destroy" has begun. Findings count whenever they come:
//
//   - Asked says whether there is an answer, Bad how much of it is wrong. An answer with an Error and nothing bad is none,
//     but for CheckQuiet, where the Error is the cause.
//   - Every question that a drill must ask is asked by name, also when all is well: one finding for each writing journey
//     (ledger, phantoms), effect, kind of job, kept value and dependant; for each node quiet, migrations and leftovers;
//     for the primary and each physical standby every frozen table, invariant and undeclared reference, and at least one
//     sequence and reference. What a subscriber holds is judged where it was asked.
//   - A write that was taken back has two fates, its own and, with Cancels, that of taking it back. An audited Write with
//     an Effect is about that effect alone. Writes that were invoked after the quiet point are the audit's own.
//
// Schema events "baseline", "watch" and "audit" say whether the node equals its target; "target" gives the digest of the
// schema that the plan states.
func (f *Facts) Add(e evidence.Event) {
	t := ticks(e.T)
	if t > f.last {
		f.last = t
	}
	switch {
	case e.Journey != nil:
		if !f.gone && f.run != nil {
			f.addJourney(e.N, t, e.Journey)
		}
	case e.Write != nil:
		f.addWrite(e.N, t, e.Write)
	case e.Run != nil:
		if f.run == nil {
			f.run = e.Run
			f.traffic.begin(e.Run)
		}
	case e.Phase != nil:
		f.phases = append(f.phases, phase{name: e.Phase.Name, t: t})
		f.gone = f.gone || e.Phase.Name == "destroy"
	case e.Clock != nil:
		if _, known := f.clocks[e.Clock.Name]; !known {
			f.clocks[e.Clock.Name] = mark{t: t, n: e.N, text: e.Clock.Why}
		}
	case e.End != nil:
		f.end = e.End
	case e.Step != nil:
		f.addStep(e.N, t, e.Step)
	case e.Alert != nil:
		if e.Alert.Event == "raised" {
			text := e.Alert.Metric
			if e.Alert.Of != "" {
				text += " of " + e.Alert.Of
			}
			f.alerts = append(f.alerts, mark{t: t, n: e.N, text: text})
		}
	case e.Breaker != nil:
		f.breakers = append(f.breakers, said{numbered[evidence.Breaker]{e.N, e.Breaker}, t})
	case e.Approval != nil:
		f.addApproval(e.N, t, e.Approval)
	case e.Message != nil:
		f.addMessage(e.N, t, e.Message)
	case e.Fault != nil:
		f.addFault(e.N, t, e.Fault)
	case e.Schema != nil:
		f.addSchema(e.N, t, e.Schema)
	case e.Chunk != nil:
		f.chunks = append(f.chunks, numbered[evidence.Chunk]{e.N, e.Chunk})
	case e.Finding != nil:
		f.findings = append(f.findings, numbered[evidence.Finding]{e.N, e.Finding})
	case e.Gap != nil:
		if e.Gap.To > e.Gap.From {
			f.gaps[e.Gap.Of] = append(f.gaps[e.Gap.Of], span{from: ticks(e.Gap.From), to: ticks(e.Gap.To), n: e.N, text: short(e.Gap.Why)})
		}
	case !f.gone:
		f.addReading(e.N, t, e)
	}
}

func (f *Facts) addReading(n int64, t tick, e evidence.Event) {
	switch {
	case e.Instance != nil:
		i := e.Instance
		f.instances.add(instanceKey(i.Service, i.Name), t, n, instance{up: i.Up, ready: i.Ready, release: f.names.of(i.Release),
			restarts: i.Restarts, memory: i.Memory})
	case e.Node != nil:
		d := e.Node
		f.nodes.add(d.Name, t, n, node{role: f.names.of(d.Role), reachable: d.Reachable, lag: d.Lag, digest: f.names.of(d.Digest),
			migration: d.Migration, err: f.names.of(short(d.Error))})
	case e.Pod != nil:
		f.addPod(n, t, e.Pod)
	case e.Endpoints != nil:
		f.endpoints.add(e.Endpoints.Service, t, n, e.Endpoints)
	case e.Sync != nil:
		f.syncs.add(e.Sync.Application, t, n, e.Sync)
	case e.Job != nil:
		j := e.Job
		oldest := tick(-1)
		if j.Oldest != nil {
			oldest = ticks(*j.Oldest) // before the start of the run: 0
		}
		f.jobs.add(j.Name, t, n, job{open: j.Open, oldest: oldest, failed: j.Failed, ok: j.OK})
	case e.Cache != nil:
		f.caches.add(e.Cache.Name, t, n, cache{stale: e.Cache.Stale, ok: e.Cache.OK, err: f.names.of(short(e.Cache.Error))})
	case e.Probe != nil:
		if e.Probe.Name == "trap" || e.Probe.Name == "invariant" || e.Probe.Name == evidence.ProbeImpact {
			f.probes.add(e.Probe.Name+" "+e.Probe.Of, t, n, probe{value: e.Probe.Value, ok: e.Probe.OK})
		}
	}
}

func (f *Facts) addPod(n int64, t tick, p *evidence.Pod) {
	f.pods.add(instanceKey(p.Service, p.Name), t, n, p)
	if p.Event != evidence.PodCreated {
		return
	}
	for i := range f.serves {
		if f.serves[i].instance == p.Name {
			f.serves[i].seen = false // it is another pod of that name
		}
	}
}

func (f *Facts) addStep(n int64, t tick, s *evidence.Step) {
	switch {
	case s.Part == evidence.PartLock:
		f.locks = append(f.locks, taken{n, t, strings.Clone(s.By), s.Outcome, s.Holder, strings.Clone(s.Error)})
		return
	case s.By != "":
		if s.Event == "started" && s.Part == evidence.PartStep {
			f.beside = append(f.beside, step{part: s.Part, index: s.Index, name: s.Name, began: t, n: n})
		}
		return
	}
	var known *step
	for i := len(f.steps) - 1; i >= 0 && known == nil; i-- {
		if f.steps[i].part == s.Part && f.steps[i].index == s.Index {
			known = &f.steps[i]
		}
	}
	switch s.Event {
	case "started":
		f.steps = append(f.steps, step{part: s.Part, index: s.Index, name: s.Name, began: t, n: n})
	case "output":
		if known != nil && !known.ended && strings.TrimSpace(s.Output) != "" {
			known.lastLines = short(lastLine(s.Output))
		}
	case "ended":
		if known == nil || known.ended { // pre-checks need not say that they start
			f.steps = append(f.steps, step{part: s.Part, index: s.Index, name: s.Name, began: t})
			known = &f.steps[len(f.steps)-1]
		}
		known.ended, known.endedAt, known.n = true, t, n
		known.outcome, known.exit, known.seconds = s.Outcome, s.Exit, s.Seconds
		known.why = short(s.Error)
		if known.why == "" && s.Expected != "" {
			known.why = "expected " + short(s.Expected)
		}
	}
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n\r\t ")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func (f *Facts) addFault(n int64, t tick, e *evidence.Fault) {
	key := faultKey(e.Name, e.Of, e.Number)
	known := f.faults[key]
	if known == nil {
		known = &fault{name: strings.TrimSpace(e.Name + " " + e.Of), n: n}
		f.faults[key] = known
		f.faulted = append(f.faulted, key)
	}
	why := short(cmp.Or(e.Error, e.Text))
	switch e.Event {
	case evidence.FaultInForce:
		if !known.inForce {
			known.inForce, known.since, known.n = true, t, n
		}
	case evidence.FaultNotInForce:
		if known.inForce && known.lostAt == 0 {
			known.lostAt, known.n = t, n
		}
		known.err = short(strings.TrimPrefix(e.Text+": "+e.Error, ": "))
	case evidence.FaultLifted:
		known.lifted, known.stays = true, why
	case evidence.FaultGone:
		known.gone = true
	case evidence.FaultNotGone:
		known.stays = why
	default:
		known.lifted, known.gone = false, false // it is brought about, maybe again
		if e.Error != "" {
			known.err = short(e.Error)
		}
	}
}

// faultKey tells faults apart: a sabotage by its words, a declared fault by its number.
func faultKey(name, of string, number int) string {
	if number > 0 {
		return "#" + strconv.Itoa(number)
	}
	return name + " " + of
}

func (f *Facts) addSchema(n int64, t tick, e *evidence.Schema) {
	if e.At == "production" {
		f.production = e
		return
	}
	if e.At == "target" {
		f.digests[e.Node] = strings.Clone(e.Digest)
		return
	}
	s := schema{t: t, n: n, at: e.At, equal: e.Equal, read: e.Error == "", digest: strings.Clone(e.Digest), err: short(e.Error)}
	if s.read && !e.Equal {
		s.missing, s.extra = changes(e.Diff)
	}
	f.schemas[e.Node] = append(f.schemas[e.Node], s)
}

// changes reads a unified diff from the target to what was found.
func changes(diff string) (missing, extra []string) {
	for line := range strings.SplitSeq(diff, "\n") {
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
		case strings.HasPrefix(line, "-") && strings.TrimSpace(line[1:]) != "":
			missing = append(missing, short(line[1:]))
		case strings.HasPrefix(line, "+") && strings.TrimSpace(line[1:]) != "":
			extra = append(extra, short(line[1:]))
		}
	}
	return missing, extra
}

// clock is when an instant came, if it came.
func (f *Facts) clock(name string) (tick, bool) {
	m, ok := f.clocks[name]
	return m.t, ok
}

// clockOr is when an instant came, or else.
func (f *Facts) clockOr(name string, or tick) tick {
	if m, ok := f.clocks[name]; ok {
		return m.t
	}
	return or
}

func instanceKey(service, name string) string { return service + "/" + name }
