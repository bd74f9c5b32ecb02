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

// Unregistered is what runs have in Docker that the register in dir does not know, a line each, by the runs' tokens: it may be
// another user's who drills at this moment, or its register was removed.
func Unregistered(ctx context.Context, dir string) (map[string][]string, error) {
	before, err := environment.Registered(dir)
	if err != nil {
		return nil, err
	}
	found, err := containers.Labelled(ctx)
	if err != nil {
		return nil, err
	}
	after, err := environment.Registered(dir) // of a run that began meanwhile
	for _, token := range slices.Concat(before, after) {
		delete(found, token)
	}
	return found, err
}

// CleanUnregistered removes what one of these runs has in Docker, which somebody knows to be dead.
func CleanUnregistered(ctx context.Context, dir, token string) ([]string, error) {
	found, err := Unregistered(ctx, dir)
	if err != nil {
		return nil, err
	}
	if len(found[token]) == 0 {
		return nil, fmt.Errorf("clean run %q: a run was expected that has something in Docker and is not in the register of %s, found %d of them; "+
			"`backout clean` lists them and removes what the register knows", token, dir, len(found))
	}
	return containers.Clean(ctx, token, environment.Entry{Kind: environment.KindContainers})
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
