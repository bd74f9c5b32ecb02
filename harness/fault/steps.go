package fault

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"backout/harness/service"
)

func dropStep(r Right) (all []Mutant) {
	steps := r.Plan.Steps
	for i, s := range steps {
		all = append(all, Mutant{What: fmt.Sprintf("without step %d, %s", i+1, s.Name),
			Plan: r.with(slices.Delete(slices.Clone(steps), i, i+1)...)})
	}
	return all
}

func swapSteps(r Right) (all []Mutant) {
	for i := range len(r.Plan.Steps) - 1 {
		steps := slices.Clone(r.Plan.Steps)
		steps[i], steps[i+1] = steps[i+1], steps[i]
		all = append(all, Mutant{What: fmt.Sprintf("step %d before step %d", i+2, i+1), Plan: r.with(steps...)})
	}
	return all
}

// repeatStep runs a step twice, as somebody does who is not sure whether it went through.
func repeatStep(r Right) (all []Mutant) {
	for i, s := range r.Plan.Steps {
		again := changed(s, s.Run)
		again.Name += ", again"
		all = append(all, Mutant{What: fmt.Sprintf("step %d twice, %s", i+1, s.Name),
			Plan: r.with(slices.Insert(slices.Clone(r.Plan.Steps), i+1, again)...)})
	}
	return all
}

func stopBefore(r Right) []Mutant {
	n := len(r.Plan.Steps)
	if n < 2 {
		return nil
	}
	return []Mutant{{What: fmt.Sprintf("stopped before step %d, %s", n, r.Plan.Steps[n-1].Name), Plan: r.with(r.Plan.Steps[:n-1]...)}}
}

// skipNode leaves away every step that names one node's database.
func skipNode(r Right) (all []Mutant) {
	for _, name := range slices.Sorted(maps.Keys(r.Plan.Env)) {
		uses := regexp.MustCompile(`\$\{?` + regexp.QuoteMeta(name) + `\b`)
		rest := slices.DeleteFunc(slices.Clone(r.Plan.Steps), func(s service.Step) bool { return uses.MatchString(s.Run) })
		if len(rest) < len(r.Plan.Steps) {
			all = append(all, Mutant{What: "nothing is done at " + name, Plan: r.with(rest...)})
		}
	}
	return all
}

// skipInstance hides one instance from a step that goes through $INSTANCES, itself or by the program that it calls.
func skipInstance(r Right) (all []Mutant) {
	for i, s := range r.Plan.Steps {
		if !strings.Contains(s.Run, "INSTANCES") && !strings.Contains(r.Scripts[program(s.Run)], "INSTANCES") {
			continue
		}
		for _, skipped := range r.Instances {
			rest := slices.DeleteFunc(slices.Clone(r.Instances), func(name string) bool { return name == skipped })
			if len(rest) == 0 {
				continue
			}
			steps := slices.Clone(r.Plan.Steps)
			steps[i] = changed(s, fmt.Sprintf("export INSTANCES='%s'; %s", strings.Join(rest, " "), s.Run))
			all = append(all, Mutant{What: fmt.Sprintf("step %d forgets %s", i+1, skipped), Plan: r.with(steps...)})
		}
	}
	return all
}

// program is the file beside the plan that a command begins with, "deploy" of "./deploy v1".
func program(run string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(run), " ")
	return strings.TrimPrefix(first, "./")
}
