// Package observe watches a drill: probes of every instance and every Postgres node, the queries of service.yaml and
// release.yaml, canonical readings of the schema, and alerts against the baseline. What it sees goes into the evidence
// log as changes plus a beat; a stretch in which a subject could not be read is a gap. Observing is not judging.
package observe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Config says what is observed and how often.
type Config struct {
	Log        *evidence.Log
	Interval   time.Duration // of the probes; 0: 100 ms
	Beat       time.Duration // every subject is written at least so often; 0: 1 s
	Service    *service.Service
	Dependants []*service.Service
	Instances  func() []service.Instance // what runs now, asked every Interval
	Nodes      func() []service.Node
	Caches     func() map[string]string // the URLs of the service's caches by name; nil: none is read
	Release    *service.Release         // its traps; nil: none

	// Command runs the command of a trap as a step is run and returns what it printed. It must obey ctx. nil: none is run.
	Command func(ctx context.Context, command string) (string, error)

	// Schema reads the canonical schema of a node, compares it with the node's target and returns the event to be
	// logged; nil when there is nothing to say yet. It is called when no step runs and the node's raw digest has
	// changed, and once after steps have ended. It must obey ctx. nil: no canonical readings.
	Schema func(ctx context.Context, node service.Node, at string) *evidence.Schema
}

// The longest that one reading may take before it counts as unanswered.
const readTimeout = time.Second

// Observer is a running observation. Its methods are safe for concurrent use.
type Observer struct {
	Config
	end    context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup
	client *http.Client
	alerts *alerts
	breaks *breaker // nil: there is none
	steps  *steps
	nodes  *cluster

	mu      sync.Mutex
	errs    []error
	stopped bool
}

// Start begins to observe. It returns at once; subjects that appear later are observed from then on.
func Start(ctx context.Context, c Config) *Observer {
	if c.Interval <= 0 {
		c.Interval = 100 * time.Millisecond
	}
	if c.Beat <= 0 {
		c.Beat = time.Second
	}
	ctx, end := context.WithCancel(ctx)
	o := &Observer{Config: c, ctx: ctx, end: end, client: newClient(), alerts: newAlerts(name(c.Service)), breaks: newBreaker(c.Service),
		steps: newSteps(ctx), nodes: newCluster()}
	o.work.Go(o.roster)
	o.work.Go(o.machine)
	o.work.Go(o.alerting)
	o.work.Go(o.queries)
	if o.Service != nil && o.Caches != nil {
		for name, c := range o.Service.Caches {
			o.work.Go(func() { o.cache(name, c) })
		}
	}
	if o.Release != nil && o.Command != nil {
		for name, t := range o.Release.Traps {
			if t.Command != "" {
				o.work.Go(func() { o.commandTrap(name, t.Command) })
			}
		}
	}
	return o
}

// Step says that a command of a rollout or a plan starts or has ended. While one runs, the queries of service.yaml and
// release.yaml and the canonical readings rest: Step(true) returns when none is under way any more. When it ends, the
// schema of every node is read once.
func (o *Observer) Step(running bool) {
	if running {
		o.steps.begin()
		return
	}
	o.steps.finish()
	o.nodes.demandSchemas()
}

// Journey counts a finished journey for the alerts and the breaker. It is quick and writes nothing, so that it may be called from
// evidence.Log.Tap. t is when the journey ended.
func (o *Observer) Journey(j evidence.Journey, t evidence.Offset) {
	o.alerts.journey(j, t)
	o.breaks.journey(j, t)
}

// Baseline fixes the means and spreads, from what was seen between from and to, against which alerts are raised. There
// are no alerts before it, and the breaker does not trip.
func (o *Observer) Baseline(from, to evidence.Offset) {
	o.alerts.fix(from, to)
	o.breaks.fix(from, to)
}

// Stop ends all probes, closes their connections, writes the gaps that are still open, and returns what could not be
// closed in time.
func (o *Observer) Stop() error {
	o.mu.Lock()
	first := !o.stopped
	o.stopped = true
	o.mu.Unlock()
	if first {
		o.end()
	}
	o.work.Wait()
	if e := o.breaks.end(); first && e != nil {
		o.Log.Put(e)
	}
	o.client.CloseIdleConnections()
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.errs...)
}

// keep remembers an error of closing, for Stop.
func (o *Observer) keep(err error) {
	if err == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, fmt.Errorf("stop observing: %w", err))
}

func name(s *service.Service) string {
	if s == nil {
		return ""
	}
	return s.Name
}
