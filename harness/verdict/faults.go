package verdict

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// faultInForce: what the drill does to its own environment, and what is wrong with its plan on purpose, was observed; and
// what had to be taken back was seen to be gone.
func (j *judging) faultInForce() Assumption {
	a := Assumption{Name: FaultInForce, Held: true}
	var bad, good []string
	fails := func(format string, args ...any) {
		a.Held = false
		bad = append(bad, strings.TrimSuffix(fmt.Sprintf(format, args...), ": "))
	}
	sabotaged := false
	for _, key := range j.f.faulted {
		if strings.HasPrefix(key, "#") {
			continue
		}
		x := j.f.faults[key]
		sabotaged = sabotaged || strings.HasPrefix(x.name, "sabotage")
		a.Evidence = append(a.Evidence, x.n)
		if x.inForce {
			good = append(good, x.name)
			continue
		}
		fails("%s was never in force: %s", x.name, x.err)
	}
	if j.run.Plan.Sabotage != "" && !sabotaged {
		fails("nobody asked whether the sabotage took effect: %s", j.run.Plan.Sabotage)
	}
	if d := j.run.Death; d != nil && !slices.ContainsFunc(j.f.steps, func(s step) bool {
		return s.part == evidence.PartStep && s.index == d.Step && s.outcome != evidence.StepSkipped
	}) {
		fails("the machine that runs the rollback did not die: step %d did not begin", d.Step)
	}
	for i, d := range j.run.Faults {
		x := j.f.faults[faultKey("", "", i+1)]
		if x == nil {
			fails("it was not brought about that %s: step %d did not begin", d.Text, d.Before)
			continue
		}
		a.Evidence = append(a.Evidence, x.n)
		switch {
		case !x.inForce:
			fails("it was never seen that %s: %s", d.Text, x.err)
		case x.lostAt > 0:
			fails("it was so from %s that %s, and at %s no more: %s", at(x.since), d.Text, at(x.lostAt), x.err)
		case !d.ForGood && !x.lifted:
			fails("it was not taken back that %s", d.Text)
		case !d.ForGood && !x.gone:
			fails("it was taken back that %s, and not seen to be over: %s", d.Text, x.stays)
		default:
			good = append(good, d.Text)
		}
	}
	if a.Finding = list(bad, 3); a.Held {
		a.Finding = list(good, 3)
	}
	return a
}

// undisturbed says that a drill whose point is a fault or a sabotage went without it: whatever is broken or kept then, it
// does not show what the drill is for.
func (j *judging) undisturbed() bool {
	if j.run.Plan.Sabotage == "" && len(j.run.Faults) == 0 && j.run.Death == nil {
		return false
	}
	return slices.ContainsFunc(j.assumptions, func(a Assumption) bool { return a.Name == FaultInForce && !a.Held })
}

// removed is the declared fault that took an instance or a node away for good, once that was seen; nil: none did.
func (f *Facts) removed(name string) *evidence.DeclaredFault {
	for i := range f.run.Faults {
		d := &f.run.Faults[i]
		if x := f.faults[faultKey("", "", i+1)]; d.ForGood && d.Of == name && x != nil && x.inForce {
			return d
		}
	}
	return nil
}

// Remaining are those instances or nodes that take part: what a declared fault has removed for good is judged no more.
func (f *Facts) Remaining(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return f.removed(name) != nil })
}

// aboutRemoved says whether a finding "NODE" or "NODE/..." is about what was removed.
func (f *Facts) aboutRemoved(of string) bool {
	if len(f.run.Faults) == 0 {
		return false
	}
	who, _, _ := strings.Cut(of, "/")
	return f.removed(who) != nil
}
