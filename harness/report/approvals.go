package report

import (
	"backout/harness/evidence"
)

// approval is an order or a decision in words.
func approval(a *evidence.Approval) (w words) {
	switch a.Event {
	case evidence.ApprovalAsked:
		w.add("asked for approval of %s", a.For)
		if a.Seconds > 0 {
			w.add("which expires after %s", seconds(a.Seconds))
		}
	case evidence.ApprovalExpired:
		w.add("nobody approved %s in %s", a.For, seconds(a.Seconds))
	case evidence.ApprovalWaits:
		w.add("paused before %s", a.For)
	case evidence.ApprovalGoesOn:
		w.add("goes on with %s after a pause of %s", a.For, seconds(a.Seconds))
	case evidence.ApprovalPaused:
		w.add("%s ordered a pause", a.By)
	default:
		w.add("%s: %s", a.By, a.Event)
		w.maybe(a.For)
		if a.Seconds > 0 {
			w.add("after %s", seconds(a.Seconds))
		}
	}
	w.maybe(a.Why)
	return w
}
