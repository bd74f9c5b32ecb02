package drill

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"backout/harness/evidence"
	"backout/harness/rollback"
)

// The operators of a drill, by the names that the lock tells.
const (
	firstOperator  = "operator 1"
	secondOperator = "operator 2"
)

// operators begins the rollback: it takes the lock, before the pre-checks as every rollback does, and arranges for what the
// drill says of who else comes. end waits for them.
func (d *Drill) operators(ctx context.Context) (end func() error, err error) {
	end = func() error { return nil }
	if second := d.spec.Second; second != nil {
		d.runner.Operator = firstOperator
		other := &rival{runner: d.runner.Beside(secondOperator)}
		if second.Elsewhere {
			if other.runner.Dir, err = d.elsewhere(ctx); err != nil {
				return nil, err
			}
		}
		end = other.end
		d.runner.Between = func(ctx context.Context, step int) error {
			if other.begun || step != second.Before {
				return nil
			}
			return other.start(ctx, d)
		}
	}
	if death := d.spec.Death; death != nil {
		d.runner.Operator = firstOperator
		d.runner.Death = &rollback.Death{Step: death.Step, Says: death.Says}
		d.log.Tap(effects(d.spec.Service.Name, d.runner.Death.Effect))
	}
	return end, d.runner.Take(ctx, d.spec.Plan)
}

// steps runs the plan's, and when the machine dies that runs them, somebody starts the plan again on another one.
func (d *Drill) steps(ctx context.Context) error {
	err := d.runner.Steps(ctx, d.spec.Plan, d)
	died := new(rollback.StepError)
	if !errors.As(err, &died) || died.Outcome.Outcome != evidence.StepDied {
		return err
	}
	d.tell(Progress{Phase: "rolled back", Text: d.log.Clean(err.Error()) + "; somebody starts the plan again"})
	from := died.Index
	if d.spec.Death.FromStart {
		from = 1
	}
	return d.runner.Again(ctx, d.spec.Plan, d, from, died.Index)
}

// effects tells of changes of instances and nodes, one after the other as they are seen. A pod is not changed: another one
// is made, or it goes.
func effects(service string, tell func(what string)) func(evidence.Event) {
	var mu sync.Mutex
	last := map[string]string{}
	return func(e evidence.Event) {
		name, is := "", ""
		switch {
		case e.Instance != nil && e.Instance.Service == service:
			i := e.Instance
			name, is = i.Name, fmt.Sprintf("up %v, release %s, process %d", i.Up, i.Release, i.PID)
		case e.Pod != nil && e.Pod.Service == service:
			if does := podWords[e.Pod.Event]; does != "" {
				tell(e.Pod.Name + does)
			}
			return
		case e.Node != nil && e.Node.Reachable && e.Node.Digest != "":
			name, is = e.Node.Name, fmt.Sprintf("migration %d, catalog %s", e.Node.Migration, e.Node.Digest)
		default:
			return
		}
		mu.Lock()
		was, known := last[name]
		last[name] = is
		mu.Unlock()
		if known && was != is {
			tell(name + " had changed")
		}
	}
}

// podWords are the events of a pod that others cause; what else is told of one it does itself.
var podWords = map[string]string{evidence.PodCreated: " had been created", evidence.PodDeleting: " was going", evidence.PodDeleted: " had gone"}

// rival is a second operator who starts the same plan while the first one runs it.
type rival struct {
	runner *rollback.Runner
	begun  bool
	ended  sync.WaitGroup // of what the operator does, once let in
}

// start has the operator take the lock, as every rollback does, and when let in run the plan side by side. It returns when
// it is known which of the two it is.
func (o *rival) start(ctx context.Context, d *Drill) error {
	o.begun = true
	err := o.runner.Take(ctx, d.spec.Plan)
	if errors.As(err, new(*rollback.Held)) {
		return nil // as it must be; the verdict sees what was told
	}
	if err != nil {
		return fmt.Errorf("%s: %w", secondOperator, err)
	}
	o.ended.Go(func() {
		// What becomes of it is in the log, and the rollback that is judged is the first one's.
		if o.runner.Before(ctx, d.spec.Plan, d) == nil {
			_ = o.runner.Steps(ctx, d.spec.Plan, d)
		}
	})
	return nil
}

// end waits for what the operator still does, so that nothing of it runs while service is watched.
func (o *rival) end() error {
	o.ended.Wait()
	return o.runner.Close()
}

// oneAtATime tells of commands that run side by side as of one: the first begins it and the last ends it.
func oneAtATime(tell func(running bool)) func(running bool) {
	var mu sync.Mutex
	running := 0
	return func(begins bool) {
		mu.Lock()
		defer mu.Unlock()
		if begins {
			if running++; running == 1 {
				tell(true)
			}
			return
		}
		if running--; running == 0 {
			tell(false)
		}
	}
}
