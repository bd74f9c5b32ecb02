package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"backout/harness/service"
)

// A program is the journeys of one service, compiled so that running one does no looking up by name.
type program struct {
	service  *service.Service
	label    string // as in evidence: empty for the drilled service
	kept     []string
	journeys []journey
	heaviest int // sum of weights
}

// The slots of a journey's values begin with the number of the user and the journey's own UUID; then come the values
// that a user keeps, at the same place in each journey of the service, then those of this journey alone.
const (
	slotUser = iota
	slotUUID
	slotKept
)

type journey struct {
	program *program
	name    string
	weight  int
	slots   int
	draws   []draw
	steps   []step
	writes  int // how many of its steps write
}

// draw picks a value at the journey's start.
type draw struct {
	slot int
	list []string
	from service.Values // of a pattern too long to be written out
}

type step struct {
	journey *journey
	line    int
	request *http.Request // what reading an answer needs to know of its request
	path    template
	headers template // whole lines
	body    template
	sends   bool // it has a body
	expect  int
	refused []int
	keep    []keep
	once    bool
	until   time.Duration
	write   *write
	cancels *write // the write that this request takes back
}

type keep struct {
	slot int
	name string
	path string // of gjson
}

// write is how a step's write is found again.
type write struct {
	journey *journey
	index   int // among the journey's writes
	key     template
	find    string
	all     string
	fields  []field
	varying int // how many of the fields differ from write to write
}

// field is a column and what was sent for it.
type field struct {
	column string
	fixed  sent     // when neither of the others is set
	value  template // "{sku}"
	raw    bool     // value is JSON and not a text
	path   string   // of gjson, in the acknowledgement
}

func (f *field) varies() bool { return f.value != nil || f.path != "" }

// patternLimit is how long a pattern is written out in memory.
const patternLimit = 100_000

func newProgram(s *service.Service, dependant bool) (*program, error) {
	p := &program{service: s}
	if dependant {
		p.label = s.Name
	}
	for _, j := range s.Journeys {
		for _, r := range j.Steps {
			for _, k := range r.Keep {
				if r.Once && !slices.Contains(p.kept, k.Name) {
					p.kept = append(p.kept, k.Name)
				}
			}
		}
	}
	p.journeys = make([]journey, len(s.Journeys))
	lists := map[string][]string{}
	for i := range s.Journeys {
		if err := p.compile(&p.journeys[i], s.Journeys[i], lists); err != nil {
			return nil, err
		}
		p.heaviest += p.journeys[i].weight
	}
	if p.heaviest <= 0 {
		return nil, fmt.Errorf("%s: no journey has a weight", s.Path)
	}
	return p, nil
}

// compiler is what is known while one journey is compiled.
type compiler struct {
	program *program
	journey *journey
	slots   map[string]int // names that have a value by now
	next    int
	lists   map[string][]string // of the service's values, shared by its journeys
}

func (p *program) compile(j *journey, from service.Journey, lists map[string][]string) error {
	*j = journey{program: p, name: from.Name, weight: max(from.Weight, 0), steps: make([]step, len(from.Steps))}
	c := &compiler{program: p, journey: j, slots: map[string]int{"user": slotUser, "uuid": slotUUID}, next: slotKept + len(p.kept), lists: lists}
	if len(from.Steps) == 0 {
		return fmt.Errorf("%s: journey %s has no request", p.service.Path, from.Name)
	}
	for i := range from.Steps {
		if err := c.step(&j.steps[i], from.Steps[i]); err != nil {
			return fmt.Errorf("%s:%d: journey %s: %s %s: %w", p.service.Path, from.Steps[i].Line, from.Name, from.Steps[i].Method, from.Steps[i].Path, err)
		}
	}
	j.slots = c.next
	return nil
}

// slot is the place of a name's value: one that is known already, or one of the service's values, drawn at the start.
func (c *compiler) slot(name string) (int, error) {
	if n, ok := c.slots[name]; ok {
		return n, nil
	}
	v, ok := c.program.service.Values[name]
	if !ok {
		known := make([]string, 0, len(c.slots))
		for k := range c.slots {
			known = append(known, k)
		}
		for k := range c.program.service.Values {
			known = append(known, k)
		}
		slices.Sort(known)
		return 0, fmt.Errorf("{%s} has no value here; those that have: %s", name, strings.Join(slices.Compact(known), ", "))
	}
	list := v.List
	if v.Pattern != "" && v.To >= v.From && v.To-v.From < patternLimit {
		if c.lists[name] == nil {
			for n := v.From; n <= v.To; n++ {
				c.lists[name] = append(c.lists[name], fmt.Sprintf(v.Pattern, n))
			}
		}
		list = c.lists[name]
	}
	if len(list) == 0 && (v.Pattern == "" || v.To < v.From) {
		return 0, fmt.Errorf("values: %s is empty", name)
	}
	n := c.next
	c.next++
	c.slots[name] = n
	c.journey.draws = append(c.journey.draws, draw{slot: n, list: list, from: v})
	return n, nil
}

func (d *draw) pick(r *rand.Rand) string {
	if len(d.list) > 0 {
		return d.list[r.IntN(len(d.list))]
	}
	return fmt.Sprintf(d.from.Pattern, d.from.From+r.IntN(d.from.To-d.from.From+1))
}

func (c *compiler) step(s *step, from service.Request) (err error) {
	*s = step{
		journey: c.journey, line: from.Line, request: &http.Request{Method: from.Method},
		expect: from.Expect, refused: from.Refused, once: from.Once, until: from.Until,
	}
	if s.path, err = compile(from.Path, path, c.slot); err != nil {
		return err
	}
	if err := c.headers(s, from); err != nil {
		return err
	}
	if err := c.body(s, from); err != nil {
		return err
	}
	if from.Until > 0 && (from.Write != nil || from.Cancel != "") {
		return fmt.Errorf("a request that writes is sent once: it cannot have until")
	}
	if from.Write != nil {
		if s.write, err = c.write(from.Write); err != nil {
			return err
		}
	}
	if from.Cancel != "" {
		if s.cancels, err = c.cancelled(from.Cancel); err != nil {
			return err
		}
	}
	// What it keeps has a value from here on.
	for _, k := range from.Keep {
		path, ok := jsonPath(k.Path)
		if !ok {
			return fmt.Errorf("keep %s: expected a path such as $.token, found %q", k.Name, k.Path)
		}
		n, known := c.slots[k.Name]
		if i := slices.Index(c.program.kept, k.Name); i >= 0 {
			n = slotKept + i
		} else if !known {
			n = c.next
			c.next++
		}
		c.slots[k.Name] = n
		s.keep = append(s.keep, keep{slot: n, name: k.Name, path: path})
	}
	if s.once && len(s.keep) == 0 {
		return fmt.Errorf("once: it keeps no value, so nobody could tell whether a user has done it")
	}
	return nil
}

func (c *compiler) headers(s *step, from service.Request) error {
	names := make([]string, 0, len(from.Headers))
	for name := range from.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, err := compile(from.Headers[name], header, c.slot)
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		s.headers = append(s.headers, piece{text: http.CanonicalHeaderKey(name) + ": "})
		s.headers = append(append(s.headers, value...), piece{text: "\r\n"})
	}
	return nil
}

func (c *compiler) body(s *step, from service.Request) error {
	if from.Body == nil || from.Method == http.MethodGet || from.Method == http.MethodHead {
		return nil
	}
	text, err := encode(from.Body)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if s.body, err = compile(text, quoted, c.slot); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	s.sends = true
	if !slices.ContainsFunc(s.headers, func(p piece) bool { return p.text == "Content-Type: " }) {
		s.headers = append(s.headers, piece{text: "Content-Type: application/json\r\n"})
	}
	return nil
}

func (c *compiler) write(from *service.Write) (*write, error) {
	w := &write{journey: c.journey, index: c.journey.writes, find: from.Find, all: from.All}
	c.journey.writes++
	var err error
	if w.key, err = compile(from.Key, plain, c.slot); err != nil {
		return nil, fmt.Errorf("key of the write: %w", err)
	}
	columns := make([]string, 0, len(from.Payload))
	for column := range from.Payload {
		columns = append(columns, column)
	}
	slices.Sort(columns)
	for _, column := range columns {
		f := field{column: column}
		if err := c.field(&f, from.Payload[column]); err != nil {
			return nil, fmt.Errorf("payload %s: %w", column, err)
		}
		if f.varies() {
			w.varying++
		}
		w.fields = append(w.fields, f)
	}
	return w, nil
}

func (c *compiler) field(f *field, v any) error {
	if text, ok := v.(string); ok {
		if path, ok := jsonPath(text); ok {
			f.path = path
			return nil
		}
		t, err := compile(text, plain, c.slot)
		if err != nil {
			return err
		}
		if fixed, ok := t.fixed(); ok {
			f.fixed = sentText(fixed)
		} else {
			f.value = t
		}
		return nil
	}
	text, err := encode(v)
	if err != nil {
		return err
	}
	t, err := compile(text, quoted, c.slot)
	if err != nil {
		return err
	}
	if fixed, ok := t.fixed(); ok {
		f.fixed = sentJSON(fixed)
	} else {
		f.value, f.raw = t, true
	}
	return nil
}

// cancelled is the write of this journey that has the key.
func (c *compiler) cancelled(key string) (*write, error) {
	t, err := compile(key, plain, c.slot)
	if err != nil {
		return nil, fmt.Errorf("cancel: %w", err)
	}
	for i := len(c.journey.steps) - 1; i >= 0; i-- {
		if w := c.journey.steps[i].write; w != nil && slices.Equal(w.key, t) {
			return w, nil
		}
	}
	return nil, fmt.Errorf("cancel: no earlier request of the journey writes the key %q", key)
}

// append adds the request to b. scratch takes its body.
func (s *step) append(b, scratch []byte, c *client, values []string, traceparent []byte, fresh bool) (request, body []byte) {
	b = append(b, s.request.Method...)
	b = append(b, ' ')
	b = append(b, c.prefix...)
	b = s.path.append(b, values)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, c.host...)
	b = append(b, "\r\nUser-Agent: backout\r\nAccept: application/json\r\n"...)
	b = s.headers.append(b, values)
	if len(traceparent) > 0 {
		b = append(b, "Traceparent: "...)
		b = append(b, traceparent...)
		b = append(b, "\r\n"...)
	}
	if fresh {
		b = append(b, "Connection: close\r\n"...)
	}
	body = scratch[:0]
	if s.sends {
		body = s.body.append(body, values)
	}
	if s.sends || s.request.Method != http.MethodGet && s.request.Method != http.MethodHead {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, body...), body
}
