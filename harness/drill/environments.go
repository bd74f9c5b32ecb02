package drill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/environment/kubernetes"
	"backout/harness/environment/process"
	"backout/harness/fault"
	"backout/harness/postgres"
	"backout/harness/service"
)

// Place is what an environment is started with, the same for all drills of a set.
type Place = environment.Options

// kind is one kind of environment.
type kind struct {
	start func(Place) (environment.Environment, error)
	lacks func([]*service.Service) string // what this machine has not that these services need; empty: nothing
	clean environment.Cleaner             // removes what a dead run has left beside processes and folders; may be nil
}

// kinds are those that there are. Adding one is adding its folder and its line here.
func kinds() map[string]kind {
	return map[string]kind{
		service.InProcesses:  {start: process.New, lacks: process.Lacks},
		service.InContainers: {start: containers.New, lacks: containers.Lacks, clean: containers.Clean},
		kubernetes.Name:      {start: kubernetes.New, lacks: kubernetes.Lacks, clean: kubernetes.Clean},
		kubernetes.InCluster: {start: kubernetes.NewExisting, lacks: kubernetes.LacksExisting, clean: kubernetes.CleanExisting},
	}
}

// Environments are how the kinds are started, by name.
func Environments() map[string]func(Place) (environment.Environment, error) {
	all := map[string]func(Place) (environment.Environment, error){}
	for name, k := range kinds() {
		all[name] = k.start
	}
	return all
}

// Clean removes what dead runs have left, of every kind, by the register in dir. It returns a line for each thing.
func Clean(ctx context.Context, dir string) ([]string, error) {
	cleaners := map[string]environment.Cleaner{}
	for name, k := range kinds() {
		if k.clean != nil {
			cleaners[name] = k.clean
		}
	}
	return environment.Clean(ctx, dir, cleaners)
}

// RemoveClusters removes the clusters that were made for drills and stay for later ones.
func RemoveClusters(ctx context.Context, place Place) ([]string, error) {
	return kubernetes.RemoveClusters(ctx, place)
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
	k, known := kinds()[name]
	if !known || s.Service == nil {
		return ""
	}
	if d := s.Death; d != nil && dynamic(name) && strings.Contains(d.Says, s.Service.Name+"-1") {
		return fmt.Sprintf("no instance is called %s-1 there, so no step says %q", s.Service.Name, d.Says)
	}
	if name == kubernetes.InCluster && kubernetes.Defines(s.Good) {
		return fmt.Sprintf("%s has definitions of kinds, which belong to no namespace, and a drill changes nothing outside of its own: --env kind", s.Good.Name)
	}
	if s.LeaseInCluster && name != kubernetes.Name {
		return "a Lease of Kubernetes is taken where the cluster is the drill's own: --env kind"
	}
	if s.leases() && !s.leaseInCluster(name) {
		if _, err := postgres.Find(""); err != nil {
			return fmt.Sprintf("the database of the lease runs on this machine: %v", err)
		}
	}
	if why := k.lacks(append([]*service.Service{s.Service}, s.Dependants...)); why != "" || len(s.Faults) == 0 {
		return why
	}
	env, err := k.start(Place{})
	if err != nil {
		return err.Error()
	}
	if why := fault.Lacks(env.Faults(), s.Faults); why != "" {
		return fmt.Sprintf("the environment %s cannot do what the drill declares: %s", name, why)
	}
	return ""
}

// EnvironmentNames are the kinds there are, sorted.
func EnvironmentNames() []string { return slices.Sorted(maps.Keys(kinds())) }
