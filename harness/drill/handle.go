package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// Orders that people give a running drill.
const (
	Pause   = "pause"   // hold it before the next step of the plan or the next phase; traffic and probes go on
	Resume  = "resume"  // let it go on
	Approve = "approve" // let the step run that asks for approval
	Abort   = "abort"   // end it now: what runs is stopped, everything is removed, the verdict is inconclusive
	Accept  = "accept"  // take over the incident that is handed over; the receiver alone can
	Refuse  = "refuse"  // not take it over, with a reason
)

// OrderNames are all orders, in the order in which people see them.
func OrderNames() []string { return []string{Resume, Pause, Abort, Approve, Accept, Refuse} }

// Order is one order, who gives it, and why.
type Order struct {
	Name string `json:"order"` // Pause, Resume, Approve, Abort, Accept or Refuse
	By   string `json:"by"`
	Why  string `json:"why,omitempty"` // an abort and a refusal need it
	// Of an answer: the nonce of the question that it answers, so that no other one is taken for answered. Empty: what is asked now.
	Nonce string `json:"nonce,omitempty"`
	// An answer that certain people alone may give proves who gives it, by one of these.
	Token     string `json:"token,omitempty"`
	Signature []byte `json:"signature,omitempty"` // of Asked.Challenge, by the person's SSH key
}

// Handle is the one way to steer a running drill, for the terminal and the live page alike. Every order that is carried out
// is evidence. Its methods are safe for concurrent use.
type Handle struct {
	mu      sync.Mutex
	put     func(evidence.Kind) // nil until the log is open
	end     func(error)
	clean   func(string) string // takes secrets out of what people write
	tell    func(text string)   // tells people on the terminal that the drill waits for them
	aborts  string              // what an abort says of itself; empty: as of a drill
	typed   bool                // a name that is typed is believed: of a replay, which nobody judges
	over    bool
	paused  *Order
	waits   string // where it is held; empty: it runs
	asked   *question
	handed  *question // the handoff
	aborted *Order
	took    time.Duration             // that people have taken until now
	known   map[string]service.Person // who can prove who they are; see identify
	starter string                    // who started the rollback, and has proved it; empty: nobody known
	changed chan struct{}             // closed at every change, and made anew
}

// State is what a drill's handle says of it.
type State struct {
	Paused *Order `json:"paused,omitempty"` // the order that is in force
	Waits  string `json:"waits,omitempty"`  // before what it is held; empty while it runs on to the next place where it can
	Asks   string `json:"asks,omitempty"`   // what waits for approval
	Hands  string `json:"hands,omitempty"`  // to whom the incident is handed over, who has not answered
	Asked  Asked  `json:"asked,omitzero"`   // either of them, as it is answered
	Over   bool   `json:"over,omitempty"`
	// Cannot says of each order that cannot be given now why that is.
	Cannot map[string]string `json:"cannot"`
}

func newHandle(end func(error), tell func(text string)) *Handle {
	return &Handle{end: end, tell: tell, changed: make(chan struct{})}
}

// begin lets orders be given: from now on they can be written down.
func (h *Handle) begin(put func(evidence.Kind), clean func(string) string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put, h.clean = put, clean
}

// finish refuses all orders from now on.
func (h *Handle) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.change()
}

// change wakes who waits. The caller holds the lock.
func (h *Handle) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// State is what can be ordered now.
func (h *Handle) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := State{Waits: h.waits, Over: h.over, Cannot: map[string]string{}}
	if h.paused != nil {
		o := *h.paused
		s.Paused = &o
	}
	if h.asked != nil {
		s.Asks = h.asked.For
	}
	if h.handed != nil {
		s.Hands = h.handed.By
	}
	if q := h.waiting(); q != nil {
		s.Asked = q.Asked
	}
	for _, name := range OrderNames() {
		if why := h.cannot(name); why != "" {
			s.Cannot[name] = why
		}
	}
	return s
}

// cannot says why an order makes no sense now; empty: it does. The caller holds the lock.
func (h *Handle) cannot(name string) string {
	switch {
	case h.put == nil:
		return "the drill has not begun"
	case h.over:
		return "the drill is over"
	case h.aborted != nil:
		return "it was aborted by " + h.aborted.By
	case name == Pause && h.paused != nil:
		return "it is paused already, by " + h.paused.By
	case name == Resume && h.paused == nil:
		return "nothing is paused"
	case name == Approve && h.asked == nil:
		return "nothing waits for approval"
	case (name == Accept || name == Refuse) && h.handed == nil:
		return "nothing is handed over"
	}
	return ""
}

// Do carries an order out and says what that means. The error says what was expected.
func (h *Handle) Do(o Order) (said string, err error) { return h.do(o, false) }

// do carries an order out; proven: an answer must prove who gives it, whatever the question wants.
func (h *Handle) do(o Order, proven bool) (said string, err error) {
	o.By, o.Why = oneWord(o.By, 80), oneWord(o.Why, 500)
	if o.By == "" {
		return "", fmt.Errorf("%s: expected the name of who orders it, found none", o.Name)
	}
	if o.By == evidence.Harness {
		return "", fmt.Errorf("%s: expected the name of a person, found %q, which stands for the harness itself", o.Name, o.By)
	}
	if o.Name == Abort && o.Why == "" {
		return "", errors.New("abort: expected a reason, since the verdict will name it, found none")
	}
	if o.Name == Refuse && o.Why == "" {
		return "", errors.New("refuse: expected a reason, since whoever handed it over must know what is missing, found none")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := false
	for _, name := range OrderNames() {
		known = known || name == o.Name
	}
	if !known {
		return "", fmt.Errorf("expected one of %s, found %q", strings.Join(OrderNames(), ", "), o.Name)
	}
	if why := h.cannot(o.Name); why != "" {
		return "", fmt.Errorf("cannot %s: %s", o.Name, why)
	}
	o.By, o.Why = h.clean(o.By), h.clean(o.Why)
	e := &evidence.Approval{By: o.By, Why: o.Why}
	switch o.Name {
	case Pause:
		h.paused = &o
		e.Event = evidence.ApprovalPaused
		said = "paused: it is held before the next step of the plan or the next phase; what runs now runs to its end"
		if h.asked != nil {
			said = "paused: it is held when the step is approved for which it waits"
		}
	case Resume:
		h.paused = nil
		e.Event = evidence.ApprovalResumed
		said = "resumed"
		if h.waits != "" {
			e.For = h.waits
			said += ": " + h.waits
		}
	case Approve, Accept, Refuse:
		return h.take(o, proven)
	case Abort:
		h.aborted = &o
		e.Event = evidence.ApprovalAborted
		said = cmp.Or(h.aborts, "aborted: what runs is stopped and everything is removed; the verdict is inconclusive")
		h.put(e)
		h.end(fmt.Errorf("aborted by %s: %s", o.By, o.Why))
		h.change()
		return said, nil
	}
	h.put(e)
	h.change()
	return said, nil
}

// hold keeps the drill here as long as it is paused.
func (h *Handle) hold(ctx context.Context, before string) error {
	var since time.Time
	for {
		h.mu.Lock()
		switch {
		case h.aborted != nil:
			defer h.mu.Unlock()
			return fmt.Errorf("aborted by %s before %s: %s", h.aborted.By, before, h.aborted.Why)
		case h.paused == nil && since.IsZero():
			h.mu.Unlock()
			return nil
		case h.paused == nil:
			h.waits = ""
			took := time.Since(since)
			h.took += took
			h.put(&evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalGoesOn, For: before, Seconds: took.Seconds()})
			h.mu.Unlock()
			return nil
		case since.IsZero():
			since = time.Now()
			h.waits = before
			h.put(&evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalWaits, For: before})
			h.tell(fmt.Sprintf("paused before %s, by %s: backout resume", before, h.paused.By))
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// ask waits until a person approves. The error is an *rollback.Unapproved when nobody does in time.
func (h *Handle) ask(ctx context.Context, asked rollback.Question) error {
	h.mu.Lock()
	since := time.Now()
	q := h.newQuestion(asked, "", Approve)
	h.asked = q
	e := evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalAsked, For: q.For, Seconds: asked.Within.Seconds()}
	if q.Two {
		e.Why = "a second person approves it: another than who started it, and both have proved who they are"
	}
	h.put(&e)
	h.change()
	how := "backout approve"
	if q.Two {
		how = "backout approve --by NAME --key FILE"
	}
	h.tell(fmt.Sprintf("waiting for approval, at most %s, of %s: %s", asked.Within, q.For, how))
	h.mu.Unlock()
	limit := time.NewTimer(asked.Within)
	defer limit.Stop()
	for {
		h.mu.Lock()
		answer, proof, aborted, changed := q.answer, q.proof, h.aborted, h.changed
		h.mu.Unlock()
		e := evidence.Approval{For: q.For}
		var err error
		switch {
		case answer != nil:
			e.By, e.Event, e.Why, e.Proof = answer.By, evidence.ApprovalApproved, answer.Why, proof
		case aborted != nil:
			e.By, e.Event, e.Why = aborted.By, evidence.ApprovalRefused, aborted.Why
			err = &rollback.Unapproved{Why: fmt.Sprintf("refused by %s: %s", aborted.By, aborted.Why)}
		default:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				if h.abortedBy() != nil {
					continue
				}
				h.answered(q, 0, nil)
				return context.Cause(ctx)
			case <-limit.C:
			}
			e.By, e.Event = evidence.Harness, evidence.ApprovalExpired
			if q.goesOn {
				e.Why = "the plan goes on without"
			} else {
				err = &rollback.Unapproved{Why: fmt.Sprintf("nobody approved it within %s", asked.Within)}
			}
		}
		return h.answered(q, time.Since(since), func() error {
			if e.Event == evidence.ApprovalExpired && q.answer != nil { // in the last instant
				e.By, e.Event, e.Why, e.Proof, err = q.answer.By, evidence.ApprovalApproved, q.answer.Why, q.proof, nil
			}
			e.Seconds = time.Since(since).Seconds()
			h.put(&e)
			return err
		})
	}
}

// identify says who can prove who they are, and who has started the rollback.
func (h *Handle) identify(people map[string]service.Person, starter string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.starter = people, starter
}

// answered ends a question; end says under the lock how.
func (h *Handle) answered(q *question, took time.Duration, end func() error) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end != nil {
		err = end()
	}
	if h.asked == q {
		h.asked = nil
	}
	h.took += took
	h.change()
	return err
}

// abortedBy is the order that aborted the drill; nil: none did.
func (h *Handle) abortedBy() *Order {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.aborted
}

// people is how long people have kept the drill waiting until now.
func (h *Handle) people() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.took
}

// oneWord is a text on one line, without what a terminal would take for an order, of at most so many letters.
func oneWord(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
	}
	return s
}
