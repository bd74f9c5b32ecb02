// Package traffic runs the journeys of the drilled service and of its dependants as users would, over real HTTP, and
// keeps the ledger of every write that they invoked.
//
// Arrivals are open-loop: journeys begin when they are scheduled, whether or not earlier ones have ended, and their
// latency counts from the scheduled time. A request is sent once; nothing is retried but reads that wait for a write
// to become visible.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Target is one service that gets traffic.
type Target struct {
	Service   *service.Service
	URL       string // where traffic for it goes in, on this machine
	Dependant bool   // it stands beside the drilled service and gets a small share
}

// Config is what traffic needs to know.
type Config struct {
	Log     *evidence.Log
	Targets []Target
	// Rate is the journeys of the drilled service per second, over all users. Each dependant gets Share of it in
	// addition, but at least ShareLeast per second. 0 is as fast as InFlight allows, which is for measuring.
	Rate     float64
	Users    int           // 1 unless stated
	InFlight int           // journeys at once; arrivals beyond it are counted as unsent. 256 unless stated
	Seed     int64         // the same seed gives the same sequence of journeys, users, values and keys
	Timeout  time.Duration // of one request with its answer; 5 s unless stated
	Tracer   trace.Tracer  // nil: trace ids without spans
	// Step is the span of the rollback step that runs now, to which journeys are linked; nil: there is none.
	Step func() trace.SpanContext
	Late func(time.Duration) // of measurements: told how late each journey begins; nil: nobody asks
}

// What a dependant gets of the rate.
const (
	Share      = 0.1
	ShareLeast = 4.0
)

// Unless stated otherwise.
const (
	DefaultInFlight = 256
	DefaultTimeout  = 5 * time.Second
)

// Traffic is the load of one drill.
type Traffic struct {
	log     *evidence.Log
	tracer  trace.Tracer
	step    func() trace.SpanContext
	timeout time.Duration
	ledger  *Ledger
	streams []*stream
	late    func(time.Duration) // of measurements: how late a journey began

	calls   chan call
	slots   chan struct{} // one for each journey in flight
	working sync.WaitGroup
	arrives sync.WaitGroup
	stop    chan struct{} // arrivals end
	stopped func()
	cut     func() // what is in flight ends

	mu      sync.Mutex // guards what follows
	began   bool
	closed  bool
	workers int
	detach  func() bool
	extra   *rand.PCG // of journeys beside the traffic
}

// A stream is the arrivals at one service.
type stream struct {
	program *program
	client  *client
	users   []*user
	pacer   vegeta.Pacer
	alarm   *alarm
	full    bool // as fast as it goes: an arrival waits for its slot
	pcg     *rand.PCG
	random  *rand.Rand
}

// New checks and compiles the journeys. Nothing is sent.
func New(c Config) (*Traffic, error) {
	if c.Log == nil {
		return nil, errors.New("traffic: there is no log")
	}
	if c.Rate < 0 || math.IsNaN(c.Rate) || c.Rate > 1e6 {
		return nil, fmt.Errorf("traffic: expected 0 to 1,000,000 journeys per second, found %v", c.Rate)
	}
	c.Users = max(c.Users, 1)
	if c.InFlight <= 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Step == nil {
		c.Step = func() trace.SpanContext { return trace.SpanContext{} }
	}
	t := &Traffic{
		log: c.Log, tracer: c.Tracer, step: c.Step, timeout: c.Timeout, late: c.Late, ledger: &Ledger{own: map[string]struct{}{}},
		calls: make(chan call, c.InFlight), slots: make(chan struct{}, c.InFlight),
		stop: make(chan struct{}), detach: func() bool { return true },
	}
	t.stopped = sync.OnceFunc(func() {
		close(t.stop)
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, s := range t.streams {
			if s.alarm != nil {
				s.alarm.stop()
			}
		}
	})
	t.cut = func() {
		for _, s := range t.streams {
			s.client.close()
		}
	}
	// Everything random comes from the seed by way of this source, in this order.
	root := rand.NewPCG(uint64(c.Seed), 0)
	t.extra = rand.NewPCG(root.Uint64(), root.Uint64())
	drilled := 0
	for _, target := range c.Targets {
		if !target.Dependant && len(target.Service.Journeys) == 0 {
			drilled++ // a schema alone: nobody arrives
			continue
		}
		s, err := newStream(c, target, rand.NewPCG(root.Uint64(), root.Uint64()))
		if err != nil {
			return nil, fmt.Errorf("traffic for %s: %w", target.Service.Name, err)
		}
		if !target.Dependant {
			drilled++
		}
		t.streams = append(t.streams, s)
	}
	if drilled != 1 {
		return nil, fmt.Errorf("traffic: expected one drilled service among the targets, found %d", drilled)
	}
	return t, nil
}

func newStream(c Config, target Target, pcg *rand.PCG) (*stream, error) {
	p, err := newProgram(target.Service, target.Dependant)
	if err != nil {
		return nil, err
	}
	cl, err := newClient(target.URL, target.Service, c.Timeout)
	if err != nil {
		return nil, err
	}
	rate := c.Rate
	if target.Dependant {
		rate = max(c.Rate*Share, ShareLeast)
	}
	s := &stream{program: p, client: cl, pcg: pcg, random: rand.New(pcg), full: rate == 0}
	// The pacer takes whole numbers, so the rate is given by the thousand seconds. Its 0 is "as fast as it goes".
	freq := int(math.Round(rate * 1000))
	if rate > 0 {
		freq = max(freq, 1)
	}
	s.pacer = vegeta.ConstantPacer{Freq: freq, Per: 1000 * time.Second}
	for n := 1; n <= c.Users; n++ {
		s.users = append(s.users, newUser(n, strconv.Itoa(n), p))
	}
	return s, nil
}

// next is the next arrival, without its time. It depends on the seed alone.
func (s *stream) next() call {
	return call{
		journey: s.pick(), user: s.users[s.random.IntN(len(s.users))], client: s.client,
		seed: [2]uint64{s.pcg.Uint64(), s.pcg.Uint64()},
	}
}

// pick picks a journey by weight.
func (s *stream) pick() *journey {
	n := s.random.IntN(s.program.heaviest)
	for i := range s.program.journeys {
		j := &s.program.journeys[i]
		if n -= j.weight; n < 0 {
			return j
		}
	}
	return &s.program.journeys[0] // not reached: heaviest is the sum of the weights
}

// Start begins arrivals. When ctx ends, arrivals stop and what is in flight is cut off; Stop is still to be called.
func (t *Traffic) Start(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.stop:
		return
	default:
	}
	if t.began {
		return
	}
	t.began = true
	t.detach = context.AfterFunc(ctx, func() { t.stopped(); t.cut() })
	began := time.Now()
	for _, s := range t.streams {
		// Without an alarm the runtime's timers wake the arrivals, less exactly.
		s.alarm, _ = newAlarm()
		t.arrives.Go(func() { t.arrive(s, began) })
	}
}

// arrive schedules the arrivals of a stream until traffic stops.
func (t *Traffic) arrive(s *stream, began time.Time) {
	for n := uint64(0); ; n++ {
		// With no time elapsed the pacer says when the n-th arrival is due. It is never asked to catch up: an
		// arrival that begins late is still due when it was due.
		due, stop := s.pacer.Pace(0, n)
		if stop {
			return
		}
		at := began.Add(due)
		if !s.full && !t.sleep(s.alarm, at) {
			return
		}
		c := s.next()
		c.at = at
		if s.full {
			select {
			case t.slots <- struct{}{}:
			case <-t.stop:
				return
			}
			c.at = time.Now()
		} else {
			select {
			case <-t.stop:
				return
			default:
			}
			select {
			case t.slots <- struct{}{}:
			default:
				t.log.Put(&evidence.Journey{Name: c.journey.name, Service: s.program.label, User: c.user.number, At: t.log.At(at), Outcome: evidence.Unsent})
				continue
			}
		}
		t.calls <- c // has room for as many as there are slots
		t.employ()
	}
}

// employ sees to it that there are as many workers as journeys in flight.
func (t *Traffic) employ() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.workers >= len(t.slots) {
		return
	}
	t.workers++
	t.working.Go(func() {
		w := newWorker(t)
		for c := range t.calls {
			if t.late != nil {
				t.late(time.Since(c.at))
			}
			t.log.Put(w.run(&c))
			<-t.slots
		}
	})
}

// sleep waits until an instant. It says false when traffic has stopped.
func (t *Traffic) sleep(a *alarm, until time.Time) bool {
	if a != nil {
		return a.until(until)
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stop:
		return false
	}
}

// Stop ends arrivals and waits until every journey in flight has settled, which their own time-outs bound; when ctx
// ends before, they are cut off, their writes are unknown, and the error says how many. It may be called again.
func (t *Traffic) Stop(ctx context.Context) error {
	t.stopped()
	t.arrives.Wait()
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		close(t.calls)
	}
	settled := make(chan struct{})
	go func() {
		t.working.Wait()
		close(settled)
	}()
	var err error
	select {
	case <-settled:
	case <-ctx.Done():
		if n := len(t.slots); n > 0 {
			err = fmt.Errorf("stop traffic: %d journeys were still in flight and were cut off: %w", n, context.Cause(ctx))
		}
		t.cut()
		<-settled
	}
	t.detach()
	t.cut()
	return err
}

// Once runs one journey of a service (empty: the drilled one) now, by a user who has kept nothing, against baseURL
// (empty: where traffic goes). It is neither in the log nor in the ledger, but its keys are no phantoms.
func (t *Traffic) Once(ctx context.Context, service, name, baseURL string) evidence.Journey {
	failed := func(err error) evidence.Journey {
		return evidence.Journey{Name: name, Service: service, At: t.log.Now(), Outcome: evidence.Failed, Error: shorten(t.log.Clean(err.Error()), errorLimit)}
	}
	s, err := t.stream(service)
	if err != nil {
		return failed(err)
	}
	j, err := s.program.find(name)
	if err != nil {
		return failed(err)
	}
	c := call{at: time.Now(), journey: j, client: s.client, quiet: true, seed: t.seed()}
	base := baseURL
	if base == "" {
		base = s.client.base()
	}
	if c.client, err = newClient(base, s.program.service, t.timeout); err != nil {
		return failed(err)
	}
	defer c.client.cutBy(ctx)()
	known := s.users[c.seed[0]%uint64(len(s.users))]
	c.user = newUser(known.number, known.text, s.program)
	return *newWorker(t).run(&c)
}

// seed is the seed of a journey beside the traffic.
func (t *Traffic) seed() [2]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return [2]uint64{t.extra.Uint64(), t.extra.Uint64()}
}

func (t *Traffic) stream(service string) (*stream, error) {
	for _, s := range t.streams {
		if s.program.service.Name == service || service == "" && s.program.label == "" {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no traffic goes to a service %q", service)
}

func (p *program) find(name string) (*journey, error) {
	for i := range p.journeys {
		if p.journeys[i].name == name {
			return &p.journeys[i], nil
		}
	}
	return nil, fmt.Errorf("%s has no journey %q", p.service.Name, name)
}

// Ledger is every write that was invoked.
func (t *Traffic) Ledger() *Ledger { return t.ledger }
