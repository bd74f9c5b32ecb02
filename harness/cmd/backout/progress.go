package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/verdict"
	"backout/scenarios"
)

// progress tells what drills do: a line a phase; on a terminal a last line for each drill says what is under way.
type progress struct {
	mu     sync.Mutex
	out    io.Writer
	json   bool
	live   bool // out is a terminal
	prefix bool // several drills at once: each line names its drill
	order  []*drill.Spec
	phase  map[string]drill.Progress // what each drill is at, by key
	since  map[string]time.Time
	drawn  int  // live lines on the screen
	pace   pace // of the drills that ran side by side; none: of at most one
	stop   chan struct{}
	done   sync.WaitGroup
	after  func() // ends what goes on until the reports are written
}

func newProgress(out *os.File, asJSON, prefix bool) *progress {
	return &progress{
		out: out, json: asJSON, prefix: prefix,
		live:  !asJSON && term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb",
		phase: map[string]drill.Progress{}, since: map[string]time.Time{}, stop: make(chan struct{}),
	}
}

func (p *progress) begin(all []scenarios.Scenario, f flags) {
	if p.live {
		p.done.Go(p.redraw)
	}
	if len(all) > 1 {
		windows := f.windows + " windows"
		if w, err := drill.Windows(f.windows, false); err == nil {
			windows += fmt.Sprintf(": baseline %g s, stability %g s, patience %g s", w.Baseline, w.Stability, w.Patience)
		}
		p.say("", fmt.Sprintf("%d drills · %s · seed %d · %s", len(all), f.env, f.seed, windows), map[string]any{"drills": len(all), "seed": f.seed, "windows": f.windows})
	}
}

func (p *progress) redraw() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.erase()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *progress) end() {
	close(p.stop)
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	for range p.drawn {
		fmt.Fprint(p.out, "\x1b[1A\x1b[2K")
	}
	p.drawn = 0
}

func (p *progress) draw() {
	if !p.live {
		return
	}
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	for _, s := range p.order {
		at, running := p.phase[key(s)]
		if !running {
			continue
		}
		line := fmt.Sprintf("  … %s%-17s %6.0f s   %s", p.who(s), at.Phase, time.Since(p.since[key(s)]).Seconds(), at.Text)
		if r := []rune(line); len(r) >= width {
			line = string(r[:width-1])
		}
		fmt.Fprintln(p.out, line)
		p.drawn++
	}
}

// key names a drill of the set. Mutants of a drill stand where it does.
func key(s *drill.Spec) string { return s.Where() + " " + s.Variant }

func (p *progress) who(s *drill.Spec) string {
	if !p.prefix {
		return ""
	}
	return fmt.Sprintf("%-34s ", s.Short())
}

// say writes a line above the live ones.
func (p *progress) say(who, line string, fields map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		if fields == nil {
			fields = map[string]any{"text": line}
		}
		if who != "" {
			fields["drill"] = strings.TrimSpace(who)
		}
		if text, err := json.Marshal(fields); err == nil {
			fmt.Fprintf(p.out, "%s\n", text)
		}
		return
	}
	p.erase()
	fmt.Fprintln(p.out, line)
	p.draw()
}

// note is what an environment tells of work that takes long.
func (p *progress) note(text string) { p.say("", "  "+text, nil) }

func (p *progress) started(s *drill.Spec) {
	p.mu.Lock()
	p.order = append(p.order, s)
	p.mu.Unlock()
	line := fmt.Sprintf("%s · %s: %s -> %s", s.Name, s.Service.Name, s.Bad.Name, s.Good.Name)
	p.say(s.Short(), p.who(s)+line, map[string]any{"started": s.Name, "where": s.Where()})
}

func (p *progress) tell(s *drill.Spec, at drill.Progress) {
	if !at.Done {
		p.mu.Lock()
		begun := p.phase[key(s)].Phase != at.Phase
		if begun {
			p.since[key(s)] = time.Now()
		}
		p.phase[key(s)] = at
		p.mu.Unlock()
		if begun && p.json {
			p.say(s.Short(), "", map[string]any{"phase": at.Phase, "begun": true})
		}
		if at.Text != "" && !p.live {
			p.say(s.Short(), "  "+p.who(s)+at.Text, map[string]any{"phase": at.Phase, "text": at.Text})
		}
		return
	}
	line := fmt.Sprintf("  %s%-19s %6.1f s   %s", p.who(s), at.Phase, at.Took.Seconds(), at.Text)
	p.say(s.Short(), line, map[string]any{"phase": at.Phase, "seconds": at.Took.Seconds(), "text": at.Text})
}

// ended tells a drill's verdict: the figures, and every broken promise with what to do.
func (p *progress) ended(r drill.Result) {
	spec := r.Spec
	p.mu.Lock()
	delete(p.phase, key(&spec))
	p.mu.Unlock()
	fields := map[string]any{"verdict": r.Word(), "where": spec.Where(), "because": r.Verdict.Because, "exit": r.Exit(), "dir": r.Dir}
	p.say(spec.Short(), strings.Join(outcome(r), "\n"), fields)
}

// outcome is a drill's result as lines for people.
func outcome(r drill.Result) []string {
	v := r.Verdict
	lines := []string{"", fmt.Sprintf("%s  %s", strings.ToUpper(r.Word()), r.Spec.Name)}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch {
	case r.NotApplicable != "":
		add("  %s", r.NotApplicable)
		return lines
	case r.Err != nil:
		add("  %v", r.Err)
		if r.Dir != "" {
			add("  evidence so far: %s", r.Dir)
		}
		return lines
	}
	add("  %s", v.Because)
	if v.Expected != nil {
		add("  %s", v.ExpectedWhy)
	}
	if v.Clocks[evidence.ClockStarted] != nil {
		users := " (users " + took(v.Speed.Users) + ")"
		if r.Run != nil && len(r.Run.Service.Journeys) == 0 {
			users = "" // a schema alone has none
		}
		add("  restored %s%s, target %s", took(v.Speed.Seconds), users, took(&v.Speed.Target))
	}
	if v.Expected == nil || !*v.Expected {
		for _, a := range v.Assumptions {
			if !a.Held {
				add("  assumption failed: %s\n      %s", a.Name, a.Finding)
			}
		}
		shown := 0
		for _, pr := range v.Promises {
			if pr.State == verdict.Broken || pr.State == verdict.Unjudged {
				if shown++; shown > 6 {
					continue // the report has them all
				}
				add("  %s: %s\n      %s%s", pr.State, pr.Name, pr.Finding, cited(pr.Evidence))
				if pr.Remedy != "" {
					add("      %s", pr.Remedy)
				}
			}
		}
		if shown > 6 {
			add("  and %d more in the report", shown-6)
		}
	}
	add("  report   %s", filepath.Join(r.Dir, "report.html"))
	if r.Run != nil {
		add("  again    %s", r.Run.Again)
	}
	return append(lines, "")
}

func cited(numbers []int64) string {
	var text strings.Builder
	for i, n := range numbers {
		if i == 3 {
			break
		}
		fmt.Fprintf(&text, "  #%d", n)
	}
	return text.String()
}

func took(seconds *float64) string {
	switch {
	case seconds == nil:
		return "never"
	case *seconds >= 120:
		return fmt.Sprintf("%.4g min", *seconds/60)
	}
	return fmt.Sprintf("%.1f s", *seconds)
}

// summary is the last thing that a set prints: the verdicts and where the reports are.
func (p *progress) summary(dir string, results []drill.Result) {
	if p.json {
		p.say("", "", map[string]any{"reports": dir})
		return
	}
	if len(results) == 1 {
		return
	}
	lines := []string{""}
	for _, r := range results {
		word := r.Word()
		if e := r.Verdict.Expected; e != nil && *e {
			word += ", as it must"
		} else if e != nil {
			word += ", as it must not"
		}
		restored := ""
		if r.Verdict.Clocks[evidence.ClockStarted] != nil {
			restored = "restored " + took(r.Verdict.Speed.Seconds)
		}
		lines = append(lines, fmt.Sprintf("%-20s %-16s %s", word, restored, r.Spec.Name))
	}
	if p.pace.drills > 1 {
		lines = append(lines, "", p.pace.String())
	}
	lines = append(lines, "", "reports  "+filepath.Join(dir, "index.html"))
	p.say("", strings.Join(lines, "\n"), nil)
}
