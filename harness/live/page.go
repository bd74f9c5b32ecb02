package live

import (
	"bytes"
	"cmp"
	"encoding/json"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/report"
)

const (
	every         = 500 * time.Millisecond // a page is rendered at most so often, once for all who look at it
	timelineEvery = 2 * time.Second        // the timeline, which is most of it
	gentle        = 100                    // each takes no more of the time than one part in so many
	reportFile    = "report.html"
)

// page is one drill: what was seen of it, rendered once for all viewers.
type page struct {
	Name  string // in addresses
	Title string
	dir   string
	now   func() evidence.Offset
	state func() drill.State // what can be ordered
	do    func(drill.Order) (string, error)
	queue queue
	pull  func() ([]evidence.Event, error) // asks for what is new, beside the queue; may be nil

	mu       sync.Mutex
	live     *report.Live // nil when the report is there: a set may have hundreds of drills
	over     bool         // the log has ended
	room     []evidence.Event
	parts    map[string]versioned
	order    []string
	at       int64 // the version of the newest part
	frame    []byte
	frames   int
	rendered time.Time
	cost     time.Duration // of a rendering without the timeline, lately
	drawn    time.Time     // the timeline
	dear     time.Duration // a rendering with it, lately
	broken   string        // why the page cannot go on
	orders   string        // as JSON, last sent
	ended    bool          // the report is there
	viewers  map[*viewer]bool

	remote *remote // of a drill in another process; nil: it is one of this process, or a replay
	replay float64 // how many times as fast as it was; 0: it is no replay
}

type versioned struct {
	html string
	at   int64
}

// viewer is one browser that looks at a page.
type viewer struct {
	wake chan struct{} // has room for one: who is late misses renderings, and never the newest
	seen int64
}

// frame is what viewers are sent.
type frame struct {
	At     int64             `json:"at"`
	Parts  []report.Part     `json:"parts,omitempty"`
	Cannot map[string]string `json:"cannot"` // orders that cannot be given, and why
	Nonce  string            `json:"nonce"`  // of the question that waits, so that an answer is to what its reader has seen
	End    string            `json:"end,omitempty"`
}

func newPage(name, title, dir string) (*page, error) {
	l, err := report.NewLive()
	if err != nil {
		return nil, err
	}
	return &page{Name: name, Title: title, dir: dir, live: l, parts: map[string]versioned{}, viewers: map[*viewer]bool{}}, nil
}

// tick takes in what is new, and renders it when somebody looks.
func (p *page) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeIn()
	if len(p.viewers) > 0 {
		p.render()
	}
}

// takeIn gives the page the events that are new. The caller holds the lock.
func (p *page) takeIn() {
	events, lost := p.queue.take(p.room)
	if p.live == nil {
		return
	}
	for _, e := range events {
		p.live.Add(e)
	}
	p.live.Skip(lost)
	clear(events)
	p.room = events[:0]
	if p.pull != nil && p.broken == "" {
		more, err := p.pull()
		for _, e := range more {
			p.live.Add(e)
		}
		if err != nil {
			p.broken = err.Error()
		}
	}
	p.over = p.live.Ended()
	if p.over && reported(p.dir) {
		p.ended = true
		p.parts, p.order, p.room = map[string]versioned{}, nil, nil
		p.send(nil)
		p.live = nil
	}
}

// reported says whether a report is there, to its last line: its writer may not have finished yet.
func reported(dir string) bool {
	f, err := os.Open(filepath.Join(dir, reportFile))
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < 64 {
		return false
	}
	tail := make([]byte, 64)
	if _, err := f.ReadAt(tail, info.Size()-64); err != nil {
		return false
	}
	return bytes.HasSuffix(bytes.TrimSpace(tail), []byte("</html>"))
}

// render makes the newest parts and wakes who looks. The caller holds the lock.
func (p *page) render() {
	since := time.Since(p.rendered)
	if p.live == nil || since < every-50*time.Millisecond || since < gentle*p.cost {
		return
	}
	begun := time.Now()
	withTimeline := p.over || begun.Sub(p.drawn) >= max(timelineEvery, gentle*p.dear)
	p.frames++
	parts, err := p.live.Parts(float64(p.now()), withTimeline)
	if err != nil {
		parts = nil
		p.broken = err.Error()
	}
	parts = append(parts, report.Part{ID: "watching", HTML: template.HTMLEscapeString(report.Many(len(p.viewers), "person is", "people are") + " watching.")})
	p.send(parts)
	p.rendered = time.Now()
	if took := p.rendered.Sub(begun); withTimeline {
		p.drawn, p.dear = p.rendered, (p.dear+took)/2
	} else {
		p.cost = (p.cost + took) / 2
	}
}

// send notes which parts have changed and wakes who looks. The caller holds the lock.
func (p *page) send(parts []report.Part) {
	f := frame{At: p.at + 1, Cannot: p.cannot(), Nonce: p.nonce()}
	for _, part := range parts {
		was, known := p.parts[part.ID]
		if known && was.html == part.HTML {
			continue
		}
		if !known {
			p.order = append(p.order, part.ID)
		}
		p.parts[part.ID] = versioned{part.HTML, p.at + 1}
		f.Parts = append(f.Parts, part)
	}
	if p.ended {
		f.End = reportFile
	}
	orders, _ := json.Marshal([]any{f.Cannot, f.Nonce}) // strings alone
	if len(f.Parts) == 0 && string(orders) == p.orders && !p.ended {
		return
	}
	p.orders = string(orders)
	p.at++
	p.frame = encode(f)
	for v := range p.viewers {
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
}

// cannot says of each order that cannot be given why. The caller holds the lock.
func (p *page) cannot() map[string]string {
	none := func(why string) map[string]string {
		all := map[string]string{}
		for _, name := range drill.OrderNames() {
			all[name] = why
		}
		return all
	}
	switch {
	case p.over || p.ended:
		return none("the drill is over")
	case p.state == nil:
		return none(cmp.Or(p.broken, "it cannot be steered from here"))
	}
	return p.state().Cannot
}

// nonce is that of the question that waits; empty: none does. The caller holds the lock.
func (p *page) nonce() string {
	if p.state == nil || p.over || p.ended {
		return ""
	}
	return p.state().Asked.Nonce
}

// since is all that has changed after a version, as JSON: what everybody gets, or more for who is late.
func (p *page) since(seen int64) (data []byte, at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen == p.at-1 && p.frame != nil {
		return p.frame, p.at
	}
	f := frame{At: p.at, Cannot: p.cannot(), Nonce: p.nonce()}
	for _, id := range p.order {
		if v := p.parts[id]; v.at > seen {
			f.Parts = append(f.Parts, report.Part{ID: id, HTML: v.html})
		}
	}
	if p.ended {
		f.End = reportFile
	}
	return encode(f), p.at
}

// encode writes a frame on one line. It is data for a script, and not a page.
func encode(f frame) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(f) // strings and numbers alone
	return bytes.TrimSpace(b.Bytes())
}

// whole is every part as of now.
func (p *page) whole() (parts map[string]template.HTML, at int64, cannot map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeIn()
	p.render()
	parts = map[string]template.HTML{}
	for id, v := range p.parts {
		parts[id] = template.HTML(v.html) // rendered by html/template
	}
	return parts, p.at, p.cannot()
}

func (p *page) join(seen int64) *viewer {
	v := &viewer{wake: make(chan struct{}, 1), seen: seen}
	v.wake <- struct{}{} // what has come since its page was made
	p.mu.Lock()
	defer p.mu.Unlock()
	p.viewers[v] = true
	return v
}

func (p *page) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
}

func (p *page) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// says is one line about the drill, for the list of drills.
func (p *page) says() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return "ended; its report is here"
	}
	if p.broken != "" {
		return p.broken
	}
	p.takeIn()
	if p.live == nil {
		return "ended; its report is here"
	}
	return p.live.Line(float64(p.now()))
}

func orderButtons(cannot map[string]string) []report.LiveOrder {
	all := []report.LiveOrder{
		{Name: drill.Resume, Label: "Continue", Hint: "With what it is held before"},
		{Name: drill.Pause, Label: "Pause", Hint: "Before the next step or phase"},
		{Name: drill.Abort, Label: "Abort …", Hint: "Asks for a reason"},
		{Name: drill.Approve, Label: "Approve", Hint: "The step that waits"},
		{Name: drill.Accept, Label: "Accept …", Hint: "The incident is yours"},
		{Name: drill.Refuse, Label: "Refuse …", Hint: "Asks for a reason"},
	}
	for i := range all {
		all[i].Cannot = cannot[all[i].Name]
	}
	return slices.Clip(all)
}
