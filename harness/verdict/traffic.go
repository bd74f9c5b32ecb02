package verdict

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"

	"backout/harness/evidence"
)

// traffic is what users saw: a record of 20 bytes a journey.
type traffic struct {
	names    names
	kinds    []*kind // in the order in which they appeared
	kindOf   map[kindName]*kind
	serves   []serve
	serveOf  map[evidence.Serve]uint16
	strays   []stray // responses of the drilled service from another release than the target, by time
	silences []span  // stretches in which no journey of the drilled service ended
	lastEnd  tick
	ended    bool // a journey has ended
	quiet    tick // longer than this is a silence
}

type kindName struct{ service, name string }

// kind is a journey by its service and name.
type kind struct {
	name      string
	service   string // of a dependant; empty: the drilled service's own
	samples   []sample
	starts    []tick // of all samples, sorted
	failEnds  []tick // of those that failed or could not be sent, sorted
	failStart []tick
	buckets   map[tick]bucket // latency of five seconds from here, once asked for
	counted   tick            // the latest end of a bucket in it
}

type sample struct {
	end, start tick
	ms         float32
	n          uint32 // number of the event
	blame      uint16 // index of who gave the failing answer, plus 1; 0: nobody is named
	flags      uint8
}

const (
	failed uint8 = 1 << iota
	unsent
	fromBad // a response names the release under drill
)

// serve is who answered. Proxies answer in place of an instance: then the release is empty.
type serve struct {
	text              string
	instance, release string
	bad               bool // the release under drill
	stray             bool // any release but the target
	seen              bool // it has answered, since the pod of that name was created
}

type stray struct {
	t     tick
	n     uint32
	serve uint16
}

func newTraffic() traffic {
	return traffic{kindOf: map[kindName]*kind{}, serveOf: map[evidence.Serve]uint16{}}
}

func (f *traffic) begin(run *evidence.Run) {
	f.quiet = 2 * second
	if run.Traffic.Rate > 0 {
		f.quiet = max(f.quiet, tick(min(10/run.Traffic.Rate, 3600)*float64(second)))
	}
}

func (f *Facts) addJourney(n int64, end tick, j *evidence.Journey) {
	k := f.kind(j.Service, j.Name)
	s := sample{end: end, start: min(ticks(j.At), end), ms: float32(j.MS), n: uint32(n)}
	if j.Blame != "" {
		s.blame = f.serve(j.Blame) + 1
	}
	for _, by := range j.Served {
		i := f.serve(by)
		who := &f.serves[i]
		if who.bad {
			s.flags |= fromBad
		}
		if !who.seen && f.run.Replicas > 0 {
			who.seen = true
			f.firsts[who.instance] = append(f.firsts[who.instance], mark{t: end, n: n})
		}
		if who.release == "" && s.blame == 0 && j.Outcome == evidence.Failed {
			s.blame = i + 1
		}
		if who.stray && k.service == "" {
			f.strays = put(f.strays, stray{end, s.n, i}, func(a, b stray) bool { return a.t > b.t })
		}
	}
	if j.Outcome != evidence.OK {
		s.flags |= failed
		if j.Outcome == evidence.Unsent {
			s.flags |= unsent
		}
		k.failEnds = put(k.failEnds, s.end, later)
		k.failStart = put(k.failStart, s.start, later)
	}
	k.samples = put(k.samples, s, func(a, b sample) bool { return a.end > b.end })
	k.starts = put(k.starts, s.start, later)
	if end < k.counted {
		clear(k.buckets) // it came late: those that it belongs to are counted again
		k.counted = 0
	}
	if k.service != "" {
		return
	}
	if f.ended && end-f.lastEnd > f.quiet {
		f.silences = append(f.silences, span{from: f.lastEnd, to: end, n: n})
	}
	f.ended, f.lastEnd = true, max(f.lastEnd, end)
}

func later(a, b tick) bool { return a > b }

// put adds to a sorted list from its end: logs are nearly in the order of time.
func put[T any](list []T, v T, after func(a, b T) bool) []T {
	list = append(list, v)
	for k := len(list) - 1; k > 0 && after(list[k-1], v); k-- {
		list[k], list[k-1] = list[k-1], v
	}
	return list
}

func (f *Facts) kind(service, name string) *kind {
	if service == f.run.Service.Name {
		service = ""
	}
	if k, ok := f.kindOf[kindName{service, name}]; ok {
		return k
	}
	k := &kind{name: strings.Clone(name), service: strings.Clone(service), buckets: map[tick]bucket{}}
	f.kindOf[kindName{k.service, k.name}] = k
	f.kinds = append(f.kinds, k)
	return k
}

func (f *Facts) serve(s evidence.Serve) uint16 {
	if i, ok := f.serveOf[s]; ok {
		return i
	}
	if len(f.serves) == 1<<16-2 {
		return 1<<16 - 3
	}
	text := strings.Clone(string(s))
	who := serve{text: text, instance: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		who.instance, who.release = text[:i], text[i+1:]
	}
	who.bad = who.release != "" && who.release == f.run.Release.Name
	who.stray = who.release != "" && who.release != f.run.Good
	i := uint16(len(f.serves))
	f.serves = append(f.serves, who)
	f.serveOf[evidence.Serve(text)] = i
	return i
}

// title is how findings name a journey.
func (k *kind) title() string {
	if k.service != "" {
		return k.name + " of " + k.service
	}
	return k.name
}

func from(list []tick, t tick) int {
	return sort.Search(len(list), func(i int) bool { return list[i] >= t })
}

// touching counts the journeys, and those of them that failed, that a stretch of time touches: scheduled before its end
// and not over before its begin. So a request that hangs in it counts although it fails only afterwards.
func (k *kind) touching(a, b tick) (n, bad int) {
	over := sort.Search(len(k.samples), func(i int) bool { return k.samples[i].end >= a })
	n = len(k.samples) - over - (len(k.starts) - from(k.starts, b))
	bad = len(k.failEnds) - from(k.failEnds, a) - (len(k.failStart) - from(k.failStart, b))
	return max(n, 0), max(bad, 0)
}

// ending is the samples that ended from a up to b.
func (k *kind) ending(a, b tick) []sample {
	lo := sort.Search(len(k.samples), func(i int) bool { return k.samples[i].end >= a })
	hi := sort.Search(len(k.samples), func(i int) bool { return k.samples[i].end >= b })
	return k.samples[lo:max(lo, hi)]
}

// firstFailure is the number of the first failure that a stretch touches.
func (k *kind) firstFailure(a, b tick) int64 {
	lo := sort.Search(len(k.samples), func(i int) bool { return k.samples[i].end >= a })
	for _, s := range k.samples[lo:] {
		if s.flags&failed != 0 && s.start < b {
			return int64(s.n)
		}
	}
	return 0
}

// bucket is the latency of the journeys that succeeded in a stretch, in ms. Those that failed are judged as failures;
// a quick error must not make a service look fast.
type bucket struct {
	n           int
	median, p95 float64
}

func latency(samples []sample) bucket {
	ms := make([]float32, 0, len(samples))
	for _, s := range samples {
		if s.flags&failed == 0 {
			ms = append(ms, s.ms)
		}
	}
	if len(ms) == 0 {
		return bucket{}
	}
	slices.Sort(ms)
	rank := func(p float64) float64 { return float64(ms[max(int(math.Ceil(p*float64(len(ms))))-1, 0)]) } // nearest rank
	return bucket{n: len(ms), median: rank(0.5), p95: rank(0.95)}
}

const bucketLength = 5 * second

func (k *kind) bucket(a tick) bucket {
	b, ok := k.buckets[a]
	if !ok {
		b = latency(k.ending(a, a+bucketLength))
		k.buckets[a] = b
		k.counted = max(k.counted, a+bucketLength)
	}
	return b
}

// sorted is the kinds by service and name, the drilled service's first.
func (f *traffic) sorted() []*kind {
	return slices.SortedFunc(slices.Values(f.kinds), func(a, b *kind) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.name, b.name))
	})
}
