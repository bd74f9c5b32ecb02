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
