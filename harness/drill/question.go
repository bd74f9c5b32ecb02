package drill

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"backout/harness/evidence"
	"backout/harness/rollback"
)

// Asked is what people are asked now, as a terminal, a file and a hook have it.
type Asked struct {
	For    string    `json:"for"`             // "step 2: the old code", "the handoff to ada"
	Orders []string  `json:"orders"`          // each of them answers it
	By     string    `json:"by,omitempty"`    // who alone may answer; empty: whoever may approve
	Two    bool      `json:"two,omitempty"`   // who answers must prove who it is, and be another than who started it
	Until  time.Time `json:"until"`           // nobody is waited for any longer
	Nonce  string    `json:"nonce,omitempty"` // of this question alone; empty: nothing is asked
}

// Challenge is what a person signs who answers. It holds what the person was shown, so that nobody can have something else
// signed by showing another text.
func (a Asked) Challenge(order, by string) string {
	return "backout " + order + " v1\nof " + a.For + "\nquestion " + a.Nonce + "\nby " + by + "\n"
}

// Sign signs an answer with a person's key. Which bytes of the key are random does not matter to anybody.
func (a Asked) Sign(key ssh.Signer, order, by string) ([]byte, error) {
	s, err := key.Sign(rand.Reader, []byte(a.Challenge(order, by)))
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", by, err)
	}
	return ssh.Marshal(s), nil
}

// question is what waits for an answer of people.
type question struct {
	Asked
	goesOn bool   // nobody's word is taken for yes
	answer *Order // nil: none yet
	proof  string // by what the answer's By has proved who that is
}

// newQuestion is one that waits from now on. What it is about is shown, signed and written: one line, without secrets.
func (h *Handle) newQuestion(q rollback.Question, by string, orders ...string) *question {
	return &question{goesOn: q.GoesOn, Asked: Asked{
		For: oneWord(h.clean(q.For), 500), Orders: orders, By: by, Two: q.Two, Until: time.Now().Add(q.Within), Nonce: rand.Text(),
	}}
}

// waiting is the question that waits now; nil: none does. The caller holds the lock.
func (h *Handle) waiting() *question {
	if h.handed != nil {
		return h.handed
	}
	return h.asked
}

// take takes an answer to the question that waits. proven: it must be proven who gives it, also where the question does not
// want that. The one who asked writes the answer down, with the time that it took; here is written who may not give it. The
// caller holds the lock.
func (h *Handle) take(o Order, proven bool) (said string, err error) {
	q := h.waiting()
	proof := ""
	if who, known := h.known[o.By]; known {
		switch {
		case who.Gave(o.Token):
			proof = evidence.ProofToken
		case who.Signed(q.Challenge(o.Name, o.By), o.Signature):
			proof = evidence.ProofKey
		}
	}
	if why := h.mayNot(q, o, proof, proven); why != "" {
		h.put(&evidence.Approval{By: o.By, Event: evidence.ApprovalRejected, For: q.For, Why: why})
		return "", fmt.Errorf("cannot %s %s: %s", o.Name, q.For, why)
	}
	q.answer, q.proof = &o, proof
	h.change()
	switch o.Name {
	case Accept:
		return "accepted: the incident is yours, and resolved", nil
	case Refuse:
		return "refused: the incident is not resolved", nil
	}
	return "approved: " + q.For, nil
}

// mayNot says why somebody may not give an answer; empty: the person may. The caller holds the lock.
func (h *Handle) mayNot(q *question, o Order, proof string, proven bool) string {
	must := (proven || q.Two || q.By != "") && !h.typed
	_, known := h.known[o.By]
	switch {
	case o.Nonce != "" && o.Nonce != q.Nonce:
		return "it answers another question than the one that is asked now"
	case q.Two && h.starter == "":
		return "who started it has not proved who it is, so nobody is a second person: start it with --by NAME --key FILE"
	case q.By != "" && o.By != q.By:
		return fmt.Sprintf("%s alone may answer, found %s", q.By, o.By)
	case must && !known:
		return fmt.Sprintf("%s is not among the people of service.yaml (%s)", o.By, strings.Join(slices.Sorted(maps.Keys(h.known)), ", "))
	case must && proof == "":
		return fmt.Sprintf("it does not prove that it comes from %s: expected a signature by the person's key, or the token", o.By)
	case q.Two && o.By == h.starter:
		return o.By + " started it: a second person must approve"
	}
	return ""
}
