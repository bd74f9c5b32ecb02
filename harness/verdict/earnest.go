package verdict

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// What is promised of a plan that is run in earnest, where nothing is known of before and nobody sends traffic.
const (
	EarnestAlone     = "nobody else rolled the service back at the same time"
	EarnestChecked   = "every pre-check held before anything changed"
	EarnestSteps     = "every step ended as it should"
	EarnestValidated = "the plan's validation held"
	EarnestStayed    = "the validation went on to hold"
	EarnestData      = "every write and every row is as it should be"
)

// judgeEarnest says what can be said of a plan that was run outside of a drill: what was not looked at is not judged, and a
// pass says no more than that the plan did what it says.
func judgeEarnest(f *Facts) Verdict {
	j := &judging{f: f, run: f.run}
	v := Verdict{PromiseList: PromiseList, Assumptions: []Assumption{}, Clocks: Clocks{}, Replicas: []Replica{}, Writes: []Window{}}
	for _, name := range []string{evidence.ClockStarted, evidence.ClockCommandReturned, evidence.ClockWatchEnded} {
		if t, ok := f.clock(name); ok {
			at := evidence.Offset(t.seconds())
			v.Clocks[name] = &at
		}
	}
	v.Promises = []Promise{j.earnestAlone(), j.earnestChecked(), j.earnestSteps(), j.earnestValidated(), j.earnestStayed(),
		{Name: EarnestData, State: NotApplicable, Finding: "nobody knows what was there before: a drill of this plan looks at it"}}
	if hasReceiver(j) == "" {
		r := handedOver(j)
		v.Promises = append(v.Promises, Promise{Name: HandedOver, State: r.state, Finding: r.finding, Evidence: r.evidence, Remedy: r.remedy})
	}
	v.Verdict = j.verdict(v)
	if v.Because = sentence(j.stopped()); v.Because == "" {
		v.Because = j.earnestBecause(v)
	}
	return v
}

func (j *judging) earnestBecause(v Verdict) string {
	for _, state := range []string{Broken, Unjudged} {
		for _, p := range v.Promises {
			if p.State == state {
				return sentence(fmt.Sprintf("%q %s: %s", p.Name, map[string]string{Broken: "is broken", Unjudged: "could not be judged"}[state], p.Finding))
			}
		}
	}
	return "Every step ended as it should, and the plan's validation held and went on to hold; writes, rows and replicas were not looked at."
}

func (j *judging) earnestAlone() Promise {
	p := Promise{Name: EarnestAlone, State: Unjudged, Finding: "it was not seen whether the lock was taken"}
	for _, l := range j.f.locks {
		p.Evidence = append(p.Evidence, l.n)
		switch {
		case l.outcome == evidence.StepOK && j.run.Lease:
			p.State, p.Finding = Kept, "it held the lock on this machine and the lease, which counts on all machines"
		case l.outcome == evidence.StepOK:
			p.State, p.Finding = Kept, "it held the lock on this machine; service.yaml names no lease, so nothing is known of other machines"
		default:
			p.Finding = l.why
		}
	}
	for _, s := range j.last(evidence.PartStep) {
		if strings.Contains(s.why, "was taken over by") {
			p.State, p.Finding, p.Evidence = Unjudged, s.why, append(p.Evidence, s.n)
		}
	}
	return p
}

// last is how each check or step of a part ended last, in order.
func (j *judging) last(part string) []step {
	var all []step
	for _, s := range j.f.steps {
		if s.part != part {
			continue
		}
		if i := slices.IndexFunc(all, func(o step) bool { return o.index == s.index }); i >= 0 {
			all[i] = s
		} else {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b step) int { return a.index - b.index })
	return all
}

func (j *judging) earnestChecked() Promise {
	p := Promise{Name: EarnestChecked, State: Kept}
	held := 0
	for _, s := range j.last(evidence.PartBefore) {
		p.Evidence = append(p.Evidence, s.n)
		switch {
		case s.outcome == evidence.StepOK:
			held++
		case p.State == Kept:
			p.State, p.Finding = Broken, fmt.Sprintf("%s: %s", s.name, s.why)
		}
	}
	switch out := j.run.Earnest.Without; {
	case p.State == Broken:
	case len(out) > 0:
		p.State, p.Finding = Unjudged, fmt.Sprintf("%s left %s out: %s", j.run.Earnest.Operator, list(out, 6), j.run.Earnest.Why)
	case held < len(j.run.Plan.Before):
		p.State, p.Finding = Unjudged, fmt.Sprintf("%d of %d were asked", held, len(j.run.Plan.Before))
	default:
		p.Finding = fmt.Sprintf("%d of %d", held, held)
	}
	return p
}

func (j *judging) earnestSteps() Promise {
	p := Promise{Name: EarnestSteps, State: Unjudged}
	ok, earlier := 0, 0
	for _, s := range j.last(evidence.PartStep) {
		p.Evidence = append(p.Evidence, s.n)
		switch {
		case s.outcome == evidence.StepOK:
			ok++
		case s.outcome == evidence.StepEarlier:
			earlier++
		case s.outcome == evidence.StepSkipped || p.State == Broken:
		case !s.ended:
			p.Finding = fmt.Sprintf("step %d (%s) began, and its end was not seen", s.index, s.name)
		default:
			p.State, p.Finding = Broken, fmt.Sprintf("step %d (%s): %s: %s", s.index, s.name, s.outcome, s.why)
			p.Remedy = "See what the step has done. Then resume the plan, or begin with the step that comes next by --from."
		}
	}
	if finding, remedy := j.wentBack(); finding != "" {
		p.Finding, p.Remedy = p.Finding+"; "+finding, remedy
	}
	switch {
	case p.State == Broken || p.Finding != "":
	case ok+earlier == len(j.run.Plan.Steps) && ok > 0:
		p.State, p.Finding = Kept, fmt.Sprintf("%d of %d", ok, ok)
		if earlier > 0 {
			p.Finding = fmt.Sprintf("%d here, and %d before by an earlier run or by the operator's word", ok, earlier)
		}
	default:
		p.Finding = fmt.Sprintf("%d of %d were run", ok+earlier, len(j.run.Plan.Steps))
	}
	return p
}

// wentBack says what was taken back of a plan that failed, and what to do then; nothing where it takes nothing back.
func (j *judging) wentBack() (finding, remedy string) {
	undo := j.last(evidence.PartUndo)
	for _, s := range undo {
		if s.outcome != evidence.StepOK && s.outcome != evidence.StepSkipped {
			return fmt.Sprintf("taking back step %d (%s) %s", s.index, s.name, either(s.ended, s.ending(), "did not end")),
				"See what is half taken back and finish it by hand: nobody simply goes on from there."
		}
	}
	if len(undo) == 0 {
		return "", ""
	}
	return count(int64(len(undo)), "step was", "steps were") + " taken back", "Mend the step that failed and start the plan anew: what it had done was taken back."
}

// first is how each validation ended the first time.
func (j *judging) firstAfter() []step {
	var all []step
	for _, s := range j.f.steps {
		if s.part == evidence.PartAfter && !slices.ContainsFunc(all, func(o step) bool { return o.index == s.index }) {
			all = append(all, s)
		}
	}
	return all
}

func (j *judging) earnestValidated() Promise {
	p := Promise{Name: EarnestValidated, State: Unjudged, Finding: "it was not asked"}
	if len(j.run.Plan.After) == 0 {
		p.Finding = "the plan states none: nothing was looked at after its last step"
		p.Remedy = "Say under `after` in the plan how it is seen that service is back."
		return p
	}
	return j.earnestAsked(p, j.firstAfter())
}

// earnestAsked judges validations by how they ended.
func (j *judging) earnestAsked(p Promise, asked []step) Promise {
	held := 0
	for _, s := range asked {
		p.Evidence = append(p.Evidence, s.n)
		switch {
		case s.outcome == evidence.StepOK:
			held++
		case !s.ended:
		case strings.HasPrefix(s.why, "could not be checked"):
			p.Finding = fmt.Sprintf("%s: %s", s.name, s.why)
		default:
			p.State, p.Finding = Broken, fmt.Sprintf("%s: %s", s.name, s.why)
		}
	}
	if p.State != Broken && held == len(j.run.Plan.After) {
		p.State, p.Finding = Kept, fmt.Sprintf("%d of %d", held, held)
	}
	return p
}

func (j *judging) earnestStayed() Promise {
	p := Promise{Name: EarnestStayed, State: Unjudged, Finding: "it was not watched to the end of its window"}
	if len(j.run.Plan.After) == 0 {
		p.Finding = "there is none"
		return p
	}
	asked := j.last(evidence.PartAfter)
	if _, ended := j.f.clock(evidence.ClockWatchEnded); !ended {
		return p
	}
	before := j.earnestValidated()
	if before.State != Kept {
		p.Finding = "it did not hold in the first place"
		return p
	}
	p = j.earnestAsked(p, asked)
	if p.State == Kept {
		p.Finding = fmt.Sprintf("for %s, asked again and again", length(j.run.Windows.Stability))
	}
	return p
}
