// Package scenarios is the Gherkin vocabulary: the sentences of which drills are made, one file a phase. It compiles a
// scenario into a drill before anything is started, and has godog run it.
package scenarios

import (
	"context"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"backout/harness/drill"
	"backout/harness/service"
)

// Sentence is one form of step: what it says of the drill, and what it does when the drill runs.
type Sentence struct {
	Form  string // as people write it, for help and for the nearest known one
	match *regexp.Regexp
	say   func(d *draft, words []string) error            // at compile time
	do    func(ctx context.Context, r *drill.Drill) error // while it runs; nil: it only declares
}

// draft is a drill while its scenario is compiled.
type draft struct {
	drill.Spec
	services    []string // where services are looked for
	environment string
	planGiven   bool
	unapproved  bool // nobody approves what the plan asks
	byHand      bool // a person does who is not played
	deployed    bool
}

// Vocabulary is every sentence there is.
func Vocabulary() []Sentence {
	var all []Sentence
	all = append(all, given()...)
	all = append(all, when()...)
	all = append(all, faults()...)
	return append(all, then()...)
}

// sentence makes a Sentence of a form such as `release {name} is deployed over {name}`: a name is a quoted text or, in
// {word}, a bare one; {n} is a number; {target} is an instance or a node.
func sentence(form string, say func(*draft, []string) error, do func(context.Context, *drill.Drill) error) Sentence {
	pattern := regexp.QuoteMeta(form)
	pattern = strings.ReplaceAll(pattern, regexp.QuoteMeta("{name}"), `"([^"]*)"`)
	pattern = strings.ReplaceAll(pattern, regexp.QuoteMeta("{word}"), `([a-z][a-z0-9_-]*)`)
	pattern = strings.ReplaceAll(pattern, regexp.QuoteMeta("{n}"), `([0-9]+(?:\.[0-9]+)?)`)
	pattern = strings.ReplaceAll(pattern, regexp.QuoteMeta("{target}"), `(the primary|the streaming replica|the logical replica|[a-z][a-z0-9_-]*)`)
	return Sentence{Form: form, match: regexp.MustCompile("^" + pattern + "$"), say: say, do: do}
}

// find is the sentence that a step's text has the form of.
func find(vocabulary []Sentence, text string) (Sentence, []string, error) {
	for _, s := range vocabulary {
		if words := s.match.FindStringSubmatch(text); words != nil {
			return s, words[1:], nil
		}
	}
	return Sentence{}, nil, fmt.Errorf("no step has the form %q; the nearest known ones:\n    %s", text, strings.Join(nearest(vocabulary, text), "\n    "))
}

// nearest are the three forms that share most words with a text.
func nearest(vocabulary []Sentence, text string) []string {
	words := map[string]bool{}
	for _, w := range strings.Fields(text) {
		words[w] = true
	}
	score := func(form string) (n float64) {
		fields := strings.Fields(form)
		for _, w := range fields {
			if words[w] {
				n++
			}
		}
		return n / float64(len(fields)+len(words))
	}
	forms := make([]string, 0, len(vocabulary))
	for _, s := range vocabulary {
		forms = append(forms, s.Form)
	}
	sort.SliceStable(forms, func(i, j int) bool { return score(forms[i]) > score(forms[j]) })
	return forms[:min(3, len(forms))]
}

func number(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func (d *draft) needService() error {
	if d.Service == nil {
		return fmt.Errorf(`no service is given yet: begin with: Given the service "NAME"`)
	}
	return nil
}

func (d *draft) release(name string) (*service.Release, error) {
	if err := d.needService(); err != nil {
		return nil, err
	}
	return d.Service.Release(name)
}
