package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// steered is a drill that asks for approval and runs in another process, as orders find it.
type steered struct {
	machine
	folder string      // of the reports
	lines  chan string // what it prints
	ended  chan error
}

// steer starts the drill of notes, whose plan asks for approval here.
func steer(t *testing.T, args ...string) steered {
	t.Helper()
	return steerAs(t, func(dir string) {
		rewrite(t, filepath.Join(dir, "notes/releases/v2-fails-writes/rollback.yaml"), "again: safe\n", "again: safe\n    approval: ask\n    expires: 3m\n")
	}, args...)
}

// rewrite replaces a text in a file, once.
func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		t.Fatalf("%s: expected %q in it", path, from)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// steerAs starts the drill of notes when something was changed in its folder.
func steerAs(t *testing.T, change func(services string), args ...string) steered {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("this service needs python3: %v", err)
	}
	m := newMachine(t)
	services := filepath.Join(m.dir, "services")
	if err := os.CopyFS(services, os.DirFS(filepath.Join(m.root, "harness/cmd/backout/testdata/others"))); err != nil {
		t.Fatal(err)
	}
	change(services)
	s := steered{machine: m, folder: filepath.Join(m.dir, "reports"), lines: make(chan string, 1000), ended: make(chan error, 1)}
	c := m.command(append([]string{"run", filepath.Join(services, "notes.feature") + ":7", "--services", services, "--reports", s.folder, "--seed", "7", "--json"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			s.lines <- in.Text()
		}
		close(s.lines)
		s.ended <- c.Wait()
	}()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return s
}

// until reads what the drill prints up to a line with this in it.
func (s steered) until(text string) (found string) {
	s.t.Helper()
	limit := time.After(3 * time.Minute)
	for {
		select {
		case line, more := <-s.lines:
			if !more {
				s.t.Fatalf("the drill ended before it said %q", text)
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-limit:
			s.t.Fatalf("the drill did not say %q within 3 minutes", text)
			return ""
		}
	}
}

// page is the live page at an address, as a browser has it.
type page struct {
	t         *testing.T
	url, text string // of the drill's page
	token     string
}

func openPage(t *testing.T, url, run string) page {
	t.Helper()
	p := page{t: t, url: url + run + "/"}
	answer, err := http.Get(p.url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	found := regexp.MustCompile(`data-token="([^"]+)"`).FindSubmatch(text)
	if err != nil || answer.StatusCode != http.StatusOK || found == nil {
		t.Fatalf("%s: status %d, %v:\n%.500s", p.url, answer.StatusCode, err, text)
	}
	p.text, p.token = string(text), string(found[1])
	return p
}

// order gives an order by the page and returns what it says.
func (p page) order(form url.Values) (code int, text string) {
	p.t.Helper()
	form.Set("token", p.token)
	r, err := http.NewRequest(http.MethodPost, p.url+"act", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(said)
}

// order gives an order as a person types it, and expects what it says.
func (s steered) order(says string, args ...string) {
	s.t.Helper()
	if out, code := s.run(args...); code != 0 || !strings.Contains(out, says) {
		s.t.Fatalf("backout %s: expected %q, found exit %d:\n%s", strings.Join(args, " "), says, code, out)
	}
}

// end waits for the drill's end and returns its exit code, its verdict, and what is in the evidence of people.
func (s steered) end() (code int, v verdict.Verdict, people string) {
	s.t.Helper()
	var exit *exec.ExitError
	if err := <-s.ended; errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(s.folder, "*-*"))
	if err != nil || len(dirs) != 1 {
		s.t.Fatalf("expected one run, found %v (%v)", dirs, err)
	}
	text, err := os.ReadFile(filepath.Join(dirs[0], "verdict.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		s.t.Fatal(err)
	}
	for e, err := range evidence.Read(filepath.Join(dirs[0], evidence.File)) {
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case e.Approval != nil:
			people += e.Approval.By + " " + e.Approval.Event + " " + e.Approval.For + "; "
		case e.Clock != nil && (e.Clock.Name == evidence.ClockApproved || e.Clock.Name == evidence.ClockStarted):
			people += e.Clock.Name + "; "
		}
	}
	return code, v, people
}

// People steer a drill that runs in another process by what they type, and what they did is evidence.
func TestADrillIsPausedAndApprovedFromTheTerminal(t *testing.T) {
	t.Parallel()
	s := steer(t, "--serve", "127.0.0.1:0")
	live := regexp.MustCompile(`"live":"([^"]+)"`).FindStringSubmatch(s.until(`"live":`))
	if live == nil {
		t.Fatal("the address of the page was not printed")
	}
	s.until(`"phase":"baseline"`)
	s.order("paused: it is held", "pause", "--by", "ada", "--why", "look at the baseline")
	if out, code := s.run("pause", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "it is paused already, by ada") {
		t.Errorf("a second pause: exit %d:\n%s", code, out)
	}
	if out, code := s.run("approve", "notes-7", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "nothing waits for approval") {
		t.Errorf("an approval too early: exit %d:\n%s", code, out)
	}
	s.until("paused before the deploy of v2-fails-writes")
	s.order("resumed: the deploy of v2-fails-writes", "resume", s.folder, "--by", "grace")
	s.until("waiting for approval")
	p := openPage(t, live[1], "notes-7")
	for _, want := range []string{"It waits for approval of step 1", "resumed, the deploy of v2-fails-writes", "Phase: provision"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the live page does not say %q", want)
		}
	}
	if code, said := p.order(url.Values{"order": {"approve"}, "by": {"grace"}, "why": {"harm was seen"}}); code != http.StatusOK || !strings.Contains(said, "approved: step 1") {
		t.Errorf("approved on the page: %d %s", code, said)
	}
	code, v, people := s.end()
	if code != verdict.ExitPass || v.Verdict != verdict.Pass || v.Speed.People <= 0 || v.Speed.Paused != 0 || !strings.Contains(v.Because, "People kept it waiting") {
		t.Errorf("expected a pass that says how long people took, found exit %d, %s, %g s: %s", code, v.Verdict, v.Speed.People, v.Because)
	}
	const want = "ada paused ; backout waits the deploy of v2-fails-writes; grace resumed the deploy of v2-fails-writes; " +
		"backout goes on the deploy of v2-fails-writes; backout asked step 1: every instance, one after the other; " +
		"grace approved step 1: every instance, one after the other; approved; started; "
	if people != want {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}

// keyOf makes an SSH key and returns its file and its public half.
func keyOf(t *testing.T) (file, public string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// Two people: a name proves nothing, who started it may not approve it, and the second one does so by a file in a shared folder.
func TestTwoPeopleApproveARollback(t *testing.T) {
	t.Parallel()
	anna, annas := keyOf(t)
	ben, bens := keyOf(t)
	s := steerAs(t, func(dir string) {
		rewrite(t, filepath.Join(dir, "notes/releases/v2-fails-writes/rollback.yaml"), "to: v1\n", "to: v1\napproval: {how: manual, within: 3m, people: two}\n")
		rewrite(t, filepath.Join(dir, "notes/service.yaml"), "instances: 2\n", "instances: 2\npeople:\n  anna: {key: "+annas+"}\n  ben: {key: "+bens+"}\n")
		rewrite(t, filepath.Join(dir, "notes.feature"), "by its plan\n", "by its plan\n    And a person approves it\n")
	}, "--by", "anna", "--key", anna)
	s.until("waiting for approval")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"approve", "--by", "ben"}, "it does not prove that it comes from ben"},
		{[]string{"approve", "--by", "ben", "--key", anna}, "it does not prove that it comes from ben"},
		{[]string{"approve", "--by", "anna", "--key", anna}, "anna started it: a second person must approve"},
	} {
		if out, code := s.run(c.args...); code != verdict.ExitBroke || !strings.Contains(out, c.want) {
			t.Errorf("%v: expected %q, found exit %d:\n%s", c.args, c.want, code, out)
		}
	}
	folders, err := filepath.Glob(filepath.Join(s.folder, "*", drill.HookDir))
	if err != nil || len(folders) != 1 {
		t.Fatalf("expected one folder for approvals, found %v, %v", folders, err)
	}
	s.order("approved: the plan", "approve", "--by", "ben", "--key", ben, "--in", folders[0])
	code, v, people := s.end()
	if code != verdict.ExitPass {
		t.Errorf("expected a pass, found exit %d: %s", code, v.Because)
	}
	const plan = "the plan: the old code, which can read what the new one wrote; "
	if want := "backout asked " + plan + "ben rejected " + plan + "ben rejected " + plan + "anna rejected " + plan + "ben approved " + plan + "approved; started; "; people != want {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}

// The receiver of an incident is believed by a key or a token alone, on the terminal and on the page; nobody else can take it over.
func TestTheReceiverOfAnIncidentProvesWhoItIs(t *testing.T) {
	t.Parallel()
	_, adas := keyOf(t)
	grace, graces := keyOf(t)
	_, digest := tokenOf(t, "open sesame")
	s := steerAs(t, func(dir string) {
		rewrite(t, filepath.Join(dir, "notes/service.yaml"), "instances: 2\n", "instances: 2\npeople:\n  ada: {key: "+adas+", token: "+digest+"}\n  grace: {key: "+graces+"}\n"+
			"communication: {handoff: {to: ada, within: 3m}}\n")
		rewrite(t, filepath.Join(dir, "notes.feature"), "    Then service is restored", "    Then ada accepts the incident\n    And service is restored")
	}, "--serve", "127.0.0.1:0")
	live := regexp.MustCompile(`"live":"([^"]+)"`).FindStringSubmatch(s.until(`"live":`))
	if live == nil {
		t.Fatal("the address of the page was not printed")
	}
	s.until("handed over to ada")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"accept", "--by", "ada"}, "it does not prove that it comes from ada"},
		{[]string{"accept", "--by", "ada", "--key", grace}, "it does not prove that it comes from ada"},
		{[]string{"accept", "--by", "grace", "--key", grace}, "ada alone may answer, found grace"},
		{[]string{"refuse", "--by", "ada", "--why", "I am on holiday"}, "it does not prove that it comes from ada"},
	} {
		if out, code := s.run(c.args...); code != verdict.ExitBroke || !strings.Contains(out, c.want) {
			t.Errorf("%v: expected %q, found exit %d:\n%s", c.args, c.want, code, out)
		}
	}
	p := openPage(t, live[1], "notes-7")
	if want := "It is handed over to ada, who accepts or refuses it."; !strings.Contains(p.text, want) {
		t.Errorf("the live page does not say %q", want)
	}
	for _, c := range []struct {
		form url.Values
		code int
		want string
	}{
		{url.Values{"order": {"accept"}, "by": {"ada"}}, http.StatusConflict, "it does not prove that it comes from ada"},
		{url.Values{"order": {"accept"}, "by": {"ada"}, "proof": {"close sesame"}}, http.StatusConflict, "it does not prove that it comes from ada"},
		{url.Values{"order": {"accept"}, "by": {"ada"}, "proof": {"open sesame"}, "nonce": {"another"}}, http.StatusConflict, "it answers another question"},
		{url.Values{"order": {"accept"}, "by": {"ada"}, "proof": {"open sesame"}}, http.StatusOK, "accepted: the incident is yours, and resolved"},
	} {
		if code, said := p.order(c.form); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%v: expected %d and %q, found %d %s", c.form, c.code, c.want, code, said)
		}
	}
	code, v, people := s.end()
	if code != verdict.ExitPass {
		t.Errorf("expected a pass, found exit %d: %s", code, v.Because)
	}
	const rejected = " rejected the handoff to ada; "
	if want := "backout handed over ada; ada" + rejected + "ada" + rejected + "grace" + rejected + "ada" + rejected + "ada" + rejected + "ada" + rejected + "ada" + rejected + "ada accepted ada; "; !strings.HasSuffix(people, want) {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}

// An aborted drill leaves nothing, is inconclusive, and names who aborted it and why.
func TestADrillIsAbortedFromTheTerminal(t *testing.T) {
	t.Parallel()
	s := steer(t)
	s.until("waiting for approval")
	if out, code := s.run("abort", "--by", "ada"); code != verdict.ExitBroke || !strings.Contains(out, "expected a reason") {
		t.Errorf("an abort without a reason: exit %d:\n%s", code, out)
	}
	// The page of another process, which follows the log, gives orders as well.
	follow := s.command("serve", s.reports())
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address := regexp.MustCompile(`http://\S+`).FindString(line)
	if err != nil || address == "" {
		t.Fatalf("serve said %q, %v", line, err)
	}
	p := openPage(t, address, filepath.Base(s.reports()))
	if code, said := p.order(url.Values{"order": {"abort"}, "by": {"ada"}, "why": {"the wrong release"}}); code != http.StatusOK || !strings.Contains(said, "aborted: what runs is stopped") {
		t.Errorf("aborted on the page: %d %s", code, said)
	}
	code, v, people := s.end()
	for stop := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		answer, err := http.Get(p.url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if strings.HasSuffix(answer.Request.URL.Path, "report.html") {
			break
		}
		if time.Now().After(stop) {
			t.Fatal("the page did not become the report")
		}
	}
	if err := follow.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := follow.Wait(); err != nil {
		t.Errorf("serve ended with %v at Ctrl-C", err)
	}
	if code != verdict.ExitInconclusive || v.Verdict != verdict.Inconclusive || !strings.Contains(v.Because, "was aborted in the phase") || !strings.Contains(v.Because, "by ada: the wrong release") {
		t.Errorf("expected inconclusive, found exit %d, %s: %s", code, v.Verdict, v.Because)
	}
	if want := "backout asked step 1: every instance, one after the other; ada aborted ; ada refused step 1: every instance, one after the other; "; people != want {
		t.Errorf("expected in the evidence\n%s\nfound\n%s", want, people)
	}
	s.nothingLeft()
}
