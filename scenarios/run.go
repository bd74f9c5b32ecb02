package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/cucumber/godog"

	"backout/harness/drill"
)

// Options are what scenarios are compiled and run with.
type Options struct {
	drill.Options
	Services []string         // folders in which services are looked for
	Own      []*regexp.Regexp // the forms of steps that a suite of your own has beside the vocabulary
}

// Run has godog run one compiled drill. The result is the drill's own; godog's count is looked at only to make sure
// that the scenario did run.
func Run(ctx context.Context, s Scenario, o Options) drill.Result {
	var results []drill.Result
	suite := godog.TestSuite{
		Name: s.Name,
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			register(sc, &s, o, func(r drill.Result) { results = append(results, r) })
		},
		Options: &godog.Options{
			Format:         "progress",
			Output:         io.Discard, // the drill tells its own progress
			Paths:          []string{s.Where()},
			Strict:         true,
			NoColors:       true,
			DefaultContext: ctx,
		},
	}
	status := suite.Run()
	switch {
	case len(results) == 0:
		return drill.Result{Spec: s.Spec, Err: fmt.Errorf("%s: godog ran no scenario (status %d)", s.Where(), status)}
	case results[0].Err == nil && status != 0 && results[0].Exit() == 0:
		results[0].Err = fmt.Errorf("%s: godog ended with status %d although the drill passed", s.Where(), status)
	}
	return results[0]
}

// Register adds the vocabulary to a godog suite of your own. Each scenario becomes a drill; done gets its result.
// It is called from a ScenarioInitializer, so that every scenario has a world of its own.
func Register(sc *godog.ScenarioContext, o Options, done func(drill.Result)) {
	register(sc, nil, o, done)
}

var errNotApplicable = errors.New("not applicable")

func register(sc *godog.ScenarioContext, compiled *Scenario, o Options, done func(drill.Result)) {
	var d *drill.Drill
	sc.Before(func(ctx context.Context, pickle *godog.Scenario) (context.Context, error) {
		s := compiled
		if s == nil {
			again, err := reread(pickle, o)
			if err != nil {
				return ctx, err
			}
			s = &again
		}
		if s.NotApplicable != "" {
			return ctx, fmt.Errorf("%w: %s", errNotApplicable, s.NotApplicable)
		}
		d = drill.New(&s.Spec, o.Options)
		return ctx, nil
	})
	for _, sentence := range Vocabulary() {
		sc.Step(sentence.match, handler(sentence, func() *drill.Drill { return d }))
	}
	sc.After(func(ctx context.Context, _ *godog.Scenario, stepErr error) (context.Context, error) {
		if d == nil {
			return ctx, nil // it was not applicable, or did not compile
		}
		result := d.Finish(ctx)
		done(result)
		if stepErr != nil {
			return ctx, nil // godog has the error already
		}
		return ctx, result.Failure()
	})
}

// handler is what godog calls for a sentence. godog wants as many arguments as the form has words.
func handler(s Sentence, get func() *drill.Drill) any {
	do := func(ctx context.Context) error {
		if s.do == nil {
			return nil
		}
		return s.do(ctx, get())
	}
	switch s.match.NumSubexp() {
	case 0:
		return func(ctx context.Context) error { return do(ctx) }
	case 1:
		return func(ctx context.Context, _ string) error { return do(ctx) }
	case 2:
		return func(ctx context.Context, _, _ string) error { return do(ctx) }
	case 3:
		return func(ctx context.Context, _, _, _ string) error { return do(ctx) }
	}
	return func(ctx context.Context, _, _, _, _ string) error { return do(ctx) }
}
