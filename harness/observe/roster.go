package observe

import (
	"context"
	"sync/atomic"
	"time"

	"backout/harness/service"
)

// roster keeps one goroutine for each instance and node that is there, so that one that hangs delays no other. One that is
// there no more was observed until then: its end leaves no gap, unless nobody could ask it.
func (o *Observer) roster() {
	instances := map[string]*subject[service.Instance]{}
	nodes := map[string]*subject[service.Node]{}
	every(o.ctx, o.Interval, func() {
		if o.Instances != nil {
			follow(o, instances, o.Instances(), func(i service.Instance) string { return i.Name }, o.watchInstance)
		}
		if o.Nodes != nil {
			follow(o, nodes, o.Nodes(), func(n service.Node) string { return n.Name }, o.watchNode)
		}
	})
}

// subject is an instance or a node as the environment names it now: its address may change.
type subject[T any] struct {
	now atomic.Pointer[T]
	end context.CancelFunc
}

// follow starts what is new, updates what is there and ends what is gone.
func follow[T any](o *Observer, known map[string]*subject[T], there []T, name func(T) string, watch func(context.Context, *subject[T])) {
	seen := map[string]bool{}
	for _, s := range there {
		seen[name(s)] = true
		if k, ok := known[name(s)]; ok {
			k.now.Store(&s)
			continue
		}
		ctx, end := context.WithCancel(o.ctx)
		k := &subject[T]{end: end}
		k.now.Store(&s)
		known[name(s)] = k
		o.work.Go(func() { watch(ctx, k) })
	}
	for n, k := range known {
		if !seen[n] {
			k.end()
			delete(known, n)
		}
	}
}

// every calls f now and then at each interval until ctx ends. A call that takes longer delays the next one only.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
