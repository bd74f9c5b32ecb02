package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// toWrite stands where evidence knows nothing and people must write.
const toWrite = "_To write:_ "

// Postmortem writes postmortem.md: a blameless draft with what the evidence knows filled in, each with the numbers of its
// events, and blanks where people must write.
func Postmortem(w io.Writer, m *Model) error {
	var b strings.Builder
	m.postmortem(&b)
	_, err := io.WriteString(w, text(b.String()))
	return err
}

func (m *Model) postmortem(b *strings.Builder) {
	v, r := m.Verdict, m.Run
	say := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	say("# Postmortem, draft: %s, rollback of %s\n", md(cmp.Or(r.Service.Name, "a service")), md(cmp.Or(r.Release.Name, "a release")))
	say("This draft was made from the evidence of a drill, and blames nobody: it asks what in the system let this happen, and what would")
	say("have caught it. Numbers such as `#12` are events: `backout evidence DIR` prints them. What the evidence cannot know is marked")
	say("“To write”.\n")
	say("| | |\n|---|---|")
	line := func(name, value string) {
		if value != "" {
			say("| %s | %s |", name, md(value))
		}
	}
	line("Kind", "a drill in the "+r.Environment+" environment, no incident of production")
	if !r.Started.IsZero() {
		line("Begun", r.Started.UTC().Format("2 January 2006, 15:04 UTC"))
	}
	line("Release", strings.TrimSpace(r.Release.Name+". "+r.Release.KnownBad))
	line("Rolled back to", r.Good)
	line("Plan", strings.TrimSpace(r.Plan.Name+" "+r.Plan.Path))
	line("Verdict", verdictLook(v.Verdict).Word+" "+v.Because)
	line("Head of the evidence", m.Head)
	say("| Status | draft |\n| Authors | %s |\n", toWrite+"who completed it")
	if m.Cut != "" {
		say("**The evidence has no end.** %s What follows is incomplete.\n", md(m.Cut))
	}
	if r.Expect != nil {
		say("**This drill was sabotaged on purpose,** to see whether it would be noticed. %s\n", md(v.ExpectedWhy))
	}

	say("## Summary\n")
	say("%s\n", md(m.timelineSays()))
	say("%swhat users would say happened, in two sentences.\n", toWrite)

	say("## Impact\n")
	m.impact(say)
	say("- %sorders, money or trust that this would have cost in production, and who was told.\n", toWrite)

	say("## Timeline\n")
	say("Offsets count from the start of the run.\n")
	say("| At | What | Evidence |\n|---:|---|---|")
	for i, k := range m.timelineOf() {
		if i == 120 {
			say("| | more is in report.html | |")
			break
		}
		say("| %s | %s | %s |", k.At, md(k.Kind+": "+k.Text), strings.TrimSpace(cites(positive(k.N))))
	}
	say("\n%s\n", fenced(m.picture()))

	say("## Root causes: candidates\n")
	say("What the evidence points to. A candidate is no cause until somebody has shown it.\n")
	candidates := m.candidates()
	for i, c := range candidates {
		say("%d. %s", i+1, c)
	}
	if len(candidates) == 0 {
		say("The evidence points to none.")
	}
	say("\n%swhich of them it was, how that was shown, and why it was possible: ask why until the answer is something that can be changed.\n", toWrite)

	say("## What went well\n")
	well := m.wentWell()
	for _, text := range well {
		say("- %s", text)
	}
	if len(well) == 0 {
		say("The evidence shows nothing that can be called so.")
	}
	say("- %swhat people did that helped.\n", toWrite)

	say("## Where there was luck\n")
	say("- %swhat would have made this worse, and was not the case by chance.\n", toWrite)

	say("## Action items\n")
	say("From broken promises and from what could not be judged. Somebody must own each, and set a date.\n")
	say("| Do | Because | Owner | Due |\n|---|---|---|---|")
	items := 0
	for _, p := range promises(v) {
		if p.State != verdict.Broken && p.State != verdict.Unjudged {
			continue
		}
		if items++; items > maxPromises {
			say("| more is in report.html | | | |")
			break
		}
		todo := p.Remedy
		if todo == "" {
			todo = "See to it that this can be promised: " + p.Name
			if p.State == verdict.Unjudged {
				todo = "See to it that this can be judged: " + p.Name
			}
		}
		say("| %s | %s: %s%s | %s | |", md(todo), p.State, md(p.Name+": "+p.Finding), cites(p.Evidence), strings.TrimSpace(toWrite))
	}
	if items == 0 {
		say("| %sif anything | | | |", toWrite)
	}
	say("\nDrill it again when they are done:\n\n%s", fenced(short(r.Again, maxSentence)))
}

// positive is a number as a list; none is no number.
func positive(n int64) []int64 {
	if n <= 0 {
		return nil
	}
	return []int64{n}
}

// timelineOf are the moments and the commands, in order.
func (m *Model) timelineOf() []moment {
	all := m.moments()
	for i, k := range all {
		if k.Kind == "approval" { // what was decided, not by whom
			_, all[i].Text, _ = strings.Cut(k.Text, ": ")
		}
	}
	for _, s := range m.steps {
		all = append(all, moment{At: offset(s.from), Kind: fmt.Sprintf("%s %d", s.whose(), s.index), Text: fmt.Sprintf("%s: %s, %s", s.name, stepLook(s).Word, seconds(s.to-s.from)), N: max(s.ended, s.started), t: s.from})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.t, b.t) })
	return all
}

func (m *Model) impact(say func(string, ...any)) {
	v := m.Verdict
	if v.Harm != "" {
		say("- Users: %s.", md(strings.TrimSuffix(v.Harm, ".")))
	} else {
		say("- Users: no harm was seen before the decision.")
	}
	for i, name := range m.journeys {
		bad, all := m.failures(0, m.Seconds, func(j int) bool { return j == i })
		if bad > 0 {
			say("- %s: %s of %s failed.", md(name), count(bad), many(all, "journey", "journeys"))
		}
	}
	begun, okBegun := m.clock(evidence.ClockFirstBad)
	users, okUsers := m.clock(evidence.ClockUsersRestored)
	switch {
	case okBegun && okUsers:
		say("- Users were harmed for %s, from %s to %s.", seconds(users-begun), offset(begun), offset(users))
	case okBegun:
		say("- Users were harmed from %s on; that they were served as before was %s.", offset(begun), map[string]string{never: "never the case while it was watched", notSeen: notSeen}[absent(v)])
	}
	if n := v.Shares.Writes[1]; n > 0 {
		say("- Writes: %s of %s acknowledged ones are known to be kept.", count(v.Shares.Writes[0]), count(n))
		for _, w := range v.Writes {
			for _, fate := range []string{evidence.Transformed, evidence.Lost, evidence.Duplicated, evidence.Resurrected, evidence.Phantom, "not checked"} {
				if k := w.Fates[fate]; k > 0 {
					say("  - %s: %s %s.", md(w.Name), count(k), fate)
				}
			}
		}
	}
	if v.Shares.Rows[0] < v.Shares.Rows[1] && brokenOne(v, verdict.FrozenUnchanged) {
		say("- Data that nobody touched: %s of %s rows are as before.", count(v.Shares.Rows[0]), count(v.Shares.Rows[1]))
	}
	var late []string
	for _, r := range v.Replicas {
		if r.Converged == nil && r.Removed == "" {
			late = append(late, r.Name)
		}
	}
	if len(late) > 0 {
		say("- "+capital(absent(v))+" at the target: %s.", md(strings.Join(late, ", ")))
	}
	if v.Silence != nil {
		say("- After the last command had returned, service was whole %s later.", seconds(*v.Silence))
	} else if _, ok := m.clock(evidence.ClockCommandReturned); ok {
		say("- After the last command had returned, service was %s whole.", absent(v))
	}
}

// candidates are what the evidence points to, in its own words.
func (m *Model) candidates() (out []string) {
	v := m.Verdict
	if m.Run.Release.KnownBad != "" {
		out = append(out, "The release itself, as its authors state: "+md(m.Run.Release.KnownBad))
	}
	if s := m.Run.Plan.Sabotage; s != "" {
		out = append(out, "The plan was sabotaged on purpose: "+md(s))
	}
	for _, s := range m.steps {
		if s.done && s.outcome != evidence.StepOK && s.outcome != evidence.StepSkipped && s.by == "" {
			out = append(out, fmt.Sprintf("%s %d, %s: %s%s", md(partName(s.part)), s.index, md(s.name), md(s.actual()), cites(positive(s.ended))))
		}
	}
	for _, p := range promises(v) {
		if p.State == verdict.Broken && len(out) < 20 {
			out = append(out, fmt.Sprintf("%s: %s%s", md(p.Name), md(p.Finding), cites(p.Evidence)))
		}
	}
	for _, k := range m.nodes {
		for _, s := range k.states {
			if s.err != "" && s.err != deleted {
				out = append(out, fmt.Sprintf("%s said at %s: %s%s", md(k.name), offset(s.t), md(s.err), cites(positive(s.n))))
				break
			}
		}
	}
	if points, worst := m.lockWaits(); most(points) > 0 {
		out = append(out, fmt.Sprintf("Up to %s for locks on %s, the longest %s, at %s: %s", many(int(most(points)), "backend waited", "backends waited"), md(worst.node), seconds(worst.longest), offset(worst.t), md(worst.text)))
	}
	for _, f := range m.faults {
		out = append(out, fmt.Sprintf("The drill's own fault, from %s on: %s%s", offset(f.from), md(f.text), cites(positive(f.n))))
	}
	return out
}

// wentWell is what was seen to be in order, each with its evidence; it is no praise of what was not looked at.
func (m *Model) wentWell() (out []string) {
	if target := m.Verdict.Speed.Target; m.Verdict.Speed.Seconds != nil && (target == 0 || *m.Verdict.Speed.Seconds <= target) {
		out = append(out, fmt.Sprintf("Service was restored %s after the decision; the target is %s.", seconds(*m.Verdict.Speed.Seconds), seconds(target)))
	}
	if bad, ok := m.clock(evidence.ClockFirstBad); ok {
		if found, ok := m.clock(evidence.ClockDetected); ok && found >= bad {
			out = append(out, fmt.Sprintf("The harm was detected %s after it had begun.", seconds(found-bad)))
		}
	}
	good := 0
	for _, s := range m.steps {
		good += boolInt(s.judged() && s.outcome == evidence.StepOK)
	}
	if good > 0 {
		out = append(out, fmt.Sprintf("%s of the plan did what the plan expects.", many(good, "step", "steps")))
	}
	for _, p := range m.Verdict.Promises {
		if p.State == verdict.Kept && len(p.Evidence) > 0 && len(out) < 20 {
			out = append(out, fmt.Sprintf("%s: %s%s", md(p.Name), md(p.Finding), cites(p.Evidence)))
		}
	}
	return out
}
