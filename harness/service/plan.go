package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ways of deploying by environment: rollouts and plans are written for one of them.
var ways = map[string]string{
	"process":    InProcesses,
	"containers": InContainers,
	"kind":       InKubernetes,
	"cluster":    InKubernetes,
}

// settles is how long a validation waits for its condition unless the plan says so.
const settles = 30 * time.Second

// shown is by when after the last step a sabotage must have taken effect, unless the plan states another time.
const shown = 10 * time.Second

// Way is the way of deploying in an environment, for which rollouts and plans are written: process, containers or kubernetes.
// It is empty where there is no such environment.
func Way(environment string) string { return ways[environment] }

func wayOf(environment string) (string, error) {
	way := Way(environment)
	if way == "" {
		return "", fmt.Errorf("expected an environment (%s), found %q%s", strings.Join(sorted(ways), ", "), environment, meant(environment, sorted(ways)))
	}
	return way, nil
}

// Plan loads a rollback plan of the release, written for an environment: its plan (rollback.yaml,
// rollback.containers.yaml, rollback.kubernetes.yaml) when the name is empty, else NAME.yaml and so on. The error is
// ErrNoPlan when it exists for other environments only, or when the release has no plan at all.
func (r *Release) Plan(name, environment string) (*Plan, error) {
	way, err := wayOf(environment)
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", r.Name, err)
	}
	asked := name
	if name == "" {
		name = "rollback"
	}
	if !folderName.MatchString(name) || strings.Contains(name, ".") || name == "release" {
		return nil, fmt.Errorf("plan of %s: expected the name of a plan in %s, found %q", r.Name, r.Dir, name)
	}
	file := name + ".yaml"
	if way != InProcesses {
		file = name + "." + way + ".yaml"
	}
	text, err := r.Service.read(filepath.Join("releases", filepath.Base(r.Dir), file))
	if errors.Is(err, fs.ErrNotExist) {
		there := r.plans()
		if asked == "" || there[name] {
			return nil, fmt.Errorf("plan of %s: expected %s, found none: %w", r.Name, filepath.Join(r.Dir, file), ErrNoPlan)
		}
		return nil, fmt.Errorf("plan of %s: expected %s, found none; there are %s%s",
			r.Name, filepath.Join(r.Dir, file), strings.Join(orNone(sorted(there)), ", "), meant(name, sorted(there)))
	}
	if err != nil {
		return nil, fmt.Errorf("plan %s of %s: %w", name, r.Name, err)
	}
	return readPlan(filepath.Join(r.Dir, file), text, r)
}

// OpenPlan loads the plan of a file, which lies beside its release as everywhere: SERVICE/releases/RELEASE/NAME.yaml.
func OpenPlan(path string) (*Plan, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(abs)
	if filepath.Base(filepath.Dir(dir)) != "releases" {
		return nil, fmt.Errorf("%s: expected a plan beside its release, SERVICE/releases/RELEASE/rollback.yaml", path)
	}
	s, err := Load(filepath.Join(filepath.Dir(filepath.Dir(dir)), "service.yaml"))
	if err != nil {
		return nil, err
	}
	r, err := s.Release(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("load the plan: %w", err)
	}
	return readPlan(abs, text, r)
}

// HasPlan says whether any plan rolls the release back.
func (r *Release) HasPlan() bool { return len(r.plans()) > 0 }

// plans are the names of the release's plans, for whatever environment.
func (r *Release) plans() map[string]bool {
	all := map[string]bool{}
	paths, _ := filepath.Glob(filepath.Join(escape(r.Dir), "*.yaml")) // the pattern is a good one
	for _, p := range paths {
		if name, _, _ := strings.Cut(filepath.Base(p), "."); name != "release" {
			all[name] = true
		}
	}
	return all
}

func readPlan(path string, text []byte, r *Release) (*Plan, error) {
	f, root := parse(path, text)
	if root == nil {
		return nil, f.err()
	}
	p := &Plan{Release: r, Path: path}
	o := root.object("plan", "from", "to", "risk", "approval", "ceiling", "schema", "env", "sabotage", "before", "steps", "after", "communication")
	p.Name = o.must("plan", "what it does, in a few words").text()
	from := o.must("from", "the release that is rolled back")
	if p.From = from.text(); p.From != "" && p.From != r.Name {
		from.wrong("expected %q in from, the release beside which the plan lies, found %q", r.Name, p.From)
	}
	to := o.must("to", "the release that is rolled back to")
	if p.To = to.release(r.Service); p.To != "" && p.To == p.From {
		to.wrong("expected another release than from in to, found %q", p.To)
	}
	p.Risk = o.get("risk").text()
	p.Approval = approval(o.get("approval"), r.Service)
	if v := o.get("schema"); v != nil {
		p.Schema = v.number(1, math.MaxInt64)
		if !r.Service.migrates() {
			v.wrong("expected migrations in service.yaml beside schema, found none")
		}
	}
	var order []string
	p.Env, order = env(o.get("env"))
	p.EnvLine = o.get("env").line()
	p.Ceiling = ceiling(o.get("ceiling"), p, order)
	p.Communication = communication(o.get("communication"), r.Service)
	p.Sabotage = sabotage(o.get("sabotage"), o.get("communication") != nil)
	var said []*object
	p.Steps, said = steps(o.must("steps", "the commands, in order"), true)
	graph(said, p)
	p.Before = checks(o.get("before"), "before", p, order)
	if v := o.get("steps"); v.isList() && len(p.Steps) == 0 {
		v.wrong("expected at least one step in steps, found an empty list")
	}
	p.After = checks(o.get("after"), "after", p, order)
	if err := f.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// sabotage reads what is wrong with a plan on purpose. Where the plan says otherwise whom to tell, that may be it, and what
// people were told shows it.
func sabotage(v *value, tells bool) *Sabotage {
	if v == nil {
		return nil
	}
	o := v.object("what", "shown", "within")
	s := &Sabotage{
		What:   o.must("what", "what is wrong with the plan on purpose").text(),
		Within: shown,
	}
	if at := o.get("shown"); at != nil || !tells {
		s.Shown = o.must("shown", "a command whose exit code 0 says that it took effect").text()
	}
	if w := o.get("within"); w != nil {
		s.Within = w.duration()
	}
	return s
}

// checkKeys are the checks by the part of a plan where they stand.
var checkKeys = map[string][]string{
	"before": {"database", "unblocked", "dependants", "artefact", "revision", "kubectl", "lag", "backup", "space"},
	"after":  {"every instance serves", "journey", "command"},
}

// checks reads a plan's pre-checks or validations; order is that of the names in its env.
func checks(v *value, part string, p *Plan, order []string) []Check {
	here := checkKeys[part]
	s, steps := p.Release.Service, int64(len(p.Steps))
	var all []Check
	for _, item := range v.list() {
		var kinds []pair
		c := Check{Line: item.line()}
		if part == "after" {
			c.Within = settles
		}
		for _, k := range item.pairs() {
			switch {
			case slices.Contains(here, k.name):
				kinds = append(kinds, k)
			case k.name == "within" && part == "after":
				c.Within = k.duration()
			case slices.Contains(checkKeys["before"], k.name):
				k.key.wrong("expected %s in %s, found %q, which is a pre-check: move it to before", oneOf(here), part, k.name)
			case slices.Contains(checkKeys["after"], k.name):
				k.key.wrong("expected %s in %s, found %q, which is a validation: move it to after", oneOf(here), part, k.name)
			default:
				k.key.wrong("expected %s in %s, found %q%s", oneOf(here), part, k.name, meant(k.name, here))
			}
		}
		if len(kinds) != 1 {
			if item.isMapping() && (len(kinds) > 1 || len(item.pairs()) == 0) {
				item.wrong("expected exactly one check an item, found %d", len(kinds))
			}
			continue
		}
		switch k := kinds[0]; k.name {
		case "database":
			c.Database = identity(k.value, p, order)
		case "unblocked":
			tables := k.value
			if k.isMapping() { // {tables: [...], before: 2}: earlier steps may end what is in the way
				o := k.object("tables", "before")
				tables = o.must("tables", "what the steps lock")
				c.BeforeStep = int(o.must("before", "the number of a step").number(2, max(2, steps)))
			}
			for _, t := range tables.list() {
				if name := t.table1(); name != "" {
					c.Unblocked = append(c.Unblocked, name)
				}
			}
			if tables.isList() && len(c.Unblocked) == 0 {
				k.wrong("expected at least one table in unblocked, found an empty list")
			}
			if len(databases(p, order)) == 0 {
				k.wrong("expected a database in the plan's env beside unblocked, such as PRIMARY: DATABASE_URL, found none")
			}
		case "dependants":
			c.Dependants = k.choice("compatible")
			if len(s.Dependants) == 0 {
				k.wrong("expected dependants in service.yaml, found none: leave the line away")
			}
		case "artefact":
			c.Artefact = k.release(s)
		case "revision":
			c.Revision = question(k.value, false)
		case "kubectl":
			c.Kubectl = kubectl(k.value)
		case "lag":
			c.Lag = lag(k.value, p, order)
		case "backup":
			c.Backup = backup(k.value)
		case "space":
			c.Space = space(k.value)
		case "command":
			c.Command = question(k.value, true)
		case "every instance serves":
			if c.Serves = k.release(s); s.Instances == 0 {
				k.key.wrong("expected run in service.yaml beside every instance serves, since a schema alone has no instances, found none")
			}
		case "journey":
			c.Journey = k.journey(s)
		}
		all = append(all, c)
	}
	return all
}

func identity(v *value, p *Plan, order []string) *Identity {
	o := v.object("name", "role", "url")
	id := &Identity{
		Name: o.must("name", "of the database").text(),
		Role: o.must("role", "with which the plan connects").text(),
	}
	id.URL = databaseOf(v, o.get("url"), p, order)
	return id
}

// databases are the names in the plan's env that stand for databases, in the order of the file.
func databases(p *Plan, order []string) []string {
	return slices.DeleteFunc(slices.Clone(order), func(name string) bool {
		return !IsDatabase(p.Env[name])
	})
}

// IsDatabase says whether a variable that an environment hands out leads to a node of the service's database.
func IsDatabase(variable string) bool { return strings.HasPrefix(variable, "DATABASE_URL") }

// Digest is of what the plan runs, in which order and on what: the same digest says that step 3 is the same step.
func (p *Plan) Digest() string {
	sum := sha256.New()
	for i, s := range p.Steps {
		fmt.Fprintf(sum, "%q %q %q\n", s.Name, s.Run, s.Again)
		if p.Graph {
			fmt.Fprintf(sum, "%v\n", p.NeedsOf(i+1))
		}
		if s.Undo != nil {
			fmt.Fprintf(sum, "%q\n", s.Undo.Run)
		}
	}
	for _, name := range sorted(p.Env) {
		fmt.Fprintf(sum, "%q %q\n", name, p.Env[name])
	}
	fmt.Fprintf(sum, "%q %q\n", p.From, p.To)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// release is the name of a release that the service has.
func (v *value) release(s *Service) string {
	name := v.text()
	if name == "" {
		return ""
	}
	names, err := s.Releases()
	if err != nil {
		v.wrong("%v", err)
		return ""
	}
	if !slices.Contains(names, name) {
		v.wrong("expected a release of %s in %s, found %q%s; there are %s", s.Name, v.what, name, meant(name, names), strings.Join(orNone(names), ", "))
		return ""
	}
	return name
}
