package evidence

import (
	"encoding/json"
	"strconv"
)

// Key is the JSON key that names the kind of the event; empty for a kind that this version does not know.
func (e *Event) Key() string {
	switch {
	case e.Journey != nil:
		return "journey"
	case e.Write != nil:
		return "write"
	case e.Probe != nil:
		return "probe"
	case e.Instance != nil:
		return "instance"
	case e.Node != nil:
		return "node"
	case e.Job != nil:
		return "job"
	case e.Step != nil:
		return "step"
	case e.Run != nil:
		return "run"
	case e.Phase != nil:
		return "phase"
	case e.Clock != nil:
		return "clock"
	case e.Lock != nil:
		return "lock"
	case e.Alert != nil:
		return "alert"
	case e.Fault != nil:
		return "fault"
	case e.Approval != nil:
		return "approval"
	case e.Message != nil:
		return "message"
	case e.Cache != nil:
		return "cache"
	case e.Schema != nil:
		return "schema"
	case e.Chunk != nil:
		return "chunk"
	case e.Finding != nil:
		return "finding"
	case e.Gap != nil:
		return "gap"
	case e.End != nil:
		return "end"
	case e.Breaker != nil:
		return "breaker"
	case e.Pod != nil:
		return "pod"
	case e.Endpoints != nil:
		return "endpoints"
	case e.Sync != nil:
		return "sync"
	}
	return ""
}

// decodeLine reads one line. The kinds that make up nearly all of a log have a decoder of their own, five times as
// fast as encoding/json; whatever it does not expect (a new field, an escaped string, another order) goes to
// encoding/json, so that it can be slow but never wrong.
func decodeLine(line []byte, d *decoder) (Event, error) {
	if e, ok := d.event(line); ok {
		return e, nil
	}
	var e Event
	err := json.Unmarshal(line, &e)
	return e, err
}

// decoder holds what one goroutine keeps between lines: strings that come again and again, and room for events.
type decoder struct {
	words    map[string]string
	lists    map[string][]Serve
	journeys []Journey
	writes   []Write
}

// A decoder remembers so many words; more than that are not worth remembering.
const maxWords = 4096

func (d *decoder) event(line []byte) (e Event, ok bool) {
	s := scan{b: line}
	s.lit(`{"n":`)
	e.N = s.integer()
	s.lit(`,"t":`)
	e.T = Offset(s.number())
	s.lit(`,`)
	switch string(s.name()) {
	case "journey":
		e.Journey = d.journey(&s)
	case "write":
		e.Write = d.write(&s)
	case "probe":
		e.Probe = d.probe(&s)
	case "instance":
		e.Instance = d.instance(&s)
	case "node":
		e.Node = d.node(&s)
	default:
		return Event{}, false
	}
	s.lit(`}`)
	if s.bad || s.i != len(s.b) {
		return Event{}, false
	}
	return e, true
}

func (d *decoder) journey(s *scan) *Journey {
	// Room for a few at a time: one allocation for many events, without an event keeping many others alive.
	if len(d.journeys) == 0 {
		d.journeys = make([]Journey, 32)
	}
	j := &d.journeys[0]
	d.journeys = d.journeys[1:]
	for more := s.open(); more; more = s.next() {
		switch string(s.key) {
		case "name":
			j.Name = d.word(s)
		case "service":
			j.Service = d.word(s)
		case "user":
			j.User = int(s.integer())
		case "at":
			j.At = Offset(s.number())
		case "ms":
			j.MS = s.number()
		case "outcome":
			j.Outcome = d.word(s)
		case "step":
			j.Step = int(s.integer())
		case "status":
			j.Status = int(s.integer())
		case "error":
			j.Error = d.word(s)
		case "blame":
			j.Blame = Serve(d.word(s))
		case "served":
			j.Served = d.list(s)
		case "visible":
			j.Visible = s.number()
		case "trace":
			j.Trace = string(s.str())
		default:
			s.bad = true
		}
	}
	return j
}

func (d *decoder) write(s *scan) *Write {
	if len(d.writes) == 0 {
		d.writes = make([]Write, 32)
	}
	w := &d.writes[0]
	d.writes = d.writes[1:]
	for more := s.open(); more; more = s.next() {
		switch string(s.key) {
		case "key":
			w.Key = string(s.str())
		case "journey":
			w.Journey = d.word(s)
		case "event":
			w.Event = d.word(s)
		case "cancels":
			w.Cancels = s.boolean()
		case "status":
			w.Status = int(s.integer())
		case "trace":
			w.Trace = string(s.str())
		case "fate":
			w.Fate = d.word(s)
		case "rows":
			w.Rows = int(s.integer())
		case "keys":
			w.Keys = s.strings()
		case "effect":
			w.Effect = d.word(s)
		default:
			s.bad = true
		}
	}
	return w
}

func (d *decoder) probe(s *scan) *Probe {
	p := &Probe{}
	for more := s.open(); more; more = s.next() {
		switch string(s.key) {
		case "name":
			p.Name = d.word(s)
		case "of":
			p.Of = d.word(s)
		case "value":
			p.Value = s.number()
		case "unit":
			p.Unit = d.word(s)
		case "ok":
			p.OK = s.boolean()
		case "error":
			p.Error = d.word(s)
		default:
			s.bad = true
		}
	}
	return p
}

func (d *decoder) instance(s *scan) *Instance {
	n := &Instance{}
	for more := s.open(); more; more = s.next() {
		switch string(s.key) {
		case "name":
			n.Name = d.word(s)
		case "service":
			n.Service = d.word(s)
		case "up":
			n.Up = s.boolean()
		case "ready":
			n.Ready = s.boolean()
		case "release":
			n.Release = d.word(s)
		case "pid":
			n.PID = int(s.integer())
		case "restarts":
			n.Restarts = int(s.integer())
		case "error":
			n.Error = d.word(s)
		case "cpu":
			n.CPU = s.number()
		case "memory":
			n.Memory = s.integer()
		default:
			s.bad = true
		}
	}
	return n
}

func (d *decoder) node(s *scan) *Node {
	n := &Node{}
	for more := s.open(); more; more = s.next() {
		switch string(s.key) {
		case "name":
			n.Name = d.word(s)
		case "role":
			n.Role = d.word(s)
		case "reachable":
			n.Reachable = s.boolean()
		case "lag":
			n.Lag = s.number()
		case "lag_bytes":
			n.LagBytes = s.integer()
		case "digest":
			n.Digest = d.word(s)
		case "migration":
			n.Migration = s.integer()
		case "error":
			n.Error = d.word(s)
		case "cpu":
			n.CPU = s.number()
		case "memory":
			n.Memory = s.integer()
		default:
			s.bad = true
		}
	}
	return n
}

// word is a string that is likely to come again: it is made once.
func (d *decoder) word(s *scan) string {
	b := s.str()
	if w, ok := d.words[string(b)]; ok {
		return w
	}
	w := string(b)
	if d.words == nil {
		d.words = map[string]string{}
	}
	if len(d.words) < maxWords {
		d.words[w] = w
	}
	return w
}

// list is a list of who served, shared between the events that have the same.
func (d *decoder) list(s *scan) []Serve {
	from := s.i
	s.skipList()
	if s.bad {
		return nil
	}
	raw := s.b[from:s.i]
	if l, ok := d.lists[string(raw)]; ok {
		return l
	}
	var l []Serve
	inner := scan{b: raw}
	for _, v := range inner.strings() {
		l = append(l, Serve(v))
	}
	if inner.bad || l == nil {
		s.bad = true
		return nil
	}
	l = l[:len(l):len(l)] // an append by a reader makes a list of its own
	if d.lists == nil {
		d.lists = map[string][]Serve{}
	}
	if len(d.lists) < maxWords {
		d.lists[string(raw)] = l
	}
	return l
}

// scan reads the JSON that the log writes, strictly: no white space, no escapes, ASCII only. Anything else sets bad.
type scan struct {
	b   []byte
	i   int
	bad bool
	key []byte
}

func (s *scan) lit(text string) {
	if len(s.b)-s.i < len(text) || string(s.b[s.i:s.i+len(text)]) != text {
		s.bad = true
		return
	}
	s.i += len(text)
}

func (s *scan) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// name is a key with its colon.
func (s *scan) name() []byte {
	k := s.str()
	s.lit(":")
	return k
}

// open begins an object and next goes on in it; both say whether there is a field, and put its name into key.
func (s *scan) open() bool {
	s.lit("{")
	if s.peek() == '}' {
		s.i++
		return false
	}
	s.key = s.name()
	return !s.bad
}

func (s *scan) next() bool {
	if s.bad {
		return false
	}
	switch s.peek() {
	case ',':
		s.i++
		s.key = s.name()
		return !s.bad
	case '}':
		s.i++
		return false
	}
	s.bad = true
	return false
}

func (s *scan) str() []byte {
	if s.peek() != '"' {
		s.bad = true
		return nil
	}
	s.i++
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[from : s.i-1]
		case c == '\\' || c < ' ' || c >= 0x80:
			s.bad = true
			return nil
		}
	}
	s.bad = true
	return nil
}

func (s *scan) strings() []string {
	s.lit("[")
	var out []string
	for !s.bad {
		out = append(out, string(s.str()))
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return out
		default:
			s.bad = true
		}
	}
	return nil
}

// skipList passes over a list of strings.
func (s *scan) skipList() {
	s.lit("[")
	for !s.bad {
		s.str()
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return
		default:
			s.bad = true
		}
	}
}

func (s *scan) boolean() bool {
	if s.peek() == 't' {
		s.lit("true")
		return true
	}
	s.lit("false")
	return false
}

// digits reads the grammar of a JSON number without an exponent: its digits as one whole number, how many of them
// stand behind the point, and the sign.
func (s *scan) digits() (m uint64, behind int, negative bool) {
	if s.peek() == '-' {
		negative = true
		s.i++
	}
	from := s.i
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		m = m*10 + uint64(c-'0')
		s.i++
	}
	n := s.i - from
	if n == 0 || n > 1 && s.b[from] == '0' {
		s.bad = true
	}
	if s.peek() == '.' {
		s.i++
		from = s.i
		for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
			m = m*10 + uint64(c-'0')
			s.i++
		}
		behind = s.i - from
		if behind == 0 {
			s.bad = true
		}
		n += behind
	}
	if c := s.peek(); n > 18 || c == 'e' || c == 'E' {
		s.bad = true
	}
	return m, behind, negative
}

func (s *scan) integer() int64 {
	m, behind, negative := s.digits()
	if behind > 0 {
		s.bad = true
	}
	if negative {
		return -int64(m)
	}
	return int64(m)
}

var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

func (s *scan) number() float64 {
	from := s.i
	m, behind, negative := s.digits()
	if s.bad {
		return 0
	}
	// Both numbers are exact and the division rounds once (Clinger 1990), so this is the nearest float.
	if m < 1<<53 {
		f := float64(m) / tens[behind]
		if negative {
			f = -f
		}
		return f
	}
	f, err := strconv.ParseFloat(string(s.b[from:s.i]), 64)
	if err != nil {
		s.bad = true
	}
	return f
}
