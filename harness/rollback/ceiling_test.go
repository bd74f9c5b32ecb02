package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// Each step touches one instance more. Before the one that comes after too many were touched, people are asked.
func TestTheCeiling(t *testing.T) {
	for _, c := range []struct {
		name    string
		ceiling service.Ceiling
		before  int // instances that have the release
		lost    bool
		asked   []string
		ran     int
	}{
		{"below it", service.Ceiling{Instances: 3}, 2, false, nil, 3},
		{"at it", service.Ceiling{Instances: 2}, 2, false, nil, 3},
		{"beyond it before anything ran", service.Ceiling{Instances: 1}, 2, false, []string{"2 instances to be touched (web-1, web-2), at most 1"}, 0},
		{"beyond it on the way", service.Ceiling{Instances: 1}, 1, false, []string{"2 instances touched (web-1, web-2), at most 1"}, 2},
		{"too much of the traffic", service.Ceiling{Traffic: 0.3}, 2, false, []string{"67 % of the traffic to be touched, at most 30 %"}, 0},
		{"nobody knows", service.Ceiling{Instances: 1}, 1, true, []string{"how much it touches could not be counted: the log is gone"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, allowed := range []bool{false, true} {
				r, seen := runner(t)
				var asked []string
				r.Approve = func(_ context.Context, q rollback.Question) error {
					asked = append(asked, strings.TrimPrefix(q.For, evidence.BeyondCeiling))
					if q.Within != time.Minute {
						t.Errorf("asked for %s, expected a minute", q.Within)
					}
					if allowed {
						return nil
					}
					return &rollback.Unapproved{Why: "nobody approved it"}
				}
				ran := func() (n int) {
					for _, e := range seen.all {
						if e.Event == "ended" && e.Outcome == evidence.StepOK {
							n++
						}
					}
					return n
				}
				w := world{impact: func(begun bool) (rollback.Impact, error) {
					n := c.before
					if begun {
						n = ran()
					}
					var i rollback.Impact
					for k := range n {
						i.Instances = append(i.Instances, fmt.Sprintf("web-%d", k+1))
					}
					i.Traffic = float64(n) / 3
					if c.lost {
						return i, errors.New("the log is gone")
					}
					return i, nil
				}}
				step := service.Step{Name: "one more", Run: "true", Timeout: time.Minute, Again: "safe"}
				c.ceiling.Within = time.Minute
				err := r.Steps(t.Context(), &service.Plan{Ceiling: &c.ceiling, Steps: []service.Step{step, step, step}}, w)
				switch {
				case allowed && (err != nil || ran() != 3 || len(asked) == 0 && c.asked != nil || len(asked) > 0 && asked[0] != c.asked[0]):
					t.Errorf("allowed: %d steps ran, %v; asked %q", ran(), err, asked)
				case !allowed && (ran() != c.ran || (err == nil) != (c.asked == nil) || strings.Join(asked, "; ") != strings.Join(c.asked, "; ")):
					t.Errorf("not allowed: %d steps ran, %v; asked %q", ran(), err, asked)
				}
			}
		})
	}
}

// A plan that begins with a later step counts first what it is about to touch, as one does that begins with the first.
func TestTheCeilingOfAPlanThatBeginsLater(t *testing.T) {
	r, _ := runner(t)
	var begun []bool
	w := world{impact: func(b bool) (rollback.Impact, error) {
		begun = append(begun, b)
		return rollback.Impact{}, nil
	}}
	step := service.Step{Name: "one more", Run: "true", Timeout: time.Minute, Again: "safe"}
	err := r.StepsAfter(t.Context(), &service.Plan{Ceiling: &service.Ceiling{Instances: 1}, Steps: []service.Step{step, step, step}}, w, rollback.From(2, 0, "seen"))
	if err != nil || fmt.Sprint(begun) != "[false true true]" {
		t.Errorf("found %v, %v", begun, err)
	}
}
