package rollback_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// chat takes messages as a webhook does.
type chat struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string
	bad  bool          // it answers 503
	hold chan struct{} // until it is closed nothing is answered; nil: at once
}

func newChat(t *testing.T) *chat {
	c := &chat{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m struct{ Message string }
		if err != nil || json.Unmarshal(body, &m) != nil {
			http.Error(w, "expected a message", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		bad, hold := c.bad, c.hold
		if !bad {
			c.got = append(c.got, m.Message)
		}
		c.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if bad {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chat) set(bad bool) { c.mu.Lock(); defer c.mu.Unlock(); c.bad = bad }

func (c *chat) received() []string { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.got) }

func (c *chat) url() string {
	return "generic://" + strings.TrimPrefix(c.URL, "http://") + "/hooks/S3cretToken42?disabletls=yes&template=JSON"
}

// telling begins to tell people by a URL that an environment variable holds.
func telling(t *testing.T, c *chat) (*rollback.Messages, *evidence.Log, string) {
	t.Helper()
	dir := t.TempDir()
	log, err := evidence.Create(filepath.Join(dir, evidence.File), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	file := filepath.Join(dir, "chat")
	if err := os.WriteFile(file, []byte(c.url()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service.Service{Name: "web", Path: "service.yaml", Dir: dir}
	all, hide, err := rollback.Transports(service.Communication{Channels: map[string][]service.Transport{service.ChannelStakeholders: {{File: "chat"}}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	log.Hide(hide...)
	run := &evidence.Run{Service: evidence.Service{Name: "web"}, Good: "v1", Release: evidence.Release{Name: "v2"}, Plan: evidence.Plan{Steps: make([]evidence.PlanStep, 2)},
		Communication: &evidence.Communication{Updates: 300, Stable: 900, Shortened: 1, TellFirst: service.TellAtOnce, AllClear: service.AllClearWhenDone}}
	m, err := rollback.Tell(rollback.Telling{Log: log, Run: run, Drill: true, Transcript: filepath.Join(dir, rollback.TranscriptFile), Transports: all})
	if err != nil {
		t.Fatal(err)
	}
	return m, log, dir
}

// written is the log's messages and gaps, and all its text, once it is closed.
func written(t *testing.T, log *evidence.Log, dir string) (messages []evidence.Message, gaps []evidence.Gap, text string) {
	t.Helper()
	log.Put(&evidence.End{How: "complete"})
	if _, err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for e, err := range evidence.Read(filepath.Join(dir, evidence.File)) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text += string(line) + "\n"
		if e.Message != nil {
			messages = append(messages, *e.Message)
		}
		if e.Gap != nil {
			gaps = append(gaps, *e.Gap)
		}
	}
	return messages, gaps, text
}

func count(all []evidence.Message, event string) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(m evidence.Message) bool { return m.Event != event }))
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// What is told is in the transcript and at the receiver, the same words in the same order, and no secret is anywhere.
func TestWhatIsToldArrives(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	m, log, dir := telling(t, c)
	log.Put(&evidence.Clock{Name: evidence.ClockDecided, Why: "it posts to " + c.url()})
	log.Put(&evidence.Clock{Name: evidence.ClockStarted})
	eventually(t, "two messages", func() bool { return len(c.received()) == 2 })
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	transcript, err := os.ReadFile(filepath.Join(dir, rollback.TranscriptFile))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(transcript)) {
		if _, said, is := strings.Cut(line, "stakeholders  "); is {
			lines = append(lines, strings.TrimSuffix(said, "\n"))
		}
	}
	got := c.received()
	if !slices.Equal(lines, got) {
		t.Errorf("the transcript has\n%s\nand the receiver got\n%s", strings.Join(lines, "\n"), strings.Join(got, "\n"))
	}
	messages, gaps, text := written(t, log, dir)
	if n := count(messages, evidence.MessageDelivered); n != len(got) || len(gaps) != 0 {
		t.Errorf("expected %d messages delivered and no gap, found %d and %v", len(got), n, gaps)
	}
	for name, text := range map[string]string{"the evidence": text, "the transcript": string(transcript), "the receiver": strings.Join(got, "\n")} {
		if strings.Contains(text, "S3cretToken42") {
			t.Errorf("%s holds the secret:\n%s", name, text)
		}
	}
}

// A channel that is down delays nothing, is tried again, and is a gap.
func TestAChannelThatIsDown(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	c.set(true)
	m, log, dir := telling(t, c)
	var failed atomic.Bool
	log.Tap(func(e evidence.Event) {
		if e.Message != nil && e.Message.Event == evidence.MessageFailed {
			failed.Store(true)
		}
	})
	began := time.Now()
	for range 1000 {
		log.Put(&evidence.Approval{By: "ada", Event: evidence.ApprovalPaused})
	}
	log.Put(&evidence.Clock{Name: evidence.ClockDecided, Why: "x"})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the log waited for the channel: %s", took)
	}
	transcript := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, rollback.TranscriptFile))
		return string(text)
	}
	eventually(t, "the transcript, which waits for no channel", func() bool { return strings.Contains(transcript(), "is rolled back to v1") })
	if got := c.received(); len(got) != 0 {
		t.Errorf("expected nothing at the receiver, found %q", got)
	}
	eventually(t, "a try that fails", failed.Load)
	c.set(false)
	eventually(t, "the message to be tried again", func() bool { return len(c.received()) == 1 })
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	messages, gaps, text := written(t, log, dir)
	if count(messages, evidence.MessageFailed) != 1 || count(messages, evidence.MessageDelivered) != 1 || len(gaps) != 1 {
		t.Fatalf("expected one try that failed, one message delivered and one gap, found\n%s", text)
	}
	if g := gaps[0]; g.Of != "channel stakeholders by chat" || g.To <= g.From || !strings.Contains(g.Why, "503") || strings.Contains(text, "S3cretToken42") {
		t.Errorf("expected the gap of the channel with its status and no secret, found %+v", g)
	}
}

// A receiver that hangs, or never comes back, does not hold the end of a run up.
func TestAChannelThatHangs(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	c.hold = make(chan struct{})
	m, log, dir := telling(t, c)
	log.Put(&evidence.Clock{Name: evidence.ClockDecided, Why: "x"})
	log.Put(&evidence.Clock{Name: evidence.ClockStarted})
	eventually(t, "the first message to hang", func() bool { return len(c.received()) == 1 })
	began := time.Now()
	err := m.Close(t.Context())
	if took := time.Since(began); err != nil || took > 8*time.Second {
		t.Errorf("the end took %s: %v", took, err)
	}
	close(c.hold)
	messages, gaps, text := written(t, log, dir)
	if count(messages, evidence.MessageGivenUp) != 2 || len(gaps) != 1 {
		t.Errorf("expected two messages given up and one gap, found\n%s", text)
	}
}

// Nobody is paged by accident: a host that is not this machine must be allowed, and what is said of a URL holds none of it.
func TestWhereMessagesMayGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, allow, err string }{
		{"generic://127.0.0.1:1/x?disabletls=yes", "", ""},
		{"generic://localhost/x", "", ""},
		{"generic://chat.example/T0pSecret", "", "leads to chat.example: expected this machine"},
		{"generic://chat.example/T0pSecret", "chat.example", ""},
		{"generic://chat.example/T0pSecret?host=127.0.0.1", "", "leads to chat.example"},
		{"generic+https://chat.example/T0pSecret", "", "leads to chat.example"},
		{"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "", "leads to hooks.slack.com"},
		{"slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L", "", "leads to slack.com"},
		{"discord://T0pSecret@123456", "", "leads to discord.com"},
		{"teams://group@tenant/altId/groupOwner?host=127.0.0.1.example", "", "leads to 127.0.0.1.example"},
		{"teams://group@tenant/altId/groupOwner", "", "expected a URL of shoutrrr that says which host gets the message"},
		{"telegram://T0pSecret@telegram?chats=@x", "", "leads to api.telegram.org"},
		{"ntfy:///topic", "", "leads to ntfy.sh"},
		{"matrix://user:T0pSecret@matrix.example/?rooms=x", "", "leads to matrix.example"},
		{"smtp://user:T0pSecret@mail.example:25/?from=a@b.example&to=c@d.example", "", "leads to mail.example"},
		{"smtp://127.0.0.1:25/", "", "expected a URL that shoutrrr takes"},
		{"logger://", "", "expected a URL of shoutrrr"},
		{"https://127.0.0.1/T0pSecret", "", "expected a URL of shoutrrr"},
		{"T0pSecret %zz", "", "expected a URL"},
		{"", "", "expected a URL"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(c.url), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := rollback.Transports(service.Communication{Channels: map[string][]service.Transport{service.ChannelStatus: {{File: "secret"}}}},
			&service.Service{Path: "service.yaml", Dir: dir, Allow: []string{c.allow}})
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", c.url, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: expected %q, found %v", c.url, c.err, err)
		case err != nil && (strings.Contains(err.Error(), "T0pSecret") || strings.Contains(err.Error(), "4mt0t4l1")):
			t.Errorf("the error holds the secret: %v", err)
		}
	}
	_, _, err := rollback.Transports(service.Communication{Channels: map[string][]service.Transport{service.ChannelStatus: {{Env: "BACKOUT_NO_SUCH_VARIABLE"}}}}, &service.Service{Path: "service.yaml"})
	if err == nil || !strings.Contains(err.Error(), "expected a URL in the variable BACKOUT_NO_SUCH_VARIABLE of the environment, found none: set it") {
		t.Errorf("found %v", err)
	}
}
