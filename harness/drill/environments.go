package drill

import (
	"fmt"
	"maps"
	"slices"

	"backout/harness/environment"
	"backout/harness/environment/process"
	"backout/harness/fault"
	"backout/harness/service"
)

// Place is what an environment is started with, the same for all drills of a set.
type Place = process.Options

// Environments are the kinds there are. Adding one is adding its folder and its line here.
func Environments() map[string]func(Place) (environment.Environment, error) {
	return map[string]func(Place) (environment.Environment, error){
		"process": process.New,
	}
}

// NewEnvironment makes an environment by name; nothing is started yet.
func NewEnvironment(name string, place Place) (environment.Environment, error) {
	make, known := Environments()[name]
	if !known {
		return nil, fmt.Errorf("environment %q: expected one of %v", name, EnvironmentNames())
	}
	return make(place)
}

// Lacks says what this machine or the environment has not that the drill needs, and the command that mends it where there
// is one; empty: nothing. Nothing is started for it.
func Lacks(name string, s *Spec) string {
	if len(s.Faults) > 0 {
		env, err := NewEnvironment(name, Place{})
		if err != nil {
			return err.Error()
		}
		if why := fault.Lacks(env.Faults(), s.Faults); why != "" {
			return fmt.Sprintf("the environment %s cannot do what the drill declares: %s", name, why)
		}
	}
	if lacks := map[string]func([]*service.Service) string{"process": process.Lacks}[name]; lacks != nil && s.Service != nil {
		return lacks(append([]*service.Service{s.Service}, s.Dependants...))
	}
	return ""
}

// EnvironmentNames are the kinds there are, sorted.
func EnvironmentNames() []string { return slices.Sorted(maps.Keys(Environments())) }
