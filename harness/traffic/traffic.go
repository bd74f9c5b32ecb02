// Package traffic runs the journeys of the drilled service and of its dependants as users would, over real HTTP, and
// keeps the ledger of every write that they invoked.
package traffic

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
	Users    int   // 1 unless stated
	InFlight int   // journeys at once; arrivals beyond it are counted as unsent. 256 unless stated
	Seed     int64 // the same seed gives the same sequence of journeys, users, values and keys
	Timeout  time.Duration
	Tracer   trace.Tracer             // nil: trace ids without spans
	Step     func() trace.SpanContext // the rollback step that runs now, which journeys link to; may be nil
}

// What a dependant gets of the rate.
const (
	Share      = 0.1
	ShareLeast = 4.0
)

// Traffic is the load of one drill.
type Traffic struct{ ledger *Ledger }

// New checks and compiles the journeys. Nothing is sent.
func New(c Config) (*Traffic, error) { return nil, errors.ErrUnsupported }

// Start begins arrivals. When ctx ends, arrivals stop and what is in flight is cut off; Stop is still to be called.
func (t *Traffic) Start(ctx context.Context) {}

// Stop ends arrivals and waits until every journey in flight has settled; when ctx ends before, they are cut off.
func (t *Traffic) Stop(ctx context.Context) error { return nil }

// Once runs one journey now, by a user without kept values, against baseURL (empty: the target's). It is neither in
// the log nor in the ledger, but its keys are no phantoms.
func (t *Traffic) Once(ctx context.Context, service, journey, baseURL string) evidence.Journey {
	return evidence.Journey{}
}

// Sessions tries again what users kept from before an instant. The findings are not in the log.
func (t *Traffic) Sessions(ctx context.Context, before evidence.Offset) []evidence.Finding {
	return nil
}

// Ledger is every write that was invoked.
func (t *Traffic) Ledger() *Ledger { return t.ledger }

// Ledger is every write that was invoked, and whether it was acknowledged, refused or left unknown.
type Ledger struct{}

// Audit looks every write up in the database of the drilled service and writes what became of it, and findings.
func (l *Ledger) Audit(ctx context.Context, log *evidence.Log, db *pgxpool.Pool, targets []Target) error {
	return nil
}
