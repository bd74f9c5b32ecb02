package verdict

import (
	"fmt"
	"math"

	"backout/harness/evidence"
)

// baseline is the steady state of one journey before the release.
type baseline struct {
	*kind
	n, failed   int
	median, p95 level
	failure     int64 // number of an event that failed in it
}

// level is a latency of the baseline, in ms, and what is allowed of it.
type level struct{ value, spread float64 }

func (l level) floor() float64 { return max(2, 3*l.spread) }

// most is baseline x 1.1 or baseline + floor, whichever is greater.
func (l level) most() float64 { return max(l.value*1.1, l.value+l.floor()) }

// steady: three spreads exceed neither 2 ms nor half of the value, or at most one of them.
func (l level) steady() bool { return 3*l.spread <= 2 || 3*l.spread <= l.value/2 }

func (b baseline) share() float64 {
	if b.n == 0 {
		return 0
	}
	return float64(b.failed) / float64(b.n)
}

// tolerates says whether so many failures of n are what the baseline had: at most its share and 0.1 points; below 1,000
// journeys none at all, unless the baseline had some.
func (b baseline) tolerates(bad, n int) bool {
	if n < 1000 && b.failed == 0 {
		return bad == 0
	}
	return float64(bad) <= (b.share()+0.001)*float64(n)+1e-9
}

// baselineSpan is from where to where the steady state was measured.
func (f *Facts) baselineSpan() (from, to tick, ok bool) {
	from, begun := f.clock(evidence.ClockBaselineBegun)
	to, ended := f.clock(evidence.ClockBaselineEnded)
	return from, to, begun && ended && to > from
}

// baselines of all journeys that ran in it, in order of their names.
func (f *Facts) baselines() []baseline {
	a, b, ok := f.baselineSpan()
	if !ok {
		return nil
	}
	return f.baselinesOf(a, b)
}

// Unsteady says which latencies were not steady in a stretch that is to be the baseline; empty: all were. A drill that
// judges latency waits for that.
func (f *Facts) Unsteady(from, to evidence.Offset) string {
	var bad []string
	for _, b := range f.baselinesOf(ticks(from), ticks(to)) {
		bad = append(bad, b.unsteady()...)
	}
	return list(bad, 3)
}

// unsteady says which of a journey's latencies were not steady.
func (b baseline) unsteady() (bad []string) {
	for _, l := range []struct {
		name string
		level
	}{{"median", b.median}, {"p95", b.p95}} {
		if !l.steady() {
			bad = append(bad, fmt.Sprintf("%s of %s is %s with a spread of %s", l.name, b.title(), millis(l.value), millis(l.spread)))
		}
	}
	return bad
}

// baselinesOf all journeys that ran in a stretch, in order of their names.
func (f *Facts) baselinesOf(a, b tick) []baseline {
	var all []baseline
	for _, k := range f.sorted() {
		samples := k.ending(a, b)
		if len(samples) == 0 {
			continue
		}
		base := baseline{kind: k, n: len(samples)}
		for _, s := range samples {
			if s.flags&failed != 0 {
				base.failed++
				if base.failure == 0 {
					base.failure = int64(s.n)
				}
			}
		}
		total := latency(samples)
		base.median.value, base.p95.value = total.median, total.p95
		base.median.spread, base.p95.spread = k.spread(a, b)
		all = append(all, base)
	}
	return all
}

// spread is the standard deviation of median and p95 over the baseline's 5-second buckets, one begun every second; of a
// baseline shorter than 15 s over its 1-second buckets.
func (k *kind) spread(a, b tick) (median, p95 float64) {
	width := bucketLength
	if b-a < 15*second {
		width = second
	}
	var medians, p95s []float64
	for t := a; t+width <= b; t += second {
		if l := latency(k.ending(t, t+width)); l.n > 0 {
			medians, p95s = append(medians, l.median), append(p95s, l.p95)
		}
	}
	return deviation(medians), deviation(p95s)
}

func deviation(xs []float64) float64 {
	if len(xs) < 2 {
		return 0
	}
	mean, sum := 0.0, 0.0
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(xs)-1))
}

// wilson is the 95 % interval of a share, after E. B. Wilson, "Probable inference, the law of succession, and statistical
// inference", JASA 22 (1927).
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959964
	p, m := float64(k)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m)) / (1 + z*z/m)
	return max(centre-half, 0), min(centre+half, 1)
}
