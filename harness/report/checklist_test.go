package report

import (
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// aftermathLog is a small drill that went well: everything on the checklist was seen to be in order.
func aftermathLog() []timed {
	run := &evidence.Run{Service: evidence.Service{Name: "shop", Journeys: []string{"browse", "checkout"}, Writes: []string{"checkout"}, Caches: []string{"pages"}, Database: true},
		Dependants: []evidence.Service{{Name: "billing"}}, Good: "v1", Release: evidence.Release{Name: "v2"}, Windows: evidence.Windows{Beat: 1}}
	all := []timed{{0, run, ""}}
	at := func(t float64, k evidence.Kind) { all = append(all, timed{t, k, ""}) }
	at(5, &evidence.Clock{Name: evidence.ClockDeployBegun})
	at(6, &evidence.Alert{Metric: "errors", Of: "checkout", Event: "raised"})
	at(8, &evidence.Clock{Name: evidence.ClockDecided})
	at(10, &evidence.Clock{Name: evidence.ClockCommandReturned})
	for t := 1; t <= 20; t++ {
		at(float64(t)+0.5, &evidence.Instance{Name: "shop-1", Service: "shop", Up: true, Ready: true, Release: "v1"})
	}
	at(15, &evidence.Alert{Metric: "errors", Of: "checkout", Event: "cleared"})
	at(18, &evidence.Journey{Name: "checkout", At: 18, MS: 9, Outcome: evidence.OK, Served: []evidence.Serve{"shop-1@v1"}})
	at(19, &evidence.Cache{Name: "pages", OK: true})
	at(20, &evidence.Clock{Name: evidence.ClockWatchEnded})
	at(20, &evidence.Clock{Name: evidence.ClockAllClear})
	at(21, &evidence.Finding{Check: evidence.CheckLedger, Of: "checkout", Asked: true, Checked: 3})
	at(21, &evidence.Finding{Check: evidence.CheckDependants, Of: "billing", Asked: true, Checked: 3})
	at(22, &evidence.End{How: "complete"})
	return all
}

func aftermathVerdict() verdict.Verdict {
	restored := evidence.Offset(11)
	return verdict.Verdict{Verdict: verdict.Pass, Clocks: verdict.Clocks{evidence.ClockRestored: &restored}, Promises: []verdict.Promise{
		{Name: verdict.WritesExactlyOnce, State: verdict.Kept}, {Name: verdict.DependantsWork, State: verdict.Kept}}}
}

func checks(all []timed, v verdict.Verdict) map[string]check {
	b := New()
	for i, x := range all {
		e := evidence.Event{N: int64(i + 1), T: evidence.Offset(x.t)}
		x.k.Put(&e)
		b.Add(e)
	}
	out := map[string]check{}
	for _, c := range b.Model(v, "").checklist() {
		name, _, _ := strings.Cut(strings.ToLower(c.Name), " is")
		out[name] = c
	}
	return out
}

// Each line is ticked by evidence alone, and each can be lost: what goes wrong here is the control of its line.
func TestEachLineOfTheChecklistCanFail(t *testing.T) {
	const health, transaction, data, metrics, caches, gaps, dependants, clear = "every endpoint’s health check passes", "a synthetic transaction passes from end to end", "data", "metrics show no anomaly",
		"caches are invalidated", "the incident’s timeline has no gap", "dependants communicate", "all clear"
	after := func(t float64, k evidence.Kind) func([]timed) []timed {
		return func(all []timed) []timed { return append(all, timed{t, k, ""}) }
	}
	without := func(is func(evidence.Kind) bool) func([]timed) []timed {
		return func(all []timed) (left []timed) {
			for _, x := range all {
				if !is(x.k) {
					left = append(left, x)
				}
			}
			return left
		}
	}
	broken := func(name, state string) func(*verdict.Verdict) {
		return func(v *verdict.Verdict) {
			v.Verdict = verdict.Fail
			v.Promises = append(v.Promises, verdict.Promise{Name: name, State: state, Evidence: []int64{1}})
		}
	}
	for name, c := range map[string]struct {
		log   func([]timed) []timed
		judge func(*verdict.Verdict)
		line  string
		want  string
	}{
		"all is well: health":             {line: health, want: "proven"},
		"all is well: transaction":        {line: transaction, want: "proven"},
		"all is well: data":               {line: data, want: "proven"},
		"all is well: metrics":            {line: metrics, want: "proven"},
		"all is well: caches":             {line: caches, want: "proven"},
		"all is well: gaps":               {line: gaps, want: "proven"},
		"all is well: dependants":         {line: dependants, want: "proven"},
		"all is well, and nobody said so": {line: clear, want: "a person decides"},

		"an instance is not ready":      {log: after(19.9, &evidence.Instance{Name: "shop-1", Service: "shop", Up: true}), line: health, want: "not so"},
		"an instance was seen long ago": {log: after(9, &evidence.Instance{Name: "shop-2", Service: "shop", Up: true, Ready: true}), line: health, want: "not observed"},
		"no instance":                   {log: without(func(k evidence.Kind) bool { _, is := k.(*evidence.Instance); return is }), line: health, want: "not observed"},
		"the last checkout failed":      {log: after(19, &evidence.Journey{Name: "checkout", Outcome: evidence.Failed, Status: 500}), line: transaction, want: "not so"},
		"no checkout since then":        {log: without(func(k evidence.Kind) bool { _, is := k.(*evidence.Journey); return is }), line: transaction, want: "not observed"},
		"a broken reference":            {judge: broken(verdict.ReferencesLead, verdict.Broken), line: data, want: "not so"},
		"rows that were not compared":   {judge: broken(verdict.NodesHoldSameRows, verdict.Unjudged), line: data, want: "not observed"},
		"an alert is open":              {log: after(19, &evidence.Alert{Metric: "lag", Event: "raised"}), line: metrics, want: "not so"},
		"no alert at all":               {log: without(func(k evidence.Kind) bool { _, is := k.(*evidence.Alert); return is }), line: metrics, want: "not observed"},
		"a cache has stale entries":     {log: after(19.5, &evidence.Cache{Name: "pages", OK: true, Stale: 2}), line: caches, want: "not so"},
		"a cache could not be read":     {log: after(19.5, &evidence.Cache{Name: "pages", Error: "refused"}), line: caches, want: "not observed"},
		"a cache was not read":          {log: without(func(k evidence.Kind) bool { _, is := k.(*evidence.Cache); return is }), line: caches, want: "not observed"},
		"a gap":                         {log: after(20, &evidence.Gap{Of: "node primary", From: 12, To: 14}), line: gaps, want: "a person decides"},
		"a dependant does not work":     {judge: broken(verdict.DependantsWork, verdict.Broken), line: dependants, want: "not so"},
		"nobody asked the dependants": {log: without(func(k evidence.Kind) bool {
			f, is := k.(*evidence.Finding)
			return is && f.Check == evidence.CheckDependants
		}), line: dependants, want: "not observed"},
		"a promise is broken, so no all clear":    {judge: broken(verdict.ReferencesLead, verdict.Broken), line: clear, want: "withheld"},
		"it could not be judged, so no all clear": {judge: func(v *verdict.Verdict) { v.Verdict = verdict.Inconclusive }, line: clear, want: "withheld"},
	} {
		all, v := aftermathLog(), aftermathVerdict()
		if c.log != nil {
			all = c.log(all)
		}
		if c.judge != nil {
			c.judge(&v)
		}
		got, there := checks(all, v)[c.line]
		if !there {
			t.Fatalf("there is no line %q", c.line)
		}
		if got.Look.Word != c.want {
			t.Errorf("%s: %q is %s (%s), expected %s", name, got.Name, got.Look.Word, got.Seen, c.want)
		}
		if got.Look == proven && len(got.Evidence) == 0 {
			t.Errorf("%s: %q is ticked without evidence", name, got.Name)
		}
	}
	for name, c := range checks(nil, verdict.Verdict{Verdict: verdict.Pass}) {
		if c.Look == proven {
			t.Errorf("without any evidence %q is ticked: %s", name, c.Seen)
		}
	}
}
