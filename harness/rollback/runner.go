// Package rollback runs what production would run: the commands of rollouts and rollback plans, the pre-checks that stop
// a plan before it changes anything, and the validations after it.
package rollback

import (
	"context"
	"errors"
	"sync/atomic"

	"backout/harness/evidence"
	"backout/harness/service"

	"go.opentelemetry.io/otel/trace"
)

// Runner runs the commands of one drill and writes what they did into its log.
type Runner struct {
	Log      *evidence.Log
	Service  *service.Service  // what is drilled
	Dir      string            // the deployed directory, where commands run
	Vars     map[string]string // what the environment hands out: DATABASE_URL ...; secret
	Platform map[string]string // what every command finds on its machine: SUPERVISOR, PROXY ...; a PATH here replaces the harness's
	Tracer   trace.Tracer      // nil: no spans
	Running  func(bool)        // told when a command starts and when it has ended; may be nil

	current atomic.Pointer[trace.SpanContext]
}

// World is what checks need to know of the place where the drill happens.
type World interface {
	// Instances are those of the drilled service, now.
	Instances() []service.Instance
	// Dependants are the services that depend on it.
	Dependants() []*service.Service
	// Clone starts a side stage at the target release's schema. urls is where each service is reached, by name.
	Clone(ctx context.Context) (urls map[string]string, close func() error, err error)
	// Journey runs a journey of a service once and says why it did not succeed; baseURL "" is where traffic goes.
	Journey(ctx context.Context, service, journey, baseURL string) error
	// Artefact says what is missing of a release's artefact; nil: it is present.
	Artefact(ctx context.Context, release string) error
}

// Outcome is how a command ended.
type Outcome struct {
	Outcome string // one of evidence.StepOK ...
	Exit    int
	Seconds float64
	Error   string // redacted
}

// Refused says that a pre-check stopped a plan before it changed anything.
type Refused struct {
	Check string // in words
	Why   string
	Err   error // the check could not be read; nil: it was read and found something
}

func (e *Refused) Error() string { return e.Check + ": " + e.Why }
func (e *Refused) Unwrap() error { return e.Err }

// Current is the span of the command that runs now; invalid when none does.
func (r *Runner) Current() trace.SpanContext {
	if c := r.current.Load(); c != nil {
		return *c
	}
	return trace.SpanContext{}
}

// Run runs one command in Dir. env is a plan's env: the command's name -> one of Vars.
func (r *Runner) Run(ctx context.Context, part string, index int, s service.Step, env map[string]string) Outcome {
	return Outcome{Outcome: evidence.StepFailed}
}

// Rollout deploys a release as production would.
func (r *Runner) Rollout(ctx context.Context, rel *service.Release) error {
	return errors.ErrUnsupported
}

// Before runs the plan's pre-checks side by side. *Refused: the plan must not start.
func (r *Runner) Before(ctx context.Context, p *service.Plan, w World) error {
	return errors.ErrUnsupported
}

// Steps runs the plan's steps and stops at the first that is not ok.
func (r *Runner) Steps(ctx context.Context, p *service.Plan) error { return errors.ErrUnsupported }

// After runs the plan's validations.
func (r *Runner) After(ctx context.Context, p *service.Plan, w World) error {
	return errors.ErrUnsupported
}

// Close ends what commands have left running behind them.
func (r *Runner) Close() error { return nil }
