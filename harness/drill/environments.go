package drill

import (
	"fmt"
	"maps"
	"slices"

	"backout/harness/environment"
	"backout/harness/environment/process"
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

// EnvironmentNames are the kinds there are, sorted.
func EnvironmentNames() []string { return slices.Sorted(maps.Keys(Environments())) }
