package drill

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
)

// Replay plays a saved run once more, as it was seen while it ran, for those who want to look at the live page or to practise
// its orders. Orders act as they do on a drill: between steps and phases the replay waits. What users and probes saw meanwhile
// nobody knows, so its clock stands still then. Nothing of it is written or judged.
type Replay struct {
	events []evidence.Event
	times  float64 // as fast as it was
	handle *Handle
	life   context.Context

	mu    sync.Mutex
	began time.Time
	since time.Time     // people keep it waiting; zero: they do not
	held  time.Duration // they have kept it waiting
	n     int64
	taps  []func(evidence.Event)
}

// NewReplay reads the run in a folder, to be played so many times as fast.
func NewReplay(dir string, times float64) (*Replay, error) {
	if !(times > 0 && times <= 1000) {
		return nil, fmt.Errorf("replay %s: expected to be from more than 0 to 1000 times as fast, found %g", dir, times)
	}
	r := &Replay{times: times}
	for e, err := range evidence.Read(filepath.Join(dir, evidence.File)) {
		if err != nil && !errors.As(err, new(*evidence.CutError)) {
			return nil, fmt.Errorf("replay %s: %w", dir, err)
		}
		if err == nil {
			r.events = append(r.events, e)
		}
	}
	if len(r.events) == 0 || r.events[0].Run == nil {
		return nil, fmt.Errorf("replay %s: expected a log that begins with a run, found %d events", dir, len(r.events))
	}
	var end context.CancelCauseFunc
	r.life, end = context.WithCancelCause(context.Background())
	r.handle = newHandle(end, func(string) {})
	r.handle.begin(func(k evidence.Kind) { r.put(r.Now(), k) }, func(s string) string { return s })
	r.handle.typed = true // whose keys they were, the log does not hold
	return r, nil
}

// Asks lets a step of the plan, from 1, ask for approval as if its plan said so.
func (r *Replay) Asks(step int, within time.Duration) error {
	run := *r.events[0].Run
	if step < 1 || step > len(run.Plan.Steps) {
		return fmt.Errorf("replay: expected a step from 1 to %d that asks for approval, found %d", len(run.Plan.Steps), step)
	}
	run.Plan.Steps = append([]evidence.PlanStep{}, run.Plan.Steps...)
	run.Plan.Steps[step-1].Expires = within.Seconds()
	r.events[0].Run = &run
	return nil
}

// Hands lets the incident be handed over at the end, as if service.yaml or the plan said so.
func (r *Replay) Hands(to string, within time.Duration) {
	run := *r.events[0].Run
	told := evidence.Communication{}
	if run.Communication != nil {
		told = *run.Communication
	}
	told.Receiver, told.Accepts = to, within.Seconds()
	run.Communication = &told
	r.events[0].Run = &run
}

// Begun is the replay as a drill that has begun. dir is where its report is.
func (r *Replay) Begun(dir string) Begun {
	run := r.events[0].Run
	return Begun{Name: "replay", Title: run.Name, Dir: dir, Handle: r.handle, Run: run, Tap: r.tap, Now: r.Now, Replay: r.times}
}

func (r *Replay) tap(f func(evidence.Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taps = append(r.taps, f)
}

// Now is the replay's clock.
func (r *Replay) Now() evidence.Offset {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now()
}

func (r *Replay) now() evidence.Offset {
	if r.began.IsZero() {
		return 0
	}
	ran := time.Since(r.began) - r.held
	if !r.since.IsZero() {
		ran -= time.Since(r.since)
	}
	return evidence.Offset(ran.Seconds() * r.times)
}

func (r *Replay) put(t evidence.Offset, k evidence.Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	e := evidence.Event{N: r.n, T: t}
	k.Put(&e)
	for _, f := range r.taps {
		f(e)
	}
}

// Run plays it. It ends with the run's end, or when a person aborts it.
func (r *Replay) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.life, func() { cancel(context.Cause(r.life)) })()
	r.mu.Lock()
	r.began = time.Now()
	r.n = r.events[0].N // the first event has been told
	r.mu.Unlock()
	run := r.events[0].Run
	for _, e := range r.events[1:] {
		if e.Approval != nil || e.End != nil {
			continue // people decide anew
		}
		if err := pass(ctx, r.left(e.T)); err != nil {
			return r.end(err)
		}
		before, step := r.boundary(e, run)
		if step > 0 && run.Plan.Steps[step-1].Expires > 0 {
			within := seconds(run.Plan.Steps[step-1].Expires)
			if err := r.wait(func() error { return r.handle.ask(ctx, rollback.Question{For: before, Within: within}) }); err != nil {
				return r.end(err) // what a plan does that is stopped here was never seen
			}
		}
		if c := run.Communication; c != nil && c.Receiver != "" && e.Phase != nil && e.Phase.Name == "destroy" {
			if err := r.wait(func() error {
				_, err := r.handle.handOver(ctx, c.Receiver, seconds(c.Accepts), "what was proven stands in its report")
				return err
			}); err != nil {
				return r.end(err)
			}
		}
		if before != "" {
			if err := r.wait(func() error { return r.handle.hold(ctx, before) }); err != nil {
				return r.end(err)
			}
		}
		r.mu.Lock()
		r.n++
		e.N = r.n
		for _, f := range r.taps {
			f(e)
		}
		r.mu.Unlock()
	}
	last := r.events[len(r.events)-1]
	how := evidence.End{How: "complete"}
	if last.End != nil {
		how = *last.End
	}
	r.handle.finish()
	r.put(r.Now(), &how)
	return nil
}

// boundary says whether a drill would have waited before this event, and where: before which step, or which phase.
func (r *Replay) boundary(e evidence.Event, run *evidence.Run) (before string, step int) {
	switch {
	case e.Step != nil && e.Step.Part == evidence.PartStep && e.Step.Event == "started" && e.Step.By == "" && e.Step.Index <= len(run.Plan.Steps):
		return rollback.StepName(e.Step.Index, e.Step.Name), e.Step.Index
	case e.Phase != nil:
		for name, text := range boundaries(run.Release.Name) {
			if e.Phase.Name == name {
				return text, 0
			}
		}
	}
	return "", 0
}

// wait does what may wait for people, while the clock stands still.
func (r *Replay) wait(do func() error) error {
	r.mu.Lock()
	r.since = time.Now()
	r.mu.Unlock()
	err := do()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held += time.Since(r.since)
	r.since = time.Time{}
	return err
}

// left is how long it takes until an event is due.
func (r *Replay) left(t evidence.Offset) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return seconds(float64(t-r.now()) / r.times)
}

func (r *Replay) end(err error) error {
	r.handle.finish()
	how := &evidence.End{How: "interrupted", Why: err.Error()}
	if a := r.handle.abortedBy(); a != nil {
		how = &evidence.End{How: "aborted", Why: fmt.Sprintf("by %s: %s", a.By, a.Why)}
	}
	r.put(r.Now(), how)
	if why := context.Cause(r.life); why != nil {
		return why // whatever that looked like where it waited
	}
	return err
}
