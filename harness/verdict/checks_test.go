package verdict_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

type change = func(l *log)

// isJourney says whether an event is a journey of that name that was scheduled from a up to b.
func isJourney(e *evidence.Event, name string, a, b float64) bool {
	return e.Journey != nil && (name == "" || e.Journey.Name == name) && float64(e.Journey.At) >= a && float64(e.Journey.At) < b
}

// fail makes the first n journeys of a name that were scheduled in a stretch fail.
func fail(name string, n int, a, b float64) change {
	return func(l *log) {
		left := n
		l.each(func(e *evidence.Event) {
			if left > 0 && isJourney(e, name, a, b) && e.Journey.Outcome == evidence.OK {
				left--
				e.Journey.Outcome, e.Journey.Status, e.Journey.Blame = evidence.Failed, 500, e.Journey.Served[0]
			}
		})
	}
}

// noReading removes what was read of an instance or node from a up to b.
func noReading(name string, a, b float64) change {
	return func(l *log) {
		l.drop(func(e *evidence.Event) bool {
			t := float64(e.T)
			return t >= a && t < b && (e.Instance != nil && e.Instance.Name == name || e.Node != nil && e.Node.Name == name)
		})
	}
}

func node(name string, a, b float64, do func(*evidence.Node)) change {
	return func(l *log) {
		l.each(func(e *evidence.Event) {
			if e.Node != nil && e.Node.Name == name && float64(e.T) >= a && float64(e.T) < b {
				do(e.Node)
			}
		})
	}
}

func instance(name string, a, b float64, do func(*evidence.Instance)) change {
	return func(l *log) {
		l.each(func(e *evidence.Event) {
			if e.Instance != nil && e.Instance.Name == name && float64(e.T) >= a && float64(e.T) < b {
				do(e.Instance)
			}
		})
	}
}

// schema replaces a node's canonical readings of one occasion.
func schema(name, at string, s evidence.Schema) change {
	return func(l *log) {
		l.each(func(e *evidence.Event) {
			if e.Schema != nil && e.Schema.Node == name && e.Schema.At == at && float64(e.T) > 20 {
				e.Schema = &evidence.Schema{Node: name, At: at, Equal: s.Equal, Diff: s.Diff, Error: s.Error, Digest: s.Digest}
			}
		})
	}
}

func bad(check, of string, rows int64, text string) change {
	return func(l *log) {
		f := l.finding(check, of)
		f.Bad, f.Text = rows, text
		f.Rows = []string{"id=17"}
	}
}

func unasked(check, of string) change {
	return func(l *log) {
		f := l.finding(check, of)
		f.Asked, f.Error = false, "canceling statement due to statement timeout"
	}
}

func unfound(check, of string) change { return func(l *log) { l.dropFinding(check, of) } }

// pages gives the service a cache that is read once a second until the audit ends; how, which may be nil, changes a reading.
func pages(how func(t float64, c *evidence.Cache)) change {
	return func(l *log) {
		l.run.Service.Caches, l.run.Service.Readers = []string{"pages"}, map[string]string{"pages": "browse"}
		for t := 0.5; t < destroyed; t++ {
			c := &evidence.Cache{Name: "pages", OK: true}
			if how != nil {
				how(t, c)
			}
			l.at(t, c)
		}
	}
}

func run(do func(r *evidence.Run)) change { return func(l *log) { do(&l.run) } }

func all(changes ...change) change {
	return func(l *log) {
		for _, c := range changes {
			c(l)
		}
	}
}

// fate takes the first kept writes of a journey out of their audit and gives them another; "" leaves them not looked up.
func fate(journey, is string, n int, fields ...string) change {
	return func(l *log) {
		for i := range l.events {
			w := l.events[i].Write
			if w == nil || w.Fate != evidence.Kept || w.Journey != journey || w.Cancels || len(w.Keys) < n {
				continue
			}
			taken := w.Keys[:n]
			w.Keys = w.Keys[n:]
			for _, k := range taken {
				if is != "" {
					l.at(verified-0.5, &evidence.Write{Key: k, Journey: journey, Event: evidence.Audited, Fate: is, Fields: fields, Rows: map[string]int{evidence.Duplicated: 2}[is]})
				}
			}
			return
		}
		panic("no kept writes of " + journey)
	}
}

// thereAgain has one write that was taken back be there again.
func thereAgain(l *log) {
	for i := range l.events {
		if w := l.events[i].Write; w != nil && w.Cancels && len(w.Keys) > 0 {
			l.at(44.5, &evidence.Write{Key: w.Keys[0], Journey: "change-of-mind", Event: evidence.Audited, Cancels: true, Fate: evidence.Resurrected, Rows: 1})
			w.Keys = w.Keys[1:]
			return
		}
	}
}

// uncharged has no charge for each write that is lost.
func uncharged(l *log) {
	var keys []string
	l.each(func(e *evidence.Event) {
		if e.Write != nil && e.Write.Event == evidence.Audited && e.Write.Fate == evidence.Lost && e.Write.Effect == "" {
			keys = append(keys, e.Write.Key)
		}
	})
	for _, k := range keys {
		l.at(verified-0.1, &evidence.Write{Key: k, Journey: "checkout", Event: evidence.Audited, Fate: evidence.Lost, Effect: "charge"})
	}
	bad(evidence.CheckEffects, "charge", int64(len(keys)), "")(l)
}

func mayLose(n int) change {
	return run(func(r *evidence.Run) {
		r.Budget = &evidence.Budget{Lost: n, Why: "the standby is asynchronous"}
	})
}

func noClock(name string) change {
	return func(l *log) { l.drop(func(e *evidence.Event) bool { return e.Clock != nil && e.Clock.Name == name }) }
}

func ending(part string, index int, outcome string) change {
	return func(l *log) {
		l.each(func(e *evidence.Event) {
			if s := e.Step; s != nil && s.Part == part && s.Index == index && s.Event == "ended" {
				s.Outcome, s.Exit, s.Error = outcome, 1, "exit status 1"
			}
		})
	}
}

// alone makes it a drill in which latency is judged.
var alone = run(func(r *evidence.Run) { r.Alone = true })

// slow makes a journey's answers slower by so many ms.
func slow(name string, by, a, b float64) change {
	return func(l *log) {
		l.each(func(e *evidence.Event) {
			if isJourney(e, name, a, b) {
				e.Journey.MS += by
			}
		})
	}
}

// noDatabase, and nothing that needs one.
var noDatabase = func(l *log) {
	l.run.Nodes, l.run.Service.Database, l.run.Release.MigrateTo = nil, false, 0
	l.run.Service.Frozen, l.run.Service.Invariants = nil, nil
}

func refusal(l *log) {
	l.run.Expect = &evidence.Expect{Refuses: "unblocked"}
	l.drop(func(e *evidence.Event) bool {
		switch {
		case e.Step != nil:
			return e.Step.Part == evidence.PartStep || e.Step.Part == evidence.PartAfter
		case e.Clock != nil:
			return e.Clock.Name == evidence.ClockStarted || e.Clock.Name == evidence.ClockCommandReturned || e.Clock.Name == evidence.ClockWatchEnded
		}
		return false
	})
	ending(evidence.PartBefore, 1, evidence.StepRefused)(l)
	for i, name := range instances {
		instance(name, 26+float64(i), end, func(x *evidence.Instance) { x.Release = "v2" })(l)
	}
	for _, name := range nodes {
		node(name, 25, end, func(x *evidence.Node) { x.Digest, x.Migration = "bbb", 5 })(l)
		schema(name, "audit", evidence.Schema{Diff: "-orders.coupon_code text\n"})(l)
	}
	l.run.Release.Schema = true
}

// lagging is a second pre-check that refuses, beside that of refusal.
func lagging(l *log) {
	s := evidence.Step{Part: evidence.PartBefore, Index: 2, Name: "no reader of the database is behind by 64000000 bytes or more", Event: "started"}
	begun, ended := s, s
	ended.Event, ended.Outcome, ended.Error = "ended", evidence.StepRefused, "found no replication slot"
	l.at(21.9, &begun)
	l.at(22, &ended)
}

// checkCase is what a check must say of a changed drill.
type checkCase struct {
	check, name string
	change      change
	state       string
	verdict     string
	finding     string // a part of it
}

// TestChecks changes one thing in a good drill and looks at one check.
func TestChecks(t *testing.T) {
	const pass, fails, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	cases := []checkCase{
		{verdict.Restored, "an instance stays on the bad release", instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }), verdict.Broken, fails, "watched for 12.0 s after the last step: shop-3 serves v2"},
		{verdict.Restored, "an instance is down", instance("shop-2", 29, end, func(i *evidence.Instance) { *i = evidence.Instance{Name: i.Name, Service: i.Service} }), verdict.Broken, fails, "shop-2 is down"},
		{verdict.Restored, "an instance is not ready", instance("shop-2", 35, end, func(i *evidence.Instance) { i.Ready = false }), verdict.Broken, fails, "shop-2 is not ready"},
		{verdict.Restored, "a node lags", node("logical", 31, 60, func(n *evidence.Node) { n.Lag = 3 }), verdict.Broken, fails, "the logical replica is more than 1 s behind"},
		{verdict.Restored, "a node does not apply", node("logical", 31, 60, func(n *evidence.Node) { n.Error = "apply error: column is missing" }), verdict.Broken, fails, "the logical replica: apply error: column is missing"},
		{verdict.Restored, "a node is gone", node("streaming", 31, 60, func(n *evidence.Node) { n.Reachable, n.Error = false, "connection refused" }), verdict.Broken, fails, "the streaming replica cannot be reached: connection refused"},
		{verdict.Restored, "a node has not its schema", all(schema("logical", "watch", evidence.Schema{Diff: "-orders.coupon_code text\n"}), schema("logical", "audit", evidence.Schema{Diff: "-orders.coupon_code text\n"})), verdict.Broken, fails, "the logical replica has not its schema: orders.coupon_code text is missing"},
		{verdict.Restored, "the audit reads another schema than watching did", schema("primary", "audit", evidence.Schema{Diff: "+orders.extra text\n"}), verdict.Broken, fails, "the primary has not its schema: orders.extra text was not there before"},
		{verdict.Restored, "users still fail", fail("checkout", 9, 33, 42), verdict.Broken, fails, "9 of 160 checkout journeys failed (5.6 %; in the baseline 0 %)"},
		{verdict.Restored, "one failure among few journeys", fail("browse", 1, 38, 42), verdict.Broken, fails, "1 of 200 browse journeys failed"},
		{verdict.Restored, "a dependant's users fail", fail("invoices", 2, 38, 42), verdict.Broken, fails, "invoices of billing journeys failed"},
		{verdict.Restored, "as many failures as before", all(fail("browse", 3, 2, 5), fail("browse", 1, 38, 42)), verdict.Kept, pass, ""},
		{verdict.Restored, "more failures than before", all(fail("browse", 3, 2, 5), fail("browse", 4, 38, 42)), verdict.Broken, fails, "4 of 200 browse journeys failed (2 %; in the baseline 1 %)"},
		{verdict.Restored, "the bad release still answers", func(l *log) {
			l.each(func(e *evidence.Event) {
				if isJourney(e, "browse", 36, 36.1) {
					e.Journey.Served = append(e.Journey.Served, "shop-9@v2")
				}
			})
		}, verdict.Broken, fails, "shop-9 answers with v2"},
		{verdict.Restored, "arrivals that could not be sent are users' failures", func(l *log) {
			l.each(func(e *evidence.Event) {
				if isJourney(e, "browse", 38, 39) {
					e.Journey.Outcome, e.Journey.Served = evidence.Unsent, nil
				}
			})
		}, verdict.Broken, fails, "20 of 200 browse journeys failed"},
		{verdict.Restored, "a request hangs beyond the end of watching", func(l *log) {
			l.at(45, &evidence.Journey{Name: "browse", At: 35, MS: 10000, Outcome: evidence.Failed})
		}, verdict.Broken, fails, "1 of 201 browse journeys failed"},
		{verdict.Restored, "jobs from before stay open", func(l *log) {
			oldest := evidence.Offset(20)
			l.each(func(e *evidence.Event) {
				if e.Job != nil && e.T > 30 {
					e.Job.Open, e.Job.Oldest = 2, &oldest
				}
			})
		}, verdict.Broken, fails, "jobs of outbox from before are open"},
		{verdict.Restored, "jobs opened after it do not count", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Job != nil && e.T > 30 {
					oldest := e.T - 0.2
					e.Job.Open, e.Job.Oldest = 2, &oldest
				}
			})
		}, verdict.Kept, pass, ""},
		{verdict.Restored, "jobs failed", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Job != nil && e.T > 20 {
					e.Job.Failed = 3
				}
			})
		}, verdict.Broken, fails, "jobs of outbox have failed"},
		{verdict.Restored, "a cache is stale", func(l *log) {
			l.run.Service.Caches = []string{"pages"}
			for i := 0; i < 46; i++ {
				l.at(float64(i), &evidence.Cache{Name: "pages", OK: true, Stale: i / 20})
			}
		}, verdict.Broken, fails, "the cache pages holds entries that v1 cannot read"},
		{verdict.Restored, "a cache was never read", run(func(r *evidence.Run) { r.Service.Caches = []string{"pages"} }), verdict.Unjudged, open, "cache pages was never seen"},
		{verdict.Restored, "sessions are refused", bad(evidence.CheckSessions, "token", 4, ""), verdict.Broken, fails, "4 of 10 kept values of token from before are refused"},
		{verdict.Restored, "an instance is not seen while it matters", noReading("shop-2", 34, 60), verdict.Unjudged, open, "shop-2 was not seen for more than three beats"},
		{verdict.Restored, "a gap in the only window", func(l *log) { l.at(41.5, &evidence.Gap{Of: "node primary", From: 38, To: 41, Why: "time-outs"}) }, verdict.Unjudged, open, "primary was not observed: time-outs"},
		{verdict.Restored, "a node gives no answer in time", all(node("streaming", 38, 60, func(n *evidence.Node) { n.Reachable, n.Error = false, "no answer within 900 ms" }), func(l *log) {
			l.at(45.9, &evidence.Gap{Of: "node streaming", From: 37.9, To: 45.9, Why: "no answer within 900 ms"})
		}), verdict.Unjudged, open, "streaming was not observed: no answer within 900 ms"},
		{verdict.Restored, "a gap, but what is missing is seen", all(noReading("shop-2", 34, 60), instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" })), verdict.Broken, fails, "shop-3 serves v2"},
		{verdict.Restored, "the schema changed and was not read since", node("primary", 38, 60, func(n *evidence.Node) { n.Digest = "ddd" }), verdict.Unjudged, open, "the primary's schema has changed and was not read since"},
		{verdict.Restored, "no traffic is no success", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "", 34, 60) })
		}, verdict.Unjudged, open, "users' journeys are not observed without a break"},
		{verdict.Restored, "one journey is not seen any more", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "change-of-mind", 31, 60) })
		}, verdict.Unjudged, open, "no journey of change-of-mind ended"},
		{verdict.Restored, "watching did not end", noClock(evidence.ClockWatchEnded), verdict.Unjudged, open, "watching did not end"},
		{verdict.Restored, "nobody decided", noClock(evidence.ClockDecided), verdict.Unjudged, open, "nobody decided to roll back"},
		{verdict.Restored, "it must refuse", refusal, verdict.NotApplicable, pass, "the plan must refuse"},
		{verdict.Restored, "slower, alone", all(alone, slow("browse", 3, 37, 42)), verdict.Broken, fails, "browse from 37.0 s: median 10 ms, at most 9 ms allowed (baseline 7 ms)"},
		{verdict.Restored, "slower, not alone", slow("browse", 30, 37, 42), verdict.Kept, pass, ""},

		{verdict.RestoredInTime, "later than promised", run(func(r *evidence.Run) {
			r.Promises = []evidence.Promise{{Check: verdict.RestoredInTime, Text: "within 5 seconds", Within: 5}}
		}), verdict.Broken, fails, "restored only after 8.5 s, and 5 s are promised"},
		{verdict.RestoredInTime, "later than the tier's target", run(func(r *evidence.Run) { r.Service.Target = 8 }), verdict.Broken, fails, "restored only after 8.5 s"},
		{verdict.RestoredInTime, "not restored and time has passed", all(run(func(r *evidence.Run) { r.Service.Target = 15 }), instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" })), verdict.Broken, fails, "15 s passed and service was not restored: shop-3 serves v2"},
		{verdict.RestoredInTime, "watching ended earlier", instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }), verdict.Unjudged, fails, "watching ended 20.0 s after the decision, before the 5 min had passed"},
		{verdict.RestoredInTime, "time has passed unobserved", all(run(func(r *evidence.Run) { r.Service.Target = 15 }), noReading("shop-2", 34, 60)), verdict.Unjudged, open, "it was not observed"},
		{verdict.RestoredInTime, "no time is promised", run(func(r *evidence.Run) { r.Service.Target = 0 }), verdict.NotApplicable, pass, "no time is promised"},

		{verdict.InstancesServe, "an instance stays on the bad release", instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" }), verdict.Broken, fails, "shop-3 serves v2"},
		{verdict.InstancesServe, "it comes back after watching", instance("shop-1", 44, end, func(i *evidence.Instance) { i.Release = "v2" }), verdict.Broken, fails, "shop-1 serves v2"},
		{verdict.InstancesServe, "it came back for a moment", instance("shop-1", 43, 44, func(i *evidence.Instance) { i.Release = "v2" }), verdict.Broken, fails, "shop-1 served v2 at 43.1 s, after 30.5 s"},
		{verdict.InstancesServe, "a response after it was restored", func(l *log) {
			l.at(42.4, &evidence.Journey{Name: "browse", At: 42, MS: 400, Outcome: evidence.OK, Served: []evidence.Serve{"shop-3@v2"}})
		}, verdict.Broken, fails, "1 response came from v2 of shop-3 after 30.5 s"},
		{verdict.InstancesServe, "not seen at the end", noReading("shop-1", 32, 60), verdict.Unjudged, open, "shop-1 was not seen at the end"},
		{verdict.InstancesServe, "it does not say its release", instance("shop-1", 42, end, func(i *evidence.Instance) { i.Release = "" }), verdict.Unjudged, open, "shop-1 does not say its release"},
		{verdict.InstancesServe, "no instances", run(func(r *evidence.Run) { r.Instances = nil }), verdict.NotApplicable, pass, "no instances"},

		{verdict.NodesHaveSchema, "a column is missing", schema("logical", "audit", evidence.Schema{Diff: "--- target\n+++ found\n-orders.coupon_code text\n"}), verdict.Broken, fails, "the logical replica: orders.coupon_code text is missing"},
		{verdict.NodesHaveSchema, "it could not be read", schema("logical", "audit", evidence.Schema{Error: "time-out"}), verdict.Unjudged, open, "could not be read: time-out"},
		{verdict.NodesHaveSchema, "it was not read", func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Schema != nil && e.Schema.At == "audit" && e.Schema.Node == "primary"
			})
		}, verdict.Unjudged, open, "the primary was not read at the audit"},
		{verdict.NodesHaveSchema, "no database", noDatabase, verdict.NotApplicable, pass, "no database"},

		{verdict.NodesHoldSameRows, "rows differ", func(l *log) {
			l.each(func(e *evidence.Event) {
				if e.Chunk != nil && e.Chunk.Node == "logical" {
					e.Chunk.Equal, e.Chunk.Count, e.Chunk.Differ = false, 2630, []string{"id=17: coupon_code: primary 'A', logical NULL"}
				}
			})
		}, verdict.Broken, fails, "the logical replica: 2,630 rows of orders differ"},
		{verdict.NodesHoldSameRows, "a node did not catch up", func(l *log) {
			f := l.finding(evidence.CheckQuiet, "logical")
			f.Bad, f.Error = 1, "apply stopped: column coupon_code does not exist"
		}, verdict.Broken, fails, "the logical replica did not catch up with the primary: apply stopped"},
		{verdict.NodesHoldSameRows, "a node could not be asked", unasked(evidence.CheckQuiet, "logical"), verdict.Unjudged, open, "statement timeout"},
		{verdict.NodesHoldSameRows, "a node was not compared", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Chunk != nil && e.Chunk.Node == "logical" })
		}, verdict.Unjudged, open, "the logical replica was not compared"},
		{verdict.NodesHoldSameRows, "a table was not compared", func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Chunk != nil && e.Chunk.Node == "streaming" && e.Chunk.Table == "stock"
			})
		}, verdict.Unjudged, open, "stock of the streaming replica was not compared"},
		{verdict.NodesHoldSameRows, "one node", run(func(r *evidence.Run) { r.Nodes = r.Nodes[:1] }), verdict.NotApplicable, pass, "one node"},

		{verdict.FrozenUnchanged, "rows differ", bad(evidence.CheckFrozen, "logical/orders", 2630, ""), verdict.Broken, fails, "the logical replica: 2,630 rows of orders that nobody touched differ"},
		{verdict.FrozenUnchanged, "could not be compared", unasked(evidence.CheckFrozen, "primary/orders"), verdict.Unjudged, open, "could not be asked"},
		{verdict.FrozenUnchanged, "not compared", unfound(evidence.CheckFrozen, "streaming/orders"), verdict.Unjudged, open, "streaming/orders was not asked"},
		{verdict.FrozenUnchanged, "stated and none declared", all(unfound(evidence.CheckFrozen, ""), run(func(r *evidence.Run) {
			r.Service.Frozen = nil
			r.Promises = []evidence.Promise{{Check: verdict.FrozenUnchanged, Text: "the data of before"}}
		})), verdict.Unjudged, open, "nobody asked"},
		{verdict.FrozenUnchanged, "none declared", run(func(r *evidence.Run) { r.Service.Frozen = nil }), verdict.NotApplicable, pass, "no frozen rows"},

		{verdict.WritesExactlyOnce, "lost", fate("checkout", evidence.Lost, 3), verdict.Broken, fails, "3 of 741 acknowledged writes are lost: 3 from before the deploy"},
		{verdict.WritesExactlyOnce, "acknowledged and absent is lost", fate("checkout", evidence.Absent, 1), verdict.Broken, fails, "1 of 741 acknowledged writes is lost"},
		{verdict.WritesExactlyOnce, "within its budget", all(fate("checkout", evidence.Lost, 3), run(func(r *evidence.Run) {
			r.Service.Budgets = []evidence.Budget{{Journey: "checkout", Lost: 5, Why: "the queue is in memory"}}
		})), verdict.Kept, pass, "738 of 741 acknowledged writes are there; 3 of 5 writes of checkout that may be lost are lost: the queue is in memory"},
		{verdict.WritesExactlyOnce, "beyond its budget", all(fate("checkout", evidence.Lost, 6), run(func(r *evidence.Run) {
			r.Service.Budgets = []evidence.Budget{{Journey: "checkout", Lost: 5, Why: "the queue is in memory"}}
		})), verdict.Broken, fails, "6 of 741 acknowledged writes are lost"},
		{verdict.WritesExactlyOnce, "within the drill's budget", all(fate("checkout", evidence.Lost, 3), thereAgain, mayLose(4)), verdict.Kept, pass,
			"737 of 741 acknowledged writes are there; 3 acknowledged writes and the taking back of 1 are lost, 4 in all may be: the standby is asynchronous"},
		{verdict.WritesExactlyOnce, "of all journeys within the drill's budget", all(fate("checkout", evidence.Lost, 3), fate("change-of-mind", evidence.Lost, 1), mayLose(4),
			bad(evidence.CheckLedger, "checkout", 3, ""), bad(evidence.CheckLedger, "change-of-mind", 1, "")), verdict.Kept, pass, "4 in all may be: the standby is asynchronous"},
		{verdict.WritesExactlyOnce, "beyond the drill's budget", all(fate("checkout", evidence.Lost, 3), thereAgain, mayLose(3)), verdict.Broken, fails, "3 of 741 acknowledged writes are lost"},
		{verdict.WritesExactlyOnce, "a budget allows no duplicates", all(fate("checkout", evidence.Duplicated, 2), mayLose(5)), verdict.Broken, fails, "2 writes are there more than once"},
		{verdict.WritesExactlyOnce, "duplicated", fate("checkout", evidence.Duplicated, 2), verdict.Broken, fails, "2 writes are there more than once"},
		{verdict.WritesExactlyOnce, "an unknown one duplicated", func(l *log) {
			for i := range l.events {
				if w := l.events[i].Write; w != nil && w.Fate == evidence.Absent {
					w.Fate, w.Rows = evidence.Duplicated, 2
					return
				}
			}
		}, verdict.Broken, fails, "1 write is there more than once"},
		{verdict.WritesExactlyOnce, "transformed", fate("checkout", evidence.Transformed, 2, "total: sent 10.00, found 0.00"), verdict.Broken, fails, "not as sent: 2 writes of checkout changed in total"},
		{verdict.WritesExactlyOnce, "transformed as declared", all(fate("checkout", evidence.Transformed, 2, "coupon: sent A, found"), run(func(r *evidence.Run) {
			r.Release.MayTransform = []evidence.Transform{{Journey: "checkout", Field: "coupon", AtMost: 2, Why: "v1 knows no coupons"}}
		})), verdict.Kept, pass, "741 of 741 acknowledged writes are there; 2 writes of checkout changed in coupon, 2 may: v1 knows no coupons"},
		{verdict.WritesExactlyOnce, "transformed more than declared", all(fate("checkout", evidence.Transformed, 3, "coupon: sent A, found"), run(func(r *evidence.Run) {
			r.Release.MayTransform = []evidence.Transform{{Journey: "checkout", Field: "coupon", AtMost: 2, Why: "v1 knows no coupons"}}
		})), verdict.Broken, fails, "3 writes of checkout changed in coupon"},
		{verdict.WritesExactlyOnce, "not looked up", fate("checkout", "", 5), verdict.Unjudged, open, "5 of 741 acknowledged writes were not looked up"},
		{verdict.WritesExactlyOnce, "could not be looked up", unasked(evidence.CheckLedger, "checkout"), verdict.Unjudged, open, "checkout could not be asked"},
		{verdict.WritesExactlyOnce, "nothing was acknowledged", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Write != nil })
		}, verdict.Unjudged, open, "no write was acknowledged"},
		{verdict.WritesExactlyOnce, "no journey writes", func(l *log) {
			l.run.Service.Writes, l.run.Service.Effects = nil, nil
			l.drop(func(e *evidence.Event) bool { return e.Write != nil })
		}, verdict.NotApplicable, pass, "no journey of the service writes"},
		{verdict.WritesExactlyOnce, "what the audit writes is not in the ledger", func(l *log) {
			l.at(44.1, &evidence.Write{Key: "late", Journey: "checkout", Event: evidence.Invoked})
			l.at(44.2, &evidence.Write{Key: "late", Journey: "checkout", Event: evidence.Acknowledged})
		}, verdict.Kept, pass, "741 acknowledged writes"},

		{verdict.EffectsExactlyOnce, "charged twice", func(l *log) {
			l.at(44.5, &evidence.Write{Key: key(3), Journey: "checkout", Event: evidence.Audited, Fate: evidence.Duplicated, Effect: "charge", Rows: 2})
		}, verdict.Broken, fails, "1 write of charge did not happen as often as it should"},
		{verdict.EffectsExactlyOnce, "of what the budget lets be lost", all(fate("checkout", evidence.Lost, 3), uncharged, mayLose(4)), verdict.Kept, pass, "had each effect as often as they should"},
		{verdict.EffectsExactlyOnce, "of what is lost beyond the budget", all(fate("checkout", evidence.Lost, 3), uncharged, mayLose(2)), verdict.Broken, fails, "3 writes of charge did not happen"},
		{verdict.EffectsExactlyOnce, "of what is there, whatever the budget", all(bad(evidence.CheckEffects, "charge", 2, ""), fate("checkout", evidence.Lost, 3), mayLose(4)), verdict.Broken, fails, "2 writes of charge did not happen"},
		{verdict.EffectsExactlyOnce, "counted wrong", bad(evidence.CheckEffects, "charge", 2, ""), verdict.Broken, fails, "2 writes of charge did not happen"},
		{verdict.EffectsExactlyOnce, "could not be counted", unasked(evidence.CheckEffects, "charge"), verdict.Unjudged, open, "charge could not be asked"},
		{verdict.EffectsExactlyOnce, "none declared", run(func(r *evidence.Run) { r.Service.Effects = nil }), verdict.NotApplicable, pass, "no effects"},

		{verdict.NothingResurrected, "one is back", thereAgain, verdict.Broken, fails, "1 write was taken back and there again"},
		{verdict.NothingResurrected, "one is back within the drill's budget", all(thereAgain, mayLose(1)), verdict.Kept, pass, "163 writes were taken back and not there; of 1 more that was lost, which the budget allows"},
		{verdict.NothingResurrected, "not looked up", all(fate("change-of-mind", "", 164), func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Write != nil && e.Write.Cancels && e.Write.Event == evidence.Audited
			})
		}), verdict.Unjudged, open, "164 of 164 that were taken back were not looked up"},
		{verdict.NothingResurrected, "nothing was taken back", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Write != nil && e.Write.Cancels })
		}, verdict.NotApplicable, pass, "no write was taken back"},

		{verdict.NoPhantoms, "a row that nobody sent", func(l *log) {
			l.at(44.5, &evidence.Write{Key: "ghost", Journey: "checkout", Event: evidence.Audited, Fate: evidence.Phantom, Rows: 1})
		}, verdict.Broken, fails, "1 write is there that should not be"},
		{verdict.NoPhantoms, "counted", bad(evidence.CheckPhantoms, "checkout", 2, ""), verdict.Broken, fails, "2 writes of checkout that nobody sent"},
		{verdict.NoPhantoms, "not asked", unfound(evidence.CheckPhantoms, "change-of-mind"), verdict.Unjudged, open, "change-of-mind was not asked"},
		{verdict.NoPhantoms, "no journey writes", func(l *log) {
			l.run.Service.Writes, l.run.Service.Effects = nil, nil
			l.drop(func(e *evidence.Event) bool { return e.Write != nil })
		}, verdict.NotApplicable, pass, "writes"},

		{verdict.ReferencesLead, "orphans", bad(evidence.CheckReferences, "primary/refunds.order_id -> orders.id", 4, ""), verdict.Broken, fails, "the primary: refunds.order_id -> orders.id: 4 rows lead to nothing"},
		{verdict.ReferencesLead, "not asked on a standby", unfound(evidence.CheckReferences, "streaming/refunds.order_id -> orders.id"), verdict.Unjudged, open, "was not asked"},
		{verdict.ReferencesLead, "no database", noDatabase, verdict.NotApplicable, pass, "no database"},
		{verdict.InvariantsHold, "broken", bad(evidence.CheckInvariants, "primary/totals add up", 4, ""), verdict.Broken, fails, "the primary: totals add up: 4 rows break it"},
		{verdict.InvariantsHold, "time-out", unasked(evidence.CheckInvariants, "primary/totals add up"), verdict.Unjudged, open, "could not be asked"},
		{verdict.InvariantsHold, "none declared", run(func(r *evidence.Run) { r.Service.Invariants = nil }), verdict.NotApplicable, pass, "no invariants"},
		{verdict.SequencesAhead, "behind", bad(evidence.CheckSequences, "primary/orders_id_seq", 1, "next 17, used 100,000"), verdict.Broken, fails, "the primary: orders_id_seq is behind its column: next 17, used 100,000"},
		{verdict.SequencesAhead, "not asked", unfound(evidence.CheckSequences, ""), verdict.Unjudged, open, "was not asked"},
		{verdict.SequencesAhead, "no database", noDatabase, verdict.NotApplicable, pass, "no database"},
		{verdict.MigrationsMatch, "an empty Down", bad(evidence.CheckMigrations, "primary", 1, "[1 2 3 4] recorded, but the schema is not that of them"), verdict.Broken, fails, "the primary: its migrations are not what its schema shows: [1 2 3 4] recorded"},
		{verdict.MigrationsMatch, "not asked", unfound(evidence.CheckMigrations, "logical"), verdict.Unjudged, open, "the logical replica was not asked"},
		{verdict.MigrationsMatch, "no database", noDatabase, verdict.NotApplicable, pass, "no database"},

		{verdict.JobsDone, "open at the quiet point", bad(evidence.CheckJobs, "outbox", 2, "1 open, 1 failed"), verdict.Broken, fails, "2 jobs of outbox not done: 1 open, 1 failed"},
		{verdict.JobsDone, "not asked", unfound(evidence.CheckJobs, ""), verdict.Unjudged, open, "outbox was not asked"},
		{verdict.JobsDone, "none declared", run(func(r *evidence.Run) { r.Service.Jobs = nil }), verdict.NotApplicable, pass, "no jobs"},
		{verdict.CachesReadable, "poisoned", pages(func(t float64, c *evidence.Cache) {
			if t > 20 {
				c.Stale = 31
			}
		}), verdict.Broken, fails, "pages holds 31 entries that v1 cannot read"},
		{verdict.CachesReadable, "filled again after the purge", pages(func(t float64, c *evidence.Cache) {
			if t > 20 && t < 28 || t > 44 {
				c.Stale = 2
			}
		}), verdict.Broken, fails, "pages holds 2 entries that v1 cannot read"},
		{verdict.CachesReadable, "its readers fail", all(pages(func(t float64, c *evidence.Cache) { c.Stale = 1 }), func(l *log) {
			l.each(func(e *evidence.Event) {
				if isJourney(e, "browse", 35, 60) {
					e.Journey.Outcome, e.Journey.Status, e.Journey.Blame = evidence.Failed, 500, "shop-1@v1"
				}
			})
		}), verdict.Broken, fails, "browse journeys, which read through it, failed"},
		{verdict.CachesReadable, "purged", pages(func(t float64, c *evidence.Cache) {
			if t > 20 && t < 28 {
				c.Stale = 31
			}
		}), verdict.Kept, pass, "v1 can read every entry of pages"},
		{verdict.CachesReadable, "once it did not answer after the end", all(pages(nil), func(l *log) {
			l.at(45.9, &evidence.Cache{Name: "pages", Error: "no answer within 900 ms"})
		}), verdict.Kept, pass, "v1 can read every entry of pages"},
		{verdict.CachesReadable, "its script is wrong", pages(func(t float64, c *evidence.Cache) { c.OK, c.Error = false, "ERR user_script:1: nil" }), verdict.Unjudged, open, "user_script:1: nil"},
		{verdict.CachesReadable, "not read at the end", all(pages(nil), func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Cache != nil && e.T > 36 })
		}), verdict.Unjudged, open, "the cache pages was not read at the end"},
		{verdict.CachesReadable, "never read", run(func(r *evidence.Run) { r.Service.Caches = []string{"pages"} }), verdict.Unjudged, open, "the cache pages was never read"},
		{verdict.CachesReadable, "none declared", func(*log) {}, verdict.NotApplicable, pass, "no caches"},
		{verdict.SessionsAccepted, "refused", bad(evidence.CheckSessions, "token", 4, ""), verdict.Broken, fails, "4 of 10 kept values of token from before are refused"},
		{verdict.SessionsAccepted, "nobody had one", func(l *log) { l.finding(evidence.CheckSessions, "token").Checked = 0 }, verdict.Unjudged, open, "no user had a kept value"},
		{verdict.SessionsAccepted, "none declared", run(func(r *evidence.Run) { r.Service.Sessions = nil }), verdict.NotApplicable, pass, "no sessions"},
		{verdict.DependantsWork, "it does not", bad(evidence.CheckDependants, "billing", 1, "invoices: 500"), verdict.Broken, fails, "billing: 1 of 3 journeys failed: invoices: 500"},
		{verdict.DependantsWork, "not asked", unfound(evidence.CheckDependants, ""), verdict.Unjudged, open, "billing was not asked"},
		{verdict.DependantsWork, "none", run(func(r *evidence.Run) { r.Dependants = nil }), verdict.NotApplicable, pass, "no dependant"},
		{verdict.DependantsWork, "stated of one that is not there", run(func(r *evidence.Run) {
			r.Promises = []evidence.Promise{{Check: verdict.DependantsWork, Of: "ledger", Text: "ledger still reads"}}
		}), verdict.Unjudged, open, "ledger was not asked"},

		{verdict.PlanAsWritten, "a step failed", ending(evidence.PartStep, 2, evidence.StepFailed), verdict.Broken, fails, "step 2 of 2 (the code) failed with exit code 1: exit status 1"},
		{verdict.PlanAsWritten, "a step did not do what it should", ending(evidence.PartStep, 1, evidence.StepUnexpected), verdict.Broken, fails, "step 1 of 2 (the column) exited 0 but did not do what it should"},
		{verdict.PlanAsWritten, "a step ran out of time", ending(evidence.PartStep, 1, evidence.StepTimeout), verdict.Broken, fails, "ran out of time"},
		{verdict.PlanAsWritten, "a validation failed", ending(evidence.PartAfter, 1, evidence.StepFailed), verdict.Broken, fails, "validation 1 of 1 (the journey checkout succeeds) failed"},
		{verdict.PlanAsWritten, "a step was skipped", ending(evidence.PartStep, 2, evidence.StepSkipped), verdict.Broken, fails, "was skipped"},
		{verdict.PlanAsWritten, "a step did not run", func(l *log) {
			l.drop(func(e *evidence.Event) bool {
				return e.Step != nil && e.Step.Part == evidence.PartStep && e.Step.Index == 2
			})
		}, verdict.Broken, fails, "step 2 of 2 did not run"},
		{verdict.PlanAsWritten, "stopped by its pre-check", all(refusal, run(func(r *evidence.Run) { r.Expect = nil })), verdict.Broken, fails, `the plan was stopped by its pre-check "nothing is in the way of a lock on orders": exit status 1`},
		{verdict.PlanAsWritten, "a validation was not seen", func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Step != nil && e.Step.Part == evidence.PartAfter })
		}, verdict.Unjudged, open, "validation 1 of 1 was not seen"},
		{verdict.PlanAsWritten, "no steps", run(func(r *evidence.Run) { r.Plan.Steps = nil }), verdict.NotApplicable, pass, "no steps"},

		{verdict.LatencyBack, "it is", alone, verdict.Kept, pass, "median at most 7 ms and p95 10 ms in any 5 s (baseline 7 ms and 10 ms, allowed 9 ms and 12 ms with floors of 2 ms and 2 ms)"},
		{verdict.LatencyBack, "slower", all(alone, slow("browse", 3, 31, 42)), verdict.Broken, fails, "browse: median at most 10 ms"},
		{verdict.LatencyBack, "within the floor", all(alone, slow("browse", 1.9, 31, 42)), verdict.Kept, pass, ""},
		{verdict.LatencyBack, "no data", all(alone, func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "change-of-mind", 31, 60) })
		}), verdict.Unjudged, open, "no journey of change-of-mind succeeded in 5 s"},
		{verdict.LatencyBack, "not alone", func(*log) {}, verdict.NotApplicable, pass, "not alone"},

		{verdict.NothingLeft, "a slot", bad(evidence.CheckLeftovers, "primary", 1, "replication slot old"), verdict.Broken, fails, "the primary: 1 thing is left: replication slot old"},
		{verdict.NothingLeft, "processes", bad(evidence.CheckLeftovers, "environment", 1, "a process"), verdict.Broken, fails, "environment: 1 thing is left"},
		{verdict.NothingLeft, "not asked", unfound(evidence.CheckLeftovers, "logical"), verdict.Unjudged, open, "the logical replica was not asked"},
		{verdict.NothingLeft, "it must refuse", refusal, verdict.NotApplicable, pass, "must refuse"},

		{verdict.PlanRefused, "it did", refusal, verdict.Kept, pass, `the plan refused because of "nothing is in the way of a lock on orders" and changed nothing`},
		{verdict.PlanRefused, "it did not", run(func(r *evidence.Run) { r.Expect = &evidence.Expect{Refuses: "unblocked"} }), verdict.Broken, fails, "the plan did not refuse: step 1 (the column) began at 22.2 s"},
		{verdict.PlanRefused, "another pre-check refused", all(refusal, run(func(r *evidence.Run) { r.Expect.Refuses = "artefact" })), verdict.Broken, fails, `and "artefact" was to refuse`},
		{verdict.PlanRefused, "one of two refused", all(refusal, run(func(r *evidence.Run) { r.Expect.Also = []string{"lag"} })), verdict.Broken, fails, `and "lag" was to refuse`},
		{verdict.PlanRefused, "both refused", all(refusal, lagging, run(func(r *evidence.Run) { r.Expect.Also = []string{"lag"} })), verdict.Kept, pass, "the plan refused because of 2 pre-checks, and changed nothing"},
		{verdict.PlanRefused, "an instance changed", all(refusal, instance("shop-2", 40, end, func(i *evidence.Instance) { i.Release = "v1" })), verdict.Broken, fails, "shop-2 changed: v2 before, v1 after"},
		{verdict.PlanRefused, "the schema changed", all(refusal, node("primary", 40, 60, func(n *evidence.Node) { n.Digest = "ddd" })), verdict.Broken, fails, "the primary's schema changed"},
		{verdict.PlanRefused, "writes are lost", all(refusal, fate("checkout", evidence.Lost, 1)), verdict.Broken, fails, "1 of 741 acknowledged writes is lost"},
		{verdict.PlanRefused, "nobody looked afterwards", all(refusal, noReading("shop-1", 22, 60)), verdict.Unjudged, open, "shop-1 was not seen after the plan had refused"},
		{verdict.PlanRefused, "nothing refused", all(refusal, func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Step != nil && e.Step.Part == evidence.PartBefore })
		}), verdict.Unjudged, open, "no pre-check was seen to refuse"},
		{verdict.PlanRefused, "not expected", func(*log) {}, verdict.NotApplicable, pass, "not expected to refuse"},

		{"a check of tomorrow", "stated", run(func(r *evidence.Run) { r.Promises = []evidence.Promise{{Check: "a check of tomorrow", Text: "x"}} }), verdict.Unjudged, open, "promise list 2 has no check of this name"},
	}
	cases = slices.Concat(cases, operatorCases(), herdCases(), breakerCases(), ceilingCases(), mixCases(), togetherCases(), communicationCases())
	seen := map[string]map[string]bool{}
	for _, c := range cases {
		if seen[c.check] == nil {
			seen[c.check] = map[string]bool{}
		}
		seen[c.check][c.state] = true
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			l := good()
			c.change(l)
			v := l.judge()
			p := promise(v, c.check)
			if p.State != c.state || !strings.Contains(p.Finding, c.finding) {
				t.Errorf("expected %s: ... %s ...\n found %s: %s", c.state, c.finding, p.State, p.Finding)
			}
			if v.Verdict != c.verdict {
				t.Errorf("expected %s\n%s", c.verdict, dump(v))
			}
			if p.State == verdict.Broken && p.Remedy == "" {
				t.Error("it is broken and nothing says what to do")
			}
			if v.Because == "" || strings.Contains(v.Because, "%!") || strings.Contains(fmt.Sprint(v.Promises), "%!") {
				t.Errorf("badly said: %s", v.Because)
			}
			if v.Complete != (v.Verdict == pass) {
				t.Errorf("complete is %v and the verdict %s", v.Complete, v.Verdict)
			}
		})
	}
	for _, name := range verdict.Names() {
		for _, state := range []string{verdict.Broken, verdict.Unjudged, verdict.NotApplicable} {
			if !seen[name][state] && !(name == verdict.NothingLeft && state == verdict.NotApplicable) {
				t.Errorf("no case leaves %q %s", name, state)
			}
		}
	}
}
