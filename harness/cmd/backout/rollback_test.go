package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/postgres"
	"backout/harness/rollback"
)

const tapPassword = "pa55-of-the-tap"

// tap is a service whose plan people run in earnest: a database that they have, and a folder in which each step leaves a line.
type tap struct {
	machine
	plan string // its file
	done string // the file in which each step leaves a line
	env  []string
	url  string // of the database, as a superuser
}

// steps are those of the plan: each leaves a line at its end, and waits in its midst, what it changes being changed, for as long as a file is there.
const tapSteps = `
  - name: close it
    run: echo begun 1 >>"$WHERE/done"; while [ -e "$WHERE/wait-1" ]; do sleep 0.02; done; echo done 1 >>"$WHERE/done"
    timeout: 60s
    again: safe
  - name: take the column away
    run: psql -XAtqv ON_ERROR_STOP=1 -d "$DB" -c "alter table water drop column warm"; echo begun 2 >>"$WHERE/done"; while [ -e "$WHERE/wait-2" ]; do sleep 0.02; done; echo done 2 >>"$WHERE/done"
    timeout: 60s
    again: refuse
  - name: open it
    run: echo begun 3 >>"$WHERE/done"; while [ -e "$WHERE/wait-3" ]; do sleep 0.02; done; echo done 3 >>"$WHERE/done"
    timeout: 60s
    again: safe
`

func newTap(t *testing.T) tap {
	t.Helper()
	w := tap{machine: newMachine(t)}
	w.done = filepath.Join(w.dir, "where/done")
	for path, text := range map[string]string{
		"where/none":                   "",
		"tap/tap.sql":                  "create table water (id int primary key);\n",
		"tap/service.yaml":             "service: tap\ntier: standard\nlock: {postgres: TAP_LEASE, expires: 2s}\ndatabase: {load: ./tap.sql}\n",
		"tap/releases/v1/release.yaml": "{release: v1, good: true}\n",
		"tap/releases/v2/release.yaml": "release: v2\ngood: true\nrollout:\n  - {name: up, run: \"true\", timeout: 5s, again: safe}\n",
		"tap/releases/v2/rollback.yaml": `plan: no warm water
from: v2
to: v1
env: {DB: DATABASE_URL, WHERE: TAP_DIR}
before:
  - database: {name: tap, role: tap_migrator, url: DB}
steps:` + tapSteps + `after:
  - command: {run: 'psql -XAtqd "$DB" -c "select count(*) from information_schema.columns where table_name = ''water''"', output: ^1$}
    within: 5s
`,
	} {
		path = filepath.Join(w.dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	w.plan = filepath.Join(w.dir, "tap/releases/v2/rollback.yaml")

	programs, err := postgres.Find("")
	if err != nil {
		t.Skip(err)
	}
	top, err := os.MkdirTemp("", "backout-tap-") // as root the server runs as another user, who must pass through
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o711); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := programs.Init(ctx, filepath.Join(top, "data"), tapPassword); err != nil {
		t.Fatal(err)
	}
	server, err := programs.Start(ctx, postgres.Start{Dir: filepath.Join(top, "data"), LogFile: filepath.Join(top, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	w.url = server.URL(tapPassword, "tap")
	w.sql(server.URL(tapPassword, "postgres"), "create database tap", "create database other", "create database leases",
		"create role tap_migrator login password '"+tapPassword+"'")
	w.again()
	w.env = append(w.env, "TAP_DIR="+filepath.Dir(w.done), "DATABASE_URL="+postgres.URL("127.0.0.1", server.Port(), "tap_migrator", tapPassword, "tap"),
		"TAP_LEASE="+server.URL(tapPassword, "leases"))
	return w
}

// in is for a test within the test.
func (w tap) in(t *testing.T) tap { w.t = t; return w }

func (w tap) sql(url string, statements ...string) {
	w.t.Helper()
	c, err := pgx.Connect(w.t.Context(), url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, s := range statements {
		if _, err := c.Exec(w.t.Context(), s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

// again makes the table as v2 has it, and forgets what steps have left.
func (w tap) again() {
	w.t.Helper()
	w.sql(w.url, "drop table if exists water", "create table water (id int primary key, warm boolean)", "alter table water owner to tap_migrator")
	if err := os.WriteFile(w.done, nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
	for _, state := range []string{"state", "elsewhere"} {
		if err := os.RemoveAll(filepath.Join(w.dir, state, "backout/rollbacks")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sql(strings.Replace(w.url, "/tap?", "/leases?", 1), "drop table if exists backout_lease")
}

// rollback is the command; what is in env comes last, and wins.
func (w tap) rollback(env []string, args ...string) *exec.Cmd {
	c := w.command(append([]string{"rollback", w.plan, "--reports", filepath.Join(w.dir, "reports"), "--watch", "1s", "--by", "ada"}, args...)...)
	c.Env = append(append(c.Env, w.env...), env...)
	return c
}

// ends runs it to its end.
func (w tap) ends(env []string, args ...string) (code int, said string) {
	w.t.Helper()
	return w.outcome(w.rollback(env, args...))
}

func (w tap) outcome(c *exec.Cmd) (code int, said string) {
	w.t.Helper()
	out, err := c.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	if strings.Contains(string(out), tapPassword) {
		w.t.Errorf("the password is in %s", out)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// ran is what steps have left.
func (w tap) ran() string {
	w.t.Helper()
	text, err := os.ReadFile(w.done)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

const allRan = "begun 1 done 1 begun 2 done 2 begun 3 done 3"

func (w tap) expect(code int, said string, expected int, parts ...string) {
	w.t.Helper()
	if code != expected {
		w.t.Errorf("expected the exit code %d, found %d: %s", expected, code, said)
	}
	for _, part := range parts {
		if !strings.Contains(said, part) {
			w.t.Errorf("expected %q in %s", part, said)
		}
	}
}

func TestRollbackInEarnest(t *testing.T) {
	t.Parallel()
	w := newTap(t)
	nothingRan := func(t *testing.T) {
		t.Helper()
		if ran := w.ran(); ran != "" {
			t.Errorf("steps ran: %s", ran)
		}
	}
	t.Run("dry run", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends(nil, "--dry-run")
		w.expect(code, said, 0, "lease", "the database is tap and the role tap_migrator", "take the column away: psql", "watch")
		nothingRan(t)
	})
	t.Run("a variable is missing", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends([]string{"TAP_DIR="})
		w.expect(code, said, 3, "expected the variable TAP_DIR in your environment, found none: export TAP_DIR=VALUE")
		nothingRan(t)
	})
	t.Run("a host that is not listed", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends([]string{"DATABASE_URL=postgres://tap_migrator:" + tapPassword + "@db.production.example/tap"})
		w.expect(code, said, 3, `the variable DATABASE_URL leads to the host "db.production.example"`, "add it to `allow`")
		nothingRan(t)
	})
	t.Run("the wrong database", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends([]string{"DATABASE_URL=" + strings.Replace(w.env[1], "DATABASE_URL=", "", 1) + "&dbname=other"})
		w.expect(code, said, 1, "expected DB to be the database tap, found other", "nothing was changed")
		nothingRan(t)
	})
	t.Run("no word of which database it is", func(t *testing.T) {
		w := w.in(t)
		text, err := os.ReadFile(w.plan)
		if err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(w.plan, text, 0o644)
		if err := os.WriteFile(w.plan, bytes.Replace(text, []byte("before:\n  - database: {name: tap, role: tap_migrator, url: DB}\n"), nil, 1), 0o644); err != nil {
			t.Fatal(err)
		}
		code, said := w.ends(nil)
		w.expect(code, said, 3, "expected `- database: {name: ..., role: ..., url: DB}` in before")
		nothingRan(t)
	})
	for _, c := range []struct {
		name, states string
		code         int
		said         []string
	}{
		{"two people, and nobody has proved who starts it", "approval: {how: manual, people: two}", 3, []string{"asks for two people", "--by NAME --key FILE"}},
		{"nobody approves it", "approval: {how: manual, within: 300ms}", 1, []string{"nobody approved it within 300ms"}},
		{"it may touch so much, and nobody can count it", "ceiling: {instances: 1, within: 300ms}", 1, []string{"could not be counted: expected the instances, found none", "nobody approved it within 300ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			text, err := os.ReadFile(w.plan)
			if err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(w.plan, text, 0o644)
			if err := os.WriteFile(w.plan, bytes.Replace(text, []byte("before:\n"), []byte(c.states+"\nbefore:\n"), 1), 0o644); err != nil {
				t.Fatal(err)
			}
			code, said := w.ends(nil)
			w.expect(code, said, c.code, c.said...)
			nothingRan(t)
		})
	}
	t.Run("right", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends(nil)
		if at := regexp.MustCompile(`report +(\S+)/report.html`).FindStringSubmatch(said); at == nil {
			t.Errorf("expected a report, found %s", said)
		} else if told, err := os.ReadFile(filepath.Join(at[1], rollback.TranscriptFile)); err != nil || !strings.Contains(string(told), "no warm water") || strings.Contains(string(told), "DRILL") {
			t.Errorf("expected a transcript of a rollback in earnest, found %s, %v", told, err)
		}
		w.expect(code, said, 0, "PASS", "every step ended as it should: 3 of 3", "the lease, which counts on all machines", "writes, rows and replicas were not looked at")
		if ran := w.ran(); ran != allRan {
			t.Errorf("found %s", ran)
		}
	})
	t.Run("the validation does not hold", func(t *testing.T) {
		w := w.in(t)
		w.again()
		w.sql(w.url, "alter table water add column cold boolean")
		code, said := w.ends(nil)
		w.expect(code, said, 1, "FAIL", "the plan's validation held", "found 2")
	})
	t.Run("a second operator, on another machine", func(t *testing.T) {
		w := w.in(t)
		w.again()
		first := w.starts("wait-2")
		// The state of another machine: its folder is another one.
		code, said := w.ends([]string{"XDG_STATE_HOME=" + filepath.Join(w.dir, "elsewhere")}, "--by", "bob")
		w.expect(code, said, 3, `ada runs the plan "no warm water"`, "at step 2 of 3 (take the column away)", "since 2")
		w.goesOn("wait-2")
		if code, said := first(); code != 0 || w.ran() != allRan {
			t.Errorf("exit %d, %s: %s", code, w.ran(), said)
		}
	})
	t.Run("paused, and aborted at the next boundary", func(t *testing.T) {
		w := w.in(t)
		w.again()
		first := w.starts("wait-1")
		for _, order := range [][]string{{"pause"}, {"resume"}, {"abort", "--why", "the wrong day"}} {
			if code, said := w.outcome(w.command(append(order, "--by", "bob")...)); code != 0 {
				t.Errorf("%v: %s", order, said)
			}
		}
		w.goesOn("wait-1")
		code, said := first()
		w.expect(code, said, 2, "aborted by bob", "the wrong day")
		if ran := w.ran(); ran != "begun 1 done 1" {
			t.Errorf("found %s", ran)
		}
		code, said = w.ends(nil)
		w.expect(code, said, 3, "a plan was left half done", "--resume` goes on with step 2")
		code, said = w.ends(nil, "--resume")
		w.expect(code, said, 0, "PASS", "and 1 before by an earlier run")
		if ran := w.ran(); ran != allRan {
			t.Errorf("found %s", ran)
		}
	})
}

// starts begins a rollback, which waits in the midst of a step; ended waits for its end.
func (w tap) starts(waits string, args ...string) (ended func() (code int, said string)) {
	w.t.Helper()
	c, ended := w.begins(waits, args...)
	_ = c
	return ended
}

func (w tap) begins(waits string, args ...string) (c *exec.Cmd, ended func() (code int, said string)) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(w.done), waits), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
	c = w.rollback(nil, args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Wait() }()
	step := strings.TrimPrefix(waits, "wait-")
	for limit := time.After(time.Minute); !strings.Contains(w.ran(), "begun "+step); {
		select {
		case err := <-waited:
			w.t.Fatalf("it ended before step %s: %v: %s", step, err, out.String())
		case <-limit:
			w.t.Fatalf("step %s has not begun: %s", step, out.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return c, func() (int, string) {
		<-waited
		return c.ProcessState.ExitCode(), out.String()
	}
}

// written waits until the row of the lease says that a step has ended.
func (w tap) written(step int) {
	w.t.Helper()
	c, err := pgx.Connect(w.t.Context(), strings.Replace(w.url, "/tap?", "/leases?", 1))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close(context.Background())
	for limit, there := time.Now().Add(time.Minute), false; !there; time.Sleep(5 * time.Millisecond) {
		err := c.QueryRow(w.t.Context(), "select coalesce(progress->>'outcome', '') = 'ok' and (progress->>'begun')::int = $1 from backout_lease", step).Scan(&there)
		if err != nil || time.Now().After(limit) {
			w.t.Fatalf("step %d is not written as ended: %v", step, err)
		}
	}
}

// until waits until the last line of a file has a text in it.
func (w tap) until(path, text string) {
	w.t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all, err := os.ReadFile(path)
		lines := strings.Split(strings.TrimSpace(string(all)), "\n")
		if err == nil && strings.Contains(lines[len(lines)-1], text) {
			return
		}
		if time.Now().After(limit) {
			w.t.Fatalf("expected %q at the end of %s, found %s %v", text, path, all, err)
		}
	}
}

func (w tap) goesOn(waits string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(filepath.Dir(w.done), waits)); err != nil {
		w.t.Fatal(err)
	}
}

// The runner is killed after each step in turn and in the midst of each. Resumed, the plan comes to the same end, or is
// refused with the reason: never is a step repeated that must not be.
func TestTheRunnerIsKilledAndThePlanResumed(t *testing.T) {
	columns := func(w tap) (n int) {
		t := w.t
		t.Helper()
		c, err := pgx.Connect(t.Context(), w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		if err := c.QueryRow(t.Context(), "select count(*) from information_schema.columns where table_name = 'water'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// resumed goes on, as soon as the lease of the dead one has expired.
	resumed := func(w tap, env []string) (code int, said string) {
		w.t.Helper()
		for limit := time.Now().Add(time.Minute); ; {
			code, said = w.ends(env, "--resume", "--by", "bob")
			if code != 3 || time.Now().After(limit) { // it was not let in yet
				return code, said
			}
		}
	}
	for _, at := range []struct {
		name string
		env  func(w tap) []string
	}{
		{"on the same machine, by the journal", func(tap) []string { return nil }},
		{"on another machine, by the lease", func(w tap) []string { return []string{"XDG_STATE_HOME=" + filepath.Join(w.dir, "elsewhere")} }},
	} {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			w := newTap(t)
			env := at.env(w)
			for step := 1; step <= 3; step++ {
				t.Run(fmt.Sprintf("in the midst of step %d", step), func(t *testing.T) {
					w := w.in(t)
					w.again()
					wait := fmt.Sprintf("wait-%d", step)
					c, ended := w.begins(wait)
					if err := c.Process.Signal(syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					ended()
					w.goesOn(wait)
					code, said := resumed(w, env)
					if step == 2 { // which must not run twice
						w.expect(code, said, 1, "step 2 (take the column away): refused", "it must not be run twice")
						if ran := w.ran(); ran != "begun 1 done 1 begun 2" {
							t.Errorf("found %s", ran)
						}
						// The operator has looked, and says so.
						code, said = w.ends(env, "--from", "3", "--why", "the column is gone")
					}
					w.expect(code, said, 0, "PASS")
					if n := columns(w); n != 1 || strings.Count(w.ran(), "begun 2") != 1 || !strings.HasSuffix(w.ran(), "done 3") {
						t.Errorf("found %d columns, and %s", n, w.ran())
					}
				})
			}
			for step := 1; step <= 2; step++ {
				t.Run(fmt.Sprintf("after step %d", step), func(t *testing.T) {
					w := w.in(t)
					w.again()
					// Held before the next one, it has written that this one has ended.
					wait := fmt.Sprintf("wait-%d", step)
					c, ended := w.begins(wait)
					if code, said := w.outcome(w.command("pause", "--by", "bob")); code != 0 {
						t.Fatal(said)
					}
					w.goesOn(wait)
					w.until(w.done, fmt.Sprintf("done %d", step))
					w.until(filepath.Join(w.dir, "state/backout/rollbacks/tap/rollback.journal"), `"outcome":"ok"`)
					w.written(step) // last, in the row of the lease
					if err := c.Process.Kill(); err != nil {
						t.Fatal(err)
					}
					ended()
					code, said := resumed(w, env)
					w.expect(code, said, 0, "PASS")
					if n := columns(w); n != 1 || w.ran() != allRan {
						t.Errorf("found %d columns, and %s", n, w.ran())
					}
				})
			}
		})
	}
}
