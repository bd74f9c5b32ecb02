// Package evidence is the log of a drill: what was observed, when, on one monotonic clock.
//
// The kinds of event in this file are the contract between all parts of Backout. Each kind is one struct with its
// fields, their units and who writes it. Kinds and fields are added, never renamed, so that old runs can be judged
// again. The package imports nothing of ours.
package evidence

import (
	"math"
	"strconv"
	"time"
)

// Offset is a time in seconds since the start of the run, on the monotonic clock of the harness.
type Offset float64

// MarshalJSON writes the offset in seconds with four decimals, which is the resolution of the log.
func (o Offset) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(float64(o)*1e4)/1e4, 'f', -1, 64), nil
}

// Seconds is the offset of a duration since the start.
func Seconds(d time.Duration) Offset { return Offset(d.Seconds()) }

// Event is one line of the log. Exactly one of the pointers is set: its JSON key names the kind.
type Event struct {
	N int64  `json:"n"` // number of the event in its log, from 1; findings cite it
	T Offset `json:"t"` // when it was observed

	Run      *Run      `json:"run,omitempty"`
	Phase    *Phase    `json:"phase,omitempty"`
	Clock    *Clock    `json:"clock,omitempty"`
	Instance *Instance `json:"instance,omitempty"`
	Node     *Node     `json:"node,omitempty"`
	Journey  *Journey  `json:"journey,omitempty"`
	Write    *Write    `json:"write,omitempty"`
	Probe    *Probe    `json:"probe,omitempty"`
	Step     *Step     `json:"step,omitempty"`
	Lock     *Lock     `json:"lock,omitempty"`
	Alert    *Alert    `json:"alert,omitempty"`
	Fault    *Fault    `json:"fault,omitempty"`
	Approval *Approval `json:"approval,omitempty"`
	Message  *Message  `json:"message,omitempty"`
	Cache    *Cache    `json:"cache,omitempty"`
	Job      *Job      `json:"job,omitempty"`
	Schema   *Schema   `json:"schema,omitempty"`
	Chunk    *Chunk    `json:"chunk,omitempty"`
	Finding  *Finding  `json:"finding,omitempty"`
	Gap      *Gap      `json:"gap,omitempty"`

	Breaker *Breaker `json:"breaker,omitempty"`

	Pod       *Pod       `json:"pod,omitempty"`
	Endpoints *Endpoints `json:"endpoints,omitempty"`
	Sync      *Sync      `json:"sync,omitempty"`

	End *End `json:"end,omitempty"`
}

// Kind is any struct that can be the content of an event. Put stores it under its own key.
type Kind interface{ Put(*Event) }

// Phase begins a part of the drill; the next phase ends it. Written by drill.
// Names: provision, baseline, deploy, decide, rollback, watch, herd, quiet, audit, destroy.
type Phase struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"` // what it does, for people
}

// Clock marks an instant that only the drill knows. Written by drill. The clocks that follow from observation
// (first_bad, detected, users_restored, restored, converged of a replica) are computed by the verdict and are never
// in the log.
type Clock struct {
	Name string `json:"name"` // one of the Clock... names
	Why  string `json:"why,omitempty"`
}

// The names of clocks. Those above the gap are written by the drill, those below it are computed by the verdict.
const (
	ClockBaselineBegun   = "baseline_begun"
	ClockBaselineEnded   = "baseline_ended"
	ClockDeployBegun     = "deploy_begun"
	ClockDeployed        = "deployed"
	ClockDecided         = "decided"
	ClockApproved        = "approved"
	ClockStarted         = "started"
	ClockCommandReturned = "command_returned"
	ClockWatchEnded      = "watch_ended"
	ClockHerdBegun       = "herd_begun"  // clients come back who had given up
	ClockHerdEnded       = "herd_ended"  // the last of their journeys has ended
	ClockQuietBegun      = "quiet_begun" // arrivals stop
	ClockQuietReached    = "quiet_reached"
	ClockDataVerified    = "data_verified"
	ClockAllClear        = "all_clear"

	ClockFirstBad      = "first_bad"
	ClockDetected      = "detected"
	ClockUsersRestored = "users_restored"
	ClockRestored      = "restored"

	// ClockLastBadResponse is of instances that come and go: the last answer that users got from another release than the
	// target. "Command returned" is when status says that all is done; the gap between the two is what status did not say.
	ClockLastBadResponse = "last_bad_response"
)

// Instance is the state of one instance of a service, asked for alone, past the proxy. Written by observe when any
// field but the measurements changed, and as a beat every Windows.Beat.
type Instance struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	Up       bool   `json:"up"`                 // it answered an HTTP request, with whatever status
	Ready    bool   `json:"ready"`              // its readiness check answered 2xx
	Release  string `json:"release,omitempty"`  // what it says it is; empty when it did not answer
	PID      int    `json:"pid,omitempty"`      // 0 where there is none
	Restarts int    `json:"restarts,omitempty"` // since provisioning, those of deploys included
	Error    string `json:"error,omitempty"`
	// CPU is in cores since the last reading; Memory is the resident set in bytes.
	CPU    float64 `json:"cpu,omitempty"`
	Memory int64   `json:"memory,omitempty"`
}

// Pod is what a watch of the cluster said of a pod of a drilled service or a dependant. T is when the word arrived. Written
// by the environment. What a word says holds until the next one: there is no beat. While the watch is cut the environment
// writes a Gap of "pods", since nobody knows then.
type Pod struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	Event    string `json:"event"` // one of Pod...
	Node     string `json:"node,omitempty"`
	Image    string `json:"image,omitempty"`    // of its first container
	Owner    string `json:"owner,omitempty"`    // "ReplicaSet/web-7d9f", "StatefulSet/web", "DaemonSet/web"
	Reason   string `json:"reason,omitempty"`   // of failing: ImagePullBackOff, CrashLoopBackOff, Unschedulable ...
	Restarts int    `json:"restarts,omitempty"` // of its first container
}

// Events of a pod. One that fails for PodEvicted or PodSucceeded is finished, as if it were deleted: its object may stay.
const (
	PodCreated   = "created"
	PodScheduled = "scheduled"
	PodStarted   = "started"
	PodReady     = "ready"
	PodUnready   = "unready"
	PodRestarted = "restarted"
	PodFailing   = "failing"
	PodDeleting  = "deleting"
	PodDeleted   = "deleted"

	PodEvicted   = "Evicted"
	PodSucceeded = "Succeeded"
)

// Endpoints is to which pods a Service of Kubernetes sends requests. Written by the environment when that changes.
type Endpoints struct {
	Service string   `json:"service"`
	Pods    []string `json:"pods"` // ready, and those that still serve while they end
}

// Sync is what a controller of GitOps said of the application that a service is to it. T is when the word arrived. Written by
// the environment: of Argo CD from a watch of its Applications. Flux would say the same of its Kustomizations, with these events.
type Sync struct {
	Application string `json:"application"`
	Service     string `json:"service"`
	Event       string `json:"event"`              // one of Sync...
	Revision    string `json:"revision,omitempty"` // the commit that it is about
	Message     string `json:"message,omitempty"`
}

// Events of an application. That a commit has arrived in the repository is seen there, and not the controller's word.
const (
	SyncCommitted = "committed"
	SyncDetected  = "detected" // the controller has read the commit, and compared
	SyncSyncing   = "syncing"  // it applies it
	SyncSynced    = "synced"   // it has applied it
	SyncFailed    = "failed"   // it has tried
	SyncHealthy   = "healthy"  // all that was applied is as it should be
	SyncDegraded  = "degraded"
	SyncDrifted   = "drifted" // what is in the cluster is no longer what is in the repository
)

// Node is the state of one Postgres node. Written by observe on change and as a beat.
type Node struct {
	Name      string  `json:"name"` // primary, streaming, logical
	Role      string  `json:"role"` // primary, streaming, logical: what it is now
	Reachable bool    `json:"reachable"`
	Lag       float64 `json:"lag,omitempty"`       // seconds behind the primary; 0 on the primary
	LagBytes  int64   `json:"lag_bytes,omitempty"` // bytes of WAL behind the primary
	Digest    string  `json:"digest,omitempty"`    // raw catalog digest: a change is a change, equality proves nothing
	Migration int64   `json:"migration,omitempty"` // highest applied version
	Error     string  `json:"error,omitempty"`     // apply error, refused connection, disabled subscription
	CPU       float64 `json:"cpu,omitempty"`       // cores, all its processes
	Memory    int64   `json:"memory,omitempty"`    // bytes, all its processes
}

// Journey is one finished synthetic transaction. T is when it ended. Written by traffic.
type Journey struct {
	Name    string  `json:"name"`
	Service string  `json:"service,omitempty"` // whose journey; empty: the drilled service's
	User    int     `json:"user"`
	At      Offset  `json:"at"`                // when it was scheduled to start
	MS      float64 `json:"ms"`                // from the scheduled time to the end, so that queueing counts
	Outcome string  `json:"outcome"`           // ok, failed, unsent
	Step    int     `json:"step,omitempty"`    // the request that failed, from 1
	Status  int     `json:"status,omitempty"`  // its HTTP status; 0 when there was none
	Error   string  `json:"error,omitempty"`   // at most 200 bytes, redacted
	Blame   Serve   `json:"blame,omitempty"`   // who gave the failing answer
	Served  []Serve `json:"served,omitempty"`  // who answered, each pair once
	Visible float64 `json:"visible,omitempty"` // ms until the write could be read back, where the journey does so
	Trace   string  `json:"trace,omitempty"`   // W3C trace id, 32 hex digits
}

// Outcomes of a journey.
const (
	OK     = "ok"
	Failed = "failed"
	Unsent = "unsent" // scheduled, but the in-flight limit was reached
)

// Serve is who answered a request: "web-2@v1" (instance by the proxy's word, release by the response's header).
// "web-2@" is an answer that the proxy gave in place of web-2; "@v1" names no instance.
type Serve string

// Write is the ledger's record of one write. Written by traffic (invoked, acknowledged, refused, unknown) and by the
// audit (audited). The key is client-made. A cancellation is a write of its own, of the same key, with Cancels set.
type Write struct {
	Key     string `json:"key,omitempty"`
	Journey string `json:"journey,omitempty"`
	Event   string `json:"event"` // one of Invoked ... Audited
	Cancels bool   `json:"cancels,omitempty"`
	Status  int    `json:"status,omitempty"`
	Trace   string `json:"trace,omitempty"`

	// Of an audit only.
	Fate   string   `json:"fate,omitempty"`   // one of Kept ...
	Keys   []string `json:"keys,omitempty"`   // in place of Key, of writes that were kept: up to 500 in an event
	Rows   int      `json:"rows,omitempty"`   // rows found
	Fields []string `json:"fields,omitempty"` // `total: sent 10.00, found 0.00`
	Effect string   `json:"effect,omitempty"` // the effect that did not happen as often as it should; Rows counts it
}

// Events of a write.
const (
	Invoked      = "invoked"
	Acknowledged = "acknowledged"
	Refused      = "refused"
	Unknown      = "unknown"
	Audited      = "audited"
)

// Fates of a write at audit.
const (
	Kept        = "kept"
	Transformed = "transformed"
	Lost        = "lost"
	Duplicated  = "duplicated"
	Resurrected = "resurrected"
	Phantom     = "phantom"
	Absent      = "absent" // an unknown or refused write that is not there: nothing promised, nothing broken
)

// ProbeImpact is the name of a Probe that counts what a rollback touches, written by rollback: Of is "instances to be touched" before its
// first step, "instances touched", "pods touched", "rows touched", "traffic touched" (a share of 1) from then on.
const ProbeImpact = "impact"

// BeyondCeiling is how an Approval begins, in For, that is about more than the plan's ceiling.
const BeyondCeiling = "going beyond its ceiling: "

// Probe is one measured number. Written by observe when it changed and as a beat.
// Names: "trap" (Of: the trap's name), "invariant" (Of: its name; the number of violating rows), "load" (of the
// machine, runnable processes averaged over a minute). OK is false when it could not be read: Value then means nothing.
type Probe struct {
	Name  string  `json:"name"`
	Of    string  `json:"of,omitempty"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	OK    bool    `json:"ok"`
	Error string  `json:"error,omitempty"`
}

// Step is one event of one command that was run as production would run it. Written by rollback.
type Step struct {
	Part     string  `json:"part"`              // rollout, lock, before, step, undo, after
	Index    int     `json:"index"`             // from 1 within its part
	Name     string  `json:"name"`              //
	Event    string  `json:"event"`             // started, output, ended
	Command  string  `json:"command,omitempty"` // ready to paste, secrets redacted; with started
	Output   string  `json:"output,omitempty"`  // a piece of it, redacted; with output
	Stream   string  `json:"stream,omitempty"`  // stdout, stderr
	Outcome  string  `json:"outcome,omitempty"` // with ended: one of StepOK ...
	Exit     int     `json:"exit,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	Expected string  `json:"expected,omitempty"` // the expectation that was not met
	Error    string  `json:"error,omitempty"`
	Trace    string  `json:"trace,omitempty"`
	Span     string  `json:"span,omitempty"`
	By       string  `json:"by,omitempty"`     // of a second operator: who; empty: of the rollback that is judged
	Holder   *Holder `json:"holder,omitempty"` // with the lock: who holds it, as its taker wrote or as one who is refused was told
}

// Holder is who runs a rollback, as the lock's file says it.
type Holder struct {
	Operator string    `json:"operator"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Plan     string    `json:"plan"`
	Step     int       `json:"step,omitempty"` // that runs, from 1; 0: none has begun
	Steps    int       `json:"steps"`
	StepName string    `json:"step_name,omitempty"`
	Token    int64     `json:"token,omitempty"` // of the lease, which grows with each holder; absent where there is only a lock
}

// Parts and outcomes of a step.
const (
	PartRollout = "rollout" // deploying the release
	PartLock    = "lock"    // taking the lock on rollbacks; refused: somebody else holds it
	PartBefore  = "before"  // a pre-check
	PartStep    = "step"
	PartUndo    = "undo"  // taking a step of a failed plan back
	PartAfter   = "after" // validation

	StepOK         = "ok"
	StepFailed     = "failed"     // it exited with another code than 0, or the check found something
	StepUnexpected = "unexpected" // it exited 0 but its expectation was not met
	StepTimeout    = "timeout"
	StepRefused    = "refused" // a pre-check stopped the plan; of a step: it had begun before and must not be run twice
	StepSkipped    = "skipped" // an earlier one failed
	StepDied       = "died"    // the machine died that ran it
	StepEarlier    = "earlier" // it is not run, since an earlier run has ended it, or by an operator's word, which Error says
)

// Lock is how backends wait for locks on a node. Written by observe on change: Waiting 0 says that nobody waits.
type Lock struct {
	Node     string  `json:"node"`
	Waiting  int     `json:"waiting"`            // backends that wait, ours excluded
	Longest  float64 `json:"longest,omitempty"`  // seconds
	Relation string  `json:"relation,omitempty"` // of the longest wait
	Query    string  `json:"query,omitempty"`    // the waiting statement, shortened and redacted
	Blocker  string  `json:"blocker,omitempty"`  // the statement or state that blocks it
}

// Alert is raised and cleared. Written by observe. The metric must be worse than the baseline by all of: 10 % of it,
// 3 x spread, and its least step, for 5 s.
type Alert struct {
	Metric    string  `json:"metric"` // errors, latency, cpu, memory, lag
	Of        string  `json:"of,omitempty"`
	Event     string  `json:"event"` // raised, cleared
	Value     float64 `json:"value"`
	Baseline  float64 `json:"baseline"`
	Threshold float64 `json:"threshold"`
	Unit      string  `json:"unit"`
}

// Breaker is the word of the circuit breaker that can start a rollback by itself. Written by observe.
type Breaker struct {
	Event     string  `json:"event"`          // one of Breaker...
	Rule      string  `json:"rule,omitempty"` // errors, invariant, metric: the one that came furthest
	Of        string  `json:"of,omitempty"`   // a journey, an invariant, "latency of checkout"
	Value     float64 `json:"value,omitempty"`
	Baseline  float64 `json:"baseline,omitempty"`
	Threshold float64 `json:"threshold,omitempty"`
	Unit      string  `json:"unit,omitempty"`     // share, readings, s
	Samples   int     `json:"samples,omitempty"`  // armed: answers in the baseline; tripped, closed: within the rule's stretch; ended: all since it was armed
	Failures  int     `json:"failures,omitempty"` // among the samples
	Near      float64 `json:"near,omitempty"`     // how far the rule came: 1 trips; ended: the furthest ever
}

// Events of the breaker.
const (
	BreakerArmed   = "armed"   // the baseline is known: from now on it can trip
	BreakerTripped = "tripped" // it opens: the release is to be rolled back
	BreakerClosed  = "closed"  // no rule has come half as far for the stated time
	BreakerEnded   = "ended"   // it looks no more
)

// Fault is an event of a fault or a sabotage. A declared fault is written by drill, and every event of it but the first
// says what was observed: a fault that was asked for is in force when that was seen, and gone when that was seen. The
// sabotage of a plan is written by rollback.
type Fault struct {
	Name   string `json:"name"`
	Of     string `json:"of,omitempty"`
	Number int    `json:"number,omitempty"` // of the declared fault, from 1 in the order of Run.Faults; 0: a sabotage
	Event  string `json:"event"`            // one of Fault...
	Text   string `json:"text,omitempty"`   // what was seen
	Error  string `json:"error,omitempty"`
}

// Events of a fault.
const (
	FaultAsked      = "asked"
	FaultInForce    = "in force"     // it was seen so
	FaultNotInForce = "not in force" // it was seen that it is not, or not seen that it is
	FaultLifted     = "lifted"
	FaultGone       = "gone"     // it was seen so
	FaultNotGone    = "not gone" // it was not seen that it is
)

// Approval is a person's or a rule's decision about a running drill. Written by drill.
type Approval struct {
	By      string  `json:"by"`                // a person; Harness for what follows from a rule
	Event   string  `json:"event"`             // one of Approval...
	For     string  `json:"for,omitempty"`     // what it is about: "step 2: the old code", "the phase watch"; empty: the drill
	Why     string  `json:"why,omitempty"`     // the reason that was given
	Seconds float64 `json:"seconds,omitempty"` // asked: until it expires; goes on, approved, refused, expired: how long the drill waited for people
	Proof   string  `json:"proof,omitempty"`   // by what By has proved who that is: ProofKey, ProofToken; empty: by a name that was typed
}

// Events of an approval. A step of a plan that asks for approval is asked, and then approved, refused or expired. An order to
// pause acts where the drill comes next between two steps or phases: from "waits" to "goes on" it waits there for people.
// One that is aborted while it waits does not go on.
const (
	ApprovalAsked    = "asked"
	ApprovalApproved = "approved"
	ApprovalRefused  = "refused"
	ApprovalExpired  = "expired"
	ApprovalRejected = "rejected" // somebody answered who may not: Why says it, and it is waited on
	ApprovalPaused   = "paused"
	ApprovalWaits    = "waits"
	ApprovalResumed  = "resumed"
	ApprovalGoesOn   = "goes on"
	ApprovalAborted  = "aborted"

	// Of the formal handoff of the incident: For names the receiver.
	ApprovalHanded   = "handed over"
	ApprovalAccepted = "accepted"
	ApprovalDeclined = "declined"
	ApprovalLapsed   = "lapsed" // nobody answered in time

	ApprovalUnheard = "unheard" // the hook by which it is asked for cannot be asked: Why says it, and it is waited on

	// By what people prove who they are.
	ProofKey   = "key"   // a signature by their SSH key
	ProofToken = "token" // a token that is theirs

	Harness = "backout" // who gives no orders: a rule of the harness
)

// Message is what was told to people, or what became of it on one of the channel's transports. Written by rollback. While a
// transport is down there is a Gap of "channel CHANNEL by NAME".
type Message struct {
	Channel string `json:"channel"` // status, stakeholders
	Text    string `json:"text"`    // as it was told; empty: it is about the message Of
	Error   string `json:"error,omitempty"`

	Kind      string  `json:"kind,omitempty"`      // of what was told: one of Tells...
	Event     string  `json:"event,omitempty"`     // of a transport: one of Message...; empty: it was told, and is in the transcript
	Of        int64   `json:"of,omitempty"`        // of a transport: the number of the event that told it
	Transport string  `json:"transport,omitempty"` // its name, without a secret
	Tries     int     `json:"tries,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"` // since it was told
}

// What a message is for. On the channel of status each one is an action.
const (
	TellsAction    = "action"
	TellsFirst     = "first notice" // scope and impact
	TellsMilestone = "milestone"
	TellsUpdate    = "update"
	TellsCompleted = "completed" // with the caution about residual effects
	TellsAllClear  = "all clear" // the final word
	TellsHandoff   = "handoff"
	TellsOver      = "over" // the run ends without an all-clear
)

// What became of a message on a transport.
const (
	MessageDelivered = "delivered"
	MessageFailed    = "failed"   // its first try did; it is tried again
	MessageGivenUp   = "given up" // the run ended before a try did not fail
)

// Cache is the state of one cache. Written by observe when it changed and as a beat.
type Cache struct {
	Name  string `json:"name"`
	Stale int    `json:"stale"` // entries that the good release cannot read
	OK    bool   `json:"ok"`    // false: it could not be read
	Error string `json:"error,omitempty"`
}

// Job is a reading of one kind of background job. Written by observe when it changed and as a beat.
type Job struct {
	Name string `json:"name"`
	Open int    `json:"open"`
	// Oldest is the creation time of the oldest open job on the drill's clock; 0 when the database's clock says that it
	// is yet to come; absent when none is open.
	Oldest *Offset `json:"oldest,omitempty"`
	Failed int     `json:"failed"`
	OK     bool    `json:"ok"` // false: it could not be read
	Error  string  `json:"error,omitempty"`
}

// Schema is a canonical reading of a node's schema. Written by drill, which has observe read it while watching.
type Schema struct {
	Node   string `json:"node"`
	At     string `json:"at"`               // baseline, target, watch, audit; production: the primary's baseline against it
	Digest string `json:"digest,omitempty"` // of the canonical text
	Text   string `json:"text,omitempty"`   // the canonical text, a line an object; with baseline and target
	// Equal says whether it equals the node's target; Diff is the unified diff from the target to what was found.
	Equal   bool    `json:"equal"`
	Diff    string  `json:"diff,omitempty"`
	Applied []int64 `json:"applied,omitempty"` // the set of applied migrations, sorted
	Error   string  `json:"error,omitempty"`   // it could not be read
}

// Chunk is one fingerprint: of a whole table on a node (Lo and Hi empty) or of a chunk that differs from the
// primary's. Written by the audit.
type Chunk struct {
	Node   string   `json:"node"`
	Table  string   `json:"table"`
	Lo     string   `json:"lo,omitempty"`
	Hi     string   `json:"hi,omitempty"`
	Rows   int64    `json:"rows"`
	Sum    string   `json:"sum,omitempty"`    // order-free sum of row hashes, decimal
	Equal  bool     `json:"equal"`            // to the primary's
	Differ []string `json:"differ,omitempty"` // up to 20 rows: `id=17: coupon_code: primary 'A', logical NULL`
	Count  int64    `json:"count,omitempty"`  // rows that differ
	Error  string   `json:"error,omitempty"`
}

// Finding is the answer to one question that the audit asked of the system. Written by drill.
type Finding struct {
	Check   string   `json:"check"`             // one of the Check... names
	Of      string   `json:"of,omitempty"`      // node, table, reference, invariant, dependant ...
	Asked   bool     `json:"asked"`             // false: it could not be asked; Error says why
	Checked int64    `json:"checked,omitempty"` // how many rows, tokens, objects were looked at
	Bad     int64    `json:"bad,omitempty"`     // how many of them were wrong
	Rows    []string `json:"rows,omitempty"`    // up to 20 of the wrong ones, redacted
	Text    string   `json:"text,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// What the audit asks. The verdict reads these names.
const (
	CheckLedger     = "ledger"     // of a journey: every settled write was looked up; Checked counts them
	CheckPhantoms   = "phantoms"   // of a journey: all its rows were compared with the ledger
	CheckEffects    = "effects"    // of an effect
	CheckFrozen     = "frozen"     // of "node/table": rows compared with the copy made in the baseline
	CheckReferences = "references" // of "node/table.column -> table.column": orphans, also of declared foreign keys
	CheckInvariants = "invariants" // of "node/invariant" at the quiet point
	CheckSequences  = "sequences"  // of "node/sequence"
	CheckMigrations = "migrations" // of a node: the applied set against the real schema
	CheckJobs       = "jobs"       // of a kind of job, at the quiet point
	CheckSessions   = "sessions"   // of a kept value: those from before the deploy, tried again
	CheckDependants = "dependants" // of a dependant: its journeys after the rollback
	CheckQuiet      = "quiet"      // of a node: it reached the primary's LSN; Error names the cause
	CheckStubs      = "stubs"      // of "SERVICE/STUB": requests that it has no route for; shown, not judged
	CheckLeftovers  = "leftovers"  // of a node or "environment": what was not there before
	CheckMessages   = "messages"   // of "CHANNEL by STUB": Bad counts the messages of the transcript that the stub never got
)

// Gap is a stretch in which something was not observed. Written by observe when it ends, or at the end of the drill.
type Gap struct {
	Of   string `json:"of"` // a node, an instance, a probe: "node primary", "instance web-1", "job outbox"; "pods": the cluster's word of them; "channel status by NAME": a way to people that was down
	From Offset `json:"from"`
	To   Offset `json:"to"`
	Why  string `json:"why,omitempty"`
}

// End is the last event of a run that was not cut off.
type End struct {
	How string `json:"how"` // complete, interrupted, aborted, broke
	Why string `json:"why,omitempty"`
}

func (k *Run) Put(e *Event)      { e.Run = k }
func (k *Phase) Put(e *Event)    { e.Phase = k }
func (k *Clock) Put(e *Event)    { e.Clock = k }
func (k *Instance) Put(e *Event) { e.Instance = k }
func (k *Node) Put(e *Event)     { e.Node = k }
func (k *Journey) Put(e *Event)  { e.Journey = k }
func (k *Write) Put(e *Event)    { e.Write = k }
func (k *Probe) Put(e *Event)    { e.Probe = k }
func (k *Step) Put(e *Event)     { e.Step = k }
func (k *Lock) Put(e *Event)     { e.Lock = k }
func (k *Alert) Put(e *Event)    { e.Alert = k }
func (k *Fault) Put(e *Event)    { e.Fault = k }
func (k *Approval) Put(e *Event) { e.Approval = k }
func (k *Message) Put(e *Event)  { e.Message = k }
func (k *Cache) Put(e *Event)    { e.Cache = k }
func (k *Job) Put(e *Event)      { e.Job = k }
func (k *Schema) Put(e *Event)   { e.Schema = k }
func (k *Chunk) Put(e *Event)    { e.Chunk = k }
func (k *Finding) Put(e *Event)  { e.Finding = k }
func (k *Gap) Put(e *Event)      { e.Gap = k }
func (k *End) Put(e *Event)      { e.End = k }

func (k *Breaker) Put(e *Event) { e.Breaker = k }

func (k *Pod) Put(e *Event)       { e.Pod = k }
func (k *Sync) Put(e *Event)      { e.Sync = k }
func (k *Endpoints) Put(e *Event) { e.Endpoints = k }
