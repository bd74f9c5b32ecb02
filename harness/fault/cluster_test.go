package fault_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/fault"
)

// Each fault of a cluster is believed only when it was seen, and its end, too.
func TestFaultsOfAClusterAreSeen(t *testing.T) {
	pods := []fault.Pod{{Name: "shop-a", ID: "1", Ready: true}, {Name: "shop-b", ID: "2", Ready: true}}
	worker := fault.Worker{Name: "the worker", Open: true, Kubelet: fault.Running, Ready: true, Pods: 1}
	limit := fault.PodLimit{}
	on, state, silent, refused := 2, fault.Running, "", ""
	nothing := func(context.Context) error { return nil }
	place := fault.Place{
		KillPod: func(context.Context, string) (fault.Pod, error) { return pods[0], nil },
		Pods:    func(context.Context, string) ([]fault.Pod, error) { return pods, nil },
		Drain:   nothing, Undrain: nothing, StopKubelet: nothing, StartKubelet: nothing,
		Worker:    func(context.Context) (fault.Worker, error) { return worker, nil },
		HideImage: func(context.Context, string) error { return nil }, ShowImage: func(context.Context, string) error { return nil },
		HasImage: func(context.Context, string) (int, int, error) { return on, 2, nil },
		PauseAPI: nothing, ResumeAPI: nothing,
		API:       func(context.Context) (fault.State, string, error) { return state, silent, nil },
		LimitPods: nothing, UnlimitPods: nothing,
		PodLimit:       func(context.Context) (fault.PodLimit, error) { return limit, nil },
		ForbidEviction: func(context.Context, string) error { return nil }, AllowEviction: func(context.Context, string) error { return nil },
		MayEvict: func(context.Context, string) (string, error) { return refused, nil },
	}
	for _, c := range []struct {
		kind   string
		change func()
		force  bool
		gone   bool
	}{
		{"pod", func() {}, false, true},
		{"pod", func() { pods = pods[1:] }, true, false},
		{"pod", func() { pods = append(pods, fault.Pod{Name: "shop-a", ID: "3"}) }, true, false},
		{"pod", func() { pods[1].Ready = true }, true, true},

		{"drain", func() {}, false, true},
		{"drain", func() { worker.Open = false }, false, false},
		{"drain", func() { worker.Pods = 0 }, true, false},

		{"kubelet", func() {}, false, true},
		{"kubelet", func() { worker.Kubelet = fault.Gone }, true, false},
		{"kubelet", func() { worker.Kubelet, worker.Ready = fault.Running, false }, false, false},

		{"image", func() {}, false, true},
		{"image", func() { on = 1 }, false, false},
		{"image", func() { on = 0 }, true, false},

		{"apiserver", func() {}, false, true},
		{"apiserver", func() { state = fault.Paused }, false, false},
		{"apiserver", func() { silent = "no answer" }, true, false},
		{"apiserver", func() { state = fault.Running }, false, false},

		{"quota", func() {}, false, true},
		{"quota", func() { limit = fault.PodLimit{Used: 3, Hard: 3, Refused: "exceeded quota"} }, true, false},
		{"quota", func() { limit = fault.PodLimit{Used: 2, Hard: 3} }, true, false},

		{"budget", func() {}, false, true},
		{"budget", func() { refused = "it would violate the budget" }, true, false},
	} {
		kind, err := fault.Find(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if !kind.Can(place) || kind.Can(fault.Place{}) {
			t.Errorf("%s: expected that this place can, and one that can nothing cannot", c.kind)
		}
		f := kind.New(fault.World{Place: place}, evidence.DeclaredFault{Kind: c.kind, Of: "shop"})
		before := pods
		pods = []fault.Pod{{Name: "shop-a", ID: "1", Ready: true}, {Name: "shop-b", ID: "2", Ready: true}}
		if err := f.Inject(t.Context()); err != nil {
			t.Fatal(err)
		}
		pods = before
		c.change()
		seen, force, err := f.InForce(t.Context())
		if err != nil || force != c.force {
			t.Errorf("%s: expected in force %v, found %v (%v): %s", c.kind, c.force, force, err, seen)
		}
		seen, gone, err := f.Gone(t.Context())
		if err != nil || gone != c.gone {
			t.Errorf("%s: expected gone %v, found %v (%v): %s", c.kind, c.gone, gone, err, seen)
		}
		if c.kind == "drain" && gone || c.kind == "kubelet" && gone {
			worker = fault.Worker{Name: "the worker", Open: true, Kubelet: fault.Running, Ready: true, Pods: 1}
		}
	}
}

func TestWhatCannotBeAskedIsNotSeen(t *testing.T) {
	away := errors.New("no answer")
	kind, err := fault.Find("quota")
	if err != nil {
		t.Fatal(err)
	}
	f := kind.New(fault.World{Place: fault.Place{PodLimit: func(context.Context) (fault.PodLimit, error) {
		return fault.PodLimit{}, away
	}}}, evidence.DeclaredFault{Kind: "quota"})
	if _, yes, err := f.Gone(t.Context()); yes || !errors.Is(err, away) {
		t.Errorf("expected that nothing is known, found gone %v, %v", yes, err)
	}
}

func TestAPlaceWhoseInstancesHaveNoNames(t *testing.T) {
	can := func(context.Context, string) error { return nil }
	p := fault.Place{Nameless: true, Kill: can, Start: can, State: func(context.Context, string) (fault.State, error) { return fault.Gone, nil }}
	if why := fault.Lacks(p, []evidence.DeclaredFault{{Kind: "kill", Of: "shop-2", Text: "shop-2 is killed"}}); !strings.Contains(why, "no names before they are there") {
		t.Errorf("expected that shop-2 has no name yet, found %q", why)
	}
	if why := fault.Lacks(p, []evidence.DeclaredFault{{Kind: "kill", Of: fault.OnStreaming, Text: "the streaming replica is killed"}}); why != "" {
		t.Errorf("expected that a node can be killed, found %q", why)
	}
}

func TestWideFaultsNeedThePlaceToThemselves(t *testing.T) {
	for kinds, want := range map[string]bool{"pod": false, "quota budget image": false, "pod drain": true, "kubelet": true, "apiserver": true} {
		if found := fault.Wide(strings.Fields(kinds)); found != want {
			t.Errorf("%s: expected wide %v, found %v", kinds, want, found)
		}
	}
}
