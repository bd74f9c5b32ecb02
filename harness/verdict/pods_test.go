package verdict_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// pods makes of the drill that goes well one on Kubernetes: shop-7d-a, -b and -c serve v1, the deploy replaces them one by
// one by shop-5c-a, -b and -c of v2, and the rollback these by shop-7d-d, -e and -f. A pod is created 0.4 s before it is ready
// and is deleted 0.3 s after it was told to end. One that is rolled back to nothing stays as it is after the deploy.
func pods(rolledBack bool) *log {
	l := good()
	if !rolledBack {
		refusal(l)
	}
	l.run.Environment, l.run.Instances, l.run.Replicas = "kind", nil, 3
	back := func(i int) float64 {
		if rolledBack {
			return 26 + float64(i)
		}
		return 1e6
	}
	name := func(t float64, i int) string {
		switch {
		case t >= back(i):
			return "shop-7d-" + string("def"[i])
		case t >= deployBegun+0.5+0.4*float64(i):
			return "shop-5c-" + string("abc"[i])
		}
		return "shop-7d-" + string("abc"[i])
	}
	l.each(func(e *evidence.Event) {
		switch {
		case e.Instance != nil && e.Instance.Service == "shop":
			e.Instance.Name = name(float64(e.T), slices.Index(instances, e.Instance.Name))
		case e.Journey != nil && e.Journey.Service == "":
			for k, s := range e.Journey.Served {
				i, release := slices.Index(instances, strings.Split(string(s), "@")[0]), strings.Split(string(s), "@")[1]
				at := map[bool]float64{true: 20, false: float64(e.T)}[release == "v2"]
				e.Journey.Served[k] = evidence.Serve(name(at, i) + "@" + release)
				if e.Journey.Blame != "" {
					e.Journey.Blame = e.Journey.Served[k]
				}
			}
		}
	})
	for i := range instances {
		born(l, name(0, i), 0.01)
		if rolledBack {
			born(l, name(back(i), i), back(i)-0.4)
			ends(l, name(20, i), back(i))
		}
		up := deployBegun + 0.5 + 0.4*float64(i)
		born(l, name(20, i), up-0.4)
		ends(l, name(0, i), up)
	}
	var times []float64
	for i := range instances {
		times = append(times, 0.5+float64(i)/100, deployBegun+0.5+0.4*float64(i))
		if rolledBack {
			times = append(times, back(i))
		}
	}
	for _, t := range times {
		l.at(t, &evidence.Endpoints{Service: "shop", Pods: []string{name(t, 0), name(t, 1), name(t, 2)}})
	}
	return l
}

func word(l *log, name, event, reason string, t float64) {
	owner := "ReplicaSet/" + name[:strings.LastIndexByte(name, '-')]
	l.at(t, &evidence.Pod{Name: name, Service: "shop", Event: event, Reason: reason, Owner: owner, Node: "node-1"})
}

func born(l *log, name string, t float64) {
	for i, event := range []string{evidence.PodCreated, evidence.PodScheduled, evidence.PodStarted, evidence.PodReady} {
		word(l, name, event, "", t+[]float64{0, 0.05, 0.2, 0.4}[i])
	}
	if t > 1 {
		l.at(t+0.3, &evidence.Instance{Name: name, Service: "shop"})
	}
}

func ends(l *log, name string, t float64) {
	word(l, name, evidence.PodDeleting, "", t)
	l.at(t+0.1, &evidence.Instance{Name: name, Service: "shop"})
	word(l, name, evidence.PodDeleted, "", t+0.3)
}

// says has a pod say of itself twice a second that it is of a release.
func says(l *log, name, release string, from, to float64) {
	for t := from; t < to; t += 0.5 {
		l.at(t, &evidence.Instance{Name: name, Service: "shop", Up: true, Ready: true, Release: release})
	}
}

// unheard takes back what the cluster said of a pod from an instant on.
func unheard(name string, from float64) change {
	return func(l *log) {
		l.drop(func(e *evidence.Event) bool { return e.Pod != nil && e.Pod.Name == name && float64(e.T) >= from })
	}
}

// lingers has a pod of v2 serve on until an instant.
func lingers(name string, to float64) change {
	return func(l *log) {
		unheard(name, 20)(l)
		noReading(name, 26, 60)(l)
		says(l, name, "v2", 26.1, to)
	}
}

// asksIt has users get an answer from a pod at some times.
func asksIt(by evidence.Serve, times ...float64) change {
	return func(l *log) {
		for _, t := range times {
			l.at(t, &evidence.Journey{Name: "browse", At: evidence.Offset(t - 0.005), MS: 5, Outcome: evidence.OK, Served: []evidence.Serve{by}})
		}
	}
}

func holds(t float64, names ...string) change {
	return func(l *log) {
		l.drop(func(e *evidence.Event) bool { return e.Endpoints != nil && float64(e.T) >= t })
		l.at(t, &evidence.Endpoints{Service: "shop", Pods: names})
	}
}

func TestPodsThatAreReplacedAreNeitherBadNorUnknown(t *testing.T) {
	l := pods(true)
	v := l.judge()
	if v.Verdict != verdict.Pass || !v.Complete {
		t.Fatal(dump(v))
	}
	if r := v.Clocks[evidence.ClockRestored]; r == nil || *r != 30.5 {
		t.Errorf("expected it to be restored at 30.5 s, as instances that stay are: found %v", r)
	}
	if last := v.Clocks[evidence.ClockLastBadResponse]; last == nil || *last < 27.5 || *last > 28.1 {
		t.Errorf("the last response of v2 came shortly before 28 s, found %v", last)
	}
	if v.Shares.Replicas != [2]int64{6, 6} {
		t.Errorf("expected 6 of 6 replicas at the target, found %v", v.Shares.Replicas)
	}
	var names []string
	for _, r := range v.Replicas {
		names = append(names, r.Name)
		if r.Converged == nil || r.Kind == "instance" && (r.Came == nil || r.Went != nil || r.Last != "v1") {
			t.Errorf("found %+v", r)
		}
	}
	if got := strings.Join(names, " "); got != "shop-7d-d shop-7d-e shop-7d-f primary streaming logical" {
		t.Errorf("replicas: found %s", got)
	}
	names = nil
	for _, p := range v.Pods {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "shop-7d-a shop-7d-b shop-7d-c shop-5c-a shop-5c-b shop-5c-c shop-7d-d shop-7d-e shop-7d-f" {
		t.Errorf("pods: found %s", got)
	}
	p := v.Pods[3]
	if got := fmt.Sprint(p.Owner, p.Node, p.Release, *p.Created, *p.Scheduled, *p.Started, *p.Ready, *p.Deleting, *p.Deleted, p.BadResponses); got !=
		fmt.Sprint("ReplicaSet/shop-5c", "node-1", "v2", 16.1, 16.15, 16.3, 16.5, 26.0, 26.3, 0) {
		t.Errorf("the first pod of v2: found %s", got)
	}
	if p.FirstServed == nil || *p.FirstServed < 16.5 || *p.FirstServed > 16.7 {
		t.Errorf("its first answer: found %v", p.FirstServed)
	}
	if p := v.Pods[8]; p.Deleting != nil || p.Deleted != nil || p.Release != "v1" {
		t.Errorf("the last pod of v1: found %+v", p)
	}
}

func TestChecksOfPods(t *testing.T) {
	const pass, fails, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	unreplaced := all(unheard("shop-7d-f", 0), noReading("shop-7d-f", 0, 60))
	for _, c := range []checkCase{
		{verdict.Restored, "a pod stays on the bad release", lingers("shop-5c-c", end), verdict.Broken, fails, "watched for 12.0 s after the last step: shop-5c-c serves v2"},
		{verdict.InstancesServe, "a pod stays on the bad release", lingers("shop-5c-c", end), verdict.Broken, fails, "shop-5c-c serves v2"},
		{verdict.InstancesServe, "and users get its answers", all(lingers("shop-5c-c", end), asksIt("shop-5c-c@v2", 31, 38.1)), verdict.Broken, fails,
			"shop-5c-c serves v2, and users got its answers for 8.1 s after the command had returned"},
		{verdict.Restored, "a straggler is deleted in time", all(lingers("shop-5c-c", 31), func(l *log) { ends(l, "shop-5c-c", 31) }), verdict.Kept, pass, "restored 9.5 s after the decision"},
		{verdict.Restored, "a straggler is deleted too late", all(lingers("shop-5c-c", 37), func(l *log) { ends(l, "shop-5c-c", 37) }), verdict.Broken, fails, "shop-5c-c serves v2"},
		{verdict.Restored, "the deployment is healthy, and one of its pods serves the bad release", instance("shop-7d-e", 27, end, func(i *evidence.Instance) { i.Release = "v2" }),
			verdict.Broken, fails, "shop-7d-e serves v2; 2 of 3 pods serve v1"},
		{verdict.InstancesServe, "the deployment is healthy, and one of its pods serves the bad release", instance("shop-7d-e", 27, end, func(i *evidence.Instance) { i.Release = "v2" }),
			verdict.Broken, fails, "shop-7d-e serves v2, 2 of 3 pods serve v1 and the endpoints of shop still hold shop-7d-e of v2"},
		{verdict.Restored, "fewer pods than replicas", unreplaced, verdict.Broken, fails, "watched for 12.0 s after the last step: 2 of 3 pods serve v1"},
		{verdict.InstancesServe, "fewer pods than replicas", unreplaced, verdict.Broken, fails, "2 of 3 pods serve v1"},
		{verdict.Restored, "more pods than replicas", func(l *log) { born(l, "shop-7d-g", 29); says(l, "shop-7d-g", "v1", 29.5, destroyed) }, verdict.Kept, pass, ""},
		{verdict.InstancesServe, "one pod more than replicas", func(l *log) { born(l, "shop-7d-g", 29); says(l, "shop-7d-g", "v1", 29.5, destroyed) }, verdict.Kept, pass, "4 pods serve v1"},
		{verdict.Restored, "a pod that is not ready", instance("shop-7d-d", 33, end, func(i *evidence.Instance) { i.Ready = false }), verdict.Broken, fails, "shop-7d-d is not ready"},
		{verdict.Restored, "nothing answers for a pod, and the way to it says so", instance("shop-7d-d", 33, end, func(i *evidence.Instance) { i.Ready, i.Release = false, "" }), verdict.Broken, fails, "shop-7d-d is not ready"},
		{verdict.Restored, "a pod that was created and has not started", all(noReading("shop-7d-f", 0, 60), unheard("shop-7d-f", 27.7)), verdict.Broken, fails, "shop-7d-f has not started yet; 2 of 3 pods serve v1"},
		{verdict.InstancesServe, "a pod that was created and has not started", all(noReading("shop-7d-f", 0, 60), unheard("shop-7d-f", 27.7)), verdict.Broken, fails, "shop-7d-f has not started yet"},
		{verdict.Restored, "a pod whose image cannot be pulled", all(noReading("shop-7d-f", 0, 60), unheard("shop-7d-f", 27.7), func(l *log) {
			word(l, "shop-7d-f", evidence.PodFailing, "ImagePullBackOff", 28)
		}), verdict.Broken, fails, "shop-7d-f is failing: ImagePullBackOff"},
		{verdict.Restored, "a pod that is said to be ready and was never asked", noReading("shop-7d-f", 0, 60), verdict.Unjudged, open, "shop-7d-f was never seen"},
		{verdict.Restored, "a pod that is not seen while it matters", noReading("shop-7d-e", 34, 60), verdict.Unjudged, open, "shop-7d-e was not seen for more than three beats"},
		{verdict.InstancesServe, "a pod that is not seen at the end", noReading("shop-7d-e", 34, 60), verdict.Unjudged, open, "shop-7d-e was not seen at the end"},
		{verdict.Restored, "the way to the pods is cut", all(noReading("shop-7d-e", 37, 40), func(l *log) {
			l.at(40, &evidence.Gap{Of: "instance shop-7d-e", From: 37, To: 40, Why: "the API server does not answer"})
		}), verdict.Unjudged, open, "shop-7d-e was not observed: the API server does not answer"},
		{verdict.Restored, "nobody heard the cluster", func(l *log) {
			l.at(40, &evidence.Gap{Of: "pods", From: 37, To: 40, Why: "the watch was cut"})
		}, verdict.Unjudged, open, "it was not observed which pods there are: the watch was cut"},
		{verdict.Restored, "what a pod was said to be before nobody heard the cluster is not known any more", all(noReading("shop-7d-f", 0, 60), unheard("shop-7d-f", 27.7), func(l *log) {
			l.at(45, &evidence.Gap{Of: "pods", From: 28, To: 45, Why: "the watch was cut"})
		}), verdict.Unjudged, open, "shop-7d-f was never seen"},
		{verdict.Restored, "a pod hangs in its end and still answers", all(lingers("shop-5c-c", end), func(l *log) {
			word(l, "shop-5c-c", evidence.PodDeleting, "", 28)
		}), verdict.Broken, fails, "shop-5c-c is being deleted and still serves v2"},
		{verdict.InstancesServe, "a pod hangs in its end and still answers", all(lingers("shop-5c-c", end), func(l *log) {
			word(l, "shop-5c-c", evidence.PodDeleting, "", 28)
		}), verdict.Broken, fails, "shop-5c-c is being deleted and still serves v2"},
		{verdict.Restored, "a pod hangs in its end and answers no more", all(lingers("shop-5c-c", 28), func(l *log) {
			word(l, "shop-5c-c", evidence.PodDeleting, "", 28)
			for t := 28.1; t < destroyed; t += 0.5 {
				l.at(t, &evidence.Instance{Name: "shop-5c-c", Service: "shop"})
			}
		}), verdict.Kept, pass, ""},
		{verdict.Restored, "a pod hangs in its end, and nobody asked it", all(lingers("shop-5c-c", 28), func(l *log) {
			word(l, "shop-5c-c", evidence.PodDeleting, "", 28)
		}), verdict.Unjudged, open, "shop-5c-c was not seen for more than three beats"},
		{verdict.Restored, "a pod of the target hangs in its end", func(l *log) {
			born(l, "shop-7d-g", 28)
			says(l, "shop-7d-g", "v1", 28.5, 29)
			word(l, "shop-7d-g", evidence.PodDeleting, "", 29)
		}, verdict.Kept, pass, ""},
		{verdict.Restored, "a pod of the target ends and nothing takes its place", func(l *log) { ends(l, "shop-7d-d", 34) }, verdict.Broken, fails, "2 of 3 pods serve v1"},
		{verdict.Restored, "a pod is evicted and another takes its place", all(noReading("shop-7d-d", 29, 60), func(l *log) {
			word(l, "shop-7d-d", evidence.PodFailing, evidence.PodEvicted, 29)
			born(l, "shop-7d-g", 29)
			says(l, "shop-7d-g", "v1", 29.5, destroyed)
		}), verdict.Kept, pass, ""},
		{verdict.Restored, "a pod is evicted and nothing takes its place", all(noReading("shop-7d-d", 29, 60), func(l *log) {
			word(l, "shop-7d-d", evidence.PodFailing, evidence.PodEvicted, 29)
		}), verdict.Broken, fails, "2 of 3 pods serve v1"},
		{verdict.Restored, "endpoints still hold a pod of the bad release", holds(28.2, "shop-5c-c", "shop-7d-d", "shop-7d-e", "shop-7d-f"), verdict.Broken, fails,
			"the endpoints of shop still hold shop-5c-c of v2"},
		{verdict.InstancesServe, "endpoints still hold a pod of the bad release", holds(28.2, "shop-5c-c", "shop-7d-d", "shop-7d-e", "shop-7d-f"), verdict.Broken, fails,
			"the endpoints of shop still hold shop-5c-c of v2"},
		{verdict.Restored, "endpoints let go of it in time", all(holds(28.2, "shop-5c-c", "shop-7d-d", "shop-7d-e", "shop-7d-f"), func(l *log) {
			l.at(31, &evidence.Endpoints{Service: "shop", Pods: []string{"shop-7d-d", "shop-7d-e", "shop-7d-f"}})
		}), verdict.Kept, pass, "restored 9.0 s after the decision"},
		{verdict.Restored, "another Service's endpoints hold it", func(l *log) {
			l.at(27, &evidence.Endpoints{Service: "shop-canary", Pods: []string{"shop-5c-c"}})
		}, verdict.Broken, fails, "the endpoints of shop-canary still hold shop-5c-c of v2"},
		{verdict.PlanRefused, "another pod takes the place of one", nil, verdict.Broken, fails, "shop-5c-b went and shop-5c-g came"},
		{verdict.PlanRefused, "it changed no pod", nil, verdict.Kept, pass, "and changed nothing"},
		{verdict.PlanRefused, "a pod restarted", nil, verdict.Broken, fails, "shop-5c-b restarted"},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			l := pods(c.check != verdict.PlanRefused)
			switch c.name {
			case "another pod takes the place of one":
				noReading("shop-5c-b", 36, 60)(l)
				ends(l, "shop-5c-b", 36)
				born(l, "shop-5c-g", 36)
				says(l, "shop-5c-g", "v2", 36.5, destroyed)
			case "a pod restarted":
				word(l, "shop-5c-b", evidence.PodRestarted, "", 36)
			}
			if c.change != nil {
				c.change(l)
			}
			v := l.judge()
			p := promise(v, c.check)
			if p.State != c.state || v.Verdict != c.verdict || !strings.Contains(p.Finding, c.finding) {
				t.Errorf("expected %s, %s: ... %s ...\nfound %s, %s: %s %v\n%s", c.verdict, c.state, c.finding, v.Verdict, p.State, p.Finding, p.Evidence, dump(v))
			}
			if p.State == verdict.Broken && len(p.Evidence) == 0 {
				t.Error("it cites nothing")
			}
		})
	}
}

func TestAssumptionsOfPods(t *testing.T) {
	for _, c := range []struct {
		assumption, name string
		change           change
		held             bool
		finding          string
	}{
		{verdict.BaselineSteady, "it is", func(*log) {}, true, "0 % of"},
		{verdict.BaselineSteady, "a pod came", func(l *log) { born(l, "shop-7d-x", 8); says(l, "shop-7d-x", "v1", 8.5, destroyed) }, false, "shop-7d-x came in it"},
		{verdict.BaselineSteady, "a pod went", func(l *log) {
			word(l, "shop-7d-x", evidence.PodCreated, "", 0.2)
			says(l, "shop-7d-x", "v1", 0.5, 7)
			ends(l, "shop-7d-x", 7)
		}, false, "shop-7d-x went in it"},
		{verdict.BaselineSteady, "a pod is going", func(l *log) { word(l, "shop-7d-b", evidence.PodDeleting, "", 9) }, false, "shop-7d-b was going in it"},
		{verdict.BaselineSteady, "a pod restarted", func(l *log) { word(l, "shop-7d-b", evidence.PodRestarted, "", 9) }, false, "shop-7d-b restarted in it"},
		{verdict.BaselineSteady, "a pod says that it restarted", instance("shop-7d-b", 9, 16, func(i *evidence.Instance) { i.Restarts++ }), false, "shop-7d-b restarted in it"},
		{verdict.BaselineSteady, "a pod is not ready", instance("shop-7d-b", 9, 10, func(i *evidence.Instance) { i.Ready = false }), false, "shop-7d-b is not ready in it"},
		{verdict.BaselineSteady, "fewer pods than replicas", run(func(r *evidence.Run) { r.Replicas = 4 }), false, "3 of 4 pods were there all the time"},
		{verdict.ReleaseReached, "it did", func(*log) {}, true, "3 pods served v2, 3 stated"},
		{verdict.ReleaseReached, "too few pods", instance("shop-5c-c", 0, end, func(i *evidence.Instance) { i.Release = "v1" }), false, "2 pods served v2, 3 stated; not shop-5c-c"},
		{verdict.ReleaseReached, "as few as stated", all(instance("shop-5c-c", 0, end, func(i *evidence.Instance) { i.Release = "v1" }), run(func(r *evidence.Run) {
			r.Release.Reaches = &evidence.Reach{Instances: 2}
		})), true, "2 pods served v2, 2 stated"},
		{verdict.ReleaseReached, "no pod at all", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Instance != nil && e.Instance.Release == "v2" })
		}, false, "0 pods served v2, 3 stated"},
	} {
		t.Run(c.assumption+"/"+c.name, func(t *testing.T) {
			l := pods(true)
			c.change(l)
			a, ok := assumption(l.judge(), c.assumption)
			if !ok || a.Held != c.held || !strings.Contains(a.Finding, c.finding) {
				t.Errorf("expected %v: ... %s ...\n   found %v: %s", c.held, c.finding, a.Held, a.Finding)
			}
		})
	}
}

// Who is there at the end is in the denominators, at least as many as must be; who has gone is not, and is told of if it
// served the bad release after the command had returned.
func TestPodsAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		change change
		shares [2]int64
		told   string // of the pod of v2
		last   evidence.Offset
		bad    int64
		length float64
	}{
		{"a straggler", all(lingers("shop-5c-c", end), asksIt("shop-5c-c@v2", 31, 38.1)), [2]int64{6, 7}, "v2, never", 38.1, 2, 8.1},
		{"a straggler that is gone", all(lingers("shop-5c-c", 31), asksIt("shop-5c-c@v2", 30.5), func(l *log) { ends(l, "shop-5c-c", 31) }), [2]int64{6, 6}, "v2, deleted, 31.3", 30.5, 1, 0.5},
		{"one that hangs in its end", all(lingers("shop-5c-c", end), func(l *log) { word(l, "shop-5c-c", evidence.PodDeleting, "", 28) }), [2]int64{6, 7}, "shop-5c-c is being deleted and still serves v2, never", 0, 0, 0},
		{"fewer than replicas", all(unheard("shop-7d-f", 0), noReading("shop-7d-f", 0, 60)), [2]int64{5, 6}, "", 0, 0, 0},
		{"removed by the drill for good", all(lingers("shop-5c-c", end), disturbed(evidence.DeclaredFault{Kind: "kill", Of: "shop-5c-c", Text: "shop-5c-c is killed", Before: 1, ForGood: true},
			told{22.3, asked, ""}, told{22.4, inForce, ""})), [2]int64{6, 6}, "shop-5c-c is killed for good, never", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := pods(true)
			c.change(l)
			v := l.judge()
			if v.Shares.Replicas != c.shares {
				t.Errorf("expected %v at the target, found %v\n%s", c.shares, v.Shares.Replicas, dump(v))
			}
			found := ""
			for _, r := range v.Replicas {
				if r.Name == "shop-5c-c" {
					found = r.Last + ", never"
					if r.Converged != nil {
						found = fmt.Sprintf("%s, %v", r.Last, *r.Converged)
					}
				}
			}
			if found != c.told {
				t.Errorf("expected %q of the pod of v2, found %q", c.told, found)
			}
			if last := v.Clocks[evidence.ClockLastBadResponse]; c.last > 0 && (last == nil || *last != c.last) {
				t.Errorf("expected the last bad response at %v, found %v", c.last, last)
			}
			for _, p := range v.Pods {
				if p.ServedOn != (p.Name == "shop-5c-c" && c.told != "") {
					t.Errorf("%s: it served on: %v", p.Name, p.ServedOn)
				}
				if bad := p.BadResponses; p.Name == "shop-5c-c" && (bad != c.bad || p.BadSeconds != c.length) || p.Name != "shop-5c-c" && bad > 0 {
					t.Errorf("%s: found %d responses for %v s, expected %d for %v", p.Name, bad, p.BadSeconds, c.bad, c.length)
				}
			}
		})
	}
}

// A StatefulSet gives its names again: a pod of that name that comes after another is another one.
func TestAPodsNameThatComesAgain(t *testing.T) {
	l := pods(true)
	again := map[string]string{}
	for i, letter := range []string{"a", "b", "c"} {
		name := fmt.Sprintf("shop-set-%d", i)
		again["shop-7d-"+letter], again["shop-5c-"+letter], again["shop-7d-"+string("def"[i])] = name, name, name
	}
	// A StatefulSet deletes a pod before it makes the next one of that name, so all of that one comes 0.85 s later.
	l.drop(func(e *evidence.Event) bool {
		if e.Instance == nil || e.Instance.Service != "shop" || !e.Instance.Up {
			return false
		}
		i := float64(strings.IndexByte("abcdef", e.Instance.Name[len(e.Instance.Name)-1]) % 3)
		t := float64(e.T)
		return t >= 16.5+0.4*i && t < 17.35+0.4*i || t >= 26+i && t < 26.85+i
	})
	l.each(func(e *evidence.Event) {
		switch {
		case e.Pod != nil:
			if e.T > 1 && e.Pod.Event != evidence.PodDeleting && e.Pod.Event != evidence.PodDeleted {
				e.T += 0.85
			}
			e.Pod.Name = again[e.Pod.Name]
		case e.Instance != nil && e.Instance.Service == "shop":
			e.Instance.Name = again[e.Instance.Name]
		case e.Journey != nil:
			for k, s := range e.Journey.Served {
				if name, release, _ := strings.Cut(string(s), "@"); again[name] != "" {
					e.Journey.Served[k] = evidence.Serve(again[name] + "@" + release)
				}
			}
		case e.Endpoints != nil:
			for k, name := range e.Endpoints.Pods {
				e.Endpoints.Pods[k] = again[name]
			}
		}
	})
	v := l.judge()
	if v.Verdict != verdict.Pass || v.Shares.Replicas != [2]int64{6, 6} {
		t.Errorf("found %v\n%s", v.Shares.Replicas, dump(v))
	}
	var releases []string
	for _, p := range v.Pods {
		if p.Name == "shop-set-0" {
			releases = append(releases, fmt.Sprint(p.Release, " from ", *p.FirstServed > *p.Created))
		}
	}
	if got := strings.Join(releases, ", "); got != "v1 from true, v2 from true, v1 from true" {
		t.Errorf("found %s", got)
	}
}

// What is asked while the drill runs is answered as it is judged afterwards.
func TestPodsAreMissedWhileTheDrillRuns(t *testing.T) {
	events := pods(true).ordered()
	for _, c := range []struct {
		until, missing string
		at             evidence.Offset
		held           bool
	}{
		{"the rollback runs", "shop-5c-b serves v2", 26.6, false},
		{"the last pod comes", "shop-7d-f", 27.8, false},
		{"it is restored", "", 41, true},
	} {
		f := verdict.New()
		for _, e := range events {
			if e.T <= c.at {
				f.Add(e)
			}
		}
		s := f.Restored(c.at)
		if s.Held != c.held || !strings.Contains(strings.Join(s.Missing, "; "), c.missing) {
			t.Errorf("%s: expected %v, missing %q; found %+v", c.until, c.held, c.missing, s)
		}
	}
}
