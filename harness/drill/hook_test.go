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

func TestApprovalByAFile(t *testing.T) {
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
	var asked Asked
	var err error
	for stop := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if asked, err = ReadAsked(dir); err == nil {
			break
		}
		if time.Now().After(stop) {
			t.Fatal(err)
		}
	}
	if asked.For != "the plan: x" || !asked.Two || asked.Nonce == "" {
		t.Errorf("found %+v", asked)
	}
	for _, o := range []struct {
		order Order
		want  string
	}{
		{Order{Name: Approve, By: "ben"}, "it does not prove that it comes from ben"},
		{Order{Name: Abort, By: "ben", Why: "no"}, "expected the order approve, found \"abort\""},
	} {
		if _, err := ApproveIn(t.Context(), dir, o.order); err == nil || !strings.Contains(err.Error(), o.want) {
			t.Errorf("expected %q, found %v", o.want, err)
		}
	}
	signature, err := Sign(ben, asked.Nonce, "ben")
	if err != nil {
		t.Fatal(err)
	}
	said, err := ApproveIn(t.Context(), dir, Order{Name: Approve, By: "ben", Signature: signature})
	if err != nil || said != "approved: the plan: x" {
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
