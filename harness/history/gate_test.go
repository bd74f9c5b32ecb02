package history

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// wanted is the plan of the green run, as it was drilled.
func wanted() Wanted {
	return Wanted{Service: "till", Release: "v2", Path: "releases/v2/rollback.yaml", Files: maps.Clone(green(1).Files)}
}

func TestGate(t *testing.T) {
	files := func(change func(map[string]string)) Wanted {
		w := wanted()
		change(w.Files)
		return w
	}
	another := func(r *Run) { r.Name, r.Line = "the primary fails over meanwhile", 30 }
	for name, c := range map[string]struct {
		runs    []Run
		wanted  Wanted
		damaged []Damaged
		want    []string // what the reasons say; none: the gate is open
	}{
		"green and fresh":            {[]Run{green(89)}, wanted(), nil, nil},
		"red once, green since":      {[]Run{green(5, red), green(3)}, wanted(), nil, nil},
		"green in another drill too": {[]Run{green(5), green(3, another)}, wanted(), nil, nil},
		"a control is red as it must be": {[]Run{green(5), green(1, red, func(r *Run) {
			r.Kind, r.Exit = Control, 0
		})}, wanted(), nil, nil},
		"another plan is red":                        {[]Run{green(5), green(1, red, func(r *Run) { r.Plan.Path = "releases/v3/rollback.yaml" })}, wanted(), nil, nil},
		"a later migration":                          {[]Run{green(5)}, wanted(), nil, nil}, // it is not among the files: see RollbackFiles
		"something damaged that is older":            {[]Run{green(5)}, wanted(), []Damaged{{"runs/x", "cut", named{service: "till", when: ago(9)}}}, nil},
		"something damaged that is another's":        {[]Run{green(5)}, wanted(), []Damaged{{"runs/x", "cut", named{service: "desk", when: ago(1)}}}, nil},
		"red long ago in a drill that is not there":  {[]Run{green(200, red, another), green(5)}, wanted(), nil, nil},
		"put back to what it was":                    {[]Run{green(5), green(3, func(r *Run) { r.Files = map[string]string{"deploy": "sha256:zz"} })}, wanted(), nil, nil},
		"never drilled":                              {nil, wanted(), nil, []string{"there is no drill of this plan"}},
		"only of another service":                    {[]Run{green(1, func(r *Run) { r.Service = "desk" })}, wanted(), nil, []string{"there is no drill of this plan"}},
		"only invented":                              {[]Run{green(1, func(r *Run) { r.Generated = true })}, wanted(), nil, []string{"there is no drill of this plan"}},
		"only controls":                              {[]Run{green(1, func(r *Run) { r.Kind = Control })}, wanted(), nil, []string{"there is no drill of this plan; 1 of sabotaged"}},
		"only mutants and refusals":                  {[]Run{green(1, func(r *Run) { r.Kind = Mutant }), green(2, func(r *Run) { r.Kind = Refusal })}, wanted(), nil, []string{"there is no drill of this plan; 2 of"}},
		"older":                                      {[]Run{green(91)}, wanted(), nil, []string{"91 days old, and may be at most 90"}},
		"red":                                        {[]Run{green(5), green(2, red)}, wanted(), nil, []string{"was not green when it ran last, on 2026-11-24: fail, orders were lost"}},
		"inconclusive is not green":                  {[]Run{green(5), green(2, unclear)}, wanted(), nil, []string{"inconclusive, the harm was not seen"}},
		"never green":                                {[]Run{green(2, unclear)}, wanted(), nil, []string{"inconclusive", "was ever green"}},
		"broke":                                      {[]Run{green(2, func(r *Run) { r.Exit = 3 })}, wanted(), nil, []string{"was not green", "was ever green"}},
		"red in one of two drills":                   {[]Run{green(5, red, another), green(3)}, wanted(), nil, []string{"features/drops.feature:30"}},
		"the plan changed":                           {[]Run{green(5)}, files(func(f map[string]string) { f["releases/v2/rollback.yaml"] = "sha256:ab" }), nil, []string{"releases/v2/rollback.yaml changed"}},
		"a script changed":                           {[]Run{green(5)}, files(func(f map[string]string) { f["deploy"] = "sha256:ab" }), nil, []string{"another version: deploy changed"}},
		"a migration changed":                        {[]Run{green(5)}, files(func(f map[string]string) { f["migrations/00001_a.sql"] = "sha256:ab" }), nil, []string{"migrations/00001_a.sql changed"}},
		"a file came and one went":                   {[]Run{green(5)}, files(func(f map[string]string) { delete(f, "deploy"); f["deploy2"] = "sha256:ab" }), nil, []string{"deploy is gone, deploy2 is new"}},
		"nobody knows of what it was made":           {[]Run{green(5, func(r *Run) { r.Files = nil })}, wanted(), nil, []string{"deploy is new"}},
		"of this version, but old":                   {[]Run{green(100), green(3, func(r *Run) { r.Files = map[string]string{"deploy": "sha256:zz"} })}, wanted(), nil, []string{"100 days old"}},
		"something damaged that is newer":            {[]Run{green(5)}, wanted(), []Damaged{{"runs/x", "cut", named{service: "till", when: ago(1)}}}, []string{"runs/x cannot be read and is newer: it may have been red (cut)"}},
		"from a clock that is wrong":                 {[]Run{green(-3)}, wanted(), nil, []string{"still to come"}},
		"old, red and of another version, all three": {[]Run{green(95), green(90, red)}, files(func(f map[string]string) { f["deploy"] = "sha256:ab" }), nil, []string{"not green", "95 days old", "deploy changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Gate(&Log{Runs: c.runs, Damaged: c.damaged}, c.wanted, noon, 90*24*time.Hour)
			said := strings.Join(f.Reasons, "\n")
			if f.Fresh() != (c.want == nil) || len(f.Reasons) != len(c.want) {
				t.Errorf("expected %d reasons, found:\n%s", len(c.want), said)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("expected %q in:\n%s", want, said)
				}
			}
			if !f.Fresh() && f.Mend == "" && len(c.runs) > 0 && strings.Contains(said, "version") {
				t.Error("the command that mends it is not told")
			}
		})
	}
}

func TestMaxAge(t *testing.T) {
	if MaxAge("critical") != Quarter || MaxAge("standard") != HalfYear || MaxAge("") != HalfYear {
		t.Error("a critical service is drilled each quarter, and others each half year")
	}
}
