package rollback_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// faults gathers the fault events of a runner's log.
func faults(r *rollback.Runner) func() []string {
	var mu sync.Mutex
	var all []string
	r.Log.Tap(func(e evidence.Event) {
		if e.Fault != nil {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, strings.TrimSpace(e.Fault.Of+" "+e.Fault.Event+" "+e.Fault.Error))
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func outcomes(t *testing.T, seen *events) []string {
	t.Helper()
	var all []string
	for _, s := range seen.only(t, "ended") {
		if s.Part == evidence.PartStep {
			all = append(all, fmt.Sprint(s.Index, " ", s.Outcome))
		}
	}
	return all
}

// The first time a step leaves a file and hangs; another time it finds the file and ends.
const broken = `test -e there || { touch there; echo begun; sleep 60 & sleep 60; }; echo "ended $(wc -c <tries)"`

func dying(again string) *service.Plan {
	return &service.Plan{Name: "take it back", Steps: []service.Step{
		{Name: "one", Run: `printf x >>tries`, Timeout: time.Minute, Again: "safe"},
		{Name: "two", Run: broken, Timeout: time.Minute, Again: again},
		{Name: "three", Run: "echo done", Timeout: time.Minute, Again: "refuse"},
	}}
}

func TestTheMachineDiesAndThePlanIsStartedAgain(t *testing.T) {
	for _, test := range []struct {
		name, again string
		from        int
		outcomes    []string
		tries       string
		err         string
	}{
		{"from the step", "safe", 2, []string{"1 ok", "2 died", "2 ok", "3 ok"}, "x", ""},
		{"from the start", "safe", 1, []string{"1 ok", "2 died", "1 ok", "2 ok", "3 ok"}, "xx", ""},
		{"a step that must not be run twice", "refuse", 2, []string{"1 ok", "2 died", "2 refused", "3 skipped"}, "x", "step 2, two: refused: it had begun before the machine died"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, seen := runner(t)
			told := faults(r)
			r.Operator = "alice"
			r.Death = &rollback.Death{Step: 2, Says: "begun"}
			p := dying(test.again)
			if err := r.Take(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err := r.Steps(t.Context(), p, nil)
			died := new(rollback.StepError)
			if !errors.As(err, &died) || died.Index != 2 || died.Outcome.Outcome != evidence.StepDied || died.Exit != 137 {
				t.Fatalf("expected it to die in step 2, found %v", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			// The dead machine's word is still there, and its lock is not.
			if text, err := os.ReadFile(filepath.Join(r.Dir, rollback.LockFile)); err != nil || !strings.Contains(string(text), `"step_name": "two"`) {
				t.Errorf("expected the lock's file as it was, found %s %v", text, err)
			}
			err = r.Again(t.Context(), p, nil, test.from, died.Index)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)) {
				t.Errorf("expected %q, found %v", test.err, err)
			}
			if found := outcomes(t, seen); !slices.Equal(found, test.outcomes) {
				t.Errorf("expected %v, found %v", test.outcomes, found)
			}
			if tries, _ := os.ReadFile(filepath.Join(r.Dir, "tries")); string(tries) != test.tries {
				t.Errorf("expected step 1 to have run %d times, found %q", len(test.tries), tries)
			}
			if expected := []string{"step 2 asked", "step 2 in force", "step 2 lifted", "step 2 gone"}; !slices.Equal(told(), expected) {
				t.Errorf("expected %v, found %v", expected, told())
			}
		})
	}
}

func TestADeathThatComesTooLateIsNotInForce(t *testing.T) {
	for _, test := range []struct{ name, run, says, why string }{
		{"it never says so", "echo begun", "half-way", `the step ended and had not said "half-way"`},
		{"it says nothing", "true", "", "the step ended before anything was seen of it"},
	} {
		r, seen := runner(t)
		told := faults(r)
		r.Death = &rollback.Death{Step: 1, Says: test.says}
		if err := r.Steps(t.Context(), &service.Plan{Steps: []service.Step{{Name: "one", Run: test.run, Timeout: time.Minute}}}, nil); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if expected := []string{"step 1 asked", "step 1 not in force " + test.why}; !slices.Equal(told(), expected) || !slices.Equal(outcomes(t, seen), []string{"1 ok"}) {
			t.Errorf("%s: expected %v, found %v, %v", test.name, expected, told(), outcomes(t, seen))
		}
	}
}

func TestAnEffectIsAsGoodAsAWord(t *testing.T) {
	for says, outcome := range map[string]string{"": "1 died", "never": "1 ok"} {
		r, seen := runner(t)
		r.Death = &rollback.Death{Step: 1, Says: says}
		r.Death.Effect("something before the step") // not its doing
		go func() {
			seen.wait(t, "the step", func(s evidence.Step) bool { return s.Event == "started" })
			for start := time.Now(); time.Since(start) < 20*time.Second && len(seen.only(t, "ended")) == 0; {
				r.Death.Effect("shop-1 had changed")
			}
		}()
		_ = r.Steps(t.Context(), &service.Plan{Steps: []service.Step{{Name: "one", Run: "sleep 1", Timeout: time.Minute}}}, nil)
		if found := outcomes(t, seen); !slices.Equal(found, []string{outcome}) {
			t.Errorf("says %q: expected %s, found %v", says, outcome, found)
		}
	}
}

// With the machine dies what earlier steps had left running on it.
func TestWhatWasLeftRunningDiesWithTheMachine(t *testing.T) {
	r, seen := runner(t)
	r.Death = &rollback.Death{Step: 2}
	err := r.Steps(t.Context(), &service.Plan{Steps: []service.Step{
		{Name: "one", Run: `sh -c 'echo child $$; exec >/dev/null 2>&1; while :; do sleep 1; done' &`, Timeout: time.Minute},
		{Name: "two", Run: "echo begun; sleep 60", Timeout: time.Minute},
	}}, nil)
	if err == nil {
		t.Fatal("expected it to die")
	}
	gone(t, child(t, seen))
}
