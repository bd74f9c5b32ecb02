package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// taking is the last word about the handoff of the incident.
type taking struct {
	n                     int64
	t                     tick
	by, event, why, proof string
}

const pausedText, approvalText = "paused", "approval"

// addApproval folds what people ordered, and when the drill waited for them.
func (f *Facts) addApproval(n int64, t tick, a *evidence.Approval) {
	if a.Event == evidence.ApprovalApproved && strings.HasPrefix(a.For, evidence.BeyondCeiling) {
		f.more = append(f.more, allowance{numbered[evidence.Approval]{n, a}, t})
	}
	switch a.Event {
	case evidence.ApprovalWaits:
		f.waiting = &span{from: t, n: n, text: pausedText}
	case evidence.ApprovalAsked:
		f.waiting = &span{from: t, n: n, text: approvalText}
	case evidence.ApprovalGoesOn, evidence.ApprovalApproved, evidence.ApprovalRefused, evidence.ApprovalExpired:
		if w := f.waiting; w != nil {
			w.to = t
			f.people, f.waiting = append(f.people, *w), nil
		}
	case evidence.ApprovalHanded, evidence.ApprovalAccepted, evidence.ApprovalDeclined, evidence.ApprovalLapsed:
		f.handoff = &taking{n: n, t: t, by: a.By, event: a.Event, why: short(a.Why), proof: a.Proof}
	case evidence.ApprovalAborted:
		if f.aborted == nil {
			f.aborted = a
		}
	}
}

// kept is how many seconds people kept the rollback waiting, from the decision until the last command returned, and how many
// of them an order to pause took. After that a wait delays the harness alone: what users have is observed all the same.
func (j *judging) kept() (people, paused float64, ns []int64) {
	f := j.f
	from, decided := f.clock(evidence.ClockDecided)
	if !decided {
		return 0, 0, nil
	}
	to := f.clockOr(evidence.ClockCommandReturned, f.last)
	all := f.people
	if f.waiting != nil {
		open := *f.waiting
		open.to = f.last
		all = append(all[:len(all):len(all)], open)
	}
	var sum, held tick
	for _, s := range all {
		took := min(s.to, to) - max(s.from, from)
		if took <= 0 {
			continue
		}
		sum += took
		if s.text == pausedText {
			held += took
			ns = append(ns, s.n)
		}
	}
	return rounded(sum.seconds()), rounded(held.seconds()), ns
}

// waited says in the headline what people took of the time, since the speed alone does not.
func (j *judging) waited(s Speed) string {
	if s.People == 0 {
		return ""
	}
	return fmt.Sprintf(" People kept it waiting for %s of the time since the decision.", length(s.People))
}
