package verdict

import (
	"cmp"
	"fmt"

	"backout/harness/evidence"
)

// told is a message, or what became of one on a transport.
type told struct {
	n         int64
	t         tick
	channel   string
	kind      string
	event     string
	of        int64
	transport string
	why       string
	seconds   float64
}

const stakeholders = "stakeholders"

// updateGrace is what a message may come late, in seconds: the machine has other work to do, and the interval may be
// shortened to a few seconds.
const updateGrace = 1

func (f *Facts) addMessage(n int64, t tick, m *evidence.Message) {
	f.told = append(f.told, told{n, t, m.Channel, m.Kind, m.Event, m.Of, m.Transport, short(m.Error), m.Seconds})
}

// promised is of checks that apply where a drill promises them: older runs told nobody anything.
func promised(name string) func(*judging) string {
	return func(j *judging) string { return unless(j.states(name), "the drill promises nothing of the kind") }
}

func hasReceiver(j *judging) string {
	return unless(j.run.Communication != nil && j.run.Communication.Receiver != "", "nobody is named to whom it is handed over")
}

// statedWithin is the shortest time that is stated with a promise, in seconds; 0: none is.
func (j *judging) statedWithin(name string) float64 {
	least := 0.0
	for _, p := range j.run.Promises {
		if p.Check == name && p.Within > 0 && (least == 0 || p.Within < least) {
			least = p.Within
		}
	}
	return least
}

var nobodyTold = result{state: Unjudged, finding: "the log does not say whom to tell"}

// toStakeholders are the messages on their channel, in the order in which they were told.
func (j *judging) toStakeholders() (all []told) {
	for _, m := range j.f.told {
		if m.channel == stakeholders && m.event == "" {
			all = append(all, m)
		}
	}
	return all
}

// reached is when a message was delivered by the first transport that took it; where the channel has none, when it was told.
func (j *judging) reached(m told) (at tick, ok bool, why string) {
	if len(j.transports(m.channel)) == 0 {
		return m.t, true, ""
	}
	why = "it was not seen delivered"
	at = forever
	for _, d := range j.f.told {
		if d.of != m.n || m.n == 0 {
			continue
		}
		if d.event == evidence.MessageDelivered {
			at = min(at, d.t)
		} else {
			why = d.why
		}
	}
	return at, at < forever, why
}

func (j *judging) transports(channel string) (all []evidence.Transport) {
	for _, t := range j.run.Communication.Transports {
		if t.Channel == channel {
			all = append(all, t)
		}
	}
	return all
}

// firstNotice: from when it was known that something was wrong, an alert, the harm or the decision, until the first notice
// was out.
func firstNotice(j *judging) result {
	if j.run.Communication == nil {
		return nobodyTold
	}
	decided, ok := j.f.clock(evidence.ClockDecided)
	known := min(j.detected(), decided)
	if !ok {
		return result{state: Unjudged, finding: "it was not decided to roll back"}
	}
	limit := cmp.Or(j.statedWithin(FirstNotice), j.run.Communication.FirstNotice)
	over := ticks(evidence.Offset(limit))
	what := fmt.Sprintf("it was known at %s that something was wrong", at(known))
	for _, m := range j.toStakeholders() {
		if m.kind != evidence.TellsFirst {
			continue
		}
		out, reached, why := j.reached(m)
		r := result{state: Kept, evidence: []int64{m.n}}
		switch took := length((out - known).seconds()); {
		case !reached:
			r.state, r.finding = Broken, fmt.Sprintf("%s, and the first notice reached nobody: %s", what, why)
		case out-known > over:
			r.state, r.finding = Broken, fmt.Sprintf("%s, and the first notice was out %s later, at most %s allowed", what, took, length(limit))
		default:
			r.finding = fmt.Sprintf("%s, and the first notice was out %s later", what, took)
		}
		return r
	}
	if j.f.last-known <= over {
		return result{state: Unjudged, finding: fmt.Sprintf("%s, and the run ended before the first notice was due", what)}
	}
	return result{state: Broken, finding: fmt.Sprintf("%s, and no first notice went out until %s", what, at(j.f.last))}
}

// updatesInTime: from the decision until the all-clear, or until the run ends without one, news came as often as is promised.
func updatesInTime(j *judging) result {
	c := j.run.Communication
	if c == nil {
		return nobodyTold
	}
	since, ok := j.f.clock(evidence.ClockDecided)
	if !ok {
		return result{state: Unjudged, finding: "it was not decided to roll back"}
	}
	stated := cmp.Or(j.statedWithin(UpdatesInTime), c.Updates)
	times := max(c.Shortened, 1)
	most := stated / times
	allowed := fmt.Sprintf("at most %s allowed", length(stated))
	if times > 1 {
		allowed = fmt.Sprintf("at most %s allowed, shortened to %s", length(stated), length(most))
	}
	r := result{state: Kept}
	longest, n := tick(0), 0
	wait := func(until tick, cite int64) {
		if gap := until - since; gap > longest {
			longest = gap
			r.evidence = []int64{cite}
		}
		if gap := until - since; gap.seconds() > most+updateGrace {
			r.state = Broken
			r.details = append(r.details, fmt.Sprintf("nobody heard anything from %s to %s", at(since), at(until)))
		}
		since = max(since, until)
	}
	end, over := j.destroyed(), false
	for _, m := range j.toStakeholders() {
		if m.kind == evidence.TellsHandoff || over {
			continue
		}
		n++
		wait(m.t, m.n)
		over = m.kind == evidence.TellsAllClear
	}
	if !over && end > since {
		wait(end, 0)
	}
	switch {
	case n == 0 && r.state == Kept:
		return result{state: Unjudged, finding: "nobody was told anything, and nothing was due yet"}
	case n == 0:
		r.finding = fmt.Sprintf("nobody was told anything until %s, %s", at(since), allowed)
	default:
		r.finding = fmt.Sprintf("%s, and the longest wait was %s; %s", count(int64(n), "message went to stakeholders", "messages went to stakeholders"), length(longest.seconds()), allowed)
	}
	return r
}

// destroyed is when the run began to take everything away, or the last that was seen of it.
func (j *judging) destroyed() tick {
	for _, p := range j.f.phases {
		if p.name == "destroy" {
			return p.t
		}
	}
	return j.f.last
}

// noEarlyAllClear: when the all-clear was given service had been restored for the stability time, nothing that is observed
// was open, and the audit found nothing residual open either.
func noEarlyAllClear(j *judging) result {
	c := j.run.Communication
	if c == nil {
		return nobodyTold
	}
	for _, m := range j.toStakeholders() {
		if m.kind != evidence.TellsAllClear {
			continue
		}
		r := result{evidence: []int64{m.n}}
		if j.watch == nil {
			r.state, r.finding = Broken, fmt.Sprintf("the all-clear was given at %s, and nobody had decided to roll back", at(m.t))
			return r
		}
		stable := c.Stable / max(c.Shortened, 1)
		var open, unknownYet []string
		for _, l := range j.watch.missingAt(m.t) {
			if l.is == no {
				open = append(open, l.stable)
				r.evidence = append(r.evidence, l.n)
			} else {
				unknownYet = append(unknownYet, l.stable)
			}
		}
		switch {
		case j.whole == no:
			open = append(open, "service was not restored when watching ended")
		case j.whole == unknown:
			unknownYet = append(unknownYet, "it is not known whether service was restored")
		case j.restoredAt > m.t:
			open = append(open, fmt.Sprintf("service was restored %s later", length((j.restoredAt-m.t).seconds())))
		case (m.t - j.restoredAt).seconds() < stable:
			open = append(open, fmt.Sprintf("service had been restored for %s, and not for %s", length((m.t-j.restoredAt).seconds()), length(stable)))
		}
		for _, check := range []string{evidence.CheckJobs, evidence.CheckSessions, evidence.CheckEffects} {
			for _, x := range j.findings(check) {
				if x.v.Asked && x.v.Bad > 0 {
					open = append(open, fmt.Sprintf("%s %s of %s", number(x.v.Bad), map[string]string{evidence.CheckJobs: "open or failed jobs", evidence.CheckSessions: "refused sessions",
						evidence.CheckEffects: "wrong effects"}[check], x.v.Of))
					r.evidence = append(r.evidence, x.n)
				}
			}
		}
		switch {
		case len(open) > 0:
			r.state, r.finding, r.details = Broken, fmt.Sprintf("the all-clear was given at %s: %s", at(m.t), list(open, 2)), open
		case len(unknownYet) > 0:
			r.state, r.finding, r.details = Unjudged, fmt.Sprintf("the all-clear was given at %s, and it is not known what was open: %s", at(m.t), list(unknownYet, 2)), unknownYet
		default:
			r.state, r.finding = Kept, fmt.Sprintf("the all-clear was given at %s, when service had been restored for %s and nothing was open", at(m.t), length((m.t-j.restoredAt).seconds()))
		}
		return r
	}
	if stopped := j.stopped(); stopped != "" {
		return result{state: Unjudged, finding: "no all-clear was given: " + stopped}
	}
	return result{state: Kept, finding: "no all-clear was given"}
}

// messagesArrive: every transport of a channel took all that was told on it, and one that is compared got it.
func messagesArrive(j *judging) result {
	if j.run.Communication == nil {
		return nobodyTold
	}
	if len(j.run.Communication.Transports) == 0 {
		return result{state: Unjudged, finding: "no channel has a transport, so nothing was sent"}
	}
	r := result{state: Kept}
	all, late := 0, 0.0
	var open []string
	for _, t := range j.run.Communication.Transports {
		sent, missing, why := 0, 0, ""
		for _, m := range j.f.told {
			if m.channel != t.Channel || m.event != "" {
				continue
			}
			sent++
			arrived := false
			for _, d := range j.f.told {
				if d.of != m.n || d.transport != t.Name {
					continue
				}
				if d.event == evidence.MessageDelivered {
					arrived, late = true, max(late, d.seconds)
				} else if d.why != "" {
					why = d.why
				}
			}
			if !arrived {
				missing++
				r.evidence = append(r.evidence, m.n)
			}
		}
		all += sent
		by := fmt.Sprintf("%s by %s", t.Channel, t.Name)
		if missing > 0 {
			r.details = append(r.details, fmt.Sprintf("%s of %s on %s did not arrive: %s", number(int64(missing)), count(int64(sent), "message", "messages"), by, cmp.Or(why, "nothing is known of them")))
		}
		if !t.Compared {
			continue
		}
		compared := false
		for _, x := range j.findings(evidence.CheckMessages) {
			if x.v.Of != by || !x.v.Asked {
				continue
			}
			compared = true
			r.evidence = append(r.evidence, x.n)
			if x.v.Bad > 0 {
				r.details = append(r.details, fmt.Sprintf("%s never got %s of %s that the transcript holds", by, number(x.v.Bad), count(x.v.Checked, "message", "messages")))
			}
		}
		if !compared {
			open = append(open, by+" was not asked what it got")
		}
	}
	switch {
	case len(r.details) > 0:
		r.state, r.finding = Broken, list(r.details, 2)
	case all == 0:
		r.state, r.finding = Unjudged, "nothing was told"
	case len(open) > 0:
		r.state, r.finding = Unjudged, list(open, 2)
	default:
		r.finding = fmt.Sprintf("%s arrived, the latest %s after it was told", count(int64(all), "message", "messages"), length(late))
	}
	return r
}

// handedOver: the receiver who is named took the incident over.
func handedOver(j *judging) result {
	to, h := j.run.Communication.Receiver, j.f.handoff
	if h == nil {
		return result{state: Unjudged, finding: "it was not handed over to " + to + ": the run did not come so far"}
	}
	r := result{state: Broken, evidence: []int64{h.n}}
	switch h.event {
	case evidence.ApprovalAccepted:
		switch {
		case h.by != to:
			r.finding = fmt.Sprintf("it is handed over to %s, and %s accepted it at %s", to, h.by, at(h.t))
		case h.proof == "":
			r.finding = fmt.Sprintf("somebody accepted it at %s by the name %s alone, which proves nothing", at(h.t), to)
			r.remedy = "Let the receiver prove who it is, by a key or a token of people in service.yaml."
		default:
			r.state, r.finding = Kept, fmt.Sprintf("%s accepted it at %s, proven by a %s", to, at(h.t), h.proof)
		}
	case evidence.ApprovalDeclined:
		r.finding = fmt.Sprintf("%s refused it at %s: %s", h.by, at(h.t), h.why)
	case evidence.ApprovalLapsed:
		r.finding = fmt.Sprintf("%s did not answer within %s", to, length(j.run.Communication.Accepts))
	default:
		r.state, r.finding = Unjudged, fmt.Sprintf("%s had not answered yet when the run ended", to)
	}
	return r
}
