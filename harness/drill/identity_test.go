package drill

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"backout/harness/rollback"
	"backout/harness/service"
)

func newKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, private
}

func TestASecondPersonProvesWhoItIs(t *testing.T) {
	anna, _ := newKey(t)
	ben, _ := newKey(t)
	digest := sha256.Sum256([]byte("open"))
	people := map[string]service.Person{
		"anna": {Key: anna.PublicKey()}, "ben": {Key: ben.PublicKey()}, "carl": {Token: hex.EncodeToString(digest[:])},
	}
	signed := func(key ssh.Signer, by, as string) func(nonce string) Order {
		return func(nonce string) Order {
			signature, err := Sign(key, nonce, as)
			if err != nil {
				t.Fatal(err)
			}
			return Order{Name: Approve, By: by, Signature: signature}
		}
	}
	given := func(by, token string) func(string) Order {
		return func(string) Order { return Order{Name: Approve, By: by, Token: token} }
	}
	for _, c := range []struct {
		name    string
		starter string
		order   func(nonce string) Order
		why     string // empty: it is approved
	}{
		{"signed by another", "anna", signed(ben, "ben", "ben"), ""},
		{"the token of another", "anna", given("carl", "open"), ""},
		{"a name alone", "anna", given("ben", ""), "it does not prove that it comes from ben"},
		{"a wrong token", "anna", given("carl", "shut"), "it does not prove that it comes from carl"},
		{"a token of somebody who has a key", "anna", given("ben", "open"), "it does not prove that it comes from ben"},
		{"the starter's key under another name", "anna", signed(anna, "ben", "ben"), "it does not prove that it comes from ben"},
		{"signed for another name", "anna", signed(ben, "ben", "anna"), "it does not prove that it comes from ben"},
		{"who started it", "anna", signed(anna, "anna", "anna"), "anna started it: a second person must approve"},
		{"a stranger", "anna", signed(ben, "eve", "eve"), "eve is not among the people of service.yaml (anna, ben, carl)"},
		{"nobody known started it", "", signed(ben, "ben", "ben"), "has not proved who it is"},
		{"an approval of another question", "anna", func(string) Order { return signed(ben, "ben", "ben")("another") }, "it does not prove that it comes from ben"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx, written := steered(t)
			h.identify(people, c.starter)
			answered := make(chan error, 1)
			go func() {
				answered <- h.ask(ctx, rollback.Question{For: "the plan: x", Within: 200 * time.Millisecond, Two: true})
			}()
			waitFor(t, h, "being asked", func(s State) bool { return s.Two && s.Nonce != "" })
			_, err := h.Do(c.order(h.State().Nonce))
			asked := <-answered
			log := strings.Join(written(), "\n")
			switch {
			case c.why == "" && (err != nil || asked != nil || !strings.Contains(log, "approved the plan: x")):
				t.Errorf("expected it to be approved, found %v, %v and\n%s", err, asked, log)
			case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || asked == nil || !strings.Contains(log, "rejected the plan: x") || strings.Contains(log, "approved")):
				t.Errorf("expected %q and no approval, found %v, %v and\n%s", c.why, err, asked, log)
			}
		})
	}
}

func TestNobodysWord(t *testing.T) {
	h, ctx, written := steered(t)
	if err := h.ask(ctx, rollback.Question{For: "the plan: x", Within: time.Millisecond, GoesOn: true}); err != nil {
		t.Errorf("expected it to go on, found %v", err)
	}
	same(t, written(), "backout asked the plan: x", "backout expired the plan: x the plan goes on without")
}

func TestWhoStartsItProvesIt(t *testing.T) {
	anna, private := newKey(t)
	other, _ := newKey(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	key := file("key", string(pem.EncodeToMemory(block)))
	is := func(k ssh.PublicKey) *service.Service {
		return &service.Service{Path: "service.yaml", People: map[string]service.Person{"anna": {Key: k}}}
	}
	for _, c := range []struct {
		name string
		s    *service.Service
		by   string
		key  string
		want string
	}{
		{"her key", is(anna.PublicKey()), "anna", key, ""},
		{"another key", is(other.PublicKey()), "anna", key, "is not anna's key"},
		{"a stranger", is(anna.PublicKey()), "eve", key, `expected one of its people, found "eve"`},
		{"no key", is(anna.PublicKey()), "anna", file("text", "hello"), "expected a private key of SSH without a passphrase"},
		{"a key with a passphrase", is(anna.PublicKey()), "anna", file("locked", string(pem.EncodeToMemory(locked))), "without a passphrase"},
	} {
		if err := Identify(c.s, c.by, c.key, ""); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: expected %q, found %v", c.name, c.want, err)
		}
	}
}
