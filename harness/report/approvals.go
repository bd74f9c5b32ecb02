package report

import (
	"backout/harness/evidence"
)

// approval is an order or a decision in words. Who gave it stands before the first colon.
func approval(a *evidence.Approval) (w words) {
	w.add("%s: %s", a.By, a.Event)
	w.maybe(a.For)
	switch {
	case a.Seconds > 0 && a.Event == evidence.ApprovalAsked:
		w.add("expires after %s", seconds(a.Seconds))
	case a.Seconds > 0:
		w.add("after %s", seconds(a.Seconds))
	}
	if a.Proof != "" {
		w.add("proven by a %s", a.Proof)
	}
	w.maybe(a.Why)
	return w
}
