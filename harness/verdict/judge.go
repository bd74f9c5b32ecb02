package verdict

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// judging is one judgement under way: what the checks ask of.
type judging struct {
	f     *Facts
	run   *evidence.Run // with the nodes that take part until the end
	tally tally

	instances []life // that take part, all that were ever there

	watch   *watch // nil: nobody decided to roll back
	end     tick   // of watching; where it did not end, of what was seen
	watched bool   // watching ended by itself
	aligned tick   // the end of the last candidate's window

	users, whole        answer
	usersAt, restoredAt tick
	missing             []lack // in the last window
	short               bool   // watching ended before a stability window had passed

	sight       sight
	stated      bool // the release states a harm or a trap
	assumptions []Assumption
}

// Judge gives the verdict. The same facts give the same verdict, byte for byte as JSON.
func Judge(f *Facts) Verdict {
	v := Verdict{PromiseList: PromiseList, Assumptions: []Assumption{}, Promises: []Promise{}, Clocks: Clocks{},
		Replicas: []Replica{}, Writes: []Window{}}
	if f.run == nil {
		v.Verdict, v.Because = Inconclusive, "The log does not say what was drilled: it has no run event."
		return v
	}
	if f.run.Earnest != nil {
		return judgeEarnest(f)
	}
	j := newJudging(f)
	v.Assumptions = j.assumptions
	v.Promises = j.promises()
	v.Clocks = j.clocks()
	v.Speed, v.Silence = j.speed()
	v.Shares = j.shares()
	v.Replicas = j.replicas()
	v.Pods = j.pods()
	v.Syncs = j.syncs()
	v.Writes = j.tally.windows
	v.Harm = j.sight.finding

	v.Verdict = j.verdict(v)
	v.Complete = j.stopped() == ""
	for _, p := range v.Promises {
		v.Complete = v.Complete && (p.State == Kept || p.State == NotApplicable)
	}
	v.Because = j.because(v) + j.waited(v.Speed) + j.unlikeProduction()
	j.expected(&v)
	return v
}

func newJudging(f *Facts) *judging {
	run := *f.run
	run.Nodes = f.Remaining(run.Nodes)
	j := &judging{f: f, run: &run, instances: f.roster(forever), tally: f.tally(), users: unknown, whole: unknown}
	j.end, j.watched = f.clock(evidence.ClockWatchEnded)
	if !j.watched {
		j.end = min(f.last, f.clockOr(evidence.ClockQuietBegun, f.last))
	}
	decided := f.clockOr(evidence.ClockDecided, f.clockOr(evidence.ClockStarted, f.last))
	j.sight, j.stated = f.seen(decided)
	if j.watch = f.watching(forever); j.watch != nil {
		w := j.watch
		j.users, j.usersAt = w.since(j.end, false)
		j.whole, j.restoredAt = w.since(j.end, true)
		j.aligned = w.decided + max(j.end-w.decided, 0)/candidateEvery*candidateEvery
		j.missing = w.missing(j.aligned, true)
		if j.short = j.end-w.decided < w.window; j.short {
			j.missing = w.missingAt(j.end)
			if len(j.missing) > 0 {
				j.whole = j.missing[0].is // what is bad when watching ends is bad, however short it was
			}
		}
		if bad := j.refusedSessions(); bad != "" {
			j.whole = no
			j.missing = append([]lack{{is: no, check: SessionsAccepted, stable: bad, detail: bad}}, j.missing...)
		}
	}
	j.assumptions = j.assume()
	return j
}

// refusedSessions says which kept values from before are not accepted any more, by the audit.
func (j *judging) refusedSessions() string {
	var bad []string
	for _, x := range j.findings(evidence.CheckSessions) {
		if x.v.Asked && x.v.Bad > 0 {
			bad = append(bad, fmt.Sprintf("%s of %s kept values of %s from before are refused", number(x.v.Bad), number(x.v.Checked), x.v.Of))
		}
	}
	slices.Sort(bad)
	return strings.Join(bad, "; ")
}

// refuses is the pre-check that must stop the plan; empty: none is expected to.
func (j *judging) refuses() string {
	if j.run.Expect == nil {
		return ""
	}
	return j.run.Expect.Refuses
}

// givesUp says whether a step of the plan must fail, and the plan take back what it has done.
func (j *judging) givesUp() bool { return j.run.Expect != nil && j.run.Expect.GivesUp }

// instead is why service is not expected to be restored, and what is judged in place of that; empty: it is expected to be.
func (j *judging) instead() (why string, checks []string) {
	switch {
	case j.refuses() != "":
		return "the plan must refuse, so nothing is rolled back", []string{PlanRefused}
	case j.givesUp():
		return "the plan must give up, so service is not restored by it", []string{TakenBack, NoForbiddenMix}
	}
	return "", nil
}

// promises judges every check of the list, and names those that the drill states and the list does not know.
func (j *judging) promises() []Promise {
	var all []Promise
	known := map[string]bool{}
	for _, c := range checks() {
		known[c.name] = true
		p := Promise{Name: c.name, Text: j.text(c.name)}
		why := c.applies(j)
		otherwise, only := j.instead()
		if otherwise != "" && !has(only, c.name) {
			why = otherwise
		}
		if why != "" && !(j.states(c.name) && statable(c.name) && otherwise == "") {
			p.State, p.Finding = NotApplicable, why
			all = append(all, p)
			continue
		}
		r := c.judge(j)
		p.State, p.Finding, p.Details, p.Evidence = r.state, r.finding, r.details, few(r.evidence)
		for _, name := range c.rests {
			for _, a := range j.assumptions {
				if a.Name != name {
					continue
				}
				p.RestsOn = append(p.RestsOn, name)
				if !a.Held && p.State != Unjudged {
					seen := map[string]string{Kept: "it looks kept", Broken: "it looks broken"}[p.State]
					p.State = Unjudged
					p.Finding = fmt.Sprintf("%s, but that cannot be said, because the assumption %q failed: %s", seen, name, p.Finding)
				}
			}
		}
		if p.State == Broken {
			if p.Remedy = r.remedy; p.Remedy == "" {
				p.Remedy = c.remedy
			}
		}
		all = append(all, p)
	}
	var unheard []string
	for _, s := range j.run.Promises {
		if !known[s.Check] && !has(unheard, s.Check) {
			unheard = append(unheard, s.Check)
			all = append(all, Promise{Name: s.Check, Text: j.text(s.Check), State: Unjudged,
				Finding: fmt.Sprintf("promise list %d has no check of this name", PromiseList)})
		}
	}
	return all
}

// statable are the checks that apply once a drill states them, although the service declares nothing for them: then
// there is nothing to show, and they cannot be judged. The others are part of wider sentences, or cannot apply: nobody
// took a write back, there is one node only, the drill is not alone.
func statable(name string) bool {
	return !has([]string{RestoredInTime, NodesHoldSameRows, EffectsExactlyOnce, NothingResurrected, LatencyBack, PlanRefused, TakenBack}, name)
}

func (j *judging) states(name string) bool {
	return slices.ContainsFunc(j.run.Promises, func(p evidence.Promise) bool { return p.Check == name })
}

// text is a promise as the feature says it; said more than once, each of its sentences.
func (j *judging) text(name string) string {
	var texts []string
	for _, p := range j.run.Promises {
		if p.Check == name && p.Text != "" && !has(texts, p.Text) {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "; ")
}

// limit is the time within which service must be restored, in seconds: the shortest that is stated, else the tier's.
func (j *judging) limit() float64 {
	limit := 0.0
	for _, p := range j.run.Promises {
		if (p.Check == Restored || p.Check == RestoredInTime) && p.Within > 0 && (limit == 0 || p.Within < limit) {
			limit = p.Within
		}
	}
	if limit == 0 {
		limit = j.run.Service.Target
	}
	return limit
}

// stopped says where a run ended that was not carried through; empty when it was.
func (j *judging) stopped() string {
	f := j.f
	phase := ""
	if len(f.phases) > 0 {
		phase = " in the phase " + f.phases[len(f.phases)-1].name
	}
	switch {
	case f.end != nil && f.end.How == "complete" && f.cut == nil && f.aborted == nil:
		return ""
	case f.end != nil && f.cut == nil:
		how := map[string]string{"interrupted": "was interrupted", "aborted": "was aborted", "broke": "broke"}[f.end.How]
		if how == "" {
			how = "ended as " + f.end.How
		}
		if a := f.aborted; a != nil && f.end.How != "aborted" {
			how += ", although it was aborted by " + a.By
		}
		return fmt.Sprintf("the run %s%s, %s after its start%s", how, phase, at(f.last), because(f.end.Why))
	case f.cut != nil:
		return fmt.Sprintf("the log was cut off%s, %s after its start%s", phase, at(max(f.cut.t, f.last)), because(f.cut.why))
	}
	return fmt.Sprintf("the log has no end: it stops%s, %s after its start", phase, at(f.last))
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + short(why)
}

func (j *judging) verdict(v Verdict) string {
	if j.stopped() != "" || j.undisturbed() {
		return Inconclusive
	}
	open := false
	for _, p := range v.Promises {
		if p.State == Broken {
			return Fail
		}
		open = open || p.State == Unjudged
	}
	for _, a := range v.Assumptions {
		open = open || !a.Held
	}
	if open {
		return Inconclusive
	}
	return Pass
}

// because is one sentence.
func (j *judging) because(v Verdict) string {
	if why := j.stopped(); why != "" {
		return sentence(why)
	}
	switch v.Verdict {
	case Pass:
		if _, only := j.instead(); only != nil {
			for _, p := range v.Promises {
				if p.Name == only[0] {
					return sentence(p.Finding)
				}
			}
		}
		kept := 0
		for _, p := range v.Promises {
			if p.State == Kept {
				kept++
			}
		}
		text := "service was restored"
		if v.Speed.Seconds != nil {
			text += " " + length(*v.Speed.Seconds) + " after the decision to roll back"
		}
		if v.Speed.Users != nil {
			text += ", users after " + length(*v.Speed.Users)
		}
		text += ", and all " + number(int64(kept)) + " promises were kept"
		if len(j.tally.budgets) > 0 {
			text += "; " + strings.Join(j.tally.budgets, "; ")
		}
		return sentence(text)
	case Fail:
		broken, text := 0, ""
		for _, p := range v.Promises {
			if p.State != Broken {
				continue
			}
			if broken++; broken == 1 {
				text = fmt.Sprintf("the promise %q is broken: %s", p.Name, p.Finding)
			}
		}
		if s := j.stoppedBy(); s != nil && j.refuses() == "" {
			text = j.stoppedText(s)
		}
		if broken--; broken > 0 {
			text += "; " + count(int64(broken), "more promise is broken", "more promises are broken")
		}
		return sentence(text)
	}
	for _, a := range v.Assumptions {
		if !a.Held {
			return sentence(fmt.Sprintf("nothing can be said, because the assumption %q failed: %s", a.Name, a.Finding))
		}
	}
	for _, p := range v.Promises {
		if p.State == Unjudged {
			return sentence(fmt.Sprintf("the promise %q could not be judged: %s", p.Name, p.Finding))
		}
	}
	return "Nothing could be judged."
}

// unlikeProduction belongs into the headline: what was shown on another schema than production's holds for that schema.
func (j *judging) unlikeProduction() string {
	p := j.f.production
	switch {
	case p == nil || p.Equal:
		return ""
	case p.Error != "":
		return " It could not be said whether the schema is production's: " + sentence(short(p.Error))
	}
	missing, extra := changes(p.Diff)
	return fmt.Sprintf(" The schema that was drilled is not production's: %s production has not, %s only production has.",
		count(int64(len(extra)), "line", "lines"), count(int64(len(missing)), "line", "lines"))
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	if c := s[0]; 'a' <= c && c <= 'z' {
		// A name that begins a sentence, such as web-3, keeps its case.
		word, _, _ := strings.Cut(s, " ")
		if !strings.ContainsAny(word, "-_./0123456789") {
			s = string(c-'a'+'A') + s[1:]
		}
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// expected compares the verdict with what the drill says must happen.
func (j *judging) expected(v *Verdict) {
	e := j.run.Expect
	if e == nil || e.Fails == "" && e.Refuses == "" && !e.GivesUp {
		return
	}
	met := false
	v.Expected = &met
	state := func(name string) string {
		for _, p := range v.Promises {
			if p.Name == name {
				return p.State
			}
		}
		return "not in the list"
	}
	if e.Refuses != "" && e.Fails == "" {
		met = v.Verdict == Pass && state(PlanRefused) == Kept
		names := fmt.Sprintf("%q", e.Refuses)
		for _, name := range e.Also {
			names += fmt.Sprintf(", %q", name)
		}
		v.ExpectedWhy = fmt.Sprintf("expected that the plan refuses because of %s: %s", names, either(met, "it did, and changed nothing", "not met"))
		return
	}
	if e.GivesUp && e.Fails == "" {
		met = v.Verdict == Pass && state(TakenBack) == Kept
		v.ExpectedWhy = fmt.Sprintf("expected that the plan gives up and takes back what it did: %s", either(met, "it did", "not met"))
		return
	}
	is := state(e.Fails)
	met = v.Verdict == Fail && is == Broken
	switch {
	case met:
		v.ExpectedWhy = fmt.Sprintf("expected to fail because %q is broken: it is", e.Fails)
	case v.Verdict == Fail:
		v.ExpectedWhy = fmt.Sprintf("expected to fail because %q is broken, but that is %s: it failed for another reason", e.Fails, is)
	case v.Verdict == Pass:
		v.ExpectedWhy = fmt.Sprintf("expected to fail because %q is broken, but it passed: the drill does not see this defect", e.Fails)
	default:
		v.ExpectedWhy = fmt.Sprintf("expected to fail because %q is broken, but nothing could be said: that is %s", e.Fails, is)
	}
}

func either(ok bool, one, other string) string {
	if ok {
		return one
	}
	return other
}

// Exit is the exit code of the command line for this verdict. Of a drill that expects a failure it says whether that
// was met: met 0, failed otherwise or passed 1, inconclusive 2.
func (v Verdict) Exit() int {
	switch {
	case v.Expected != nil && *v.Expected:
		return ExitPass
	case v.Verdict == Inconclusive:
		return ExitInconclusive
	case v.Expected != nil, v.Verdict == Fail:
		return ExitFail
	case v.Verdict == Pass:
		return ExitPass
	}
	return ExitInconclusive
}
