package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// stoppedBy is the pre-check that stopped the plan; nil when none did.
func (j *judging) stoppedBy() *step {
	for i := range j.f.steps {
		if s := &j.f.steps[i]; s.part == evidence.PartBefore && s.ended && s.outcome != evidence.StepOK && s.outcome != evidence.StepSkipped {
			return s
		}
	}
	return nil
}

func (j *judging) stoppedText(s *step) string {
	return strings.TrimSuffix(fmt.Sprintf("the plan was stopped by its pre-check %q: %s", s.name, s.why), ": ")
}

// planAsWritten: every pre-check, step and validation of the plan ran and ended as it should.
func planAsWritten(j *judging) result {
	if s := j.stoppedBy(); s != nil {
		return result{state: Broken, finding: j.stoppedText(s), evidence: []int64{s.n},
			remedy: "Remove what the pre-check names, or mend the pre-check, and run the drill again."}
	}
	r := result{state: Kept}
	var bad, open []string
	for _, part := range []struct {
		name, title string
		want        int
	}{{evidence.PartBefore, "pre-check", len(j.run.Plan.Before)}, {evidence.PartStep, "step", len(j.run.Plan.Steps)}, {evidence.PartAfter, "validation", len(j.run.Plan.After)}} {
		for i := 1; i <= part.want; i++ {
			s := j.step(part.name, i)
			what := fmt.Sprintf("%s %d of %d", part.title, i, part.want)
			switch {
			case s == nil && part.name == evidence.PartStep && j.stopped() == "" && j.anyStep():
				bad = append(bad, what+" did not run")
			case s == nil:
				open = append(open, what+" was not seen")
			case !s.ended:
				open = append(open, what+" ("+s.name+") did not end")
				r.evidence = append(r.evidence, s.n)
			case s.outcome != evidence.StepOK:
				bad = append(bad, what+" ("+s.name+") "+s.ending())
				r.evidence = append(r.evidence, s.n)
			}
		}
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, list(bad, 2), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, list(open, 2), open
	default:
		r.finding = fmt.Sprintf("%s ended as expected", count(int64(len(j.run.Plan.Steps)), "step", "steps"))
		if n := len(j.run.Plan.Before) + len(j.run.Plan.After); n > 0 {
			r.finding += ", and so did " + count(int64(n), "check", "checks")
		}
		if d := j.run.Death; d != nil {
			r.finding += fmt.Sprintf("; the machine that ran them died during step %d, and the plan was started again", d.Step)
		}
	}
	return r
}

func (s *step) ending() string {
	text := ""
	switch s.outcome {
	case evidence.StepSkipped:
		return "was skipped, because an earlier one did not end well"
	case evidence.StepTimeout:
		text = "ran out of time after " + length(s.seconds)
	case evidence.StepUnexpected:
		text = "exited 0 but did not do what it should"
	case evidence.StepRefused:
		text = "refused"
	case evidence.StepDied:
		text = "was not run again"
	default:
		text = "failed"
		if s.exit != 0 {
			text += fmt.Sprintf(" with exit code %d", s.exit)
		}
	}
	switch {
	case s.why != "":
		return text + ": " + s.why
	case s.lastLines != "":
		return text + ": " + s.lastLines
	}
	return text
}

// step is the latest run of a step.
func (j *judging) step(part string, index int) *step {
	for i := len(j.f.steps) - 1; i >= 0; i-- {
		if s := &j.f.steps[i]; s.part == part && s.index == index {
			return s
		}
	}
	return nil
}

func (j *judging) anyStep() bool {
	for _, s := range j.f.steps {
		if s.part == evidence.PartStep {
			return true
		}
	}
	return false
}

// planRefused: the pre-check that the drill names stopped the plan, no step began, and schema, instances and rows are what
// they were when it did.
func planRefused(j *judging) result {
	f := j.f
	for _, s := range f.steps {
		if s.part == evidence.PartStep && s.outcome != evidence.StepSkipped {
			return result{state: Broken, evidence: []int64{s.n}, finding: fmt.Sprintf("the plan did not refuse: step %d (%s) began at %s", s.index, s.name, at(s.began))}
		}
	}
	by := j.stoppedBy()
	if by == nil {
		return result{state: Unjudged, finding: "no pre-check was seen to refuse"}
	}
	r := result{state: Kept}
	var refusing []string
	for _, want := range append([]string{j.refuses()}, j.run.Expect.Also...) { // they run side by side, and more than one may refuse
		s := j.refusing(want)
		if s == nil {
			r.state, r.evidence = Broken, []int64{by.n}
			r.finding = fmt.Sprintf("the plan was stopped by %q, which ended as %s, and %q was to refuse", by.name, by.outcome, want)
			return r
		}
		if len(refusing) == 0 {
			by = s
		}
		refusing = append(refusing, strings.TrimSuffix(fmt.Sprintf("%q: %s", s.name, s.why), ": "))
		r.evidence = append(r.evidence, s.n)
	}
	var bad, open []string
	for i := range j.instances {
		l := &j.instances[i]
		if l.pod {
			if l.to <= by.began {
				continue // it had gone before
			}
			if text, n := l.moved(by.began, forever-1); text != "" {
				bad = append(bad, text)
				r.evidence = append(r.evidence, n)
				continue
			}
		}
		name, list := l.name, f.readings(l)
		was, ok := before(list, by.began)
		last, after := before(list, forever)
		switch {
		case !ok || !after || last.t <= by.endedAt:
			open = append(open, name+" was not seen after the plan had refused")
		case last.v.release != was.v.release || last.v.restarts != was.v.restarts:
			bad = append(bad, name+" changed: "+f.names.is(was.v.release)+" before, "+f.names.is(last.v.release)+" after")
			r.evidence = append(r.evidence, last.n)
		}
	}
	for _, name := range j.run.Nodes {
		who := f.nodeTitle(name)
		was, seen := uint16(0), false
		changed, after := int64(0), false
		for _, x := range f.nodes.of(name) {
			if x.v.digest == 0 || !x.v.reachable {
				continue
			}
			if x.t <= by.began {
				was, seen = x.v.digest, true
				continue
			}
			after = after || x.t > by.endedAt
			if seen && x.v.digest != was && changed == 0 {
				changed = x.n
			}
		}
		switch {
		case changed != 0:
			bad = append(bad, who+"'s schema changed")
			r.evidence = append(r.evidence, changed)
		case !seen || !after:
			open = append(open, who+" was not read after the plan had refused")
		}
		if s, n := j.audited(name); n > 0 && s.read && !s.equal && !j.run.Release.Schema {
			bad = append(bad, who+" has not its schema: "+s.differs())
			r.evidence = append(r.evidence, s.n)
		}
	}
	for _, rows := range []struct {
		applies bool
		judge   func(*judging) result
	}{
		{hasWrites(j) == "", writesExactlyOnce},
		// Where the release itself changes the schema, its own deploy may have changed these rows.
		{hasFrozen(j) == "" && !j.run.Release.Schema, frozenUnchanged},
	} {
		if !rows.applies {
			continue
		}
		switch x := rows.judge(j); x.state {
		case Broken:
			bad = append(bad, x.finding)
			r.evidence = append(r.evidence, x.evidence...)
		case Unjudged:
			open = append(open, x.finding)
		}
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, fmt.Sprintf("%q refused, but something changed: %s", by.name, list(bad, 2)), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, fmt.Sprintf("%q refused, but it was not seen whether anything changed: %s", by.name, list(open, 2)), open
	default:
		r.finding = strings.TrimSuffix(fmt.Sprintf("the plan refused because of %q and changed nothing: %s", by.name, by.why), ": ")
		if len(refusing) > 1 {
			r.finding = fmt.Sprintf("the plan refused because of %s, and changed nothing", count(int64(len(refusing)), "pre-check", "pre-checks"))
			r.details = refusing
		}
	}
	return r
}

// refusing is the pre-check that is meant, where it refused; nil: it did not.
func (j *judging) refusing(want string) *step {
	for i := range j.f.steps {
		if s := &j.f.steps[i]; s.part == evidence.PartBefore && s.outcome == evidence.StepRefused && named(s.name, want) {
			return s
		}
	}
	return nil
}

// kindWords are how pre-checks of a kind begin when they are said in words, as in evidence.Plan.Before; after an ellipsis, what is
// in their midst.
var kindWords = map[string]string{
	"database":              "the database is ",
	"unblocked":             "nothing is in the way of a lock on ",
	"dependants":            "dependants are ",
	"artefact":              "the artefact of ",
	"revision":              "the target is ",
	"kubectl":               "kubectl leads to ",
	"lag":                   "no reader of the database is behind by ",
	"backup":                "the newest backup is younger than ",
	"space":                 "... bytes are free",
	"command":               "... prints ",
	"every instance serves": "every instance serves ",
	"journey":               "the journey ",
}

// named says whether a pre-check is the one that is meant: by its words, or by its kind.
func named(name, want string) bool {
	if name == want {
		return true
	}
	words, known := kindWords[want]
	if midst, is := strings.CutPrefix(words, "..."); is {
		return strings.Contains(name, midst)
	}
	return known && strings.HasPrefix(name, words) || strings.HasPrefix(name, want+":")
}
