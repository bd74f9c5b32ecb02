package drill

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/rollback"
	"backout/harness/service"
)

func TestAnswersByAFile(t *testing.T) {
	ben, _ := newKey(t)
	h, ctx, written := steered(t)
	h.identify(map[string]service.Person{"ben": {Key: ben.PublicKey()}}, "anna")
	dir := filepath.Join(t.TempDir(), HookDir)
	hooked, end := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() { defer close(gone); h.hook(hooked, dir) }()
	if _, err := ReadAsked(dir); err == nil || !strings.Contains(err.Error(), "nothing is asked there now") {
		t.Errorf("found %v", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- h.ask(ctx, rollback.Question{For: "the plan: x", Within: time.Minute, Two: true}) }()
	until := func(what string) Asked {
		t.Helper()
		for stop := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			asked, err := ReadAsked(dir)
			if err == nil && asked.For == what {
				return asked
			}
			if time.Now().After(stop) {
				t.Fatalf("%s is not asked: %+v, %v", what, asked, err)
			}
		}
	}
	asked := until("the plan: x")
	if asked.For != "the plan: x" || !asked.Two || asked.Nonce == "" {
		t.Errorf("found %+v", asked)
	}
	for _, o := range []struct {
		order Order
		want  string
	}{
		{Order{Name: Approve, By: "ben", Nonce: asked.Nonce}, "it does not prove that it comes from ben"},
		{Order{Name: Approve, By: "ben"}, "expected the nonce of what is asked"},
		{Order{Name: Approve, By: "ben", Nonce: "another"}, "it answers another question"},
		{Order{Name: Abort, By: "ben", Why: "no"}, "expected one of the orders approve, accept, refuse, found \"abort\""},
	} {
		if _, err := AnswerIn(t.Context(), dir, o.order); err == nil || !strings.Contains(err.Error(), o.want) {
			t.Errorf("expected %q, found %v", o.want, err)
		}
	}
	said, err := AnswerIn(t.Context(), dir, Order{Name: Approve, By: "ben", Nonce: asked.Nonce, Signature: signedBy(t, ben, asked, Approve, "ben")})
	if err != nil || said != "approved: the plan: x" {
		t.Errorf("found %q, %v", said, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}

	// The incident is handed over by the same way. What was on its way for the question before is not taken for an answer.
	go func() { _, err := h.handOver(ctx, "ben", time.Minute, "3 of 3"); answered <- err }()
	handed := until("the handoff to ben")
	if handed.By != "ben" || strings.Join(handed.Orders, " ") != "accept refuse" {
		t.Errorf("found %+v", handed)
	}
	if _, err := AnswerIn(t.Context(), dir, Order{Name: Accept, By: "ben", Nonce: asked.Nonce, Signature: signedBy(t, ben, asked, Accept, "ben")}); err == nil || !strings.Contains(err.Error(), "it answers another question") {
		t.Errorf("found %v", err)
	}
	said, err = AnswerIn(t.Context(), dir, Order{Name: Accept, By: "ben", Nonce: handed.Nonce, Signature: signedBy(t, ben, handed, Accept, "ben")})
	if err != nil || said != "accepted: the incident is yours, and resolved" {
		t.Errorf("found %q, %v", said, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	end()
	<-gone
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("expected nothing to be left, found %v, %v", left, err)
	}
	if log := strings.Join(written(), "\n"); !strings.Contains(log, "ben rejected the plan: x") || !strings.Contains(log, "ben approved the plan: x") {
		t.Error(log)
	}
}
