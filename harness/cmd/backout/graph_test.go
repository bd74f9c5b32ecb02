package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two steps run side by side when the runner is killed: the one has ended, the other has not. Whoever goes on, by the journal or by
// the lease, runs the first one no more, the second one again, and then what needs both.
func TestAPlanOfSeveralPartsIsResumedInEarnest(t *testing.T) {
	w := newTap(t)
	text, err := os.ReadFile(w.plan)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), "  - name: take the column away\n")
	second, rest, _ := strings.Cut(rest, "  - name: open it\n")
	third, after, _ := strings.Cut(rest, "after:\n")
	several := first + "  - name: open it\n    needs: []\n" + third + "  - name: take the column away\n    needs: [close it, open it]\n" + second + "after:\n" + after
	if err := os.WriteFile(w.plan, []byte(several), 0o644); err != nil {
		t.Fatal(err)
	}
	code, said := w.ends(nil, "--dry-run")
	w.expect(code, said, 0, "[at once; beside step 1]", "[after steps 1 and 2]")

	for name, env := range map[string][]string{"by the journal": nil, "by the lease": {"XDG_STATE_HOME=" + filepath.Join(w.dir, "elsewhere")}} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.again()
			c, ended := w.begins("wait-3")
			w.until(filepath.Join(w.dir, "state/backout/rollbacks/tap/rollback.journal"), `"done":[1],"open":[2]`)
			w.written(1)
			if err := c.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			ended()
			w.goesOn("wait-3")
			for limit := time.Now().Add(time.Minute); ; {
				code, said = w.ends(env, "--resume", "--by", "bob")
				if code != 3 || time.Now().After(limit) { // it was not let in yet
					break
				}
			}
			w.expect(code, said, 0, "PASS", "1 of 3 steps are done", "1 of them had ended well, and not so: 2", "done, 66 % of the plan")
			ran := w.ran()
			for what, times := range map[string]int{"begun 1": 1, "begun 3": 2, "begun 2": 1, "done 2": 1} {
				if found := strings.Count(ran, what); found != times {
					t.Errorf("expected %q %d times, found %s", what, times, ran)
				}
			}
		})
	}
}
