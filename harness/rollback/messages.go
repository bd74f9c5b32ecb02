package rollback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// TranscriptFile is everything that people were told, in a run's directory: a line a message.
const TranscriptFile = "transcript.txt"

const (
	lookAround = 250 * time.Millisecond // how often it is asked whether news are due, and what is open
	sendWithin = 10 * time.Second       // one try
	retryAfter = 250 * time.Millisecond // the first time; twice as long each time, up to retryMost
	retryMost  = 5 * time.Second
	drainFor   = 2 * time.Second // how long the end of a run waits for what is still to be sent
)

// Telling is what messages need.
type Telling struct {
	Log        *evidence.Log
	Run        *evidence.Run
	Drill      bool
	Transcript string      // path of the file
	Transports []Transport // with URLs
	// Open says what is not as before now; nil: nobody knows, and service is never said to be restored.
	Open func() []string
	// Sabotage is what is wrong on purpose with whom the plan tells; empty: nothing.
	Sabotage string
}

// Messages tells people about a rollback while it runs. It hears of everything by the log, so it works wherever a log is
// written, and nothing waits for it: what a transport does not take is tried again beside everything else.
type Messages struct {
	o     Telling
	file  *os.File
	story *Story // guarded by mu
	asked bool   // the sabotage took effect; of the one goroutine

	mu     sync.Mutex
	events []evidence.Event
	closed bool

	wake     chan struct{}
	done     chan struct{}
	couriers []*courier
	told     []Said // of the one goroutine
	broke    error  // of the transcript
}

// Tell begins to tell people of all events from now on, until Close.
func Tell(o Telling) (*Messages, error) {
	if o.Open == nil {
		o.Open = func() []string { return []string{"it is not observed whether service is as before"} }
	}
	file, err := os.OpenFile(o.Transcript, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("begin the transcript: %w", err)
	}
	m := &Messages{o: o, file: file, story: NewStory(o.Run, o.Drill), wake: make(chan struct{}, 1), done: make(chan struct{})}
	for _, t := range o.Transports {
		send, err := sender(t.URL)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s by %s: %s", t.Channel, t.Name, address.ReplaceAllString(err.Error(), "its URL")), file.Close())
		}
		m.couriers = append(m.couriers, newCourier(t, o.Log, send))
	}
	go m.tell()
	o.Log.Tap(m.hear)
	return m, nil
}

// hear takes an event from the log, which waits for it.
func (m *Messages) hear(e evidence.Event) {
	if e.Journey == nil && e.Clock == nil && e.Phase == nil && e.Step == nil && e.Alert == nil && e.Approval == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
	case e.Journey != nil:
		m.story.Add(e) // which counts it, and tells nobody
	default:
		m.events = append(m.events, e)
		m.nudge()
	}
}

func (m *Messages) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// tell is the one who writes messages.
func (m *Messages) tell() {
	defer close(m.done)
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	for {
		select {
		case <-m.wake:
		case <-tick.C:
		}
		m.mu.Lock()
		events, closed := m.events, m.closed
		m.events = nil
		m.mu.Unlock()
		for _, e := range events {
			m.mu.Lock()
			said := m.story.Add(e)
			m.mu.Unlock()
			m.say(said)
		}
		if closed {
			return
		}
		var open []string
		if m.asksOpen() {
			open = m.o.Open() // which takes the locks of others
		}
		m.mu.Lock()
		said := m.story.Due(m.o.Log.Now(), func() []string { return open })
		m.mu.Unlock()
		m.say(said)
	}
}

func (m *Messages) asksOpen() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.story.Asks()
}

// say puts messages into the log and the transcript and hands them to their transports.
func (m *Messages) say(all []Said) {
	for _, said := range all {
		text := m.o.Log.Clean(said.Text)
		t := m.o.Log.Now()
		n := m.o.Log.PutAt(t, &evidence.Message{Channel: said.Channel, Kind: said.Kind, Text: text})
		_, err := fmt.Fprintf(m.file, "%s  +%.1fs  %-12s  %s\n", m.o.Run.Started.Add(time.Duration(float64(t)*float64(time.Second))).UTC().Format("15:04:05"), float64(t), said.Channel, text)
		m.broke = errors.Join(m.broke, err)
		for _, c := range m.couriers {
			if c.transport.Channel == said.Channel {
				c.take(letter{n, text, t})
			}
		}
		m.told = append(m.told, Said{said.Channel, said.Kind, text})
		m.sabotaged(said)
	}
}

// sabotaged says when people are told otherwise on purpose: what they were told shows it.
func (m *Messages) sabotaged(said Said) {
	if m.o.Sabotage == "" || m.asked {
		return
	}
	m.mu.Lock()
	seen := m.story.Otherwise()
	m.mu.Unlock()
	c := m.o.Run.Communication
	if seen == "" && (c.TellFirst != service.TellAtOnce || c.AllClear != service.AllClearWhenDone || said.Kind != evidence.TellsFirst) {
		return
	}
	if seen == "" {
		seen = "the first notice was told by what the plan states"
	}
	m.asked = true
	m.o.Log.Put(&evidence.Fault{Name: "sabotage", Of: m.o.Sabotage, Event: evidence.FaultAsked})
	m.o.Log.Put(&evidence.Fault{Name: "sabotage", Of: m.o.Sabotage, Event: evidence.FaultInForce, Text: seen})
}

// Close tells what is still to be told, and gives what waits for a transport a short while. It may be called again.
func (m *Messages) Close(ctx context.Context) error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.mu.Unlock()
	if again {
		return nil
	}
	m.nudge()
	<-m.done
	if m.o.Sabotage != "" && !m.asked {
		m.o.Log.Put(&evidence.Fault{Name: "sabotage", Of: m.o.Sabotage, Event: evidence.FaultAsked})
		m.o.Log.Put(&evidence.Fault{Name: "sabotage", Of: m.o.Sabotage, Event: evidence.FaultNotInForce, Text: "nobody was told otherwise"})
	}
	within, cancel := context.WithTimeout(ctx, drainFor)
	defer cancel()
	var work sync.WaitGroup
	for _, c := range m.couriers {
		work.Go(func() { c.close(within) })
	}
	work.Wait()
	if err := errors.Join(m.broke, m.file.Close()); err != nil {
		return fmt.Errorf("write the transcript: %w", err)
	}
	return nil
}

// Told is everything that people were told, once it is closed.
func (m *Messages) Told() []Said { return m.told }

// letter is a message on its way: the number of its event, and when it was told.
type letter struct {
	n    int64
	text string
	told evidence.Offset
}

// courier takes messages to one transport, one after the other, and tries again what did not get there.
type courier struct {
	transport Transport
	log       *evidence.Log
	send      func(text string) error

	mu      sync.Mutex
	letters []letter
	wake    chan struct{}
	ending  context.Context // after its end nothing is waited for any more
	end     context.CancelFunc
	last    chan struct{} // closed when no letter will come any more
	done    chan struct{}
}

func newCourier(t Transport, log *evidence.Log, send func(string) error) *courier {
	c := &courier{transport: t, log: log, send: send, wake: make(chan struct{}, 1), last: make(chan struct{}), done: make(chan struct{})}
	c.ending, c.end = context.WithCancel(context.Background())
	go c.run()
	return c
}

func (c *courier) take(l letter) {
	c.mu.Lock()
	c.letters = append(c.letters, l)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next is the next letter; none when there will be no more.
func (c *courier) next() (l letter, ok bool) {
	for {
		c.mu.Lock()
		if len(c.letters) > 0 {
			l, c.letters = c.letters[0], c.letters[1:]
			c.mu.Unlock()
			return l, true
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-c.last:
			c.mu.Lock()
			none := len(c.letters) == 0
			c.mu.Unlock()
			if none {
				return l, false
			}
		}
	}
}

// run delivers. While the transport is down there is a gap, which is written when it ends.
func (c *courier) run() {
	defer close(c.done)
	var down evidence.Offset
	why := ""
	up := func() {
		if why != "" {
			c.log.Put(&evidence.Gap{Of: fmt.Sprintf("channel %s by %s", c.transport.Channel, c.transport.Name), From: down, To: c.log.Now(), Why: why})
			why = ""
		}
	}
	defer up()
	for {
		l, ok := c.next()
		if !ok {
			return
		}
		for wait, tries := retryAfter, 1; ; tries++ {
			begun := c.log.Now()
			err := c.try(l.text)
			e := evidence.Message{Channel: c.transport.Channel, Of: l.n, Transport: c.transport.Name, Tries: tries, Seconds: float64(c.log.Now() - l.told)}
			if err == nil {
				up()
				e.Event = evidence.MessageDelivered
				c.log.Put(&e)
				break
			}
			e.Error = c.log.Clean(err.Error())
			if why == "" {
				down, why = begun, e.Error
			}
			if c.ending.Err() != nil {
				e.Event = evidence.MessageGivenUp
				c.log.Put(&e)
				break
			}
			if tries == 1 {
				e.Event = evidence.MessageFailed
				c.log.Put(&e)
			}
			pause(c.ending, wait)
			wait = min(2*wait, retryMost)
		}
	}
}

var errEnding = errors.New("the run ended before it was taken")

// try sends once. At the end of the run it is not waited for.
func (c *courier) try(text string) error {
	if c.ending.Err() != nil {
		return errEnding
	}
	result := make(chan error, 1)
	go func() { result <- c.send(text) }()
	select {
	case err := <-result:
		return err
	case <-c.ending.Done():
		return errEnding
	}
}

// close lets what is queued go out until ctx ends.
func (c *courier) close(ctx context.Context) {
	close(c.last)
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	c.end()
	<-c.done
}

// pause lets a time pass, or the end of the run come.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
