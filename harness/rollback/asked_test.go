package rollback_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

// What each pre-check finds when all is well, and what makes it red.
func TestPreChecksThatAskOutsideOfTheService(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("young.dump", "rows", time.Hour)
	file("old.dump", "rows", 48*time.Hour)
	file("empty.dump", "", time.Minute)
	// kubectl in front of the machine's own, which says where it is told to work.
	file("kubectl", "#!/bin/sh\ncase \"$*\" in *current-context) echo staging ;; *) printf %s \"$IN\" ;; esac\n", 0)
	revision := func(run string) service.Check {
		return service.Check{Revision: &service.Question{Run: run, Is: "shop:v1"}}
	}
	kubectl := func(context, namespace string) service.Check {
		return service.Check{Kubectl: &service.Kubectl{Context: context, Namespace: namespace}}
	}
	backup := func(file, run string) service.Check {
		return service.Check{Backup: &service.Backup{File: file, Run: run, Within: 24 * time.Hour}}
	}
	space := func(path, run string, atLeast int64) service.Check {
		return service.Check{Space: &service.Space{Path: path, Run: run, AtLeast: atLeast}}
	}
	tests := []struct {
		name    string
		check   service.Check
		in      string
		err     string
		outcome string
	}{
		{"the revision that is meant", revision("echo shop:v1"), "", "", ""},
		{"another revision", revision("echo shop:v0"), "", "expected the target shop:v1, found shop:v0", evidence.StepRefused},
		{"no revision", revision("echo 'error: revision 3 not found' >&2; exit 1"), "", "expected the target shop:v1, found that it cannot be asked", evidence.StepRefused},
		{"the right cluster", kubectl("staging", "shop"), "shop", "", ""},
		{"the namespace that is not named", kubectl("staging", "default"), "", "", ""},
		{"another context", kubectl("production", "shop"), "shop", "expected kubectl to work in the context production, found staging", evidence.StepRefused},
		{"another namespace", kubectl("staging", "shop"), "billing", "expected kubectl to work in the namespace shop, found billing", evidence.StepRefused},
		{"a young backup", backup(filepath.Join(dir, "*.dump"), ""), "", "", ""},
		{"an old backup", backup(filepath.Join(dir, "old.dump"), ""), "", "expected a backup that is younger than 24h0m0s, found old.dump", evidence.StepRefused},
		{"a backup that failed", backup(filepath.Join(dir, "empty.dump"), ""), "", "expected a backup, a file that is not empty", evidence.StepRefused},
		{"a young backup elsewhere", backup("", "date +%s"), "", "", ""},
		{"an old backup elsewhere", backup("", "echo 2020-01-01T00:00:00Z"), "", "found one of 2020-01-01T00:00:00Z", evidence.StepRefused},
		{"no word of a backup", backup("", "echo yesterday"), "", "could not be checked: expected echo yesterday to print seconds since 1970", evidence.StepFailed},
		{"room", space(dir, "", 1), "", "", ""},
		{"no room", space(dir, "", 1<<60), "", fmt.Sprintf("expected %d bytes that are free, found ", int64(1<<60)), evidence.StepRefused},
		{"no room elsewhere", space("", "echo 1000", 1001), "", "expected 1001 bytes that are free, found 1000", evidence.StepRefused},
		{"nobody knows how much room", space("", "exit 1", 1), "", "could not be checked", evidence.StepFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, seen := runner(t)
			r.Platform = map[string]string{"PATH": dir + ":" + os.Getenv("PATH"), "IN": test.in}
			err := r.Before(t.Context(), &service.Plan{Before: []service.Check{test.check}}, world{})
			answered(t, err, test.err, seen, evidence.PartBefore, test.outcome)
		})
	}
}

func TestPreCheckOfLag(t *testing.T) {
	s := server(t)
	before := func(below int64) (*events, error) {
		r, seen := runner(t)
		r.Log.Hide(password)
		r.Vars = map[string]string{"DATABASE_URL": as(s, "shop_migrator")}
		return seen, r.Before(t.Context(), &service.Plan{Env: map[string]string{"DB": "DATABASE_URL"}, Before: []service.Check{{Lag: &service.Lag{Below: below, URL: "DB"}}}}, world{})
	}
	seen, err := before(1 << 30)
	answered(t, err, "found no replication slot", seen, evidence.PartBefore, evidence.StepRefused)
	do(t, s.URL(password, "shop"), "select pg_create_physical_replication_slot('standby', true)")
	seen, err = before(1 << 30)
	answered(t, err, "nobody reads from the slot standby", seen, evidence.PartBefore, evidence.StepRefused)

	programs, err := postgres.Find("")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "backout-receives-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := programs.Own(dir); err != nil {
		t.Fatal(err)
	}
	reader, err := programs.Command(t.Context(), "pg_receivewal", "-D", dir, "-S", "standby", "-s", "1", "--no-loop", "-d", s.URL(password, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Process.Kill(); _ = reader.Wait() })
	for limit := time.Now().Add(time.Minute); ; {
		if seen, err = before(1 << 30); err == nil || time.Now().After(limit) {
			break
		}
	}
	answered(t, err, "", seen, evidence.PartBefore, "")
	// A reader that has stopped for the moment falls behind.
	if err := reader.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	do(t, s.URL(password, "shop"), "create table much as select generate_series(1, 10000) as n")
	seen, err = before(100_000)
	answered(t, err, "the reader of the slot standby is", seen, evidence.PartBefore, evidence.StepRefused)
	if err := reader.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
