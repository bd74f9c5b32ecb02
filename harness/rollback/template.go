package rollback

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Said is one message of the template.
type Said struct{ Channel, Kind, Text string }

// updateEarly is the share of the interval after which news is due, so that it has arrived when the interval is over.
const updateEarly = 0.9

// Story is what people are told of a rollback: it folds events, and says what follows from each and from the passing of
// time. It has no clock and sends nothing. It is not safe for concurrent use.
type Story struct {
	run   *evidence.Run
	c     *evidence.Communication
	drill bool

	impacts  map[string]*impact // by journey, since since
	since    string             // of the impacts, in words
	deployed bool               // the release is being deployed, or is
	decided  evidence.Offset
	decision string // why; empty: none yet
	reason   string // of the first notice that was held back; empty: none was
	first    bool   // the first notice was told
	last     evidence.Offset
	done     map[int]bool // steps of the plan that have ended well, in this run or an earlier one
	running  string       // what runs now, in words; empty: nothing
	began    evidence.Offset
	waits    string // for whom or what the rollback waits; empty: for nothing
	returned bool   // the last command has
	restored bool
	quiet    bool // users come no more
	checks   int  // of the plan's validation that passed
	over     bool // the all-clear was given
	open     []string

	otherwise []string // what the plan tells otherwise than the template, once it did
}

// impact is how a journey went, and for whom.
type impact struct {
	all, failed int
	users, hurt map[int]bool
}

// NewStory begins with the run's first event. In a drill every message says that it is one.
func NewStory(run *evidence.Run, drill bool) *Story {
	return &Story{run: run, c: run.Communication, drill: drill, impacts: map[string]*impact{}, done: map[int]bool{}}
}

// Add folds an event and says what is told because of it.
func (s *Story) Add(e evidence.Event) []Said {
	switch {
	case e.Journey != nil:
		s.count(e.Journey)
	case e.Clock != nil:
		return s.clock(e.T, e.Clock)
	case e.Phase != nil && e.Phase.Name == "destroy":
		return s.end(e.T)
	case e.Step != nil:
		return s.step(e.T, e.Step)
	case e.Alert != nil && s.deployed:
		return s.alert(e.T, e.Alert)
	case e.Approval != nil:
		return s.approval(e.T, e.Approval)
	}
	return nil
}

// Asks says whether it matters now what is open.
func (s *Story) Asks() bool { return s.returned && !s.quiet && !s.over }

// Due says what is told because time has passed. open asks what is not as before now; it is asked only where that matters.
func (s *Story) Due(now evidence.Offset, open func() []string) []Said {
	var all []Said
	if s.Asks() {
		s.open = open()
		switch whole := len(s.open) == 0; {
		case whole && !s.restored:
			s.restored = true
			all = append(all, s.stakeholders(now, evidence.TellsMilestone, "Service restored: users are served as before, %s after the decision.", span(float64(now-s.decided))),
				s.stakeholders(now, evidence.TellsCompleted, "Rollback completed. Caution: residual effects may still show, such as stale cache entries, replication lag, queued or failed jobs, sessions that are refused. The final word comes after %s; until then there is no all-clear.",
					s.shortened(s.c.Stable, " of stability")))
		case !whole && s.restored:
			s.restored = false
			all = append(all, s.stakeholders(now, evidence.TellsMilestone, "Not as before again: %s.", some(s.open)))
		}
	}
	if s.first && !s.over && float64(now-s.last) >= updateEarly*s.c.Updates/s.c.Shortened {
		all = append(all, s.stakeholders(now, evidence.TellsUpdate, "Update: %s. Impact: %s.%s", s.phase(now), s.impact(), s.stillOpen()))
		s.begin("since the last update")
	}
	return all
}

// Otherwise is what the plan told otherwise than the template, in words; empty: nothing yet.
func (s *Story) Otherwise() string { return strings.Join(s.otherwise, "; ") }

func (s *Story) clock(t evidence.Offset, c *evidence.Clock) []Said {
	var all []Said
	action := func(format string, args ...any) { all = append(all, s.status(format, args...)) }
	switch c.Name {
	case evidence.ClockDeployBegun:
		s.deployed = true
		s.begin("since the deploy began")
		action("Deploying %s over %s.", s.run.Release.Name, s.run.Good)
	case evidence.ClockDeployed:
		s.begin("since " + s.run.Release.Name + " was deployed")
		action("Deployed %s.", s.run.Release.Name)
	case evidence.ClockDecided:
		s.decided, s.decision = t, strings.TrimSuffix(cmp.Or(c.Why, "it was ordered"), ".")
		action("Decided to roll back: %s.", s.decision)
		all = append(all, s.milestone(t, "Decided to roll back %s to %s (plan: %s, %s): %s.", s.run.Release.Name, s.run.Good, s.run.Plan.Name, count(len(s.run.Plan.Steps), "step"), s.decision)...)
		all = append(all, s.firstNotice(t, s.decision)...)
	case evidence.ClockApproved:
		action("Approved: %s.", c.Why)
	case evidence.ClockStarted:
		action("Rollback started.")
		all = append(all, s.milestone(t, "Rollback started: %s.", count(len(s.run.Plan.Steps), "step"))...)
	case evidence.ClockCommandReturned:
		s.returned, s.running = true, ""
		action("The last command has returned.")
		if s.reason != "" {
			reason := s.reason
			s.reason = ""
			all = append(all, s.tellFirst(t, reason))
		}
		if s.c.AllClear == service.TellAfterSteps {
			s.otherwise = append(s.otherwise, "the all-clear was given when the last command had returned, whatever was open")
			all = append(all, s.allClear(t))
		}
	case evidence.ClockQuietBegun:
		s.quiet = true
	case evidence.ClockAllClear:
		action("Nothing is open any more.")
		if !s.over && s.c.AllClear != service.TellAfterSteps {
			s.restored = true
			all = append(all, s.allClear(t))
		}
	}
	return all
}

func (s *Story) step(t evidence.Offset, e *evidence.Step) []Said {
	name := cmp.Or(e.Name, "the lock on rollbacks")
	what, of := map[string]string{evidence.PartRollout: "deploy", evidence.PartLock: "lock", evidence.PartBefore: "pre-check", evidence.PartStep: "step", evidence.PartUndo: "taking back step", evidence.PartAfter: "validation"}[e.Part], ""
	if e.By != "" {
		what = e.By + ": " + what
	}
	if e.Part == evidence.PartStep || e.Part == evidence.PartUndo {
		of = fmt.Sprintf(" %d of %d", e.Index, len(s.run.Plan.Steps))
	}
	what = strings.ToUpper(what[:1]) + what[1:] + of
	switch e.Event {
	case "started":
		if e.Part == evidence.PartStep && e.By == "" {
			s.running, s.began = fmt.Sprintf("step%s runs (%s)", of, name), t
		}
		return []Said{s.status("%s started: %s.", what, name)}
	case "ended":
	default:
		return nil // output
	}
	ended := e.Outcome
	if e.Seconds > 0 {
		ended += " after " + span(e.Seconds)
	}
	all := []Said{s.status("%s ended: %s: %s.", what, name, withWhy(ended, e.Error))}
	if e.By != "" {
		return all
	}
	ok := e.Outcome == evidence.StepOK
	switch e.Part {
	case evidence.PartBefore:
		if !ok && e.Outcome != evidence.StepSkipped {
			all = append(all, s.milestone(t, "The rollback stopped before it changed anything: %s.", withWhy(name, e.Error))...)
		}
	case evidence.PartUndo:
		switch {
		case ok:
			all = append(all, s.milestone(t, "Step%s was taken back: %s.", of, name)...)
		case e.Outcome != evidence.StepSkipped:
			all = append(all, s.milestone(t, "Step%s could not be taken back: %s.", of, withWhy(name, e.Error))...)
		}
	case evidence.PartStep:
		s.running = ""
		switch {
		case ok:
			s.done[e.Index] = true
			all = append(all, s.milestone(t, "Step%s completed: %s (%d %% of the plan).", of, name, 100*len(s.done)/len(s.run.Plan.Steps))...)
		case e.Outcome == evidence.StepEarlier:
			s.done[e.Index] = true
		case e.Outcome == evidence.StepDied:
			all = append(all, s.milestone(t, "The machine that runs the rollback died in step%s. Somebody starts it again.", of)...)
		case e.Outcome != evidence.StepSkipped:
			all = append(all, s.milestone(t, "Step%s %s: %s. %s", of, e.Outcome, withWhy(name, e.Error), s.then(e.Index))...)
		}
	case evidence.PartAfter:
		if !ok {
			return append(all, s.milestone(t, "Validation failed: %s.", withWhy(name, e.Error))...)
		}
		if s.checks++; s.checks == len(s.run.Plan.After) {
			all = append(all, s.milestone(t, "Validation passed: %s.", count(s.checks, "check"))...)
		}
	}
	return all
}

// then is what becomes of the plan when a step of it fails.
func (s *Story) then(step int) string {
	if step > 0 && step <= len(s.run.Plan.Steps) {
		switch s.run.Plan.Steps[step-1].Fails {
		case service.Continues:
			return "What does not need it goes on."
		case service.Compensates:
			return "What was done is taken back."
		}
	}
	return "The rollback stopped there."
}

func (s *Story) alert(t evidence.Offset, a *evidence.Alert) []Said {
	what := strings.TrimSpace(a.Metric + " of " + a.Of)
	what = strings.TrimSuffix(what, " of")
	if a.Event != "raised" {
		return []Said{s.status("Alert cleared: %s.", what)}
	}
	return append([]Said{s.status("Alert: %s.", what)}, s.firstNotice(t, "an alert was raised: "+what)...)
}

func (s *Story) approval(t evidence.Offset, a *evidence.Approval) []Said {
	what := a.Event
	if a.For != "" {
		what += ": " + a.For
	}
	all := []Said{s.status("%s: %s.", a.By, withWhy(what, a.Why))}
	told := func(format string, args ...any) {
		all = append(all, s.stakeholders(t, evidence.TellsHandoff, format, args...))
	}
	if a.Event == evidence.ApprovalRejected || a.Event == evidence.ApprovalUnheard { // it waits on
		return all
	}
	s.waits = ""
	switch a.Event {
	case evidence.ApprovalAsked:
		s.waits = "the rollback waits for approval of " + a.For
	case evidence.ApprovalPaused, evidence.ApprovalWaits:
		s.waits = "the rollback is paused"
	case evidence.ApprovalHanded:
		told("Handed over to %s, who accepts or refuses within %s. %s. The incident is not resolved before that.", a.For, span(a.Seconds), a.Why)
	case evidence.ApprovalAccepted:
		told("%s accepted the handoff: the incident is resolved.", a.By)
	case evidence.ApprovalDeclined:
		told("%s refused the handoff: the incident is not resolved: %s.", a.By, a.Why)
	case evidence.ApprovalLapsed:
		told("%s did not answer within %s: the incident is not resolved.", a.For, span(a.Seconds))
	}
	return all
}

// firstNotice is told once, or kept until the plan wants it told.
func (s *Story) firstNotice(t evidence.Offset, reason string) []Said {
	if s.first || s.reason != "" {
		return nil
	}
	if s.c.TellFirst == service.TellAfterSteps && !s.returned {
		s.reason = reason
		s.otherwise = append(s.otherwise, "the first notice was held back")
		return nil
	}
	return []Said{s.tellFirst(t, reason)}
}

func (s *Story) tellFirst(t evidence.Offset, reason string) Said {
	s.first = true
	said := s.stakeholders(t, evidence.TellsFirst, "%s is rolled back to %s (plan: %s, %s), because %s. Impact: %s. The next update comes within %s.",
		s.run.Release.Name, s.run.Good, s.run.Plan.Name, count(len(s.run.Plan.Steps), "step"), reason, s.impact(), s.shortened(s.c.Updates, ""))
	if s.decision == "" {
		said = s.stakeholders(t, evidence.TellsFirst, "trouble since %s was deployed over %s: %s. Impact: %s. Whether to roll back is being decided. The next update comes within %s.",
			s.run.Release.Name, s.run.Good, reason, s.impact(), s.shortened(s.c.Updates, ""))
	}
	s.begin("since the first notice")
	return said
}

func (s *Story) allClear(t evidence.Offset) Said {
	s.over = true
	if s.c.AllClear == service.TellAfterSteps {
		return s.stakeholders(t, evidence.TellsAllClear, "All clear: %s is rolled back to %s.", s.run.Service.Name, s.run.Good)
	}
	return s.stakeholders(t, evidence.TellsAllClear, "All clear: %s serves %s as before and has stayed so (for %s), and nothing is open: no stale cache entry, no replication lag, no open or failed job, no session refused, as far as the service declares them.",
		s.run.Service.Name, s.run.Good, s.shortened(s.c.Stable, ""))
}

// end is told when the run ends: people were told that something is wrong, so they are told how it stands.
func (s *Story) end(t evidence.Offset) []Said {
	if !s.first || s.over {
		return nil
	}
	what := "The run"
	if s.drill {
		what = "The drill"
	}
	return []Said{s.stakeholders(t, evidence.TellsOver, "%s ends without an all-clear: %s.%s", what, s.phase(t), s.stillOpen())}
}

// milestone is told once people know that something is going on.
func (s *Story) milestone(t evidence.Offset, format string, args ...any) []Said {
	if !s.first {
		return nil
	}
	return []Said{s.stakeholders(t, evidence.TellsMilestone, format, args...)}
}

func (s *Story) stakeholders(t evidence.Offset, kind, format string, args ...any) Said {
	s.last = t
	return Said{service.ChannelStakeholders, kind, s.said(format, args...)}
}

func (s *Story) status(format string, args ...any) Said {
	return Said{service.ChannelStatus, evidence.TellsAction, s.said(format, args...)}
}

// said is a text on one line that names the service, and the drill where it is one.
func (s *Story) said(format string, args ...any) string {
	text := s.run.Service.Name + ": " + fmt.Sprintf(format, args...)
	if s.drill {
		text = "[DRILL] " + text
	}
	return strings.Join(strings.Fields(text), " ")
}

// phase is where the rollback stands.
func (s *Story) phase(now evidence.Offset) string {
	switch {
	case s.waits != "":
		return s.waits
	case s.running != "":
		return fmt.Sprintf("%s since %s", s.running, span(float64(now-s.began)))
	case s.restored:
		return "service is restored and is being watched"
	case s.returned:
		return "all commands of the plan have returned, and service is not restored yet"
	case s.decision == "":
		return "whether to roll back is being decided"
	}
	return "the rollback is under way"
}

func (s *Story) stillOpen() string {
	if !s.returned || len(s.open) == 0 {
		return ""
	}
	return " Open: " + some(s.open) + "."
}

// begin counts impact anew.
func (s *Story) begin(since string) {
	s.since = since
	clear(s.impacts)
}

func (s *Story) count(j *evidence.Journey) {
	if !s.deployed {
		return
	}
	name := j.Name
	if j.Service != "" && j.Service != s.run.Service.Name {
		name = j.Service + "'s " + name
	}
	i := s.impacts[name]
	if i == nil {
		i = &impact{users: map[int]bool{}, hurt: map[int]bool{}}
		s.impacts[name] = i
	}
	i.all++
	i.users[j.User] = true
	if j.Outcome != evidence.OK {
		i.failed++
		i.hurt[j.User] = true
	}
}

// impact says which journeys fail and for what share of users, the worst first.
func (s *Story) impact() string {
	var bad, good []string
	names := slices.SortedFunc(maps.Keys(s.impacts), func(a, b string) int {
		x, y := s.impacts[a], s.impacts[b]
		return cmp.Or(cmp.Compare(y.failed*x.all, x.failed*y.all), cmp.Compare(a, b))
	})
	for _, name := range names {
		i := s.impacts[name]
		if i.failed == 0 {
			good = append(good, name)
			continue
		}
		bad = append(bad, fmt.Sprintf("%s of %d %s journeys failed, for %d of %d users (%s)", share(i.failed, i.all), i.all, name, len(i.hurt), len(i.users), share(len(i.hurt), len(i.users))))
	}
	switch {
	case s.since == "":
		return "not observed"
	case len(names) == 0:
		return "nobody was seen " + s.since
	case len(bad) == 0:
		return fmt.Sprintf("no journey failed %s", s.since)
	}
	text := strings.Join(bad, "; ")
	if len(good) > 0 {
		text += "; none of " + strings.Join(good, ", ")
	}
	return text + ", " + s.since
}

// shortened is an interval as it is stated, and as it is in this drill.
func (s *Story) shortened(stated float64, of string) string {
	if s.c.Shortened <= 1 {
		return span(stated) + of
	}
	return fmt.Sprintf("%s%s, shortened to %s in this drill", span(stated), of, span(stated/s.c.Shortened))
}

func span(seconds float64) string {
	number := func(x float64) string {
		return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	}
	if seconds >= 120 || seconds == 60 {
		return number(seconds/60) + " min"
	}
	return number(seconds) + " s"
}

func share(of, all int) string {
	percent := 100 * float64(of) / float64(all)
	if percent > 0 && percent < 1 {
		return "below 1 %"
	}
	return fmt.Sprintf("%.0f %%", percent)
}

func count(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

// some names the first three of a list.
func some(list []string) string {
	if len(list) > 3 {
		list = append(list[:3:3], fmt.Sprintf("and %d more", len(list)-3))
	}
	return strings.Join(list, "; ")
}

func withWhy(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + strings.TrimSuffix(why, ".")
}
