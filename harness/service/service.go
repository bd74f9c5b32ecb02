// Package service holds what people write about what is drilled (service.yaml, release.yaml, rollback plans), loaded
// and validated into plain values.
package service

import "time"

// Service is one service.yaml.
type Service struct {
	Name       string
	Path       string // of service.yaml
	Dir        string // its folder; every relative path in it is relative to this
	Tier       string // critical, standard
	Instances  int
	Process    *Process // how it runs as processes of this machine; nil when it does not say
	Ready      string   // path of the readiness check, "/readyz"
	Header     string   // the response header that names the release, "X-Release"
	Database   *Database
	Journeys   []Journey // in the order of the file
	Values     map[string]Values
	Env        map[string]string // for every instance; may hold {placeholders}
	Secrets    map[string]Secret
	Jobs       map[string]Job
	Effects    map[string]Effect
	Sessions   map[string]string // kept value -> the journey that must still accept it
	Dependants []string
}

// Targets within which service must be restored, by tier.
const (
	TargetCritical = 5 * time.Minute
	TargetStandard = 15 * time.Minute
)

// Process is how an instance runs as a process.
//
// Placeholders in Env (and in Service.Env): {address} the host:port to listen on, {release}, {instance},
// {database_url}, {database_url_streaming}, {database_url_logical} of the service's own database,
// {database_url:NAME} and {database_url_logical:NAME} of another service's, {url:NAME} the proxy's URL of another service.
type Process struct {
	Build   []string // makes a release's artefact; run in Dir with OUT (a folder) and RELEASE (its folder) in the environment; empty: the release's folder holds it
	Command []string // started in the deployed directory
	Env     map[string]string
}

// Database is the service's own database; it is named as the service.
type Database struct {
	Migrations string            // folder of goose migrations
	Publish    []string          // tables replicated logically, never goose's
	Settings   map[string]string // of postgresql.conf, laid over the environment's
	References []Reference       // those that the schema does not declare
	Invariants map[string]string // name -> a query that returns the violating rows: none when it holds
	Frozen     map[string]string // table -> predicate of the rows that traffic never touches
	Load       string            // a SQL file run on a fresh database after the migrations; it may use :rows_TABLE
	Rows       map[string]int    // table -> rows that Load makes; a scenario may state other numbers
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
	Key     string         // client-made, "{uuid}"
	Find    string         // SQL with $1 = key: a row for each time that the write exists; its columns are compared with Payload
	Payload map[string]any // column -> what was sent; "$.path" takes it from the acknowledgement
	All     string         // SQL: the keys of all writes of this kind; one that nobody sent is a phantom
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

// Effect is what a write must cause elsewhere, exactly so often.
type Effect struct {
	Of    string // a journey that writes
	At    string // a dependant, asked over HTTP; empty: SQL on the service's own database
	Count string // "GET /charges?order_key={key}", answered with {"count": n}; or SQL with $1 = key returning a number
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
	Env          map[string]string // for the rollout, as in a plan
	Rollout      []Step            // how production deploys it over the one before
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

// Trap is state that the rollback will meet.
type Trap struct {
	Count   string // SQL that returns one number
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
	Schema  int64             // target schema when it is not the baseline
	Env     map[string]string // the script's name -> what the environment hands out
	Before  []Check
	Steps   []Step
	After   []Check
}

// Check is one pre-check or validation: exactly one of the fields is set.
type Check struct {
	Line       int
	Database   *Identity     // the right database and role
	Unblocked  []string      // tables: nothing in the way of the steps' locks
	Dependants string        // "compatible"
	Artefact   string        // a release: its artefact is present
	Serves     string        // every instance serves this release
	Journey    string        // this journey succeeds
	Within     time.Duration // of validations, 30 s unless stated
}

// Identity is where a plan must be connected to. URL is the name of a variable of the plan's env; empty: the first.
type Identity struct{ Name, Role, URL string }

// Step is one command, run by sh in the deployed directory of the release.
type Step struct {
	Line    int
	Name    string
	Run     string
	Timeout time.Duration
	Again   string // safe, refuse
	Output  string // a regular expression that its output must match; empty: none
}

// Instance is one running instance and how to reach it alone.
type Instance struct {
	Name     string
	Service  string
	URL      string     // "http://127.0.0.1:PORT"
	PID      func() int // of the process now, 0 when there is none; nil where the environment has no processes
	Restarts func() int // since provisioning; nil where unknown
}

// Node is one Postgres node and how to reach it alone.
type Node struct {
	Name string     // primary, streaming, logical
	Role string     // primary, streaming, logical
	URL  string     // of the service's database, as a superuser; secret
	PID  func() int // of its postmaster
}
