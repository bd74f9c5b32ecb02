package rollback_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// step is one that writes its name down, and its undo, which writes it down as taken back.
func step(name, run string, needs ...int) service.Step {
	return service.Step{Name: name, Run: "echo " + name + " >>ran; " + run, Timeout: 10 * time.Second, Again: "safe", Needs: needs,
		Undo: &service.Undo{Step: service.Step{Name: name, Run: "echo back " + name + " >>ran", Timeout: 10 * time.Second, Again: "safe"}}}
}

func fails(s service.Step, how string) service.Step { s.Fails = how; return s }

// endings is how each step of a part ended, "1 ok, 2 failed".
func endings(t *testing.T, seen *events, part string) string {
	t.Helper()
	var all []string
	for _, s := range seen.only(t, "ended") {
		if s.Part == part {
			all = append(all, fmt.Sprint(s.Index, " ", s.Outcome))
		}
	}
	slices.Sort(all) // those that run side by side end in any order
	if part == evidence.PartUndo {
		slices.Reverse(all) // which they do one after the other, see what was run
	}
	return strings.Join(all, ", ")
}

func ran(t *testing.T, r *rollback.Runner) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, "ran"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(text)), "\n"), ", ")
}

// Each waits until the other has begun: one after the other, the first of them would run out of time.
func TestStepsThatDoNotNeedEachOtherRunSideBySide(t *testing.T) {
	meet := func(me, other string) string {
		return fmt.Sprintf("touch %s; until [ -e %s ]; do sleep 0.01; done", me, other)
	}
	r, seen := runner(t)
	p := &service.Plan{Graph: true, Steps: []service.Step{
		step("flag", ""),
		step("code", meet("a", "b"), 1),
		step("books", meet("b", "a"), 1),
		step("schema", "", 2, 3),
	}}
	if err := r.Steps(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range seen.only(t, "started") {
		order = append(order, s.Name)
	}
	if order[0] != "flag" || order[3] != "schema" {
		t.Errorf("expected the flag first and the schema last, found %v", order)
	}
	began := seen.wait(t, "the schema", func(s evidence.Step) bool { return s.Name == "schema" && s.Event == "started" })
	for _, name := range []string{"code", "books"} {
		seen.wait(t, name+" before "+began.Name, func(s evidence.Step) bool { return s.Name == name && s.Event == "ended" })
	}
}

func TestWhatBecomesOfAPlanWhenAStepFails(t *testing.T) {
	chain := func(steps ...service.Step) *service.Plan { return &service.Plan{Steps: steps} }
	graph := func(steps ...service.Step) *service.Plan { return &service.Plan{Graph: true, Steps: steps} }
	without := func(s service.Step) service.Step { s.Undo = &service.Undo{Nothing: true}; return s }
	broken := func(s service.Step) service.Step { s.Undo.Run += "; exit 3"; return s }
	for _, c := range []struct {
		name        string
		plan        *service.Plan
		steps, undo string
		ran, err    string // ran is empty where two run side by side
	}{
		{"it stops", chain(step("a", ""), step("b", "false"), step("c", "")),
			"1 ok, 2 failed, 3 skipped", "", "a, b", "step 2, b: failed"},
		{"what needs it is left out", graph(step("a", ""), fails(step("b", "false", 1), service.Continues), step("c", "", 2), step("d", "", 1)),
			"1 ok, 2 failed, 3 skipped, 4 ok", "", "", "step 2, b: failed"},
		{"a barrier behind it does not begin", graph(fails(step("a", "false"), service.Continues), step("b", ""), step("c", "", 1, 2)),
			"1 failed, 2 ok, 3 skipped", "", "", "step 1, a: failed"},
		{"what was done is taken back, the last one first, half done or whole", chain(step("a", ""), step("b", ""), fails(step("c", "false"), service.Compensates), step("d", "")),
			"1 ok, 2 ok, 3 failed, 4 skipped", "3 ok, 2 ok, 1 ok", "a, b, c, back c, back b, back a", "what was done was taken back: 3 steps"},
		{"nothing to take back of one", chain(without(step("a", "")), step("b", ""), fails(step("c", "false"), service.Compensates)),
			"1 ok, 2 ok, 3 failed", "3 ok, 2 ok", "a, b, c, back c, back b", "what was done was taken back: 2 steps"},
		{"it cannot be taken back", chain(step("a", ""), broken(step("b", "")), fails(step("c", "false"), service.Compensates)),
			"1 ok, 2 ok, 3 failed", "3 ok, 2 failed, 1 skipped", "a, b, c, back c, back b", "what was done could not be taken back: taking back step 2, b: failed: exited with 3"},
		{"another one says that it stops", chain(fails(step("a", ""), service.Compensates), step("b", "false")),
			"1 ok, 2 failed", "", "a, b", "step 2, b: failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, seen := runner(t)
			err := r.Steps(t.Context(), c.plan, nil)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("expected an error with %q, found %v", c.err, err)
			}
			if found := endings(t, seen, evidence.PartStep); found != c.steps {
				t.Errorf("steps: expected %s, found %s", c.steps, found)
			}
			if found := endings(t, seen, evidence.PartUndo); found != c.undo {
				t.Errorf("taken back: expected %s, found %s", c.undo, found)
			}
			if found := ran(t, r); c.ran != "" && found != c.ran {
				t.Errorf("expected to run %s, found %s", c.ran, found)
			}
		})
	}
}

// What runs beside a step that fails is not broken off, and is taken back with the rest.
func TestWhatRunsBesideAFailedStepEnds(t *testing.T) {
	r, seen := runner(t)
	p := &service.Plan{Graph: true, Steps: []service.Step{
		fails(step("a", "until [ -e b ]; do sleep 0.01; done; false"), service.Compensates),
		step("b", "touch b; until [ -e failed ]; do sleep 0.01; done"),
		step("c", "", 2),
	}}
	r.Step = func(_ context.Context, index int, outcome string) {
		if index == 1 && outcome != "" {
			if err := os.WriteFile(filepath.Join(r.Dir, "failed"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	if err := r.Steps(t.Context(), p, nil); err == nil {
		t.Fatal("expected an error, found none")
	}
	if found := endings(t, seen, evidence.PartStep); found != "1 failed, 2 ok, 3 skipped" {
		t.Errorf("found %s", found)
	}
	if found := endings(t, seen, evidence.PartUndo); found != "2 ok, 1 ok" {
		t.Errorf("taken back: found %s", found)
	}
}

// A person is asked about the one part while the other runs, and is asked no more when the other fails.
func TestPeopleAreAskedWhileOthersRun(t *testing.T) {
	for _, c := range []struct{ end, steps string }{{"true", "1 ok, 2 ok"}, {"false", "1 failed, 2 skipped"}} {
		r, seen := runner(t)
		ended := make(chan string, 1)
		r.Step = func(_ context.Context, index int, outcome string) {
			if index == 1 && outcome != "" {
				ended <- outcome
			}
		}
		r.Approve = func(ctx context.Context, _ rollback.Question) error {
			if err := os.WriteFile(filepath.Join(r.Dir, "asked"), nil, 0o600); err != nil {
				return err
			}
			if outcome := <-ended; outcome != evidence.StepOK { // which nobody could hear of before it has
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		second := step("b", "")
		second.Expires = 10 * time.Second
		p := &service.Plan{Graph: true, Steps: []service.Step{step("a", "until [ -e asked ]; do sleep 0.01; done; "+c.end), second}}
		if err := r.Steps(t.Context(), p, nil); (err != nil) != (c.end == "false") {
			t.Errorf("%s: found %v", c.end, err)
		}
		if found := endings(t, seen, evidence.PartStep); found != c.steps {
			t.Errorf("expected %s, found %s", c.steps, found)
		}
	}
}

// Nobody approves the second part: people decide what becomes of the first, so that nothing is taken back.
func TestWhatPeopleRefuseIsNotTakenBack(t *testing.T) {
	r, seen := runner(t)
	r.Approve = func(context.Context, rollback.Question) error { return &rollback.Unapproved{Why: "anna refused"} }
	asks := fails(step("b", ""), service.Compensates)
	asks.Expires = time.Second
	if err := r.Steps(t.Context(), &service.Plan{Steps: []service.Step{step("a", ""), asks}}, nil); err == nil {
		t.Fatal("expected an error, found none")
	}
	if found := endings(t, seen, evidence.PartStep) + endings(t, seen, evidence.PartUndo); found != "1 ok, 2 refused" {
		t.Errorf("found %s", found)
	}
}

// A runner dies, or its plan stops, and somebody goes on by the journal: with what is not done, and with nothing twice that must not be.
func TestAPlanOfSeveralPartsIsResumedByItsJournal(t *testing.T) {
	plan := func(second string) *service.Plan {
		p := &service.Plan{Graph: true, Steps: []service.Step{
			step("a", ""),
			fails(step("b", second), service.Continues),
			step("c", "", 1, 2),
			step("d", "", 1),
		}}
		return p
	}
	for _, c := range []struct{ again, err, ran string }{
		{"safe", "", "b, c"},
		{"refuse", "it had begun before the machine died", ""},
	} {
		t.Run(c.again, func(t *testing.T) {
			r, _ := runner(t)
			r.Journal = filepath.Join(r.Dir, rollback.JournalFile)
			p := plan("[ -e mended ]")
			p.Steps[1].Again = c.again
			if err := r.Steps(t.Context(), p, nil); err == nil {
				t.Fatal("expected step b to fail")
			}
			left, err := r.Unfinished()
			if err != nil || !left.Unfinished() {
				t.Fatalf("expected a plan that is half done, found %+v, %v", left, err)
			}
			if err := os.WriteFile(filepath.Join(r.Dir, "mended"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(r.Dir, "ran")); err != nil {
				t.Fatal(err)
			}
			err = r.StepsAfter(t.Context(), p, nil, left.Earlier())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("expected an error with %q, found %v", c.err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found := ran(t, r); found != c.ran {
				t.Errorf("expected that %s run, found %s", c.ran, found)
			}
			if left, err = r.Unfinished(); err != nil || left.Unfinished() {
				t.Errorf("expected nothing to be left, found %+v, %v", left, err)
			}
		})
	}
}

// What was taken back is done with; what was half taken back nobody simply goes on with.
func TestTheJournalKnowsWhatIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		undo                  string
		unfinished, resumable bool
	}{{"", false, true}, {"; false", true, false}} {
		r, _ := runner(t)
		r.Journal = filepath.Join(r.Dir, rollback.JournalFile)
		first := step("a", "")
		first.Undo.Run += c.undo
		if err := r.Steps(t.Context(), &service.Plan{Steps: []service.Step{first, fails(step("b", "false"), service.Compensates)}}, nil); err == nil {
			t.Fatal("expected step b to fail")
		}
		left, err := r.Unfinished()
		if err != nil {
			t.Fatal(err)
		}
		if left.Unfinished() != c.unfinished || (left.Resumable() == nil) != c.resumable {
			t.Errorf("undo %q: expected unfinished %v and resumable %v, found %+v: %v", c.undo, c.unfinished, c.resumable, left, left.Resumable())
		}
	}
}
