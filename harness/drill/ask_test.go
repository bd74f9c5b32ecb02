package drill

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"backout/harness/rollback"
	"backout/harness/service"
)

// team is a system of the team's own, which answers as it is told.
type team struct {
	mu     sync.Mutex
	got    []Ask
	answer func(Ask) (code int, o *Order)
}

func (s *team) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a Ask
	if json.NewDecoder(r.Body).Decode(&a) != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, a)
	code, o := s.answer(a)
	w.WriteHeader(code)
	if o != nil {
		_ = json.NewEncoder(w).Encode(o)
	}
}

// asked are those of what it got that are as wanted.
func (s *team) asked(is func(Ask) bool) (all []Ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.got {
		if is(a) {
			all = append(all, a)
		}
	}
	return all
}

// hooked is a handle that asks a team's system.
func hooked(t *testing.T, answer func(Ask) (int, *Order)) (h *Handle, ctx context.Context, written func() []string, s *team, end func()) {
	t.Helper()
	s = &team{answer: answer}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("TEAM_URL", server.URL+"/T0ken")
	h, ctx, written = steered(t)
	a, secret, err := newAsker(&service.Service{Name: "shop", Hook: &service.Hook{URL: "TEAM_URL"}}, "run-7", true)
	if err != nil || len(secret) != 1 || secret[0] != server.URL+"/T0ken" {
		t.Fatalf("found %q, %v", secret, err)
	}
	return h, ctx, written, s, h.answerable(t.TempDir(), a)
}

// Who answers by the hook proves who it is, also where the question itself does not want that. An answer to another question, of
// another run, or one that comes late is not taken.
func TestAnswersByTheHook(t *testing.T) {
	ben, _ := newKey(t)
	anna, _ := newKey(t)
	var before Asked // of another run
	signed := func(as string, a Asked, nonce string) *Order {
		key := ben
		if as == "anna" {
			key = anna
		}
		return &Order{Name: Approve, By: as, Nonce: nonce, Signature: signedBy(t, key, a, Approve, as)}
	}
	before = Asked{For: "the plan: x", Nonce: "of-another-run"}
	wrong := []struct {
		order func(Ask) *Order
		why   string
	}{
		{func(a Ask) *Order { return &Order{Name: Approve, By: "ben", Nonce: a.Nonce} }, "it does not prove that it comes from ben"},
		{func(a Ask) *Order { return signed("ben", before, before.Nonce) }, "it answers another question"},
		{func(a Ask) *Order { return signed("ben", before, a.Nonce) }, "it does not prove that it comes from ben"},
		{func(a Ask) *Order { return signed("anna", a.Asked, a.Nonce) }, "anna started it: a second person must approve"},
		{func(a Ask) *Order { return signed("ben", a.Asked, "") }, "expected the nonce of what is asked"},
		{func(a Ask) *Order { return &Order{Name: Abort, By: "ben", Why: "no", Nonce: a.Nonce} }, "expected one of the orders approve, accept, refuse"},
	}
	h, ctx, written, s, end := hooked(t, nil)
	h.identify(map[string]service.Person{"ben": {Key: ben.PublicKey()}, "anna": {Key: anna.PublicKey()}}, "anna")
	n := 0
	s.answer = func(a Ask) (int, *Order) {
		if a.Over {
			return http.StatusNoContent, nil
		}
		if n++; n <= len(wrong) {
			return http.StatusOK, wrong[n-1].order(a)
		}
		return http.StatusOK, signed("ben", a.Asked, a.Nonce)
	}
	if err := h.ask(ctx, rollback.Question{For: "the plan: x", Within: time.Minute, Two: true}); err != nil {
		t.Fatal(err)
	}
	end()
	for i, w := range wrong {
		told := s.asked(func(a Ask) bool { return strings.Contains(a.Error, w.why) })
		if len(told) == 0 {
			t.Errorf("answer %d: the hook did not hear %q: %+v", i+1, w.why, s.got)
		}
	}
	first, last := s.got[0], s.got[len(s.got)-1]
	if first.Service != "shop" || first.Run != "run-7" || !first.Drill || first.For != "the plan: x" || !first.Two || first.Nonce == "" || first.Over {
		t.Errorf("asked %+v", first)
	}
	if !last.Over || last.Said != "approved: the plan: x" || last.Error != "" {
		t.Errorf("it ended with %+v", last)
	}
	same(t, written(), "backout asked the plan: x a second person approves it: another than who started it, and both have proved who they are",
		"ben rejected the plan: x it does not prove that it comes from ben: expected a signature by the person's key, or the token",
		"ben rejected the plan: x it answers another question than the one that is asked now",
		"ben rejected the plan: x it does not prove that it comes from ben: expected a signature by the person's key, or the token",
		"anna rejected the plan: x anna started it: a second person must approve",
		"ben approved the plan: x")
}

// One person is enough, and still the hook's word is not: nobody knows who can reach that system.
func TestANameByTheHookProvesNothing(t *testing.T) {
	h, ctx, written, s, end := hooked(t, func(a Ask) (int, *Order) {
		if a.Over {
			return http.StatusNoContent, nil
		}
		return http.StatusOK, &Order{Name: Approve, By: "ben", Nonce: a.Nonce}
	})
	ben, _ := newKey(t)
	h.identify(map[string]service.Person{"ben": {Key: ben.PublicKey()}}, "")
	err := h.ask(ctx, rollback.Question{For: "step 1", Within: 4 * askEvery})
	end()
	if err == nil || err.Error() != "nobody approved it within 4s" {
		t.Errorf("found %v", err)
	}
	if n := len(s.asked(func(a Ask) bool { return a.Error != "" && !a.Over })); n == 0 {
		t.Error("the hook did not hear that its answer was not taken")
	}
	// The same answer again and again is evidence once.
	same(t, written(), "backout asked step 1", "ben rejected step 1 it does not prove that it comes from ben: expected a signature by the person's key, or the token", "backout expired step 1")
}

// An answer that comes when nobody waits any more changes nothing, and is no answer to what is asked next.
func TestALateAnswerByTheHook(t *testing.T) {
	token, held, asked := "open sesame", make(chan struct{}), make(chan struct{})
	var once sync.Once
	h, ctx, written, s, end := hooked(t, nil)
	s.answer = func(a Ask) (int, *Order) {
		if a.For != "step 1" || a.Over {
			return http.StatusNoContent, nil
		}
		once.Do(func() { close(asked) })
		<-held
		return http.StatusOK, &Order{Name: Approve, By: "ben", Nonce: a.Nonce, Token: token}
	}
	h.identify(map[string]service.Person{"ben": {Token: digestOf(token)}}, "")
	first, stop := context.WithCancelCause(ctx)
	answered := make(chan error, 2)
	go func() { answered <- h.ask(first, rollback.Question{For: "step 1", Within: time.Minute}) }()
	<-asked
	stop(context.DeadlineExceeded) // nobody waits for that answer any more
	if err := <-answered; err == nil {
		t.Error("step 1 was approved")
	}
	go func() { answered <- h.ask(ctx, rollback.Question{For: "step 2", Within: 3 * askEvery}) }()
	waitFor(t, h, "being asked", func(s State) bool { return s.Asks == "step 2" })
	close(held)
	if err := <-answered; err == nil || err.Error() != "nobody approved it within 3s" {
		t.Errorf("found %v", err)
	}
	end()
	if n := len(s.asked(func(a Ask) bool { return a.Over && strings.Contains(a.Error, "it answers another question") })); n != 1 {
		t.Errorf("the hook did not hear once that its answer came late: %+v", s.got)
	}
	same(t, written(), "backout asked step 1", "backout asked step 2", "ben rejected step 2 it answers another question than the one that is asked now", "backout expired step 2")
}

// A hook that does not answer as it should delays nothing, and that is evidence, without its URL.
func TestAHookThatCannotBeAsked(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(Ask) (int, *Order)
		why    string
	}{
		"an error":              {func(Ask) (int, *Order) { return http.StatusInternalServerError, nil }, "found 500"},
		"it leads to elsewhere": {func(Ask) (int, *Order) { return http.StatusTemporaryRedirect, nil }, "found 307"},
		"an answer of any size": {func(Ask) (int, *Order) {
			return http.StatusOK, &Order{Name: Approve, By: "ben", Why: strings.Repeat("x", mostAnswer)}
		}, "expected an answer of at most 65536 bytes, found more"},
	} {
		t.Run(name, func(t *testing.T) {
			h, ctx, written, _, end := hooked(t, c.answer)
			err := h.ask(ctx, rollback.Question{For: "step 1", Within: 3 * askEvery})
			end()
			log := strings.Join(written(), "\n")
			if err == nil || strings.Count(log, "backout unheard step 1 the hook of TEAM_URL: ") != 1 || !strings.Contains(log, c.why) || strings.Contains(log, "T0ken") {
				t.Errorf("found %v and\n%s", err, log)
			}
		})
	}
}

func TestWhereTheHookMayBe(t *testing.T) {
	for _, c := range []struct {
		url   string
		drill bool
		allow []string
		want  string // empty: it may
	}{
		{"http://127.0.0.1:1/x", true, nil, ""},
		{"", true, nil, ""}, // people are played, and nobody is asked
		{"", false, nil, "expected a URL, such as https://approvals.example/backout, in the variable TEAM_URL of your environment, found none: export TEAM_URL=URL"},
		{"ftp://127.0.0.1/", false, nil, "expected a URL"},
		{"https://approvals.example/x", false, nil, `leads to the host "approvals.example", which it does not list`},
		{"https://approvals.example/x", false, []string{"approvals.example"}, ""},
		{"http://approvals.example/x", false, []string{"approvals.example"}, "expected https:// beyond this machine"},
		{"https://approvals.example/x", true, []string{"approvals.example"}, "expected this machine, since nobody is asked for a drill"},
		{"http://0.0.0.0:1/x", true, nil, "expected this machine"},
	} {
		t.Setenv("TEAM_URL", c.url)
		_, _, err := newAsker(&service.Service{Path: "service.yaml", Allow: c.allow, Hook: &service.Hook{URL: "TEAM_URL"}}, "x", c.drill)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q, a drill: %v: expected %q, found %v", c.url, c.drill, c.want, err)
		}
	}
}
