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

func digestOf(token string) string {
	digest := sha256.Sum256([]byte(token))
	return hex.EncodeToString(digest[:])
}

func signedBy(t *testing.T, key ssh.Signer, a Asked, order, by string) []byte {
	t.Helper()
	signature, err := a.Sign(key, order, by)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// The receiver of an incident is known by a key or a token, as who approves is.
func TestAReceiverProvesWhoItIs(t *testing.T) {
	ada, _ := newKey(t)
	grace, _ := newKey(t)
	people := map[string]service.Person{"ada": {Key: ada.PublicKey(), Token: digestOf("open")}, "grace": {Key: grace.PublicKey()}}
	for _, c := range []struct {
		name  string
		order func(Asked) Order
		why   string // empty: it is taken
		said  string
	}{
		{"signed", func(a Asked) Order {
			return Order{Name: Accept, By: "ada", Signature: signedBy(t, ada, a, Accept, "ada")}
		}, "", "accepted by ada"},
		{"by the token", func(Asked) Order { return Order{Name: Accept, By: "ada", Token: "open"} }, "", "accepted by ada"},
		{"refused", func(a Asked) Order {
			return Order{Name: Refuse, By: "ada", Why: "one is open", Signature: signedBy(t, ada, a, Refuse, "ada")}
		}, "", "declined by ada: one is open"},
		{"a name alone", func(Asked) Order { return Order{Name: Accept, By: "ada"} }, "it does not prove that it comes from ada", ""},
		{"a wrong token", func(Asked) Order { return Order{Name: Accept, By: "ada", Token: "shut"} }, "it does not prove that it comes from ada", ""},
		{"another's key", func(a Asked) Order {
			return Order{Name: Accept, By: "ada", Signature: signedBy(t, grace, a, Accept, "ada")}
		}, "it does not prove that it comes from ada", ""},
		{"somebody else, proven", func(a Asked) Order {
			return Order{Name: Accept, By: "grace", Signature: signedBy(t, grace, a, Accept, "grace")}
		}, "ada alone may answer, found grace", ""},
		{"a refusal that was made an acceptance", func(a Asked) Order {
			return Order{Name: Accept, By: "ada", Signature: signedBy(t, ada, a, Refuse, "ada")}
		}, "it does not prove that it comes from ada", ""},
		{"a name alone refuses", func(Asked) Order { return Order{Name: Refuse, By: "ada", Why: "no"} }, "it does not prove that it comes from ada", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx, written := steered(t)
			h.identify(people, "")
			answered := make(chan string, 1)
			go func() {
				said, err := h.handOver(ctx, "ada", 200*time.Millisecond, "3 of 3")
				if err != nil {
					said = err.Error()
				}
				answered <- said
			}()
			waitFor(t, h, "being handed over", func(s State) bool { return s.Asked.By == "ada" })
			_, err := h.Do(c.order(h.State().Asked))
			said, log := <-answered, strings.Join(written(), "\n")
			switch {
			case c.why == "" && (err != nil || said != c.said):
				t.Errorf("expected %q, found %v, %q and\n%s", c.said, err, said, log)
			case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || said != "ada did not answer within 200ms" || !strings.Contains(log, "rejected the handoff to ada")):
				t.Errorf("expected %q and no answer, found %v, %q and\n%s", c.why, err, said, log)
			}
		})
	}
}

func TestASecondPersonProvesWhoItIs(t *testing.T) {
	anna, _ := newKey(t)
	ben, _ := newKey(t)
	people := map[string]service.Person{
		"anna": {Key: anna.PublicKey()}, "ben": {Key: ben.PublicKey()}, "carl": {Token: digestOf("open")},
	}
	signed := func(key ssh.Signer, by, as string) func(Asked) Order {
		return func(a Asked) Order {
			return Order{Name: Approve, By: by, Signature: signedBy(t, key, a, Approve, as)}
		}
	}
	given := func(by, token string) func(Asked) Order {
		return func(Asked) Order { return Order{Name: Approve, By: by, Token: token} }
	}
	nothing := Asked{For: "the plan: x", Nonce: "another"}
	for _, c := range []struct {
		name    string
		starter string
		order   func(Asked) Order
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
		{"an approval of another question", "anna", func(Asked) Order { return signed(ben, "ben", "ben")(nothing) }, "it does not prove that it comes from ben"},
		{"signed for what another text was shown", "anna", func(a Asked) Order {
			a.For = "step 1: a harmless one"
			return signed(ben, "ben", "ben")(a)
		}, "it does not prove that it comes from ben"},
		{"a signature of another order", "anna", func(a Asked) Order {
			return Order{Name: Approve, By: "ben", Signature: signedBy(t, ben, a, Refuse, "ben")}
		}, "it does not prove that it comes from ben"},
		{"a token for another question", "anna", func(Asked) Order {
			return Order{Name: Approve, By: "carl", Token: "open", Nonce: "another"}
		}, "it answers another question"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx, written := steered(t)
			h.identify(people, c.starter)
			answered := make(chan error, 1)
			go func() {
				answered <- h.ask(ctx, rollback.Question{For: "the plan: x", Within: 200 * time.Millisecond, Two: true})
			}()
			waitFor(t, h, "being asked", func(s State) bool { return s.Asked.Two && s.Asked.Nonce != "" })
			_, err := h.Do(c.order(h.State().Asked))
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
