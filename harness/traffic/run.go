package traffic

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
)

const (
	freshOne   = 5 // one request in so many uses a new connection, or stale endpoints stay hidden
	errorLimit = 200

	// A request with "until" is tried again after these pauses, so that a replica that hangs is not drowned.
	pauseFirst = 5 * time.Millisecond
	pauseMost  = 100 * time.Millisecond
)

// call is one journey that is to be run.
type call struct {
	at      time.Time // when it was scheduled
	journey *journey
	user    *user
	client  *client
	seed    [2]uint64
	kept    []string // values to use in place of the user's; requests made once a user are then left out
	quiet   bool     // neither in the log nor in the ledger
}

// A worker runs one journey at a time and keeps what makes that cheap.
type worker struct {
	t       *Traffic
	pcg     rand.PCG
	random  *rand.Rand
	values  []string
	used    []string // the kept values that this journey came with
	entries []*entry // of this journey's writes
	request []byte
	scratch []byte
	body    []byte
	parent  []byte // traceparent
	serves  map[serve]evidence.Serve
	singles map[evidence.Serve][]evidence.Serve
	served  []evidence.Serve
}

func newWorker(t *Traffic) *worker {
	w := &worker{t: t, body: make([]byte, 0, 4096), serves: map[serve]evidence.Serve{}, singles: map[evidence.Serve][]evidence.Serve{}}
	w.random = rand.New(&w.pcg)
	return w
}

// run runs a journey to its end and says how it went.
func (w *worker) run(c *call) *evidence.Journey {
	j := c.journey
	w.begin(c)
	out := &evidence.Journey{Name: j.name, Service: j.program.label, User: c.user.number, At: w.t.log.At(c.at), Outcome: evidence.OK}
	span, linked := w.trace(out)

	var acked time.Time // the last acknowledgement of a write
	for i := range j.steps {
		s := &j.steps[i]
		if s.once && (c.kept != nil || w.has(s.keep)) {
			continue
		}
		began := time.Now()
		a, err := w.send(c, s, out.Trace, began)
		now := time.Now()
		switch {
		case err != nil:
		case s.write != nil:
			acked = now
		case s.until > 0 && !acked.IsZero():
			began = acked
		}
		if err == nil && s.until > 0 {
			out.Visible = ms(now.Sub(began))
		}
		if err != nil {
			out.Outcome, out.Step, out.Status, out.Error, out.Blame = evidence.Failed, i+1, a.status, w.clean(err.Error()), w.serve(a.serve)
			if a.status == http.StatusUnauthorized && c.kept == nil {
				c.user.forget(w.used)
			}
			break
		}
		if s.once {
			c.user.remember(w.t.log.At(now), s.keep, w.values)
			copy(w.used, w.values[slotKept:slotKept+len(w.used)])
		}
	}
	out.MS = ms(time.Since(c.at))
	out.Served = w.allServed()
	if span != nil {
		w.end(span, linked, out)
	}
	return out
}

// begin sets the journey's values from its seed alone, so that the same seed gives the same journey whoever runs it.
func (w *worker) begin(c *call) {
	j := c.journey
	w.pcg.Seed(c.seed[0], c.seed[1])
	w.values = slices.Grow(w.values[:0], j.slots)[:j.slots]
	clear(w.values)
	w.values[slotUser] = c.user.text
	w.values[slotUUID] = w.uuid()
	kept := w.values[slotKept : slotKept+len(j.program.kept)]
	if c.kept != nil {
		copy(kept, c.kept)
	} else {
		c.user.recall(kept)
	}
	w.used = append(w.used[:0], kept...)
	for i := range j.draws {
		w.values[j.draws[i].slot] = j.draws[i].pick(w.random)
	}
	w.entries = slices.Grow(w.entries[:0], j.writes)[:j.writes]
	clear(w.entries)
	w.served = w.served[:0]
}

// uuid is a random UUID, version 4 (RFC 9562), of the journey's seed.
func (w *worker) uuid() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.pcg.Uint64())
	binary.BigEndian.PutUint64(b[8:], w.pcg.Uint64())
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func (w *worker) has(keeps []keep) bool {
	for _, k := range keeps {
		if w.values[k.slot] == "" {
			return false
		}
	}
	return true
}

// send makes the request of a step, its writes noted and settled, and takes from the answer what the step keeps.
// The error says why the step did not succeed.
func (w *worker) send(c *call, s *step, trace string, began time.Time) (answer, error) {
	key := w.invoke(c, s, trace)
	var a answer
	var err error
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		fresh := w.pcg.Uint64()%freshOne == 0
		w.request, w.scratch = s.append(w.request[:0], w.scratch, c.client, w.values, w.parent, fresh)
		a, err = c.client.do(s.request, w.request, fresh, w.body)
		w.body = a.body[:0]
		w.see(a.serve)
		if err == nil && a.status != s.expect {
			err = errStatus
		}
		// Only an answer that says "not yet" is worth another try; a user who gets an error has got an error.
		if err != errStatus || s.until == 0 || a.status >= 500 || a.status == http.StatusUnauthorized ||
			time.Since(began)+pause > s.until || !c.client.pause(pause) {
			break
		}
	}
	switch err {
	case nil:
		err = w.keep(s, a)
	case errStatus:
		err = fmt.Errorf("expected %d, found %d%s", s.expect, a.status, excerpt(a.body))
	}
	err = errors.Join(err, w.settle(c, s, key, trace, a)) // nil unless one of them is an error
	if err != nil {
		return a, fmt.Errorf("%s %s: %w", s.request.Method, s.path.append(nil, w.values), err)
	}
	return a, nil
}

var errStatus = errors.New("another status than expected")

// keep takes values from an answer.
func (w *worker) keep(s *step, a answer) error {
	for _, k := range s.keep {
		v := gjson.GetBytes(a.body, k.path).String()
		if v == "" {
			return fmt.Errorf("the answer holds no %s%s", k.name, excerpt(a.body))
		}
		w.values[k.slot] = v
	}
	return nil
}

// invoke notes the write or cancellation of a step before its request is sent, and gives its key.
func (w *worker) invoke(c *call, s *step, trace string) (key string) {
	if s.write == nil && s.cancels == nil {
		return ""
	}
	if s.write != nil {
		key = s.write.key.string(w.values)
	} else {
		key = s.cancels.key.string(w.values)
	}
	switch {
	case c.quiet:
		w.t.ledger.know(key)
		return key
	case s.journey.program.label != "":
		return key
	case s.write != nil:
		w.entries[s.write.index] = w.t.ledger.invoke(s.write, key, s.write.sent(w.values))
	default:
		if e := w.entries[s.cancels.index]; e != nil {
			w.t.ledger.cancel(e, pending)
		}
	}
	w.t.log.Put(&evidence.Write{Key: key, Journey: s.journey.name, Event: evidence.Invoked, Cancels: s.cancels != nil, Trace: trace})
	return key
}

// settle notes how a write or a cancellation ended. Its own request decides: what the journey does afterwards changes
// nothing of it.
func (w *worker) settle(c *call, s *step, key, trace string, a answer) error {
	if s.write == nil && s.cancels == nil || c.quiet || s.journey.program.label != "" {
		return nil
	}
	var state state
	switch {
	case a.status == s.expect && a.complete:
		state = acknowledged
	case a.complete && slices.Contains(s.refused, a.status):
		state = refused
	default:
		state = unknown
	}
	var err error
	if s.write != nil {
		var fields map[int]string
		if state == acknowledged {
			fields, err = s.write.acknowledged(a.body)
		}
		w.t.ledger.settle(w.entries[s.write.index], state, fields)
	} else if e := w.entries[s.cancels.index]; e != nil {
		w.t.ledger.cancel(e, state)
	}
	w.t.log.Put(&evidence.Write{Key: key, Journey: s.journey.name, Event: state.event(), Cancels: s.cancels != nil, Status: a.status, Trace: trace})
	return err
}

// sent is what varies of a write's payload, as far as it is known before the answer.
func (w *write) sent(values []string) []string {
	if w.varying == 0 {
		return nil
	}
	sent := make([]string, 0, w.varying)
	for i := range w.fields {
		switch f := &w.fields[i]; {
		case f.value != nil:
			sent = append(sent, f.value.string(values))
		case f.path != "":
			sent = append(sent, "")
		}
	}
	return sent
}

// acknowledged is what the acknowledgement says of the payload, by the place of the varying field.
func (w *write) acknowledged(body []byte) (fields map[int]string, err error) {
	n := 0
	for i := range w.fields {
		f := &w.fields[i]
		if f.path != "" {
			r := gjson.GetBytes(body, f.path)
			if !r.Exists() {
				err = fmt.Errorf("the acknowledgement does not say %s%s", f.column, excerpt(body))
			} else {
				if fields == nil {
					fields = make(map[int]string, 1)
				}
				fields[n] = strings.Clone(r.Raw)
			}
		}
		if f.varies() {
			n++
		}
	}
	return fields, err
}

// see notes who answered.
func (w *worker) see(s serve) {
	if v := w.serve(s); v != "" && !slices.Contains(w.served, v) {
		w.served = append(w.served, v)
	}
}

// serve is "instance@release"; empty when the answer names neither.
func (w *worker) serve(s serve) evidence.Serve {
	if s == (serve{}) {
		return ""
	}
	v, ok := w.serves[s]
	if !ok {
		v = evidence.Serve(s.instance + "@" + s.release)
		w.serves[s] = v
	}
	return v
}

// allServed is who answered in this journey. Most journeys are served by one and share its list.
func (w *worker) allServed() []evidence.Serve {
	if len(w.served) != 1 {
		return slices.Clone(w.served)
	}
	one := w.singles[w.served[0]]
	if one == nil {
		one = slices.Clone(w.served)
		w.singles[one[0]] = one
	}
	return one
}

// trace begins the journey's span, or makes ids of its own when there is no tracer, and sets what requests carry.
func (w *worker) trace(out *evidence.Journey) (span trace.Span, linked trace.SpanContext) {
	var id trace.TraceID
	var parent trace.SpanID
	flags := trace.FlagsSampled
	if w.t.tracer != nil {
		linked = w.t.step()
		o := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}
		if linked.IsValid() {
			o = append(o, trace.WithLinks(trace.Link{SpanContext: linked}))
		}
		_, span = w.t.tracer.Start(context.Background(), "journey "+out.Name, o...)
		if sc := span.SpanContext(); sc.IsValid() {
			id, parent, flags = sc.TraceID(), sc.SpanID(), sc.TraceFlags()
		}
	}
	if !id.IsValid() {
		// Not of the drill's seed: two runs with the same seed must not share their traces.
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1)
		binary.BigEndian.PutUint64(parent[:], rand.Uint64()|1)
	}
	b := append(w.parent[:0], "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, parent[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{byte(flags)})
	w.parent = b
	out.Trace = string(b[3:35])
	return span, linked
}

// end ends the journey's span, linked to the step that began meanwhile.
func (w *worker) end(span trace.Span, linked trace.SpanContext, out *evidence.Journey) {
	if now := w.t.step(); now.IsValid() && !now.Equal(linked) {
		span.AddLink(trace.Link{SpanContext: now})
	}
	if span.IsRecording() {
		served := make([]string, len(out.Served))
		for i, s := range out.Served {
			served[i] = string(s)
		}
		span.SetAttributes(attribute.Int("backout.user", out.User), attribute.String("backout.outcome", out.Outcome),
			attribute.StringSlice("backout.served", served))
		if out.Outcome != evidence.OK {
			span.SetStatus(codes.Error, out.Error)
		}
	}
	span.End()
}

// clean makes an error fit for evidence: no secrets, none of the user's kept values, one line, at most 200 bytes.
func (w *worker) clean(s string) string {
	for _, v := range w.values[slotKept : slotKept+len(w.used)] {
		if len(v) >= 16 {
			s = strings.ReplaceAll(s, v, "[kept]")
		}
	}
	return shorten(w.t.log.Clean(strings.Join(strings.Fields(s), " ")), errorLimit)
}

// shorten cuts a text to so many bytes, between characters.
func shorten(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= limit {
		return s
	}
	cut := limit - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// excerpt is the begin of a body, for an error.
func excerpt(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	return ": " + string(body[:min(len(body), 1000)])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
