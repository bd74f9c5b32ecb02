package fault

import (
	"context"
	"time"
)

// Place is what an environment can do to what it has started. A nil field is what it cannot do. Names are those of
// instances, nodes and services as the environment lists them.
type Place struct {
	// State is asked of the operating system or the engine now, and never remembered.
	State func(ctx context.Context, name string) (State, error)

	// Pause stops every process of an instance or a node, and Resume lets all of them go on.
	Pause, Resume func(ctx context.Context, name string) error
	// Kill ends an instance or a node as kill -9 does, and nothing restarts it before Start.
	Kill, Start func(ctx context.Context, name string) error

	// Cut takes something off the network on which services and nodes talk; it can still be observed. Heal puts it back.
	Cut, Heal func(ctx context.Context, name string) error
	// Reaches says whether a connection from one to the other comes about on that network now.
	Reaches func(ctx context.Context, from, to string) (bool, error)

	// Lead has everybody who connects to one node by its address reach another one from now on. Instances, scripts and the
	// harness itself do, where the drill has declared a failover.
	Lead func(ctx context.Context, from, to string) error

	// Link changes all connections from the instances of a service to its database, those that are open too.
	Link func(ctx context.Context, service string, to LinkState) error
	// LinkState measures through the link now: how long an answer takes, and whether one comes at all.
	LinkState func(ctx context.Context, service string) (answer time.Duration, open bool, err error)

	// Fill leaves no room on the disk of a node, which is a volume of fixed size and never the host's; Free takes that back,
	// and starts a node that has ended for want of room.
	Fill, Free func(ctx context.Context, name string) error
	// Room is how many bytes that disk has left.
	Room func(ctx context.Context, name string) (bytes int64, err error)

	// Skew sets the clock of a node or an instance off by so much; 0: as usual. Of an instance it is done by a library that
	// stands before libc, so a static program has none that can be set.
	Skew func(ctx context.Context, name string, by time.Duration) error

	StopRegistry, StartRegistry func(ctx context.Context) error
	// Pull says whether the image of a release can be pulled now: nil, or why it cannot.
	Pull func(ctx context.Context, release string) error

	// Nameless says that no instance has a name before it is there, as pods have none.
	Nameless bool
	// KillPod ends one of the pods of a service that serve, without notice.
	KillPod func(ctx context.Context, service string) (Pod, error)
	// Pods are those of a service now.
	Pods func(ctx context.Context, service string) ([]Pod, error)

	// Drain has nothing new placed on the machine beside the one that holds the database, and what is there move as far as
	// disruption budgets allow it. Undrain opens it again.
	Drain, Undrain func(ctx context.Context) error
	// StopKubelet stops what starts and ends pods on that machine. What runs on it goes on.
	StopKubelet, StartKubelet func(ctx context.Context) error
	// Worker is what that machine is like now.
	Worker func(ctx context.Context) (Worker, error)

	// HideImage takes the image of a release from all machines on which pods run, and nobody publishes it. ShowImage puts it
	// back.
	HideImage, ShowImage func(ctx context.Context, release string) error
	// HasImage is on how many of the machines it is.
	HasImage func(ctx context.Context, release string) (on, of int, err error)

	// PauseAPI stops the API server of the cluster as a machine does that has no time for it: connections to it come about,
	// and no answer comes.
	PauseAPI, ResumeAPI func(ctx context.Context) error
	// API is what its process is doing, and why it does not answer; empty: it does.
	API func(ctx context.Context) (is State, silent string, err error)

	// LimitPods allows as many pods as there are now, and UnlimitPods any number.
	LimitPods, UnlimitPods func(ctx context.Context) error
	// PodLimit tries whether one more pod would be let in, which changes nothing.
	PodLimit func(ctx context.Context) (PodLimit, error)

	// ForbidEviction has the disruption budgets of a service allow none, and AllowEviction what they did before.
	ForbidEviction, AllowEviction func(ctx context.Context, service string) error
	// MayEvict says why a pod of the service may not be evicted now; empty: it may.
	MayEvict func(ctx context.Context, service string) (refused string, err error)
}

// Pod is one of a service.
type Pod struct {
	Name  string
	ID    string // of this pod alone: a later one may have its name
	Ready bool
}

// PodLimit is how many pods there may be.
type PodLimit struct {
	Used, Hard int    // 0 of 0: any number
	Refused    string // why one more is not let in now; empty: it is
}

// Worker is a machine on which pods run.
type Worker struct {
	Name    string
	Open    bool  // new pods may be placed on it
	Pods    int   // that a drain moves
	Kubelet State // of what starts and ends them
	Ready   bool  // as the cluster sees it, which takes a while
}

// State is what the processes of an instance or a node are doing.
type State string

// The states.
const (
	Running State = "running"
	Paused  State = "paused" // all of its processes are stopped
	Gone    State = "gone"   // none is left
)

// LinkState is what a connection to the database is like. The zero value: as usual.
type LinkState struct {
	Slow    time.Duration // that each answer takes longer
	Dropped bool          // nothing gets through, and what is open is cut
}
