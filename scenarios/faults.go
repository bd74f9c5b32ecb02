package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/service"
)

// moments are when a fault is in force.
func moments() []struct {
	text string
	set  func(f *evidence.DeclaredFault, numbers []int)
} {
	return []struct {
		text string
		set  func(f *evidence.DeclaredFault, numbers []int)
	}{
		{" while it is rolled back", func(f *evidence.DeclaredFault, _ []int) { f.Before = 1 }},
		{" before step {n}", func(f *evidence.DeclaredFault, n []int) { f.Before = n[0] }},
		{" before step {n}, until step {n} has ended", func(f *evidence.DeclaredFault, n []int) { f.Before, f.Until = n[0], n[1] }},
		{" before step {n}, for good", func(f *evidence.DeclaredFault, n []int) { f.Before, f.ForGood = n[0], true }},
	}
}

// faults are the sentences that disturb the rollback: what happens, and when. They only declare; the drill knows them
// before it starts.
func faults() []Sentence {
	var all []Sentence
	for _, kind := range fault.Kinds() {
		for _, form := range kind.Forms {
			for _, m := range moments() {
				all = append(all, sentence(form.Text+m.text, func(d *draft, w []string) error {
					f := evidence.DeclaredFault{Kind: kind.Name, Text: spoken(form.Text, w)}
					return d.disturb(f, kind, form, w, m.set)
				}, nil))
			}
		}
	}
	return all
}

// disturb declares a fault. words are those of the form, then the numbers of steps.
func (d *draft) disturb(f evidence.DeclaredFault, kind fault.Kind, form fault.Form, words []string, when func(*evidence.DeclaredFault, []int)) error {
	if d.Plan == nil {
		return fmt.Errorf("no plan is given yet, so there are no steps: say first: When it is rolled back by its plan")
	}
	on := kind.On[0]
	switch {
	case strings.Contains(form.Text, "{target}") || strings.Contains(form.Text, "{word}"):
		var err error
		if f.Of, on, err = d.target(words[0], on, strings.Contains(form.Text, "{word}")); err != nil {
			return err
		}
		words = words[1:]
	case on == fault.OnRegistry:
		f.Of = d.Good.Name
	default:
		f.Of = on
	}
	if form.Unit != 0 {
		n, err := number(words[0])
		if err != nil {
			return err
		}
		f.Seconds = n * form.Unit
		words = words[1:]
	}
	var steps []int
	for _, w := range words {
		n, err := number(w)
		if err != nil {
			return err
		}
		if n != float64(int(n)) || n < 1 || int(n) > len(d.Plan.Steps) {
			return fmt.Errorf("%s has the steps 1 to %d, found step %s", d.Plan.Path, len(d.Plan.Steps), w)
		}
		steps = append(steps, int(n))
	}
	when(&f, steps)
	if f.Until != 0 && f.Until < f.Before {
		return fmt.Errorf("expected a fault that ends after it began, found one from step %d until step %d has ended", f.Before, f.Until)
	}
	if err := kind.Allowed(f, on); err != nil {
		return err
	}
	d.Faults = append(d.Faults, f)
	return nil
}

// target is what a fault is done to, by the name that the environment gives it, and of what sort it is. A bare word is of the
// sort that the kind of fault is about, or an instance or a node.
func (d *draft) target(word, sort string, bare bool) (name, on string, err error) {
	known := map[string]string{}
	var names []string
	if bare && sort == fault.OnRelease {
		for _, r := range []*service.Release{d.Good, d.Bad} {
			known[r.Name] = sort
			names = append(names, r.Name)
		}
	}
	for _, s := range d.running() {
		switch {
		case bare && (sort == fault.OnPods || sort == fault.OnService && s.Database != nil):
			known[s.Name] = sort
			names = append(names, s.Name)
		case !bare:
			for i := 1; i <= max(1, s.Instances); i++ {
				n := fmt.Sprintf("%s-%d", s.Name, i)
				known[n] = fault.OnInstance
				names = append(names, n)
			}
		}
	}
	if !bare && d.Service.Database != nil {
		known["the primary"] = fault.OnPrimary
		names = append(names, "the primary")
		if d.Streaming {
			known["the streaming replica"] = fault.OnStreaming
			names = append(names, "the streaming replica")
		}
		if d.Logical {
			known["the logical replica"] = fault.OnLogical
			names = append(names, "the logical replica")
		}
	}
	on, is := known[word]
	if !is {
		slices.Sort(names)
		return "", "", fmt.Errorf("there is no %q in this drill; there are %s", word, strings.Join(names, ", "))
	}
	if on == fault.OnPrimary || on == fault.OnStreaming || on == fault.OnLogical {
		return on, on, nil
	}
	return word, on, nil
}

// running are the services that the drill runs.
func (d *draft) running() []*service.Service {
	return append([]*service.Service{d.Service}, d.Dependants...)
}
