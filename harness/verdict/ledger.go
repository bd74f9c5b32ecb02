package verdict

import (
	"crypto/sha256"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// ledger is every write and what became of it: 16 bytes a write besides its key. Keys are kept as 16 bytes: a UUID as
// it is, anything else as the first half of its SHA-256.
type ledger struct {
	place    map[[16]byte]int32
	writes   []write
	journeys names
	shapes   names    // the fields of transformed writes, "total, sku"
	examples []broken // of each fate that breaks something, the first few
	effects  map[string]*effect
}

type write struct {
	invoked, settled tick // settled 0: it never was
	journey          uint16
	shape            uint16 // which fields were transformed
	outcome          outcome
	cancel           outcome // of taking it back; none: nobody asked for that
	fate             fate
	cancelFate       fate
}

type outcome uint8

const (
	none outcome = iota
	invoked
	unsettled // unknown
	refused
	acknowledged
)

// fate of a write, the worse the greater.
type fate uint8

const (
	notChecked fate = iota
	kept
	absent
	transformed
	lost
	duplicated
	resurrected
	phantom
)

var fates = []string{"not checked", evidence.Kept, evidence.Absent, evidence.Transformed, evidence.Lost, evidence.Duplicated,
	evidence.Resurrected, evidence.Phantom}

// broken is one write that is not as it must be, as an example.
type broken struct {
	fate    fate
	key     string
	journey string
	fields  []string
	rows    int
	n       int64
}

// effect is what is known of writes whose effect did not happen as often as it should.
type effect struct {
	wrong    int
	ofLost   int // of them those that did not happen for a write that is lost itself
	examples []broken
}

const examplesEach = 20

func newLedger() ledger {
	return ledger{place: map[[16]byte]int32{}, effects: map[string]*effect{}}
}

func (l *ledger) write(key string) *write {
	k := compact(key)
	i, ok := l.place[k]
	if !ok {
		i = int32(len(l.writes))
		l.place[k] = i
		l.writes = append(l.writes, write{})
	}
	return &l.writes[i]
}

func compact(key string) (k [16]byte) {
	if len(key) == 36 && key[8] == '-' && key[13] == '-' && key[18] == '-' && key[23] == '-' {
		i, ok := 0, true
		for at := 0; at < 36 && ok; at += 2 {
			if key[at] == '-' {
				at++
			}
			high, okHigh := hex(key[at])
			low, okLow := hex(key[at+1])
			k[i], ok = high<<4|low, okHigh && okLow
			i++
		}
		if ok {
			return k
		}
	}
	sum := sha256.Sum256([]byte(key))
	copy(k[:], sum[:])
	return k
}

func hex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

func (f *Facts) addWrite(n int64, t tick, e *evidence.Write) {
	l := &f.ledger
	if e.Event == evidence.Audited {
		l.audited(n, e)
		return
	}
	w := l.write(e.Key)
	to := none
	switch e.Event {
	case evidence.Invoked:
		to = invoked
	case evidence.Acknowledged:
		to = acknowledged
	case evidence.Refused:
		to = refused
	case evidence.Unknown:
		to = unsettled
	}
	if e.Cancels {
		w.cancel = max(w.cancel, to)
		return
	}
	w.outcome = max(w.outcome, to)
	w.journey = l.journeys.of(e.Journey)
	if to == invoked {
		w.invoked = t
	} else {
		w.settled = max(w.settled, t)
	}
}

func (l *ledger) audited(n int64, e *evidence.Write) {
	is := notChecked
	for i, name := range fates {
		if name == e.Fate {
			is = fate(i)
		}
	}
	if e.Effect != "" {
		of := l.effects[e.Effect]
		if of == nil {
			of = &effect{}
			l.effects[strings.Clone(e.Effect)] = of
		}
		of.wrong++
		if i, is := l.place[compact(e.Key)]; is && e.Fate == evidence.Lost && l.writes[i].fate == lost {
			of.ofLost++
		}
		if len(of.examples) < examplesEach {
			of.examples = append(of.examples, broken{fate: is, key: strings.Clone(e.Key), journey: strings.Clone(e.Journey), rows: e.Rows, n: n})
		}
		return
	}
	for _, key := range e.Keys {
		l.write(key).judge(is, e.Cancels)
	}
	if e.Key == "" {
		return
	}
	w := l.write(e.Key)
	w.judge(is, e.Cancels)
	if w.journey == 0 {
		w.journey = l.journeys.of(e.Journey)
	}
	if is == transformed {
		w.shape = l.shapes.of(strings.Join(fieldNames(e.Fields), ", "))
	}
	if is >= transformed {
		same := 0
		for _, x := range l.examples {
			if x.fate == is {
				same++
			}
		}
		if same < examplesEach {
			x := broken{fate: is, key: strings.Clone(e.Key), journey: strings.Clone(e.Journey), rows: e.Rows, n: n}
			for _, field := range e.Fields {
				x.fields = append(x.fields, short(field))
			}
			l.examples = append(l.examples, x)
		}
	}
}

func (w *write) judge(is fate, cancels bool) {
	if cancels {
		w.cancelFate = max(w.cancelFate, is)
	} else {
		w.fate = max(w.fate, is)
	}
}

// fieldNames of "total: sent 10.00, found 0.00".
func fieldNames(fields []string) []string {
	var out []string
	for _, field := range fields {
		name, _, _ := strings.Cut(field, ":")
		out = append(out, strings.TrimSpace(name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// The windows of the ledger.
var windows = []string{"before", "bad", "during", "after"}

// window is the latest one that a write touches: of one that never settled the last.
func (f *Facts) window(w *write) int {
	for i, name := range []string{evidence.ClockCommandReturned, evidence.ClockStarted, evidence.ClockDeployBegun} {
		if t, ok := f.clock(name); ok && (w.settled == 0 || w.settled >= t) {
			return len(windows) - 1 - i
		}
	}
	return 0
}

// tally is what the ledger shows.
type tally struct {
	acknowledged, kept int64 // the share of acknowledged writes that are as they must be
	unchecked          int   // acknowledged, or taken back for certain, and not looked up
	lost, duplicated   int   // beyond any budget
	transformed        int   // beyond what the release declares
	budgets            []string
	overspent          []string
	allowed            []string // declared transformations that were seen
	undeclared         []string // transformations beyond those
	cancelled          int      // taken back for certain
	cancelledUnchecked int
	resurrected        int  // beyond the drill's budget
	takenBackLost      int  // within it: there again, because taking it back was lost
	withinBudget       bool // what is lost is within the drill's budget
	phantoms           int
	seen               int // writes that the log has anything of
	windows            []Window
}

// tally counts the ledger.
func (f *Facts) tally() tally {
	t := tally{windows: make([]Window, len(windows))}
	for i, name := range windows {
		t.windows[i] = Window{Name: name, Fates: map[string]int{}}
	}
	losses := map[uint16]int{}
	lostInAll, back := 0, 0 // writes, and what was to take one back
	type change struct {
		journey uint16
		field   string
	}
	changed := map[change]int{}
	// What the audit itself writes, trying kept values again, comes after the ledger was looked up.
	over := f.clockOr(evidence.ClockQuietReached, forever)
	each := func(do func(w *write)) {
		for i := range f.writes {
			if w := &f.writes[i]; w.invoked < over {
				do(w)
			}
		}
	}
	judged := func(w *write) bool {
		return w.outcome == acknowledged || w.outcome == unsettled || w.outcome == invoked
	}
	each(func(w *write) {
		t.seen++
		if w.fate == lost && w.outcome == acknowledged {
			losses[w.journey]++
			if w.cancel != acknowledged {
				lostInAll++
			}
		}
		if w.fate == resurrected || w.cancelFate == resurrected {
			back++
		}
		if w.fate == transformed && judged(w) {
			for name := range strings.SplitSeq(f.shapes.is(w.shape), ", ") {
				changed[change{w.journey, name}]++
			}
		}
	})
	may := func(w *write) bool {
		for name := range strings.SplitSeq(f.shapes.is(w.shape), ", ") {
			ok := false
			for _, m := range f.run.Release.MayTransform {
				ok = ok || m.Journey == f.journeys.is(w.journey) && m.Field == name && changed[change{w.journey, name}] <= m.AtMost
			}
			if !ok {
				return false
			}
		}
		return true
	}
	for _, m := range f.run.Release.MayTransform {
		if n := changed[change{f.journeys.of(m.Journey), m.Field}]; n > 0 {
			text := count(int64(n), "write", "writes") + " of " + m.Journey + " changed in " + m.Field + ", " + number(int64(m.AtMost)) + " may"
			if n <= m.AtMost {
				t.allowed = append(t.allowed, strings.TrimSuffix(text+": "+m.Why, ": "))
			}
		}
	}
	for c, n := range changed {
		ok := false
		for _, m := range f.run.Release.MayTransform {
			ok = ok || m.Journey == f.journeys.is(c.journey) && m.Field == c.field && n <= m.AtMost
		}
		if !ok {
			t.undeclared = append(t.undeclared, count(int64(n), "write", "writes")+" of "+f.journeys.is(c.journey)+" changed in "+c.field)
		}
	}
	slices.Sort(t.undeclared)
	spared := map[uint16]bool{}
	for _, b := range f.run.Service.Budgets {
		n := losses[f.journeys.of(b.Journey)]
		switch {
		case n == 0:
		case n <= b.Lost && f.run.Budget == nil: // the drill's own is the limit where there is one
			spared[f.journeys.of(b.Journey)] = true
			t.budgets = append(t.budgets, number(int64(n))+" of "+number(int64(b.Lost))+" writes of "+b.Journey+" that may be lost are lost: "+b.Why)
		default:
			t.overspent = append(t.overspent, number(int64(n))+" writes of "+b.Journey+" are lost, "+number(int64(b.Lost))+" may be")
		}
	}
	if b := f.run.Budget; b != nil && lostInAll+back > 0 {
		text := number(int64(lostInAll)) + " acknowledged " + plural(lostInAll, "write", "writes") + " and the taking back of " + number(int64(back))
		if t.withinBudget = lostInAll+back <= b.Lost; t.withinBudget {
			t.budgets = append(t.budgets, text+" are lost, "+number(int64(b.Lost))+" in all may be: "+b.Why)
		} else {
			t.overspent = append(t.overspent, text+" are lost, "+number(int64(b.Lost))+" in all may be")
		}
	}
	each(func(w *write) {
		win := &t.windows[f.window(w)]
		gone := w.cancel == acknowledged
		if w.fate == phantom {
			t.phantoms++
		}
		back := w.fate == resurrected || w.cancelFate == resurrected
		switch {
		case back && t.withinBudget:
			t.takenBackLost++
		case back:
			t.resurrected++
		}
		if gone {
			t.cancelled++
			if w.cancelFate == notChecked && w.fate == notChecked {
				t.cancelledUnchecked++
			}
		}
		switch w.outcome {
		case refused:
			win.Refused++
			return
		case invoked, unsettled:
			win.Unknown++
			switch {
			case w.fate == duplicated:
				t.duplicated++
			case w.fate == transformed && !may(w):
				t.transformed++
			}
			return
		case none:
			return // only its audit or its cancellation is known
		}
		win.Acknowledged++
		is := w.fate
		if back {
			is = resurrected
		}
		win.Fates[fates[is]]++
		t.acknowledged++
		switch {
		case is == notChecked:
			t.unchecked++
		case is == kept, gone && (is == absent || is == lost), w.cancel != none && is == absent:
			t.kept++
		case is == transformed && may(w):
			t.kept++
		case is == transformed:
			t.transformed++
		case is == duplicated:
			t.duplicated++
		case is == lost, is == absent: // it was acknowledged: not there is lost
			if !(is == lost && (t.withinBudget || spared[w.journey])) {
				t.lost++
			}
		}
	})
	return t
}
