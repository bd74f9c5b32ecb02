// Package fault holds what drills are disturbed with on purpose. Mutants are rollbacks that were changed by a rule, where
// a control was changed by a person who knew the checks.
package fault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"backout/harness/service"
)

// Right is a right rollback: its plan, and the files of the deployed directory that its steps use.
type Right struct {
	Plan      *service.Plan
	Instances []string
	Down      map[string]string // path in the deployed directory -> text, of the migrations that it takes back
	Scripts   map[string]string // of programs and SQL files beside them
}

// Mutant is a right rollback with one thing changed.
type Mutant struct {
	Rule    string // one of Rules
	What    string // in words; with the release it names the mutant for ever
	Plan    *service.Plan
	Overlay map[string]string // path in the deployed directory -> text in its place
}

// rule makes all mutants of a kind.
type rule struct {
	name string
	make func(Right) []Mutant
}

// rules is the list: the kinds of mistakes that are made in rollbacks, the narrower ones first, since a mutant that two
// rules make is the first one's.
func rules() []rule {
	return []rule{
		{"skip a node", skipNode},
		{"skip an instance", skipInstance},
		{"stop before the last step", stopBefore},
		{"drop a step", dropStep},
		{"swap two steps", swapSteps},
		{"repeat a step", repeatStep},
		{"drop a statement", dropStatement},
		{"swap two statements", swapStatements},
		{"repeat a statement", repeatStatement},
		{"leave an index out", leaveOut("index")},
		{"leave a grant out", leaveOut("grant")},
		{"leave a trigger out", leaveOut("trigger")},
		{"leave a default or a constraint out", leaveOut("default")},
		{"commit half", commitHalf},
		{"null the values", spoil("null", nulled)},
		{"shift the values by one row", spoil("shift", shifted)},
		{"swap two values", spoil("swap", swapped)},
	}
}

// Rules names the kinds of mutants.
func Rules() []string {
	var names []string
	for _, r := range rules() {
		names = append(names, r.name)
	}
	return names
}

// Read gathers what a right rollback uses: the migrations between the target's and its own, and the programs and SQL
// files that lie beside the service and the release.
func Read(p *service.Plan, good *service.Release) (Right, error) {
	r := Right{Plan: p, Down: map[string]string{}, Scripts: map[string]string{}}
	s := p.Release.Service
	for i := range s.Instances {
		r.Instances = append(r.Instances, fmt.Sprintf("%s-%d", s.Name, i+1))
	}
	for _, dir := range []string{s.Dir, p.Release.Dir} {
		if err := readInto(r.Scripts, dir, "", func(name string, info os.FileInfo) bool {
			return info.Mode()&0o111 != 0 || strings.HasSuffix(name, ".sql")
		}); err != nil {
			return r, err
		}
	}
	dirs := []string{filepath.Join(p.Release.Dir, "migrations")}
	if s.Database != nil && s.Database.Migrations != "" {
		dirs = append([]string{filepath.Join(s.Dir, s.Database.Migrations)}, dirs...)
	}
	for _, dir := range dirs {
		if err := readInto(r.Down, dir, "migrations/", func(name string, _ os.FileInfo) bool {
			number, _, _ := strings.Cut(name, "_")
			n, err := strconv.ParseInt(number, 10, 64)
			return err == nil && strings.HasSuffix(name, ".sql") && n > good.MigrateTo && n <= p.Release.MigrateTo
		}); err != nil {
			return r, err
		}
	}
	return r, nil
}

func readInto(files map[string]string, dir, below string, want func(name string, info os.FileInfo) bool) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the rollback uses: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !want(e.Name(), info) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("read what the rollback uses: %w", err)
		}
		if len(text) < 64<<10 && !slices.Contains(text, 0) {
			files[below+e.Name()] = string(text)
		}
	}
	return nil
}

// Mutants are all that the rules make of a right rollback, each different rollback once, in an order that never changes.
func Mutants(r Right) []Mutant {
	var all []Mutant
	seen := map[string]bool{}
	for _, rule := range rules() {
		for _, m := range rule.make(r) {
			key := text(m)
			if seen[key] || len(m.Plan.Steps) == 0 {
				continue
			}
			seen[key] = true
			m.Rule = rule.name
			all = append(all, m)
		}
	}
	return all
}

// text is a rollback as it would run: two mutants with the same text are one.
func text(m Mutant) string {
	var b strings.Builder
	for _, s := range m.Plan.Steps {
		b.WriteString(s.Run + "\x00")
	}
	for _, path := range slices.Sorted(maps.Keys(m.Overlay)) {
		b.WriteString(path + "\x00" + m.Overlay[path] + "\x00")
	}
	return b.String()
}

// Draw chooses n of many by a seed, of every rule about as many: a rule that makes many mutants does not crowd out one
// that makes few.
func Draw[M any](all []M, rule func(M) string, n int, seed int64) []M {
	random := rand.New(rand.NewPCG(uint64(seed), 0x6d7574616e7473))
	byRule := map[string][]M{}
	var order []string
	for _, m := range all {
		if byRule[rule(m)] == nil {
			order = append(order, rule(m))
		}
		byRule[rule(m)] = append(byRule[rule(m)], m)
	}
	for _, name := range order {
		of := byRule[name]
		random.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	}
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var drawn []M
	for len(drawn) < min(n, len(all)) {
		for _, name := range order {
			if of := byRule[name]; len(of) > 0 && len(drawn) < n {
				drawn, byRule[name] = append(drawn, of[0]), of[1:]
			}
		}
	}
	return drawn
}

// with is the plan with other steps. What a changed step was expected to print is not asked of it: whoever makes the
// mistake does not write the expectation that finds it.
func (r Right) with(steps ...service.Step) *service.Plan {
	p := *r.Plan
	p.Steps, p.Graph = steps, false // one after the other, as they stand there: what a step needs is said by numbers that have changed
	return &p
}

func changed(s service.Step, run string) service.Step {
	s.Run, s.Output = run, ""
	return s
}
