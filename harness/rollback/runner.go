// Package rollback runs what production would run: the commands of rollouts and rollback plans, the pre-checks that stop
// a plan before it changes anything, and the validations after it.
package rollback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Runner runs the commands of one drill and writes what they did into its log. Commands run one at a time, unless a plan lets
// its steps run side by side.
type Runner struct {
	Log      *evidence.Log
	Service  *service.Service  // what is drilled
	Dir      string            // the deployed directory, where commands run
	LockDir  string            // where the lock lies; empty: in Dir
	Vars     map[string]string // what the environment hands out: DATABASE_URL ...; secret
	Platform map[string]string // what every command finds on its machine: SUPERVISOR, PROXY ...; a PATH here replaces the harness's
	Tracer   trace.Tracer      // nil: no spans
	Running  func(bool)        // told when a command starts and when it has ended; may be nil
	// Step is told when a step of a plan is about to run, its pre-checks done, and how it has ended; may be nil. The outcome is
	// empty before it runs.
	Step func(ctx context.Context, index int, outcome string)

	Operator string  // as whom the lock is taken; empty: as the user of this process, and the log says it only when that is refused
	By       string  // of a second operator: who, in all that is written
	Approve  Approve // asks people about steps that want it; nil: nobody can be asked, and such a step stops the plan
	// Hold is called before each step of a plan, when it is approved, and may keep it waiting; may be nil.
	Hold func(ctx context.Context, step string) error
	// Between is called before each step of a plan, before its own pre-checks; may be nil.
	Between func(ctx context.Context, step int) error
	Death   *Death // of the machine that runs the plan; nil: it lives

	Lease   *Lease // by which operators on all machines take turns; nil: they do on one machine only
	Journal string // the file in which it is written how far the plan is; empty: nowhere on this machine
	RunName string // what the journal calls this run
	// Dial is how the checks reach what they ask; nil: only what is on this machine, as in a drill.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Without names pre-checks by their key in the plan that are not asked, by an operator's word.
	Without []string
	// Unasked says of checks, by their key in the plan, why they cannot be asked here.
	Unasked map[string]string

	current  atomic.Pointer[trace.SpanContext]
	groups   groups
	lock     *lock  // nil: not taken
	allowed  string // what people have approved beyond the plan's ceiling
	counted  bool   // what the plan is about to touch was counted: from then on it is what it has touched
	lease    *leased
	journal  *os.File
	progress Progress
	done     []int // steps of the plan that have ended well, whenever
	open     []int // that have begun and have not ended well
}

// Outcome is how a command ended.
type Outcome struct {
	Outcome string // one of evidence.StepOK ...
	Exit    int    // 128 + N when signal N ended it
	Seconds float64
	Error   string // why it is not ok, redacted
}

// StepError says that a command of a rollout or a plan was not ok.
type StepError struct {
	Part  string // evidence.PartRollout, evidence.PartStep
	Index int    // from 1
	Step  service.Step
	Outcome
}

func (e *StepError) Error() string {
	what := "step"
	switch e.Part {
	case evidence.PartRollout:
		what = "step of the rollout"
	case evidence.PartUndo:
		what = "taking back step"
	}
	return fmt.Sprintf("%s %d, %s: %s: %s", what, e.Index, e.Step.Name, e.Outcome.Outcome, e.Outcome.Error)
}

// Current is the span of the command that runs now, of several the one that began last; invalid when none does.
func (r *Runner) Current() trace.SpanContext {
	if c := r.current.Load(); c != nil {
		return *c
	}
	return trace.SpanContext{}
}

// Rollout deploys a release as production would in an environment. The error is a *StepError when a command was not ok;
// those after it are not run.
func (r *Runner) Rollout(ctx context.Context, rel *service.Release, environment string) error {
	steps, err := rel.RolloutFor(environment)
	if err != nil {
		return err
	}
	_, err = r.all(ctx, evidence.PartRollout, steps, rel.Env, around{needs: (&service.Plan{}).NeedsOf})
	return err
}

// Steps runs the plan's steps, each when what it needs has ended well, side by side where the plan lets them. A *StepError tells
// of the first that was not ok, and a *Refused of a pre-check that is to be asked before a step and found something.
func (r *Runner) Steps(ctx context.Context, p *service.Plan, w World) error {
	return r.StepsAfter(ctx, p, w, Earlier{})
}

// StepsAfter is Steps of a plan of which something was done before.
func (r *Runner) StepsAfter(ctx context.Context, p *service.Plan, w World, before Earlier) error {
	for _, i := range before.Done {
		r.put(evidence.Step{Part: evidence.PartStep, Index: i, Name: p.Steps[i-1].Name, Event: "ended", Outcome: evidence.StepEarlier, Error: r.Log.Clean(before.Why)})
	}
	return r.steps(ctx, p, w, before)
}

// steps runs those that are not done, and takes back what was done when one fails whose plan wants that.
func (r *Runner) steps(ctx context.Context, p *service.Plan, w World, before Earlier) error {
	approved := len(before.Begun) > 0 // one that is started again was
	r.done = slices.Clone(before.Done)
	c, failed := r.all(ctx, evidence.PartStep, p.Steps, p.Env, around{
		needs: p.NeedsOf,
		done:  func(step int) bool { return slices.Contains(before.Done, step) },
		asks: func(ctx context.Context, step int) error {
			if err := mayRun(step, p.Steps[step-1], slices.Contains(before.Begun, step)); err != nil {
				return err
			}
			if !approved {
				if err := r.approvedPlan(ctx, p, step); err != nil {
					return err
				}
				approved = true
			}
			return r.mayBegin(ctx, p, w, step)
		},
		begins: func(step int) error { return r.stepBegins(ctx, p, step) },
		after:  func(step int, outcome string) error { return r.stepEnded(ctx, p, step, outcome) },
	})
	if c.compensates(p) && ctx.Err() == nil {
		failed = r.takeBack(ctx, p, c.touched(), failed)
	}
	return r.last(ctx, p, w, failed)
}

// mayBegin is all that is asked in front of a step: the ceiling, people, and its own pre-checks.
func (r *Runner) mayBegin(ctx context.Context, p *service.Plan, w World, step int) error {
	if err := r.ceiling(ctx, p, w, step); err != nil {
		return err
	}
	if err := r.approved(ctx, step, p.Steps[step-1]); err != nil {
		return err
	}
	if r.Hold != nil {
		if err := r.Hold(ctx, StepName(step, p.Steps[step-1].Name)); err != nil {
			return err
		}
	}
	if err := r.atStep(ctx, step, p.Steps[step-1].Name); err != nil {
		return err
	}
	if r.Between != nil {
		if err := r.Between(ctx, step); err != nil {
			return err
		}
	}
	return r.beforeStep(ctx, p, w, step)
}

// put writes what happened, and whose doing it is.
func (r *Runner) put(e evidence.Step) {
	e.By = r.By
	r.Log.Put(&e)
}

// around is what happens around commands. needs says what must have ended well before one begins. The others may be nil: which need
// not run, what is asked in front of each, which may take as long as people do, what is written right before it, and what is told how
// it ended.
type around struct {
	needs  func(step int) []int
	done   func(step int) bool
	asks   func(ctx context.Context, step int) error
	begins func(step int) error
	after  func(step int, outcome string) error
}

// all runs commands, each as soon as it may begin. What is asked in front of one is asked while others run, and of one at a time; all
// else happens here. The error is of the first that was not ok, or that was not let begin.
func (r *Runner) all(ctx context.Context, part string, steps []service.Step, env map[string]string, a around) (*course, error) {
	c := newCourse(len(steps), a.needs, a.done)
	if _, err := r.environ(env, trace.SpanContext{}); err != nil {
		return c, err
	}
	type end struct {
		step int
		Outcome
	}
	type word struct {
		step int
		err  error
	}
	ends, words := make(chan end, len(steps)), make(chan word, 1)
	asking, withdraw := context.WithCancel(ctx) // the question, when the plan stops meanwhile
	defer withdraw()
	var failed error
	stops := func(err error) {
		if failed == nil {
			failed = err
		}
		c.stopped = true
		withdraw()
	}
	tell := func(step int, outcome string) {
		if r.Step != nil && part == evidence.PartStep {
			r.Step(ctx, step, outcome)
		}
	}
	running, asked := 0, 0
	begins := func(w word) {
		if c.state[w.step-1] = ""; c.stopped {
			return
		}
		if w.err == nil && a.begins != nil {
			w.err = a.begins(w.step)
		}
		if w.err != nil {
			if errors.As(w.err, new(*Refused)) {
				c.refused = w.step
			}
			if refused := new(StepError); errors.As(w.err, &refused) {
				c.state[w.step-1] = refused.Outcome.Outcome
				r.put(evidence.Step{Part: part, Index: w.step, Name: steps[w.step-1].Name, Event: "ended", Outcome: refused.Outcome.Outcome, Error: refused.Outcome.Error})
			}
			stops(w.err)
			return
		}
		c.state[w.step-1] = isRunning
		running++
		tell(w.step, "")
		go func() {
			held, free := r.whileHeld(ctx)
			o := r.Run(held, part, w.step, steps[w.step-1], env)
			free()
			ends <- end{w.step, o}
		}()
	}
	for {
		if step := c.next(); step > 0 && asked == 0 {
			c.state[step-1] = isAsked
			asked = step
			go func() {
				var err error
				if a.asks != nil {
					err = a.asks(asking, step)
				}
				words <- word{step, err}
			}()
		}
		if running == 0 && asked == 0 {
			break
		}
		select {
		case w := <-words:
			asked = 0
			begins(w)
		case e := <-ends:
			running--
			s := steps[e.step-1]
			c.state[e.step-1] = e.Outcome.Outcome
			if e.Outcome.Outcome == evidence.StepDied { // it is run again: what is until it has ended goes on, and nobody is left who could skip a step
				return c, &StepError{part, e.step, s, e.Outcome}
			}
			tell(e.step, e.Outcome.Outcome)
			if e.Outcome.Outcome != evidence.StepOK {
				err := &StepError{part, e.step, s, e.Outcome}
				if s.Fails != service.Continues {
					stops(err)
				} else if failed == nil {
					failed = err
				}
			}
			if a.after != nil {
				if err := a.after(e.step, e.Outcome.Outcome); err != nil {
					stops(err)
				}
			}
		}
	}
	for _, step := range c.waiting() {
		r.put(evidence.Step{Part: part, Index: step, Name: steps[step-1].Name, Event: "ended", Outcome: evidence.StepSkipped})
	}
	return c, failed
}

// Close ends what commands have left running behind them. Until then it runs, as it would in production.
func (r *Runner) Close() error {
	if err := r.groups.end(); err != nil {
		return errors.Join(fmt.Errorf("end what commands left running: %w", err), r.Release())
	}
	return r.Release()
}

// begin starts the span of a step or a check and returns what to write its events with.
func (r *Runner) begin(ctx context.Context, e evidence.Step) (context.Context, func(evidence.Step, error)) {
	tracer := r.Tracer
	if tracer == nil {
		tracer = noop.NewTracerProvider().Tracer("")
	}
	ctx, span := tracer.Start(ctx, e.Part+": "+e.Name, trace.WithAttributes(
		attribute.String("backout.part", e.Part), attribute.Int("backout.index", e.Index)))
	if c := span.SpanContext(); c.IsValid() {
		e.Trace, e.Span = c.TraceID().String(), c.SpanID().String()
	}
	started := time.Now()
	first := e
	first.Event = "started"
	r.put(first)
	return ctx, func(last evidence.Step, err error) {
		last.Part, last.Index, last.Name, last.Event = e.Part, e.Index, e.Name, "ended"
		last.Trace, last.Span = e.Trace, e.Span
		last.Seconds = cmp.Or(last.Seconds, time.Since(started).Seconds())
		if err != nil {
			last.Error = r.Log.Clean(err.Error())
		}
		r.put(last)
		if last.Outcome != evidence.StepOK {
			span.SetStatus(codes.Error, last.Outcome+": "+last.Error)
		}
		span.End()
	}
}

// Run runs one command by sh in Dir, as it is written, with PATH, HOME, LANG, TMPDIR, TRACEPARENT, Platform and env
// alone in its environment. env is a plan's env: the command's name -> one of Vars. Its output is evidence.
func (r *Runner) Run(ctx context.Context, part string, index int, s service.Step, env map[string]string) Outcome {
	ctx, ended := r.begin(ctx, evidence.Step{Part: part, Index: index, Name: s.Name, Command: r.Log.Clean(s.Run)})
	span := trace.SpanContextFromContext(ctx)
	r.current.Store(&span)
	if r.Running != nil {
		r.Running(true)
	}
	began := time.Now()
	last, err := r.command(ctx, part, index, s, env, span)
	last.Seconds = time.Since(began).Seconds()
	r.current.CompareAndSwap(&span, nil)
	ended(last, err)
	if r.Running != nil {
		r.Running(false)
	}
	o := Outcome{Outcome: last.Outcome, Exit: last.Exit, Seconds: last.Seconds}
	if err != nil {
		o.Error = r.Log.Clean(err.Error())
	}
	return o
}

func (r *Runner) command(ctx context.Context, part string, index int, s service.Step, env map[string]string, span trace.SpanContext) (evidence.Step, error) {
	failed := evidence.Step{Outcome: evidence.StepFailed}
	environ, err := r.environ(env, span)
	if err != nil {
		return failed, err
	}
	match, err := newMatcher(s.Output)
	if err != nil {
		return failed, err
	}
	defer match.found() // whatever happens, its goroutine ends
	pipes, err := newPipes()
	if err != nil {
		return failed, fmt.Errorf("start the command: %w", err)
	}
	defer pipes.close()
	g, err := start(s.Run, r.Dir, environ, pipes.toOut, pipes.toErr)
	pipes.started()
	if err != nil {
		return failed, err
	}
	dies := r.dies(part, index)
	if dies {
		r.Death.arm(g.killAll)
		r.fault(evidence.FaultAsked, "")
	}
	out := newOutput(r.Log.Clean, match, func(stream, text string) {
		if dies {
			r.Death.said(stream, text)
		}
		r.put(evidence.Step{Part: part, Index: index, Name: s.Name, Event: "output", Stream: stream, Output: text})
	})
	var cut atomic.Bool
	var reading sync.WaitGroup
	var readErr [2]error
	reading.Go(func() { readErr[0] = out.read("stdout", pipes.out, cut.Load) })
	reading.Go(func() { readErr[1] = out.read("stderr", pipes.err, cut.Load) })

	// A command that is ended from outside may have been in the midst of a line, and a piece of a secret is not known
	// as one.
	res := g.wait(ctx, s.Timeout, func() { cut.Store(true) })
	if dies {
		at, err := r.Death.disarm()
		res.died = at
		if res.err = errors.Join(res.err, err); at != "" {
			cut.Store(true)
			res.err = errors.Join(res.err, r.died(ctx, g))
		}
	}
	read := make(chan struct{})
	go func() { reading.Wait(); close(read) }()
	limit := time.NewTimer(drained)
	defer limit.Stop()
	held := false
	select {
	case <-read:
	case <-limit.C:
		held = true
		cut.Store(true)
		pipes.stop(time.Now())
		<-read
	}
	left, err := g.others()
	res.err = errors.Join(res.err, err, readErr[0], readErr[1])
	if len(left) > 0 || err != nil {
		r.groups.keep(g)
	} else {
		res.err = errors.Join(res.err, g.end())
	}
	switch {
	case held:
		out.add("", fmt.Sprintf("[the command has ended, but processes that it left running hold its output open: %s; it is not read any further]", names(left)))
	case len(left) > 0:
		out.add("", fmt.Sprintf("[the command has ended and left processes running: %s]", names(left)))
	}
	out.finish()

	last := evidence.Step{Outcome: evidence.StepOK, Exit: res.exit}
	if dies {
		switch {
		case res.died != "" && res.exit == 128+int(syscall.SIGKILL) && res.err == nil:
			r.fault(evidence.FaultInForce, "")
			last.Outcome = evidence.StepDied
			return last, fmt.Errorf("the machine that ran it died %s", res.died)
		case res.died != "":
			r.fault(evidence.FaultNotInForce, fmt.Sprintf("the step had ended by itself when its processes were killed %s", res.died))
		case r.Death.Says != "":
			r.fault(evidence.FaultNotInForce, fmt.Sprintf("the step ended and had not said %q", r.Death.Says))
		default:
			r.fault(evidence.FaultNotInForce, "the step ended before anything was seen of it")
		}
	}
	switch {
	case res.timeout:
		last.Outcome = evidence.StepTimeout
	case res.stopped != "" || res.exit != 0 || res.err != nil:
		last.Outcome = evidence.StepFailed
	case !match.found():
		last.Outcome = evidence.StepUnexpected
		last.Expected = fmt.Sprintf("output that matches %s", s.Output)
		return last, fmt.Errorf("exited with 0, but expected its output to match %q, found %s", s.Output, out.lastLine())
	}
	switch {
	case res.stopped != "":
		err = fmt.Errorf("%s; last line: %s", res.stopped, out.lastLine())
	case res.exit != 0:
		err = fmt.Errorf("exited with %d; last line: %s", res.exit, out.lastLine())
	default:
		err = nil
	}
	return last, errors.Join(err, res.err)
}

// names says which processes these are.
func names(pids []int) string {
	if len(pids) == 0 {
		return "processes outside of its process group"
	}
	var all []string
	for _, pid := range pids {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			name = []byte("ended meanwhile")
		}
		all = append(all, fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(string(name))))
	}
	return strings.Join(all, ", ")
}

// environ is the whole environment of a command.
func (r *Runner) environ(env map[string]string, span trace.SpanContext) ([]string, error) {
	all := map[string]string{"LANG": "C.UTF-8", "TMPDIR": os.TempDir()}
	for _, name := range []string{"PATH", "HOME", "LANG", "TMPDIR"} {
		if v := os.Getenv(name); v != "" {
			all[name] = v
		}
	}
	if span.IsValid() {
		// W3C Trace Context, version 00.
		all["TRACEPARENT"] = fmt.Sprintf("00-%s-%s-%s", span.TraceID(), span.SpanID(), span.TraceFlags())
	}
	maps.Copy(all, r.Platform)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value, ok := r.Vars[env[name]]
		if !ok {
			return nil, fmt.Errorf("env: %s: expected one of what the environment hands out (%s), found %q",
				name, strings.Join(slices.Sorted(maps.Keys(r.Vars)), ", "), env[name])
		}
		all[name] = value
	}
	if r.lease != nil {
		r.lease.mark(all)
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list, nil
}
