package verdict

import (
	"fmt"

	"backout/harness/evidence"
)

// secondRefused: who started the same rollback a second time ran nothing of it, and was told who runs it, where, since
// when, and how far it is.
func secondRefused(j *judging) result {
	var first, second *taken
	for i := range j.f.locks {
		if l := &j.f.locks[i]; l.by != "" {
			second = l
		} else if second == nil {
			first = l
		}
	}
	if second == nil {
		return result{state: Unjudged, finding: fmt.Sprintf("nobody started the rollback a second time: it did not come as far as step %d", j.run.Second.Before)}
	}
	r := result{state: Broken, evidence: []int64{second.n}}
	for _, s := range j.f.beside {
		r.details = append(r.details, fmt.Sprintf("step %d (%s) ran a second time from %s", s.index, s.name, at(s.began)))
		r.evidence = append(r.evidence, s.n)
	}
	switch second.outcome {
	case evidence.StepOK:
		r.finding = fmt.Sprintf("%s was let in at %s, beside the first one, before step %d; %s a second time", second.by, at(second.t), j.run.Second.Before,
			count(int64(len(j.f.beside)), "step ran", "steps ran"))
		return r
	case evidence.StepRefused:
	default:
		r.state, r.finding = Unjudged, "it was not seen whether the lock was held: "+short(second.why)
		return r
	}
	if len(j.f.beside) > 0 {
		r.finding = fmt.Sprintf("%s was refused, but ran %s", second.by, count(int64(len(j.f.beside)), "step", "steps"))
		return r
	}
	if first == nil || first.holder == nil {
		r.state, r.finding = Unjudged, second.by+" was refused, but it was not seen who holds the lock"
		return r
	}
	if second.holder == nil {
		r.finding = second.by + " was refused and not told who holds the lock"
		return r
	}
	var missing []string
	for _, x := range []struct {
		what string
		told bool
	}{
		{"who", second.holder.Operator == first.holder.Operator},
		{"where", second.holder.Host == first.holder.Host && second.holder.PID == first.holder.PID},
		{"since when", second.holder.Since.Equal(first.holder.Since)},
		{"which plan", second.holder.Plan == first.holder.Plan},
		{"how far it is", second.holder.Step == j.run.Second.Before},
		{"what to do", second.why != ""},
	} {
		if !x.told {
			missing = append(missing, x.what)
		}
	}
	if len(missing) > 0 {
		r.finding = fmt.Sprintf("%s was refused, but not rightly told %s: %s", second.by, list(missing, 6), short(second.why))
		return r
	}
	r.state = Kept
	r.finding = fmt.Sprintf("%s was refused at %s and told: %s", second.by, at(second.t), second.why)
	return r
}
