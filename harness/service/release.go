package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"backout/harness/evidence"
)

// within is when a harm or a trap must have been seen, after deployed, unless the release states another time.
const within = 10 * time.Second

// ErrNoPlan says that a release has no such plan for the environment, which makes the drill not applicable.
var ErrNoPlan = errors.New("there is no plan for this environment")

// ErrNoRollout says that a release is deployed in other environments only, which makes the drill not applicable too.
var ErrNoRollout = errors.New("there is no rollout for this environment")

// Releases names the releases of the service, sorted.
func (s *Service) Releases() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(escape(s.Dir), "releases", "*", "release.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list the releases of %s: %w", s.Name, err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(filepath.Dir(p)))
	}
	slices.Sort(names)
	return names, nil
}

// Release loads releases/NAME/release.yaml of the service.
func (s *Service) Release(name string) (*Release, error) {
	path := filepath.Join("releases", name, "release.yaml")
	if !folderName.MatchString(name) {
		return nil, fmt.Errorf("release of %s: expected the name of a folder in %s, found %q", s.Name, filepath.Join(s.Dir, "releases"), name)
	}
	text, err := s.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		names, listErr := s.Releases()
		return nil, errors.Join(fmt.Errorf("release of %s: expected %s, found none; there are %s%s",
			s.Name, filepath.Join(s.Dir, path), strings.Join(orNone(names), ", "), meant(name, names)), listErr)
	}
	if err != nil {
		return nil, fmt.Errorf("release %s of %s: %w", name, s.Name, err)
	}
	return readRelease(filepath.Join(s.Dir, path), text, s)
}

// read reads a file below the service's folder, and no other: a link that leads out of it is refused.
func (s *Service) read(path string) ([]byte, error) {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, err
	}
	text, err := root.ReadFile(path)
	return text, errors.Join(err, root.Close())
}

func readRelease(path string, text []byte, s *Service) (*Release, error) {
	f, root := parse(path, text)
	if root == nil {
		return nil, f.err()
	}
	r := &Release{Service: s, Dir: filepath.Dir(path)}
	o := root.object("release", "known_bad", "harms", "traps", "good", "within", "migrate_to", "reaches", "may_transform", "with", "env", "rollout", "measured")
	name := o.must("release", "its name")
	if r.Name = name.text(); r.Name != "" && r.Name != filepath.Base(r.Dir) {
		name.wrong("expected %q in release, which is the name of its folder, found %q", filepath.Base(r.Dir), r.Name)
	}
	r.KnownBad = o.get("known_bad").text()
	r.Within = o.get("within").duration()

	switch kind := o.exactly("harms", "traps", "good"); kind {
	case "harms":
		r.Harms = harms(o.get("harms"), r, s)
	case "traps":
		r.Traps = traps(o.get("traps"), s)
	case "good":
		if r.Good = o.get("good").flag(); !r.Good {
			o.get("good").wrong("expected true in good: leave the line away and state harms or traps")
		}
		o.get("known_bad").wrong("expected either good or known_bad, found both")
	}
	if (o.get("harms") != nil || o.get("traps") != nil) && r.KnownBad == "" {
		o.must("known_bad", "why it is bad, in a sentence")
	}
	if r.Within == 0 {
		r.Within = within
	}
	if v := o.get("migrate_to"); v != nil {
		r.MigrateTo = v.number(0, math.MaxInt64)
		if !s.migrates() {
			v.wrong("expected a database with migrations in service.yaml beside migrate_to, found none")
		}
	}
	if v := o.get("reaches"); v != nil {
		reach := v.object("instances", "migration")
		if n := reach.get("instances"); n != nil {
			r.ReachesN = int(n.number(1, int64(max(1, s.Instances))))
		}
		if n := reach.get("migration"); n != nil {
			r.ReachesM = n.number(1, max(1, r.MigrateTo))
		}
	}
	for _, item := range o.get("may_transform").list() {
		t := item.object("journey", "field", "at_most", "why")
		r.MayTransform = append(r.MayTransform, Transform{
			Journey: t.must("journey", "").journey(s),
			Field:   t.must("field", "").text(),
			AtMost:  t.must("at_most", "how many rows").count(1),
			Why:     t.must("why", "what changes a user's data needs its reason").text(),
		})
	}
	for _, p := range o.get("with").pairs() {
		if !slices.Contains(s.Dependants, p.name) {
			p.key.wrong("expected a dependant of %s in with, found %q%s", s.Name, p.name, meant(p.name, s.Dependants))
			continue
		}
		if r.With == nil {
			r.With = map[string]string{}
		}
		r.With[p.name] = p.text() // the dependant's own folder knows it
	}
	r.Env, _ = env(o.get("env"))
	r.Rollouts = rollouts(o.get("rollout"))
	r.Measured = measured(o.get("measured"), r)
	if err := f.err(); err != nil {
		return nil, err
	}
	return r, nil
}

// measured reads a file beside the release, a line of JSON for each way back at each volume.
func measured(v *value, r *Release) (all []evidence.Measured) {
	name := v.text()
	if name == "" {
		return nil
	}
	text, err := r.Service.read(filepath.Join("releases", filepath.Base(r.Dir), name))
	if err != nil {
		v.wrong("expected a file of measurements in measured: %v", err)
		return nil
	}
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var m evidence.Measured
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		switch err := d.Decode(&m); {
		case err != nil:
			v.wrong("%s:%d: expected an object such as {\"rows\": 100000, \"way\": \"copy\", \"seconds\": 1.5, \"blocked\": 0.1, \"runs\": 3, \"load\": \"0.5\"}: %v", filepath.Join(r.Dir, name), n+1, err)
		case m.Rows < 1 || m.Way == "" || m.Seconds < 0 || m.Blocked < 0 || m.Runs < 1:
			v.wrong("%s:%d: expected rows and runs above 0, a way, and no time below 0", filepath.Join(r.Dir, name), n+1)
		default:
			all = append(all, m)
		}
	}
	return all
}

// rollouts reads a list of commands, which is for processes, or a list for each way of deploying.
func rollouts(v *value) map[string][]Step {
	all := map[string][]Step{}
	switch {
	case v == nil:
	case v.isList():
		all["process"], _ = steps(v, false)
	case v.isMapping():
		for _, way := range v.object("process", "containers", "kubernetes").pairs {
			if all[way.name], _ = steps(way.value, false); way.isList() && len(all[way.name]) == 0 {
				way.wrong("expected at least one step in %s, found an empty list", way.name)
			}
		}
	default:
		v.expected("a list of commands, or a list for each of process, containers, kubernetes")
	}
	return all
}

// RolloutFor is how production deploys the release in an environment. The error is ErrNoRollout when the release does not say.
func (r *Release) RolloutFor(environment string) ([]Step, error) {
	way, err := wayOf(environment)
	if err != nil {
		return nil, fmt.Errorf("rollout of %s: %w", r.Name, err)
	}
	if len(r.Rollouts[way]) == 0 {
		return nil, fmt.Errorf("rollout of %s: expected a rollout for %s in %s, found none: %w", r.Name, way, filepath.Join(r.Dir, "release.yaml"), ErrNoRollout)
	}
	return r.Rollouts[way], nil
}

// thresholds of a harm, and what each is stated with.
var thresholds = []string{"success_below", "latency_above", "restarts", "memory_above", "invariant", "jobs_failed"}

// migrates says whether migrations change its schema, and not plain SQL.
func (s *Service) migrates() bool { return s.Database != nil && s.Database.Migrations != "" }

func harms(v *value, r *Release, s *Service) []Harm {
	items := []*value{v}
	if v.isList() {
		items = v.list()
		if len(items) == 0 {
			v.expected("at least one harm")
		}
	}
	var all []Harm
	for _, item := range items {
		o := item.object(append([]string{"service", "journey", "within"}, thresholds...)...)
		if d := o.get("within").duration(); d != 0 {
			if r.Within != 0 && r.Within != d {
				o.get("within").wrong("expected one within a release, found %s after %s", d, r.Within)
			}
			r.Within = d
		}
		h := Harm{
			Service:      o.get("service").text(),
			LatencyAbove: o.get("latency_above").duration(),
			MemoryAbove:  o.get("memory_above").bytes(),
			Invariant:    o.get("invariant").text(),
			JobsFailed:   o.get("jobs_failed").text(),
		}
		if n := o.get("restarts"); n != nil {
			h.Restarts = n.count(1)
		}
		if h.Service == s.Name {
			h.Service = ""
		}
		if s.Instances == 0 && (h.Restarts > 0 || h.MemoryAbove > 0) {
			item.wrong("expected run in service.yaml beside restarts and memory_above, since a schema alone has no instances, found none")
		}
		if h.Service != "" && !slices.Contains(s.Dependants, h.Service) {
			o.get("service").wrong("expected a dependant of %s in service, found %q%s", s.Name, h.Service, meant(h.Service, s.Dependants))
		}
		kind := o.exactly(thresholds...)
		ofJourney := kind == "success_below" || kind == "latency_above"
		journey := o.get("journey")
		switch {
		case kind == "":
			journey.text()
		case ofJourney && journey == nil:
			o.must("journey", "whose users suffer")
		case !ofJourney:
			journey.wrong("expected success_below or latency_above beside journey, found %s", kind)
		case h.Service == "":
			h.Journey = journey.journey(s)
		default:
			h.Journey = journey.text() // the dependant's own service.yaml knows it
		}
		if n := o.get("success_below"); n != nil {
			share, ok := n.real()
			if ok && (share <= 0 || share > 1) {
				n.expected("a share above 0 and at most 1")
			}
			h.SuccessBelow = share
		}
		if h.Invariant != "" && (s.Database == nil || s.Database.Invariants[h.Invariant] == "") {
			var known []string
			if s.Database != nil {
				known = sorted(s.Database.Invariants)
			}
			o.get("invariant").wrong("expected an invariant of service.yaml, found %q%s", h.Invariant, meant(h.Invariant, known))
		}
		if _, ok := s.Jobs[h.JobsFailed]; h.JobsFailed != "" && (!ok || s.Jobs[h.JobsFailed].Failed == "") {
			o.get("jobs_failed").wrong("expected a kind of job of service.yaml with a query for failed ones, found %q%s", h.JobsFailed, meant(h.JobsFailed, sorted(s.Jobs)))
		}
		all = append(all, h)
	}
	return all
}

func traps(v *value, s *Service) map[string]Trap {
	all := map[string]Trap{}
	for _, p := range v.pairs() {
		o := p.object("count", "cache", "command", "at_least")
		o.exactly("count", "cache", "command")
		cache := o.get("cache")
		t := Trap{Count: o.get("count").text(), Cache: cache.text(), Command: o.get("command").text()}
		if s.Database == nil {
			o.get("count").wrong("expected a database in service.yaml beside count, found none: state cache or command")
		}
		if _, known := s.Caches[t.Cache]; t.Cache != "" && !known {
			cache.wrong("expected a cache of service.yaml in cache, found %q%s", t.Cache, meant(t.Cache, sorted(s.Caches)))
		}
		least := o.must("at_least", "how many must exist at the decision")
		n, ok := least.real()
		if ok && !(n > 0) {
			least.expected("a number above 0")
		}
		t.AtLeast = n
		all[p.name] = t
	}
	if v.isMapping() && len(all) == 0 {
		v.expected("at least one trap")
	}
	return all
}

// own names what every command finds in its environment anyway, so that a plan does not name it otherwise.
var own = []string{"PATH", "HOME", "LANG", "TMPDIR", "TRACEPARENT", "SUPERVISOR", "PROXY", "INSTANCES", "RELEASES", "DATA", "CACHE_CLI",
	"IMAGES", "JOB_NETWORK", "RUN_LABEL", "COMPOSE", "DOCKER_HOST", "KUBECONFIG", "NAMESPACE", "PRIMARY_INSIDE"}

// env is the script's names -> what the environment hands out; order is that of the file.
func env(v *value) (all map[string]string, order []string) {
	if v == nil {
		return nil, nil
	}
	all = map[string]string{}
	for _, p := range v.pairs() {
		switch {
		case !variable.MatchString(p.name):
			p.key.wrong("expected the name of a variable in env, found %q", p.name)
		case slices.Contains(own, p.name):
			p.key.wrong("expected another name than %s in env, which every command has already", p.name)
		}
		from := p.text()
		if from != "" && !variable.MatchString(from) {
			p.expected("the name of what the environment hands out, such as DATABASE_URL")
		}
		all[p.name] = from
		order = append(order, p.name)
	}
	return all, order
}

// steps reads commands. Those of a plan may ask a person before they run, and have their place among the others.
func steps(v *value, ofPlan bool) (all []Step, said []*object) {
	for _, item := range v.list() {
		var o *object
		if ofPlan {
			o = item.object("name", "run", "timeout", "again", "expect", "approval", "expires", "of", "needs", "barrier", "fails", "undo")
		} else {
			o = item.object("name", "run", "timeout", "again", "expect")
		}
		said = append(said, o)
		s := command(item, o)
		s.Name = o.must("name", "what it does, for people").text()
		s.Again = o.must("again", "safe: it may be run again after it broke off; refuse: it may not").choice("safe", "refuse")
		s.Expires = expires(o)
		all = append(all, s)
	}
	return all, said
}

// command reads what is run, for how long at most, and what its output must match.
func command(item *value, o *object) Step {
	run := o.must("run", "the command")
	s := Step{
		Line:    item.line(),
		RunLine: run.textLine(),
		Run:     run.text(),
		Timeout: o.must("timeout", "after which it is ended").duration(),
	}
	if e := o.get("expect"); e != nil {
		out := e.object("output").must("output", "a regular expression")
		s.Output = out.text()
		if _, err := regexp.Compile(s.Output); err != nil {
			out.wrong("expected a regular expression in output, found %q: %v", s.Output, err)
		}
	}
	return s
}

// expires is how long a step waits for its approval; 0: it asks for none.
func expires(o *object) time.Duration {
	asks, within := o.get("approval"), o.get("expires")
	switch {
	case asks == nil && within == nil:
		return 0
	case asks == nil:
		within.wrong("expected approval: ask beside expires, found none")
		return 0
	}
	asks.choice("ask")
	return o.must("expires", "how long it waits until a person approves; nobody in time stops the plan").duration()
}
