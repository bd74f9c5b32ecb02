package history

import (
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

func TestTrend(t *testing.T) {
	runs := func(last Run, before ...Run) []Run { return append(before, last) }
	cores := func(r *Run) { r.Cores = 16 }
	for name, c := range map[string]struct {
		runs     []Run
		want     string
		compared int
	}{
		"steady":                      {runs(green(0, taking(20.5)), green(3), green(2), green(1)), Steady, 3},
		"slower":                      {runs(green(0, taking(26)), green(3), green(2), green(1)), Slower, 3},
		"faster":                      {runs(green(0, taking(12)), green(3), green(2), green(1)), Faster, 3},
		"less than a second":          {runs(green(0, taking(1.9)), green(3, taking(1)), green(2, taking(1)), green(1, taking(1))), Steady, 3},
		"within the spread":           {runs(green(0, taking(26)), green(3, taking(15)), green(2, taking(20)), green(1, taking(25))), Steady, 3},
		"too few":                     {runs(green(0, taking(90)), green(2), green(1)), Unknown, 2},
		"another machine":             {runs(green(0, taking(90), cores), green(3), green(2), green(1)), Unknown, 0},
		"only those of this machine":  {runs(green(0, taking(90)), green(5, cores), green(4), green(3), green(2, cores), green(1)), Slower, 3},
		"another environment":         {runs(green(0, taking(90), func(r *Run) { r.Environment = "kind" }), green(3), green(2), green(1)), Unknown, 0},
		"another volume":              {runs(green(0, taking(90), func(r *Run) { r.Rows = map[string]int{"orders": 9} }), green(3), green(2), green(1)), Unknown, 0},
		"other windows":               {runs(green(0, taking(90), func(r *Run) { r.Windows = "quarterly" }), green(3), green(2), green(1)), Unknown, 0},
		"a volume that nobody stated": {runs(green(0, taking(90), noRows), green(3, noRows), green(2, noRows), green(1, noRows)), Unknown, 0},
		"no database at all":          {runs(green(0, taking(90), noDatabase), green(3, noDatabase), green(2, noDatabase), green(1, noDatabase)), Slower, 3},
		"never restored":              {runs(green(0, red), green(3), green(2), green(1)), Unknown, 0},
		"a failure before counts not": {runs(green(0), green(4, red), green(3), green(2), green(1)), Steady, 3},
	} {
		lines := Drills(c.runs)
		var last DrillLine
		for _, l := range lines {
			if l.Last.When.Equal(noon) {
				last = l
			}
		}
		if last.Trend.Word != c.want || last.Trend.Compared != c.compared {
			t.Errorf("%s: expected %s against %d, found %+v", name, c.want, c.compared, last.Trend)
		}
	}
}

func noRows(r *Run)     { r.Rows = nil }
func noDatabase(r *Run) { r.Rows, r.Database = nil, false }

// Controls have lines of their own: none of them is a rollback of the service that failed.
func TestControlsAreApart(t *testing.T) {
	control := func(r *Run) { red(r); r.Kind, r.Exit = Control, 0 }
	s := Summarize(&Log{Runs: []Run{green(3), green(2), green(1, control)}}, Options{Now: noon})
	till := s.Services[0]
	if len(till.Drills) != 1 || till.Drills[0].Green != 2 || till.Drills[0].Runs != 2 || till.Drills[0].Verdict != "pass" {
		t.Errorf("expected a drill that was green two times of two, found %+v", till.Drills)
	}
	if len(till.Controls) != 1 || till.Controls[0].Word() != "fail, as it must" {
		t.Errorf("expected a control, found %+v", till.Controls)
	}
}

func TestFrequency(t *testing.T) {
	records := func(deployments, rollbacks int) (all []Record) {
		for i := range deployments {
			all = append(all, Record{Kind: Deployment, Service: "till", When: ago(float64(i))})
		}
		for i := range rollbacks {
			all = append(all, Record{Kind: Rollback, Service: "till", When: ago(float64(i))})
		}
		return append(all, Record{Kind: Rollback, Service: "desk", When: noon})
	}
	for _, c := range []struct {
		deployments, rollbacks int
		want                   string
	}{{0, 0, "unknown"}, {0, 2, "unknown: 2 rollbacks recorded, no deployment"}, {12, 0, "0 of 12 deployments"}, {12, 3, "3 of 12 deployments"}} {
		if got := Frequency(records(c.deployments, c.rollbacks), "till", ago(400), noon).String(); got != c.want {
			t.Errorf("expected %q, found %q", c.want, got)
		}
	}
	// Drills are none of either.
	s := Summarize(&Log{Runs: []Run{green(3), green(2, red)}}, Options{Now: noon})
	if s.Services[0].Frequency.Share != nil {
		t.Error("drills were counted as rollbacks")
	}
}

// Of takes what evidence and verdict know, and leaves away what they do not.
func TestOf(t *testing.T) {
	seconds := 1.5
	run := evidence.Run{Name: "n", Path: "./features/x.feature", Line: 3, Environment: "process", Started: noon, Seed: 7,
		Service: evidence.Service{Name: "till", Tier: "critical", Database: true}, Good: "v1", Release: evidence.Release{Name: "v2", MigrateTo: 5},
		Plan:     evidence.Plan{Name: "p", Path: "a/services/till/releases/v2/rollback.yaml", Steps: make([]evidence.PlanStep, 2)},
		Machine:  map[string]string{"cores": "4"},
		Rows:     map[string]int{"orders": 9},
		Rollback: []string{"a/services/till/releases/v2/rollback.yaml", "a/services/till/deploy"},
		Digests: map[string]string{"features/x.feature": "f", "a/services/till/releases/v2/rollback.yaml": "p", "a/services/till/deploy": "d",
			"a/services/till/other": "o", "a/services/till/service.yaml": "s", "a/services/till/releases/v2/release.yaml": "r",
			"a/services/till/migrations/00005_a.sql": "5", "a/services/till/migrations/00006_b.sql": "6"}}
	v := verdict.Verdict{Verdict: verdict.Pass, Speed: verdict.Speed{Seconds: &seconds, Target: 300}, Shares: verdict.Shares{Writes: [2]int64{3, 3}},
		Promises: []verdict.Promise{{State: verdict.Kept}, {State: verdict.NotApplicable}}}
	r := Of(run, v, "sha256:ab", false)
	if r.Cores != 4 || r.Rows["orders"] != 9 || r.Plan.Path != "releases/v2/rollback.yaml" || r.Plan.Steps != 2 || r.Kind != Drill || !r.Green() || r.Where() != "features/x.feature:3" {
		t.Errorf("found %+v", r)
	}
	if len(r.Files) != 2 || r.Files["deploy"] != "d" || r.Shares.Rows != nil || *r.Shares.Writes != [2]int64{3, 3} {
		t.Errorf("found files %v, shares %+v", r.Files, r.Shares)
	}
	run.Rollback, run.Rows, run.Machine = nil, nil, nil // as in an older run
	if r := Of(run, v, "sha256:ab", false); len(r.Files) != 4 || r.Files["migrations/00005_a.sql"] != "5" || r.Files["other"] != "o" || r.Rows != nil || r.Cores != 0 || r.Conditions() != "" {
		t.Errorf("of an older run: found %+v", r)
	}
	if r := Of(run, v, "sha256:ab", true); r.Exit != verdict.ExitBroke || r.Green() {
		t.Errorf("of one that broke: found %+v", r)
	}
	for kind, change := range map[string]func(*evidence.Run){
		Control: func(r *evidence.Run) { r.Expect = &evidence.Expect{Fails: "x"} },
		Refusal: func(r *evidence.Run) { r.Expect = &evidence.Expect{Refuses: "x"} },
		Mutant:  func(r *evidence.Run) { r.Mutant = &evidence.Mutant{} },
	} {
		other := run
		change(&other)
		if got := Of(other, v, "sha256:ab", false).Kind; got != kind {
			t.Errorf("expected %s, found %s", kind, got)
		}
	}
	other := run
	other.Plan.Sabotage = "x"
	if got := Of(other, v, "sha256:ab", false).Kind; got != Control {
		t.Errorf("a sabotaged plan: found %s", got)
	}
}
