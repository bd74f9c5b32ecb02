package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Unapproved says why a step that asks for approval may not run: it was refused, or nobody answered in time.
type Unapproved struct{ Why string }

func (e *Unapproved) Error() string { return e.Why }

// Question is what people are asked.
type Question struct {
	For    string        // "step 2: the old code", "the plan restore the column"
	Within time.Duration // how long they are waited for
	GoesOn bool          // nobody's word is taken for yes
	Two    bool          // who approves must have proved who it is, and be another than who started the rollback
}

// Approve asks people and waits for them. The error is an *Unapproved when it may not be done.
type Approve func(ctx context.Context, q Question) error

// approvedPlan asks for the plan as a whole, before the step with which it begins.
func (r *Runner) approvedPlan(ctx context.Context, p *service.Plan, step int) error {
	if p.Approval == nil || p.Approval.How == service.Automatic {
		return nil
	}
	a := p.Approval
	return r.asks(ctx, step, p.Steps[step-1], Question{For: "the plan: " + p.Name, Within: a.Within, GoesOn: a.GoesOn, Two: a.Two})
}

// approved waits until a person approves a step that asks for it. Without approval the plan stops here.
func (r *Runner) approved(ctx context.Context, index int, s service.Step) error {
	if s.Expires == 0 {
		return nil
	}
	return r.asks(ctx, index, s, Question{For: StepName(index, s.Name), Within: s.Expires})
}

// asks stops the plan before a step unless it is approved.
func (r *Runner) asks(ctx context.Context, index int, s service.Step, q Question) error {
	refused := func(why string) error {
		return &StepError{evidence.PartStep, index, s, Outcome{Outcome: evidence.StepRefused, Error: why}}
	}
	if r.Approve == nil {
		return refused("it asks for approval, and there is nobody who could give it")
	}
	err := r.Approve(ctx, q)
	if no := new(Unapproved); errors.As(err, &no) {
		return refused(no.Why)
	}
	return err
}

// StepName is a step as people are asked about it.
func StepName(index int, name string) string { return fmt.Sprintf("step %d: %s", index, name) }
