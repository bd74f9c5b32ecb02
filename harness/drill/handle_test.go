package drill

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/rollback"
)

// steered is a handle with a log, as a drill has it, and what was written of people.
func steered(t *testing.T) (h *Handle, ctx context.Context, written func() []string) {
	t.Helper()
	ctx, end := context.WithCancelCause(context.Background())
	h = newHandle(end, func(string) {})
	log, err := evidence.Create(filepath.Join(t.TempDir(), evidence.File), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = log.Close() })
	events := make(chan string, 100)
	log.Tap(func(e evidence.Event) {
		if a := e.Approval; a != nil {
			events <- strings.Join(strings.Fields(a.By+" "+a.Event+" "+a.For+" "+a.Why), " ")
		}
	})
	log.Hide("sesame")
	h.begin(func(k evidence.Kind) { log.Put(k) }, log.Clean)
	return h, ctx, func() (all []string) {
		for len(events) > 0 {
			all = append(all, <-events)
		}
		return all
	}
}

// until waits for a state of the handle.
func waitFor(t *testing.T, h *Handle, what string, is func(State) bool) {
	t.Helper()
	for stop := time.Now().Add(10 * time.Second); !is(h.State()); time.Sleep(time.Millisecond) {
		if time.Now().After(stop) {
			t.Fatalf("waited for %s; the last state was %+v", what, h.State())
		}
	}
}

func same(t *testing.T, found []string, want ...string) {
	t.Helper()
	if strings.Join(found, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected\n  %s\nfound\n  %s", strings.Join(want, "\n  "), strings.Join(found, "\n  "))
	}
}

func order(t *testing.T, h *Handle, o Order) string {
	t.Helper()
	said, err := h.Do(o)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestAPauseHoldsTheDrillUntilItIsResumed(t *testing.T) {
	h, ctx, written := steered(t)
	if err := h.hold(ctx, "step 1: nothing is paused"); err != nil {
		t.Fatal(err)
	}
	order(t, h, Order{Name: Pause, By: "ada", Why: "the password is sesame"})
	held := make(chan error, 1)
	go func() { held <- h.hold(ctx, "step 2: the code") }()
	waitFor(t, h, "being held", func(s State) bool { return s.Waits == "step 2: the code" })
	if s := h.State(); s.Cannot[Pause] != "it is paused already, by ada" || s.Cannot[Resume] != "" || s.Paused == nil || s.Paused.By != "ada" {
		t.Errorf("found %+v", s)
	}
	if said := order(t, h, Order{Name: Resume, By: "grace", Why: ""}); said != "resumed: step 2: the code" {
		t.Error(said)
	}
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if h.people() <= 0 {
		t.Error("nobody took time")
	}
	same(t, written(), "ada paused the password is [secret]", "backout waits step 2: the code", "grace resumed step 2: the code", "backout goes on step 2: the code")
}

func TestAnAbortEndsTheDrillAndSaysWhoAndWhy(t *testing.T) {
	h, ctx, written := steered(t)
	order(t, h, Order{Name: Pause, By: "ada", Why: ""})
	held := make(chan error, 1)
	go func() { held <- h.hold(ctx, "step 1") }()
	waitFor(t, h, "being held", func(s State) bool { return s.Waits != "" })
	order(t, h, Order{Name: Abort, By: "grace", Why: "the wrong drill"})
	if err := <-held; err == nil || err.Error() != "aborted by grace: the wrong drill" {
		t.Errorf("found %v", err)
	}
	if _, err := h.Do(Order{Name: Resume, By: "ada", Why: ""}); err == nil || !strings.Contains(err.Error(), "it was aborted by grace") {
		t.Errorf("found %v", err)
	}
	same(t, written(), "ada paused", "backout waits step 1", "grace aborted the wrong drill")
}

func TestAStepAsksForApproval(t *testing.T) {
	for _, c := range []struct {
		name    string
		within  time.Duration
		order   *Order
		err     string
		written []string
	}{
		{"approved", time.Minute, &Order{Name: Approve, By: "ada", Why: "seen"}, "", []string{"backout asked step 2", "ada approved step 2 seen"}},
		{"refused", time.Minute, &Order{Name: Abort, By: "ada", Why: "no"}, "refused by ada: no", []string{"backout asked step 2", "ada aborted no", "ada refused step 2 no"}},
		{"expired", time.Millisecond, nil, "nobody approved it within 1ms", []string{"backout asked step 2", "backout expired step 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx, written := steered(t)
			answered := make(chan error, 1)
			go func() { answered <- h.ask(ctx, rollback.Question{For: "step 2", Within: c.within}) }()
			if c.order != nil {
				waitFor(t, h, "being asked", func(s State) bool { return s.Asks == "step 2" })
				order(t, h, *c.order)
			}
			err := <-answered
			if no := new(rollback.Unapproved); c.err != "" && (!errors.As(err, &no) || err.Error() != c.err) || c.err == "" && err != nil {
				t.Errorf("expected %q, found %v", c.err, err)
			}
			if s := h.State(); s.Asks != "" {
				t.Errorf("it still asks for %s", s.Asks)
			}
			same(t, written(), c.written...)
		})
	}
}

func TestAnIncidentIsHandedOver(t *testing.T) {
	for _, c := range []struct {
		name    string
		within  time.Duration
		order   *Order
		said    string
		written []string
	}{
		{"accepted", time.Minute, &Order{Name: Accept, By: "ada", Why: ""}, "accepted by ada", []string{"backout handed over ada 3 of 3", "grace rejected the handoff to ada ada alone may answer, found grace", "ada accepted ada"}},
		{"refused", time.Minute, &Order{Name: Refuse, By: "ada", Why: "one is open"}, "declined by ada: one is open", []string{"backout handed over ada 3 of 3", "grace rejected the handoff to ada ada alone may answer, found grace", "ada declined ada one is open"}},
		{"nobody answers", time.Millisecond, nil, "ada did not answer within 1ms", []string{"backout handed over ada 3 of 3", "backout lapsed ada"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx, written := steered(t)
			h.typed = true // who that is, is another test's
			answered := make(chan string, 1)
			go func() {
				said, err := h.handOver(ctx, "ada", c.within, "3 of 3")
				if err != nil {
					said = err.Error()
				}
				answered <- said
			}()
			if c.order != nil {
				waitFor(t, h, "being handed over", func(s State) bool { return s.Hands == "ada" })
				if _, err := h.Do(Order{Name: Accept, By: "grace", Why: ""}); err == nil || !strings.Contains(err.Error(), "ada alone may answer, found grace") {
					t.Errorf("somebody else took it: %v", err)
				}
				order(t, h, *c.order)
			}
			if said := <-answered; said != c.said {
				t.Errorf("expected %q, found %q", c.said, said)
			}
			if s := h.State(); s.Hands != "" {
				t.Errorf("it is still handed over to %s", s.Hands)
			}
			same(t, written(), c.written...)
		})
	}
}

func TestAnAbortEndsTheHandoff(t *testing.T) {
	h, ctx, written := steered(t)
	answered := make(chan error, 1)
	go func() {
		_, err := h.handOver(context.WithoutCancel(ctx), "ada", time.Minute, "3 of 3")
		answered <- err
	}()
	waitFor(t, h, "being handed over", func(s State) bool { return s.Hands == "ada" })
	order(t, h, Order{Name: Abort, By: "grace", Why: "the wrong day"})
	if err := <-answered; err == nil || err.Error() != "aborted by grace: the wrong day" {
		t.Errorf("found %v", err)
	}
	same(t, written(), "backout handed over ada 3 of 3", "grace aborted the wrong day")
}

func TestOrdersThatCannotBe(t *testing.T) {
	h, _, written := steered(t)
	early := newHandle(nil, nil)
	for _, c := range []struct {
		h    *Handle
		o    Order
		want string
	}{
		{h, Order{Name: Resume, By: "ada", Why: ""}, "cannot resume: nothing is paused"},
		{h, Order{Name: Approve, By: "ada", Why: ""}, "cannot approve: nothing waits for approval"},
		{h, Order{Name: Abort, By: "ada", Why: " \n"}, "abort: expected a reason"},
		{h, Order{Name: Pause, By: " ", Why: ""}, "pause: expected the name of who orders it"},
		{h, Order{Name: Pause, By: "backout", Why: ""}, "which stands for the harness itself"},
		{h, Order{Name: "stop", By: "ada"}, `expected one of resume, pause, abort, approve, accept, refuse, found "stop"`},
		{h, Order{Name: Accept, By: "ada", Why: ""}, "cannot accept: nothing is handed over"},
		{h, Order{Name: Refuse, By: "ada", Why: ""}, "refuse: expected a reason"},
		{early, Order{Name: Pause, By: "ada", Why: ""}, "cannot pause: the drill has not begun"},
	} {
		if _, err := c.h.Do(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: expected %q, found %v", c.o, c.want, err)
		}
	}
	h.finish()
	if _, err := h.Do(Order{Name: Pause, By: "ada", Why: ""}); err == nil || !strings.Contains(err.Error(), "the drill is over") {
		t.Errorf("found %v", err)
	}
	same(t, written())
}

func TestWhatPeopleWriteIsOneLineOfWords(t *testing.T) {
	h, _, written := steered(t)
	order(t, h, Order{Name: Pause, By: "ada\x1b[2J\nlovelace", Why: strings.Repeat("x", 600)})
	if got := written()[0]; got != "ada[2J lovelace paused "+strings.Repeat("x", 500) {
		t.Errorf("found %q", got)
	}
}

// The socket is found by the register, only its user can open it, and nothing of it stays.
func TestATerminalReachesARunningDrill(t *testing.T) {
	for _, temp := range []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long/", 25))} {
		if err := os.MkdirAll(temp, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", temp)
		t.Setenv("XDG_STATE_HOME", filepath.Join(t.TempDir(), "state"))
		h, _, written := steered(t)
		if all, err := RunningDrills(); err != nil || len(all) != 0 {
			t.Fatalf("found %v, %v before it runs", all, err)
		}
		silent, err := h.listen("a-drill-8", "reports/set/a-drill-8")
		if err != nil {
			t.Fatal(err)
		}
		all, err := RunningDrills()
		if err != nil || len(all) != 1 || all[0].Name != "a-drill-8" || !all[0].Is("reports/set") || !all[0].Is("a-drill-8") || all[0].Is("reports/se") {
			t.Fatalf("found %+v, %v", all, err)
		}
		info, err := os.Stat(all[0].socket)
		inner, err2 := os.Stat(filepath.Dir(all[0].socket))
		if err != nil || err2 != nil || info.Mode().Perm() != 0o600 || inner.Mode().Perm() != 0o700 {
			t.Errorf("the socket has %v in %v: %v %v", info, inner, err, err2)
		}
		if said, s, err := all[0].Order(context.Background(), Order{Name: Pause, By: "ada", Why: "look"}); err != nil || !strings.HasPrefix(said, "paused: ") || s.Paused == nil {
			t.Errorf("said %q, %+v, %v", said, s, err)
		}
		if _, _, err := all[0].Order(context.Background(), Order{Name: Approve, By: "ada", Why: ""}); err == nil || err.Error() != "a-drill-8: cannot approve: nothing waits for approval" {
			t.Errorf("found %v", err)
		}
		same(t, written(), "ada paused look")
		if removed, err := environment.Clean(context.Background(), filepath.Join(os.Getenv("XDG_STATE_HOME"), "backout/register"), nil); err != nil || len(removed) != 0 {
			t.Errorf("clean removed %v of a run that lives, %v", removed, err)
		}
		if err := silent(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Dir(filepath.Dir(all[0].socket))); !os.IsNotExist(err) {
			t.Errorf("its directory stays: %v", err)
		}
		if all, err := RunningDrills(); err != nil || len(all) != 0 {
			t.Errorf("found %v, %v after it ended", all, err)
		}
	}
}
