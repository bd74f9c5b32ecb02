package observe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
)

func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		metric            string
		mean, spread, out float64
	}{
		{"errors", 0, 0, 0.005},       // the least step
		{"errors", 0.02, 0.01, 0.05},  // 3 x spread
		{"latency", 10, 0.1, 12},      // the least step
		{"latency", 100, 1, 110},      // a tenth
		{"latency", 100, 20, 160},     // 3 x spread
		{"cpu", 0.5, 0.01, 0.6},       //
		{"memory", 0, 0, 16 << 20},    //
		{"memory", 1e9, 1e6, 1.1e9},   //
		{"lag", 0, 0.01, 0.5},         //
		{"lag", 0.2, 0.5, 0.2 + 3*.5}, //
	} {
		w := newWatch(c.mean, c.spread, metricOf(c.metric).step)
		if math.Abs(w.threshold-c.out) > 1e-9*max(1, c.out) {
			t.Errorf("%s with mean %v and spread %v: expected the threshold %v, found %v", c.metric, c.mean, c.spread, c.out, w.threshold)
		}
	}
}

func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name, values, events string // a value a second, 10 is the threshold; an event and its second
	}{
		{"at the threshold is not beyond it", "10 10 10 10 10 10", ""},
		{"four seconds are too few", "11 11 11 11 9 11 11 11 11", ""},
		{"five seconds", "1 11 12 13 14 15 16 17", "raised@6=13"},
		{"it is raised once", "11 11 11 11 11 99 99 99 99 99 99", "raised@5=11"},
		{"cleared after five good seconds", "11 11 11 11 11 1 1 1 1 1 1 1", "raised@5=11 cleared@10=1"},
		{"a bad second in between begins anew", "11 11 11 11 11 1 1 1 1 11 1 1 1 1 1", "raised@5=11 cleared@15=1"},
		{"and again", "11 11 11 11 11 1 1 1 1 1 20 20 20 20 20", "raised@5=11 cleared@10=1 raised@15=20"},
	} {
		w := &watch{baseline: 5, threshold: 10}
		var events []string
		for i, f := range strings.Fields(c.values) {
			var v float64
			fmt.Sscan(f, &v)
			if event, mean := w.next(v); event != "" {
				events = append(events, fmt.Sprintf("%s@%d=%v", event, i+1, mean))
			}
		}
		if got := strings.Join(events, " "); got != c.events {
			t.Errorf("%s: expected %q, found %q", c.name, c.events, got)
		}
	}
}

// feed gives an alerts a hundred journeys a second and returns what was raised and cleared, with the second.
func feed(a *alerts, from, to int, journey func(second, i int) (evidence.Journey, bool)) (events []string) {
	for second := from; second < to; second++ {
		for i := range 100 {
			if j, ok := journey(second, i); ok {
				a.journey(j, evidence.Offset(second)+evidence.Offset(i)/100)
			}
		}
		for _, e := range a.tick(evidence.Offset(second) + 1.25) {
			events = append(events, fmt.Sprintf("%s %s of %s@%d", e.Metric, e.Event, e.Of, second))
		}
	}
	return events
}

func TestAlerts(t *testing.T) {
	a := newAlerts("shop")
	// Browse is left as it is, checkout of shop fails from 20 to 30 and billing's pay is slow from 25 on; one journey is
	// never seen in the baseline.
	journey := func(second, i int) (evidence.Journey, bool) {
		bad := second >= 20 && second < 30
		switch i % 4 {
		case 0:
			return evidence.Journey{Name: "browse", Service: "shop", MS: 5 + float64(i%3), Outcome: evidence.OK}, true
		case 1:
			outcome := evidence.OK
			if bad && i%8 == 1 {
				outcome = []string{evidence.Failed, evidence.Unsent}[i%16/8]
			}
			return evidence.Journey{Name: "checkout", MS: 8, Outcome: outcome}, true
		case 2:
			ms := 20.0
			if second >= 25 {
				ms = 60
			}
			return evidence.Journey{Name: "pay", Service: "billing", MS: ms, Outcome: evidence.OK}, true
		}
		return evidence.Journey{Name: "new", Outcome: evidence.Failed}, second >= 15
	}
	events := feed(a, 0, 15, journey)
	a.fix(5, 15)
	events = append(events, feed(a, 15, 45, journey)...)
	want := []string{"errors raised of checkout@24", "latency raised of billing/pay@29", "errors cleared of checkout@34"}
	if !slices.Equal(events, want) {
		t.Errorf("expected %q, found %q", want, events)
	}
}

// The baseline counts whole seconds between its ends only, and what was seen between its end and its being fixed is
// not lost.
func TestBaselineWindow(t *testing.T) {
	a := newAlerts("shop")
	values := func(second int) float64 {
		switch {
		case second < 3: // warming up
			return 100
		case second < 8:
			return 1
		}
		return 3
	}
	var raised []*evidence.Alert
	for second := range 20 {
		a.gauge("lag", "streaming", values(second), evidence.Offset(second)+0.5)
		if second == 10 {
			a.fix(2.5, 8.2)
		}
		raised = append(raised, a.tick(evidence.Offset(second)+1.3)...)
	}
	if len(raised) != 1 || raised[0].Baseline != 1 || raised[0].Threshold != 1.5 || raised[0].Value != 3 || raised[0].Unit != "s" || raised[0].Of != "streaming" {
		t.Errorf("expected one alert of streaming, baseline 1, threshold 1.5, value 3, unit s; found %+v", raised)
	}
}

// Noise alone raises nothing: an hour of a healthy service at 100 journeys a second, with failures, slow answers and a
// busy processor, as likely after the baseline as in it.
func TestQuietUnderNoise(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 7))
		a := newAlerts("shop")
		journey := func(second, i int) (evidence.Journey, bool) {
			if i%10 == 0 {
				a.gauge("cpu", "shop-1", max(0, 0.4+0.15*r.NormFloat64()), evidence.Offset(second)+evidence.Offset(i)/100)
				a.gauge("lag", "logical", 0.2*r.ExpFloat64(), evidence.Offset(second)+evidence.Offset(i)/100)
			}
			outcome := evidence.OK
			if r.Float64() < 0.01 {
				outcome = evidence.Failed
			}
			return evidence.Journey{Name: []string{"browse", "checkout"}[i%2], MS: 4 * math.Exp(0.6*r.NormFloat64()), Outcome: outcome}, true
		}
		events := feed(a, 0, 5, journey)
		a.fix(0, 5)
		events = append(events, feed(a, 5, 3600, journey)...)
		if len(events) > 0 {
			t.Errorf("seed %d: %q", seed, events)
		}
	}
}

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		out    float64
	}{{[]float64{7}, 7}, {[]float64{2, 1}, 2}, {[]float64{5, 4, 3, 2, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 19}} {
		if got := percentile(c.values, 0.95); got != c.out {
			t.Errorf("%v: expected %v, found %v", c.values, c.out, got)
		}
	}
}
