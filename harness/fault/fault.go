package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Fault is one disturbance of a drill. What is asked for is believed only when it was observed.
type Fault interface {
	// Inject puts it in force, or begins to.
	Inject(ctx context.Context) error
	// InForce observes whether it is, asked of the system now. An error: it could not be asked.
	InForce(ctx context.Context) (seen string, yes bool, err error)
	// Lift takes it back. It may be called although Inject failed, and again.
	Lift(ctx context.Context) error
	// Gone observes whether nothing of it is left.
	Gone(ctx context.Context) (seen string, yes bool, err error)
}

// World is what faults are injected into.
type World struct {
	Place     Place
	Instances func() []service.Instance
	Nodes     func() []service.Node
}

// Kind is one kind of fault.
type Kind struct {
	Name  string
	Forms []Form
	On    []string // what it can be done to: OnInstance, OnPrimary ...
	// Removes says that it may be for good: what it is done to then takes part no more.
	Removes bool
	// Wide says that it disturbs more than the drill that declares it, so that the drill must have the place to itself.
	Wide bool
	// Needs is what the environment must be able to do, in words that follow "cannot".
	Needs string
	// Can says whether an environment can.
	Can func(Place) bool
	// Refuses says why it cannot be done to this target; nil: it always can.
	Refuses func(d evidence.DeclaredFault, on string) string
	New     func(w World, d evidence.DeclaredFault) Fault
}

// Form is how a feature says it: {target} is an instance or a node, {word} a service or, by what it can be done to, a release,
// {n} a number of Units.
type Form struct {
	Text string
	Unit float64 // in seconds; 0: there is no number
}

// What a fault can be done to.
const (
	OnInstance  = "instance"
	OnPrimary   = "primary"
	OnStreaming = "streaming"
	OnLogical   = "logical"
	OnService   = "service"
	OnRegistry  = "registry"
	OnPods      = "the pods of a service"
	OnRelease   = "a release"
	OnWorker    = "worker"
	OnCluster   = "cluster"
	OnNamespace = "namespace"
)

func machines() []string { return []string{OnInstance, OnPrimary, OnStreaming, OnLogical} }

// Kinds is the list.
func Kinds() []Kind {
	return []Kind{pause(), kill(), cut(), slow(), drop(), disk(), lag(), reader(), clock(), registry(), failover(),
		pod(), drain(), kubelet(), image(), apiServer(), quota(), budget()}
}

// Find is the kind of a declared fault.
func Find(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("no kind of fault is named %q; there are %s", name, strings.Join(names, ", "))
}

// Lacks says what an environment cannot do of what is declared; empty: it can do everything.
func Lacks(p Place, declared []evidence.DeclaredFault) string {
	for _, d := range declared {
		k, err := Find(d.Kind)
		switch {
		case err != nil:
			return err.Error()
		case k.Can != nil && !k.Can(p):
			return fmt.Sprintf("it cannot %s, so it cannot be that %s", k.Needs, d.Text)
		case p.Nameless && slices.Contains(k.On, OnInstance) && !slices.Contains([]string{OnPrimary, OnStreaming, OnLogical}, d.Of):
			return fmt.Sprintf("its instances have no names before they are there, so it cannot be that %s", d.Text)
		}
	}
	return ""
}

// Allowed says why a fault cannot be done to a target of this sort; nil: it can.
func (k Kind) Allowed(d evidence.DeclaredFault, on string) error {
	if !slices.Contains(k.On, on) {
		return fmt.Errorf("%s: it can be done to %s only, and %s is none", d.Text, strings.Join(k.On, ", "), d.Of)
	}
	if d.ForGood && !k.Removes {
		return fmt.Errorf("%s: only what a fault takes away can be away for good, and this one takes nothing away", d.Text)
	}
	if k.Refuses != nil {
		if why := k.Refuses(d, on); why != "" {
			return fmt.Errorf("%s: %s", d.Text, why)
		}
	}
	return nil
}

// Words say when a declared fault is in force.
func Words(d evidence.DeclaredFault) string {
	text := fmt.Sprintf("%s before step %d", d.Text, d.Before)
	switch {
	case d.ForGood:
		return text + ", for good"
	case d.Until == 0:
		return text + ", until the last step has ended"
	}
	return fmt.Sprintf("%s, until step %d has ended", text, d.Until)
}

func (w World) node(name string) (service.Node, error) {
	for _, n := range w.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return service.Node{}, fmt.Errorf("there is no node %s", name)
}

// Wide says whether one of these kinds disturbs more than the drill that declares it.
func Wide(kinds []string) bool {
	return slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.Wide && slices.Contains(kinds, k.Name) })
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// How long observing may take.
const (
	AskedWithin = 3 * time.Second  // one question
	GoneWithin  = 30 * time.Second // until what was lifted is gone
)

// Settles is how long a fault may take until it can be seen in force.
func Settles(d evidence.DeclaredFault) time.Duration {
	switch d.Kind {
	case "lag":
		return 10*time.Second + duration(d.Seconds)
	case "quota":
		return 30 * time.Second // until the cluster has counted for the first time
	}
	return 10 * time.Second
}

// Await observes until the answer is yes, and at most for so long. The error says why it is not, if the text that was seen
// last does not.
func Await(ctx context.Context, limit time.Duration, observe func(context.Context) (string, bool, error)) (seen string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not seen within %s", limit))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		asking, done := context.WithTimeout(ctx, AskedWithin)
		text, yes, err := observe(asking)
		done()
		if err == nil && yes {
			return text, nil
		}
		if err == nil || ctx.Err() == nil { // an answer that the limit cut off says less than the one before
			seen, last = text, err
		}
		select {
		case <-ctx.Done():
			return seen, errors.Join(context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
