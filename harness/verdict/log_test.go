package verdict_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// log is the evidence of a drill that never was. good makes one that goes well; a case changes one thing in it.
//
//	 1.0  baseline, 40 journeys a second: 20 browse, 16 checkout, 4 change-of-mind; 4 of billing
//	16.0  v2 is deployed with migration 5, until 18.0; four checkouts in ten fail
//	22.0  decided; started 22.2; shop-1, -2, -3 are back on v1 at 26, 27, 28; nodes at 25 (logical) and 25.5
//	30.0  command returned; canonical schemas read as equal at 30.4
//	42.0  watching ended, quiet 42.0 to 43.0, data verified 45.0, the end 47.0
type log struct {
	run    evidence.Run
	events []evidence.Event
}

const (
	deployBegun, deployed, decided, started, returned  = 16.0, 18.0, 22.0, 22.2, 30.0
	watchEnded, quietReached, verified, destroyed, end = 42.0, 43.0, 45.0, 46.0, 47.0
)

var (
	instances = []string{"shop-1", "shop-2", "shop-3"}
	nodes     = []string{"primary", "streaming", "logical"}
)

func (l *log) at(t float64, k evidence.Kind) {
	e := evidence.Event{T: evidence.Offset(t)}
	k.Put(&e)
	l.events = append(l.events, e)
}

// drop removes events.
func (l *log) drop(which func(e *evidence.Event) bool) {
	l.events = slices.DeleteFunc(l.events, func(e evidence.Event) bool { return which(&e) })
}

// each changes events.
func (l *log) each(do func(e *evidence.Event)) {
	for i := range l.events {
		do(&l.events[i])
	}
}

func (l *log) finding(check, of string) *evidence.Finding {
	for _, e := range l.events {
		if e.Finding != nil && e.Finding.Check == check && e.Finding.Of == of {
			return e.Finding
		}
	}
	panic("no finding " + check + " of " + of)
}

// dropFinding removes the findings of a check, all of them when of is empty.
func (l *log) dropFinding(check, of string) {
	l.drop(func(e *evidence.Event) bool {
		return e.Finding != nil && e.Finding.Check == check && (of == "" || e.Finding.Of == of)
	})
}

// ordered numbers the events in the order of time.
func (l *log) ordered() []evidence.Event {
	all := append([]evidence.Event{{T: 0, Run: &l.run}}, l.events...)
	slices.SortStableFunc(all[1:], func(a, b evidence.Event) int { return cmp.Compare(a.T, b.T) })
	for i := range all {
		all[i].N = int64(i + 1)
	}
	return all
}

func fold(events []evidence.Event) *verdict.Facts {
	f := verdict.New()
	for _, e := range events {
		f.Add(e)
	}
	return f
}

func (l *log) judge() verdict.Verdict { return verdict.Judge(fold(l.ordered())) }

// releaseAt is what an instance serves: the deploy and the rollback go through the instances one after the other.
func releaseAt(t float64, instance int) string {
	if t >= deployBegun+0.5+0.4*float64(instance) && t < 26+float64(instance) {
		return "v2"
	}
	return "v1"
}

func key(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i) }

func good() *log {
	l := &log{run: evidence.Run{
		Name: "The plan restores the column", Feature: "Rolling back", Path: "features/x.feature", Line: 14, Seed: 7,
		Environment: "process", Good: "v1", Instances: instances, Nodes: nodes, PromiseList: verdict.PromiseList,
		Windows: evidence.Windows{Name: "gate", Baseline: 15, Stability: 10, Patience: 15, Beat: 1, Probe: 0.1},
		Traffic: evidence.Traffic{Rate: 40, Users: 10, InFlight: 100},
		Service: evidence.Service{Name: "shop", Tier: "critical", Target: 300, Journeys: []string{"browse", "checkout", "change-of-mind"},
			Writes: []string{"checkout", "change-of-mind"}, Effects: []string{"charge"}, Jobs: []string{"outbox"},
			Sessions: []string{"token"}, Invariants: []string{"totals add up"}, References: []string{"refunds.order_id -> orders.id"},
			Frozen: []string{"orders"}, Database: true},
		Dependants: []evidence.Service{{Name: "billing", Journeys: []string{"invoices"}}},
		Release: evidence.Release{Name: "v2", KnownBad: "It fails checkouts.", Within: 10, MigrateTo: 5,
			Harms: []evidence.Harm{{Journey: "checkout", SuccessBelow: 0.9}}},
		Plan: evidence.Plan{Name: "rollback", From: "v2", To: "v1", Before: []string{"nothing is in the way of a lock on orders"},
			Steps: []evidence.PlanStep{{Name: "the column"}, {Name: "the code"}}, After: []string{"the journey checkout succeeds"}},
	}}
	for _, p := range []struct {
		t    float64
		name string
	}{{0, "provision"}, {1, "baseline"}, {deployBegun, "deploy"}, {deployed, "decide"}, {decided, "rollback"}, {returned, "watch"},
		{watchEnded, "quiet"}, {quietReached, "audit"}, {destroyed, "destroy"}} {
		l.at(p.t, &evidence.Phase{Name: p.name})
	}
	for _, c := range []struct {
		t    float64
		name string
	}{{1, evidence.ClockBaselineBegun}, {deployBegun, evidence.ClockBaselineEnded}, {deployBegun, evidence.ClockDeployBegun},
		{deployed, evidence.ClockDeployed}, {decided, evidence.ClockDecided}, {started, evidence.ClockStarted},
		{returned, evidence.ClockCommandReturned}, {watchEnded, evidence.ClockWatchEnded}, {watchEnded, evidence.ClockQuietBegun},
		{quietReached, evidence.ClockQuietReached}, {verified, evidence.ClockDataVerified}} {
		l.at(c.t, &evidence.Clock{Name: c.name})
	}
	for _, s := range []struct {
		part     string
		index    int
		name     string
		from, to float64
	}{{evidence.PartRollout, 1, "deploy v2", deployBegun, deployed}, {evidence.PartBefore, 1, "nothing is in the way of a lock on orders", 22, 22.1},
		{evidence.PartStep, 1, "the column", started, 25.6}, {evidence.PartStep, 2, "the code", 25.7, returned},
		{evidence.PartAfter, 1, "the journey checkout succeeds", 30.1, 30.3}} {
		l.at(s.from, &evidence.Step{Part: s.part, Index: s.index, Name: s.name, Event: "started"})
		l.at(s.to, &evidence.Step{Part: s.part, Index: s.index, Name: s.name, Event: "ended", Outcome: evidence.StepOK, Seconds: s.to - s.from})
	}
	for i, name := range nodes {
		back := 25.5
		if name == "logical" {
			back = 25
		}
		for t := 0.2; t < destroyed; t += 0.5 {
			d := &evidence.Node{Name: name, Role: name, Reachable: true, Lag: 0.02 * float64(i), Digest: "aaa", Migration: 4}
			switch {
			case t >= back:
				d.Digest = "ccc"
			case t >= 16.4:
				d.Digest, d.Migration = "bbb", 5
			}
			l.at(t, d)
		}
		l.at(0.9, &evidence.Schema{Node: name, At: "baseline", Digest: "1", Text: "table orders\n", Equal: true})
		l.at(18.4, &evidence.Schema{Node: name, At: "watch", Digest: "2", Diff: "--- target\n+++ found\n-orders.coupon_code text\n"})
		l.at(30.4, &evidence.Schema{Node: name, At: "watch", Digest: "1", Equal: true})
		l.at(44, &evidence.Schema{Node: name, At: "audit", Digest: "1", Equal: true})
	}
	for i, name := range instances {
		for t := 0.1; t < destroyed; t += 0.5 {
			l.at(t, &evidence.Instance{Name: name, Service: "shop", Up: true, Ready: true, Release: releaseAt(t, i), PID: 100 + i, Memory: 30 << 20})
		}
		l.at(0.1, &evidence.Instance{Name: "billing-1", Service: "billing", Up: true, Ready: true, Release: "b1"})
	}
	for t := 0.3; t < destroyed; t++ {
		if t < started || t > returned {
			l.at(t, &evidence.Job{Name: "outbox", OK: true})
		}
	}
	writes, kept, cancelled := 0, map[string][]string{}, []string{}
	for i := 0; float64(i)/40 < watchEnded-1; i++ {
		start := 1 + float64(i)/40
		who := i % 3
		release := releaseAt(start, who)
		by := evidence.Serve(instances[who] + "@" + release)
		ms := 4 + float64(i%7)
		done := start + ms/1000
		j := &evidence.Journey{Name: "browse", User: i % 10, At: evidence.Offset(start), MS: ms, Outcome: evidence.OK, Served: []evidence.Serve{by}}
		switch i % 10 {
		case 1, 3, 5, 7:
			j.Name = "checkout"
		case 9:
			j.Name = "change-of-mind"
		}
		if j.Name != "browse" {
			k := key(writes)
			writes++
			l.at(start+0.0005, &evidence.Write{Key: k, Journey: j.Name, Event: evidence.Invoked})
			settled := &evidence.Write{Key: k, Journey: j.Name, Event: evidence.Acknowledged, Status: 201}
			if release == "v2" && j.Name == "checkout" && i%5 < 2 {
				j.Outcome, j.Step, j.Status, j.Blame = evidence.Failed, 2, 500, by
				settled.Event, settled.Status = evidence.Unknown, 500
				l.at(verified-0.5, &evidence.Write{Key: k, Journey: j.Name, Event: evidence.Audited, Fate: evidence.Absent})
			} else {
				kept[j.Name] = append(kept[j.Name], k)
			}
			l.at(start+0.002, settled)
			if j.Name == "change-of-mind" {
				l.at(start+0.0025, &evidence.Write{Key: k, Journey: j.Name, Event: evidence.Invoked, Cancels: true})
				l.at(start+0.003, &evidence.Write{Key: k, Journey: j.Name, Event: evidence.Acknowledged, Cancels: true, Status: 200})
				cancelled = append(cancelled, k)
			}
		}
		l.at(done, j)
		if i%10 == 0 {
			l.at(done, &evidence.Journey{Name: "invoices", Service: "billing", At: evidence.Offset(start), MS: ms, Outcome: evidence.OK, Served: []evidence.Serve{"billing-1@b1"}})
		}
	}
	total := int64(0)
	for _, name := range []string{"checkout", "change-of-mind"} {
		for part := range slices.Chunk(kept[name], 500) {
			l.at(verified-0.5, &evidence.Write{Journey: name, Event: evidence.Audited, Fate: evidence.Kept, Keys: part})
		}
		total += int64(len(kept[name]))
		l.at(verified-0.4, &evidence.Finding{Check: evidence.CheckLedger, Of: name, Asked: true, Checked: int64(len(kept[name]))})
		l.at(verified-0.4, &evidence.Finding{Check: evidence.CheckPhantoms, Of: name, Asked: true, Checked: total})
	}
	l.at(verified-0.5, &evidence.Write{Journey: "change-of-mind", Event: evidence.Audited, Fate: evidence.Kept, Cancels: true, Keys: cancelled})
	l.at(verified-0.4, &evidence.Finding{Check: evidence.CheckEffects, Of: "charge", Asked: true, Checked: total})
	l.at(quietReached-0.1, &evidence.Finding{Check: evidence.CheckJobs, Of: "outbox", Asked: true})
	l.at(verified-0.3, &evidence.Finding{Check: evidence.CheckSessions, Of: "token", Asked: true, Checked: 10})
	l.at(verified-0.3, &evidence.Finding{Check: evidence.CheckDependants, Of: "billing", Asked: true, Checked: 3})
	for _, n := range nodes {
		ask := func(check, of string, checked int64) {
			l.at(verified-0.2, &evidence.Finding{Check: check, Of: of, Asked: true, Checked: checked})
		}
		l.at(quietReached-0.1, &evidence.Finding{Check: evidence.CheckQuiet, Of: n, Asked: true, Checked: 1})
		l.at(verified-0.3, &evidence.Chunk{Node: n, Table: "orders", Rows: 100_000, Sum: "1", Equal: true})
		if n != "logical" {
			l.at(verified-0.3, &evidence.Chunk{Node: n, Table: "stock", Rows: 1000, Sum: "2", Equal: true})
			ask(evidence.CheckSequences, n+"/orders_id_seq", 1)
		}
		ask(evidence.CheckFrozen, n+"/orders", 100_000)
		ask(evidence.CheckReferences, n+"/refunds.order_id -> orders.id", 50)
		ask(evidence.CheckInvariants, n+"/totals add up", 1)
		ask(evidence.CheckMigrations, n, 4)
		ask(evidence.CheckLeftovers, n, 7)
	}
	l.at(destroyed+0.5, &evidence.Finding{Check: evidence.CheckLeftovers, Of: "environment", Asked: true, Checked: 1})
	l.at(end, &evidence.End{How: "complete"})
	return l
}

func promise(v verdict.Verdict, name string) verdict.Promise {
	for _, p := range v.Promises {
		if p.Name == name {
			return p
		}
	}
	return verdict.Promise{Name: name, State: "not in the list"}
}

func assumption(v verdict.Verdict, name string) (verdict.Assumption, bool) {
	for _, a := range v.Assumptions {
		if a.Name == name {
			return a, true
		}
	}
	return verdict.Assumption{}, false
}

// dump says all that is not as in a drill that went well.
func dump(v verdict.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", v.Verdict, v.Because)
	for _, a := range v.Assumptions {
		if !a.Held {
			fmt.Fprintf(&b, "  does not hold: %s: %s %v\n", a.Name, a.Finding, a.Evidence)
		}
	}
	for _, p := range v.Promises {
		if p.State == verdict.Broken || p.State == verdict.Unjudged {
			fmt.Fprintf(&b, "  %s: %s: %s %v\n", p.State, p.Name, p.Finding, p.Evidence)
		}
	}
	return b.String()
}

func TestAGoodDrillPasses(t *testing.T) {
	v := good().judge()
	if v.Verdict != verdict.Pass {
		t.Fatal(dump(v))
	}
	if !v.Complete {
		t.Error("it is not complete")
	}
	want := map[string]float64{evidence.ClockUsersRestored: 28, evidence.ClockRestored: 30.5, evidence.ClockDecided: 22}
	for name, at := range want {
		if got := v.Clocks[name]; got == nil || float64(*got) != at {
			t.Errorf("%s: expected %v, found %v", name, at, got)
		}
	}
	t.Log(v.Because, v.Harm)
	for _, p := range v.Promises {
		t.Log(p.State, p.Name, p.Finding, p.Evidence)
	}
	for _, p := range v.Assumptions {
		t.Log(p.Held, p.Name, p.Finding, p.Evidence)
	}
	t.Logf("%+v %+v %+v", v.Speed, v.Shares, v.Writes)
	for _, r := range v.Replicas {
		t.Log(r.Name, *r.Converged, r.Last)
	}
}
