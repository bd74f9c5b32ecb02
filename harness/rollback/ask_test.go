package rollback_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What is asked runs as a step does, is no step, and ends with its context.
func TestAsk(t *testing.T) {
	r, seen := runner(t)
	r.Vars = map[string]string{"DATABASE_URL": "postgres://somewhere"}
	out, err := r.Ask(t.Context(), `echo "$PRIMARY in $(pwd -P | wc -l)"; echo aside >&2`, map[string]string{"PRIMARY": "DATABASE_URL"})
	if err != nil || out != "postgres://somewhere in 1\n" {
		t.Errorf("found %q, %v; expected what it said on stdout alone", out, err)
	}
	if _, err := r.Ask(t.Context(), "echo no; echo never >&2; exit 3", nil); err == nil || !strings.Contains(err.Error(), "exit status 3: no\nnever") {
		t.Errorf("found %v; expected its exit code and what it said", err)
	}
	if _, err := r.Ask(t.Context(), "true", map[string]string{"PRIMARY": "DATABSE_URL"}); err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("found %v; expected the variables that there are", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := r.Ask(ctx, "sleep 60 & sleep 60", nil); err == nil || time.Since(begun) > 10*time.Second {
		t.Errorf("found %v after %s; expected it to end with its context", err, time.Since(begun))
	}
	if len(seen.all) > 0 {
		t.Errorf("found %+v in the log; expected nothing", seen.all)
	}
}
