package report

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// rolled is a rollback on Kubernetes in which one pod is left behind.
func rolled(t *testing.T) *Model {
	t.Helper()
	b := New()
	n := int64(0)
	put := func(t float64, k evidence.Kind) {
		n++
		e := evidence.Event{N: n, T: evidence.Offset(t)}
		k.Put(&e)
		b.Add(e)
	}
	put(0, &evidence.Run{Name: "A pod is left behind", Good: "v1", Replicas: 2, Release: evidence.Release{Name: "v2"}, Environment: "kind",
		Service: evidence.Service{Name: "shop", Journeys: []string{"browse"}}, Windows: evidence.Windows{Beat: 1}, Again: "backout run"})
	names := []string{"shop-7d-a", "shop-5c-b", "shop-5c-c", "shop-7d-d"}
	for i, name := range names {
		put(float64(10*i)+0.1, &evidence.Pod{Name: name, Service: "shop", Event: evidence.PodReady, Owner: "ReplicaSet/shop", Node: "node-1"})
		put(float64(10*i)+0.2, &evidence.Instance{Name: name, Service: "shop", Up: true, Ready: true, Release: "v1"})
	}
	put(31, &evidence.Pod{Name: "shop-5c-b", Service: "shop", Event: evidence.PodDeleted})
	put(50, &evidence.End{How: "complete"})
	of := func(o float64) *evidence.Offset { x := evidence.Offset(o); return &x }
	return b.Model(verdict.Verdict{Verdict: verdict.Fail, Because: "shop-5c-c serves v2.",
		Clocks: verdict.Clocks{evidence.ClockDeployBegun: of(8), evidence.ClockDecided: of(20), evidence.ClockCommandReturned: of(32),
			evidence.ClockLastBadResponse: of(40.1), evidence.ClockWatchEnded: of(45)},
		Replicas: []verdict.Replica{{Name: "shop-7d-d", Kind: "instance", Converged: of(30.4), Last: "v1", Came: of(30)},
			{Name: "shop-5c-c", Kind: "instance", Last: "v2", Came: of(10)}},
		Shares: verdict.Shares{Replicas: [2]int64{1, 2}},
		Pods: []verdict.Pod{
			{Name: "shop-7d-a", Owner: "ReplicaSet/shop-7d", Release: "v1", Deleting: of(11), Deleted: of(12)},
			{Name: "shop-5c-b", Owner: "ReplicaSet/shop-5c", Release: "v2", Created: of(9), Scheduled: of(9.2), Started: of(10), Ready: of(11), FirstServed: of(11.2), Deleting: of(30), Deleted: of(31)},
			{Name: "shop-5c-c", Owner: "ReplicaSet/shop-5c", Release: "v2", Created: of(10), Scheduled: of(10.2), Started: of(11), Ready: of(12), FirstServed: of(12.2), ServedOn: true, BadResponses: 12, BadSeconds: 8.1},
			{Name: "shop-7d-d", Owner: "ReplicaSet/shop-7d", Release: "v1", Created: of(28), Scheduled: of(28.1), Started: of(29), Ready: of(30), FirstServed: of(30.2)},
			{Name: "shop-7d-e", Owner: "ReplicaSet/shop-7d", Created: of(28), Failing: "ImagePullBackOff"},
		}}, "")
}

// Each pod is on the page, as a line and in the table, and the one that is left behind is named in words.
func TestPodsAreOnThePage(t *testing.T) {
	m := rolled(t)
	var page, summary bytes.Buffer
	if err := HTML(&page, m); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("PAGE"); path != "" { // to look at it
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"Users got the last answer of another release 8.1\u00a0s after the command had returned.",
		"shop-5c-c of v2: it was never deleted, and users got 12 answers from it for 8.1\u00a0s",
		`straggler</b>`, `class="seg old hatch"`, `title="first answer"`, "ImagePullBackOff", "last bad response",
		// The table says what the line draws; what was not seen is said.
		`<td>ReplicaSet/shop-5c</td><td></td><td>v2</td><td class="num">-11.0` + "\u00a0s</td>", `<td class="num">not seen</td>`, `<td class="num">&#43;11.0` + "\u00a0s</td>",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	for _, bad := range []string{"ZgotmplZ", "NaN"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("%s is on the page", bad)
		}
	}
	if n := strings.Count(page.String(), `<th scope="row">shop-5c-b`); n != 2 {
		t.Errorf("a pod that was replaced is on the page %d times, expected among the pods and in their table", n)
	}
	if err := Markdown(&summary, m); err != nil {
		t.Fatal(err)
	}
	if want := "\nStragglers: shop-5c-c of v2: it was never deleted, and users got 12 answers from it for 8.1 s. Users got the last answer of another release 8.1 s after the command had returned.\n"; !strings.Contains(summary.String(), want) {
		t.Errorf("%q is not in\n%s", want, summary.String())
	}
}

func TestPodsInWords(t *testing.T) {
	for _, c := range []struct {
		e    evidence.Event
		want string
	}{
		{evidence.Event{Pod: &evidence.Pod{Name: "shop-7d-a", Event: evidence.PodFailing, Reason: "CrashLoopBackOff", Restarts: 3, Owner: "ReplicaSet/shop-7d", Node: "node-1", Image: "shop:v2"}},
			"pod shop-7d-a: failing, CrashLoopBackOff, 3 restarts, of ReplicaSet/shop-7d, on node-1, image shop:v2"},
		{evidence.Event{Endpoints: &evidence.Endpoints{Service: "shop", Pods: []string{"shop-7d-a", "shop-7d-b"}}},
			"endpoints shop: sends requests to 2 pods, shop-7d-a, shop-7d-b"},
		{evidence.Event{Endpoints: &evidence.Endpoints{Service: "shop"}}, "endpoints shop: sends requests to 0 pods"},
	} {
		if got := from(c.e) + ": " + describe(c.e); got != c.want {
			t.Errorf("found %q, expected %q", got, c.want)
		}
	}
}
