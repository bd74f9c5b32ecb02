package rollback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
	"backout/harness/service"
)

// FaultDeath is the name of the fault in the log; it is of "step N".
const FaultDeath = "death of the machine that runs the rollback"

// gone is how long processes that were killed may take until they are.
const gone = 10 * time.Second

// Death is the machine dying that runs a plan, half-way through a step: all processes of the step are killed at once, as
// by kill -9, and nobody is left to clean up or to write down how far it was.
type Death struct {
	Step int    // of the plan, from 1
	Says string // what the step has said by then; empty: anything, or something that it did was seen before, see Effect

	mu   sync.Mutex
	kill func() error // while the step runs
	at   string       // at what it died; empty: it has not
	err  error
}

// Effect says that something was seen that the step did.
func (d *Death) Effect(what string) {
	if d.Says == "" {
		d.now("as soon as it was seen that " + what)
	}
}

func (d *Death) said(stream, text string) {
	switch {
	case stream == "": // the harness's own words
	case d.Says == "":
		first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		d.now(fmt.Sprintf("at the first that the step said: %.80s", first))
	case strings.Contains(text, d.Says):
		d.now(fmt.Sprintf("when it had said %q", d.Says))
	}
}

func (d *Death) now(at string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kill == nil {
		return
	}
	d.err = d.kill()
	d.kill, d.at = nil, at
}

// arm is called when the step has started, with what kills all of it.
func (d *Death) arm(kill func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill = kill
}

// disarm is called when the step has ended and says at what it died; empty: it did not.
func (d *Death) disarm() (at string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill = nil
	return d.at, d.err
}

// dies says whether the machine is to die during this command. It dies once.
func (r *Runner) dies(part string, index int) bool {
	return r.Death != nil && part == evidence.PartStep && index == r.Death.Step
}

func (r *Runner) fault(event, why string) {
	r.Log.Put(&evidence.Fault{Name: FaultDeath, Of: fmt.Sprintf("step %d", r.Death.Step), Event: event, Error: r.Log.Clean(why)})
}

// died takes the step's death down: with it dies what earlier steps had left running, and the lock is nobody's any more,
// though its file says as before who held it.
func (r *Runner) died(ctx context.Context, g *group) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), gone)
	defer cancel()
	err := until(within, 5*time.Millisecond, func(context.Context) error {
		left, err := g.others()
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("killed, but still there: %s", names(left))
		}
		return err
	})
	err = errors.Join(err, r.groups.end())
	if l := r.lock; l != nil {
		r.lock = nil
		err = errors.Join(err, l.file.Close())
	}
	if l := r.lease; l != nil {
		r.lease = nil
		l.die(ctx)
	}
	return err
}

// Again runs a plan another time after the machine had died that ran it: its lock and its pre-checks anew, then its
// steps beginning with first. Those up to begun had begun before; one of them that must not be run again stops the plan.
func (r *Runner) Again(ctx context.Context, p *service.Plan, w World, first, begun int) error {
	r.fault(evidence.FaultLifted, "")
	if _, err := r.environ(p.Env, trace.SpanContext{}); err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	if err := r.takeFromTheDead(ctx, p); err != nil {
		return err
	}
	r.fault(evidence.FaultGone, "")
	r.Death = nil
	if err := r.Before(ctx, p, w); err != nil {
		return err
	}
	return r.steps(ctx, p, w, From(first, begun, ""))
}

// takeFromTheDead takes the lock; the lease of a machine that died is held until it expires.
func (r *Runner) takeFromTheDead(ctx context.Context, p *service.Plan) error {
	if r.Lease == nil {
		return r.Take(ctx, p)
	}
	within, cancel := context.WithTimeout(ctx, 2*cmp.Or(r.Lease.Expiry, LeaseExpiry))
	defer cancel()
	return until(within, 200*time.Millisecond, func(ctx context.Context) error { return r.Take(ctx, p) })
}

// mayRun says why a step must not be run again; nil: it may.
func mayRun(index int, s service.Step, begun bool) error {
	if !begun || s.Again == "safe" {
		return nil
	}
	return &StepError{evidence.PartStep, index, s, Outcome{Outcome: evidence.StepRefused,
		Error: "it had begun before the machine died, and its plan says that it must not be run twice (again: refuse): see what it has done, finish it by hand, or put it into one transaction and say again: safe"}}
}

// killAll ends every process of a group at once.
func (g *group) killAll() error { return g.signal(syscall.SIGKILL) }
