package main

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// A secret that comes out through a script's output, in a URL, and through what a database driver says of a URL that it
// cannot read, is in nothing that a run writes.
func TestNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	const canary = "gehe!m/+ w=rt%4711"
	m := newStarter(t, map[string][2]string{
		"service.yaml":              {"release: {header: X-Release}", "release: {header: X-Release}\nsecrets: {TOKEN: {env: CANARY}}"},
		"releases/v2/rollback.yaml": {"    run: ./deploy v1\n", "    run: cat lea?; cat lea? >&2; ./deploy v1\n"},
	})
	m.env = append(m.env, "CANARY="+canary)
	forms := []string{canary, url.QueryEscape(canary), url.PathEscape(canary)}
	leak := "the token is " + canary + "\npostgres://me:" + url.PathEscape(canary) + "@127.0.0.1/db\nhttp://127.0.0.1/?token=" + url.QueryEscape(canary) +
		"\ncannot parse `postgres://me:" + canary + "@127.0.0.1/db`: failed to parse as URL\n"
	_, parse := pgx.ParseConfig("postgres://me:" + canary + "@127.0.0.1/db")
	_, dial := pgx.Connect(t.Context(), "postgres://me:"+url.PathEscape(canary)+"@127.0.0.1:1/db")
	if parse == nil || dial == nil {
		t.Fatalf("expected two errors of the driver, found %v and %v", parse, dial)
	}
	leak += parse.Error() + "\n" + dial.Error() + "\n"
	if err := os.WriteFile(filepath.Join(m.root, "releases/v2/leak"), []byte(leak), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := m.run("run", "features/rollback.feature", "--seed", "7", "--reports", filepath.Join(m.dir, "reports"))
	if code != verdict.ExitPass {
		t.Fatalf("exit %d\n%s", code, out)
	}
	printed, _ := m.run("evidence", m.reports())
	if !strings.Contains(printed, "the token is [secret]") {
		t.Error("the script's line is not in the evidence: the test shows nothing")
	}
	texts := map[string][]byte{"the terminal": []byte(out), "backout evidence": []byte(printed)}
	err := filepath.WalkDir(m.reports(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".zst") {
			z, zerr := zstd.NewReader(nil)
			if zerr != nil {
				return zerr
			}
			defer z.Close()
			text, err = z.DecodeAll(text, nil)
		}
		texts[filepath.Base(path)] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 6 {
		t.Errorf("looked at %d texts only", len(texts))
	}
	for name, text := range texts {
		for _, form := range forms {
			if bytes.Contains(text, []byte(form)) {
				t.Errorf("%s holds the secret as %q", name, form)
			}
		}
	}
}

// What differs now from what the run had is told on the terminal and never in verdict.json.
func TestJudgeTellsWhatWasChanged(t *testing.T) {
	t.Parallel()
	m := newStarter(t, nil)
	if out, code := m.run("run", "features/rollback.feature", "--seed", "7", "--reports", filepath.Join(m.dir, "reports")); code != verdict.ExitPass {
		t.Fatalf("exit %d\n%s", code, out)
	}
	dir := m.reports()
	judged := func() string {
		t.Helper()
		out, code := m.run("judge", dir)
		if code != verdict.ExitPass {
			t.Errorf("judge: exit %d\n%s", code, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "differs from what the run had") {
			t.Error("verdict.json holds what only the terminal may say")
		}
		return out
	}
	before, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	if out := judged(); strings.Contains(out, "note:") {
		t.Errorf("nothing was changed, and it says\n%s", out)
	}
	change := func(path, from, to string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(from)) {
			t.Fatalf("%s holds no %q: %v", path, from, err)
		}
		if err := os.WriteFile(path, bytes.Replace(text, []byte(from), []byte(to), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change(filepath.Join(m.root, "releases/v2/rollback.yaml"), "risk: code", "risk: none")
	change(filepath.Join(m.root, "deploy"), "set -eu", "set -e")
	change(filepath.Join(m.root, "features/rollback.feature"), "Rolling back v2", "Rolling back")
	change(filepath.Join(dir, "junit.xml"), `name="head" value="sha256:`, `name="head" value="sha256:0`)
	out := judged()
	for _, want := range []string{"releases/v2/rollback.yaml differs", "deploy differs", "features/rollback.feature differs", "junit.xml names sha256:0"} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q in\n%s", want, out)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("verdict.json is another one (%v)", err)
	}
}

// The log of a control, which failed as it must. One in which a bit was changed is an error that says where; one that was cut short is inconclusive.
func TestAnEditedLog(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	log, err := os.ReadFile("../../../reports/sample/evidence.ndjson.zst")
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Clone(log)
	edited[len(edited)/2] ^= 1
	for _, c := range []struct {
		name string
		log  []byte
		code int
		says string
	}{
		{"as it was", log, verdict.ExitPass, "it is"},
		{"one answer is another", edited, verdict.ExitBroke, "evidence.ndjson"},
		{"cut short", log[:len(log)*2/3], verdict.ExitInconclusive, "The log was cut off in the phase"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, evidence.File), c.log, 0o644); err != nil {
			t.Fatal(err)
		}
		out, code := m.run("judge", dir)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: expected exit %d and %q, found exit %d\n%s", c.name, c.code, c.says, code, out)
		}
	}
}

// A drill that breaks before it has begun tells why without the secrets that are in what it tells.
func TestNoSecretIsInWhatABrokenDrillTells(t *testing.T) {
	t.Parallel()
	const canary = "geheim-4711-geheim"
	m := newStarter(t, map[string][2]string{"service.yaml": {"command: [backout, stand-in, answers]", "command: [sh, -c, 'echo token $TOKEN; exit 3']\nsecrets: {TOKEN: {env: CANARY}}"}})
	at := filepath.Join(m.root, "service.yaml")
	text, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("ready: /readyz", "ready: {path: /readyz, within: 2s}", "\nsecrets: {TOKEN: {env: CANARY}}", "").Replace(string(text)) + "secrets: {TOKEN: {env: CANARY}}\n"
	if err := os.WriteFile(at, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "CANARY="+canary)
	out, code := m.run("run", "features", "--seed", "7", "--reports", filepath.Join(m.dir, "reports"))
	if code != verdict.ExitBroke || !strings.Contains(out, "token [secret]") {
		t.Errorf("expected exit 3 and what the instance said, found exit %d\n%s", code, out)
	}
	if strings.Contains(out, canary) {
		t.Errorf("the terminal shows the secret\n%s", out)
	}
	for _, name := range []string{"junit.xml", "summary.md", "index.html"} {
		text, err := os.ReadFile(filepath.Join(m.reports(), name))
		if err != nil || bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s holds the secret (%v)", name, err)
		}
	}
}
