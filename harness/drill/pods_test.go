package drill

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Where instances come and go, a drill says how many must run the release, those that take no requests too; elsewhere it names them.
func TestResolveNamesInstancesOnlyWhereTheyStay(t *testing.T) {
	s, err := service.Load("../../fixtures/services/shop/service.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good, err := s.Release("v1")
	if err != nil {
		t.Fatal(err)
	}
	bad, err := s.Release("v2-fails-checkouts")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := bad.Plan("rollback", "process")
	if err != nil {
		t.Fatal(err)
	}
	spec := &Spec{Name: "x", Path: s.Path, Line: 1, Service: s, Good: good, Bad: bad, Plan: plan, Rate: 10, Users: 1}
	for _, c := range []struct {
		environment string
		instances   []string
		replicas    int
	}{
		{"process", []string{"shop-1", "shop-2", "shop-3"}, 0}, {"containers", []string{"shop-1", "shop-2", "shop-3"}, 0},
		{"kind", nil, 4}, {"cluster", nil, 4},
	} {
		run, err := spec.resolve(Options{Environment: c.environment, Windows: "gate"})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(run.Instances, c.instances) || run.Replicas != c.replicas {
			t.Errorf("%s: expected %v and %d, found %v and %d", c.environment, c.instances, c.replicas, run.Instances, run.Replicas)
		}
	}
}

func newLog(t *testing.T) *evidence.Log {
	t.Helper()
	log, err := evidence.Create(filepath.Join(t.TempDir(), evidence.File), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// A pod that did not answer and is gone keeps nobody waiting for a steady state; one that is there does.
func TestSettledAsksOfPodsThatAreThere(t *testing.T) {
	for _, c := range []struct {
		name string
		gone string
		want bool
	}{{"gone", "shop-7d9f-aaa", true}, {"another is gone", "shop-7d9f-bbb", false}} {
		t.Run(c.name, func(t *testing.T) {
			log := newLog(t)
			now := evidence.Offset(0)
			w := newWarmth(log, []string{"browse"})
			w.now = func() evidence.Offset { return now }
			log.PutAt(1, &evidence.Instance{Name: "shop-7d9f-aaa", Service: "shop"})
			log.PutAt(1.5, &evidence.Pod{Name: c.gone, Service: "shop", Event: evidence.PodDeleted})
			for i := range 40 {
				log.PutAt(2+evidence.Offset(i)/10, &evidence.Journey{Name: "browse", MS: 5, Outcome: evidence.OK})
			}
			now = 6
			if got := w.reached(); got != c.want {
				t.Errorf("expected %v, found %v: %s", c.want, got, w.last())
			}
		})
	}
}

// A step of a plan does something to pods when one is made or goes, not when one says of itself what it is.
func TestEffectsOfPods(t *testing.T) {
	var told []string
	log := newLog(t)
	log.Tap(effects("shop", func(what string) { told = append(told, what) }))
	for _, p := range []evidence.Pod{
		{Name: "a", Service: "shop", Event: evidence.PodReady}, {Name: "b", Service: "billing", Event: evidence.PodCreated},
		{Name: "c", Service: "shop", Event: evidence.PodCreated}, {Name: "a", Service: "shop", Event: evidence.PodDeleting},
	} {
		log.Put(&p)
	}
	if want := []string{"c had been created", "a was going"}; !slices.Equal(told, want) {
		t.Errorf("expected %q, found %q", want, told)
	}
}
