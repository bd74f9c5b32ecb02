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

// approved waits until a person approves a step that asks for it. Without approval the plan stops here.
func (r *Runner) approved(ctx context.Context, index int, s service.Step) error {
	if s.Expires == 0 {
		return nil
	}
	refused := func(why string) error {
		return &StepError{evidence.PartStep, index, s, Outcome{Outcome: evidence.StepRefused, Error: why}}
	}
	if r.Approve == nil {
		return refused("it asks for approval, and there is nobody who could give it")
	}
	err := r.Approve(ctx, StepName(index, s.Name), s.Expires)
	if no := new(Unapproved); errors.As(err, &no) {
		return refused(no.Why)
	}
	return err
}

// Approve asks people whether a step may run and waits for at most so long. The error is an *Unapproved when it may not.
type Approve func(ctx context.Context, step string, within time.Duration) error

// StepName is a step as people are asked about it.
func StepName(index int, name string) string { return fmt.Sprintf("step %d: %s", index, name) }
