package runbook_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/runbook"
	"backout/harness/service"
)

var update = flag.Bool("update", false, "write the runbooks of the sample system anew, as `make runbooks` does")

// The runbook beside each plan of the sample system is what the plan gives.
func TestRunbooksOfTheSampleAreWhatTheirPlansGive(t *testing.T) {
	plans, err := filepath.Glob("../../fixtures/services/*/releases/*/rollback*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(plans) < 50 {
		t.Fatalf("found %d plans only: the search is broken", len(plans))
	}
	for _, path := range plans {
		want := text(t, path)
		page := strings.TrimSuffix(path, ".yaml") + ".md"
		if *update {
			if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(page)
		if err != nil || string(have) != want {
			t.Errorf("%s is not what its plan gives (%v): make runbooks", page, err)
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	p, err := service.PlanAt(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := runbook.Of(p)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, b)
}

func written(t *testing.T, b runbook.Book) string {
	t.Helper()
	var out strings.Builder
	if err := b.Markdown(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// plan is one that nobody wrote down.
func plan(steps ...service.Step) *service.Plan {
	s := &service.Service{Name: "web", Tier: "standard", Instances: 2, Ready: "/readyz", Header: "X-Release"}
	for i := range steps {
		if steps[i].Timeout == 0 {
			steps[i].Timeout = 30 * time.Second
		}
	}
	return &service.Plan{Release: &service.Release{Service: s, Name: "v2", KnownBad: "it is slow"}, Name: "go back", Path: "rollback.yaml", From: "v2", To: "v1", Steps: steps}
}

// What to do when a step fails follows from `again`, from the steps around it, and from the lock.
func TestWhatToDoWhenAStepFails(t *testing.T) {
	safe, refuse := service.Step{Name: "safe one", Run: "true", Again: "safe"}, service.Step{Name: "grave one", Run: `goose -dir migrations postgres "$DB" down-to 4`, Again: "refuse"}
	for name, c := range map[string]struct {
		steps     []service.Step
		step      int
		want, not []string
	}{
		"safe, the only one": {[]service.Step{safe}, 1,
			[]string{"Keep the lock", "It may be run again as it is", "If it fails a second time, stop", "No step before it has changed anything", "It is the last step"},
			[]string{"Do not run it again", "Do not go on"}},
		"refuse, the first of three": {[]service.Step{refuse, safe, safe}, 1,
			[]string{"Do not run it again", "`goose -dir migrations postgres \"$DB\" status` shows how far it came", "Do not go on to what rests on it: 2 (safe one), 3 (safe one)"},
			[]string{"It may be run again", "It is the last step"}},
		"the second of two": {[]service.Step{safe, refuse}, 2, []string{"Step 1 has been done and stays done: safe one"}, []string{"No step before it"}},
		"the third":         {[]service.Step{safe, safe, refuse}, 3, []string{"Steps 1 to 2 have been done"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, section, found := strings.Cut(written(t, runbook.Book{Plan: plan(c.steps...)}), "### Step "+string(rune('0'+c.step)))
			section, _, _ = strings.Cut(section, "\n##")
			if !found {
				t.Fatal("expected a section for the step, found none")
			}
			for _, w := range c.want {
				if !strings.Contains(section, w) {
					t.Errorf("expected %q in:\n%s", w, section)
				}
			}
			for _, n := range c.not {
				if strings.Contains(section, n) {
					t.Errorf("expected no %q in:\n%s", n, section)
				}
			}
		})
	}
}

// What a command does is known by its form, and so is what shows how far it came.
func TestMechanisms(t *testing.T) {
	for _, c := range []struct{ run, does, look string }{
		{`goose -dir migrations postgres "$DB" down-to 4`, "each migration above 4", `goose -dir migrations postgres "$DB" status`},
		{"ansible-playbook site.yaml -e release=v1", "the playbook site.yaml on", "ansible-playbook site.yaml -e release=v1 --check --diff"},
		{"ansible-playbook -i last-year.yaml --limit=web -v site.yml && echo done >log", "the playbook site.yml on", "ansible-playbook -i last-year.yaml --limit=web -v site.yml --check --diff"},
		{"flyway -target=5 undo", "Flyway runs undo migrations", "flyway info"},
		{"./flyway-undo 5", "Flyway runs undo migrations", "flyway info"},
		{"./liquibase-rollback v1", "change sets that came after a tag", "liquibase history"},
		{"liquibase rollback --tag=v1", "change sets that came after a tag", "liquibase history"},
		{"./rundeck-run 1a2b '-release v1'", "Rundeck runs its job 1a2b", ""},
		{"./spinnaker-run web 'Roll back'", "pipeline of its application web", ""},
		{"./argocd-rollback web 3", "the application web was at entry 3", "argocd app get web"},
		{"./launchdarkly-off default sale production", "flag sale of the project default is turned off in production", ""},
		{"./flag-file-off flagd sale flags.json", "The flag sale is disabled in the file flags.json", `jq '.["sale"] // .flags["sale"]' flags.json`},
		{"./flag-file-off go-feature-flag sale flags.json", "The flag sale is disabled in the file flags.json", `jq '.["sale"] // .flags["sale"]' flags.json`},
		{"liquibase update", "It runs the command below as it stands", ""},
	} {
		page := written(t, runbook.Book{Plan: plan(service.Step{Name: "one", Run: c.run, Again: "refuse"})})
		if !strings.Contains(page, c.does) || strings.Contains(page, "shows how far it came") != (c.look != "") || !strings.Contains(page, c.look) {
			t.Errorf("%s: expected %q and %q in:\n%s", c.run, c.does, c.look, page)
		}
	}
}

// The form of a command tells what it does, also of those that come from a tool's documentation.
func TestWhatAStepDoes(t *testing.T) {
	for run, want := range map[string]string{
		`psql -d "$DB" -f restore.sql`:                        "psql runs the SQL file restore.sql",
		`pg_restore --dbname beside orders.dump`:              "nothing that was written since",
		`pg_basebackup --pgdata base --wal-method stream`:     "pg_basebackup copies a whole server",
		`./recover kept recovery_target_name=before`:          "up to the name before, and no further",
		`postgres -D side -c "recovery_target_lsn=0/9007220"`: "up to the lsn 0/9007220, and no further",
		`flyway -url="$DB" undo`:                              "Flyway runs undo migrations",
		`helm rollback web 3 --wait`:                          "Helm brings the release web to an earlier revision",
		`redis-cli -u "$CACHE" flushdb`:                       "The whole cache is emptied",
		`./deploy v1`:                                         "It runs the script",
		`systemctl restart web`:                               "It runs the command below as it stands.",
	} {
		if page := written(t, runbook.Book{Plan: plan(service.Step{Name: "one", Run: run, Again: "safe"})}); !strings.Contains(page, want) {
			t.Errorf("%s: expected %q in:\n%s", run, want, page)
		}
	}
}

// What a plan says cannot become Markdown or HTML of the page, and nothing in a command can end its block.
func TestWhatAPlanSaysIsNotRead(t *testing.T) {
	p := plan(service.Step{Name: "<script>*bold*", Run: "echo '```'\necho \u202egnp", Again: "safe", Output: "a`b"})
	p.Name = "<b>bold</b>"
	page := written(t, runbook.Book{Plan: p})
	for _, not := range []string{"<script>", "<b>", "\u202e", " *bold*"} {
		if strings.Contains(page, not) {
			t.Errorf("expected no %q in:\n%s", not, page)
		}
	}
	if !strings.Contains(page, "````\necho '```'\n") {
		t.Errorf("expected a longer fence around a command with one, found:\n%s", page)
	}
}

// A plan that is wrong on purpose does not look like one to follow; approvals and what a plan lacks are said.
func TestWhatIsSaidOfAPlan(t *testing.T) {
	p := plan(service.Step{Name: "one", Run: "true", Again: "safe", Expires: 10 * time.Minute})
	page := written(t, runbook.Book{Plan: p})
	for _, want := range []string{"The plan states none.", "until somebody has looked, nothing says that service is back", "Before step 1: a person who approves it", "within 10 min"} {
		if !strings.Contains(page, want) {
			t.Errorf("expected %q in:\n%s", want, page)
		}
	}
	p.Sabotage = &service.Sabotage{What: "it does nothing"}
	if page := written(t, runbook.Book{Plan: p}); !strings.Contains(page, "wrong on purpose, for a control: it does nothing") {
		t.Errorf("expected the sabotage, found:\n%s", page)
	}
}

// Guardrails and whom to tell stand in the runbook as the plan states them, and each kind of check has something to paste.
func TestGuardrailsAndChecksAreTold(t *testing.T) {
	p := plan(service.Step{Name: "one", Run: "true", Again: "safe"})
	p.Approval = &service.Approval{How: service.Hybrid, Within: 2 * time.Minute, Two: true}
	p.Ceiling = &service.Ceiling{Instances: 1, Traffic: 0.5, Within: time.Minute}
	p.Communication = service.Communication{Channels: map[string][]service.Transport{service.ChannelStakeholders: {{Env: "HOOK"}}}, Receiver: "the team of web"}
	p.Before = []service.Check{
		{Revision: &service.Question{Run: "kubectl rollout history deployment/web", Is: "3"}},
		{Kubectl: &service.Kubectl{Context: "production-eu", Namespace: "web"}},
		{Lag: &service.Lag{Below: 16 << 20, URL: "PRIMARY"}},
		{Backup: &service.Backup{File: "/backup/*.dump", Within: 24 * time.Hour}},
		{Space: &service.Space{Path: "/var/lib/postgresql", AtLeast: 10 << 30}},
	}
	p.After = []service.Check{{Command: &service.Question{Run: "./smoke", Output: "all well"}, Within: 30 * time.Second}}
	page := written(t, runbook.Book{Plan: p})
	for _, want := range []string{
		"what was detected starts it, and a second person, who has proved who it is, confirms within 2m0s, or the plan stops",
		"at most 1 instances, 50 % of the traffic; before it goes beyond, a person other than you allows it within 60 s",
		"The stakeholders' channel: the first notice within 5 min", "Hand the incident over to the team of web",
		"kubectl rollout history deployment/web", "Expected: `3`.", "kubectl config current-context", "`production-eu` and `web`",
		`psql -XAtd "$PRIMARY" -c 'select slot_name`, "ls -lt --time-style=full-iso -- /backup/*.dump", "df --output=avail -B1 -- /var/lib/postgresql", "./smoke",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("expected %q in:\n%s", want, page)
		}
	}
}
