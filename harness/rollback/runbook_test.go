package rollback_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/rollback"
	"backout/harness/runbook"
	"backout/harness/service"
)

// pasted are the commands below a heading of a runbook, as a person would paste them.
func pasted(t *testing.T, p *service.Plan, heading string) []string {
	t.Helper()
	var page strings.Builder
	if err := (runbook.Book{Plan: p}).Markdown(&page); err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(page.String(), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatalf("expected the heading %s in:\n%s", heading, page.String())
	}
	var all []string
	for i, part := range strings.Split("\n"+section, "\n```\n") {
		if i%2 == 1 {
			all = append(all, part)
		}
	}
	if len(all) == 0 {
		t.Fatalf("expected commands below %s, found:\n%s", heading, section)
	}
	return all
}

func byHand(p *service.Plan) *service.Plan {
	p.Release = &service.Release{Name: "v2", Service: &service.Service{Name: "web", Tier: "standard", Instances: 1}}
	p.Path, p.From, p.To = "rollback.yaml", "v2", "v1"
	return p
}

// Whoever follows a runbook by hand holds the same lock as Backout: each keeps the other out, and it goes at the end.
func TestTheLockOfARunbookIsBackoutsOwn(t *testing.T) {
	r, _ := runner(t)
	p := byHand(&service.Plan{Name: "by hand", Steps: two.Steps})
	prepare, end := strings.Join(pasted(t, p, "Prepare"), "\n"), strings.Join(pasted(t, p, "Close"), "\n")

	sh := exec.Command("bash", "-c", prepare+"\necho ready; read line; "+end+"\necho closed; read line")
	sh.Dir = r.Dir
	in, err := sh.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := sh.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); sh.Wait() })
	says := func(want string) {
		t.Helper()
		got := make([]byte, len(want)+1)
		if n, err := out.Read(got); err != nil || string(got[:n]) != want+"\n" {
			t.Fatalf("expected the shell to say %q, found %q (%v)", want, got[:n], err)
		}
	}
	says("ready")
	if err := r.Take(t.Context(), p); !errors.As(err, new(*rollback.Held)) {
		t.Fatalf("expected Backout to be refused while somebody works by hand, found %v", err)
	}
	in.Write([]byte("\n"))
	says("closed")
	if err := r.Take(t.Context(), p); err != nil {
		t.Fatalf("expected the lock when the runbook is closed, found %v", err)
	}
	second := exec.Command("bash", "-c", prepare)
	second.Dir = r.Dir
	if told, err := second.CombinedOutput(); err != nil || !strings.Contains(string(told), "TAKEN") {
		t.Errorf("expected whoever works by hand to be told that Backout holds the lock, found %q (%v)", told, err)
	}
	if runbook.LockFile != rollback.LockFile {
		t.Errorf("expected one name of the lock, found %s and %s", runbook.LockFile, rollback.LockFile)
	}
}

// The pre-checks of a runbook, pasted, show what the page says that they show, and show a transaction in the way.
func TestThePreChecksOfARunbookAgainstPostgres(t *testing.T) {
	s := server(t)
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not on this machine")
	}
	p := byHand(&service.Plan{
		Name: "by hand",
		Env:  map[string]string{"PRIMARY": "DATABASE_URL"},
		Before: []service.Check{
			{Database: &service.Identity{Name: "shop", Role: "shop_migrator", URL: "PRIMARY"}},
			{Unblocked: []string{"orders", "lines"}},
		},
		Steps: []service.Step{{Name: "one", Run: "true", Timeout: time.Second, Again: "safe"}},
	})
	commands := pasted(t, p, "Pre-checks")
	if len(commands) != 2 {
		t.Fatalf("expected two commands, found %q", commands)
	}
	run := func(command string) string {
		t.Helper()
		c := exec.Command("bash", "-c", command)
		c.Env = []string{"PATH=" + filepath.Dir(psql) + ":/usr/bin:/bin", "PRIMARY=" + as(s, "shop_migrator")}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run(commands[0]); got != "shop|shop_migrator|shop_migrator" {
		t.Errorf("expected the identity, found %q", got)
	}
	if got := run(commands[1]); !strings.Contains(got, "(0 rows)") {
		t.Errorf("expected nothing in the way, found %q", got)
	}
	in := session(t, as(s, "shop_migrator"))
	statement(t, in, "begin")
	statement(t, in, "select * from orders")
	if got := run(commands[1]); !strings.Contains(got, "(1 row)") || !strings.Contains(got, "idle in transaction") {
		t.Errorf("expected the idle transaction, found %q", got)
	}
}
