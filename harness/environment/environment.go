// Package environment says what a place where drills happen can do, and keeps the register of what was started.
// Its kinds are folders below it; features and checks know none of them.
package environment

import (
	"context"

	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/service"
)

// Options of an environment. The zero value works.
type Options struct {
	Cache       string            // of templates, artefacts and fetched programs; empty: os.UserCacheDir()/backout
	Temp        string            // the run's directory is made in it; empty: os.TempDir()
	Register    string            // folder of the register; empty: environment.RegisterDir()
	PostgresDir string            // of PostgreSQL's programs; empty: see postgres.Find
	Fetch       bool              // fetch PostgreSQL's programs when the machine has none
	Repository  string            // where they are fetched from; empty: Maven Central
	Gateway     []string          // the command that runs gateway.Run in a container; empty: this program with "gateway"
	Self        []string          // the command that runs control.Client, to which its arguments are added; empty: this program with "ctl"
	Progress    func(text string) // tells people what takes long, when Need.Progress is nil; may be nil
	Workers     int               // of kind: machines beside that of the control plane

	// Of a cluster that exists; other environments do not look at them.
	Context    string   // of the kubeconfig; never the current one unless it is named
	Namespace  string   // that the drill happens in, and leaves as it found it
	Kubeconfig string   // the file; empty: those that kubectl reads
	Forbid     []string // patterns of contexts, clusters, servers and namespaces in which no drill happens, over prod
	MaxPods    int      // of the drill; 0: kubernetes.DefaultMaxPods
	MaxShare   int      // percent of the namespace's pods, and of its quota, that are the drill's; 0: kubernetes.DefaultMaxShare
	Registry   string   // HOST/PREFIX to which images are pushed, and from which the cluster pulls them; empty: they are loaded into nodes of kind
}

// Need is what a drill wants provisioned.
type Need struct {
	Service     *service.Service
	Dependants  []*service.Service
	Good        *service.Release            // what every instance runs at first
	Releases    map[string]*service.Release // of dependants: what they run, by service
	Streaming   bool                        // a hot standby
	Logical     bool                        // a subscriber
	Synchronous bool                        // a commit waits until the hot standby has applied it
	Rows        map[string]int              // table -> rows, over the service's own
	Faults      []string                    // kinds of fault that the drill declares: what they need is prepared
	Progress    func(text string)           // tells people what takes long; may be nil
	Put         func(evidence.Kind)         // writes into the log what the environment itself observes, pods and endpoints; may be nil
	End         func(why error)             // ends the drill, which cannot go on safely; may be nil
	Now         func() evidence.Offset      // the drill's clock, for gaps in what is written with Put; nil where that is
}

// Environment is a place where one drill happens. It starts nothing before Provision and leaves nothing after Destroy.
type Environment interface {
	// Provision starts the database at the good release's schema with the data loaded and its replicas in sync, the
	// instances of the service and of its dependants on their good releases, and the way in for traffic. It returns
	// when all of it is ready.
	Provision(ctx context.Context, need Need) error

	// Stage makes the deployed directory of a release, without deploying it: the artefact, the migrations (the
	// service's and, laid over them, the release's), its plans and scripts. Commands of rollouts and plans run there.
	// The files of overlay, path -> text, are put in the place of those of the release; it counts for the first call only.
	Stage(ctx context.Context, r *service.Release, overlay map[string]string) (dir string, err error)

	// Artefact says what is missing of a release before it can be deployed; nil: nothing.
	Artefact(ctx context.Context, r *service.Release) error

	// Caches are the URLs of the service's caches by name. They are secret, since they hold a password.
	Caches() map[string]string

	// Variables is what a plan's env may name: DATABASE_URL, DATABASE_URL_STREAMING, DATABASE_URL_LOGICAL, each also with
	// ADMIN_ before it for the superuser, the names that caches have in service.yaml, such as CACHE_URL, and URL_NAME, where users
	// reach a dependant.
	// The values are secret where they hold a password.
	Variables() map[string]string

	// Platform is what every command of a rollout or a plan finds on the machine that it runs on: SUPERVISOR, PROXY,
	// INSTANCES, RELEASES, CACHE_CLI where there is a cache, and PRIMARY_INSIDE, where other nodes find the primary, as
	// host:port. Nothing in it is secret.
	Platform() map[string]string

	// URL is where traffic for a service goes in, or where a stub of it, "SERVICE/STUB", is called. A stub tells the harness
	// what it was asked: GET /-/count?route=POST+/charges&key=K and GET /-/unmatched.
	URL(service string) string

	// Instances and Nodes are what runs now, and how to reach each alone.
	Instances() []service.Instance
	Nodes() []service.Node

	// Clone starts, apart from what the drill observes, one fresh node at the good release's schema with its data, one
	// instance of the service's good release and one of each dependant, wired to each other.
	Clone(ctx context.Context) (*Clone, error)

	// Faults is what can be done to what runs. Which of it is nil is known before Provision. Destroy copes with whatever was
	// done.
	Faults() fault.Place

	// Versions of the programs that it uses, for the conditions of the run.
	Versions() map[string]string

	// Log is what an instance or a node has written, the last 64 KB.
	Log(name string) string

	// Destroy stops and removes everything and says what it could not remove. It may be called at any time and again.
	Destroy(ctx context.Context) error
}

// Clone is a side stage for pre-checks.
type Clone struct {
	DatabaseURL string            // of the service's database; secret
	URLs        map[string]string // service -> URL of its instance
	Close       func() error
}
