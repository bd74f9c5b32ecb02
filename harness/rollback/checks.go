package rollback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
	"backout/harness/service"
)

// check asks one question. It returns a *found when the answer is no, and any other error when it could not be asked.
type check func(ctx context.Context, r *Runner, p *service.Plan, c service.Check, w World) error

// checks by their key in a plan, and how long each may take unless the plan says so.
var checks = map[string]struct {
	ask   check
	limit time.Duration
}{
	"database":              {identity, 10 * time.Second},
	"unblocked":             {unblocked, 15 * time.Second},
	"dependants":            {dependants, 2 * time.Minute},
	"artefact":              {artefact, 2 * time.Minute},
	"revision":              {revision, 30 * time.Second},
	"kubectl":               {kubectl, 15 * time.Second},
	"lag":                   {lag, 10 * time.Second},
	"backup":                {backup, 30 * time.Second},
	"space":                 {space, 30 * time.Second},
	"command":               {printed, 30 * time.Second},
	"every instance serves": {serves, 30 * time.Second},
	"journey":               {journey, 30 * time.Second},
}

// found is the answer no: what was seen.
type found struct{ what string }

func (e *found) Error() string { return e.what }

func foundf(format string, args ...any) error { return &found{fmt.Sprintf(format, args...)} }

// Refused says that a pre-check stopped a plan before it changed anything.
type Refused struct {
	Check string // in words, see service.Check.Words
	Kind  string // its key in the plan
	Why   string // redacted
	Err   error  // the check could not be read; nil: it was read and found something
}

func (e *Refused) Error() string { return e.Check + ": " + e.Why }
func (e *Refused) Unwrap() error { return e.Err }

// Before runs the plan's pre-checks side by side, since they only read. The error is a *Refused, of the first in the order
// of the plan, when one found something or could not be read: the plan must not start then. Another error says that the
// plan asks for what the environment does not hand out.
func (r *Runner) Before(ctx context.Context, p *service.Plan, w World) error {
	if _, err := r.environ(p.Env, trace.SpanContext{}); err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	return r.ask(ctx, p, w, func(c service.Check) bool { return c.BeforeStep == 0 })
}

// beforeStep runs the pre-checks that the plan wants asked right before a step.
func (r *Runner) beforeStep(ctx context.Context, p *service.Plan, w World, step int) error {
	return r.ask(ctx, p, w, func(c service.Check) bool { return c.BeforeStep == step })
}

// ask runs some of the plan's pre-checks side by side.
func (r *Runner) ask(ctx context.Context, p *service.Plan, w World, which func(service.Check) bool) error {
	errs := make([]error, len(p.Before))
	var all sync.WaitGroup
	for i, c := range p.Before {
		if which(c) && !slices.Contains(r.Without, c.Kind()) {
			all.Go(func() { errs[i] = r.check(ctx, evidence.PartBefore, i+1, p, c, w) })
		}
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			continue
		}
		refused := &Refused{Check: p.Before[i].Words(), Kind: p.Before[i].Kind(), Why: r.Log.Clean(err.Error())}
		if !errors.As(err, new(*found)) {
			refused.Err = err
		}
		return refused
	}
	return nil
}

// After runs the plan's validations one after the other, all of them. Each waits for its condition for as long as the
// plan says. The error joins what did not hold.
func (r *Runner) After(ctx context.Context, p *service.Plan, w World) error {
	var errs []error
	for i, c := range p.After {
		if err := r.check(ctx, evidence.PartAfter, i+1, p, c, w); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Words(), err))
		}
	}
	return errors.Join(errs...)
}

// check runs one check and writes its events.
func (r *Runner) check(ctx context.Context, part string, index int, p *service.Plan, c service.Check, w World) error {
	ctx, ended := r.begin(ctx, evidence.Step{Part: part, Index: index, Name: c.Words()})
	last := evidence.Step{Outcome: evidence.StepOK}
	err := func() error {
		kind, ok := checks[c.Kind()]
		if !ok {
			return fmt.Errorf("expected a check, found none at line %d of %s", c.Line, p.Path)
		}
		if why := r.Unasked[c.Kind()]; why != "" {
			return errors.New(why)
		}
		limit := kind.limit
		if c.Within > 0 {
			limit = c.Within
		}
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not answered within %s", limit))
		defer cancel()
		return kind.ask(ctx, r, p, c, w)
	}()
	switch {
	case err == nil:
	case part == evidence.PartBefore && errors.As(err, new(*found)):
		last.Outcome = evidence.StepRefused
	default:
		last.Outcome = evidence.StepFailed
	}
	if err != nil && !errors.As(err, new(*found)) {
		err = fmt.Errorf("could not be checked: %w", err)
	}
	ended(last, err)
	return err
}

// until asks again and again until the answer is yes or the context is done, and returns the last answer then.
func until(ctx context.Context, every time.Duration, ask func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		// An answer that the end of the wait cut off tells less than the one before it.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}
