package drill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"backout/harness/evidence"
	"backout/harness/fault"
)

const (
	observesEvery = time.Second      // whether a fault is still in force
	liftWithin    = 30 * time.Second // a node that was killed recovers
)

// faults are the declared ones of a drill. Their methods are called from one goroutine.
type faults struct {
	log *evidence.Log
	all []*disturbance
	wg  sync.WaitGroup // observations of what was lifted
}

// disturbance is one declared fault.
type disturbance struct {
	evidence.DeclaredFault
	fault.Fault
	number int
	active bool   // asked for, and not lifted
	stop   func() // ends the observation while it is in force
}

func newFaults(log *evidence.Log, declared []evidence.DeclaredFault, w fault.World) (*faults, error) {
	f := &faults{log: log}
	for i, d := range declared {
		kind, err := fault.Find(d.Kind)
		if err != nil {
			return nil, err
		}
		f.all = append(f.all, &disturbance{DeclaredFault: d, Fault: kind.New(w, d), number: i + 1, stop: func() {}})
	}
	return f, nil
}

// step is told of each step of the plan, before it runs and when it has ended.
func (f *faults) step(ctx context.Context, index int, outcome string) {
	if outcome != "" {
		f.lift(ctx, func(d evidence.DeclaredFault) bool { return d.Until == index })
		return
	}
	for _, d := range f.all {
		if d.Before == index && !d.active { // a step that is run again finds it in force
			f.inject(ctx, d)
		}
	}
}

func (f *faults) put(d *disturbance, event, seen string, err error) {
	e := &evidence.Fault{Name: d.Kind, Of: d.Of, Number: d.number, Event: event, Text: f.log.Clean(seen)}
	if err != nil {
		e.Error = f.log.Clean(err.Error())
	}
	f.log.Put(e)
}

// inject asks for a fault, waits until it is seen in force, and looks at it again every second until it is lifted.
func (f *faults) inject(ctx context.Context, d *disturbance) {
	d.active = true
	f.put(d, evidence.FaultAsked, d.Text, nil)
	if err := d.Inject(ctx); err != nil {
		f.put(d, evidence.FaultNotInForce, "", err)
		return
	}
	seen, err := fault.Await(ctx, fault.Settles(d.DeclaredFault), d.InForce)
	if err != nil {
		f.put(d, evidence.FaultNotInForce, seen, err)
		return
	}
	f.put(d, evidence.FaultInForce, seen, nil)

	watch, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.watch(watch, d)
	}()
	d.stop = func() { end(); <-done }
}

// watch writes when a fault is seen not to be in force any more, and when it is again.
func (f *faults) watch(ctx context.Context, d *disturbance) {
	was := true
	tick := time.NewTicker(observesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, cancel := context.WithTimeout(ctx, fault.AskedWithin)
		seen, yes, err := d.InForce(asking)
		cancel()
		if ctx.Err() != nil || err != nil || yes == was {
			continue // what could not be asked says nothing; it is asked again before the fault is lifted
		}
		was = yes
		if yes {
			f.put(d, evidence.FaultInForce, seen, nil)
		} else {
			f.put(d, evidence.FaultNotInForce, seen, nil)
		}
	}
}

// lift takes those back that are to be lifted now, the last one first, and has it observed that they are gone while the
// drill goes on. One that is for good is left.
func (f *faults) lift(ctx context.Context, now func(evidence.DeclaredFault) bool) {
	for i := len(f.all) - 1; i >= 0; i-- {
		d := f.all[i]
		if !d.active || d.ForGood || !now(d.DeclaredFault) {
			continue
		}
		// Whatever ends the drill, what was done to its environment is taken back.
		clean := context.WithoutCancel(ctx)
		d.stop()
		if seen, err := fault.Await(clean, fault.AskedWithin, d.InForce); err != nil {
			f.put(d, evidence.FaultNotInForce, seen, err)
		} else {
			f.put(d, evidence.FaultInForce, seen, nil)
		}
		lifting, cancel := context.WithTimeout(clean, liftWithin)
		err := d.Lift(lifting)
		cancel()
		d.active = err != nil // it is tried again at the end
		f.put(d, evidence.FaultLifted, "", err)
		f.wg.Go(func() {
			seen, err := fault.Await(clean, fault.GoneWithin, d.Gone)
			if err != nil {
				f.put(d, evidence.FaultNotGone, seen, err)
				return
			}
			f.put(d, evidence.FaultGone, seen, nil)
		})
	}
}

// settle waits until it is known of everything that was lifted whether it is gone, which takes fault.GoneWithin at most.
func (f *faults) settle() { f.wg.Wait() }

// end takes back what is still there. What is for good stays: the environment is destroyed next.
func (f *faults) end(ctx context.Context) error {
	f.settle()
	var wrong []error
	for i := len(f.all) - 1; i >= 0; i-- {
		d := f.all[i]
		d.stop()
		if !d.active || d.ForGood {
			continue
		}
		d.active = false
		lifting, cancel := context.WithTimeout(ctx, liftWithin)
		err := d.Lift(lifting)
		cancel()
		f.put(d, evidence.FaultLifted, "", err)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("lift the fault that %s: %w", d.Text, err))
		}
	}
	return errors.Join(wrong...)
}
