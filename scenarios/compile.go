package scenarios

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cucumber/godog"
	messages "github.com/cucumber/messages/go/v21"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/service"
	"backout/harness/verdict"
)

// Scenario is one compiled drill, or the reason why it does not apply to the environment.
type Scenario struct {
	drill.Spec
	NotApplicable string
}

// Load compiles all drills of the feature files and folders that the tags select. Nothing is started. Every mistake is
// in the error, with file and line.
func Load(paths []string, tags string, o Options) ([]Scenario, error) {
	if err := readable(paths); err != nil {
		return nil, err
	}
	suite := godog.TestSuite{Name: "backout", Options: &godog.Options{Paths: paths, Tags: tags}}
	features, err := suite.RetrieveFeatures()
	if err != nil {
		return nil, fmt.Errorf("read features: %w", err)
	}
	var all []Scenario
	var wrong []error
	if tags == "" && len(features) == 0 {
		return nil, fmt.Errorf("%s: expected a Feature with a Scenario, found none", strings.Join(paths, ", "))
	}
	for _, f := range features {
		if f.GherkinDocument.Feature == nil {
			wrong = append(wrong, fmt.Errorf("%s: expected a Feature, found an empty file", f.Uri))
			continue
		}
		for _, pickle := range f.Pickles {
			s, err := compile(source{doc: f.GherkinDocument, text: string(f.Content)}, pickle, o)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			if n := len(all); n > 0 && all[n-1].Where() == s.Where() {
				wrong = append(wrong, fmt.Errorf("%s: the rows of an outline would share one folder and one line to repeat them by: write a scenario for each", s.Where()))
				continue
			}
			if other := slices.IndexFunc(all, func(a Scenario) bool { return a.Name == s.Name && a.Path == s.Path }); other >= 0 {
				wrong = append(wrong, fmt.Errorf("%s: expected another name than %q, which the scenario in line %d has: reports name drills by it", s.Where(), s.Name, all[other].Line))
				continue
			}
			all = append(all, s)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no scenario in %s has the tags %q: nothing would be drilled", strings.Join(paths, ", "), tags)
	}
	return all, nil
}

// readable says which line of the features is longer than their parser reads, which panics at such a one. What else cannot be
// read is the parser's to tell.
func readable(paths []string) error {
	var wrong []error
	for _, path := range paths {
		if file, _, cut := cutLine(path); cut {
			path = file
		}
		_ = filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".feature" {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			for n, line := range strings.Split(string(text), "\n") {
				if len(line) >= bufio.MaxScanTokenSize {
					wrong = append(wrong, fmt.Errorf("%s:%d: expected a line of less than %d bytes, found one of %d: write it as several", path, n+1, bufio.MaxScanTokenSize, len(line)))
				}
			}
			return nil
		})
	}
	return errors.Join(wrong...)
}

// source is a feature file, parsed.
type source struct {
	doc  *messages.GherkinDocument
	text string
}

// lines finds the line of each node of the document by its id.
func (s source) lines() map[string]int {
	found := map[string]int{}
	steps := func(all []*messages.Step) {
		for _, st := range all {
			found[st.Id] = int(st.Location.Line)
		}
	}
	child := func(b *messages.Background, sc *messages.Scenario) {
		if b != nil {
			steps(b.Steps)
		}
		if sc == nil {
			return
		}
		found[sc.Id] = int(sc.Location.Line)
		steps(sc.Steps)
		for _, ex := range sc.Examples {
			for _, row := range ex.TableBody {
				found[row.Id] = int(row.Location.Line)
			}
		}
	}
	for _, c := range s.doc.Feature.Children {
		child(c.Background, c.Scenario)
		if c.Rule != nil {
			for _, rc := range c.Rule.Children {
				child(rc.Background, rc.Scenario)
			}
		}
	}
	return found
}

// compile turns one scenario into a drill.
func compile(src source, pickle *messages.Pickle, o Options) (Scenario, error) {
	lines := src.lines()
	path, _, _ := cutLine(pickle.Uri)
	d := &draft{services: o.Services, environment: o.Environment}
	d.Name, d.Feature, d.Path, d.Line, d.Text = pickle.Name, src.doc.Feature.Name, path, lines[pickle.AstNodeIds[0]], src.text
	seen := map[string]bool{}
	for _, t := range pickle.Tags {
		if !seen[t.Name] {
			d.Tags = append(d.Tags, t.Name)
		}
		seen[t.Name] = true
	}
	vocabulary := Vocabulary()
	var wrong []error
	for _, step := range pickle.Steps {
		sentence, words, err := find(vocabulary, step.Text)
		if err != nil && slices.ContainsFunc(o.Own, func(form *regexp.Regexp) bool { return form.MatchString(step.Text) }) {
			continue
		}
		if err == nil {
			err = sentence.say(d, words)
		}
		if errors.Is(err, service.ErrNoPlan) || errors.Is(err, service.ErrNoRollout) {
			return Scenario{Spec: d.Spec, NotApplicable: err.Error()}, nil
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", path, lines[step.AstNodeIds[0]], err))
			break // what follows stands on this step
		}
	}
	if wrong == nil {
		if err := d.whole(); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", d.Where(), err))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return Scenario{Spec: d.Spec}, err
	}
	return Scenario{Spec: d.Spec, NotApplicable: drill.Lacks(o.Environment, &d.Spec)}, nil
}

// besides says whether what is wrong on purpose is not the plan: a breaker that is as it is, of which too much is promised, or
// people who do not approve it, or take it over who may not.
func (d *draft) besides() bool {
	return d.Expect.Fails == verdict.BreakerTrips || d.Expect.Fails == verdict.BreakerQuiet || d.unapproved || d.Approver != nil || d.Taker != nil
}

// whole checks what only the end of a scenario can show.
func (d *draft) whole() error {
	switch {
	case d.Service == nil:
		return errors.New(`expected a service: Given the service "NAME"`)
	case d.Bad == nil:
		return errors.New(`expected a release: When release "NAME" is deployed over "NAME"`)
	case d.Plan == nil:
		return errors.New(`expected a rollback: When it is rolled back by its plan`)
	case d.Rate > 0 && len(d.Service.Journeys) == 0:
		return fmt.Errorf("%s has no journeys, so there is no traffic: leave the line away", d.Service.Path)
	case d.Rate == 0 && len(d.Service.Journeys) > 0:
		return errors.New(`expected traffic, since without it nothing is observed: And 50 journeys per second by 20 users`)
	case d.Plan.Approval != nil && d.Plan.Approval.How != service.Automatic && d.Approver == nil && !d.unapproved && !d.byHand:
		return fmt.Errorf(`%s asks for approval: say who gives it ("anna" approves it after 2 seconds), that nobody does (nobody approves it), or that a person at the terminal does (a person approves it)`, d.Plan.Path)
	case d.Plan.Unproven() != "" && (d.Taker == nil || d.Taker.By != d.Plan.Told().Receiver):
		return errors.New(d.Plan.Unproven() + fmt.Sprintf(`, or let the drill play the person: And "%s" accepts it after 2 seconds`, d.Plan.Told().Receiver))
	case d.Expect != nil && d.Expect.Fails != "" && d.Plan.Sabotage == nil && len(d.Faults) == 0 && !d.besides():
		return fmt.Errorf("the drill must fail because %q, but %s does not state its sabotage: say what is wrong with the plan, and a command that shows that it took effect (sabotage: {what: ..., shown: ...})", d.Expect.Fails, d.Plan.Path)
	case d.Plan.Sabotage != nil && (d.Expect == nil || d.Expect.Fails == ""):
		return fmt.Errorf(`%s is sabotaged (%s), so the drill must fail: Then the drill fails because "CHECK"`, d.Plan.Path, d.Plan.Sabotage.What)
	case d.Control() != (d.Expect != nil && d.Expect.Fails != ""):
		return fmt.Errorf("expected the tag @control on a drill that must fail, and on no other")
	case len(d.Promises) == 0 && d.Expect == nil:
		return errors.New(`expected a promise: Then service is restored`)
	case len(d.Promises) > 0 && d.Expect != nil && !d.saysBroken():
		return errors.New("a drill that must fail promises nothing but what it says is broken: leave the other promises to the right rollback")
	}
	return d.replicasAreGiven()
}

// replicasAreGiven checks that commands find the replicas whose URLs they want, before the rollout ends in the midst for want
// of one.
func (d *draft) replicasAreGiven() error {
	for _, wants := range []struct {
		path string
		env  map[string]string
	}{{filepath.Join(d.Bad.Dir, "release.yaml"), d.Bad.Env}, {d.Plan.Path, d.Plan.Env}} {
		for _, name := range slices.Sorted(maps.Keys(wants.env)) {
			of := wants.env[name]
			if strings.HasSuffix(of, "DATABASE_URL_LOGICAL") && !d.Logical || strings.HasSuffix(of, "DATABASE_URL_STREAMING") && !d.Streaming {
				return fmt.Errorf("%s: env: {%s: %s} needs a replica that this drill has not: say: And a streaming replica and a logical replica", wants.path, name, of)
			}
		}
	}
	return nil
}

// saysBroken says whether every sentence that promises stands for the check that must break: a time that is not kept.
func (d *draft) saysBroken() bool {
	for _, p := range d.Promises {
		if !slices.ContainsFunc(d.Promises, func(q evidence.Promise) bool { return q.Text == p.Text && q.Check == d.Expect.Fails }) {
			return false
		}
	}
	return true
}

// cutLine takes the line number off "path.feature:14".
func cutLine(uri string) (path, line string, ok bool) {
	i := strings.LastIndex(uri, ".feature:")
	if i < 0 {
		return uri, "", false
	}
	return uri[:i+len(".feature")], uri[i+len(".feature:"):], true
}

// reread is the source of a scenario that godog hands over, which knows its path alone.
func reread(pickle *godog.Scenario, o Options) (Scenario, error) {
	path, _, _ := cutLine(pickle.Uri)
	if _, err := os.Stat(path); err != nil {
		return Scenario{}, err
	}
	suite := godog.TestSuite{Options: &godog.Options{Paths: []string{path}}}
	features, err := suite.RetrieveFeatures()
	if err != nil {
		return Scenario{}, err
	}
	for _, f := range features {
		for _, p := range f.Pickles {
			if same(p, pickle) {
				return compile(source{doc: f.GherkinDocument, text: string(f.Content)}, p, o)
			}
		}
	}
	return Scenario{}, fmt.Errorf("%s: the scenario %q is not in the file any more", path, pickle.Name)
}

func same(a *messages.Pickle, b *godog.Scenario) bool {
	if a.Name != b.Name || len(a.Steps) != len(b.Steps) {
		return false
	}
	for i := range a.Steps {
		if a.Steps[i].Text != b.Steps[i].Text {
			return false
		}
	}
	return true
}
