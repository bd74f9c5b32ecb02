package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// takenBack: a step of the plan did not end well, everything that had been done was taken back, and when watching ends every
// instance serves what it served at the decision, every node has the schema of then, and no acknowledged write is lost.
func takenBack(j *judging) result {
	f := j.f
	decided, ok := f.clock(evidence.ClockDecided)
	if !ok || !j.watched {
		return result{state: Unjudged, finding: "the plan was not watched to its end"}
	}
	failed := (*step)(nil)
	for i := 1; i <= len(j.run.Plan.Steps); i++ {
		if s := j.step(evidence.PartStep, i); s != nil && s.ended && failed == nil && s.outcome != evidence.StepOK && s.outcome != evidence.StepSkipped {
			failed = s
		}
	}
	if failed == nil {
		return result{state: Broken, finding: "the plan did not give up: none of its steps failed", remedy: "Make the step fail that is to fail."}
	}
	r := result{state: Kept, evidence: []int64{failed.n}}
	var bad, open []string
	for i, p := range j.run.Plan.Steps {
		s, u := j.step(evidence.PartStep, i+1), j.step(evidence.PartUndo, i+1)
		what := fmt.Sprintf("step %d (%s)", i+1, p.Name)
		switch {
		case s == nil || !s.ended || s.outcome == evidence.StepSkipped || s.outcome == evidence.StepRefused || p.Undo == "nothing":
		case u == nil:
			bad = append(bad, what+" was not taken back")
		case !u.ended:
			open = append(open, "taking back "+what+" did not end")
		case u.outcome != evidence.StepOK:
			bad = append(bad, "taking back "+what+" "+u.ending())
			r.evidence = append(r.evidence, u.n)
		}
	}
	for _, key := range f.instances.names {
		list := f.instances.of(key)
		was, known := before(list, decided)
		is, seen := before(list, j.end)
		_, name, _ := strings.Cut(key, "/")
		switch {
		case !known || !was.v.up:
		case !seen || is.t < j.end-min(f.beat(), j.end):
			open = append(open, name+" was not seen at the end")
		case !is.v.up:
			bad = append(bad, name+" is down")
			r.evidence = append(r.evidence, is.n)
		case is.v.release != was.v.release:
			bad = append(bad, fmt.Sprintf("%s serves %s, and served %s at the decision", name, f.names.is(is.v.release), f.names.is(was.v.release)))
			r.evidence = append(r.evidence, is.n)
		}
	}
	for _, name := range j.run.Nodes {
		was, is := f.schemaUntil(name, decided), f.schemaUntil(name, forever)
		switch {
		case was == nil || is.t <= failed.endedAt:
			open = append(open, "the schema of "+f.nodeTitle(name)+" was not read before and after")
		case is.digest != was.digest:
			bad = append(bad, f.nodeTitle(name)+" has not the schema that it had at the decision")
			r.evidence = append(r.evidence, was.n, is.n)
		}
	}
	if hasWrites(j) == "" {
		switch x := writesExactlyOnce(j); x.state {
		case Broken:
			bad = append(bad, x.finding)
			r.evidence = append(r.evidence, x.evidence...)
		case Unjudged:
			open = append(open, x.finding)
		}
	}
	because := fmt.Sprintf("step %d (%s) %s", failed.index, failed.name, failed.ending())
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, because+"; but "+list(bad, 2), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, because+"; but "+list(open, 2), open
	default:
		r.finding = because + ", and all that was done was taken back"
	}
	return r
}

// schemaUntil is the last reading of a node's canonical schema up to an instant; nil: there is none.
func (f *Facts) schemaUntil(name string, t tick) (last *schema) {
	for i := range f.schemas[name] {
		if s := &f.schemas[name][i]; s.t <= t && s.read {
			last = s
		}
	}
	return last
}
