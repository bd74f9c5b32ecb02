package evidence

import "time"

// Run is the first event of a log: the whole resolved drill, so that judging needs nothing else. Filled by scenarios
// and service, written by drill.
type Run struct {
	Name    string   `json:"name"`    // the scenario's name
	Feature string   `json:"feature"` // the feature's name
	Path    string   `json:"path"`    // of the feature file
	Line    int      `json:"line"`    // of the scenario
	Text    string   `json:"text"`    // the feature file's text
	Tags    []string `json:"tags,omitempty"`
	Again   string   `json:"again"` // the command that repeats this drill

	Seed        int64     `json:"seed"`
	Started     time.Time `json:"started"`
	Environment string    `json:"environment"`
	Alone       bool      `json:"alone"` // nothing ran beside it: latency is judged
	Windows     Windows   `json:"windows"`
	Traffic     Traffic   `json:"traffic"`

	Service    Service    `json:"service"`
	Dependants []Service  `json:"dependants,omitempty"`
	Together   []Together `json:"together,omitempty"` // dependants that are deployed and rolled back together with the service
	Good       string     `json:"good"`               // the release before, and the target of the rollback
	Release    Release    `json:"release"`
	Plan       Plan       `json:"plan"`
	Instances  []string   `json:"instances"` // of the drilled service, by name
	Nodes      []string   `json:"nodes"`     // Postgres nodes, by name; none without a database
	// Rows is how many rows a table was asked to have. Absent where nobody stated it, and in older runs.
	Rows map[string]int `json:"rows,omitempty"`
	// Replicas says that instances come and go, as pods do, and that so many of them must serve; 0: they are those in Instances.
	Replicas int `json:"replicas,omitempty"`

	Earnest *Earnest `json:"earnest,omitempty"` // it is no drill: a plan was run in earnest
	// Starter is who started the rollback, and has proved it; empty: a detection or somebody unknown.
	Starter  string    `json:"starter,omitempty"`
	Approver *Approver `json:"approver,omitempty"` // a person whom the drill plays
	Taker    *Approver `json:"taker,omitempty"`    // a person whom the drill plays, and to whom the incident is handed
	Second   *Second   `json:"second,omitempty"`   // a second operator starts the same rollback
	Lease    bool      `json:"lease,omitempty"`    // rollbacks on all machines take turns by a lease
	Budget   *Budget   `json:"budget,omitempty"`   // acknowledged writes that may be lost, those included that took one back
	Death    *Death    `json:"death,omitempty"`    // the machine dies that runs the rollback
	// Trips says that the breaker decides to roll back, in place of the harm that is seen.
	Trips bool  `json:"trips,omitempty"`
	Herd  *Herd `json:"herd,omitempty"` // clients come back when service is restored

	Communication *Communication `json:"communication,omitempty"` // whom to tell; nil in older runs

	Mutant *Mutant         `json:"mutant,omitempty"` // the plan was changed by a rule
	Faults []DeclaredFault `json:"faults,omitempty"` // what is done to the environment while the plan runs

	PromiseList int       `json:"promise_list"` // version of the list of promises that always hold
	Promises    []Promise `json:"promises"`     // those that the scenario states
	Expect      *Expect   `json:"expect,omitempty"`

	Versions map[string]string `json:"versions"` // of backout, Go, Postgres, goose ...
	Digests  map[string]string `json:"digests"`  // path -> sha256 of plan, scripts, migrations, feature
	// Rollback names those of Digests on which the rollback itself rests: the plan, the scripts that it names, and the
	// migrations up to the release's number. Absent in older runs.
	Rollback []string          `json:"rollback,omitempty"`
	Machine  map[string]string `json:"machine,omitempty"` // cores, memory, kernel, load
}

// Windows are the stated lengths of a run, in seconds.
type Windows struct {
	Name      string  `json:"name"`      // gate, quarterly
	Baseline  float64 `json:"baseline"`  // how long the steady state is measured
	Stability float64 `json:"stability"` // how long service must stay restored
	Patience  float64 `json:"patience"`  // how long nothing may change before watching ends
	Beat      float64 `json:"beat"`      // probes write at least so often
	Probe     float64 `json:"probe"`     // the interval of probes
}

// Traffic is what was asked of the load.
type Traffic struct {
	Rate     float64 `json:"rate"` // journeys per second
	Users    int     `json:"users"`
	InFlight int     `json:"in_flight"` // the limit; arrivals beyond it are unsent
}

// Service is what judging and reports need to know of a service.
type Service struct {
	Name       string   `json:"name"`
	Tier       string   `json:"tier"`   // critical, standard
	Target     float64  `json:"target"` // seconds within which service must be restored
	Journeys   []string `json:"journeys"`
	Writes     []string `json:"writes,omitempty"` // journeys that write
	Budgets    []Budget `json:"budgets,omitempty"`
	Effects    []string `json:"effects,omitempty"`
	Jobs       []string `json:"jobs,omitempty"`
	Caches     []string `json:"caches,omitempty"`
	Sessions   []string `json:"sessions,omitempty"`
	Invariants []string `json:"invariants,omitempty"`
	References []string `json:"references,omitempty"` // undeclared ones, "refunds.order_id -> orders.id"
	Frozen     []string `json:"frozen,omitempty"`     // tables with a frozen cohort
	Database   bool     `json:"database"`
	Unrecorded bool     `json:"unrecorded,omitempty"` // its database has no migrations that a tool records
	Forbidden  []Mix    `json:"forbidden,omitempty"`  // mixes of releases that must not serve
	// Breaker is the rules of its circuit breaker; nil: it has none.
	Breaker *BreakerRules `json:"breaker,omitempty"`
	// Readers names, for each cache, a journey that reads through it.
	Readers map[string]string `json:"readers,omitempty"`
}

// Mix is a release of the service together with other services' releases, or with the schema of a release, that must not serve for
// longer than so many seconds.
type Mix struct {
	Release string            `json:"release"`
	With    map[string]string `json:"with"` // a dependant -> its release; "schema" -> the release whose schema it is
	For     float64           `json:"for"`
}

// BreakerRules are when a circuit breaker trips and closes. Lengths are in seconds.
type BreakerRules struct {
	Times    float64 `json:"times"`    // a journey's share of failures, over the baseline's
	Share    float64 `json:"share"`    // and at least so much of 1
	Failures int     `json:"failures"` // and at least so many
	Within   float64 `json:"within"`   // counted over so long
	Readings int     `json:"readings"` // in a row that find an invariant broken
	Off      float64 `json:"off"`      // a metric has been an alert for so long
	Closes   float64 `json:"closes"`   // when nothing has come half as far for so long
}

// Budget allows so many acknowledged writes of a journey to be lost, for a reason that is written.
type Budget struct {
	Journey string `json:"journey,omitempty"` // empty in Run.Budget: all journeys together
	Lost    int    `json:"lost"`
	Why     string `json:"why"`
}

// Release is what a release states of itself: exactly one of Harms, Traps, Good.
type Release struct {
	Name      string  `json:"name"`
	KnownBad  string  `json:"known_bad,omitempty"` // why, in words
	Harms     []Harm  `json:"harms,omitempty"`
	Traps     []Trap  `json:"traps,omitempty"`
	Good      bool    `json:"good,omitempty"`
	MigrateTo int64   `json:"migrate_to,omitempty"`
	Within    float64 `json:"within"` // seconds after deployed by which harm or trap must be seen
	// Reaches is what the deploy must have reached; nil: every instance and every migration up to MigrateTo.
	Reaches      *Reach      `json:"reaches,omitempty"`
	MayTransform []Transform `json:"may_transform,omitempty"`
	// Schema says that the release changes it, so that harm counts whoever answers.
	Schema bool `json:"schema,omitempty"`
	// Measured is what its authors measured of its ways back, outside of any drill; the first way is what the others are held against.
	Measured []Measured `json:"measured,omitempty"`
}

// Measured is what one way back from a release took at one volume. Times are in seconds.
type Measured struct {
	Rows    int     `json:"rows"`
	Way     string  `json:"way"`
	Seconds float64 `json:"seconds"`         // until the way had been gone
	Blocked float64 `json:"blocked"`         // the longest that somebody who wrote beside it waited
	Keep    float64 `json:"keep,omitempty"`  // what was kept for it before the migration took so long
	Bytes   int64   `json:"bytes,omitempty"` // and takes so much room
	Runs    int     `json:"runs"`            // the figures are medians of so many
	Load    string  `json:"load"`            // of the machine, when it was measured
}

// Together is a dependant that is deployed and rolled back together with the drilled service.
type Together struct {
	Service string `json:"service"`
	Release string `json:"release"` // that it gets
	Target  string `json:"target"`  // that it ran before, and comes back to
}

// Reach limits what a release reaches.
type Reach struct {
	Instances int   `json:"instances,omitempty"` // how many; 0: all
	Migration int64 `json:"migration,omitempty"` // up to this number; 0: MigrateTo
}

// Harm is what users suffer before the decision. One threshold is set.
type Harm struct {
	Service      string  `json:"service,omitempty"` // a dependant; empty: the drilled service
	Journey      string  `json:"journey,omitempty"`
	SuccessBelow float64 `json:"success_below,omitempty"` // share of 1
	LatencyAbove float64 `json:"latency_above,omitempty"` // p95, ms
	Restarts     int     `json:"restarts,omitempty"`      // at least so many in an instance, after deployed
	MemoryAbove  int64   `json:"memory_above,omitempty"`  // bytes in an instance
	Invariant    string  `json:"invariant,omitempty"`     // is broken
	JobsFailed   string  `json:"jobs_failed,omitempty"`   // this kind of job
}

// Trap is state that the rollback will meet.
type Trap struct {
	Name    string  `json:"name"`
	AtLeast float64 `json:"at_least"`
}

// Transform allows the rollback to change a field of so many acknowledged writes.
type Transform struct {
	Journey string `json:"journey"`
	Field   string `json:"field"`
	AtMost  int    `json:"at_most"`
	Why     string `json:"why"`
}

// Plan is the rollback plan as a reader sees it.
type Plan struct {
	Name   string     `json:"name"`
	Path   string     `json:"path"`
	Risk   string     `json:"risk,omitempty"`
	From   string     `json:"from"`
	To     string     `json:"to"`
	Schema int64      `json:"schema,omitempty"` // target schema, when it is not each node's baseline
	Before []string   `json:"before,omitempty"` // pre-checks in words
	Steps  []PlanStep `json:"steps"`
	After  []string   `json:"after,omitempty"` // validations in words

	Approval *PlanApproval `json:"approval,omitempty"` // whom it asks before its first step; nil: nobody

	Ceiling map[string]float64 `json:"ceiling,omitempty"` // the most that it may touch: instances, pods, rows, traffic (a share of 1)

	Sabotage string `json:"sabotage,omitempty"` // what is wrong with it on purpose: the drill is a control
}

// PlanApproval is whom a plan asks before its first step.
type PlanApproval struct {
	How    string  `json:"how"`               // automatic, manual, hybrid
	Within float64 `json:"within,omitempty"`  // seconds
	GoesOn bool    `json:"goes_on,omitempty"` // nobody's word within them lets it go on; else it stops
	Two    bool    `json:"two,omitempty"`     // who approves is not who started it, and both have proved who they are
}

// PlanStep is one step of a plan.
type PlanStep struct {
	Name    string  `json:"name"`
	Run     string  `json:"run"`
	Timeout float64 `json:"timeout"` // seconds
	Again   string  `json:"again"`   // safe, refuse
	// Expires: it waits until a person approves it, for so many seconds; 0: it asks nobody.
	Expires float64 `json:"expires,omitempty"`
	Of      string  `json:"of,omitempty"`    // the service that it puts back
	Place   string  `json:"place,omitempty"` // among the others, in words; empty: after the one before it
	Fails   string  `json:"fails,omitempty"` // what becomes of the plan when it fails: stop, continue, compensate; empty: stop
	Undo    string  `json:"undo,omitempty"`  // what takes it back; "nothing": nothing has to; empty: it is not taken back
}

// Approver is a person whom the drill plays, with a key of the drill's own: asked, the person approves or takes over, or tries to.
type Approver struct {
	By    string  `json:"by"`
	After float64 `json:"after"` // seconds after being asked
}

// Second is a second operator who starts the same rollback while the first one runs it.
type Second struct {
	Before    int  `json:"before"`              // this step of the first one, from 1
	Elsewhere bool `json:"elsewhere,omitempty"` // on another machine, where the lock of the first one's is not seen
}

// Earnest says how a plan is run outside of a drill. Nothing is deployed, there is no traffic, and nothing is known of before.
type Earnest struct {
	Operator string   `json:"operator"`
	From     int      `json:"from,omitempty"`    // the step with which it begins, by the operator's word; 0: with the first, or where it was left
	Resume   bool     `json:"resume,omitempty"`  // it goes on with what an earlier run left
	Without  []string `json:"without,omitempty"` // pre-checks that were left out by the operator's word
	Why      string   `json:"why,omitempty"`     // that word
}

// Death is the machine dying that runs the rollback. Somebody starts the plan again on another one, with the step that it
// died in.
type Death struct {
	Step      int    `json:"step"`                 // during which, from 1
	Says      string `json:"says,omitempty"`       // what the step has said by then; empty: anything, or its first effect was seen
	FromStart bool   `json:"from_start,omitempty"` // it is started again from the first step
}

// Herd is clients who had given up while service was bad and come back when it has been restored, beside those who come
// anyway.
type Herd struct {
	Times   float64 `json:"times"`   // the rate, in addition
	Seconds float64 `json:"seconds"` // so long
}

// Communication is whom to tell of the rollback, and by when.
type Communication struct {
	FirstNotice float64     `json:"first_notice"` // seconds within which the first notice is out, never shortened
	Updates     float64     `json:"updates"`      // seconds for which nobody waits longer for news, as stated
	Stable      float64     `json:"stable"`       // seconds that service must have stayed restored before the final word, as stated
	Shortened   float64     `json:"shortened"`    // Updates and Stable are so many times shorter in this run; 1: they are as stated
	TellFirst   string      `json:"tell_first"`   // at once, after the last step
	AllClear    string      `json:"all_clear"`    // when nothing is open, after the last step
	Receiver    string      `json:"receiver,omitempty"`
	Accepts     float64     `json:"accepts,omitempty"` // seconds within which the receiver must accept
	Transports  []Transport `json:"transports,omitempty"`
}

// Transport is one way to reach the people of a channel, by a name that holds no secret.
type Transport struct {
	Channel  string `json:"channel"`
	Name     string `json:"name"`
	Compared bool   `json:"compared,omitempty"` // what it got is compared with what was told
}

// Promise is a stated promise: the name of a check and its parameters.
type Promise struct {
	Check  string  `json:"check"`            // the name of a check in verdict/
	Text   string  `json:"text"`             // as the feature says it
	Within float64 `json:"within,omitempty"` // seconds
	Of     string  `json:"of,omitempty"`     // a journey, a dependant
}

// DeclaredFault is what a drill does to its environment while the plan runs: it is put in force before a step of the plan
// and lifted after one.
type DeclaredFault struct {
	Kind    string  `json:"kind"`               // pause, kill, cut ...: the names in fault/
	Of      string  `json:"of,omitempty"`       // an instance, a node, a service or a release
	Text    string  `json:"text"`               // as the feature says it: "web-2 is paused"
	Seconds float64 `json:"seconds,omitempty"`  // how slow, how late, how wrong
	Before  int     `json:"before"`             // the step before which it is put in force, from 1
	Until   int     `json:"until,omitempty"`    // the step after which it is lifted; 0: the last one
	ForGood bool    `json:"for_good,omitempty"` // it is never lifted in the drill, and what it took away is judged no more
}

// Mutant is a right rollback that a rule has changed, to see whether its drill notices.
type Mutant struct {
	Rule       string `json:"rule"`
	What       string `json:"what"`                 // was changed
	Equivalent string `json:"equivalent,omitempty"` // the written reason why it changes nothing
}

// Expect is a drill that expects a failure: a control, or a plan that must refuse.
type Expect struct {
	Fails   string `json:"fails,omitempty"`    // the check that must break
	Refuses string `json:"refuses,omitempty"`  // the pre-check that must stop the plan
	GivesUp bool   `json:"gives_up,omitempty"` // a step must fail, and the plan must take back what it has done
	// Also are further pre-checks that must find what they are there to find, each for itself: all are asked side by side.
	Also []string `json:"also,omitempty"`
}
