package service

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planOf is a plan of steps called a, b, c ..., each with what it says besides.
func planOf(says ...string) string {
	text := "plan: several\nfrom: v2\nto: v1\nsteps:\n"
	for i, s := range says {
		text += fmt.Sprintf("  - {name: %c, run: 'true', timeout: 1s, again: safe%s}\n", 'a'+i, s)
	}
	return text
}

func openPlan(t *testing.T, text string) (*Plan, error) {
	t.Helper()
	dir := folder(t, map[string]string{"releases/v2/rollback.yaml": text})
	return OpenPlan(filepath.Join(dir, "releases", "v2", "rollback.yaml"))
}

func TestThePlacesOfSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		says   []string
		needs  [][]int
		beside [][]int
		graph  bool
	}{
		{"one after the other", []string{"", "", ""}, [][]int{nil, {1}, {2}}, [][]int{nil, nil, nil}, false},
		{"of services", []string{", of: shop", ", of: billing, fails: continue"}, [][]int{nil, {1}}, [][]int{nil, nil}, false},
		{"two beside each other, and a third", []string{"", ", needs: [a]", ", needs: [a]", ", needs: [b, c]"}, [][]int{nil, {1}, {1}, {2, 3}}, [][]int{nil, {3}, {2}, nil}, true},
		{"at once", []string{"", ", needs: []", ""}, [][]int{nil, nil, {2}}, [][]int{{2, 3}, {1}, {1}}, true},
		{"a barrier", []string{"", ", needs: []", ", barrier: true", ", needs: []", ", needs: []"}, [][]int{nil, nil, {1, 2}, {3}, {3}}, [][]int{{2}, {1}, nil, {5}, {4}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := openPlan(t, planOf(c.says...))
			if err != nil {
				t.Fatal(err)
			}
			if p.Graph != c.graph {
				t.Errorf("expected graph %v, found %v", c.graph, p.Graph)
			}
			for i := range p.Steps {
				if found := p.NeedsOf(i + 1); !slices.Equal(found, c.needs[i]) {
					t.Errorf("step %d: expected needs %v, found %v", i+1, c.needs[i], found)
				}
				if found := p.Beside(i + 1); !slices.Equal(found, c.beside[i]) {
					t.Errorf("step %d: expected %v beside it, found %v", i+1, c.beside[i], found)
				}
			}
		})
	}
}

func TestTheWordsOfAPlace(t *testing.T) {
	p, err := openPlan(t, planOf(", undo: nothing", ", needs: [], fails: compensate, undo: {run: back, timeout: 1s}", ", barrier: true, undo: nothing", ", needs: [], undo: nothing", ", needs: [], undo: nothing, fails: continue"))
	if err != nil {
		t.Fatal(err)
	}
	for i, expected := range []string{"beside step 2", "at once; beside step 1; if it fails, what was done is taken back", "when everything before has ended", "beside step 5",
		"after step 3; beside step 4; if it fails, what does not need it goes on"} {
		if found := p.Place(i + 1); found != expected {
			t.Errorf("step %d: expected %q, found %q", i+1, expected, found)
		}
	}
	if found := len(p.Commands()); found != 6 {
		t.Errorf("expected five steps and one way to take one back, found %d commands", found)
	}
}

func TestMistakesInAGraphAreTold(t *testing.T) {
	for _, c := range []struct {
		says []string
		err  string
	}{
		{[]string{"", ", needs: [c]", ""}, `:6:62: expected the name of a step above this one in needs, found "c"`},
		{[]string{"", ", needs: [b]"}, `expected the name of a step above this one in needs, found "b"`},
		{[]string{"", ", needs: [a], barrier: true"}, `expected either needs or barrier, found both: a barrier needs everything above it`},
		{[]string{", of: shoop"}, `expected one of shop, billing in of, found "shoop"; did you mean "shop"?`},
		{[]string{", fails: ignore"}, `expected one of stop, continue, compensate in fails, found "ignore"`},
		{[]string{"", ", fails: compensate, undo: nothing"}, `:5:5: expected undo, since the plan takes back what it has done when "b" fails, found none`},
		{[]string{", undo: nothing"}, `expected fails: compensate on a step of the plan beside undo`},
		{[]string{", fails: compensate, undo: {run: back}"}, `expected "timeout" in undo, found none`},
		{[]string{", fails: compensate, undo: something"}, `expected "nothing" in undo, found "something"`},
	} {
		_, err := openPlan(t, planOf(c.says...))
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: expected %s, found %v", c.says, c.err, err)
		}
	}
	text := strings.Replace(planOf("", ", needs: []"), "name: b", "name: a", 1)
	if _, err := openPlan(t, text); err == nil || !strings.Contains(err.Error(), `expected names that differ, since steps need each other by name, found "a" again`) {
		t.Errorf("two steps of one name: found %v", err)
	}
}
