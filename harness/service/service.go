// Package service holds what people write about what is drilled (service.yaml, release.yaml, rollback plans), loaded
// and validated into plain values.
package service

import (
	"time"

	"backout/harness/evidence"
)

// Service is one service.yaml.
type Service struct {
	Name           string
	Path           string            // of service.yaml
	Dir            string            // its folder; every relative path in it is relative to this
	Tier           string            // critical, standard
	Instances      int               // 0: it is a schema alone, without anything that runs
	Process        *Process          // how it runs as processes of this machine; nil when it does not say
	Containers     *Containers       // how it runs in containers; nil when it does not say
	Kubernetes     *Kubernetes       // how it runs on Kubernetes; nil when it does not say
	Ready          string            // path of the readiness check, "/readyz"
	ReadyWithin    time.Duration     // how long an instance may take until it is ready
	Needs          map[string]string // programs that its processes and plans need of this machine -> what installs each
	Allow          []string          // hosts that plans and rollouts may name beside this machine
	Header         string            // the response header that names the release, "X-Release"
	InstanceHeader string            // the response header that names the instance, where nothing in front of it does
	Database       *Database
	Journeys       []Journey // in the order of the file
	Values         map[string]Values
	Env            map[string]string // for every instance; may hold {placeholders}
	Secrets        map[string]Secret
	Jobs           map[string]Job
	Effects        map[string]Effect
	Caches         map[string]Cache
	Sessions       map[string]string // kept value -> the journey that must still accept it
	Dependants     []string
	Stubs          map[string]Stub   // of what it calls; {url:NAME} is where
	People         map[string]Person // who can prove who they are, by name
	Forbidden      []Mix             // mixes of releases that must not serve
	Breaker        *Breaker          // when a release is to be rolled back without anybody's order; nil: never
	Lock           *Lock             // by which rollbacks on all machines take turns; nil: they do on one machine only
	Communication  Communication     // whom to tell of a rollback
	Hook           *Hook             // the team's own system, which is asked for the answers of people; nil: there is none
}

// Lock is a lease by which rollbacks on all machines take turns: in a Postgres database that no rollback restores, or in a cluster.
type Lock struct {
	Postgres   string        // the variable that leads to the database: of the operator's environment, and handed out in a drill
	Kubernetes *LockCluster  // in place of Postgres
	Expires    time.Duration // after the last renewal
}

// LockCluster is where a Lease of Kubernetes lies. A drill has one in its own namespace.
type LockCluster struct {
	Context   string // of the kubeconfig that kubectl finds
	Namespace string
}

// Words say where the lease is.
func (l *Lock) Words() string {
	if l.Kubernetes != nil {
		return "a Lease in the namespace " + l.Kubernetes.Namespace + " of " + l.Kubernetes.Context
	}
	return "the database of " + l.Postgres
}

// Hook is a system of the team's own that has the answers which people give.
type Hook struct {
	URL string // the variable that leads to it, of the harness's own environment
}

// Targets within which service must be restored, by tier.
const (
	TargetCritical = 5 * time.Minute
	TargetStandard = 15 * time.Minute
)

// Process is how an instance runs as a process.
//
// Placeholders in Env (and in Service.Env): {address} the host:port to listen on, {release}, {instance}, {data} the
// folder that all its instances share (DATA of a plan's commands),
// {database_url}, {database_url_streaming}, {database_url_logical} of the service's own database,
// {database_url:NAME} and {database_url_logical:NAME} of another service's, {url:NAME} the proxy's URL of another service or the URL of a stub,
// {cache_url} the service's own cache, or {cache_url:NAME} where it has several.
type Process struct {
	Build   []string // makes a release's artefact; run in Dir with OUT (a folder) and RELEASE (its folder) in the environment; empty: the release's folder holds it
	Command []string // started in the deployed directory
	Env     map[string]string
}

// The kinds of environment by which service.yaml says how a service runs.
const (
	InProcesses  = "process"
	InContainers = "containers"
	InKubernetes = "kubernetes"
)

// ArgoCD brings what is committed to a repository to the cluster. Flux would be another one that does.
const ArgoCD = "argocd"

// Runs says whether the service runs in a kind of environment: it is not a schema alone, and says how.
func (s *Service) Runs(kind string) bool {
	switch kind {
	case InProcesses:
		return s.Process != nil
	case InContainers:
		return s.Containers != nil
	case InKubernetes:
		return s.Kubernetes != nil
	}
	return false
}

// EnvIn is what an instance finds in its environment in one kind of environment alone.
func (s *Service) EnvIn(kind string) map[string]string {
	switch {
	case !s.Runs(kind):
		return nil
	case kind == InProcesses:
		return s.Process.Env
	case kind == InContainers:
		return s.Containers.Env
	}
	return s.Kubernetes.Env
}

// BuildIn is the command that makes a release's artefact for a kind of environment; empty: nothing is to be made.
func (s *Service) BuildIn(kind string) []string {
	switch {
	case !s.Runs(kind):
		return nil
	case kind == InProcesses:
		return s.Process.Build
	}
	return s.Containers.Build // Kubernetes runs the images of containers
}

// Containers is how an instance runs in a container. Exactly one of Dockerfile, Image and Compose is set. The context of
// a build is the deployed directory of the release: its artefact, migrations, plans and scripts. Placeholders in Env are
// those of Process; {address} is 0.0.0.0 and Port.
type Containers struct {
	Dockerfile string   // makes the image of a release
	Image      string   // or the image is pulled or there already; {release} stands for the release in it
	Compose    string   // or a compose file says how it is made and run; Env is then for the file's own variables
	Of         string   // the service of the compose file that an instance is
	Build      []string // makes a release's artefact as Process.Build does, and is the same unless stated
	Port       int      // that it listens on inside
	Command    []string // in place of the image's own; empty: that one
	Env        map[string]string
}

// Kubernetes is how the service runs on Kubernetes: by a Helm chart or by plain manifests. The image of a release is the one
// that Containers makes or names. Placeholders in Env are those of Process; {address} is 0.0.0.0 and Port.
//
// Placeholders in the texts of Values, and as ${IMAGE} in the manifests, where any other ${NAME} is left alone: {image} the
// repository of the service's images, {release} the tag of the one that is deployed, {instances}, {port}, {node_port} on which
// users' requests come in, {environment} the name of the Secret of all that Env says, {admin} that of the Secret with
// DATABASE_URL, DATABASE_URL_STREAMING and DATABASE_URL_LOGICAL of who may change the schema, {namespace} of the drill. Where
// it is deployed by GitOps, {repository} is the URL of the repository inside the cluster, and {git_image} an image with git.
type Kubernetes struct {
	Chart      string         // folder of a Helm chart
	Manifests  string         // or a folder of plain manifests
	GitOps     string         // what brings the manifests from a Git repository to the cluster: ArgoCD; empty: commands do
	Port       int            // that its pods listen on
	Pods       string         // label selector of the pods that run a release
	Background int            // how many of them take no requests, such as workers: they come on top of Instances
	Values     map[string]any // of the chart; a text that is one placeholder and reads as a whole number becomes one
	Env        map[string]string
}

// Database is the service's own database; it is named as the service.
type Database struct {
	Migrations string            // folder of goose migrations; empty: Load makes the schema, and plain SQL changes it
	Publish    []string          // tables replicated logically, never goose's
	Settings   map[string]string // of postgresql.conf, laid over the environment's
	References []Reference       // those that the schema does not declare
	Invariants map[string]string // name -> a query that returns the violating rows: none when it holds
	Frozen     map[string]string // table -> predicate of the rows that traffic never touches
	// Load fills a fresh database after the migrations: a SQL file, which may use :rows_TABLE; or what pg_dump wrote, plain or
	// an archive, which comes before the migrations when it holds goose's record of them.
	Load        string
	LoadCommand []string       // in its place: a program run in Dir with DATABASE_URL and ROWS_TABLE
	Rows        map[string]int // table -> rows that are there then; a scenario may state other numbers
	Production  string         // a file that `backout schema` wrote of production's schema; empty: nobody compares
}

// Reference is a foreign key that is not declared: every From has a To.
type Reference struct{ From, To Column }

// Column is a column of a table.
type Column struct{ Table, Name string }

// Journey is a synthetic user transaction.
type Journey struct {
	Name   string
	Weight int
	Lost   int    // acknowledged writes that may be lost
	Why    string // the reason, required when Lost is not 0
	Steps  []Request
}

// Request is one request of a journey. Texts hold {placeholders}: {user} (the number of the user), {uuid} (one a journey),
// names of Service.Values (one pick a journey), and values kept by earlier requests.
type Request struct {
	Method  string
	Path    string
	Body    any // JSON; nil: none
	Headers map[string]string
	Expect  int           // the status that is success
	Refused []int         // statuses that leave a write refused
	Keep    []Keep        // values taken from the response
	Once    bool          // once a user: skipped when the user has all its kept values; dropped when a later step answers 401
	Until   time.Duration // try again until Expect or this long has passed: the time until a write is visible; 0: once
	Write   *Write
	Cancel  string // the key of the write that this request takes back; acknowledged: it must not be there
	Line    int    // in service.yaml
}

// Keep is a value taken from a response by a path such as $.token.
type Keep struct{ Name, Path string }

// Write says that a request writes and how to find the write again.
type Write struct {
	Key string // client-made, "{uuid}"
	// Find is SQL with $1 = key: a row for each time that the write exists; its columns are compared with Payload. Or a
	// request, "GET /notes/{key}": 404 when it is not there, else 200 with an object, or a list of objects, one for each time.
	Find    string
	Payload map[string]any // column -> what was sent; "$.path" takes it from the acknowledgement
	All     string         // SQL, or a request that answers with a list: the keys of all writes of this kind; one that nobody sent is a phantom
}

// Values is what a placeholder draws from.
type Values struct {
	List    []string // either these
	Pattern string   // or a fmt pattern with one %d from From to To
	From    int
	To      int
}

// Secret is never in evidence, reports or logs.
type Secret struct {
	File string // its text without the final newline
	Env  string // a variable of the harness's own environment
}

// Job is a kind of background job.
type Job struct {
	Open   string // SQL: id and creation time of the jobs that are open
	Failed string // SQL: ids of those that failed for good
}

// Cache is a Redis or Valkey that the service reads through.
type Cache struct {
	URL    string // the variable that a plan's env may name: CACHE_URL, CACHE_URL_PAGES
	ReadBy string // a journey that reads through it
	Stale  string // Lua, run read-only on the cache: how many entries the good release cannot read
}

// Effect is what a write must cause elsewhere, exactly so often.
type Effect struct {
	Of    string // a journey that writes
	At    string // a stub; a dependant or the service itself, asked over HTTP; empty: SQL on the service's own database
	Count string // "GET /charges?order_key={key}", answered with {"count": n}; of a stub the route, "POST /charges"; or SQL with $1 = key returning a number
	Each  int    // how often for each acknowledged write that was not taken back
}

// Release is one release.yaml; its folder may hold migrations/, plans, scripts and what Build needs.
type Release struct {
	Service      *Service // whose release it is
	Name         string
	Dir          string
	KnownBad     string
	Harms        []Harm
	Traps        map[string]Trap
	Good         bool
	Within       time.Duration // of harms or traps
	MigrateTo    int64         // the highest migration that it has
	ReachesN     int           // instances; 0: all
	ReachesM     int64         // migration; 0: MigrateTo
	MayTransform []Transform
	With         map[string]string   // dependants that are deployed and rolled back together with it -> the release that each gets
	Env          map[string]string   // for the rollout, as in a plan
	Measured     []evidence.Measured // what its ways back took, as its authors measured it
	Rollouts     map[string][]Step   // how production deploys it over the one before, by way of deploying: process, containers, kubernetes
}

// Harm is what users suffer; exactly one threshold is set.
type Harm struct {
	Service      string // a dependant; empty: the service itself
	Journey      string
	SuccessBelow float64
	LatencyAbove time.Duration
	Restarts     int
	MemoryAbove  int64
	Invariant    string
	JobsFailed   string
}

// Trap is state that the rollback will meet: exactly one of Count, Cache and Command says how much of it there is.
type Trap struct {
	Count   string // SQL that returns one number
	Cache   string // a cache of service.yaml: the entries in it that the good release cannot read
	Command string // run by sh in the deployed directory of the release, with its env: it prints one number
	AtLeast float64
}

// Transform is a field that the rollback may change.
type Transform struct {
	Journey, Field, Why string
	AtMost              int
}

// Plan is a rollback plan, rollback.yaml or NAME.yaml beside release.yaml.
type Plan struct {
	Release *Release // beside which it lies
	Name    string
	Path    string
	From    string // the release that is rolled back; steps run in its deployed directory
	To      string
	Risk    string
	// Approval is whom it asks before its first step; nil: it does not say, see Asks.
	Approval *Approval
	Ceiling  *Ceiling          // the most that it may touch before people are asked; nil: no limit
	Schema   int64             // target schema when it is not the baseline
	Env      map[string]string // the script's name -> what the environment hands out
	EnvLine  int               // where it stands; 0: nowhere
	Before   []Check
	Steps    []Step
	Graph    bool // some step says what it needs; otherwise each needs the one before it
	After    []Check

	Sabotage *Sabotage // what is wrong with it on purpose; nil: it is meant to be right

	Communication Communication // what it says otherwise than service.yaml
}

// Mix is a release of the service together with others that it does not work with.
type Mix struct {
	Release string
	With    map[string]string // a dependant -> its release; "schema" -> the release whose schema it is
	For     time.Duration     // how long it may serve all the same
}

// Sabotage is what makes a plan defective, so that a control can show that its drill notices.
type Sabotage struct {
	What   string        // in a few words
	Shown  string        // a command, run by sh as a step is, whose exit code 0 says that the sabotage took effect; empty: people are told otherwise, and what they were told shows it
	Within time.Duration // after the last step; it is asked again until then
}

// Check is one pre-check or validation: exactly one of the fields is set.
type Check struct {
	Line       int
	Database   *Identity     // the right database and role
	Unblocked  []string      // tables: nothing in the way of the steps' locks
	BeforeStep int           // of Unblocked: asked right before this step, from 1; 0: before the plan starts, as all others are
	Dependants string        // "compatible"
	Artefact   string        // a release: its artefact is present
	Serves     string        // every instance serves this release
	Journey    string        // this journey succeeds
	Revision   *Question     // the target is there, and the one that is meant
	Kubectl    *Kubectl      // the right cluster and namespace
	Lag        *Lag          // readers of the database are near enough
	Backup     *Backup       // there is one, and it is young enough
	Space      *Space        // there is room for the way back
	Command    *Question     // of validations: a command prints what it must
	Within     time.Duration // of validations, 30 s unless stated
}

// Identity is where a plan must be connected to. URL is the name of a variable of the plan's env; empty: the first.
type Identity struct{ Name, Role, URL string }

// Step is one command, run by sh in the deployed directory of the release.
type Step struct {
	Line    int
	RunLine int // the line where Run begins
	Name    string
	Run     string
	Timeout time.Duration
	Again   string // safe, refuse
	Output  string // a regular expression that its output must match; empty: none
	// Expires: a person must approve it before it runs, within this time; 0: it asks nobody.
	Expires time.Duration
	// What follows is of a plan's steps only.
	Of      string // the service that it puts back; empty: the drilled one, or nobody says
	Needs   []int  // steps, from 1, that must have ended well before it begins; see Plan.NeedsOf
	Barrier bool   // it needs everything above, and everything below needs it
	Fails   string // Stops, Continues, Compensates; empty: Stops
	Undo    *Undo  // how it is taken back; nil: it never is
}

// Instance is one running instance and how to reach it alone.
type Instance struct {
	Name     string
	Service  string
	URL      string     // "http://127.0.0.1:PORT"
	PID      func() int // of the process now, 0 when there is none; nil where the environment has no processes
	Restarts func() int // since provisioning; nil where unknown
	// Blind says why the way to ask it alone is cut, so that no answer says nothing of it; nil where nothing lies between.
	Blind func() error
}

// Node is one Postgres node and how to reach it alone.
type Node struct {
	Name string     // primary, streaming, logical
	Role string     // primary, streaming, logical
	URL  string     // of the service's database, as a superuser; secret
	PID  func() int // of its postmaster
}
