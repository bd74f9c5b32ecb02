package drill

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/observe"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/traffic"
	"backout/harness/verdict"
)

// Options are how a drill is run, the same for all drills of a set.
type Options struct {
	Environment string // a name of Environments
	Windows     string // gate, quarterly
	Seed        int64
	Set         string               // the folder under which each run gets its own
	Dir         func(s *Spec) string // the folder of a run; nil: Set/Short
	Start       func() (environment.Environment, error)
	Tracer      trace.Tracer                 // nil: no spans are recorded
	Tell        func(s *Spec, line Progress) // may be nil
	Version     string                       // of backout
	By          string                       // who starts the rollbacks, and proves it by one of the next two; empty: nobody says
	Key         string                       // path of a private SSH key
	Token       string                       // secret
	Begun       func(Begun)                  // told when a drill's log is open, before anything is provisioned; may be nil
}

// Begun is a drill that has begun: how to watch and to steer it.
type Begun struct {
	Name   string // for a folder: Spec.Short
	Title  string // the scenario's
	Dir    string // of the run
	Handle *Handle
	Run    *evidence.Run                // the first event, which the tap does not see any more
	Tap    func(f func(evidence.Event)) // as evidence.Log's
	Now    func() evidence.Offset
	Replay float64 // it is one, and so many times as fast as the drill was; 0: it is a drill
}

// Progress is one line of what a drill tells while it runs.
type Progress struct {
	Phase string        // provisioned, baseline, the release ...
	Took  time.Duration // 0 while it is under way
	Text  string
	Done  bool
}

// Drill is one run of a Spec. Its phases are called in order: Deploy, Decide, RollBack, Finish; Finish is always called.
type Drill struct {
	spec *Spec
	o    Options
	dir  string

	log         *evidence.Log
	run         *evidence.Run
	env         environment.Environment
	nodes       []node
	db          *pgxpool.Pool // of the primary
	frozen      *postgres.Frozen
	before      postgres.Before
	deployBegun evidence.Offset
	decidedAt   evidence.Offset
	waited      time.Duration // for people, until then

	load     *traffic.Traffic
	watching *observe.Observer
	runner   *rollback.Runner
	impact   *impact // what the rollback touches; nil: its plan states no ceiling
	people   *rollback.Messages
	ways     []rollback.Transport // to people
	clone    func(context.Context) (urls map[string]string, close func() error, err error)
	cloning  sync.Mutex // guards clone: a second operator may ask for one too

	mu    sync.Mutex // guards facts
	facts *verdict.Facts

	handle *Handle         // by which people steer it
	life   context.Context // ends when the environment says that the drill cannot go on, or a person aborts it
	end    context.CancelCauseFunc

	began    time.Time
	decided  bool
	refused  error // the plan's pre-check stopped it
	running  bool  // the first step of the plan has begun
	restored bool  // service had stayed restored when watching ended

	faults    *faults         // those that are declared
	sabotaged <-chan struct{} // closed when it is known whether the plan's sabotage took effect; nil: it has none
	stopped   bool            // traffic and probes have ended
	broke     error           // the harness itself broke: what it was doing
	closers   []func(context.Context) error
}

// node is a Postgres node with its connection and the schema that it must come back to.
type node struct {
	postgres.Opened
	target postgres.Schema
}

// New prepares a drill. Nothing is started.
func New(spec *Spec, o Options) *Drill {
	dir := filepath.Join(o.Set, spec.Short())
	if o.Dir != nil {
		dir = o.Dir(spec)
	}
	d := &Drill{spec: spec, o: o, dir: dir, facts: verdict.New(), began: time.Now()}
	d.life, d.end = context.WithCancelCause(context.Background())
	d.handle = newHandle(d.end, func(text string) { d.tell(Progress{Phase: "people", Text: text}) })
	return d
}

// Deploy provisions the environment, measures the steady state, and deploys the release over the good one.
func (d *Drill) Deploy(ctx context.Context) error {
	return d.guard(ctx, func(ctx context.Context) error {
		if err := d.provision(ctx); err != nil {
			return err
		}
		if err := d.hold(ctx, "baseline"); err != nil {
			return err
		}
		if err := d.baseline(ctx); err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		if err := d.hold(ctx, "deploy"); err != nil {
			return err
		}
		return d.deploy(ctx)
	})
}

// Decide waits until the release has shown what it states, and decides to roll back.
func (d *Drill) Decide(ctx context.Context) error {
	return d.guard(ctx, func(ctx context.Context) error {
		if d.decided {
			return nil
		}
		d.decided = true
		return d.decide(ctx)
	})
}

// RollBack runs the plan, watches until service is restored and has stayed so, and audits the data at a quiet point.
func (d *Drill) RollBack(ctx context.Context) error {
	if err := d.Decide(ctx); err != nil {
		return err
	}
	return d.guard(ctx, func(ctx context.Context) error {
		if err := d.hold(ctx, "rollback"); err != nil {
			return err
		}
		if err := d.rollBack(ctx); err != nil {
			return fmt.Errorf("roll back: %w", err)
		}
		if d.refused == nil {
			if err := d.hold(ctx, "watch"); err != nil {
				return err
			}
			if err := d.watch(ctx); err != nil {
				return fmt.Errorf("watch: %w", err)
			}
			if err := d.herd(ctx); err != nil {
				return fmt.Errorf("let clients come back: %w", err)
			}
		}
		if err := d.hold(ctx, "quiet"); err != nil {
			return err
		}
		if err := d.quiet(ctx); err != nil {
			return fmt.Errorf("reach a quiet point: %w", err)
		}
		if err := d.audit(ctx); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		return d.handOver(ctx)
	})
}

// hold keeps the drill waiting before a phase, as long as people have paused it.
func (d *Drill) hold(ctx context.Context, phase string) error {
	return d.handle.hold(ctx, boundaries(d.spec.Bad.Name)[phase])
}

// boundaries are the phases before which a drill can be held, and how people are told. Between the quiet point and the audit it
// is not: how long arrivals stop is a stated window.
func boundaries(release string) map[string]string {
	return map[string]string{
		"baseline": "the baseline",
		"deploy":   "the deploy of " + release,
		"rollback": "the rollback",
		"watch":    "watching until service is restored",
		"quiet":    "the quiet point, at which arrivals stop",
	}
}

// guard keeps the first error of a phase: Finish says with it that the harness broke, or was interrupted.
func (d *Drill) guard(ctx context.Context, phase func(context.Context) error) (err error) {
	if d.broke != nil {
		return d.broke
	}
	defer func() {
		// godog takes a panic for a step that failed, and nobody would hear of it.
		if p := recover(); p != nil {
			err = fmt.Errorf("the harness broke: %v\n%s", p, debug.Stack())
		}
		if d.handle.abortedBy() != nil {
			err = context.Cause(d.life) // whatever that looked like from within
		} else if why := context.Cause(d.life); why != nil {
			if errors.Is(err, context.Canceled) { // which is what it looked like from within
				err = nil
			}
			err = errors.Join(fmt.Errorf("the environment ended the drill: %w", why), err)
		}
		d.broke = d.clean(err)
		err = d.broke
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.life, func() { cancel(context.Cause(d.life)) })()
	return phase(ctx)
}

// cleaned is an error whose text holds no secret: it goes to the terminal and into reports.
type cleaned struct {
	text string
	error
}

func (e *cleaned) Error() string { return e.text }
func (e *cleaned) Unwrap() error { return e.error }

// clean takes the secrets out of an error's text.
func (d *Drill) clean(err error) error {
	if err == nil || d.log == nil {
		return err
	}
	if d.env != nil {
		d.hideVariables() // of an environment that did not come up too
	}
	return &cleaned{d.log.Clean(err.Error()), err}
}

// phase begins a phase in the log and gives a function that tells people how it ended.
func (d *Drill) phase(name, shown string) (done func(format string, args ...any)) {
	start := time.Now()
	d.log.Put(&evidence.Phase{Name: name})
	d.tell(Progress{Phase: shown})
	return func(format string, args ...any) {
		d.tell(Progress{Phase: shown, Took: time.Since(start), Text: d.log.Clean(fmt.Sprintf(format, args...)), Done: true})
	}
}

func (d *Drill) tell(p Progress) {
	if d.o.Tell != nil {
		d.o.Tell(d.spec, p)
	}
}

func (d *Drill) clock(name, why string) { d.log.Put(&evidence.Clock{Name: name, Why: why}) }

// now asks the facts about this instant.
func ask[T any](d *Drill, question func(f *verdict.Facts, now evidence.Offset) T) T {
	d.mu.Lock()
	defer d.mu.Unlock()
	return question(d.facts, d.log.Now())
}

// until asks every tick until the answer is yes. It ends with the context.
func until(ctx context.Context, tick time.Duration, yes func() bool) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if yes() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// pass lets a stated window pass: it is a length of observation, not a wait for something to happen.
func pass(ctx context.Context, window time.Duration) error {
	timer := time.NewTimer(window)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// onExit registers what Finish closes, last in first out.
func (d *Drill) onExit(f func(context.Context) error) { d.closers = append(d.closers, f) }

func (d *Drill) close(ctx context.Context) error {
	var wrong []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		wrong = append(wrong, d.closers[i](ctx))
	}
	d.closers = nil
	return errors.Join(wrong...)
}
