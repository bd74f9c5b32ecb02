package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/rollback"
	"backout/harness/verdict"
)

// A webhook on this machine gets what the transcript holds, the receiver who is named takes the incident over by the terminal,
// and the token in the webhook's URL is nowhere.
func TestPeopleAreToldAndTakeTheIncidentOver(t *testing.T) {
	t.Parallel()
	const token = "T0kenOfTheWebhook4711"
	var mu sync.Mutex
	var got []string
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m struct{ Message string }
		if err != nil || json.Unmarshal(body, &m) != nil || r.URL.Path != "/"+token {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.Message)
	}))
	defer chat.Close()
	file, digest := tokenOf(t, "T0kenOfAda0815")
	told := "\npeople: {ada: {token: " + digest + "}}\ncommunication: {channels: {stakeholders: [{env: CHAT_URL}]}, handoff: {to: ada, within: 2m}}"
	m := newStarter(t, map[string][2]string{
		"service.yaml":              {"release: {header: X-Release}", "release: {header: X-Release}" + told},
		"features/rollback.feature": {"    And every instance serves the target release", "    And the first notice goes out within 30 seconds\n    And everything that is told arrives\n    And ada accepts the incident"},
	})
	run := []string{"run", "features/rollback.feature", "--seed", "7", "--reports", filepath.Join(m.dir, "reports")}
	if out, code := m.run(run...); code != verdict.ExitBroke || !strings.Contains(out, "expected a URL in the variable CHAT_URL of the environment, found none: set it") {
		t.Errorf("expected exit 3 and what is missing, found exit %d\n%s", code, out)
	}
	if err := os.RemoveAll(filepath.Join(m.dir, "reports")); err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "CHAT_URL=generic://"+strings.TrimPrefix(chat.URL, "http://")+"/"+token+"?disabletls=yes&template=JSON")
	c := m.command(run...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	var err error
	accepted, running := "", true
	for limit := time.After(3 * time.Minute); running; {
		select {
		case err = <-ended:
			running = false
		case <-limit:
			_ = c.Process.Kill()
			t.Fatalf("it did not end; the last answer was %s", accepted)
		case <-time.After(300 * time.Millisecond):
			if !strings.Contains(accepted, "the incident is yours") {
				accepted, _ = m.run("accept", "--by", "ada", "--token-file", file)
			}
		}
	}
	if err != nil || !strings.Contains(accepted, "accepted: the incident is yours, and resolved") {
		t.Fatalf("expected a pass that ada accepted, found %v and %q\n%s", err, accepted, out.String())
	}
	dir := m.reports()
	transcript, err := os.ReadFile(filepath.Join(dir, rollback.TranscriptFile))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(transcript)) {
		if _, said, is := strings.Cut(line, "stakeholders  "); is {
			lines = append(lines, strings.TrimSuffix(said, "\n"))
		}
	}
	if !slices.Equal(lines, got) || len(got) < 6 {
		t.Errorf("the transcript has\n%s\nand the webhook got\n%s", strings.Join(lines, "\n"), strings.Join(got, "\n"))
	}
	story := strings.Join(lines, "\n")
	for _, want := range []string{"[DRILL] hello: ", "hello journeys failed, for ", " of 10 users (", "The next update comes within 5 min, shortened to 3.3 s in this drill", "Rollback started: 1 step", "Step 1 of 1 completed", "Validation passed: 2 checks",
		"Service restored", "Caution", "after 15 min of stability, shortened to 10 s in this drill", "All clear", "Handed over to ada", "ada accepted the handoff"} {
		if !strings.Contains(story, want) {
			t.Errorf("expected %q in\n%s", want, story)
		}
	}
	list, err := os.ReadFile(filepath.Join(dir, drill.HandoffFile))
	if err != nil || !strings.Contains(string(list), "- [x] service is restored: ") || !strings.Contains(string(list), " #") {
		t.Errorf("expected a checklist with evidence, found %v\n%s", err, list)
	}
	printed, _ := m.run("evidence", dir)
	for name, text := range map[string]string{"the terminal": out.String(), "the evidence": printed, "the transcript": string(transcript), "the checklist": string(list)} {
		if strings.Contains(text, token) || strings.Contains(text, "T0kenOfAda0815") {
			t.Errorf("%s holds a token", name)
		}
	}
	summary, err := os.ReadFile(filepath.Join(dir, "summary.md"))
	if err != nil || !strings.Contains(string(summary), "## Who was told") || bytes.Contains(summary, []byte(token)) {
		t.Errorf("expected the transcript in the summary, found %v\n%s", err, summary)
	}
}

// tokenOf writes a token into a file, and says how service.yaml knows it.
func tokenOf(t *testing.T, token string) (file, digest string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(token)))
}

// A drill pages nobody by accident: a host that service.yaml does not allow stops it before anything is started.
func TestADrillPagesNobodyByAccident(t *testing.T) {
	t.Parallel()
	m := newStarter(t, map[string][2]string{
		"service.yaml": {"release: {header: X-Release}", "release: {header: X-Release}\ncommunication: {channels: {stakeholders: [{env: CHAT_URL}]}}"},
	})
	m.env = append(m.env, "CHAT_URL=slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook")
	out, code := m.run("run", "features/rollback.feature", "--seed", "7", "--reports", filepath.Join(m.dir, "reports"))
	if code != verdict.ExitBroke || !strings.Contains(out, "CHAT_URL leads to hooks.slack.com: expected this machine, so that nobody is paged by accident; name the host under `allow`") || strings.Contains(out, "123456789123456789123456") {
		t.Errorf("expected exit 3 and why, found exit %d\n%s", code, out)
	}
}
