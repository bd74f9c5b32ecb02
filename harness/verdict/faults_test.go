package verdict_test

import (
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// told is one event of the first declared fault.
type told struct {
	t           float64
	event, text string
}

const asked, inForce, notInForce, lifted, gone, notGone = evidence.FaultAsked, evidence.FaultInForce, evidence.FaultNotInForce,
	evidence.FaultLifted, evidence.FaultGone, evidence.FaultNotGone

// disturbed declares a fault and writes what was seen of it.
func disturbed(d evidence.DeclaredFault, events ...told) change {
	return func(l *log) {
		l.run.Faults = append(l.run.Faults, d)
		for _, e := range events {
			l.at(e.t, &evidence.Fault{Name: d.Kind, Of: d.Of, Number: len(l.run.Faults), Event: e.event, Text: e.text})
		}
	}
}

func paused(name string, forGood bool) evidence.DeclaredFault {
	return evidence.DeclaredFault{Kind: "pause", Of: name, Text: name + " is paused", Before: 1, ForGood: forGood}
}

// A fault is believed when it was seen: in force from when it was asked for until it was lifted, and gone after that.
// Whatever else the drill shows, without that it shows nothing.
func TestADrillWithoutItsFaultIsInconclusive(t *testing.T) {
	seen := []told{{22.3, asked, ""}, {22.4, inForce, "shop-2 is paused"}, {30.0, inForce, "shop-2 is paused"}, {30.1, lifted, ""}, {30.2, gone, "shop-2 is running"}}
	broken := fate("checkout", evidence.Lost, 3)
	for _, c := range []struct {
		name, verdict, finding string
		change                 change
	}{
		{"seen from beginning to end", verdict.Pass, "shop-2 is paused", disturbed(paused("shop-2", false), seen...)},
		{"and a promise is broken", verdict.Fail, "shop-2 is paused", all(broken, disturbed(paused("shop-2", false), seen...))},
		{"its step did not begin", verdict.Inconclusive, "it was not brought about that shop-2 is paused: step 1 did not begin", disturbed(paused("shop-2", false))},
		{"never in force", verdict.Inconclusive, "it was never seen that shop-2 is paused: shop-2 is running",
			disturbed(paused("shop-2", false), told{22.3, asked, ""}, told{32, notInForce, "shop-2 is running"}, told{33, lifted, ""}, told{33, gone, ""})},
		{"never in force, and a promise is broken", verdict.Inconclusive, "it was never seen that shop-2 is paused",
			all(broken, disturbed(paused("shop-2", false), told{22.3, asked, ""}, told{32, notInForce, "shop-2 is running"}, told{33, lifted, ""}, told{33, gone, ""}))},
		{"asked for and nothing else", verdict.Inconclusive, "it was never seen that shop-2 is paused", disturbed(paused("shop-2", false), seen[0])},
		{"in force and then no more", verdict.Inconclusive, "it was so from 22.4 s that shop-2 is paused, and at 26.0 s no more: shop-2 is running",
			disturbed(paused("shop-2", false), seen[0], seen[1], told{26, notInForce, "shop-2 is running"}, seen[2], seen[3], seen[4])},
		{"not seen in force when it was lifted", verdict.Inconclusive, "at 30.0 s no more",
			disturbed(paused("shop-2", false), seen[0], seen[1], told{30, notInForce, "shop-2 is running"}, seen[3], seen[4])},
		{"not lifted", verdict.Inconclusive, "it was not taken back that shop-2 is paused", disturbed(paused("shop-2", false), seen[0], seen[1])},
		{"not seen gone", verdict.Inconclusive, "it was taken back that shop-2 is paused, and not seen to be over: shop-2 is paused",
			disturbed(paused("shop-2", false), seen[0], seen[1], seen[2], seen[3], told{40, notGone, "shop-2 is paused"})},
		{"lifted, and nobody looked", verdict.Inconclusive, "and not seen to be over", disturbed(paused("shop-2", false), seen[:4]...)},
		{"the second of two", verdict.Inconclusive, "it was not brought about that shop-3 is paused",
			all(disturbed(paused("shop-2", false), seen...), disturbed(paused("shop-3", false)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			a, ok := assumption(v, verdict.FaultInForce)
			if !ok {
				t.Fatalf("the assumption is not in the list\n%s", dump(v))
			}
			if v.Verdict != c.verdict || a.Held != (c.verdict != verdict.Inconclusive) || !strings.Contains(a.Finding, c.finding) {
				t.Errorf("expected %s: ... %s ...\nfound %v: %s\n%s", c.verdict, c.finding, a.Held, a.Finding, dump(v))
			}
		})
	}
}

// What a declared fault has taken away for good is judged no more, and is in no denominator; what is away without one is.
func TestWhatIsTakenAwayForGoodIsNotApplicable(t *testing.T) {
	forGood := []told{{22.3, asked, ""}, {22.4, inForce, "it is gone"}}
	killed := func(name string) evidence.DeclaredFault {
		return evidence.DeclaredFault{Kind: "kill", Of: name, Text: name + " is killed", Before: 1, ForGood: true}
	}
	// From 22.4 s on nothing is read of a node, and the audit cannot ask it.
	noNode := func(name string) change {
		return func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Node != nil && e.Node.Name == name && e.T > 22.4 {
					e.Node.Reachable, e.Node.Error, e.Node.Digest = false, "connection refused", ""
				}
			})
			l.drop(func(e *evidence.Event) bool {
				return e.T > 22.4 && (e.Schema != nil && e.Schema.Node == name || e.Chunk != nil && e.Chunk.Node == name ||
					e.Finding != nil && (e.Finding.Of == name || strings.HasPrefix(e.Finding.Of, name+"/")))
			})
			l.at(43, &evidence.Finding{Check: evidence.CheckQuiet, Of: name, Error: "could not be reached"})
		}
	}
	noInstance := instance("shop-2", 22.4, 60, func(i *evidence.Instance) { i.Up, i.Ready, i.Release, i.Error = false, false, "", "connection refused" })
	for _, c := range []struct {
		name, verdict string
		change        change
		replicas      [2]int64
		removed       string
	}{
		{"an instance", verdict.Pass, all(noInstance, disturbed(killed("shop-2"), forGood...)), [2]int64{5, 5}, "shop-2"},
		{"an instance that nobody took away", verdict.Fail, noInstance, [2]int64{5, 6}, ""},
		{"an instance, for a while", verdict.Fail, all(noInstance, disturbed(paused("shop-2", false), told{22.3, asked, ""}, told{22.4, inForce, ""}, told{30, lifted, ""}, told{31, gone, ""})), [2]int64{5, 6}, ""},
		{"a replica", verdict.Pass, all(noNode("logical"), disturbed(killed("logical"), forGood...)), [2]int64{5, 5}, "logical"},
		{"a replica that nobody took away", verdict.Fail, noNode("logical"), [2]int64{5, 6}, ""},
		{"another one", verdict.Fail, all(noInstance, disturbed(killed("shop-3"), forGood...)), [2]int64{4, 5}, "shop-3"},
		{"asked for and never seen", verdict.Inconclusive, all(noInstance, disturbed(killed("shop-2"), forGood[0])), [2]int64{5, 6}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			if v.Verdict != c.verdict || v.Shares.Replicas != c.replicas {
				t.Errorf("expected %s and %v at the target, found %v\n%s", c.verdict, c.replicas, v.Shares.Replicas, dump(v))
			}
			removed := ""
			for _, r := range v.Replicas {
				if r.Removed != "" {
					removed += r.Name
				}
			}
			if removed != c.removed {
				t.Errorf("expected %q among the replicas as removed, found %q", c.removed, removed)
			}
		})
	}
}
