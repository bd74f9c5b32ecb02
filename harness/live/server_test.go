package live

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/report"
)

const sample = "../../reports/sample"

// played is a server with a replay of the sample on it, which begins when run is called.
func played(t testing.TB, times float64, addr string) (s *Server, r *drill.Replay, run func() <-chan error) {
	t.Helper()
	r, err := drill.NewReplay(sample, times)
	if err != nil {
		t.Fatal(err)
	}
	s, err = Start(Options{Addr: addr, Set: sample, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ended chan error
	t.Cleanup(func() {
		stop()
		if ended != nil {
			<-ended
		}
		_ = s.Close()
	})
	s.Begun(r.Begun(sample))
	return s, r, func() <-chan error {
		ended = make(chan error, 2)
		go func() { err := r.Run(ctx); ended <- err; ended <- err }()
		return ended
	}
}

// surfer is a client that behaves as a browser does with this server's own page.
type surfer struct {
	t     *testing.T
	http  *http.Client
	base  string // "http://127.0.0.1:PORT"
	token string // of orders
}

func visit(t *testing.T, s *Server) *surfer {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	return &surfer{t: t, base: "http://" + u.Host, http: &http.Client{Timeout: 20 * time.Second}}
}

func (b *surfer) get(path string) (int, string) {
	b.t.Helper()
	r, err := b.http.Get(b.base + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

var tokenIn = regexp.MustCompile(`data-token="([^"]+)"`)

// open loads the page of the replay.
func (b *surfer) open() string {
	b.t.Helper()
	code, text := b.get("/replay/")
	found := tokenIn.FindStringSubmatch(text)
	if code != http.StatusOK || found == nil {
		b.t.Fatalf("status %d: %.300s", code, text)
	}
	b.token = found[1]
	return text
}

// acted is what the page hears of an order.
type acted struct {
	Said, Error string
	Cannot      map[string]string
}

func (b *surfer) order(name, by, why string) (code int, answer acted) {
	b.t.Helper()
	return b.answer(name, by, why, "")
}

// answer gives an order that is the answer to a question.
func (b *surfer) answer(name, by, why, nonce string) (code int, answer acted) {
	b.t.Helper()
	form := url.Values{"order": {name}, "by": {by}, "why": {why}, "nonce": {nonce}, "token": {b.token}}
	r, err := http.NewRequest(http.MethodPost, b.base+"/replay/act", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.base)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	got, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer got.Body.Close()
	if err := json.NewDecoder(got.Body).Decode(&answer); err != nil {
		b.t.Fatal(err)
	}
	return got.StatusCode, answer
}

// watch reads frames until one of them is as wanted.
func (b *surfer) watch(since int64, wanted func(frame) bool) (all []frame) {
	b.t.Helper()
	r, err := b.http.Get(fmt.Sprintf("%s/replay/events?since=%d", b.base, since))
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	in := bufio.NewReader(r.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			b.t.Fatalf("the stream ended after %d frames: %v", len(all), err)
		}
		data, is := strings.CutPrefix(line, "data: ")
		if !is {
			continue
		}
		var f frame
		if err := json.Unmarshal([]byte(data), &f); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, f)
		if wanted(f) {
			return all
		}
	}
}

// strangers are requests that must get 403, and nothing else.
func strangers(s *Server) map[string]func(*http.Request) {
	good := "127.0.0.1:" + s.guard.port
	order := func(r *http.Request) {
		form := url.Values{"order": {drill.Abort}, "by": {"eve"}, "why": {"for fun"}, "token": {s.guard.orders}}
		*r = *httptest.NewRequest(http.MethodPost, "/replay/act", strings.NewReader(form.Encode()))
		r.Host = good
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://"+good)
	}
	withCookie := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: s.guard.cookie(), Value: s.guard.token}) }
	all := map[string]func(*http.Request){
		"another Host, as after DNS rebinding": func(r *http.Request) { r.Host = "evil.example:" + s.guard.port; withCookie(r) },
		"another port in Host":                 func(r *http.Request) { r.Host = "127.0.0.1:1"; withCookie(r) },
		"no Host":                              func(r *http.Request) { r.Host = ""; withCookie(r) },
		"an order from another Origin":         func(r *http.Request) { order(r); r.Header.Set("Origin", "http://evil.example"); withCookie(r) },
		"an order without an Origin":           func(r *http.Request) { order(r); r.Header.Del("Origin"); withCookie(r) },
		"an order from Origin null":            func(r *http.Request) { order(r); r.Header.Set("Origin", "null"); withCookie(r) },
		"an order that the browser calls cross-site": func(r *http.Request) {
			order(r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			withCookie(r)
		},
		"an order with another token": func(r *http.Request) {
			order(r)
			form := url.Values{"order": {drill.Abort}, "by": {"eve"}, "why": {"for fun"}, "token": {"guessed"}}
			r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			withCookie(r)
		},
		"an acceptance of the incident from another Origin": func(r *http.Request) {
			order(r)
			form := url.Values{"order": {drill.Accept}, "by": {"ada"}, "proof": {"open sesame"}, "token": {s.guard.orders}}
			r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			r.Header.Set("Origin", "http://evil.example")
			withCookie(r)
		},
		"an acceptance of the incident without the page's token": func(r *http.Request) {
			order(r)
			r.Body = io.NopCloser(strings.NewReader("order=accept&by=ada&proof=open+sesame"))
			withCookie(r)
		},
		"an order without a token": func(r *http.Request) {
			order(r)
			r.Body = io.NopCloser(strings.NewReader("order=abort&by=eve&why=fun"))
			withCookie(r)
		},
		"an order by GET": func(r *http.Request) {
			*r = *httptest.NewRequest(http.MethodGet, "/replay/act?order=abort&by=eve&why=fun&token="+s.guard.orders, nil)
			r.Host = good
			withCookie(r)
		},
		"an order by PUT": func(r *http.Request) { order(r); r.Method = http.MethodPut; withCookie(r) },
	}
	if s.guard.token != "" {
		all["nobody's page"] = func(*http.Request) {}
		all["nobody's events"] = func(r *http.Request) { r.URL.Path = "/replay/events" }
		all["nobody's report"] = func(r *http.Request) { r.URL.Path = "/replay/report.html" }
		all["nobody's order"] = order
		all["a wrong token"] = func(r *http.Request) { r.URL.RawQuery = "token=guessed" }
		all["an empty token"] = func(r *http.Request) { r.URL.RawQuery = "token=" }
		all["a wrong cookie"] = func(r *http.Request) { r.AddCookie(&http.Cookie{Name: s.guard.cookie(), Value: "guessed"}) }
	}
	return all
}

// letIn are the strangers whom a server lets in.
func letIn(s *Server, h http.Handler) (names []string) {
	for name, make := range strangers(s) {
		ctx, cancel := context.WithCancel(context.Background())
		r := httptest.NewRequest(http.MethodGet, "/replay/", nil)
		r.Host = "127.0.0.1:" + s.guard.port
		make(r)
		cancel() // a stream that is let in ends at once
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(ctx))
		if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "<html") {
			names = append(names, name)
		}
	}
	return names
}

func TestStrangersAreNotLetIn(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		s, _, _ := played(t, 1, addr)
		if got := letIn(s, s.Handler()); len(got) > 0 {
			t.Errorf("%s: strangers were let in: %s", addr, strings.Join(got, "; "))
		}
		if s := s.page("replay").state(); s.Cannot[drill.Abort] != "" {
			t.Errorf("%s: the drill was aborted by a stranger: %v", addr, s)
		}
	}
}

// The control of the test above: for each thing that protects, a server without it lets somebody in, and that is seen.
func TestStrangersAreSeenWhenTheyAreLetIn(t *testing.T) {
	forge := map[string]struct {
		do   func(s *Server, r *http.Request)
		lets string
	}{
		"Host is not looked at":           {func(s *Server, r *http.Request) { r.Host = "127.0.0.1:" + s.guard.port }, "another Host, as after DNS rebinding"},
		"Origin is not looked at":         {func(s *Server, r *http.Request) { r.Header.Set("Origin", "http://"+r.Host) }, "an order from another Origin"},
		"Sec-Fetch-Site is not looked at": {func(s *Server, r *http.Request) { r.Header.Del("Sec-Fetch-Site") }, "an order that the browser calls cross-site"},
		"the visitor's token is not looked at": {func(s *Server, r *http.Request) {
			r.AddCookie(&http.Cookie{Name: s.guard.cookie(), Value: s.guard.token})
		}, "nobody's page"},
		"an order's token is not looked at": {func(s *Server, r *http.Request) {
			if r.ParseForm() == nil && r.PostForm != nil {
				r.PostForm.Set("token", s.guard.orders)
			}
		}, "an order without a token"},
	}
	for name, f := range forge {
		t.Run(name, func(t *testing.T) {
			s, _, _ := played(t, 1, "0.0.0.0:0")
			h := s.Handler()
			got := letIn(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.do(s, r); h.ServeHTTP(w, r) }))
			if !strings.Contains(strings.Join(got, "; "), f.lets) {
				t.Errorf("expected %q to be seen as let in, found only %q", f.lets, got)
			}
		})
	}
}

func TestATokenIsGivenOnceAndKeptInACookie(t *testing.T) {
	s, _, _ := played(t, 1, "0.0.0.0:0")
	r := httptest.NewRequest(http.MethodGet, "/replay/?token="+s.guard.token, nil)
	r.Host = "127.0.0.1:" + s.guard.port
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	c := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/replay/" || len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("status %d to %q, cookies %v", w.Code, w.Header().Get("Location"), c)
	}
	r = httptest.NewRequest(http.MethodGet, "/replay/", nil)
	r.Host = "127.0.0.1:" + s.guard.port
	r.AddCookie(c[0])
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), s.guard.token) {
		t.Errorf("status %d, or the token stands in the page", w.Code)
	}
}

func TestWhereItListens(t *testing.T) {
	for addr, token := range map[string]bool{":0": false, "127.0.0.1:0": false, "localhost:0": false, "[::1]:0": false, "0.0.0.0:0": true} {
		l, g, err := listen(addr)
		if err != nil {
			if addr == "[::1]:0" {
				continue // a machine without IPv6
			}
			t.Fatal(err)
		}
		l.Close()
		if (g.token != "") != token || strings.Contains(g.url(), "token=") != token {
			t.Errorf("%s: token %v, url %s", addr, g.token != "", g.url())
		}
	}
	if _, _, err := listen("here"); err == nil || !strings.Contains(err.Error(), "serve at here: expected HOST:PORT") {
		t.Errorf("found %v", err)
	}
}

// Orders of the page act on the drill, are evidence, and are told to all who look.
func TestOrdersOfThePageActOnTheDrill(t *testing.T) {
	s, r, run := played(t, 20, "127.0.0.1:0")
	if err := r.Asks(2, time.Hour); err != nil {
		t.Fatal(err)
	}
	b := visit(t, s)
	b.open()
	if code, a := b.order(drill.Pause, "", ""); code != http.StatusConflict || !strings.Contains(a.Error, "expected the name of who orders it") {
		t.Errorf("an order of nobody: %d %+v", code, a)
	}
	if code, a := b.order(drill.Pause, "ada", "to look"); code != http.StatusOK || !strings.HasPrefix(a.Said, "paused") || a.Cannot[drill.Resume] != "" {
		t.Errorf("pause: %d %+v", code, a)
	}
	ended := run()
	says := func(text string) func(frame) bool {
		return func(f frame) bool {
			for _, p := range f.Parts {
				if p.ID == "headline" && strings.Contains(p.HTML, text) {
					return true
				}
			}
			return false
		}
	}
	b.watch(0, says("It is paused before the baseline"))
	if code, a := b.order(drill.Resume, "ada", ""); code != http.StatusOK {
		t.Errorf("resume: %d %+v", code, a)
	}
	last := b.watch(0, says("It waits for approval of step 2"))
	if f := last[len(last)-1]; f.Cannot[drill.Approve] != "" {
		t.Errorf("it cannot be approved: %v", f.Cannot)
	}
	if code, a := b.order(drill.Approve, "grace", "seen"); code != http.StatusOK || !strings.HasPrefix(a.Said, "approved: step 2") {
		t.Errorf("approve: %d %+v", code, a)
	}
	frames := b.watch(0, func(f frame) bool { return f.End != "" })
	if end := frames[len(frames)-1].End; end != "report.html" {
		t.Errorf("it became %q", end)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	feed := ""
	for _, f := range frames {
		for _, p := range f.Parts {
			if p.ID == "feed" {
				feed = p.HTML
			}
		}
	}
	for _, want := range []string{"paused, to look", "It is held before the baseline.", "resumed, the baseline", "It asks for approval of step 2", "approved, step 2", "<b>ada</b>", "<b>grace</b>"} {
		if !strings.Contains(feed, want) {
			t.Errorf("the feed does not say %q:\n%s", want, feed)
		}
	}
	if code, text := b.get("/replay/"); code != http.StatusOK || !strings.Contains(text, "Rollback drill") {
		t.Errorf("the page did not become the report: %d %.200s", code, text)
	}
	if code, a := b.order(drill.Abort, "eve", "late"); code != http.StatusConflict || !strings.Contains(a.Error, "the drill is over") {
		t.Errorf("an order after the end: %d %+v", code, a)
	}
}

// The receiver takes the incident over on the page, or refuses it, with a reason.
func TestTheReceiverAnswersOnThePage(t *testing.T) {
	for _, c := range []struct{ order, why, said string }{
		{drill.Accept, "", "accepted: the incident is yours"},
		{drill.Refuse, "one is open", "refused: the incident is not resolved"},
	} {
		t.Run(c.order, func(t *testing.T) {
			s, r, run := played(t, 40, "127.0.0.1:0")
			r.Hands("ada", time.Hour)
			b := visit(t, s)
			page := b.open()
			for _, want := range []string{`data-order="accept" aria-disabled="true"`, `data-order="refuse" aria-disabled="true"`, "nothing is handed over"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not hold %q", want)
				}
			}
			if code, a := b.order(c.order, "ada", "early"); code != http.StatusConflict || !strings.Contains(a.Error, "nothing is handed over") {
				t.Errorf("too early: %d %+v", code, a)
			}
			ended := run()
			frames := b.watch(0, func(f frame) bool { return f.Cannot[c.order] == "" })
			f := frames[len(frames)-1]
			if f.Nonce == "" || f.Cannot[drill.Approve] == "" {
				t.Errorf("found %+v", f)
			}
			if code, a := b.order(c.order, "grace", "for her"); code != http.StatusConflict || !strings.Contains(a.Error, "ada alone may answer, found grace") {
				t.Errorf("somebody else: %d %+v", code, a)
			}
			if code, a := b.answer(c.order, "ada", "late", "of another question"); code != http.StatusConflict || !strings.Contains(a.Error, "it answers another question") {
				t.Errorf("to another question: %d %+v", code, a)
			}
			b.watch(0, func(f frame) bool {
				return slices.ContainsFunc(f.Parts, func(p report.Part) bool {
					return p.ID == "feed" && strings.Contains(p.HTML, "It is handed over to ada") && strings.Contains(p.HTML, "rejected, the handoff to ada")
				})
			})
			if code, a := b.answer(c.order, "ada", c.why, f.Nonce); code != http.StatusOK || !strings.HasPrefix(a.Said, c.said) {
				t.Errorf("the receiver: %d %+v", code, a)
			}
			b.watch(0, func(f frame) bool { return f.End != "" })
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnAbortOfThePageEndsTheDrill(t *testing.T) {
	s, _, run := played(t, 20, "127.0.0.1:0")
	b := visit(t, s)
	b.open()
	if code, a := b.order(drill.Abort, "ada", ""); code != http.StatusConflict || !strings.Contains(a.Error, "expected a reason") {
		t.Errorf("an abort without a reason: %d %+v", code, a)
	}
	if code, a := b.order(drill.Abort, "ada", "the wrong drill"); code != http.StatusOK || !strings.HasPrefix(a.Said, "aborted") {
		t.Fatalf("abort: %d %+v", code, a)
	}
	if err := <-run(); err == nil || err.Error() != "aborted by ada: the wrong drill" {
		t.Errorf("it ended with %v", err)
	}
	b.watch(0, func(f frame) bool { return f.End != "" })
}

// idle is a page that nobody but the test renders.
func idle(t *testing.T) (p *page, at func(float64)) {
	t.Helper()
	p, err := newPage("x", "x", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := evidence.Offset(0)
	p.now = func() evidence.Offset { return now }
	var events []evidence.Event
	for e, err := range evidence.Read(filepath.Join(sample, evidence.File)) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return p, func(until float64) {
		for len(events) > 0 && float64(events[0].T) <= until {
			p.queue.put(events[0])
			events = events[1:]
		}
		now = evidence.Offset(until)
		p.mu.Lock()
		p.rendered, p.drawn, p.cost, p.dear = time.Time{}, time.Time{}, 0, 0 // it is time
		p.mu.Unlock()
		p.tick()
	}
}

// phaseAt is when a phase of the sample began.
func phaseAt(t *testing.T, name string) float64 {
	t.Helper()
	for e, err := range evidence.Read(filepath.Join(sample, evidence.File)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Phase != nil && e.Phase.Name == name {
			return float64(e.T)
		}
	}
	t.Fatalf("the sample has no phase %q", name)
	return 0
}

// One rendering is shared by all viewers, and one who takes nothing holds nobody up.
func TestViewersShareOneRendering(t *testing.T) {
	p, at := idle(t)
	begun := phaseAt(t, "baseline")
	at(begun)
	if p.frames != 0 {
		t.Errorf("it was rendered %d times for nobody", p.frames)
	}
	var viewers []*viewer
	for range 10 {
		viewers = append(viewers, p.join(0))
	}
	slow := p.join(0)
	for second := 1; second <= 8; second++ {
		at(begun + float64(second))
		if p.frames != second {
			t.Fatalf("rendered %d times in place of %d", p.frames, second)
		}
		var first []byte
		for i, v := range viewers {
			<-v.wake
			data, version := p.since(v.seen)
			v.seen = version
			if i == 0 {
				first = data
			} else if second > 1 && &data[0] != &first[0] {
				t.Error("the same was written twice")
			}
		}
	}
	<-slow.wake
	data, _ := p.since(slow.seen)
	late := visitor(t, data)
	if len(late) < 14 || !strings.Contains(late["feed"], "Phase: baseline") {
		t.Errorf("who was late has %d parts", len(late))
	}
	// Who comes last has what the others have gathered.
	whole, _ := p.since(0)
	for id, html := range visitor(t, whole) {
		if late[id] != html {
			t.Errorf("the part %s differs for who was late", id)
		}
	}
}

func visitor(t *testing.T, data []byte) map[string]string {
	t.Helper()
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, p := range f.Parts {
		parts[p.ID] = p.HTML
	}
	return parts
}

// What the page could not keep pace with is said, and what happens once is never lost.
func TestAnOverflowIsSaid(t *testing.T) {
	p, at := idle(t)
	at(1)
	p.join(0)
	for range mostQueued + 7 {
		p.queue.put(evidence.Event{N: 5, T: 1, Journey: &evidence.Journey{Name: "browse", Outcome: evidence.OK}})
	}
	p.queue.put(evidence.Event{N: 6, T: 1, Approval: &evidence.Approval{By: "ada", Event: evidence.ApprovalPaused}})
	at(1)
	data, _ := p.since(0)
	parts := visitor(t, data)
	if !strings.Contains(parts["reasons"], "7 events were not seen by this page") || !strings.Contains(parts["feed"], "<b>ada</b>") {
		t.Errorf("found\n%s\n%s", parts["reasons"], parts["feed"])
	}
}

// A run that another process makes is followed by its log; when its report is there the page becomes it. A set lists its runs.
func TestAFolderIsFollowed(t *testing.T) {
	set := t.TempDir()
	dir := filepath.Join(set, "a-drill-8")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	whole, err := os.ReadFile(filepath.Join(sample, evidence.File))
	if err != nil {
		t.Fatal(err)
	}
	grow := func(n int) {
		if err := os.WriteFile(filepath.Join(dir, evidence.File), whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	grow(len(whole) / 2)
	s, err := Start(Options{Addr: "127.0.0.1:0", Set: set})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := s.Follow(ctx); err != nil {
		t.Fatal(err)
	}
	b := visit(t, s)
	if code, text := b.get("/"); code != http.StatusOK || !strings.Contains(text, `href="a-drill-8/"`) {
		t.Errorf("the list of drills: %d %s", code, text)
	}
	code, text := b.get("/a-drill-8/")
	if code != http.StatusOK || !strings.Contains(text, "Live, ") || !strings.Contains(text, "no process of this user on this machine runs this drill") {
		t.Errorf("the page: %d %.2000s", code, text)
	}
	if code, _ := b.get("/a-drill-8/report.html"); code != http.StatusNotFound {
		t.Errorf("a report that is not there: %d", code)
	}
	grow(len(whole))
	page, err := os.ReadFile(filepath.Join(sample, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "report.html")
	if err := os.WriteFile(path, page[:len(page)/2], 0o644); err != nil { // its writer is not done
		t.Fatal(err)
	}
	for stop := time.Now().Add(10 * time.Second); !strings.Contains(text, "The drill has ended."); time.Sleep(20 * time.Millisecond) {
		if code, text = b.get("/a-drill-8/"); code != http.StatusOK || time.Now().After(stop) {
			t.Fatalf("the page before the report is whole: %d %.300s", code, text)
		}
	}
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := b.get("/a-drill-8/"); code != http.StatusOK || text != string(page) {
		t.Errorf("the page did not become the report: %d", code)
	}
	for path, want := range map[string]int{"/a-drill-8/verdict.json": 404, "/a-drill-8/..%2f..%2fetc%2fpasswd": 404, "/a-drill-9/": 404, "/junit.xml": 404, "/a-drill-8/evidence.ndjson.zst": 200} {
		if code, _ := b.get(path); code != want {
			t.Errorf("%s: %d, expected %d", path, code, want)
		}
	}
}

// The page of a set lists its drills while they run, and becomes its index.
func TestASetIsListedAndBecomesItsIndex(t *testing.T) {
	set := t.TempDir()
	s, err := Start(Options{Addr: "127.0.0.1:0", Set: set})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		r, err := drill.NewReplay(sample, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.Begun(r.Begun(t.TempDir()))
	}
	b := visit(t, s)
	_, text := b.get("/")
	for _, want := range []string{`href="replay/"`, `href="replay-again/"`, "0\u00a0% done."} {
		if !strings.Contains(text, want) {
			t.Errorf("the list does not say %q:\n%s", want, text)
		}
	}
	if err := os.WriteFile(filepath.Join(set, "index.html"), []byte("<html>all of them</html>"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := b.http.Get(b.base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	stream, err := io.ReadAll(r.Body) // it ends by itself
	if err != nil || !strings.Contains(string(stream), `"end":"./"`) {
		t.Errorf("the list did not end: %s %v", stream, err)
	}
	if _, text := b.get("/"); text != "<html>all of them</html>" {
		t.Errorf("the list did not become the index: %s", text)
	}
}

func TestAFolderThatIsNone(t *testing.T) {
	for dir, want := range map[string]string{filepath.Join(t.TempDir(), "absent"): "no such file", t.TempDir(): "expected the folder of a run, which holds evidence.ndjson.zst, or of a set"} {
		s, err := Start(Options{Addr: "127.0.0.1:0", Set: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Follow(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found %v", dir, err)
		}
		s.Close()
	}
}

// What comes from scripts, logs and people is text on the page, whatever is in it.
func TestHostileTextStaysText(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror=alert(1)>"' onclick=alert(1) javascript:alert(1)`
	p, _ := idle(t)
	put := func(n int64, k evidence.Kind) {
		e := evidence.Event{N: n, T: evidence.Offset(n)}
		k.Put(&e)
		p.live.Add(e)
	}
	put(1, &evidence.Run{Name: evil, Service: evidence.Service{Name: evil, Tier: evil, Journeys: []string{evil}}, Good: evil, Environment: evil,
		Release: evidence.Release{Name: evil}, Plan: evidence.Plan{Name: evil, Steps: []evidence.PlanStep{{Name: evil}}}, Windows: evidence.Windows{Beat: 1}})
	put(2, &evidence.Phase{Name: evil})
	put(3, &evidence.Instance{Name: evil, Release: evil, Up: true, Error: evil})
	put(4, &evidence.Node{Name: evil, Role: evil, Reachable: true, Error: evil})
	put(5, &evidence.Journey{Name: evil, Outcome: evidence.Failed, Error: evil, Served: []evidence.Serve{evil}, At: 4})
	put(6, &evidence.Step{Part: evidence.PartStep, Index: 1, Name: evil, Event: "started"})
	put(7, &evidence.Step{Part: evidence.PartStep, Index: 1, Name: evil, Event: "ended", Outcome: evidence.StepFailed, Error: evil})
	put(8, &evidence.Alert{Metric: evil, Of: evil, Event: "raised", Unit: evil})
	put(9, &evidence.Approval{By: evil, Event: evidence.ApprovalPaused, Why: evil})
	put(10, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalWaits, For: evil})
	put(11, &evidence.Message{Channel: evil, Text: evil})
	put(14, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalHanded, For: evil, Why: evil, Seconds: 60})
	put(15, &evidence.Approval{By: evil, Event: evidence.ApprovalRejected, For: evil, Why: evil, Proof: evil})
	put(12, &evidence.Cache{Name: evil, Error: evil})
	put(13, &evidence.Job{Name: evil, Error: evil})
	parts, err := p.live.Parts(14, true)
	if err != nil {
		t.Fatal(err)
	}
	var whole strings.Builder
	for _, part := range parts {
		whole.WriteString(part.HTML)
	}
	pages, err := report.NewLivePages()
	if err != nil {
		t.Fatal(err)
	}
	if err := pages.Page(&whole, report.LiveShell{Title: evil, Replay: evil, Token: evil, Assets: evil, Orders: []report.LiveOrder{{Name: evil, Label: evil, Cannot: evil, Hint: evil}}}); err != nil {
		t.Fatal(err)
	}
	list, err := pages.Drills([]report.LiveDrill{{Name: evil, Href: evil, Says: evil}})
	if err != nil {
		t.Fatal(err)
	}
	whole.WriteString(list)
	for _, bad := range []string{"<script>alert", "<img src=x", `href="javascript`} {
		if strings.Contains(whole.String(), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !strings.Contains(whole.String(), "&lt;script&gt;alert") {
		t.Error("the hostile text is not on the page at all")
	}
}
