package rollback

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Impact is what a rollback touches.
type Impact struct {
	Instances []string // by name: those of the release that is rolled back, and once it has begun every one that has changed since
	Traffic   float64  // the share of the users' last answers that came from them, of 1
}

// ceiling counts what the plan touches before a step, and asks people before it goes beyond what the plan allows. What is beyond and
// was approved once is not asked for again unless it grows.
func (r *Runner) ceiling(ctx context.Context, p *service.Plan, w World, step int) error {
	if p.Ceiling == nil {
		return nil
	}
	beyond, err := r.impact(ctx, p, w, r.counted)
	r.counted = true
	text := strings.Join(beyond, ", ")
	if err != nil {
		text = "how much it touches could not be counted: " + r.Log.Clean(err.Error())
	}
	if text == "" || text == r.allowed {
		return nil
	}
	if err := r.asks(ctx, step, p.Steps[step-1], Question{For: evidence.BeyondCeiling + text, Within: p.Ceiling.Within}); err != nil {
		return err
	}
	r.allowed = text
	return nil
}

// impact counts, writes what it counted, and says what is beyond the ceiling.
func (r *Runner) impact(ctx context.Context, p *service.Plan, w World, begun bool) (beyond []string, err error) {
	c := p.Ceiling
	what := "to be touched"
	if begun {
		what = "touched"
	}
	counted := func(of, unit string, value, most float64, text string) {
		r.Log.Put(&evidence.Probe{Name: evidence.ProbeImpact, Of: of + " " + what, Value: value, Unit: unit, OK: true})
		if value > most {
			beyond = append(beyond, text)
		}
	}
	if c.Instances > 0 || c.Traffic > 0 {
		i, err := w.Impact(ctx, p.From, begun)
		if err != nil {
			return nil, err
		}
		if n := len(i.Instances); c.Instances > 0 {
			counted(c.Word(), "", float64(n), float64(c.Instances), fmt.Sprintf("%d %s %s (%s), at most %d", n, c.Word(), what, strings.Join(i.Instances, ", "), c.Instances))
		}
		if c.Traffic > 0 {
			counted("traffic", "share", i.Traffic, c.Traffic, fmt.Sprintf("%.0f %% of the traffic %s, at most %.0f %%", 100*i.Traffic, what, 100*c.Traffic))
		}
	}
	if c.Rows != nil {
		n, err := r.rows(ctx, p)
		if err != nil {
			return nil, err
		}
		counted("rows", "rows", float64(n), float64(c.Rows.Most), fmt.Sprintf("%d rows %s, at most %d", n, what, c.Rows.Most))
	}
	return beyond, nil
}

// rows asks the database how many rows the plan touches, by the plan's own query.
func (r *Runner) rows(ctx context.Context, p *service.Plan) (n int64, err error) {
	conn, err := r.connect(ctx, r.Vars[p.Env[p.Ceiling.Rows.URL]])
	if err != nil {
		return 0, fmt.Errorf("count rows: connect with %s: %w", p.Ceiling.Rows.URL, err)
	}
	defer hangUp(ctx, conn)
	if err := conn.QueryRow(ctx, p.Ceiling.Rows.Count).Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	return n, nil
}

// last counts once more when the plan's steps have ended: what the last one did is seen by no step after it.
func (r *Runner) last(ctx context.Context, p *service.Plan, w World, failed error) error {
	if p.Ceiling == nil || ctx.Err() != nil || errors.As(failed, new(*Refused)) {
		return failed
	}
	if _, err := r.impact(ctx, p, w, true); err != nil {
		for _, of := range p.Ceiling.Words() {
			r.Log.Put(&evidence.Probe{Name: evidence.ProbeImpact, Of: of + " touched", Error: r.Log.Clean(err.Error())})
		}
	}
	return failed
}
