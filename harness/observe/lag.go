package observe

import (
	"sort"
	"sync"

	"backout/harness/evidence"
	"backout/harness/service"
)

// history is where the primary's WAL was at which time on the drill's clock, so that a replica's position becomes a
// time. (pg_last_xact_replay_timestamp would grow while nobody writes.)
type history struct {
	marks []mark // by time and by lsn
}

// mark says that the primary was read with its WAL at lsn from the first to the last time.
type mark struct {
	first, last evidence.Offset
	lsn         int64
}

const historyKept = evidence.Offset(3600)

func (h *history) add(t evidence.Offset, lsn int64) {
	n := len(h.marks)
	switch {
	case n > 0 && lsn == h.marks[n-1].lsn:
		h.marks[n-1].last = t
		return
	case n > 0 && lsn < h.marks[n-1].lsn: // another timeline, or a restored cluster
		h.marks = h.marks[:0]
	}
	h.marks = append(h.marks, mark{t, t, lsn})
	if old := t - historyKept; h.marks[0].last < old-historyKept/10 {
		keep := sort.Search(len(h.marks), func(i int) bool { return h.marks[i].last >= old })
		h.marks = append([]mark(nil), h.marks[keep:]...)
	}
}

// lag of a replica that had lsn at t: the time since the primary was last read with no more WAL than that, and the
// bytes to the primary's last reading. Both are 0 when it has all that the primary was seen to have. A replica that is
// behind all that is remembered is behind for at least as long as that.
func (h *history) lag(t evidence.Offset, lsn int64) (seconds float64, bytes int64) {
	n := len(h.marks)
	if n == 0 || lsn >= h.marks[n-1].lsn {
		return 0, 0
	}
	after := sort.Search(n, func(i int) bool { return h.marks[i].lsn > lsn })
	since := h.marks[0].first
	if after > 0 {
		since = h.marks[after-1].last
	}
	return max(0, float64(t-since)), h.marks[n-1].lsn - lsn
}

// slot is a logical replication slot as the primary sees it: what its subscriber has applied.
type slot struct {
	at      evidence.Offset
	lsn     int64
	seconds float64
	bytes   int64
	none    bool // the slot is not there
}

// cluster is what the probes of the nodes tell each other.
type cluster struct {
	mu      sync.Mutex
	primary string // name of the node whose WAL the others are compared with
	history history
	read    evidence.Offset // when that node was read last
	slots   map[string]slot
	nodes   map[string]*nodeProbe
}

func newCluster() *cluster { return &cluster{nodes: map[string]*nodeProbe{}} }

// lead takes a reading of a node that is a primary now. While two say so, it is the one that said so first.
func (c *cluster) lead(name string, t evidence.Offset, lsn int64, slots map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.primary != name {
		if p := c.nodes[c.primary]; p != nil && p.leads.Load() {
			return
		}
		c.primary, c.history = name, history{}
	}
	// Slots are compared with the readings before this one, as streaming replicas are: a position that was read in the
	// same instant is always a little behind.
	c.slots = map[string]slot{}
	for n, l := range slots {
		s, b := c.history.lag(t, l)
		c.slots[n] = slot{at: t, lsn: l, seconds: s, bytes: b}
	}
	c.history.add(t, lsn)
	c.read = t
}

// behind is the lag of a streaming replica that has replayed up to lsn, and when the primary was read last.
func (c *cluster) behind(t evidence.Offset, lsn int64) (seconds float64, bytes int64, read evidence.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seconds, bytes = c.history.lag(t, lsn)
	return seconds, bytes, c.read
}

// slot of a subscription.
func (c *cluster) slot(name string) slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots[name]
	if !ok {
		return slot{at: c.read, none: true}
	}
	return s
}

// at is where the primary's WAL was when it was read last.
func (c *cluster) at() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.history.marks); n > 0 {
		return c.history.marks[n-1].lsn
	}
	return 0
}

func (c *cluster) join(p *nodeProbe) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[p.name] = p
}

func (c *cluster) leave(p *nodeProbe) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes[p.name] == p {
		delete(c.nodes, p.name)
	}
}

// primaryNode is the node that queries go to: the one that is the primary now, else the one that was provisioned as
// such.
func (c *cluster) primaryNode() (service.Node, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.nodes[c.primary]; p != nil && p.leads.Load() {
		return *p.now.Load(), true
	}
	for _, p := range c.nodes {
		if n := p.now.Load(); n.Role == "primary" {
			return *n, true
		}
	}
	return service.Node{}, false
}

// demandSchemas asks for one canonical reading of each node.
func (c *cluster) demandSchemas() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.nodes {
		p.demand.Store(true)
	}
}
