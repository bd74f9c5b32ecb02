package service

import (
	"fmt"
	"slices"
	"strings"
)

// What becomes of a plan when a step of it does not end well.
const (
	Stops       = "stop"       // nothing more begins; what runs beside it runs to its end
	Continues   = "continue"   // what needs it is left out, the rest goes on
	Compensates = "compensate" // nothing more begins, and what was done is taken back by each step's undo, the last one first
)

// Undo is how a step is taken back.
type Undo struct {
	Nothing bool // it changes nothing that would have to be
	Step
}

// graph reads the places of a plan's steps: of which service each is, what it needs, and what becomes of the plan when it fails.
// A step that does not say what it needs, needs the one above it.
func graph(said []*object, p *Plan) {
	s := p.Release.Service
	named := map[string]int{}
	barrier := 0
	for i, o := range said {
		step := &p.Steps[i]
		if of := o.get("of"); of != nil {
			step.Of = of.text()
			if known := append([]string{s.Name}, s.Dependants...); step.Of != "" && !slices.Contains(known, step.Of) {
				of.wrong("expected %s in of, found %q%s", oneOf(known), step.Of, meant(step.Of, known))
			}
		}
		needs, wall := o.get("needs"), o.get("barrier").flag()
		p.Graph = p.Graph || needs != nil || wall
		switch {
		case wall && needs != nil:
			needs.wrong("expected either needs or barrier, found both: a barrier needs everything above it")
		case wall:
			for n := range i {
				step.Needs = append(step.Needs, n+1)
			}
			barrier = i + 1
			step.Barrier = true
		case needs == nil && i > 0:
			step.Needs = []int{i}
		case needs != nil:
			if barrier > 0 {
				step.Needs = []int{barrier}
			}
			for _, n := range needs.list() {
				name := n.text()
				index, above := named[name]
				if name != "" && !above {
					n.wrong("expected the name of a step above this one in needs, found %q%s", name, meant(name, sorted(named)))
				} else if above && !slices.Contains(step.Needs, index) {
					step.Needs = append(step.Needs, index)
				}
			}
		}
		if _, twice := named[step.Name]; twice && step.Name != "" {
			named[step.Name] = 0 // told below, where it matters
		} else {
			named[step.Name] = i + 1
		}
		if f := o.get("fails"); f != nil {
			step.Fails = f.choice(Stops, Continues, Compensates)
		}
		step.Undo = undo(o.get("undo"), step.Name)
	}
	for i := range p.Steps {
		if !p.Graph {
			p.Steps[i].Needs = nil
		}
	}
	for i, o := range said {
		if p.Graph && named[p.Steps[i].Name] == 0 {
			o.get("name").wrong("expected names that differ, since steps need each other by name, found %q again", p.Steps[i].Name)
		}
	}
	by := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Fails == Compensates })
	for i, o := range said {
		if by >= 0 && p.Steps[i].Undo == nil {
			o.wrong("expected undo, since the plan takes back what it has done when %q fails, found none: undo: {run: COMMAND, timeout: 60s}, or undo: nothing where nothing has to be", p.Steps[by].Name)
		}
		if by < 0 && p.Steps[i].Undo != nil {
			o.get("undo").wrong("expected fails: compensate on a step of the plan beside undo, since otherwise nothing is taken back, found none")
		}
	}
}

// undo reads how a step is taken back: nothing, or a command.
func undo(v *value, name string) *Undo {
	switch {
	case v == nil:
		return nil
	case !v.isMapping():
		v.choice("nothing")
		return &Undo{Nothing: true}
	}
	o := v.object("run", "timeout", "expect")
	u := &Undo{Step: command(v, o)}
	u.Name, u.Again = name, "safe"
	return u
}

// Words are the command that takes a step back, or that there is nothing to take back; empty where it never is.
func (u *Undo) Words() string {
	switch {
	case u == nil:
		return ""
	case u.Nothing:
		return "nothing"
	}
	return u.Run
}

// NeedsOf are the steps, from 1, that must have ended well before a step begins.
func (p *Plan) NeedsOf(step int) []int {
	switch {
	case p.Graph:
		return p.Steps[step-1].Needs
	case step > 1:
		return []int{step - 1}
	}
	return nil
}

// Beside are the steps, from 1, that may run side by side with a step: none of the two needs the other, be it by way of others.
func (p *Plan) Beside(step int) (all []int) {
	needs := func(a, b int) bool { return slices.Contains(p.above(a), b) }
	for other := range p.Steps {
		if o := other + 1; o != step && !needs(step, o) && !needs(o, step) {
			all = append(all, o)
		}
	}
	return all
}

// above are all steps that a step needs, be it by way of others.
func (p *Plan) above(step int) (all []int) {
	for _, n := range p.NeedsOf(step) {
		all = append(append(all, n), p.above(n)...)
	}
	return all
}

// Commands are everything that the plan may run: its steps, and what takes them back.
func (p *Plan) Commands() []Step {
	all := slices.Clone(p.Steps)
	for _, s := range p.Steps {
		if s.Undo != nil && !s.Undo.Nothing {
			all = append(all, s.Undo.Step)
		}
	}
	return all
}

// Place says where a step stands among the others, in words; empty where it simply follows the one above.
func (p *Plan) Place(step int) string {
	var parts []string
	s := p.Steps[step-1]
	if p.Graph {
		switch needs := p.NeedsOf(step); {
		case s.Barrier:
			parts = append(parts, "when everything before has ended")
		case len(needs) == 0 && step > 1:
			parts = append(parts, "at once")
		case len(needs) > 0 && !slices.Equal(needs, []int{step - 1}):
			parts = append(parts, "after "+steplist(needs))
		}
		if beside := p.Beside(step); len(beside) > 0 {
			parts = append(parts, "beside "+steplist(beside))
		}
	}
	switch s.Fails {
	case Continues:
		parts = append(parts, "if it fails, what does not need it goes on")
	case Compensates:
		parts = append(parts, "if it fails, what was done is taken back")
	}
	return strings.Join(parts, "; ")
}

// steplist is "step 2", "steps 2 and 3".
func steplist(steps []int) string {
	var parts []string
	for _, n := range steps {
		parts = append(parts, fmt.Sprint(n))
	}
	if len(parts) == 1 {
		return "step " + parts[0]
	}
	return "steps " + strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
