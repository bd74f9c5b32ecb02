package rollback_test

import (
	"context"
	"strconv"
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
	out, err = r.Ask(t.Context(), "sleep 60 >/dev/null 2>&1 & echo $!", nil)
	pid, bad := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || bad != nil {
		t.Fatalf("found %q, %v; expected the number of what it left running", out, err)
	}
	gone(t, pid)
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
