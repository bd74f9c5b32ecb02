package kubernetes

import (
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/fault"
)

// A run that is killed with the API server paused, the kubelet stopped and the worker closed leaves a note. Whoever opens the
// cluster next finds all of it undone, and no note.
func TestWhatADeadRunHasDisturbedIsMended(t *testing.T) {
	if os.Getenv("BACKOUT_KIND") == "" {
		t.Skip("tests on kind are run by make test-kind")
	}
	image := containers.Node(t.Context())
	if !containers.Here(t.Context(), image) {
		t.Skipf("the node image %s is not here", image)
	}
	c, err := ofCache("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	of := shape{Workers: 1, Alone: true}
	open := func() *stage {
		k, err := c.open(ctx, image, of, func(string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.lock.Close() })
		return &stage{clusters: c, cluster: k}
	}
	s := open()
	p := s.place()
	for _, disturb := range []func(context.Context) error{p.Drain, p.StopKubelet, p.PauseAPI} {
		if err := disturb(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if seen, err := fault.Await(ctx, 10*time.Second, func(ctx context.Context) (string, bool, error) {
		is, silent, err := p.API(ctx)
		return string(is) + " " + silent, is == fault.Paused && silent != "", err
	}); err != nil {
		t.Fatalf("the API server is not paused: %v: %s", err, seen)
	}
	s.cluster.lock.Close() // it dies

	s = open()
	p = s.place()
	is, silent, err := p.API(ctx)
	if err != nil || is != fault.Running || silent != "" {
		t.Errorf("expected an API server that answers, found %s %s %v", is, silent, err)
	}
	w, err := p.Worker(ctx)
	if err != nil || !w.Open || !w.Ready || w.Kubelet != fault.Running {
		t.Errorf("expected a worker as it was made, found %+v %v", w, err)
	}
	if _, err := os.Stat(c.path(s.cluster.name, disturbed)); !os.IsNotExist(err) {
		t.Errorf("expected no note that the cluster is disturbed, found %v", err)
	}
}

// A drill that has not declared it cannot disturb the cluster that all drills share.
func TestACommonClusterIsNotDisturbed(t *testing.T) {
	s, err := New(environment.Options{Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	of := s.(*stage)
	of.cluster = &cluster{name: "common", nodes: []string{"common-control-plane"}}
	p := of.Faults()
	for name, do := range map[string]func(context.Context) error{"drain": p.Drain, "kubelet": p.StopKubelet, "API server": p.PauseAPI} {
		if err := do(t.Context()); err == nil {
			t.Errorf("%s: expected to be refused", name)
		}
	}
}

// What a drill may do to a cluster of its own it must not do to one of others.
func TestNoFaultOfAClusterThatExistsReachesBeyondTheNamespace(t *testing.T) {
	env, err := NewExisting(environment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	place := env.Faults()
	may := map[string]bool{"Nameless": true, "KillPod": true, "Pods": true}
	of := reflect.ValueOf(place)
	for i := range of.NumField() {
		if name := of.Type().Field(i).Name; of.Field(i).IsZero() == may[name] {
			t.Errorf("%s: can be done is %v, expected %v", name, !of.Field(i).IsZero(), may[name])
		}
	}
}
