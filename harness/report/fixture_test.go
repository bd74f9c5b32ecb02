package report

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

var update = flag.Bool("update", false, "write the fixture and the golden files anew")

// The fixture is a drill in small: v2 drops a column, its rollback brings it back on two of three nodes, one instance
// is late, and one was not observed for a while. Written by -update, read by every test.
const fixture = "testdata/drops-a-column"

func load(t testing.TB) *Model {
	t.Helper()
	if *update {
		writeFixture(t)
	}
	var v verdict.Verdict
	raw, err := os.ReadFile(filepath.Join(fixture, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	r := &evidence.Reader{Path: filepath.Join(fixture, evidence.File)}
	b := New()
	for e, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(e)
	}
	m := b.Model(v, r.Head())
	if err := m.Cite(r.Events()); err != nil {
		t.Fatal(err)
	}
	return m
}

func writeFixture(t testing.TB) {
	t.Helper()
	if err := os.MkdirAll(fixture, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(fixture, evidence.File)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	l, err := evidence.Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cites := fill(l)
	if _, err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(fixture, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteVerdict(f, judgement(cites)); err != nil {
		t.Fatal(err)
	}
}

type timed struct {
	t    float64
	k    evidence.Kind
	cite string
}

// fill puts the events of the drill into a log and returns the numbers of those that the verdict cites.
func fill(l *evidence.Log) map[string]int64 {
	r := rand.New(rand.NewPCG(7, 7))
	var all []timed
	cited := func(cite string, t float64, k evidence.Kind) { all = append(all, timed{t, k, cite}) }
	at := func(t float64, k evidence.Kind) { cited("", t, k) }

	instances, nodes := []string{"shop-1", "shop-2", "shop-3"}, []string{"primary", "streaming", "logical"}
	steps := []evidence.PlanStep{
		{Name: "bring the column back with its data", Run: `goose -dir migrations postgres "$PRIMARY" down-to 4`, Timeout: 120, Again: "refuse"},
		{Name: "the old code, which needs the column", Run: "./deploy v1", Timeout: 60, Again: "safe"},
		{Name: "purge the pages", Run: "./purge", Timeout: 10, Again: "safe"},
	}
	at(0, &evidence.Run{
		Name: "The plan restores the column and its data", Feature: "Rolling back a release that drops a column",
		Path: "features/database/drops-a-column.feature", Line: 14, Tags: []string{"@database", "@critical"},
		Text:  "@database @critical\nFeature: Rolling back a release that drops a column\n\n  Scenario: The plan restores the column and its data\n    When release \"v2-drops-coupon\" is deployed over \"v1\"\n    Then users are harmed\n",
		Again: "backout run features/database/drops-a-column.feature:14 --seed 7", Seed: 7,
		Started: time.Date(2026, 11, 23, 6, 45, 12, 0, time.UTC), Environment: "process",
		Windows:    evidence.Windows{Name: "gate", Baseline: 15, Stability: 10, Patience: 15, Beat: 1, Probe: 0.1},
		Traffic:    evidence.Traffic{Rate: 40, Users: 20, InFlight: 200},
		Service:    evidence.Service{Name: "shop", Tier: "critical", Target: 300, Journeys: []string{"browse", "checkout", "order"}, Writes: []string{"checkout"}, Database: true, Frozen: []string{"orders"}, Caches: []string{"pages"}},
		Dependants: []evidence.Service{{Name: "billing", Tier: "standard", Journeys: []string{"recent-invoices"}}},
		Good:       "v1", Release: evidence.Release{Name: "v2-drops-coupon", KnownBad: "Checkout with a coupon fails, because the migration dropped orders.coupon_code.", MigrateTo: 5, Within: 10, Schema: true,
			Harms: []evidence.Harm{{Journey: "checkout", SuccessBelow: 0.9}}},
		Plan:      evidence.Plan{Name: "restore the coupon column", Path: "releases/v2-drops-coupon/rollback.yaml", Risk: "schema", From: "v2-drops-coupon", To: "v1", Steps: steps},
		Instances: instances, Nodes: nodes, PromiseList: 1,
		Faults:   []evidence.DeclaredFault{{Kind: "pause", Of: "shop-2", Text: "shop-2 is paused", Before: 1}},
		Versions: map[string]string{"backout": "0.1.0", "go": "1.26", "postgres": "15.14", "goose": "3.29.0"},
		Digests:  map[string]string{"rollback.yaml": strings.Repeat("7be2d0c4", 8), "migrations/00005_drop_coupon.sql": strings.Repeat("a3310f6d", 8)},
		Machine:  map[string]string{"cores": "2", "memory": "8 GB", "kernel": "Linux 6.1", "load": "0.3 at the start"},
	})
	const (
		baseline, deploy, deployed, decided, started, returned, restoredUsers, watch, quiet, end = 2.0, 17.0, 19.2, 24.1, 24.3, 33.6, 38.9, 56.0, 56.0, 62.0
	)
	for _, p := range []struct {
		t    float64
		name string
	}{{0, "provision"}, {baseline, "baseline"}, {deploy, "deploy"}, {deployed, "decide"}, {decided, "rollback"}, {returned, "watch"}, {quiet, "quiet"}, {57.2, "audit"}} {
		at(p.t, &evidence.Phase{Name: p.name})
	}
	for _, c := range []struct {
		t    float64
		name string
	}{{baseline, evidence.ClockBaselineBegun}, {deploy, evidence.ClockBaselineEnded}, {deploy, evidence.ClockDeployBegun}, {deployed, evidence.ClockDeployed},
		{decided, evidence.ClockDecided}, {started, evidence.ClockStarted}, {returned, evidence.ClockCommandReturned}, {watch, evidence.ClockWatchEnded},
		{quiet, evidence.ClockQuietBegun}, {57.2, evidence.ClockQuietReached}, {61.5, evidence.ClockDataVerified}} {
		cited(c.name, c.t, &evidence.Clock{Name: c.name})
	}
	step := func(part string, index int, name, command, output, outcome string, from, to float64) {
		at(from, &evidence.Step{Part: part, Index: index, Name: name, Event: "started", Command: command})
		for line := range strings.Lines(output) {
			at((from+to)/2, &evidence.Step{Part: part, Index: index, Name: name, Event: "output", Output: line, Stream: "stdout"})
		}
		s := &evidence.Step{Part: part, Index: index, Name: name, Event: "ended", Outcome: outcome, Seconds: to - from}
		if outcome != evidence.StepOK {
			s.Exit, s.Error = 1, "exit status 1: cache.local does not answer"
		}
		cited(fmt.Sprint(part, index), to, s)
	}
	step(evidence.PartRollout, 1, "drop the column", `goose -dir migrations postgres "$DATABASE_URL" up-to 5`, "OK   00005_drop_coupon.sql (41.2ms)\n", evidence.StepOK, deploy, deploy+0.3)
	step(evidence.PartRollout, 2, "the new code", "./deploy v2-drops-coupon", "shop-1 v2-drops-coupon\nshop-2 v2-drops-coupon\nshop-3 v2-drops-coupon\n", evidence.StepOK, deploy+0.3, deployed)
	step(evidence.PartBefore, 1, "the right database and role", "", "shop, shop_migrator\n", evidence.StepOK, decided, decided+0.1)
	step(evidence.PartStep, 1, steps[0].Name, steps[0].Run, "OK   00005_drop_coupon.sql (3.1s)\ngoose: no migrations to run. current version: 4\n", evidence.StepOK, started, 27.6)
	step(evidence.PartStep, 2, steps[1].Name, steps[1].Run, "shop-1 v1\nshop-2 v1\nshop-3 still stopping, going on\n", evidence.StepOK, 27.6, 33.2)
	step(evidence.PartStep, 3, steps[2].Name, steps[2].Run, "purging\ncurl: (7) cache.local does not answer\n", evidence.StepFailed, 33.2, returned)

	moved := []float64{28.8, 30.5, 38.8} // when each instance serves v1 again
	serves := func(i int, t float64) string {
		if t > 17.5+float64(i)*0.5 && t < moved[i] {
			return "v2-drops-coupon"
		}
		return "v1"
	}
	for tenth := 5; tenth < 560; tenth++ {
		t := float64(tenth) / 10
		for i, name := range instances {
			away := t > moved[i]-0.7 && t < moved[i]
			beat := tenth%10 == i
			edge := t >= moved[i]-0.7 && t < moved[i]-0.6 || t >= moved[i] && t < moved[i]+0.1
			gap := name == "shop-2" && t > 42 && t < 46.5
			if !gap && (beat || edge || tenth >= 175 && tenth < 190) {
				cite := ""
				if edge && !away {
					cite = name
				}
				cited(cite, t, &evidence.Instance{Name: name, Service: "shop", Up: !away, Ready: !away, Release: serves(i, t), PID: 4000 + i, CPU: 0.1 + r.Float64()*0.2, Memory: 31<<20 + int64(r.IntN(3<<20))})
			}
		}
		for i, name := range nodes {
			if tenth%10 != i+4 {
				continue
			}
			n := &evidence.Node{Name: name, Role: name, Reachable: true, Digest: "9f3c1a07", Migration: 4, CPU: r.Float64() / 4, Memory: 90<<20 + int64(r.IntN(9<<20))}
			if t > 17.3 {
				n.Migration, n.Digest = 5, "41d07e52"
			}
			if t > 27.6 && name != "logical" {
				n.Migration, n.Digest = 4, "9f3c1a07"
			}
			if name == "streaming" {
				n.Lag = r.Float64() / 20
			}
			cite := ""
			if name == "logical" && t > 28 {
				n.Lag, n.LagBytes = t-28, int64((t-28)*9000)
				n.Error = `logical replication target relation "public.orders" is missing replicated column: "coupon_code"`
				cite = "apply"
			}
			cited(cite, t, n)
		}
	}
	at(46.5, &evidence.Gap{Of: "instance shop-2", From: 42, To: 46.5, Why: "the probe was not answered"})
	cited("alert", 19.9, &evidence.Alert{Metric: "errors", Of: "checkout", Event: "raised", Value: 31, Baseline: 0, Threshold: 0.5, Unit: "%"})
	at(39.5, &evidence.Alert{Metric: "errors", Of: "checkout", Event: "cleared", Value: 0, Threshold: 0.5, Unit: "%"})
	cited("lag", 33.2, &evidence.Alert{Metric: "lag", Of: "logical", Event: "raised", Value: 5.2, Threshold: 0.5, Unit: "s"})
	for _, e := range []struct {
		t           float64
		event, text string
	}{{24.4, evidence.FaultAsked, "shop-2 is paused"}, {24.5, evidence.FaultInForce, "shop-2 is paused"}, {33.6, evidence.FaultInForce, "shop-2 is paused"},
		{33.7, evidence.FaultLifted, ""}, {33.8, evidence.FaultGone, "shop-2 is running"}} {
		at(e.t, &evidence.Fault{Name: "pause", Of: "shop-2", Number: 1, Event: e.event, Text: e.text})
	}
	for _, a := range []struct {
		t             float64
		by, event, of string
	}{{20.1, "backout", "asked", "two people"}, {22.4, "ines.marsh", "approved", "1 of 2"}, {24.1, "t.okoye", "approved", "2 of 2"}} {
		at(a.t, &evidence.Approval{By: a.by, Event: a.event, For: a.of})
	}
	for _, x := range []struct {
		t    float64
		text string
	}{{20, "incident opened: checkouts fail"}, {24.3, "rollback started, 3 steps, approved by ines.marsh and t.okoye"}, {33.7, "commands completed; watching"}, {56.1, "all clear withheld: the logical replica differs"}} {
		at(x.t, &evidence.Message{Channel: "#shop", Text: x.text})
	}
	for tenth := 20; tenth < 560; tenth += 10 {
		at(float64(tenth)/10, &evidence.Cache{Name: "pages", OK: true, Stale: boolInt(tenth > 180 && tenth < 340) * 12})
	}
	cited("dependants", 61.2, &evidence.Finding{Check: evidence.CheckDependants, Of: "billing", Asked: true, Checked: 20})
	at(25.1, &evidence.Lock{Node: "primary", Waiting: 14, Longest: 0.6, Relation: "orders", Blocker: "ALTER TABLE orders ADD COLUMN coupon_code text"})
	at(27.5, &evidence.Lock{Node: "primary"})

	kept, failures := []string{}, 0
	for i := range int((quiet - baseline) * 40) {
		t := baseline + float64(i)/40
		who := r.IntN(3)
		release := serves(who, t)
		served := evidence.Serve(instances[who] + "@" + release)
		j := &evidence.Journey{Name: []string{"browse", "browse", "order", "checkout"}[r.IntN(4)], User: r.IntN(20), At: evidence.Offset(t), MS: 2 + r.ExpFloat64()*3, Outcome: evidence.OK, Served: []evidence.Serve{served}, Trace: fmt.Sprintf("%032x", r.Uint64())}
		if t > 25 && t < 27.5 {
			j.MS += (27.5 - t) * 1000
		}
		cite := ""
		if j.Name == "checkout" {
			key := fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), i)
			at(t, &evidence.Write{Key: key, Journey: "checkout", Event: evidence.Invoked, Trace: j.Trace})
			w := &evidence.Write{Key: key, Journey: "checkout", Event: evidence.Acknowledged, Status: 201}
			if release != "v1" && r.IntN(3) == 0 {
				j.Outcome, j.Step, j.Status, j.Blame, j.Error = evidence.Failed, 2, 500, served, `column "coupon_code" does not exist`
				w.Event, w.Status = evidence.Unknown, 500
				failures++
				if failures < 3 {
					cite = "failed"
				}
			} else {
				kept = append(kept, key)
			}
			at(t+j.MS/1000, w)
		}
		cited(cite, t+j.MS/1000, j)
	}
	text := "table public.orders\n  column client_key uuid\n  column coupon_code text\n  column id bigint not null\n"
	for _, n := range nodes {
		at(3, &evidence.Schema{Node: n, At: "baseline", Digest: "9f3c1a0791", Text: text, Equal: true, Applied: []int64{1, 2, 3, 4}})
		s := &evidence.Schema{Node: n, At: "audit", Digest: "9f3c1a0791", Equal: true, Applied: []int64{1, 2, 3, 4}}
		if n == "logical" {
			s.Digest, s.Equal, s.Applied = "41d07e5200", false, []int64{1, 2, 3, 4, 5}
			s.Diff = "--- target\n+++ logical\n@@ table public.orders @@\n   column client_key uuid\n-  column coupon_code text\n   column id bigint not null\n"
		}
		cited("schema "+n, 58, s)
		for _, table := range []string{"orders", "lines", "stock"} {
			c := &evidence.Chunk{Node: n, Table: table, Rows: 105_306, Sum: "918273645", Equal: true}
			if n == "logical" && table == "orders" {
				c.Equal, c.Rows, c.Count = false, 102_676, 2630
				c.Differ = []string{"id=102677: only on primary", "id=102678: only on primary", "id=17: coupon_code: primary 'SPRING5', logical NULL"}
			}
			at(59, c)
		}
	}
	audited := 0
	for keys := range slices.Chunk(kept[3:], 500) {
		audited += len(keys)
		cited("audit", 60, &evidence.Write{Keys: keys, Journey: "checkout", Event: evidence.Audited, Fate: evidence.Kept})
	}
	for _, key := range kept[:3] {
		cited("transformed", 60, &evidence.Write{Key: key, Journey: "checkout", Event: evidence.Audited, Fate: evidence.Transformed, Rows: 1, Fields: []string{"coupon_code: sent 'WELCOME10', found NULL"}})
	}
	cited("ledger", 60.1, &evidence.Finding{Check: evidence.CheckLedger, Of: "checkout", Asked: true, Checked: int64(len(kept))})
	cited("frozen", 60.5, &evidence.Finding{Check: evidence.CheckFrozen, Of: "logical/orders", Asked: true, Checked: 100_000, Bad: 2630, Rows: []string{"id=17: coupon_code: before 'SPRING5', now no such column"}})
	cited("sessions", 60.9, &evidence.Finding{Check: evidence.CheckSessions, Of: "token", Asked: false, Error: "no user had kept a token before the deploy"})
	at(61, &evidence.Finding{Check: evidence.CheckSequences, Of: "primary/orders_id_seq", Asked: true, Checked: 1})
	at(end, &evidence.End{How: "complete"})

	slices.SortStableFunc(all, func(a, b timed) int {
		switch {
		case a.t < b.t:
			return -1
		case a.t > b.t:
			return 1
		}
		return 0
	})
	cites := map[string]int64{"kept": int64(len(kept))}
	for _, e := range all {
		n := l.PutAt(evidence.Offset(e.t), e.k)
		if _, ok := cites[e.cite]; !ok && e.cite != "" {
			cites[e.cite] = n
		}
	}
	return cites
}

// judgement is what a verdict of that drill would say, written by hand.
func judgement(n map[string]int64) verdict.Verdict {
	of := func(o float64) *evidence.Offset { x := evidence.Offset(o); return &x }
	num := func(f float64) *float64 { return &f }
	ev := func(names ...string) (out []int64) {
		for _, name := range names {
			out = append(out, n[name])
		}
		return out
	}
	kept := int(n["kept"])
	return verdict.Verdict{
		Verdict: verdict.Fail, PromiseList: 1,
		Because: "logical: orders.coupon_code is missing; 5 of 12 promises are broken and 2 could not be judged.",
		Harm:    "31 % of checkouts failed (95 %: 22 to 41)",
		Assumptions: []verdict.Assumption{
			{Name: "the scheduled rate was reached in the baseline", Held: true, Finding: "600 of 600 journeys", Evidence: ev("baseline_ended")},
			{Name: "the baseline was steady", Held: true, Finding: "no failure, p95 12 ms"},
			{Name: "the harm was seen", Held: true, Finding: "31 % of checkouts failed (95 %: 22 to 41)", Evidence: ev("failed")},
			{Name: "every node could be read", Held: true, Finding: "3 of 3"},
			{Name: "the observation has no gap where it matters", Held: false, Finding: "shop-2 was not observed for 4.5 s of the stability window"},
		},
		Promises: []verdict.Promise{
			{Name: "service is restored", Text: "service is restored within 5 minutes", State: verdict.Broken, Finding: "watched for 22.4 s after the last step: logical is not at its target schema", Evidence: ev("apply", "watch_ended"), Remedy: "Run step 1 on the logical replica as well."},
			{Name: "service is restored in time", State: verdict.Unjudged, Finding: "watching ended before the 5 minutes had passed", RestsOn: []string{"the observation has no gap where it matters"}},
			{Name: "every instance serves the target release", State: verdict.Kept, Finding: "3 of 3, shop-3 last, 5.2 s after the command had returned", Evidence: ev("shop-1", "shop-2", "shop-3")},
			{Name: "every node has the schema of before", Text: "every node has the schema and the data of before", State: verdict.Broken, Finding: "logical: orders.coupon_code is missing; apply stopped 0.5 s after step 1", Details: []string{"- column coupon_code text", "migration 5 is recorded, 4 was expected"}, Evidence: ev("apply", "lag", "schema logical"), Remedy: "DDL is not replicated logically: run step 1 there as well, before the primary."},
			{Name: "rows that nobody touched are unchanged", State: verdict.Broken, Finding: "logical: 2,630 rows of orders differ", Evidence: ev("frozen"), Remedy: "Bring the data back from the archive table on the logical replica too."},
			{Name: "every acknowledged write exists exactly once", State: verdict.Broken, Finding: "3 writes came back without their coupon code", Evidence: ev("transformed", "ledger"), Remedy: "Declare may_transform with a reason, or keep the codes."},
			{Name: "no write appeared that nobody sent", State: verdict.Kept, Finding: "none", Evidence: ev("ledger")},
			{Name: "every sequence is ahead of its column", State: verdict.Kept, Finding: "5 of 5"},
			{Name: "sessions from before are accepted", State: verdict.Unjudged, Finding: "no user had kept a token before the deploy", Evidence: ev("sessions")},
			{Name: "dependants still work", State: verdict.Kept, Finding: "billing: 20 of 20 journeys", Evidence: ev("dependants")},
			{Name: "latency is back at the baseline's", State: verdict.NotApplicable, Finding: "not alone"},
			{Name: "the plan ran as written", State: verdict.Broken, Finding: "step 3, purge the pages, exited with 1", Evidence: ev("step3"), Remedy: "Let the purge wait for the cache."},
			{Name: "nothing is left behind", State: verdict.Kept, Finding: "nothing"},
		},
		Clocks: verdict.Clocks{"deploy_begun": of(17), "deployed": of(19.2), "first_bad": of(17.9), "detected": of(19.9), "decided": of(24.1), "started": of(24.3), "command_returned": of(33.6),
			"users_restored": of(38.9), "restored": nil, "watch_ended": of(56), "data_verified": of(61.5)},
		Speed:  verdict.Speed{Users: num(14.8), Target: 300},
		Shares: verdict.Shares{Writes: [2]int64{int64(kept - 3), int64(kept)}, Rows: [2]int64{97_370, 100_000}, Replicas: [2]int64{5, 6}, Residual: [2]int64{0, 0}},
		Replicas: []verdict.Replica{
			{Name: "shop-1", Kind: "instance", Converged: of(28.8), Last: "v1", Evidence: n["shop-1"]}, {Name: "shop-2", Kind: "instance", Converged: of(30.5), Last: "v1", Evidence: n["shop-2"]},
			{Name: "shop-3", Kind: "instance", Converged: of(38.8), Last: "v1", Evidence: n["shop-3"]},
			{Name: "primary", Kind: "node", Converged: of(27.6), Last: "its schema of before"}, {Name: "streaming", Kind: "node", Converged: of(27.7), Last: "its schema of before"},
			{Name: "logical", Kind: "node", Last: "orders.coupon_code is missing", Evidence: n["schema logical"]},
		},
		Writes: []verdict.Window{
			{Name: "before", Acknowledged: 150, Fates: map[string]int{"kept": 147, "transformed": 3}},
			{Name: "bad", Acknowledged: 40, Refused: 2, Unknown: 14, Fates: map[string]int{"kept": 40}},
			{Name: "during", Acknowledged: 60, Unknown: 20, Fates: map[string]int{"kept": 60}},
			{Name: "after", Acknowledged: kept - 250, Unknown: 5, Fates: map[string]int{"kept": kept - 250}},
		},
	}
}
