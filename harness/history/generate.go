package history

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"backout/harness/verdict"
)

// Generate invents runs and records of the year before a time, for pictures and benchmarks. All are marked as generated. The
// same seed gives the same ones.
func Generate(runs int, seed uint64, until time.Time) ([]Run, []Record) {
	r := rand.New(rand.NewPCG(seed, 0))
	type drill struct {
		service, tier, feature, name, from string
		base, target                       float64
		bad                                float64
	}
	var drills []drill
	for _, s := range []struct{ name, tier string }{{"accounts", "critical"}, {"catalogue", "standard"}, {"payments", "critical"}, {"search", "standard"}} {
		target := 900.0
		if s.tier == "critical" {
			target = 300
		}
		for i, f := range []struct{ feature, name string }{
			{"database/drops-a-column", "The plan restores the column and its data"},
			{"database/renames-a-column", "The plan renames the column back on every node"},
			{"services/changes-tokens", "Users stay signed in"},
			{"services/poisons-cache", "The cache holds nothing of the bad release"},
			{"faults/the-primary-fails-over", "The primary fails over meanwhile"},
		} {
			if s.tier == "standard" && i > 2 || s.name == "search" && i > 0 {
				continue
			}
			drills = append(drills, drill{s.name, s.tier, fmt.Sprintf("features/%s/%s.feature", s.name, f.feature), f.name, fmt.Sprintf("v%d", i+2),
				4 + 40*r.Float64() + float64(10*i), target, 0.02 + 0.05*r.Float64()})
		}
	}
	year := 365 * 24 * time.Hour
	from := until.Add(-year)
	var out []Run
	for i := range runs {
		d := drills[i%len(drills)]
		at := (float64(i) + r.Float64()) / float64(runs)
		if d.service == "search" { // nobody drilled it lately
			at *= 0.42
		}
		when := from.Add(time.Duration(at * float64(year))).UTC().Truncate(time.Second)
		cores := 4
		speed := d.base * (1 + 0.06*r.NormFloat64())
		if d.service == "payments" && at > 0.6 {
			speed *= 0.6 // a better plan
		}
		if d.service == "catalogue" && d.from == "v3" && at > 0.985 {
			speed *= 1.9 // it became slower
		}
		if d.service == "accounts" && at > 0.5 {
			cores = 8 // another machine: what was before is not compared with it
			speed *= 0.8
		}
		speed = math.Round(math.Max(speed, 1)*10) / 10
		run := Run{Format: Format, Kind: Drill, Generated: true, Service: d.service, Tier: d.tier, Feature: d.feature, Line: 14, Name: d.name,
			Plan: Plan{Name: d.name, Path: "releases/" + d.from + "/rollback.yaml", Steps: 3}, From: d.from, To: "v1",
			Again:       fmt.Sprintf("backout run %s:14 --env process --seed %d", d.feature, i+1),
			Environment: "process", Cores: cores, Database: true, Rows: map[string]int{"orders": 100_000}, Windows: "gate", Seed: int64(i + 1), When: when,
			Verdict: verdict.Pass, Because: "every promise was kept", Restored: &speed, Users: &speed, Target: d.target, Complete: true,
			Promises: map[string]int{verdict.Kept: 14}, PromiseList: verdict.PromiseList, Files: map[string]string{}}
		silence := math.Round(speed*3) / 10
		run.Silence = &silence
		run.Shares = Shares{&[2]int64{9412, 9412}, &[2]int64{250_000, 250_000}, &[2]int64{6, 6}, &[2]int64{4, 4}}
		head := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, i))
		run.Head = fmt.Sprintf("sha256:%x", head)
		for n, file := range []string{"releases/" + d.from + "/rollback.yaml", "deploy", "migrations/00001_start.sql", "migrations/00002_more.sql"} {
			run.Files[file] = fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", d.service, n)))
		}
		last := i >= runs-len(drills)
		switch luck := r.Float64(); {
		case luck < d.bad && !last || last && d.service == "payments" && d.from == "v6":
			run.Verdict, run.Exit, run.Complete, run.Because = verdict.Fail, verdict.ExitFail, false, "the logical replica has not its schema"
			run.Shares.Replicas = &[2]int64{5, 6}
			run.Promises = map[string]int{verdict.Kept: 12, verdict.Broken: 2}
			if luck < d.bad/2 || last {
				run.Restored, run.Silence = nil, nil
			}
		case luck < d.bad+0.02 && !last:
			run.Verdict, run.Exit, run.Complete, run.Because = verdict.Inconclusive, verdict.ExitInconclusive, false, "the harm was never seen"
			run.Promises = map[string]int{verdict.Unjudged: 14}
			run.Restored, run.Silence, run.Users = nil, nil, nil
		}
		out = append(out, run)
	}
	var records []Record
	for _, s := range []string{"accounts", "catalogue", "payments"} { // of search nobody recorded any
		for i := range 120 {
			when := from.Add(time.Duration((float64(i) + r.Float64()) / 120 * float64(year))).UTC().Truncate(time.Second)
			records = append(records, Record{Kind: Deployment, Service: s, When: when, Generated: true})
			if r.Float64() < 0.06 {
				records = append(records, Record{Kind: Rollback, Service: s, When: when.Add(time.Hour), Generated: true})
			}
		}
	}
	return out, records
}
