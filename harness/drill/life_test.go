package drill

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// An environment that cannot go on safely ends the phase that is under way, and no other one begins.
func TestTheEnvironmentEndsADrill(t *testing.T) {
	d := New(&Spec{}, Options{Dir: func(*Spec) string { return t.TempDir() }})
	err := d.guard(t.Context(), func(ctx context.Context) error {
		d.end(errors.New("too many pods"))
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "the environment ended the drill: too many pods") {
		t.Errorf("the phase ended with %v", err)
	}
	if err := d.guard(t.Context(), func(context.Context) error { t.Error("another phase began"); return nil }); err == nil {
		t.Error("the drill goes on")
	}
}
