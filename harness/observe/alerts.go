package observe

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"backout/harness/evidence"
)

// metric is what alerts are raised on: its unit and the least step that is worth one.
type metric struct {
	unit string
	step float64
}

// metrics as the design defines them: rates 0.5 points, latency 2 ms, CPU 0.1 core, memory 16 MB, lag 0.5 s.
func metricOf(name string) metric {
	switch name {
	case "errors":
		return metric{"share", 0.005}
	case "latency":
		return metric{"ms", 2}
	case "cpu":
		return metric{"cores", 0.1}
	case "memory":
		return metric{"bytes", 16 << 20}
	}
	return metric{"s", 0.5} // lag
}

// raiseAfter is for how many buckets of one second a metric must be worse, and better again for an alert to be cleared.
const raiseAfter = 5

// watch raises and clears the alert on one metric, fed with one value a second.
type watch struct {
	baseline  float64
	threshold float64
	raised    bool
	run       []float64 // the last values that speak against the present state
}

// chance is the least spread of a share of failures in a second: that of a coin thrown as often as there were journeys
// in a second. The few seconds of a baseline without any failure would otherwise have no spread at all, and the one
// failure in a hundred that was always there would be an alert. The share is estimated by Laplace's rule, (failed + 1) /
// (all + 2), since it is not 0 only because it was not seen.
func chance(failed, all, perSecond float64) float64 {
	if perSecond <= 0 {
		return 0
	}
	p := (failed + 1) / (all + 2)
	return math.Sqrt(p * (1 - p) / perSecond)
}

// newWatch has its threshold from the baseline: worse by more than a tenth of it, by more than 3 x spread and by more
// than the least step.
func newWatch(mean, spread, step float64) *watch {
	return &watch{baseline: mean, threshold: mean + max(mean/10, 3*spread, step)}
}

// next takes the value of the next second in which there was one and tells what happens: raised, cleared or nothing.
// The value of the event is the mean over the seconds that led to it.
func (w *watch) next(value float64) (event string, mean float64) {
	if value > w.threshold == w.raised {
		w.run = w.run[:0]
		return "", 0
	}
	w.run = append(w.run, value)
	if len(w.run) < raiseAfter {
		return "", 0
	}
	mean, _ = meanSpread(w.run)
	w.run = w.run[:0]
	w.raised = !w.raised
	if w.raised {
		return "raised", mean
	}
	return "cleared", mean
}

// meanSpread is the mean and the standard deviation (of a sample: n - 1) of values.
func meanSpread(values []float64) (mean, spread float64) {
	if len(values) == 0 {
		return 0, 0
	}
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	if len(values) == 1 {
		return mean, 0
	}
	for _, v := range values {
		spread += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(spread / float64(len(values)-1))
}

// percentile of values by nearest rank; it sorts them.
func percentile(values []float64, p float64) float64 {
	slices.Sort(values)
	return values[max(0, int(math.Ceil(p*float64(len(values))))-1)]
}

// bucket is what one metric was in one second.
type bucket struct {
	second  int64
	samples []float64
}

// value of a bucket: the 95th percentile of latencies, the mean of everything else.
func (b bucket) value(metric string) float64 {
	if metric == "latency" {
		return percentile(b.samples, 0.95)
	}
	mean, _ := meanSpread(b.samples)
	return mean
}

// key is one metric of one journey, instance or node.
type key struct{ metric, of string }

// series is one metric over time: open buckets, and the values of closed ones until the baseline is fixed.
type series struct {
	open   []bucket
	closed []point
	watch  *watch
}

type point struct {
	second  int64
	value   float64
	samples int
}

// alerts keeps all series. It only computes; the caller writes what it returns.
type alerts struct {
	service string // the drilled one, whose journeys need no other name

	mu       sync.Mutex
	series   map[key]*series
	from, to evidence.Offset // of the baseline
	asked    bool            // the baseline was given
	fixed    bool
}

// kept is how many seconds are remembered before the baseline.
const kept = 3600

// grace is how long after its end a bucket is closed.
const grace = evidence.Offset(0.2)

func newAlerts(service string) *alerts {
	return &alerts{service: service, series: map[key]*series{}}
}

// journey counts a finished journey. One that could not be sent is a user's failure too.
func (a *alerts) journey(j evidence.Journey, t evidence.Offset) {
	of := j.Name
	if j.Service != "" && j.Service != a.service {
		of = j.Service + "/" + j.Name
	}
	failed := 1.0
	if j.Outcome == evidence.OK {
		failed = 0
	}
	a.gauge("errors", of, failed, t)
	if j.Outcome != evidence.Unsent {
		a.gauge("latency", of, j.MS, t)
	}
}

// gauge takes one sample of a metric.
func (a *alerts) gauge(metric, of string, value float64, t evidence.Offset) {
	second := int64(math.Floor(float64(t)))
	a.mu.Lock()
	defer a.mu.Unlock()
	k := key{metric, of}
	s := a.series[k]
	if s == nil {
		s = &series{}
		a.series[k] = s
	}
	for i := range s.open {
		if s.open[i].second == second {
			s.open[i].samples = append(s.open[i].samples, value)
			return
		}
	}
	s.open = append(s.open, bucket{second: second, samples: []float64{value}})
}

// fix has the baseline taken from what was seen between from and to, as soon as its last second is over.
func (a *alerts) fix(from, to evidence.Offset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from, a.to, a.asked, a.fixed = from, to, true, false
}

// tick closes the seconds that are over and returns the alerts that were raised or cleared, in the order of their
// names. A second in which nothing was measured says nothing.
func (a *alerts) tick(now evidence.Offset) []*evidence.Alert {
	over := int64(math.Floor(float64(now-grace))) - 1 // the last second that is over
	a.mu.Lock()
	defer a.mu.Unlock()
	var events []*evidence.Alert
	for k, s := range a.series {
		slices.SortFunc(s.open, func(x, y bucket) int { return int(x.second - y.second) })
		for len(s.open) > 0 && s.open[0].second <= over {
			p := point{s.open[0].second, s.open[0].value(k.metric), len(s.open[0].samples)}
			s.open = s.open[1:]
			if !a.fixed {
				s.closed = append(s.closed, p)
				if len(s.closed) > kept {
					s.closed = s.closed[1:]
				}
				continue
			}
			events = s.feed(k, p.value, events)
		}
	}
	if a.asked && !a.fixed && evidence.Offset(over+1) >= a.to {
		a.fixed = true
		for k, s := range a.series {
			events = a.settle(k, s, events)
		}
	}
	slices.SortFunc(events, func(x, y *evidence.Alert) int {
		return cmp.Or(cmp.Compare(x.Metric, y.Metric), cmp.Compare(x.Of, y.Of))
	})
	return events
}

// settle fixes the baseline of a series and feeds it what was seen since. One that was not seen in the baseline has
// nothing to be compared with.
func (a *alerts) settle(k key, s *series, events []*evidence.Alert) []*evidence.Alert {
	var in, after []float64
	var failed, all float64
	for _, p := range s.closed {
		switch at := evidence.Offset(p.second); {
		case at >= a.from && at+1 <= a.to:
			in = append(in, p.value)
			failed += p.value * float64(p.samples)
			all += float64(p.samples)
		case at >= a.to:
			after = append(after, p.value)
		}
	}
	s.closed, s.watch = nil, nil
	if len(in) == 0 {
		return events
	}
	mean, spread := meanSpread(in)
	if k.metric == "errors" {
		spread = max(spread, chance(failed, all, all/float64(len(in))))
	}
	s.watch = newWatch(mean, spread, metricOf(k.metric).step)
	for _, v := range after {
		events = s.feed(k, v, events)
	}
	return events
}

func (s *series) feed(k key, value float64, events []*evidence.Alert) []*evidence.Alert {
	if s.watch == nil {
		return events
	}
	if event, mean := s.watch.next(value); event != "" {
		events = append(events, &evidence.Alert{Metric: k.metric, Of: k.of, Event: event, Value: mean,
			Baseline: s.watch.baseline, Threshold: s.watch.threshold, Unit: metricOf(k.metric).unit})
	}
	return events
}

// alerting writes alerts and the breaker's word as seconds pass.
func (o *Observer) alerting() {
	every(o.ctx, min(o.Interval, time.Second), func() {
		for _, a := range o.alerts.tick(o.Log.Now()) {
			o.breaks.alert(a, o.Log.Now())
			o.Log.Put(a)
		}
		if b := o.breaks.tick(o.Log.Now()); b != nil {
			o.Log.Put(b)
		}
	})
}
