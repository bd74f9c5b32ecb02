// Package history keeps what runs showed over time: one object a run in a folder or a bucket, which many machines add to,
// and what can be said from them: how fresh, how fast, how complete, how often.
package history

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// Format is the version of the objects. Fields are added, never renamed; an object of a higher version is not understood.
const Format = 1

// Kinds of run. Only a drill says something of the service's own rollbacks.
const (
	Drill   = "drill"
	Control = "control" // its rollback was sabotaged on purpose, and it must go red
	Refusal = "refusal" // its plan must refuse
	Mutant  = "mutant"  // its plan was changed by a rule
)

// Run is one run as history keeps it. What is not known is absent, never zero.
type Run struct {
	Format    int    `json:"backout_history"`
	Kind      string `json:"kind"`
	Generated bool   `json:"generated,omitempty"` // invented, for a picture or a benchmark: no drill took place

	Service string `json:"service"`
	Tier    string `json:"tier,omitempty"`
	Feature string `json:"feature"` // path of the feature file
	Line    int    `json:"line,omitempty"`
	Name    string `json:"name"` // the scenario's
	Plan    Plan   `json:"plan"`
	From    string `json:"from"` // the release that was rolled back
	To      string `json:"to"`
	Again   string `json:"again,omitempty"` // the command that repeats it

	// Conditions. Speeds are compared only between runs that have the first four in common.
	Environment string            `json:"environment"`
	Cores       int               `json:"cores,omitempty"`
	Database    bool              `json:"database"`
	Rows        map[string]int    `json:"rows,omitempty"` // the volume: table -> rows
	Windows     string            `json:"windows,omitempty"`
	Seed        int64             `json:"seed,omitempty"`
	Alone       bool              `json:"alone,omitempty"`
	Versions    map[string]string `json:"versions,omitempty"`

	When     time.Time `json:"when"` // it was started
	Verdict  string    `json:"verdict"`
	Because  string    `json:"because,omitempty"`
	Expected *bool     `json:"expected,omitempty"` // of one that expects a failure: whether it was met
	Exit     int       `json:"exit"`

	Restored *float64       `json:"restored,omitempty"` // seconds from decided to restored; absent: it never was
	Users    *float64       `json:"users,omitempty"`    // seconds from decided to users restored
	Silence  *float64       `json:"silence,omitempty"`  // seconds from "command returned" to restored
	Target   float64        `json:"target,omitempty"`   // seconds
	Complete bool           `json:"complete"`
	Shares   Shares         `json:"shares"`
	Promises map[string]int `json:"promises,omitempty"` // state -> how many

	PromiseList int               `json:"promise_list,omitempty"`
	Head        string            `json:"head"`            // of the evidence's chain: it tells one run from another
	Files       map[string]string `json:"files,omitempty"` // on which the rollback rests -> sha256; paths are from the service's folder
}

// Plan is the rollback plan of a run.
type Plan struct {
	Name  string `json:"name"`
	Path  string `json:"path"` // from the service's folder
	Steps int    `json:"steps,omitempty"`
}

// Shares are {so many, of so many}; one that does not apply is absent.
type Shares struct {
	Writes   *[2]int64 `json:"writes,omitempty"`
	Rows     *[2]int64 `json:"rows,omitempty"`
	Replicas *[2]int64 `json:"replicas,omitempty"`
	Residual *[2]int64 `json:"residual,omitempty"`
}

// Of is the run as history keeps it. broke says that the harness itself broke.
func Of(r evidence.Run, v verdict.Verdict, head string, broke bool) Run {
	dir := serviceDir(r.Plan.Path)
	o := Run{
		Format: Format, Kind: Drill,
		Service: r.Service.Name, Tier: r.Service.Tier, Feature: filepath.ToSlash(filepath.Clean(r.Path)), Line: r.Line, Name: r.Name,
		Plan: Plan{Name: r.Plan.Name, Path: within(dir, r.Plan.Path), Steps: len(r.Plan.Steps)},
		From: r.Release.Name, To: r.Good, Again: r.Again,
		Environment: r.Environment, Database: r.Service.Database, Windows: r.Windows.Name, Seed: r.Seed, Alone: r.Alone, Versions: r.Versions,
		When: r.Started.UTC().Truncate(time.Second), Verdict: v.Verdict, Because: v.Because, Expected: v.Expected, Exit: v.Exit(),
		Restored: v.Speed.Seconds, Users: v.Speed.Users, Silence: v.Silence, Target: v.Speed.Target, Complete: v.Complete,
		PromiseList: v.PromiseList, Head: head, Files: restsOn(r, dir),
	}
	if len(r.Rows) > 0 {
		o.Rows = r.Rows
	}
	o.Cores, _ = strconv.Atoi(r.Machine["cores"]) // 0, which is absent, where nobody wrote it
	switch {
	case r.Mutant != nil:
		o.Kind = Mutant
	case r.Expect != nil && r.Expect.Refuses != "":
		o.Kind = Refusal
	case r.Expect != nil || r.Plan.Sabotage != "":
		o.Kind = Control
	}
	if broke {
		o.Exit = verdict.ExitBroke
	}
	o.Shares = Shares{share(v.Shares.Writes), share(v.Shares.Rows), share(v.Shares.Replicas), share(v.Shares.Residual)}
	for _, p := range v.Promises {
		if o.Promises == nil {
			o.Promises = map[string]int{}
		}
		o.Promises[p.State]++
	}
	return o
}

func share(s [2]int64) *[2]int64 {
	if s[1] == 0 {
		return nil
	}
	return &s
}

// Green says that it was a drill and all was well. Unknown is not success.
func (r Run) Green() bool {
	return r.Kind == Drill && r.Verdict == verdict.Pass && r.Exit == verdict.ExitPass
}

// Where is the drill's place, "features/database/drops-a-column.feature:14".
func (r Run) Where() string {
	if r.Line == 0 {
		return r.Feature
	}
	return fmt.Sprintf("%s:%d", r.Feature, r.Line)
}

// Conditions are what runs must have in common for their speeds to be compared, in words. It is empty when they are not
// known: such a run is compared with no other.
func (r Run) Conditions() string {
	if r.Environment == "" || r.Cores == 0 || r.Windows == "" || r.Database && len(r.Rows) == 0 {
		return ""
	}
	volume := "no database"
	if r.Database {
		var parts []string
		for _, table := range slices.Sorted(maps.Keys(r.Rows)) {
			parts = append(parts, fmt.Sprintf("%d %s", r.Rows[table], table))
		}
		volume = strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s, %d cores, %s, windows of a %s", r.Environment, r.Cores, volume, windowsWord(r.Windows))
}

func windowsWord(name string) string {
	if name == "quarterly" {
		return "quarter"
	}
	return name
}

// serviceDir is the folder of the service of a plan, which lies in SERVICE/releases/RELEASE.
func serviceDir(plan string) string { return filepath.Dir(filepath.Dir(filepath.Dir(plan))) }

// PlanPath is a plan's path from its service's folder, as runs and the gate name it.
func PlanPath(plan string) string { return within(serviceDir(plan), plan) }

// within is a path from a folder, with slashes; one that does not lie in it stays as it is.
func within(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		path = rel
	}
	return filepath.ToSlash(path)
}

// Files are digests by path from a service's folder, in which the plan lies.
func Files(plan string, digests map[string]string) map[string]string {
	dir := serviceDir(plan)
	all := map[string]string{}
	for path, sum := range digests {
		all[within(dir, path)] = sum
	}
	return all
}

// numbered is a migration's file name.
var numbered = regexp.MustCompile(`(?:^|/)migrations/(\d+)_[^/]*\.sql$`)

// restsOn are the digests of what the rollback rests on. A run of before that list was written has all that its drill
// depended on: what describes drill, service and release is left away, and so are later migrations.
func restsOn(r evidence.Run, dir string) map[string]string {
	all := map[string]string{}
	if r.Rollback != nil {
		for _, path := range r.Rollback {
			if sum := r.Digests[path]; sum != "" {
				all[within(dir, path)] = sum
			}
		}
		return all
	}
	for path, sum := range r.Digests {
		rel := within(dir, path)
		if rel == filepath.ToSlash(path) && dir != "." || filepath.Clean(path) == filepath.Clean(r.Path) || rel == "service.yaml" || slices.Contains([]string{"release.yaml", "code.patch"}, filepath.Base(rel)) {
			continue
		}
		if m := numbered.FindStringSubmatch(rel); m != nil {
			if n, err := strconv.ParseInt(m[1], 10, 64); err != nil || n > r.Release.MigrateTo {
				continue
			}
		}
		all[rel] = sum
	}
	return all
}

// read checks that an object is one that is understood.
func read(text []byte) (Run, error) {
	var r Run
	if err := json.Unmarshal(text, &r); err != nil {
		return Run{}, fmt.Errorf("expected a run in JSON: %w", err)
	}
	switch {
	case r.Format < 1 || r.Format > Format:
		return Run{}, fmt.Errorf("expected backout_history 1 to %d, found %d: it was written by another version of Backout", Format, r.Format)
	case r.Service == "" || r.Head == "" || r.When.IsZero() || r.Kind == "":
		return Run{}, fmt.Errorf("expected service, kind, when and head, found service %q, kind %q, when %s, head %q", r.Service, r.Kind, r.When, r.Head)
	}
	return r, nil
}

// write is the text of an object and the name under which it is kept: when, whose, which run, and the digest of the text,
// by which a damaged one is known.
func (r Run) write() (name string, text []byte, err error) {
	text, err = json.Marshal(r)
	if err != nil {
		return "", nil, err
	}
	return objectName(r.When, r.Service, r.Head, text), text, nil
}

const nameTime = "20060102T150405Z"

func objectName(when time.Time, service, id string, text []byte) string {
	return fmt.Sprintf("%s-%s-%s-%s.json", when.UTC().Format(nameTime), service, runID(id), sum(text))
}

// runID is a hash in the length of a name.
func runID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if !hexOnly.MatchString(id) {
		h := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(h[:])
	}
	return id[:12]
}

var hexOnly = regexp.MustCompile(`^[0-9a-f]{12,}$`)

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:6])
}

// named is what the name of an object says.
type named struct {
	when             time.Time
	service, id, sum string
}

var nameForm = regexp.MustCompile(`^(\d{8}T\d{6}Z)-([a-z][a-z0-9_]*)-([0-9a-f]{12})-([0-9a-f]{12})\.json$`)

func parseName(name string) (named, bool) {
	m := nameForm.FindStringSubmatch(name)
	if m == nil {
		return named{}, false
	}
	when, err := time.Parse(nameTime, m[1])
	return named{when, m[2], m[3], m[4]}, err == nil
}

// byTime orders runs from the oldest to the newest.
func byTime(a, b Run) int {
	return cmp.Or(a.When.Compare(b.When), strings.Compare(a.Head, b.Head))
}
