package verdict_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

var update = flag.Bool("update", false, "write the golden verdicts anew")

// harm replaces what the release states.
func harm(h ...evidence.Harm) change { return run(func(r *evidence.Run) { r.Release.Harms = h }) }

// probe adds readings of a number every half second; what is not said is 0.
func probe(name, of string, a, b, value float64) change {
	return func(l *log) {
		for t := 0.25; t < destroyed; t += 0.5 {
			p := &evidence.Probe{Name: name, Of: of, OK: true}
			if t >= a && t < b {
				p.Value = value
			}
			l.at(t, p)
		}
	}
}

func trap(atLeast float64) change {
	return run(func(r *evidence.Run) {
		r.Release.Harms, r.Release.Traps = nil, []evidence.Trap{{Name: "tokens", AtLeast: atLeast}}
	})
}

// healthy lets v2 serve checkouts as v1 does.
func healthy(l *log) {
	l.each(func(e *evidence.Event) {
		if e.Journey != nil {
			e.Journey.Outcome, e.Journey.Status, e.Journey.Blame = evidence.OK, 0, ""
		}
	})
}

func TestAssumptions(t *testing.T) {
	cases := []struct {
		assumption, name string
		change           change
		held             bool
		finding          string
	}{
		{verdict.RateReached, "it was", func(*log) {}, true, "600 of 600 scheduled journeys were sent in 15.0 s"},
		{verdict.RateReached, "too few", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "browse", 2, 5) })
		}, false, "540 of 600"},
		{verdict.RateReached, "the limit", func(l *log) {
			l.each(func(e *evidence.Event) {
				if isJourney(e, "browse", 2, 2.03) {
					e.Journey.Outcome, e.Journey.Served = evidence.Unsent, nil
				}
			})
		}, false, "1 could not be sent because the in-flight limit was reached"},
		{verdict.RateReached, "no baseline", noClock(evidence.ClockBaselineEnded), false, "there is no baseline"},
		{verdict.BaselineSteady, "failures", fail("checkout", 12, 2, 15), false, "5 % of 240 checkout journeys failed"},
		{verdict.BaselineSteady, "a journey that did not run", run(func(r *evidence.Run) { r.Service.Journeys = append(r.Service.Journeys, "orders") }), false, "no journey of orders ended in it"},
		{verdict.BaselineSteady, "an instance restarted", instance("shop-2", 8, end, func(i *evidence.Instance) { i.Restarts = 1 }), false, "shop-2 restarted in it"},
		{verdict.BaselineSteady, "an instance was not ready", instance("shop-2", 8, 9, func(i *evidence.Instance) { i.Ready = false }), false, "shop-2 is not ready in it"},
		{verdict.BaselineSteady, "latency jumps, alone", all(alone, slow("browse", 40, 5, 9)), false, "median of browse is"},
		{verdict.BaselineSteady, "latency jumps, not alone", slow("browse", 40, 5, 9), true, ""},
		{verdict.ReleaseReached, "too few instances", instance("shop-3", 16, 26, func(i *evidence.Instance) { i.Release = "v1" }), false, "2 of 3 instances served v2, 3 stated; not shop-3"},
		{verdict.ReleaseReached, "as few as stated", all(instance("shop-3", 16, 26, func(i *evidence.Instance) { i.Release = "v1" }), run(func(r *evidence.Run) { r.Release.Reaches = &evidence.Reach{Instances: 2} })), true, "2 of 3 instances served v2, 2 stated"},
		{verdict.ReleaseReached, "a node without its migration", node("logical", 16, 25, func(n *evidence.Node) { n.Migration = 4 }), false, "migration 5 was not reached: the logical replica is at 4"},
		{verdict.ReleaseReached, "further than stated", run(func(r *evidence.Run) { r.Release.Reaches = &evidence.Reach{Migration: 4} }), false, "migration 4 was not reached: the primary is at 5"},
		{verdict.ReleaseReached, "never deployed", noClock(evidence.ClockDeployed), false, "v2 was not deployed"},
		{verdict.HarmSeen, "it was", func(*log) {}, true, "50 % of 64 checkout journeys that v2 answered failed (95 %: 38 to 62)"},
		{verdict.HarmSeen, "nothing failed", healthy, false, "0 % of 64 checkout journeys that v2 answered failed"},
		{verdict.HarmSeen, "less than it states", harm(evidence.Harm{Journey: "checkout", SuccessBelow: 0.6}), false, "does not show more than 40 %"},
		{verdict.HarmSeen, "too few samples", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "checkout", 18, 19.5) })
		}, false, "only 40 checkout journeys that v2 answered, and 50 are needed to judge"},
		{verdict.HarmSeen, "gone before the decision", func(l *log) {
			l.each(func(e *evidence.Event) {
				if isJourney(e, "checkout", 19.9, 22) {
					e.Journey.Outcome, e.Journey.Blame = evidence.OK, ""
				}
			})
		}, false, "not shown"},
		{verdict.HarmSeen, "another release is to blame", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Journey != nil && e.Journey.Blame != "" {
					e.Journey.Blame = "shop-1@v1"
				}
			})
		}, false, "and 50 are needed"},
		{verdict.HarmSeen, "the proxy answers in place of its instance", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Journey != nil && e.Journey.Blame != "" {
					e.Journey.Blame = evidence.Serve(strings.Split(string(e.Journey.Blame), "@")[0] + "@")
					e.Journey.Served = []evidence.Serve{e.Journey.Blame}
				}
			})
		}, true, "50 % of 64 checkout journeys"},
		{verdict.HarmSeen, "the proxy answers in place of an instance of before", all(instance("shop-1", 16, 26, func(i *evidence.Instance) { i.Release = "v1" }), instance("shop-2", 16, 27, func(i *evidence.Instance) { i.Release = "v1" }), instance("shop-3", 16, 28, func(i *evidence.Instance) { i.Release = "v1" }), func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Journey != nil && e.Journey.Blame != "" {
					e.Journey.Blame = evidence.Serve(strings.Split(string(e.Journey.Blame), "@")[0] + "@")
					e.Journey.Served = []evidence.Serve{e.Journey.Blame}
				}
			})
		}), false, "and 50 are needed"},
		{verdict.HarmSeen, "failures without an answer are not the release's", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Journey != nil && e.Journey.Blame != "" {
					e.Journey.Blame, e.Journey.Served = "", nil
				}
			})
		}, false, "and 50 are needed"},
		{verdict.HarmSeen, "unless it changes the schema", all(run(func(r *evidence.Run) { r.Release.Schema = true }), func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Journey != nil && e.Journey.Blame != "" {
					e.Journey.Blame, e.Journey.Served = "", nil
				}
			})
		}), true, "50 % of 64 checkout journeys failed"},
		{verdict.HarmSeen, "it failed as much before", all(run(func(r *evidence.Run) { r.Release.Schema = true }), fail("checkout", 120, 1, 16)), false, "does not show more than 50 %"},
		{verdict.HarmSeen, "a dependant's journey", all(harm(evidence.Harm{Service: "billing", Journey: "invoices", SuccessBelow: 0.9}), func(l *log) {
			for i := 0; i < 60; i++ {
				s := 18 + float64(i)/16
				l.at(s+0.01, &evidence.Journey{Name: "invoices", Service: "billing", At: evidence.Offset(s), MS: 10, Outcome: evidence.Failed, Blame: "billing-1@b1"})
			}
		}), true, "79 % of 76 invoices of billing journeys failed"},
		{verdict.HarmSeen, "slow", all(alone, slow("checkout", 100, 18, 26), harm(evidence.Harm{Journey: "checkout", LatencyAbove: 50})), true, "100 % of 64 checkout journeys that v2 answered took longer than 50 ms"},
		{verdict.HarmSeen, "not slow", all(alone, harm(evidence.Harm{Journey: "checkout", LatencyAbove: 50})), false, "took longer than 50 ms"},
		{verdict.HarmSeen, "restarts", all(instance("shop-2", 18.5, 25, func(i *evidence.Instance) { i.Restarts = 3 }), harm(evidence.Harm{Restarts: 3})), true, "shop-2 restarted 3 times, shown 2.6 s after the deploy"},
		{verdict.HarmSeen, "restarts only once", all(instance("shop-2", 18.5, 25, func(i *evidence.Instance) { i.Restarts = 1 }), harm(evidence.Harm{Restarts: 3})), false, "restarted so often"},
		{verdict.HarmSeen, "memory", all(instance("shop-1", 19, 25, func(i *evidence.Instance) { i.Memory = 900 << 20 }), harm(evidence.Harm{MemoryAbove: 500 << 20})), true, "shop-1 took 900 MB"},
		{verdict.HarmSeen, "memory for a moment", all(instance("shop-1", 19, 20, func(i *evidence.Instance) { i.Memory = 900 << 20 }), harm(evidence.Harm{MemoryAbove: 500 << 20})), false, "at the decision; it had been so from 19.1 s"},
		{verdict.HarmSeen, "an invariant", all(probe("invariant", "totals add up", 19, 30, 7), harm(evidence.Harm{Invariant: "totals add up"})), true, `7 rows broke the invariant "totals add up"`},
		{verdict.HarmSeen, "an invariant broken before", all(probe("invariant", "totals add up", 0, 30, 7), harm(evidence.Harm{Invariant: "totals add up"})), false, "was not broken"},
		{verdict.HarmSeen, "an invariant seen broken once", all(probe("invariant", "totals add up", 21.6, 30, 7), harm(evidence.Harm{Invariant: "totals add up"})), false, "not in two observations 2 s apart"},
		{verdict.HarmSeen, "jobs", all(func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Job != nil && e.T > 18 && e.T < 29 {
					e.Job.Failed = 4
				}
			})
		}, harm(evidence.Harm{JobsFailed: "outbox"})), true, "4 jobs of outbox failed"},
		{verdict.HarmSeen, "only one of two", harm(evidence.Harm{Journey: "checkout", SuccessBelow: 0.9}, evidence.Harm{Journey: "browse", SuccessBelow: 0.9}), false, "50 % of 64 checkout"},
		{verdict.HarmSeen, "later than stated", run(func(r *evidence.Run) { r.Release.Within = 2 }), false, "and 2 s is stated"},
		{verdict.TrapThere, "it is", all(trap(50), probe("trap", "tokens", 17, 60, 64)), true, "tokens: 64 there, at least 50 needed"},
		{verdict.TrapThere, "too few", all(trap(50), probe("trap", "tokens", 17, 60, 30)), false, "tokens: 30 there, at least 50 needed"},
		{verdict.TrapThere, "not counted any more", all(trap(50), probe("trap", "tokens", 17, 60, 64), func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Probe != nil && e.T > 18.5 && e.T < 23 })
		}), false, "it was not counted any more"},
		{verdict.TrapThere, "could not be counted", all(trap(50), probe("trap", "tokens", 17, 60, 64), func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Probe != nil && e.T > 20 {
					e.Probe.OK = false
				}
			})
		}), false, "could not be counted"},
		{verdict.TrapThere, "never counted", trap(50), false, "was never counted"},
		{verdict.NodesRead, "it was not", schema("logical", "audit", evidence.Schema{Error: "time-out"}), false, "the logical replica could not be read: time-out"},
		{verdict.NodesRead, "not at the audit", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Schema != nil && e.Schema.At == "audit" })
		}, false, "the primary was not read at the audit"},
		{verdict.ObservationWithout, "a gap where it matters", noReading("shop-2", 34, 60), false, "shop-2 was not seen"},
		{verdict.ObservationWithout, "a gap where it does not", noReading("shop-2", 20, 25), true, "everything was observed from 30.5 s for 10.0 s"},
		{verdict.ObservationWithout, "watched too shortly", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Clock != nil && e.Clock.Name == evidence.ClockWatchEnded {
					e.T = 31
				}
			})
		}, false, "it was watched for less than the 10.0 s"},
		{verdict.FaultInForce, "it was", func(l *log) {
			l.at(17, &evidence.Fault{Name: "partition", Of: "logical", Event: "asked"})
			l.at(17.1, &evidence.Fault{Name: "partition", Of: "logical", Event: "in force"})
		}, true, "partition logical"},
		{verdict.FaultInForce, "it was not", func(l *log) {
			l.at(17, &evidence.Fault{Name: "partition", Of: "logical", Event: "asked", Error: "no such node"})
		}, false, "partition logical was never in force: no such node"},
	}
	failed := map[string]bool{}
	for _, c := range cases {
		failed[c.assumption] = failed[c.assumption] || !c.held
		t.Run(c.assumption+"/"+c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			a, ok := assumption(v, c.assumption)
			if !ok {
				t.Fatalf("it is not in the list\n%s", dump(v))
			}
			if c.finding == "not shown" { // any of the reasons
				c.finding = ""
			}
			if a.Held != c.held || !strings.Contains(a.Finding, c.finding) {
				t.Errorf("expected %v: ... %s ...\n   found %v: %s", c.held, c.finding, a.Held, a.Finding)
			}
			if !a.Held && v.Verdict == verdict.Pass {
				t.Error("it passed although an assumption failed")
			}
		})
	}
	for _, name := range []string{verdict.RateReached, verdict.BaselineSteady, verdict.ReleaseReached, verdict.HarmSeen, verdict.TrapThere,
		verdict.NodesRead, verdict.ObservationWithout, verdict.FaultInForce} {
		if !failed[name] {
			t.Errorf("no case fails %q", name)
		}
	}
}

// TestTheHeadlineSaysThatTheSchemaIsNotProductions: what was shown on another schema holds for that one.
func TestTheHeadlineSaysThatTheSchemaIsNotProductions(t *testing.T) {
	for _, c := range []struct {
		name, want string
		found      evidence.Schema
	}{
		{"equal", "", evidence.Schema{Equal: true}},
		{"differs", " The schema that was drilled is not production's: 2 lines production has not, 1 line only production has.",
			evidence.Schema{Diff: "--- target\n+++ found\n@@ -1 +1 @@\n-column a: int\n+column a: bigint\n+column b: int\n"}},
		{"unread", " It could not be said whether the schema is production's: time-out.", evidence.Schema{Error: "time-out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain := good().judge()
			l := good()
			c.found.Node, c.found.At = "primary", "production"
			l.at(1, &c.found)
			v := l.judge()
			if v.Verdict != verdict.Pass || v.Because != plain.Because+c.want {
				t.Errorf("expected a pass and %q, found %s and %q", plain.Because+c.want, v.Verdict, v.Because)
			}
		})
	}
}

// TestBrokenWhileItsAssumptionsHold: what was shown broken is a fail, even if an assumption failed on which it does not rest.
func TestBrokenWhileItsAssumptionsHold(t *testing.T) {
	lost := fate("checkout", evidence.Lost, 3)
	frozen := bad(evidence.CheckFrozen, "primary/orders", 3, "")
	unread := schema("logical", "audit", evidence.Schema{Error: "time-out"})
	for _, c := range []struct {
		name, want, because string
		change              change
	}{
		{"the harm was not seen, and writes are lost", verdict.Fail, "3 of 741 acknowledged writes are lost", all(healthy, lost)},
		{"a node could not be read, and writes are lost", verdict.Fail, "acknowledged writes are lost", all(unread, lost)},
		{"a node could not be read, on which the broken promise rests", verdict.Inconclusive, "every node could be read", all(unread, frozen)},
		{"the harm was not seen, and all is well", verdict.Inconclusive, "the harm was seen", healthy},
		{"the baseline was not steady, and users fail", verdict.Inconclusive, "the baseline was steady", all(fail("checkout", 12, 2, 15), fail("checkout", 60, 33, 42))},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			if v.Verdict != c.want || !strings.Contains(v.Because, c.because) {
				t.Errorf("expected %s because of ... %s ...\n%s", c.want, c.because, dump(v))
			}
		})
	}
}

func TestExpected(t *testing.T) {
	fails := func(check string) change {
		return run(func(r *evidence.Run) { r.Expect = &evidence.Expect{Fails: check} })
	}
	lost := fate("checkout", evidence.Lost, 3)
	for _, c := range []struct {
		name    string
		change  change
		verdict string
		met     bool
		exit    int
		why     string
	}{
		{"broken as expected", all(fails(verdict.WritesExactlyOnce), lost), verdict.Fail, true, 0, "it is"},
		{"failed for another reason", all(fails(verdict.FrozenUnchanged), lost), verdict.Fail, false, 1, "it failed for another reason"},
		{"passed", fails(verdict.FrozenUnchanged), verdict.Pass, false, 1, "the drill does not see this defect"},
		{"inconclusive", all(fails(verdict.FrozenUnchanged), healthy), verdict.Inconclusive, false, 2, "nothing could be said"},
		{"cut short", all(fails(verdict.WritesExactlyOnce), lost, func(l *log) { l.drop(func(e *evidence.Event) bool { return e.End != nil }) }), verdict.Inconclusive, false, 2, ""},
		{"refused", refusal, verdict.Pass, true, 0, "it did"},
		{"did not refuse", run(func(r *evidence.Run) { r.Expect = &evidence.Expect{Refuses: "unblocked"} }), verdict.Fail, false, 1, "not met"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			if v.Expected == nil {
				t.Fatal("it does not say whether it was met")
			}
			if v.Verdict != c.verdict || *v.Expected != c.met || v.Exit() != c.exit || !strings.Contains(v.ExpectedWhy, c.why) {
				t.Errorf("found %s, met %v, exit %d: %s\n%s", v.Verdict, *v.Expected, v.Exit(), v.ExpectedWhy, dump(v))
			}
		})
	}
	for exit, v := range map[int]verdict.Verdict{0: {Verdict: verdict.Pass}, 1: {Verdict: verdict.Fail}, 2: {Verdict: verdict.Inconclusive}} {
		if v.Exit() != exit {
			t.Errorf("%s: expected exit %d, found %d", v.Verdict, exit, v.Exit())
		}
	}
}

// TestCutShort: a run that was not carried through is inconclusive, whatever it had shown.
func TestCutShort(t *testing.T) {
	lost := good()
	fate("checkout", evidence.Lost, 3)(lost)
	for _, c := range []struct {
		name, because string
		verdict       func(events []evidence.Event) verdict.Verdict
	}{
		{"no end", "The log has no end: it stops in the phase destroy, 46.5 s after its start", func(events []evidence.Event) verdict.Verdict {
			return verdict.Judge(fold(events[:len(events)-1]))
		}},
		{"cut", "The log was cut off in the phase rollback, 26.0 s after its start: the last segment is missing.", func(events []evidence.Event) verdict.Verdict {
			f := verdict.New()
			for _, e := range events {
				if e.T > 26 {
					break
				}
				f.Add(e)
			}
			f.Cut(26, "the last segment is missing")
			return verdict.Judge(f)
		}},
		{"interrupted", "The run was interrupted in the phase destroy, 47.0 s after its start: signal", func(events []evidence.Event) verdict.Verdict {
			events[len(events)-1].End = &evidence.End{How: "interrupted", Why: "signal"}
			return verdict.Judge(fold(events))
		}},
		{"broke", "The run broke in the phase destroy", func(events []evidence.Event) verdict.Verdict {
			events[len(events)-1].End = &evidence.End{How: "broke", Why: "no space left"}
			return verdict.Judge(fold(events))
		}},
		{"empty", "has no run event", func([]evidence.Event) verdict.Verdict { return verdict.Judge(verdict.New()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.verdict(lost.ordered())
			if v.Verdict != verdict.Inconclusive || v.Complete || v.Exit() != 2 || !strings.Contains(v.Because, c.because) {
				t.Errorf("found %s, complete %v: %s", v.Verdict, v.Complete, v.Because)
			}
		})
	}
}

func show(o *evidence.Offset) string {
	if o == nil {
		return "none"
	}
	return fmt.Sprintf("%.4f", float64(*o))
}

func TestClocks(t *testing.T) {
	const absent, null = -1, -2
	for _, c := range []struct {
		name   string
		change change
		want   map[string]float64
	}{
		{"a good drill", func(*log) {}, map[string]float64{"first_bad": 18.031, "detected": 21.084, "users_restored": 28, "restored": 30.5, "approved": absent, "all_clear": absent}},
		{"an alert is earlier", func(l *log) {
			l.at(17, &evidence.Alert{Metric: "errors", Event: "raised"})
			l.at(2, &evidence.Alert{Metric: "cpu", Event: "raised"})
		}, map[string]float64{"detected": 17}},
		{"no harm", healthy, map[string]float64{"first_bad": null, "detected": null}},
		{"a good release", run(func(r *evidence.Run) { r.Release.Harms, r.Release.Good = nil, true }), map[string]float64{"first_bad": absent, "detected": absent, "users_restored": 28}},
		{"never restored", instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }), map[string]float64{"users_restored": 28, "restored": null}},
		{"users fail once more while others wait", all(fail("browse", 1, 31, 60), node("logical", 28, 36, func(n *evidence.Node) { n.Lag = 4 }), func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Clock != nil && (e.Clock.Name == evidence.ClockWatchEnded || e.Clock.Name == evidence.ClockQuietBegun) {
					e.T = 47
				}
			})
		}), map[string]float64{"users_restored": null}},
		{"a later reading takes an earlier one back", func(l *log) {
			l.at(31.6, &evidence.Schema{Node: "logical", At: "watch", Diff: "-x\n"})
			l.at(31.8, &evidence.Schema{Node: "logical", At: "watch", Equal: true})
		}, map[string]float64{"restored": 32}},
		{"the raw digest changes once more", func(l *log) {
			node("logical", 31.5, 60, func(n *evidence.Node) { n.Digest = "ddd" })(l)
			l.at(31.9, &evidence.Schema{Node: "logical", At: "watch", Equal: true})
		}, map[string]float64{"restored": 32}},
		{"never started", refusal, map[string]float64{"started": absent, "command_returned": absent, "restored": absent, "decided": 22}},
		{"another target schema, not yet read", all(run(func(r *evidence.Run) { r.Plan.Schema = 5 }), func(l *log) {
			l.at(0.95, &evidence.Schema{Node: "primary", At: "target", Digest: "9", Equal: true})
		}), map[string]float64{"restored": 30.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			for name, want := range c.want {
				got, there := v.Clocks[name]
				switch {
				case want == absent && there:
					t.Errorf("%s: expected none, found %v", name, got)
				case want == null && (!there || got != nil):
					t.Errorf("%s: expected null, found %v (there: %v)", name, got, there)
				case want >= 0 && (got == nil || fmt.Sprintf("%.4f", float64(*got)) != fmt.Sprintf("%.4f", want)):
					t.Errorf("%s: expected %.4f, found %s\n%s", name, want, show(got), dump(v))
				}
			}
		})
	}
}

// TestLive: what a running drill is told is what the verdict says of the log up to there.
func TestLive(t *testing.T) {
	f := verdict.New()
	var shown, users, restored float64
	for _, e := range good().ordered() {
		f.Add(e)
		now := e.T
		if e.Node == nil || e.Node.Name != "primary" || float64(now) > watchEnded {
			continue
		}
		if s := f.Harm(now); s.Shown && shown == 0 {
			shown = float64(s.Since)
		}
		if s := f.UsersRestored(now); s.Held && users == 0 {
			users = float64(s.At)
		} else if !s.Held && len(s.Missing) == 0 {
			t.Fatalf("%.1f: not held, and nothing is missing", now)
		}
		if s := f.Restored(now); s.Held && restored == 0 {
			restored = float64(s.At)
			if float64(now)-restored < 10 {
				t.Errorf("held at %.1f although it is so only since %.1f", now, restored)
			}
		}
	}
	if shown < 20 || shown > 22 || users != 28 || restored != 30.5 {
		t.Errorf("harm %v, users %v, restored %v", shown, users, restored)
	}
}

// TestMissingStaysTheSame: while nothing changes, the sentences do not either, so that a drill sees that waiting is in vain.
func TestMissingStaysTheSame(t *testing.T) {
	l := good()
	all(instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }), node("logical", 26, 60, func(n *evidence.Node) { n.Lag = float64(n.LagBytes) + 7 }))(l)
	f := verdict.New()
	said := map[string]bool{}
	for _, e := range l.ordered() {
		f.Add(e)
		if e.Node != nil && e.T > 41 && e.T < watchEnded {
			said[strings.Join(f.Restored(e.T).Missing, "|")] = true
		}
	}
	if len(said) != 1 {
		t.Errorf("expected one text, found %d: %v", len(said), said)
	}
}

// TestNoDataNeverTurnsRedIntoGreen takes evidence away from drills that do not pass: whole kinds of it, all of one subject,
// and all of a stretch. None of them may pass for that.
func TestNoDataNeverTurnsRedIntoGreen(t *testing.T) {
	reds := map[string]change{
		"an instance stays":      instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }),
		"users fail":             fail("checkout", 20, 33, 42),
		"a node lags":            node("logical", 31, 60, func(n *evidence.Node) { n.Lag = 3 }),
		"a schema differs":       all(schema("logical", "watch", evidence.Schema{Diff: "-x\n"}), schema("logical", "audit", evidence.Schema{Diff: "-x\n"})),
		"writes are lost":        fate("checkout", evidence.Lost, 3),
		"writes are duplicated":  fate("checkout", evidence.Duplicated, 3),
		"frozen rows differ":     bad(evidence.CheckFrozen, "primary/orders", 3, ""),
		"an invariant is broken": bad(evidence.CheckInvariants, "primary/totals add up", 3, ""),
		"sessions are refused":   bad(evidence.CheckSessions, "token", 3, ""),
		"a step failed":          ending(evidence.PartStep, 2, evidence.StepFailed),
		"jobs are open":          bad(evidence.CheckJobs, "outbox", 3, ""),
		"rows differ": func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Chunk != nil && e.Chunk.Node == "logical" {
					e.Chunk.Equal = false
				}
			})
		},
		"the harm was not seen":    healthy,
		"something is left":        bad(evidence.CheckLeftovers, "primary", 1, ""),
		"an effect is missing":     bad(evidence.CheckEffects, "charge", 1, ""),
		"a phantom":                bad(evidence.CheckPhantoms, "checkout", 1, ""),
		"the baseline was not met": func(l *log) { l.drop(func(e *evidence.Event) bool { return isJourney(e, "", 2, 5) }) },
	}
	subject := func(e *evidence.Event) string {
		switch {
		case e.Run != nil:
			return "run"
		case e.Instance != nil:
			return "instance " + e.Instance.Name
		case e.Node != nil:
			return "node " + e.Node.Name
		case e.Journey != nil:
			return "journey " + e.Journey.Name
		case e.Schema != nil:
			return "schema " + e.Schema.At
		case e.Finding != nil:
			return "finding " + e.Finding.Check
		case e.Write != nil:
			return "write " + e.Write.Event
		case e.Clock != nil:
			return "clock " + e.Clock.Name
		case e.Step != nil:
			return "step " + e.Step.Part
		case e.Chunk != nil:
			return "chunk " + e.Chunk.Node
		case e.Job != nil:
			return "job"
		case e.Phase != nil:
			return "phase"
		}
		return "end"
	}
	for name, red := range reds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := good()
			red(l)
			events := l.ordered()
			if v := verdict.Judge(fold(events)); v.Verdict == verdict.Pass {
				t.Fatalf("it is not red:\n%s", dump(v))
			}
			subjects, of := map[string]bool{}, make([]string, len(events))
			for i := range events {
				of[i] = subject(&events[i])
				subjects[of[i]] = true
			}
			try := func(what string, gone func(i int) bool) {
				f := verdict.New()
				for i := range events {
					if !gone(i) {
						f.Add(events[i])
					}
				}
				if v := verdict.Judge(f); v.Verdict == verdict.Pass {
					t.Errorf("without %s it passes: %s", what, v.Because)
				}
			}
			for s := range subjects {
				try(s, func(i int) bool { return of[i] == s })
			}
			r := rand.New(rand.NewPCG(7, 7))
			for range 4 {
				a := r.Float64() * 44
				b := a + 3 + r.Float64()*10
				try(fmt.Sprintf("all from %.1f to %.1f", a, b), func(i int) bool { return float64(events[i].T) >= a && float64(events[i].T) < b && events[i].Run == nil })
			}
		})
	}
}

func TestTwiceTheSameBytes(t *testing.T) {
	l := good()
	all(fate("checkout", evidence.Lost, 3), bad(evidence.CheckFrozen, "primary/orders", 3, ""), fail("checkout", 9, 33, 42))(l)
	events := l.ordered()
	f := fold(events)
	first := asJSON(t, verdict.Judge(f))
	for range 5 {
		if !bytes.Equal(first, asJSON(t, verdict.Judge(f))) || !bytes.Equal(first, asJSON(t, verdict.Judge(fold(events)))) {
			t.Fatal("another verdict of the same facts")
		}
	}
}

func asJSON(t *testing.T, v verdict.Verdict) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestGolden(t *testing.T) {
	for name, change := range map[string]change{
		"good": func(*log) {},
		"down-without-data": all(
			bad(evidence.CheckFrozen, "primary/orders", 2630, ""), bad(evidence.CheckFrozen, "streaming/orders", 2630, ""), bad(evidence.CheckFrozen, "logical/orders", 2630, ""),
			fate("checkout", evidence.Transformed, 12, "coupon: sent SPRING10, found"),
			instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" })),
	} {
		t.Run(name, func(t *testing.T) {
			l := good()
			change(l)
			got := asJSON(t, l.judge())
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the verdict is not %s; look at it, and if it is right: go test ./harness/verdict -update\n%s", path, got)
			}
		})
	}
}

// TestPure: the package sees neither clock, files, network nor context.
func TestPure(t *testing.T) {
	allowed := map[string]bool{"backout/harness/evidence": true, "cmp": true, "crypto/sha256": true, "fmt": true, "maps": true, "math": true,
		"slices": true, "sort": true, "strconv": true, "strings": true}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !allowed[path] {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range verdict.Names() {
		if seen[n] {
			t.Errorf("%q is twice in the list", n)
		}
		seen[n] = true
	}
	if len(seen) != 35 {
		t.Errorf("expected 35 checks, found %d", len(seen))
	}
	v := good().judge()
	for i, n := range verdict.Names() {
		if v.Promises[i].Name != n {
			t.Errorf("promise %d is %q, expected %q", i, v.Promises[i].Name, n)
		}
		for _, a := range v.Promises[i].RestsOn {
			if _, ok := assumption(v, a); !ok {
				t.Errorf("%q rests on %q, which is no assumption", n, a)
			}
		}
	}
}
