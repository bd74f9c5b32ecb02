package lint

import (
	"fmt"
	"maps"
	"slices"

	"backout/harness/service"
)

var planRules = []Rule{
	{Name: "no-pre-check", Why: "What is not asked before the first step is found out after it.", Plan: noPreCheck},
	{Name: "no-identity", Why: "A plan that does not ask where it is connected to changes the wrong database one day.", Plan: noIdentity},
	{Name: "no-expected-outcome", Why: "Many commands end with 0 and have done nothing.", Plan: noOutcome},
	{Name: "no-validation", Why: "A plan whose commands have ended is not a service that is back.", Plan: noValidation},
	{Name: "timeout-beyond-target", Why: "A step that may take longer than service may be away has no timeout.", Plan: longTimeout},
	{Name: "foreign-host", Why: "A script that names a host of production touches it in a drill.", Plan: foreignHost},
}

func noPreCheck(p *service.Plan) []Finding {
	if slices.ContainsFunc(p.Before, func(c service.Check) bool { return c.BeforeStep == 0 }) {
		return nil
	}
	return []Finding{{File: p.Path, Line: 1, Found: "nothing is checked before the first step",
		Do: "State in before what must hold, such as database, unblocked and artefact"}}
}

func noIdentity(p *service.Plan) []Finding {
	asked := map[string]bool{}
	for _, c := range p.Before {
		if c.Database != nil {
			asked[p.Env[c.Database.URL]] = true
		}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		if from := p.Env[name]; service.IsDatabase(from) && !asked[from] {
			all = append(all, Finding{File: p.Path, Line: p.EnvLine, Found: "nobody asks which database " + name + " is",
				Do: fmt.Sprintf("State in before: database: {name: ..., role: ..., url: %s}", name)})
		}
	}
	return all
}

func noOutcome(p *service.Plan) []Finding {
	var all []Finding
	for i, s := range p.Steps {
		if s.Output == "" {
			all = append(all, Finding{File: p.Path, Line: s.Line, Found: fmt.Sprintf("step %d (%s) says nothing of what it prints when it has done its work", i+1, s.Name),
				Do: "State expect: {output: a regular expression}"})
		}
	}
	return all
}

func noValidation(p *service.Plan) []Finding {
	if len(p.After) > 0 {
		return nil
	}
	return []Finding{{File: p.Path, Line: 1, Found: "nothing is checked after the last step", Do: "State in after what must hold, such as every instance serves and a journey"}}
}

func longTimeout(p *service.Plan) []Finding {
	target := service.TargetStandard
	if p.Release.Service.Tier == "critical" {
		target = service.TargetCritical
	}
	var all []Finding
	for i, s := range p.Steps {
		if s.Timeout > target {
			all = append(all, Finding{File: p.Path, Line: s.Line, Found: fmt.Sprintf("step %d (%s) may take %s, and service must be back within %s", i+1, s.Name, s.Timeout, target),
				Do: "Give it the time that it takes in drills, with some room"})
		}
	}
	return all
}

func foreignHost(p *service.Plan) []Finding {
	var all []Finding
	for _, f := range p.Release.Foreign(p) {
		all = append(all, Finding{File: f.Path, Line: f.Line, Found: fmt.Sprintf("it names the host %s", f.Host),
			Do: "Take it from a variable of the plan's env, or name it under allow in " + p.Release.Service.Path})
	}
	return all
}
