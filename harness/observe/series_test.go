package observe

import (
	"testing"

	"backout/harness/evidence"
	"backout/harness/service"
)

func TestBeatDue(t *testing.T) {
	var b beat[string]
	for i, c := range []struct {
		value string
		t     evidence.Offset
		due   bool
	}{
		{"a", 0, true}, {"a", 0.1, false}, {"b", 0.2, true}, {"b", 1.1, false}, {"b", 1.16, true}, {"a", 1.17, true}, {"a", 2.1, false},
	} {
		if due := b.due(c.value, c.t, 1, 0.05); due != c.due {
			t.Errorf("%d: %s at %v: expected due %v, found %v", i+1, c.value, c.t, c.due, due)
		}
	}
}

func TestTrack(t *testing.T) {
	s := record(t)
	o := &Observer{Config: Config{Log: s.log}}
	k := o.track("node x")
	k.beat = 1e6
	k.read()
	k.lost(1, "first")
	k.lost(2, "second")
	k.read()
	k.read()
	k.lost(3, "at the end")
	k.end()
	k.end()
	var found []evidence.Gap
	for _, e := range s.gaps("node x") {
		found = append(found, *e.Gap)
	}
	if len(found) != 2 || found[0].From != 1 || found[0].Why != "first" || found[1].From != 3 || found[1].Why != "at the end" {
		t.Errorf("found %+v; expected a gap from the first lost reading and one that was open at the end", found)
	}

	// Two beats without any reading are a gap, unless there was a reason to rest.
	k = o.track("starved")
	k.read()
	k.last -= 3
	k.beat = 1
	k.read()
	k.last -= 3
	k.rest()
	k.read()
	if gaps := s.gaps("starved"); len(gaps) != 1 || gaps[0].Gap.To-gaps[0].Gap.From < 3 {
		t.Errorf("found %d gaps; expected one of three seconds", len(gaps))
	}
}

func TestLag(t *testing.T) {
	var h history
	if s, b := h.lag(5, 10); s != 0 || b != 0 {
		t.Errorf("without a reading of the primary: expected 0, found %v s, %d bytes", s, b)
	}
	for i, lsn := range []int64{100, 100, 200, 300} {
		h.add(evidence.Offset(1+i), lsn)
	}
	for _, c := range []struct {
		name    string
		lsn     int64
		seconds float64
		bytes   int64
	}{
		{"caught up", 300, 0, 0},
		{"ahead of the last reading", 350, 0, 0},
		{"between two readings", 250, 2, 50},
		{"at one", 200, 2, 100},
		{"the primary stood still until 2", 100, 3, 200},
		{"behind all that is known", 50, 4, 250},
	} {
		if s, b := h.lag(5, c.lsn); s != c.seconds || b != c.bytes {
			t.Errorf("%s: expected %v s and %d bytes, found %v s and %d bytes", c.name, c.seconds, c.bytes, s, b)
		}
	}
	h.add(6, 120) // restored from a backup
	if s, b := h.lag(6, 120); s != 0 || b != 0 {
		t.Errorf("after the primary's WAL went back: expected 0, found %v s, %d bytes", s, b)
	}
	for i := range 100000 {
		h.add(evidence.Offset(7+i), int64(200+i))
	}
	if len(h.marks) > 4000 {
		t.Errorf("%d readings are remembered; expected about an hour of them", len(h.marks))
	}
	if s, _ := h.lag(100007, 200+99999-10); s != 11 {
		t.Errorf("expected 11 s, found %v", s)
	}
}

// While two nodes say that they are the primary, lag is measured against the one that said so first; when that one is
// gone, the other takes over with a history of its own.
func TestLead(t *testing.T) {
	c := newCluster()
	probes := map[string]*nodeProbe{}
	for _, name := range []string{"primary", "streaming"} {
		p := &nodeProbe{name: name, subject: &subject[service.Node]{}}
		p.now.Store(&service.Node{Name: name, Role: name})
		c.join(p)
		probes[name] = p
	}
	leader := func() string {
		n, _ := c.primaryNode()
		return n.Name
	}
	if got := leader(); got != "primary" {
		t.Errorf("before any reading: expected the node that was provisioned as primary, found %q", got)
	}
	probes["primary"].leads.Store(true)
	c.lead("primary", 1, 1000, map[string]int64{"sub": 900})
	c.lead("primary", 2, 2000, map[string]int64{"sub": 900})
	probes["streaming"].leads.Store(true)
	c.lead("streaming", 3, 1500, nil)
	if got := leader(); got != "primary" || c.at() != 2000 {
		t.Errorf("two primaries: expected the first at 2000, found %q at %d", got, c.at())
	}
	if s := c.slot("sub"); s.seconds != 1 || s.bytes != 100 || s.none {
		t.Errorf("slot: expected 1 s and 100 bytes behind the reading before, found %+v", s)
	}
	if s := c.slot("other"); !s.none {
		t.Errorf("a slot that is not there: found %+v", s)
	}
	probes["primary"].leads.Store(false)
	c.lead("streaming", 4, 1600, nil)
	if got := leader(); got != "streaming" || c.at() != 1600 {
		t.Errorf("after the promotion: expected streaming at 1600, found %q at %d", got, c.at())
	}
	if s, b, _ := c.behind(5, 1600); s != 0 || b != 0 {
		t.Errorf("a node that follows the promoted one: expected 0, found %v s, %d bytes", s, b)
	}
}
