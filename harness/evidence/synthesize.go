package evidence

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Synthetic describes the evidence of a drill that never was: a plain rollback of a release that fails checkouts,
// which goes well. It is for measuring how fast evidence is written, read and judged, and how much room it takes.
type Synthetic struct {
	Hours float64
	Rate  float64 // journeys per second
	Seed  uint64
}

// Synthesize puts the events of such a drill into a log, from the run to the end. The same Synthetic gives the same
// events.
func Synthesize(l *Log, s Synthetic) {
	const (
		baseline, deploy, deployed, decided, returned = 1.0, 16.0, 18.0, 28.0, 40.0
		harness                                       = 10.0 // of the end, for the audit
	)
	r := rand.New(rand.NewPCG(s.Seed, 1))
	total := max(s.Hours*3600, returned+harness+30)
	quiet := total - harness
	instances := []string{"web-1", "web-2", "web-3"}
	nodes := []string{"primary", "streaming", "logical"}
	service := Service{Name: "web", Tier: "critical", Target: 300, Journeys: []string{"browse", "order", "checkout"},
		Writes: []string{"checkout"}, Jobs: []string{"outbox"}, Database: true}

	type timed struct {
		t Offset
		k Kind
	}
	var batch []timed
	at := func(t float64, k Kind) { batch = append(batch, timed{Offset(t), k}) }
	flush := func() {
		slices.SortStableFunc(batch, func(a, b timed) int { return cmp.Compare(a.t, b.t) })
		for _, e := range batch {
			l.PutAt(e.t, e.k)
		}
		batch = batch[:0]
	}
	at(0, &Run{Name: "synthetic", Feature: "A drill that never was", Path: "synthetic.feature", Line: 1, Again: "none",
		Seed: int64(s.Seed), Started: time.Unix(0, 0).UTC(), Environment: "process",
		Windows: Windows{Name: "gate", Baseline: 15, Stability: 10, Patience: 15, Beat: 1, Probe: 0.1},
		Traffic: Traffic{Rate: s.Rate, Users: 50, InFlight: 500}, Service: service, Good: "v1",
		Release: Release{Name: "v2", KnownBad: "It fails checkouts.", Within: 10,
			Harms: []Harm{{Journey: "checkout", SuccessBelow: 0.9}}},
		Plan: Plan{Name: "rollback", Path: "rollback.yaml", From: "v2", To: "v1",
			Steps: []PlanStep{{Name: "the old code", Run: "./deploy v1", Timeout: 60, Again: "safe"}}},
		Instances: instances, Nodes: nodes, PromiseList: 1})
	for _, p := range []struct {
		t    float64
		name string
	}{{0, "provision"}, {baseline, "baseline"}, {deploy, "deploy"}, {deployed, "decide"}, {decided, "rollback"},
		{returned, "watch"}, {quiet, "quiet"}, {quiet + 1, "audit"}} {
		at(p.t, &Phase{Name: p.name})
	}
	for _, c := range []struct {
		t    float64
		name string
	}{{baseline, ClockBaselineBegun}, {deploy, ClockBaselineEnded}, {deploy, ClockDeployBegun},
		{deployed, ClockDeployed}, {decided, ClockDecided}, {decided + 0.1, ClockStarted}, {returned, ClockCommandReturned},
		{quiet, ClockWatchEnded}, {quiet, ClockQuietBegun}, {quiet + 1, ClockQuietReached}, {total - 1, ClockDataVerified}} {
		at(c.t, &Clock{Name: c.name})
	}
	step := func(part string, from, to float64, command string) {
		at(from, &Step{Part: part, Index: 1, Name: "the code", Event: "started", Command: command})
		at(to-0.1, &Step{Part: part, Index: 1, Name: "the code", Event: "output", Stream: "stdout", Output: "done\n"})
		at(to, &Step{Part: part, Index: 1, Name: "the code", Event: "ended", Outcome: StepOK, Seconds: to - from})
	}
	step(PartRollout, deploy, deployed, "./deploy v2")
	step(PartStep, decided+0.1, returned, "./deploy v1")
	for _, n := range nodes {
		at(baseline+1, &Schema{Node: n, At: "baseline", Digest: "a", Text: "table orders\n", Equal: true, Applied: []int64{1, 2, 3}})
		at(quiet+2, &Schema{Node: n, At: "audit", Digest: "a", Equal: true, Applied: []int64{1, 2, 3}})
	}
	releaseAt := func(t float64, i int) string {
		if t > deploy+float64(i)/2 && t < returned-float64(2-i) {
			return "v2"
		}
		return "v1"
	}
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return hex.EncodeToString(b)
	}
	uuid := func() string {
		h := random(16)
		return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
	}

	var kept []string
	for second := 0; float64(second) < total-2; second++ {
		from := float64(second)
		for i, name := range instances {
			at(from+0.1+r.Float64()/100, &Instance{Name: name, Service: "web", Up: true, Ready: true, Release: releaseAt(from, i),
				PID: 1000 + i, CPU: r.Float64() / 2, Memory: 30<<20 + int64(r.IntN(1<<20))&^4095})
		}
		for i, name := range nodes {
			at(from+0.2+r.Float64()/100, &Node{Name: name, Role: name, Reachable: true, Lag: float64(min(i, 1)) * r.Float64() / 10,
				LagBytes: int64(min(i, 1) * r.IntN(10000)), Digest: "9f3c1a07", Migration: 3, CPU: r.Float64() / 2, Memory: 200<<20 + int64(r.IntN(1<<22))&^4095})
		}
		at(from+0.3, &Job{Name: "outbox", OK: true})
		at(from+0.4, &Probe{Name: "load", Value: float64(r.IntN(200)) / 100, OK: true})
		if from < baseline || from >= quiet {
			flush()
			continue
		}
		for i := range int(s.Rate) {
			start := from + float64(i)/s.Rate
			who := r.IntN(3)
			release := releaseAt(start, who)
			served := Serve(instances[who] + "@" + release)
			j := &Journey{Name: service.Journeys[min(r.IntN(10)/4, 2)], User: r.IntN(50), At: Offset(start), MS: 2 + r.ExpFloat64()*3,
				Outcome: OK, Served: []Serve{served}, Trace: random(16)}
			if second := Serve(instances[r.IntN(3)] + "@" + release); second != served && j.Name != "browse" {
				j.Served = append(j.Served, second)
			}
			end := start + j.MS/1000
			if j.Name == "checkout" {
				key := uuid()
				w := Write{Key: key, Journey: j.Name, Event: Invoked, Trace: j.Trace}
				at(start+0.0001, &w)
				done := Write{Key: key, Journey: j.Name, Event: Acknowledged, Status: 201, Trace: j.Trace}
				if release == "v2" && r.IntN(2) == 0 {
					j.Outcome, j.Step, j.Status, j.Blame = Failed, 2, 500, served
					done.Event, done.Status = Unknown, 500
				} else {
					kept = append(kept, key)
				}
				at(end-0.0001, &done)
			}
			at(end, j)
		}
		flush()
	}
	for chunk := range slices.Chunk(kept, 500) {
		at(quiet+3, &Write{Keys: chunk, Journey: "checkout", Event: Audited, Fate: Kept})
	}
	at(quiet+4, &Finding{Check: CheckLedger, Of: "checkout", Asked: true, Checked: int64(len(kept))})
	at(quiet+4, &Finding{Check: CheckPhantoms, Of: "checkout", Asked: true, Checked: int64(len(kept))})
	at(quiet+4, &Finding{Check: CheckJobs, Of: "outbox", Asked: true, Checked: int64(len(kept))})
	at(quiet+4, &Finding{Check: CheckLeftovers, Of: "environment", Asked: true})
	for _, n := range nodes {
		at(quiet+2, &Finding{Check: CheckQuiet, Of: n, Asked: true})
		at(quiet+4, &Finding{Check: CheckReferences, Of: n + "/lines.order_id -> orders.id", Asked: true, Checked: 1000})
		at(quiet+4, &Finding{Check: CheckSequences, Of: n + "/orders_id_seq", Asked: true, Checked: 1})
		at(quiet+4, &Finding{Check: CheckMigrations, Of: n, Asked: true, Checked: 3})
		at(quiet+4, &Finding{Check: CheckLeftovers, Of: n, Asked: true})
		at(quiet+5, &Chunk{Node: n, Table: "orders", Rows: 100_000, Sum: fmt.Sprint(s.Seed), Equal: true})
	}
	at(total, &End{How: "complete"})
	flush()
}
