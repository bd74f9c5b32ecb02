// Package runbook writes a rollback plan as a page for people: what to check, which commands to paste, what each must show
// and what to do when it does not. It is made from the service, the release and the plan, and from nothing else.
package runbook

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"backout/harness/report"
	"backout/harness/service"
)

// LockFile is what a rollback has locked in the deployed directory, by the kernel, for whoever runs one there.
const LockFile = "rollback.lock"

// Book is what a runbook is made from.
type Book struct {
	Plan    *service.Plan
	Reverts map[int][]string  // the number of a step, from 1 -> the files of the migrations that it takes back, in that order
	Scripts map[string]string // the name of a script that a step runs -> what it says of itself in its first comment
}

// Of reads what belongs to a plan beside it: its migrations and its scripts.
func Of(p *service.Plan) (Book, error) {
	b := Book{Plan: p, Reverts: map[int][]string{}, Scripts: map[string]string{}}
	top := p.Release.MigrateTo
	for i, s := range p.Steps {
		if folder, to, ok := downTo(s.Run); ok {
			all, err := p.Release.Migrations(folder)
			if err != nil {
				return Book{}, err
			}
			for _, m := range slices.Backward(all) {
				if m.Number > to && m.Number <= top {
					b.Reverts[i+1] = append(b.Reverts[i+1], filepath.Base(m.Path))
				}
			}
		}
		for _, path := range p.Release.Scripts(s.Run) {
			text, err := os.ReadFile(path)
			if err != nil {
				return Book{}, fmt.Errorf("read what the script says of itself: %w", err)
			}
			if says := firstComment(string(text)); says != "" {
				b.Scripts["./"+filepath.Base(path)] = says
			}
		}
	}
	return b, nil
}

// firstComment is the first sentence that a script says of itself below its #! line; empty: none.
func firstComment(text string) string {
	lines := strings.Split(text, "\n")
	if !strings.HasPrefix(text, "#!") || len(lines) < 2 {
		return ""
	}
	says, isComment := strings.CutPrefix(lines[1], "# ")
	if !isComment {
		return ""
	}
	says, _, _ = strings.Cut(says, ":  ") // behind it stands how it is called
	says, _, _ = strings.Cut(says, ". ")
	return strings.TrimRight(says, ".:")
}

// Markdown writes the runbook.
func (b Book) Markdown(w io.Writer) error {
	var t strings.Builder
	for _, part := range []func(*strings.Builder){b.head, b.whom, b.prepare, b.before, b.steps, b.after, b.close} {
		part(&t)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (b Book) head(t *strings.Builder) {
	p := b.Plan
	s := p.Release.Service
	file := filepath.Base(p.Path)
	line(t, "# Roll back %s from %s to %s", md(s.Name), md(p.From), md(p.To))
	line(t, "**%s.** Made by `backout runbook` from [%s](%s): change the plan, then make this page anew.", md(p.Name), md(file), file)
	if p.Sabotage != nil {
		line(t, "**This plan is wrong on purpose, for a control: %s. Do not use it.**", md(p.Sabotage.What))
	}
	t.WriteString("| | |\n|---|---|\n")
	row := func(name, text string) { fmt.Fprintf(t, "| %s | %s |\n", name, text) }
	target := service.TargetStandard
	if s.Tier == "critical" {
		target = service.TargetCritical
	}
	row("Service", md(fmt.Sprintf("%s, %s: restored within %s of the decision", s.Name, s.Tier, spoken(target))))
	why := p.Release.KnownBad
	if p.Release.Good {
		why = "a good release: rolling it back must lose nothing"
	}
	row("Rolled back", md(p.From+": "+why))
	row("Target", md(p.To))
	if p.Risk != "" {
		row("Risk", md(p.Risk))
	}
	if p.Schema > 0 {
		row("Schema afterwards", fmt.Sprintf("that of migration %d, which is not the one of before", p.Schema))
	}
	if traps := slices.Sorted(maps.Keys(p.Release.Traps)); len(traps) > 0 {
		row("It will meet", md(strings.Join(traps, ", ")+", which the release has left behind"))
	}
	var longest time.Duration
	for _, step := range p.Steps {
		longest += step.Timeout
	}
	if p.Ceiling != nil {
		row("May touch", md(p.Ceiling.String())+"; before it goes beyond, a person other than you allows it within "+spoken(p.Ceiling.Within)+", or it stops")
	}
	row("Steps", fmt.Sprintf("%d, at most %s if each uses its time up", len(p.Steps), spoken(longest)))
	t.WriteString("\n")
}

// whom says who has to know, as far as plan and service tell.
func (b Book) whom(t *strings.Builder) {
	p := b.Plan
	s := p.Release.Service
	line(t, "## Whom to tell")
	item(t, "Before the first step: whoever can deploy %s or run migrations on it. Nobody does either until this is over.", md(s.Name))
	for _, d := range s.Dependants {
		item(t, "Before the first step and at the end: whoever runs %s, which depends on %s.", md(d), md(s.Name))
	}
	if a := p.Approval; a != nil && a.Words() != "" {
		item(t, "Before the first step: %s.", md(a.Words()))
	}
	for i, step := range p.Steps {
		if step.Expires > 0 {
			item(t, "Before step %d: a person who approves it and is not you. Without approval within %s the plan stops there.", i+1, spoken(step.Expires))
		}
	}
	if told := p.Told(); len(told.Channels) > 0 {
		item(t, "The stakeholders' channel: the first notice within %s of the decision, with scope and impact; then at least every %s, also when there is nothing new; "+
			"the final word when service has been stable for %s.", spoken(told.FirstNotice), spoken(told.Updates), spoken(told.Stable))
	}
	item(t, "After each step: the incident's channel, with the step's number and what it printed.")
	item(t, "When a step fails: the incident's channel at once, before anything is tried.")
	item(t, "At the end: the same people, and those who answer users.%s", residual(s))
	t.WriteString("\n")
}

// residual is what may still be open when the last step has ended.
func residual(s *service.Service) string {
	var open []string
	for _, name := range slices.Sorted(maps.Keys(s.Jobs)) {
		open = append(open, "jobs in "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Caches)) {
		open = append(open, "entries in the cache "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sessions)) {
		open = append(open, "users whose "+name+" is refused")
	}
	if len(open) == 0 {
		return ""
	}
	return " No all-clear while any of these is left over from the bad release: " + md(strings.Join(open, ", ")) + "."
}

func (b Book) prepare(t *strings.Builder) {
	p := b.Plan
	line(t, "## Prepare")
	line(t, "In one shell, which stays open until the end, in the deployed directory of %s. The lock keeps a second operator and "+
		"Backout away from it; when the second line says that it is taken, stop and talk to whoever has it.", md(p.From))
	commands := []string{
		"exec 9>>" + LockFile,
		"flock -n 9 || echo 'TAKEN: somebody else rolls back here' >&2",
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		commands = append(commands, fmt.Sprintf(`: "${%s:?set it to %s}"`, name, b.meaning(name)))
	}
	code(t, strings.Join(commands, "\n"))
	if len(p.Env) > 0 {
		line(t, "A line that complains names what is to be set. URLs hold passwords: export them from where secrets are kept, and paste none.")
	}
	if found := b.platform(); len(found) > 0 {
		line(t, "The machine itself must have set: %s.", strings.Join(found, ", "))
	}
}

// meaning is what a variable of the plan stands for.
func (b Book) meaning(name string) string {
	from := b.Plan.Env[name]
	what := "what drills call " + from
	rest, isDatabase := strings.CutPrefix(from, "DATABASE_URL")
	switch {
	case isDatabase:
		node := strings.ToLower(strings.Trim(rest, "_"))
		what = "the URL of the " + cmp.Or(node, "primary") + " database"
		for _, c := range b.Plan.Before {
			if c.Database != nil && c.Database.URL == name {
				what += ", " + c.Database.Name + " as " + c.Database.Role
			}
		}
	case strings.HasPrefix(from, "CACHE_URL"):
		what = "the URL of the cache"
	}
	return what
}

// platform are the variables that steps use and that a machine has, in words.
func (b Book) platform() []string {
	own := map[string]string{
		"SUPERVISOR": "the program that restarts instances", "PROXY": "the program that sends users to instances",
		"INSTANCES": "names of the instances", "RELEASES": "the folder of artefacts", "IMAGES": "the repository of images",
		"CACHE_CLI": "redis-cli or valkey-cli", "NAMESPACE": "the namespace", "COMPOSE": "docker compose with its project and file",
		"REPOSITORY": "a clone of the repository that is deployed",
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(own)) {
		for _, s := range b.Plan.Steps {
			if strings.Contains(s.Run, "$"+name) || strings.Contains(s.Run, "${"+name+"}") {
				found = append(found, "`"+name+"` ("+own[name]+")")
				break
			}
		}
	}
	return found
}

func (b Book) before(t *strings.Builder) {
	line(t, "## Pre-checks")
	p := b.Plan
	if !slices.ContainsFunc(p.Before, func(c service.Check) bool { return c.BeforeStep == 0 }) {
		line(t, "The plan states none.")
		return
	}
	line(t, "Nothing has changed yet. When one of them shows anything else than is expected, or cannot be asked, stop here: "+
		"give the lock back (the last section) and say what was found.")
	for _, c := range p.Before {
		if c.BeforeStep == 0 {
			b.check(t, c)
		}
	}
}

func (b Book) check(t *strings.Builder, c service.Check) {
	by := ""
	if c.Database != nil {
		by = ", by `" + c.Database.URL + "`"
	}
	line(t, "### Check that %s%s", md(c.Words()), by)
	for _, a := range b.asks(c) {
		if a.command != "" {
			code(t, a.command)
		}
		line(t, "%s", a.expect)
	}
}

func (b Book) steps(t *strings.Builder) {
	line(t, "## Steps")
	p := b.Plan
	line(t, "In this order, each only when the one before has shown what is expected of it.")
	if p.Graph {
		line(t, "Where a step says that it may go beside another one, two people can do both at the same time.")
	}
	for i, s := range p.Steps {
		n := i + 1
		line(t, "### Step %d of %d: %s", n, len(p.Steps), md(s.Name))
		for _, c := range p.Before {
			if c.BeforeStep == n {
				line(t, "Right before it, %s:", md(c.Words()))
				for _, a := range b.asks(c) {
					code(t, a.command)
					line(t, "%s", a.expect)
				}
			}
		}
		if place := p.Place(n); s.Of != "" || place != "" {
			line(t, "%s", where(s.Of, place))
		}
		if s.Expires > 0 {
			line(t, "It needs the approval of a person who is not you, within %s.", spoken(s.Expires))
		}
		for _, does := range b.does(n) {
			item(t, "%s", does)
		}
		t.WriteString("\n")
		code(t, strings.TrimRight(s.Run, "\n"))
		expect := "it ends with exit code 0"
		if s.Output != "" {
			expect += " and has printed what matches " + tick(s.Output)
		}
		line(t, "Expected within %s: %s.", spoken(s.Timeout), expect)
		line(t, "**When it fails or has not ended after %s:**", spoken(s.Timeout))
		for _, do := range b.failed(n) {
			item(t, "%s", do)
		}
		t.WriteString("\n")
	}
}

// failed says what to do when a step fails: what follows from whether it may be run again, from the steps around it, and
// from the lock.
func (b Book) failed(n int) []string {
	steps := b.Plan.Steps
	s := steps[n-1]
	do := []string{"End it with Ctrl-C if it still runs. Keep the lock and this shell: nobody else may start meanwhile."}
	look := ""
	if l := b.look(n); l != "" {
		look = " " + l
	}
	if s.Again == "safe" {
		do = append(do, "It may be run again as it is (`again: safe`): do that once, when the cause is known or gone. If it fails a second time, stop."+look)
	} else {
		do = append(do, "Do not run it again (`again: refuse`): a second run may do harm. Look first what it has done, and let somebody who knows it decide."+look)
	}
	if s.Fails == service.Compensates {
		do = append(do, "Take back what was done, the last one first:")
		for i := n; i >= 1; i-- {
			if u := steps[i-1].Undo; u != nil && !u.Nothing {
				do = append(do, fmt.Sprintf("Step %d, within %s: %s", i, spoken(u.Timeout), tick(strings.TrimSpace(u.Run))))
			}
		}
		return append(do, "Tell the incident's channel the step, that it was taken back, and who decides now.")
	}
	if s.Fails == service.Continues {
		do = append(do, "What does not need it goes on: "+beside(b.Plan, n)+".")
	}
	switch {
	case n == 1:
		do = append(do, "No step before it has changed anything.")
	case n == 2:
		do = append(do, fmt.Sprintf("Step 1 has been done and stays done: %s.", md(steps[0].Name)))
	default:
		do = append(do, fmt.Sprintf("Steps 1 to %d have been done and stay done.", n-1))
	}
	var left []string
	for i := n; i < len(steps); i++ {
		if slices.Contains(b.Plan.Beside(n), i+1) {
			continue
		}
		left = append(left, fmt.Sprintf("%d (%s)", i+1, md(steps[i].Name)))
	}
	if len(left) > 0 {
		do = append(do, "Do not go on to what rests on it: "+strings.Join(left, ", ")+".")
	} else {
		do = append(do, "It is the last step: run the validation all the same, which says what is as it should be.")
	}
	return append(do, "Tell the incident's channel the step, its output and who decides now.")
}

func (b Book) after(t *strings.Builder) {
	line(t, "## Validation")
	if len(b.Plan.After) == 0 {
		line(t, "The plan states none: until somebody has looked, nothing says that service is back.")
		return
	}
	line(t, "Not done before all of these hold. When one does not, service is not restored: keep the lock and say so.")
	for _, c := range b.Plan.After {
		b.check(t, c)
	}
}

func (b Book) close(t *strings.Builder) {
	p := b.Plan
	line(t, "## Close")
	line(t, "Give the lock back, and tell those named above, with what is left open.")
	if told := p.Told(); told.Receiver != "" {
		line(t, "Hand the incident over to %s, with this page as it was filled in. It is not resolved before it is accepted, within %s.", md(told.Receiver), spoken(told.Accepts))
	}
	code(t, "rm -f "+LockFile+"; exec 9>&-")
}

// line writes a paragraph.
func line(t *strings.Builder, format string, args ...any) { fmt.Fprintf(t, format+"\n\n", args...) }

func item(t *strings.Builder, format string, args ...any) { fmt.Fprintf(t, "- "+format+"\n", args...) }

func code(t *strings.Builder, text string) { t.WriteString(report.Fenced(text) + "\n\n") }

func md(s string) string { return report.Escape(s) }

// tick is text as code within a line.
func tick(s string) string {
	mark := "`"
	for strings.Contains(s, mark) {
		mark += "`"
	}
	if len(mark) > 1 {
		return mark + " " + s + " " + mark
	}
	return mark + s + mark
}

// spoken is a length of time in words: 90 s, 2 min, 2 min 30 s, 250 ms.
func spoken(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%g s", d.Seconds())
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d min %g s", int(d.Minutes()), (d % time.Minute).Seconds())
}

// beside names the steps that go on when a step has failed.
func beside(p *service.Plan, n int) string {
	var names []string
	for _, i := range p.Beside(n) {
		names = append(names, fmt.Sprintf("step %d (%s)", i, md(p.Steps[i-1].Name)))
	}
	if names == nil {
		return "nothing does"
	}
	return strings.Join(names, ", ")
}

// where is of which service a step is, and its place among the others.
func where(of, place string) string {
	switch {
	case of == "":
		return "Place: " + place + "."
	case place == "":
		return "Of " + md(of) + "."
	}
	return "Of " + md(of) + ": " + place + "."
}
