// Package verdict turns evidence into a verdict. It is pure: no clock, no files, no network, no context, and it
// imports evidence alone, so that a saved run is judged again with the same result byte for byte.
package verdict

import "backout/harness/evidence"

// Values of a verdict. Unknown is not success: what could not be judged is inconclusive.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// PromiseList is the version of the list of promises that always apply.
const PromiseList = 2

// Verdict is the judgement of one run.
type Verdict struct {
	Verdict     string `json:"verdict"`
	Because     string `json:"because"`            // one sentence
	Expected    *bool  `json:"expected,omitempty"` // of a drill that expects a failure: whether it was met
	ExpectedWhy string `json:"expected_why,omitempty"`
	PromiseList int    `json:"promise_list"`

	Assumptions []Assumption `json:"assumptions"`
	Promises    []Promise    `json:"promises"`
	Clocks      Clocks       `json:"clocks"`
	Speed       Speed        `json:"speed"`
	Silence     *float64     `json:"silence"` // seconds from "command returned" to restored; null: never restored
	Complete    bool         `json:"complete"`
	Shares      Shares       `json:"shares"`
	Replicas    []Replica    `json:"replicas"`
	Pods        []Pod        `json:"pods,omitempty"`  // of the drilled service, where instances come and go; from "deploy begun" on
	Syncs       []Sync       `json:"syncs,omitempty"` // of services that are deployed by GitOps; from "deploy begun" on
	Writes      []Window     `json:"writes"`
	Harm        string       `json:"harm,omitempty"` // what was seen, in words
}

// Exit codes of the command line; over several drills 3 beats 1 beats 2 beats 0.
const (
	ExitPass         = 0
	ExitFail         = 1
	ExitInconclusive = 2
	ExitBroke        = 3
)

// Assumption is what must hold for a promise to be judged.
type Assumption struct {
	Name     string  `json:"name"`
	Held     bool    `json:"held"`
	Finding  string  `json:"finding"`
	Evidence []int64 `json:"evidence,omitempty"`
}

// States of a promise.
const (
	Kept          = "kept"
	Broken        = "broken"
	Unjudged      = "not judged"
	NotApplicable = "not applicable"
)

// Promise is one check's result.
type Promise struct {
	Name     string   `json:"name"`           // the check's name, the same in every run
	Text     string   `json:"text,omitempty"` // as the feature says it, when it does
	State    string   `json:"state"`
	RestsOn  []string `json:"rests_on,omitempty"` // names of assumptions
	Finding  string   `json:"finding"`
	Details  []string `json:"details,omitempty"`
	Evidence []int64  `json:"evidence,omitempty"`
	Remedy   string   `json:"remedy,omitempty"` // what to do, as an order
}

// Clocks are offsets by name; one that does not apply is absent, one that was never reached is null.
type Clocks map[string]*evidence.Offset

// Speed is decided -> restored, in seconds.
type Speed struct {
	Seconds  *float64 `json:"seconds"`   // null: not restored
	Users    *float64 `json:"users"`     // decided -> users restored
	FirstBad *float64 `json:"first_bad"` // first bad -> restored
	Target   float64  `json:"target"`
	// People is how long people kept the rollback waiting, from the decision until the command returned: by an order to pause,
	// or before they approved. It is part of the others, never taken off. Paused is the part that an order to pause took.
	People float64 `json:"people,omitempty"`
	Paused float64 `json:"paused,omitempty"`
}

// Shares have fixed denominators: {so many, of so many}. Not checked counts as not kept.
type Shares struct {
	Writes   [2]int64 `json:"writes"`   // acknowledged writes kept
	Rows     [2]int64 `json:"rows"`     // frozen rows equal to the baseline
	Replicas [2]int64 `json:"replicas"` // instances and nodes at the target
	Residual [2]int64 `json:"residual"` // residual effects closed: jobs, caches, sessions, effects
}

// Replica is an instance or a node and when it converged.
type Replica struct {
	Name      string           `json:"name"`
	Kind      string           `json:"kind"` // instance, node
	Converged *evidence.Offset `json:"converged"`
	Last      string           `json:"last"` // what it was seen as last: its release, or its schema in words
	Evidence  int64            `json:"evidence,omitempty"`
	Removed   string           `json:"removed,omitempty"` // the drill's own fault that took it away for good: it is in no denominator

	Came *evidence.Offset `json:"came,omitempty"` // of one that comes and goes
	Went *evidence.Offset `json:"went,omitempty"`
}

// Pod is one pod and its times; one that was not seen is null. Of a StatefulSet each pod of a name is one of its own.
type Pod struct {
	Name    string `json:"name"`
	Owner   string `json:"owner,omitempty"` // "ReplicaSet/web-7d9f"
	Node    string `json:"node,omitempty"`
	Release string `json:"release,omitempty"` // that it served, by its own word: the last one
	Failing string `json:"failing,omitempty"` // why, by the cluster's last word, unless it became ready after that

	Created     *evidence.Offset `json:"created"`
	Scheduled   *evidence.Offset `json:"scheduled"`
	Started     *evidence.Offset `json:"started"`
	Ready       *evidence.Offset `json:"ready"`
	FirstServed *evidence.Offset `json:"first_served"` // users got its first answer
	Deleting    *evidence.Offset `json:"deleting"`
	Deleted     *evidence.Offset `json:"deleted"` // or it was finished

	// ServedOn: it still served another release than the target after "command returned", as it was read or by users' answers.
	ServedOn bool `json:"served_on,omitempty"`
	// What users got from it of another release than the target after "command returned", and for how many seconds after it.
	BadResponses int64   `json:"bad_responses,omitempty"`
	BadSeconds   float64 `json:"bad_seconds,omitempty"`
}

// Sync is how a commit came to the cluster, or how the controller of GitOps went back to one: because the cluster had drifted
// from it, or because somebody chose it. What did not happen, or was not seen, is null.
type Sync struct {
	Application string `json:"application"`
	Service     string `json:"service"`
	Revision    string `json:"revision"`
	Message     string `json:"message,omitempty"` // why it failed

	Committed *evidence.Offset `json:"committed"` // it arrived in the repository
	Drifted   *evidence.Offset `json:"drifted"`   // the cluster was no longer as it says
	Detected  *evidence.Offset `json:"detected"`
	Syncing   *evidence.Offset `json:"syncing"`
	Applied   *evidence.Offset `json:"applied"`
	Failed    *evidence.Offset `json:"failed"`
	Healthy   *evidence.Offset `json:"healthy"`   // by the controller's word
	EveryPod  *evidence.Offset `json:"every_pod"` // every pod was at the target, by asking each; in one row of the drilled service
}

// Window counts the writes that belong to one window of the drill.
type Window struct {
	Name         string         `json:"name"` // before, bad, during, after
	Acknowledged int            `json:"acknowledged"`
	Refused      int            `json:"refused"`
	Unknown      int            `json:"unknown"`
	Fates        map[string]int `json:"fates"` // of the acknowledged ones; those not looked up under "not checked"
}
