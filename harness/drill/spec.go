// Package drill runs the phases of one drill. Drill.go is the page that tells the whole story.
package drill

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/service"
	"backout/harness/traffic"
	"backout/harness/verdict"
)

// Spec is a drill as it was compiled from a scenario, before anything was started.
type Spec struct {
	Name    string   // the scenario's
	Feature string   // the feature's name
	Path    string   // of the feature file
	Line    int      // of the scenario
	Text    string   // of the feature file
	Tags    []string // without duplicates, "@gate"

	Service    *service.Service
	Dependants []*service.Service
	Runs       map[string]*service.Release // what the dependants run, by service
	Good       *service.Release            // before, and the target of the rollback
	Bad        *service.Release            // what is deployed and rolled back
	Together   []*service.Release          // what dependants get together with Bad, in the order of their names
	Plan       *service.Plan

	Streaming   bool
	Logical     bool
	Synchronous bool             // a commit waits for the streaming replica
	Budget      *evidence.Budget // what may be lost in all; nil: nothing beyond the service's own budgets
	Rows        map[string]int   // table -> rows, over the service's own
	Rate        float64          // journeys per second
	Users       int

	Lease bool // rollbacks on all machines take turns by a lease, though service.yaml names none
	// LeaseInCluster: they do by a Lease of Kubernetes, in the drill's namespace.
	LeaseInCluster bool

	Second   *evidence.Second   // a second operator comes; nil: none does
	Death    *evidence.Death    // the machine dies that runs the plan; nil: it lives
	Starter  string             // a person whom the drill plays starts the rollback; empty: nobody
	Approver *evidence.Approver // a person whom the drill plays is asked for approval; nil: nobody
	Taker    *evidence.Approver // a person whom the drill plays takes the incident over; nil: nobody
	Trips    bool               // the breaker decides to roll back, in place of the harm that is seen
	Herd     *evidence.Herd     // clients come back when service is restored; nil: nobody had given up

	Faults   []evidence.DeclaredFault
	Promises []evidence.Promise
	Expect   *evidence.Expect

	// Of a mutant: a drill whose plan was changed by a rule.
	Variant string            // tells it from the drill that it was made of: part of the folder's name
	Overlay map[string]string // path in the deployed directory of Bad -> text that is put there
	Repeat  string            // the command that repeats it, in place of the scenario's
	Mutant  *evidence.Mutant  // what was changed
}

// Alone says whether the drill judges latency, and so must run with nothing beside it.
func (s *Spec) Alone() bool { return slices.Contains(s.Tags, "@alone") }

// Control says whether the drill has a sabotaged plan and must go red.
func (s *Spec) Control() bool { return slices.Contains(s.Tags, "@control") }

// ByItsPlan says whether the release is rolled back by its right plan, and not by another of that release.
func (s *Spec) ByItsPlan() bool {
	return s.Plan != nil && strings.HasPrefix(filepath.Base(s.Plan.Path), "rollback.")
}

// givesUp says whether the plan must take back what it did, so that service is not restored by it.
func (s *Spec) givesUp() bool { return s.Expect != nil && s.Expect.GivesUp }

// FaultKinds are the kinds of fault that are declared, each once.
func (s *Spec) FaultKinds() []string {
	var kinds []string
	for _, f := range s.Faults {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	return kinds
}

// Where is the scenario's place, "features/database/drops-a-column.feature:14".
func (s *Spec) Where() string { return fmt.Sprintf("%s:%d", s.Path, s.Line) }

// Short is a name for a folder and for a line of progress.
func (s *Spec) Short() string {
	base := strings.TrimSuffix(filepath.Base(s.Path), ".feature")
	if s.Variant != "" {
		return fmt.Sprintf("%s-%d-%s", base, s.Line, s.Variant)
	}
	return fmt.Sprintf("%s-%d", base, s.Line)
}

// Windows of a drill by name. A gate is short enough for each sprint's CI; a quarterly drill waits longer, since some
// reconcilers do.
func Windows(name string, alone bool) (evidence.Windows, error) {
	w := evidence.Windows{Name: name, Baseline: 5, Beat: 1, Probe: 0.1}
	if alone {
		w.Baseline = 15
	}
	switch name {
	case "gate":
		w.Stability, w.Patience = 10, 15
	case "quarterly":
		w.Stability, w.Patience = 60, 120
	default:
		return w, fmt.Errorf("windows %q: expected gate or quarterly", name)
	}
	return w, nil
}

// inFlight is the limit of journeys under way at once: two seconds of arrivals, which a steady service never reaches.
func inFlight(rate float64) int { return max(50, int(2*rate)) }

// resolve is the first event of the log: everything that judging needs.
func (s *Spec) resolve(o Options) (*evidence.Run, error) {
	windows, err := Windows(o.Windows, s.Alone())
	if err != nil {
		return nil, err
	}
	digests, err := s.digests()
	if err != nil {
		return nil, err
	}
	rests, err := s.Bad.RollbackFiles(s.Plan)
	if err != nil {
		return nil, fmt.Errorf("list what the rollback rests on: %w", err)
	}
	run := &evidence.Run{
		Name: s.Name, Feature: s.Feature, Path: s.Path, Line: s.Line, Text: s.Text, Tags: s.Tags,
		Again: fmt.Sprintf("backout run %s --env %s --seed %d", s.Where(), o.Environment, o.Seed),
		Seed:  o.Seed, Environment: o.Environment, Alone: s.Alone(), Windows: windows,
		Traffic:     evidence.Traffic{Rate: s.Rate, Users: s.Users, InFlight: inFlight(s.Rate)},
		Service:     s.Service.Evidence(),
		Good:        s.Good.Name,
		Release:     s.Bad.Evidence(),
		Plan:        s.Plan.Evidence(),
		PromiseList: verdict.PromiseList,
		Promises:    s.Promises,
		Expect:      s.Expect,
		Second:      s.Second,
		Lease:       s.leases(),
		Death:       s.Death,
		Budget:      s.Budget,
		Herd:        s.Herd,
		Trips:       s.Trips,

		Communication: s.Plan.Told().Evidence(windows.Stability),

		Mutant:   s.Mutant,
		Faults:   s.Faults,
		Digests:  digests,
		Rollback: rests,
		Machine:  machine(),
	}
	run.Starter, run.Approver, run.Taker = cmp.Or(s.Starter, o.By), s.Approver, s.Taker
	if s.Repeat != "" {
		run.Again = s.Repeat
	}
	if windows.Name != "gate" {
		run.Again += " --windows " + windows.Name
	}
	run.Release.Schema = s.Bad.MigrateTo != s.Good.MigrateTo
	for _, d := range s.Dependants {
		run.Dependants = append(run.Dependants, d.Evidence())
	}
	for _, r := range s.Together {
		run.Together = append(run.Together, evidence.Together{Service: r.Service.Name, Release: r.Name, Target: s.Runs[r.Service.Name].Name})
	}
	if dynamic(o.Environment) {
		run.Replicas = s.Service.Instances
		if k := s.Service.Kubernetes; k != nil {
			run.Replicas += k.Background
		}
	} else {
		for i := 1; i <= s.Service.Instances; i++ {
			run.Instances = append(run.Instances, fmt.Sprintf("%s-%d", s.Service.Name, i))
		}
	}
	if s.Service.Database != nil {
		run.Rows = maps.Clone(s.Service.Database.Rows)
		if run.Rows == nil {
			run.Rows = map[string]int{}
		}
		maps.Copy(run.Rows, s.Rows)
		run.Nodes = append(run.Nodes, "primary")
		if s.Streaming {
			run.Nodes = append(run.Nodes, "streaming")
		}
		if s.Logical {
			run.Nodes = append(run.Nodes, "logical")
		}
	}
	return run, nil
}

// dynamic says whether instances come and go in an environment, as pods do, so that none has a name before it is there.
func dynamic(environment string) bool { return service.Way(environment) == service.InKubernetes }

func (s *Spec) digests() (map[string]string, error) {
	digests, err := service.Digests(append([]string{s.Path, s.Service.Path}, s.Bad.Files(s.Plan)...)...)
	for path, text := range s.Overlay {
		digests[s.Variant+"/"+path] = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	}
	return digests, err
}

// Lines are the numbered drill plan, as `backout plan` prints it. Nothing is run for it.
func (s *Spec) Lines(o Options) []string {
	w, err := Windows(o.Windows, s.Alone())
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	say := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%2d  ", len(lines)+1)+fmt.Sprintf(format, args...))
	}
	nodes := "no database"
	if s.Service.Database != nil {
		nodes = "primary"
		if s.Streaming {
			nodes += ", streaming replica"
		}
		if s.Logical {
			nodes += ", logical replica"
		}
		if s.Synchronous {
			nodes += "; commits wait for the streaming replica"
		}
		if rows := rowText(s.Rows); rows != "" {
			nodes += " with " + rows
		}
	}
	if len(s.Service.Caches) > 0 {
		nodes += "; " + cacheText(s.Service.Caches)
	}
	runs := fmt.Sprintf("%d instances of %s on %s%s", s.Service.Instances, s.Service.Name, s.Good.Name, dependantText(s.Dependants))
	if s.Service.Instances == 0 {
		runs = fmt.Sprintf("%s on %s, which nothing runs for", s.Service.Name, s.Good.Name)
	}
	say("provision   %s: %s; %s", o.Environment, nodes, runs)
	if s.Rate > 0 {
		say("traffic     %g journeys per second by %d users, at most %d in flight, seed %d", s.Rate, s.Users, inFlight(s.Rate), o.Seed)
	} else {
		say("traffic     none: nothing runs")
	}
	say("baseline    %g s of steady state", w.Baseline)
	rollout, err := s.Bad.RolloutFor(o.Environment)
	if err != nil {
		say("deploy      %v", err)
	}
	for _, step := range rollout {
		say("deploy      %s: %s", s.Bad.Name, oneLine(step.Run))
	}
	for _, r := range s.Together {
		say("together    %s gets %s, and comes back to %s", r.Service.Name, r.Name, s.Runs[r.Service.Name].Name)
	}
	say("expect      %s", expectation(s.Bad))
	if s.leases() {
		what := "a row in a database of the drill's own"
		if s.leaseInCluster(o.Environment) {
			what = "a Lease in the drill's namespace"
		}
		say("lease       %s, taken before anything else, renewed while the plan runs, and asked before each step; free %s after its last renewal", what, leaseExpiry(s.Service))
	}
	for _, c := range s.Plan.Before {
		say("pre-check   %s", c.Words())
	}
	if c := s.Plan.Ceiling; c != nil {
		say("ceiling     %s; beyond it a person is asked within %s, or the plan stops", c, c.Within)
	}
	if a := s.Plan.Approval; a != nil && a.Words() != "" {
		say("approval    %s%s", a.Words(), s.players())
	}
	for i, step := range s.Plan.Steps {
		if s.Second != nil && s.Second.Before == i+1 {
			where := ""
			if s.Second.Elsewhere {
				where = " on another machine"
			}
			say("meanwhile   a second operator%s starts the same rollback, and must be refused", where)
		}
		for _, f := range s.Faults {
			if f.Before == i+1 {
				say("fault       %s", fault.Words(f))
			}
		}
		if step.Expires > 0 {
			say("approval    a person approves step %d within %s, or the plan stops: backout approve", i+1, step.Expires)
		}
		say("roll back   %s: %s  (within %s, again: %s)%s", step.Name, oneLine(step.Run), step.Timeout, step.Again, place(s.Plan, i+1))
		if s.Death != nil && s.Death.Step == i+1 {
			say("meanwhile   the machine that runs it dies %s; somebody starts the plan again %s", dying(s.Death), beginning(s.Death))
		}
	}
	for _, step := range slices.Backward(s.Plan.Steps) {
		if u := step.Undo; u != nil && !u.Nothing {
			say("take back   %s, when the plan fails after it: %s  (within %s)", step.Name, oneLine(u.Run), u.Timeout)
		}
	}
	for _, c := range s.Plan.After {
		say("validate    %s", c.Words())
	}
	say("watch       until service has stayed restored for %g s; at most %s; patience %g s", w.Stability, time.Duration(s.limit()*float64(time.Second)), w.Patience)
	if h := s.Herd; h != nil {
		rate := h.Times * s.Rate
		say("herd        %g times as many clients come back once it is restored: %g journeys per second in addition for %g s, at most %d in flight; watched for %g s more",
			h.Times, rate, h.Seconds, traffic.HerdInFlight(rate, traffic.DefaultTimeout), w.Stability)
	}
	say("audit       quiet point; ledger, frozen rows, fingerprints, schema, references, invariants, sequences, jobs, sessions, dependants")
	for _, line := range people(s.Plan.Told().Evidence(w.Stability)) {
		say("people      %s", line)
	}
	if t := s.Taker; t != nil {
		say("people      the drill plays %s, who accepts it %g s after it is handed over", t.By, t.After)
	}
	if b := s.Budget; b != nil {
		say("budget      %d acknowledged writes may be lost: %s", b.Lost, b.Why)
	}
	said := "" // one sentence may stand for several checks
	for _, p := range s.Promises {
		if p.Text != said {
			say("promise     %s", p.Text)
		}
		said = p.Text
	}
	if e := s.Expect; e != nil {
		if e.Refuses != "" {
			for _, check := range append([]string{e.Refuses}, e.Also...) {
				say("expect      the plan refuses because %q", check)
			}
		}
		if e.GivesUp {
			say("expect      a step fails, and the plan takes back what it did")
		}
		if e.Fails != "" {
			if s.Plan.Sabotage != nil {
				say("sabotage    %s", s.Plan.Sabotage.What)
			}
			say("expect      the drill fails because %q", e.Fails)
		}
	}
	return lines
}

// players are the people whom the drill plays, in words.
func (s *Spec) players() string {
	text := ""
	if s.Starter != "" {
		text += fmt.Sprintf("; the drill plays %s, who starts it", s.Starter)
	}
	if a := s.Approver; a != nil {
		text += fmt.Sprintf("; the drill plays %s, who is to approve it %g s after being asked", a.By, a.After)
	}
	return text
}

// limit is how many seconds after the decision watching ends at the latest.
func (s *Spec) limit() float64 {
	limit := s.Service.Evidence().Target
	for _, p := range s.Promises {
		if p.Check == verdict.RestoredInTime && p.Within > 0 {
			limit = p.Within
		}
	}
	return limit
}

func expectation(r *service.Release) string {
	switch {
	case r.Good:
		return r.Name + " is good: it is rolled back 5 s after it was deployed, and must lose nothing"
	case len(r.Harms) > 0:
		var parts []string
		for _, h := range r.Harms {
			parts = append(parts, harmText(h))
		}
		return "harm within " + r.Within.String() + ": " + strings.Join(parts, "; ")
	}
	var parts []string
	for name, t := range r.Traps {
		parts = append(parts, fmt.Sprintf("%s at least %g", name, t.AtLeast))
	}
	sort.Strings(parts)
	return "traps within " + r.Within.String() + ": " + strings.Join(parts, "; ")
}

func harmText(h service.Harm) string {
	whose := ""
	if h.Service != "" {
		whose = h.Service + "'s "
	}
	switch {
	case h.SuccessBelow > 0:
		return fmt.Sprintf("success of %s%s below %g %%", whose, h.Journey, 100*h.SuccessBelow)
	case h.LatencyAbove > 0:
		return fmt.Sprintf("p95 of %s%s above %s", whose, h.Journey, h.LatencyAbove)
	case h.Restarts > 0:
		return fmt.Sprintf("an instance restarts at least %d times", h.Restarts)
	case h.MemoryAbove > 0:
		return fmt.Sprintf("an instance takes more than %d MB", h.MemoryAbove>>20)
	case h.Invariant != "":
		return fmt.Sprintf("%q is broken", h.Invariant)
	}
	return fmt.Sprintf("jobs %q fail", h.JobsFailed)
}

func rowText(rows map[string]int) string {
	var parts []string
	for table, n := range rows {
		parts = append(parts, fmt.Sprintf("%d %s", n, table))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

func cacheText(caches map[string]service.Cache) string {
	var names []string
	for name := range caches {
		names = append(names, name)
	}
	sort.Strings(names)
	return "cache of " + strings.Join(names, ", ")
}

func dependantText(dependants []*service.Service) string {
	var names []string
	for _, d := range dependants {
		names = append(names, d.Name)
	}
	if names == nil {
		return ""
	}
	return "; " + strings.Join(names, ", ")
}

// place is where a step stands among the others, for the end of a line; empty: after the one before it.
func place(p *service.Plan, step int) string {
	text := p.Place(step)
	if of := p.Steps[step-1].Of; of != "" {
		text = strings.TrimSuffix("of "+of+"; "+text, "; ")
	}
	if text == "" {
		return ""
	}
	return "  [" + text + "]"
}

func oneLine(command string) string { return strings.Join(strings.Fields(command), " ") }

func dying(d *evidence.Death) string {
	if d.Says != "" {
		return fmt.Sprintf("once the step has said %q", d.Says)
	}
	return "once the step has said anything or its first effect was seen"
}

func beginning(d *evidence.Death) string {
	if d.FromStart || d.Step == 1 {
		return "from the start"
	}
	return fmt.Sprintf("from step %d", d.Step)
}
