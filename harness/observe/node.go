package observe

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

// nodeProbe reads one Postgres node on a connection of its own.
type nodeProbe struct {
	*subject[service.Node]
	o    *Observer
	name string
	line line
	use  usage

	leads  atomic.Bool          // it is reachable and a primary
	demand atomic.Bool          // a canonical reading of its schema is asked for
	again  chan chan<- struct{} // asks for a full reading at once

	began evidence.Offset // when it was started

	node, digest, migration, locks, lag *track

	// Of the probe's goroutine.
	stamp      string // of the catalogs, when the digest was read
	digestAt   evidence.Offset
	usedAt     evidence.Offset
	applyError applyError
	lockBeat   beat[evidence.Lock]
	logged     beat[evidence.Node]

	mu     sync.Mutex // of what the canonical readings look at
	last   evidence.Node
	seen   string          // stamp and digest of last: it changes with every change of the catalogs
	seenAt evidence.Offset // when the digest was read
}

// applyError is the last error of a subscription's apply worker. It stands until the subscriber has got past what the
// primary had written by then.
type applyError struct {
	some  bool // count was read before
	count int64
	past  int64
	since bool
}

// watchNode reads one node until ctx ends.
func (o *Observer) watchNode(ctx context.Context, s *subject[service.Node]) {
	n := s.now.Load()
	p := &nodeProbe{subject: s, o: o, name: n.Name, again: make(chan chan<- struct{}),
		node: o.track("node " + n.Name), digest: o.track("digest " + n.Name), migration: o.track("migration " + n.Name),
		locks: o.track("locks " + n.Name), lag: o.track("lag " + n.Name),
		began: o.Log.Now(), last: evidence.Node{Name: n.Name, Role: n.Role}}
	o.nodes.join(p)
	schema := make(chan struct{})
	go func() { defer close(schema); p.canonical(ctx) }()

	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.read(ctx, false)
		select {
		case <-ctx.Done():
		case done := <-p.again:
			p.read(ctx, true)
			close(done)
		case <-tick.C:
		}
	}
	<-schema
	o.nodes.leave(p)
	if err := p.line.close(); err != nil {
		o.keep(fmt.Errorf("close the connection to %s: %s", p.name, o.why(err)))
	}
	for _, t := range []*track{p.node, p.digest, p.migration, p.locks, p.lag} {
		t.end()
	}
}

// read reads the node once and writes what changed, or everything when it is asked for.
func (p *nodeProbe) read(ctx context.Context, full bool) {
	o := p.o
	began := o.Log.Now()
	limit, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	p.mu.Lock()
	n := p.last
	p.mu.Unlock()
	n.Error = ""
	p.measure(&n)

	c, err := p.line.get(limit, p.now.Load().URL)
	var s state
	if err == nil {
		s, err = readState(limit, c)
	}
	if ctx.Err() != nil {
		return // the observation ended while it was asked
	}
	if err != nil {
		// A node that refuses has been observed: it is down. One that gave no answer, or gave up, was not.
		n.Reachable, n.Error = answered(err), o.why(err)
		if late(err) || n.Reachable {
			p.node.lost(began, n.Error)
		} else {
			p.node.read()
		}
		p.leads.Store(false)
		p.write(n, full)
		return
	}
	p.node.read()
	n.Reachable = true
	p.place(&n, &s, began)
	p.fields(limit, c, &s, &n, full)
	if ctx.Err() != nil {
		return
	}
	p.write(n, full)
}

// place fills in what the node is now and how far it is behind.
func (p *nodeProbe) place(n *evidence.Node, s *state, began evidence.Offset) {
	o := p.o
	configured := p.now.Load().Role
	var wrong []string
	switch {
	case s.recovery:
		n.Role = "streaming"
	case configured == "logical" || s.subscription != nil:
		n.Role = "logical"
	default:
		n.Role = "primary"
	}
	p.leads.Store(n.Role == "primary")

	now := o.Log.Now()
	var read evidence.Offset // when the primary's side of the lag was read
	known := true
	switch n.Role {
	case "primary":
		slots := map[string]int64{}
		for i, name := range s.slots {
			slots[name] = s.applied[i]
		}
		o.nodes.lead(p.name, began, s.lsn, slots)
		n.Lag, n.LagBytes, read = 0, 0, began
	case "streaming":
		n.Lag, n.LagBytes, read = o.nodes.behind(now, s.lsn)
		if !s.receiver {
			wrong = append(wrong, "no WAL receiver runs: it gets nothing from the primary")
		}
	case "logical":
		var more []string
		more, read, known = p.subscription(n, s, now)
		wrong = append(wrong, more...)
	}
	read = max(read, p.began) // nodes are read for the first time in any order
	switch {
	case !known:
		p.lag.lost(began, "it has no position that can be compared with the primary's")
	case now-read > 2*evidence.Seconds(o.Beat):
		p.lag.lost(read, "the primary could not be read")
	default:
		p.lag.read()
		o.alerts.gauge("lag", n.Name, n.Lag, now)
	}
	n.Error = strings.Join(wrong, "; ")
}

// subscription fills in how a logical subscriber is doing and says what is wrong with it.
func (p *nodeProbe) subscription(n *evidence.Node, s *state, now evidence.Offset) (wrong []string, read evidence.Offset, known bool) {
	if s.subscription == nil {
		return []string{"it has no subscription"}, now, false
	}
	name := *s.subscription
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if s.slot == nil {
		say("subscription %s has no slot", name)
		return wrong, now, false
	}
	at := p.o.nodes.slot(*s.slot)
	read = at.at
	switch {
	case at.none && read > 0:
		say("replication slot %s is missing on the primary", *s.slot)
		known = false
	case at.none: // the primary has not been read yet
		known = true
	default:
		n.Lag, n.LagBytes, known = at.seconds, at.bytes, true
	}
	if s.errors != nil {
		e := &p.applyError
		if e.some && *s.errors > e.count {
			e.since, e.past = true, p.o.nodes.at()
		}
		e.some, e.count = true, *s.errors
		if e.since && !at.none && at.lsn >= e.past && *s.worker {
			e.since = false
		}
	}
	switch {
	case !*s.enabled:
		say("subscription %s is disabled", name)
	case p.applyError.since: // its worker then comes and goes, which is no news
		say("subscription %s cannot apply, for the reason in the node's log", name)
	case !*s.worker:
		say("subscription %s has no apply worker", name)
	}
	if *s.unsynced > 0 {
		say("%d tables of subscription %s are not in sync yet", *s.unsynced, name)
	}
	return wrong, read, known
}

// fields reads what has statements of its own. One that cannot be read is a gap of its own; its last value stands.
func (p *nodeProbe) fields(ctx context.Context, c *pgx.Conn, s *state, n *evidence.Node, full bool) {
	o := p.o
	began := o.Log.Now()
	failed := func(t *track, err error) bool {
		if err != nil {
			t.lost(began, o.why(err))
			return true
		}
		t.read()
		return false
	}

	// The stamp covers most of what migrations change; the full digest, read once a beat as well, is the net.
	stale := p.stamp != s.stamp || full || began-p.digestAt >= evidence.Seconds(o.Beat)
	if !stale {
		p.digest.read()
	} else if digest, err := postgres.RawDigest(ctx, c); !failed(p.digest, err) {
		n.Digest, p.stamp, p.digestAt = digest, s.stamp, began
	}

	began = o.Log.Now()
	if !s.goose {
		n.Migration = 0
		p.migration.read()
	} else if version, err := readMigration(ctx, c); !failed(p.migration, err) {
		n.Migration = version
	}

	began = o.Log.Now()
	if s.waiting == 0 {
		p.waits(&evidence.Lock{Node: p.name})
		p.locks.read()
	} else if lock, err := o.readLocks(ctx, c, p.name); !failed(p.locks, err) {
		p.waits(lock)
	}
}

// measure takes CPU and memory of the node's processes, once a beat: a node has dozens of them, and a measurement is
// written with the beat only.
func (p *nodeProbe) measure(n *evidence.Node) {
	now := p.o.Log.Now()
	pid := p.now.Load().PID
	if pid == nil || p.usedAt > 0 && now-p.usedAt < evidence.Seconds(p.o.Beat-p.o.Interval/2) {
		return
	}
	p.usedAt = now
	n.CPU, n.Memory = p.use.tree(pid(), now)
	if n.Memory > 0 {
		p.o.alerts.gauge("cpu", n.Name, n.CPU, now)
		p.o.alerts.gauge("memory", n.Name, float64(n.Memory), now)
	}
}

// waits writes lock waits when they change, and as a beat while there are some.
func (p *nodeProbe) waits(l *evidence.Lock) {
	key := *l
	key.Longest = 0
	if l.Waiting == 0 && (!p.lockBeat.some || p.lockBeat.last.Waiting == 0) {
		return
	}
	if p.lockBeat.due(key, p.o.Log.Now(), evidence.Seconds(p.o.Beat), evidence.Seconds(p.o.Interval/2)) {
		p.o.Log.Put(l)
	}
}

// lagSteps are the seconds of lag that are worth an event when they are crossed; 1 s is what the verdict allows.
var lagSteps = [...]float64{0.5, 1, 2, 5, 10, 30, 60}

// write writes the reading when something but its measurements changed, or as a beat.
func (p *nodeProbe) write(n evidence.Node, always bool) {
	key := n
	key.CPU, key.Memory, key.LagBytes, key.Lag = 0, 0, 0, 0
	for _, step := range lagSteps {
		if n.Lag > step {
			key.Lag = step
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.seen, p.seenAt = n, p.stamp+" "+n.Digest, p.digestAt
	due := p.logged.due(key, p.o.Log.Now(), evidence.Seconds(p.o.Beat), evidence.Seconds(p.o.Interval/2))
	if due || always {
		p.o.Log.Put(&n)
	}
}
