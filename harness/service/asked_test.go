package service

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// with is the plan with these lines at the end of its pre-checks or validations.
func with(before, after string) string {
	text := strings.Replace(plan, "steps:\n", before+"steps:\n", 1)
	return text + after
}

func TestPreChecksThatAskAreLoaded(t *testing.T) {
	text := with(`  - revision: {run: git rev-parse v1, is: abc}
  - kubectl: {context: staging, namespace: shop}
  - lag: {below: 16MB}
  - lag: {below: 100, url: LOGICAL}
  - backup: {file: /backups/*.dump, within: 24h}
  - backup: {run: date +%s, within: 1h}
  - space: {path: ., at least: 10GB}
  - space: {run: echo 5, at least: 4}
`, `  - command: {run: echo well, output: ^well$}
`)
	expected := []Check{
		{Line: 13, Revision: &Question{Run: "git rev-parse v1", Is: "abc"}},
		{Line: 14, Kubectl: &Kubectl{Context: "staging", Namespace: "shop"}},
		{Line: 15, Lag: &Lag{Below: 16e6, URL: "PRIMARY"}},
		{Line: 16, Lag: &Lag{Below: 100, URL: "LOGICAL"}},
		{Line: 17, Backup: &Backup{File: "/backups/*.dump", Within: 24 * time.Hour}},
		{Line: 18, Backup: &Backup{Run: "date +%s", Within: time.Hour}},
		{Line: 19, Space: &Space{Path: ".", AtLeast: 10e9}},
		{Line: 20, Space: &Space{Run: "echo 5", AtLeast: 4}},
	}
	s := load(t, map[string]string{"releases/v2/rollback.yaml": text})
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan("", "process")
	if err != nil {
		t.Fatal(err)
	}
	if found := p.Before[5:]; !reflect.DeepEqual(found, expected) {
		t.Errorf("expected %+v, found %+v", expected, found)
	}
	for _, c := range append(p.Before, p.After...) {
		if c.Kind() == "" || c.Words() == "nothing" {
			t.Errorf("nothing is said of %+v", c)
		}
	}
	if err := validate(t, compiled(t, "plan"), []byte(text)); err != nil {
		t.Error(err)
	}
	if last := p.After[len(p.After)-1]; last.Command == nil || last.Command.Output != "^well$" {
		t.Errorf("found %+v", last)
	}
}

func TestMistakesInWhatIsAskedAreTold(t *testing.T) {
	for _, test := range []struct{ before, after, expected string }{
		{"  - revision: {run: git rev-parse v1}\n", "", `expected "is"`},
		{"  - kubectl: {context: staging}\n", "", `expected "namespace"`},
		{"  - lag: {below: much}\n", "", "a size such as 300MB"},
		{"  - lag: {below: 1MB, url: TOOL}\n", "", `expected a database of the plan's env in url, found "TOOL"`},
		{"  - backup: {within: 1h}\n", "", "expected exactly one of file, run"},
		{"  - backup: {file: '[', within: 1h}\n", "", "expected a path or a pattern in file"},
		{"  - space: {path: ., run: echo 1, at least: 1MB}\n", "", "exactly one of path, run"},
		{"  - command: {run: echo, output: x}\n", "", `"command", which is a validation: move it to after`},
		{"", "  - backup: {file: x, within: 1h}\n", `"backup", which is a pre-check: move it to before`},
		{"", "  - command: {run: echo, output: '('}\n", "expected a regular expression in output"},
	} {
		s := load(t, map[string]string{"releases/v2/rollback.yaml": with(test.before, test.after)})
		r, err := s.Release("v2")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Plan("", "process"); err == nil || !strings.Contains(err.Error(), test.expected) {
			t.Errorf("%s%s: expected %q, found %v", test.before, test.after, test.expected, err)
		}
	}
}

func TestTheLockIsLoaded(t *testing.T) {
	tests := []struct {
		line, err string
		lock      *Lock
	}{
		{"lock: {postgres: LEASE_URL}", "", &Lock{Postgres: "LEASE_URL", Expires: 15 * time.Second}},
		{"lock: {postgres: LEASE_URL, expires: 30s}", "", &Lock{Postgres: "LEASE_URL", Expires: 30 * time.Second}},
		{"lock: {postgres: DATABASE_URL}", "expected the variable of a database of its own in postgres", nil},
		{"lock: {postgres: 'postgres://db/leases'}", "the name of a variable", nil},
		{"lock: {postgres: LEASE_URL, expires: 10ms}", "at least 1s", nil},
		{"lock: {}", "exactly one of postgres, kubernetes", nil},
		{"lock: {kubernetes: {context: ops, namespace: rollbacks}}", "", &Lock{Kubernetes: &LockCluster{"ops", "rollbacks"}, Expires: 15 * time.Second}},
		{"lock: {kubernetes: {context: ops, namespace: rollbacks}, postgres: LEASE_URL}", "exactly one of postgres, kubernetes", nil},
		{"lock: {kubernetes: {namespace: rollbacks}}", `expected "context"`, nil},
		{"lock: {kubernetes: {context: ops, namespace: Roll backs}}", "the name of a namespace", nil},
		{"lock: {kubernetes: {context: ops, namespace: rollbacks}, expires: 1500ms}", "whole seconds", nil},
	}
	for _, test := range tests {
		s, err := readService("service.yaml", []byte(strings.Replace(small, "tier: standard\n", "tier: standard\n"+test.line+"\n", 1)))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: expected %q, found %v", test.line, test.err, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(s.Lock, test.lock) {
			t.Errorf("%s: expected %+v, found %+v, %v", test.line, test.lock, s, err)
		}
	}
}
