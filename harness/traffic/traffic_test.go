package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
	"backout/harness/service"
)

// shop is a service with a sign-in that is made once, a write, a read that waits for it, and a cancellation.
func shop() *service.Service {
	signIn := service.Request{Method: http.MethodPost, Path: "/sessions", Body: map[string]any{"user": "user-{user}"}, Expect: 201,
		Keep: []service.Keep{{Name: "token", Path: "$.token"}}, Once: true}
	bearer := map[string]string{"Authorization": "Bearer {token}"}
	order := service.Request{Method: http.MethodPost, Path: "/orders", Headers: bearer, Expect: 201, Refused: []int{409, 422},
		Body: map[string]any{"key": "{uuid}", "lines": []any{map[string]any{"sku": "{sku}", "quantity": 2}}},
		Write: &service.Write{Key: "{uuid}", Find: "select sku, quantity, total from orders where client_key = $1",
			Payload: map[string]any{"sku": "{sku}", "quantity": 2, "total": "$.total"}, All: "select client_key from orders"}}
	return &service.Service{
		Name: "shop", Path: "service.yaml", Header: "x-release",
		Values: map[string]service.Values{"sku": {Pattern: "sku-%04d", From: 1, To: 1000}},
		Journeys: []service.Journey{
			{Name: "checkout", Weight: 3, Steps: []service.Request{signIn, order,
				{Method: http.MethodGet, Path: "/orders/{uuid}", Headers: bearer, Expect: 200, Until: 2 * time.Second}}},
			{Name: "orders", Weight: 1, Steps: []service.Request{signIn, {Method: http.MethodGet, Path: "/orders", Headers: bearer, Expect: 200}}},
			{Name: "change-of-mind", Weight: 1, Steps: []service.Request{signIn, order,
				{Method: http.MethodDelete, Path: "/orders/{uuid}", Headers: bearer, Expect: 200, Refused: []int{409}, Cancel: "{uuid}"}}},
		},
		Sessions: map[string]string{"token": "orders"},
	}
}

func billing() *service.Service {
	return &service.Service{Name: "billing", Path: "billing.yaml", Header: "X-Release", Journeys: []service.Journey{
		{Name: "invoice", Weight: 1, Steps: []service.Request{{Method: http.MethodGet, Path: "/invoices", Expect: 200}}}}}
}

// site is a shop over HTTP. Its fields change how it answers.
type site struct {
	*httptest.Server
	mu     sync.Mutex
	tokens map[string]bool
	orders map[string]string // key -> sku
	users  []string          // who signed in
	before func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newSite(t testing.TB) *site {
	s := &site{tokens: map[string]bool{}, orders: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Upstream", "shop-1")
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Release", "v1")
	if r.URL.Path == "/sessions" {
		var in struct{ User string }
		json.NewDecoder(r.Body).Decode(&in)
		token := fmt.Sprintf("token-of-%s-%d-and-more", in.User, len(s.tokens))
		s.tokens[token] = true
		s.users = append(s.users, in.User)
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"token":%q}`, token)
		return
	}
	if !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.WriteHeader(401)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/orders/")
	switch r.Method {
	case http.MethodPost:
		var in struct {
			Key   string
			Lines []struct {
				SKU      string
				Quantity int
			}
		}
		if json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Lines) != 1 {
			w.WriteHeader(400)
			return
		}
		s.orders[in.Key] = in.Lines[0].SKU
		w.WriteHeader(201)
		io.WriteString(w, `{"total":"19.80"}`)
	case http.MethodDelete:
		delete(s.orders, key)
	case http.MethodGet:
		if _, ok := s.orders[key]; !ok && r.URL.Path != "/orders" {
			w.WriteHeader(404)
		}
	}
}

func (s *site) answer(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// watched is a log whose events can be waited for.
type watched struct {
	*evidence.Log
	path string
	seen chan evidence.Event
}

func newLog(t testing.TB) *watched {
	t.Helper()
	path := filepath.Join(t.TempDir(), evidence.File)
	log, err := evidence.Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Log: log, path: path, seen: make(chan evidence.Event, 1<<16)}
	log.Tap(func(e evidence.Event) { w.seen <- e })
	t.Cleanup(func() { log.Close() })
	return w
}

// journeys waits for n finished journeys that satisfy a condition.
func (w *watched) journeys(t testing.TB, n int, is func(*evidence.Journey) bool) []*evidence.Journey {
	t.Helper()
	deadline := time.After(30 * time.Second)
	var got []*evidence.Journey
	for len(got) < n {
		select {
		case e := <-w.seen:
			if e.Journey != nil && is(e.Journey) {
				got = append(got, e.Journey)
			}
		case <-deadline:
			t.Fatalf("waited for %d journeys, saw %d", n, len(got))
		}
	}
	return got
}

func (w *watched) all(t testing.TB) (events []evidence.Event) {
	t.Helper()
	w.Put(&evidence.End{How: "complete"})
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for e, err := range evidence.Read(w.path) {
		if err != nil {
			t.Fatal(err)
		}
		if e.End == nil {
			events = append(events, e)
		}
	}
	return events
}

func any1(*evidence.Journey) bool { return true }

func newTraffic(t testing.TB, c Config) *Traffic {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop(context.Background()) })
	return l
}

func stop(t testing.TB, l *Traffic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// only is the shop with one journey.
func only(name string) *service.Service {
	s := shop()
	for _, j := range s.Journeys {
		if j.Name == name {
			s.Journeys = []service.Journey{j}
			return s
		}
	}
	panic("no journey " + name)
}

func TestTrafficRunsEveryJourneyAndKeepsItsTokens(t *testing.T) {
	s := newSite(t)
	var closing, asked atomic.Int64
	trace := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`)
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		if r.Close {
			closing.Add(1)
		}
		if !trace.MatchString(r.Header.Get("traceparent")) {
			t.Errorf("traceparent: found %q", r.Header.Get("traceparent"))
		}
		return false
	})
	log := newLog(t)
	l := newTraffic(t, Config{Log: log.Log, Users: 5, InFlight: 1, Seed: 7, Targets: []Target{{Service: shop(), URL: s.URL}}})
	l.Start(t.Context())
	log.journeys(t, 400, any1)
	stop(t, l)

	names, writes := map[string]int{}, map[string]int{}
	for _, e := range log.all(t) {
		switch {
		case e.Journey != nil:
			j := e.Journey
			names[j.Name]++
			if j.Outcome != evidence.OK || j.MS <= 0 || j.At > e.T || len(j.Trace) != 32 || j.Service != "" || j.User < 1 || j.User > 5 {
				t.Errorf("event %d: %+v", e.N, j)
			}
			if !reflect.DeepEqual(j.Served, []evidence.Serve{"shop-1@v1"}) {
				t.Errorf("event %d: served by %v", e.N, j.Served)
			}
			if j.Name == "checkout" && j.Visible <= 0 {
				t.Errorf("event %d: not visible after %v ms", e.N, j.Visible)
			}
		case e.Write != nil:
			writes[fmt.Sprintf("%s %s %v", e.Write.Journey, e.Write.Event, e.Write.Cancels)]++
		}
	}
	for _, j := range []string{"checkout", "change-of-mind"} {
		if n := names[j]; n == 0 || writes[j+" invoked false"] != n || writes[j+" acknowledged false"] != n {
			t.Errorf("%d journeys %s, writes %v", n, j, writes)
		}
	}
	if n := names["change-of-mind"]; writes["change-of-mind invoked true"] != n || writes["change-of-mind acknowledged true"] != n {
		t.Errorf("%d changes of mind, writes %v", n, writes)
	}
	if names["orders"] == 0 || names["checkout"] < 2*names["orders"] {
		t.Errorf("journeys with weights 3, 1 and 1: %v", names)
	}
	if n := len(s.users); n != 5 {
		t.Errorf("5 users signed in %d times", n)
	}
	if share := float64(closing.Load()) / float64(asked.Load()); share < 0.15 || share > 0.25 {
		t.Errorf("%.2f of the requests used a new connection, expected a fifth", share)
	}
	invoked, acked, _, _ := l.Ledger().Count()
	if invoked != acked || invoked != names["checkout"]+names["change-of-mind"] {
		t.Errorf("ledger: %d invoked, %d acknowledged", invoked, acked)
	}
}

func TestDependantsGetTheirShare(t *testing.T) {
	s, b := newSite(t), httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer b.Close()
	log := newLog(t)
	for rate, share := range map[float64]float64{200: 20, 10: ShareLeast} {
		l := newTraffic(t, Config{Log: log.Log, Rate: rate, Targets: []Target{{Service: shop(), URL: s.URL}, {Service: billing(), URL: b.URL, Dependant: true}}})
		for i, want := range []float64{rate, share} {
			if found := l.streams[i].pacer.Rate(0); found < want*0.999 || found > want*1.001 {
				t.Errorf("at %v/s stream %d gets %v/s, expected %v/s", rate, i, found, want)
			}
		}
		l.Start(t.Context())
		log.journeys(t, 2, func(j *evidence.Journey) bool {
			return j.Service == "billing" && j.Name == "invoice" && j.Outcome == evidence.OK
		})
		stop(t, l)
	}
}

func TestFaultsSettleWrites(t *testing.T) {
	reset := func(w http.ResponseWriter) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			c.Close()
		}
	}
	for _, c := range []struct {
		name   string
		fault  func(w http.ResponseWriter, r *http.Request)
		event  string
		status int
		blame  evidence.Serve
		error  string
	}{
		{"refused", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Release", "v2"); w.WriteHeader(409) },
			evidence.Refused, 409, "shop-1@v2", "POST /orders: expected 201, found 409"},
		{"server error", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, "no column\ncoupon_code, token "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}, evidence.Unknown, 500, "shop-1@", "POST /orders: expected 201, found 500: no column coupon_code, token [kept]"},
		{"another success", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) }, evidence.Unknown, 200, "shop-1@", "POST /orders: expected 201, found 200"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) }, evidence.Unknown, 307, "shop-1@", "POST /orders: expected 201, found 307"},
		{"reset", func(w http.ResponseWriter, r *http.Request) { reset(w) }, evidence.Unknown, 0, "", "POST /orders: the connection was closed before the whole answer"},
		{"stall", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, evidence.Unknown, 0, "", "POST /orders: no answer within 100ms"},
		{"half an answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(201)
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			reset(w)
		}, evidence.Unknown, 201, "shop-1@", "POST /orders: the connection was closed before the whole answer"},
		{"no total", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); io.WriteString(w, "{}") }, evidence.Acknowledged, 201, "shop-1@",
			"POST /orders: the acknowledgement does not say total: {}"},
		{"not signed in", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }, evidence.Unknown, 401, "shop-1@", "POST /orders: expected 201, found 401"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/orders" {
					return false
				}
				io.Copy(io.Discard, r.Body)
				c.fault(w, r)
				return true
			})
			log := newLog(t)
			timeout := time.Duration(0)
			if c.name == "stall" {
				timeout = 100 * time.Millisecond
			}
			l := newTraffic(t, Config{Log: log.Log, Rate: 50, InFlight: 4, Timeout: timeout, Targets: []Target{{Service: only("checkout"), URL: s.URL}}})
			l.Start(t.Context())
			j := log.journeys(t, 1, func(j *evidence.Journey) bool { return j.Outcome == evidence.Failed && j.Step == 2 })[0]
			stop(t, l)
			if j.Status != c.status || j.Blame != c.blame || j.Error != c.error {
				t.Errorf("found %+v\nexpected status %d, blame %q, error %q", j, c.status, c.blame, c.error)
			}
			for _, e := range log.all(t) {
				if e.Write != nil && e.Write.Event != evidence.Invoked && e.Write.Event != c.event {
					t.Errorf("a write is %s, expected %s", e.Write.Event, c.event)
				}
			}
			if c.status == 401 && len(s.users) < 1 {
				t.Error("nobody signed in")
			}
		})
	}
}

// A refused token fails the journey that used it; the user's next journey signs in again.
func TestRefusedTokenIsDropped(t *testing.T) {
	s, log := newSite(t), newLog(t)
	l := newTraffic(t, Config{Log: log.Log, Rate: 100, Users: 1, InFlight: 1, Targets: []Target{{Service: only("orders"), URL: s.URL}}})
	l.Start(t.Context())
	ok := func(j *evidence.Journey) bool { return j.Outcome == evidence.OK }
	log.journeys(t, 3, ok)
	s.mu.Lock()
	clear(s.tokens)
	s.tokens["another"] = true // so that the next one has another name
	s.mu.Unlock()
	failed := log.journeys(t, 1, func(j *evidence.Journey) bool { return j.Outcome == evidence.Failed })[0]
	if failed.Status != 401 || failed.Step != 2 {
		t.Errorf("found %+v", failed)
	}
	log.journeys(t, 3, ok)
	stop(t, l)
	if len(s.users) != 2 {
		t.Errorf("signed in %d times, expected 2", len(s.users))
	}
}

func TestReadingWaitsUntilVisible(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		outcome string
		asked   int64
	}{{"not yet", 404, evidence.OK, 4}, {"an error is an error", 500, evidence.Failed, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s, log := newSite(t), newLog(t)
			var asked atomic.Int64
			s.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || asked.Add(1) > 3 {
					return false
				}
				w.WriteHeader(c.status)
				return true
			})
			l := newTraffic(t, Config{Log: log.Log, Targets: []Target{{Service: only("checkout"), URL: s.URL}}})
			j := l.Once(t.Context(), "shop", "checkout", "")
			if j.Outcome != c.outcome || asked.Load() != c.asked || (j.Visible > 0) != (c.outcome == evidence.OK) {
				t.Errorf("asked %d times: %+v", asked.Load(), j)
			}
		})
	}
}

func TestArrivalsBeyondTheLimitAreCounted(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 1<<16)
	var at, most atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := at.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		entered <- struct{}{}
		<-release
		at.Add(-1)
	}))
	defer server.Close()
	log := newLog(t)
	s := billing()
	l := newTraffic(t, Config{Log: log.Log, Rate: 1000, Users: 3, InFlight: 2, Targets: []Target{{Service: s, URL: server.URL}}})
	l.Start(t.Context())
	log.journeys(t, 20, func(j *evidence.Journey) bool { return j.Outcome == evidence.Unsent })
	<-entered
	<-entered
	close(release)
	log.journeys(t, 20, func(j *evidence.Journey) bool { return j.Outcome == evidence.OK })
	stop(t, l)
	if most.Load() != 2 {
		t.Errorf("at most %d requests at once, expected 2", most.Load())
	}
	// Every arrival is in the log: their scheduled times are a millisecond apart without a hole.
	seen := map[int]bool{}
	last := 0
	for _, e := range log.all(t) {
		if e.Journey != nil {
			n := int(float64(e.Journey.At)*10000 + 0.5)
			seen[n] = true
			last = max(last, n)
		}
	}
	first := last
	for n := range seen {
		first = min(first, n)
	}
	if want := (last-first+5)/10 + 1; len(seen) != want {
		t.Errorf("%d arrivals are in the log, expected %d", len(seen), want)
	}
}

func TestSeedGivesTheSequence(t *testing.T) {
	sequence := func(seed int64) (all []string) {
		l := newTraffic(t, Config{Log: newLog(t).Log, Users: 9, Seed: seed, Targets: []Target{{Service: shop(), URL: "http://127.0.0.1:1"}}})
		w := newWorker(l)
		for range 200 {
			c := l.streams[0].next()
			w.begin(&c)
			all = append(all, fmt.Sprint(c.journey.name, c.user.number, w.values))
		}
		return all
	}
	one := sequence(1)
	if !reflect.DeepEqual(one, sequence(1)) {
		t.Error("the same seed gives another sequence")
	}
	if reflect.DeepEqual(one, sequence(2)) {
		t.Error("another seed gives the same sequence")
	}
	uuid := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	keys := map[string]bool{}
	for _, line := range one {
		keys[uuid.FindString(line)] = true
	}
	if len(keys) != 200 {
		t.Errorf("200 journeys have %d UUIDs", len(keys))
	}
}

func TestStopCutsOffAndLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	hang, asked := make(chan struct{}), make(chan struct{}, 1000)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	s.Start()
	path := filepath.Join(t.TempDir(), evidence.File)
	log, err := evidence.Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sv := only("checkout")
	sv.Journeys[0].Steps = sv.Journeys[0].Steps[1:2]
	sv.Journeys[0].Steps[0].Headers = nil
	l, err := New(Config{Log: log, Rate: 200, InFlight: 3, Timeout: time.Hour, Targets: []Target{{Service: sv, URL: s.URL}, {Service: billing(), URL: s.URL, Dependant: true}}})
	if err != nil {
		t.Fatal(err)
	}
	l.Start(context.Background())
	<-asked
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("time is over")
	cancel(over)
	if err := l.Stop(ctx); !errors.Is(err, over) {
		t.Errorf("found %v, expected that journeys were cut off", err)
	}
	if err := l.Stop(context.Background()); err != nil {
		t.Errorf("again: %v", err)
	}
	l.Start(context.Background()) // comes too late
	invoked, acked, refusals, unknowns := l.Ledger().Count()
	if invoked != unknowns || acked+refusals != 0 {
		t.Errorf("%d invoked, %d acknowledged, %d refused, %d unknown", invoked, acked, refusals, unknowns)
	}
	if _, err := log.Close(); err != nil {
		t.Error(err)
	}
	close(hang)
	s.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// The end of the context of Start cuts off what is in flight.
func TestContextEndsTraffic(t *testing.T) {
	asked := make(chan struct{}, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() }))
	defer s.Close()
	log := newLog(t)
	l := newTraffic(t, Config{Log: log.Log, Rate: 100, Timeout: time.Hour, Targets: []Target{{Service: billing(), URL: s.URL}}})
	ctx, cancel := context.WithCancel(t.Context())
	l.Start(ctx)
	<-asked
	cancel()
	j := log.journeys(t, 1, any1)[0]
	if j.Outcome != evidence.Failed || !strings.Contains(j.Error, errCut.Error()) {
		t.Errorf("found %+v", j)
	}
	stop(t, l)
}

func TestJourneysAreSpansLinkedToTheStep(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	_, one := provider.Tracer("test").Start(context.Background(), "step 1")
	_, two := provider.Tracer("test").Start(context.Background(), "step 2")
	var now atomic.Value
	now.Store(one.SpanContext())
	s, log := newSite(t), newLog(t)
	s.answer(func(w http.ResponseWriter, r *http.Request) bool { now.Store(two.SpanContext()); return false })
	var parent string
	site := s.before
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		parent = r.Header.Get("traceparent")
		return site(w, r)
	})
	l := newTraffic(t, Config{Log: log.Log, Tracer: provider.Tracer("traffic"), Targets: []Target{{Service: shop(), URL: s.URL}},
		Step: func() trace.SpanContext { return now.Load().(trace.SpanContext) }})
	j := l.Once(t.Context(), "", "orders", s.URL)
	if len(spans.Ended()) != 1 {
		t.Fatalf("%d spans ended, expected 1", len(spans.Ended()))
	}
	span := spans.Ended()[0]
	if span.Name() != "journey orders" || j.Trace != span.SpanContext().TraceID().String() ||
		parent != "00-"+j.Trace+"-"+span.SpanContext().SpanID().String()+"-01" {
		t.Errorf("found span %s %v, traceparent %s, journey %+v", span.Name(), span.SpanContext(), parent, j)
	}
	links := span.Links()
	if len(links) != 2 || !links[0].SpanContext.Equal(one.SpanContext()) || !links[1].SpanContext.Equal(two.SpanContext()) {
		t.Errorf("links: %+v", links)
	}
}

func TestOnceLeavesNoTrace(t *testing.T) {
	s, log := newSite(t), newLog(t)
	log.Hide("hunter2-hunter2")
	l := newTraffic(t, Config{Log: log.Log, Targets: []Target{{Service: shop(), URL: "http://127.0.0.1:1"}}})
	if j := l.Once(t.Context(), "shop", "checkout", s.URL); j.Outcome != evidence.OK || j.Name != "checkout" {
		t.Errorf("found %+v", j)
	}
	if j := l.Once(t.Context(), "shop", "checkout", ""); j.Outcome != evidence.Failed || j.Error == "" {
		t.Errorf("where nobody listens: found %+v", j)
	}
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(500)
		io.WriteString(w, strings.Repeat("é", 60)+"hunter2-hunter2"+strings.Repeat("é", 200))
		return true
	})
	if j := l.Once(t.Context(), "", "checkout", s.URL); len(j.Error) > errorLimit || strings.Contains(j.Error, "hunter2") || !strings.Contains(j.Error, "[secret]") {
		t.Errorf("found %d bytes: %q", len(j.Error), j.Error)
	}
	for _, name := range [][2]string{{"shop", "browse"}, {"mail", "checkout"}} {
		if j := l.Once(t.Context(), name[0], name[1], s.URL); j.Outcome != evidence.Failed || j.Error == "" {
			t.Errorf("%v: found %+v", name, j)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j := l.Once(ctx, "", "checkout", s.URL); j.Outcome != evidence.Failed {
		t.Errorf("with a context that ended: found %+v", j)
	}
	if invoked, _, _, _ := l.Ledger().Count(); invoked != 0 {
		t.Errorf("the ledger has %d writes", invoked)
	}
	if known := l.Ledger().known(); len(known) < 1 {
		t.Error("its key would be a phantom")
	}
	if n := len(log.all(t)); n != 0 {
		t.Errorf("the log has %d events", n)
	}
}

func TestSessionsFromBefore(t *testing.T) {
	s, log := newSite(t), newLog(t)
	l := newTraffic(t, Config{Log: log.Log, Rate: 300, Users: 4, Targets: []Target{{Service: only("orders"), URL: s.URL}}})
	if f := l.Sessions(t.Context(), log.Now()); len(f) != 1 || f[0].Asked || f[0].Error == "" {
		t.Errorf("before anybody signed in: found %+v", f)
	}
	l.Start(t.Context())
	users := map[int]bool{}
	log.journeys(t, 4, func(j *evidence.Journey) bool {
		first := j.Outcome == evidence.OK && !users[j.User]
		users[j.User] = users[j.User] || first
		return first
	})
	before := log.Now()
	stop(t, l)

	f := l.Sessions(t.Context(), before)
	if len(f) != 1 || !f[0].Asked || f[0].Check != evidence.CheckSessions || f[0].Of != "token" || f[0].Checked != 4 || f[0].Bad != 0 {
		t.Errorf("all accepted: found %+v", f)
	}
	signed := len(s.users)
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Header.Get("Authorization"), "user-3") {
			w.WriteHeader(401)
			return true
		}
		return false
	})
	f = l.Sessions(t.Context(), before)
	if !f[0].Asked || f[0].Checked != 4 || f[0].Bad != 1 || len(f[0].Rows) != 1 || !strings.HasPrefix(f[0].Rows[0], "user 3: GET /orders: expected 200, found 401") {
		t.Errorf("one refused: found %+v", f)
	}
	if len(s.users) != signed {
		t.Error("somebody signed in again")
	}
	if f = l.Sessions(t.Context(), 0); f[0].Asked {
		t.Errorf("nobody had a token at 0: found %+v", f)
	}
}

func TestMistakesOfAService(t *testing.T) {
	request := func(r service.Request) func(*service.Service) {
		return func(s *service.Service) { s.Journeys[0].Steps = []service.Request{r} }
	}
	for _, c := range []struct {
		name, error string
		change      func(s *service.Service)
	}{
		{"unknown name", "{tokn} has no value here; those that have: sku, user, uuid", request(service.Request{Method: "GET", Path: "/", Headers: map[string]string{"A": "{tokn}"}})},
		{"cancel without a write", "no earlier request of the journey writes the key", request(service.Request{Method: "POST", Path: "/", Cancel: "{uuid}"})},
		{"write that is tried again", "it cannot have until", request(service.Request{Method: "POST", Path: "/", Until: time.Second, Write: &service.Write{Key: "{uuid}"}})},
		{"once without keep", "it keeps no value", request(service.Request{Method: "POST", Path: "/", Once: true})},
		{"keep without a path", "expected a path such as $.token", request(service.Request{Method: "POST", Path: "/", Keep: []service.Keep{{Name: "a", Path: "a"}}})},
		{"no requests", "has no request", func(s *service.Service) { s.Journeys[0].Steps = nil }},
		{"no weight", "no journey has a weight", func(s *service.Service) {
			for i := range s.Journeys {
				s.Journeys[i].Weight = 0
			}
		}},
		{"empty values", "values: sku is empty", func(s *service.Service) { s.Values["sku"] = service.Values{} }},
	} {
		s := shop()
		c.change(s)
		_, err := New(Config{Log: newLog(t).Log, Targets: []Target{{Service: s, URL: "http://127.0.0.1:1"}}})
		if err == nil || !strings.Contains(err.Error(), c.error) {
			t.Errorf("%s: found %v", c.name, err)
		}
	}
	if _, err := New(Config{Log: newLog(t).Log, Targets: []Target{{Service: shop(), URL: "http://127.0.0.1:1", Dependant: true}}}); err == nil {
		t.Error("no drilled service: expected an error")
	}
}

func TestRequestText(t *testing.T) {
	s := &service.Service{Name: "x", Values: map[string]service.Values{"odd": {List: []string{"a\"b\r\nc/d e&<"}}},
		Journeys: []service.Journey{{Name: "odd", Weight: 1, Steps: []service.Request{{Method: "POST", Path: "/p/{odd}?q={odd}",
			Headers: map[string]string{"x-odd": "{odd}"}, Body: map[string]any{"k": "<{odd}>", "n": 1.5}}}}}}
	p, err := newProgram(s, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient("http://127.0.0.1:80/base/", nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	st := &p.journeys[0].steps[0]
	values := make([]string, p.journeys[0].slots)
	values[p.journeys[0].draws[0].slot] = p.journeys[0].draws[0].list[0]
	text, _ := st.append(nil, nil, c, values, []byte("00-1-2-01"), true)
	want := "POST /base/p/a%22b%0D%0Ac%2Fd%20e&%3C?q=a%22b%0D%0Ac%2Fd+e%26%3C HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: backout\r\n" +
		"Accept: application/json\r\nX-Odd: a\"bc/d e&<\r\nContent-Type: application/json\r\nTraceparent: 00-1-2-01\r\nConnection: close\r\n" +
		"Content-Length: 33\r\n\r\n" + `{"k":"<a\"b\r\nc/d e&<>","n":1.5}`
	if string(text) != want {
		t.Errorf("found\n%q\nexpected\n%q", text, want)
	}
}
