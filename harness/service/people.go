package service

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"backout/harness/evidence"
)

// Person is somebody who may start or approve a rollback, known by the public half of an SSH key or by a token, never by a name that
// is typed.
type Person struct {
	Key   ssh.PublicKey // nil: none
	Token string        // SHA-256 of the token, 64 hex digits; empty: none
}

// Signed says whether the person's key has signed a text.
func (p Person) Signed(text string, signature []byte) bool {
	var s ssh.Signature
	return p.Key != nil && len(signature) > 0 && ssh.Unmarshal(signature, &s) == nil && p.Key.Verify([]byte(text), &s) == nil
}

// Gave says whether a token is the person's.
func (p Person) Gave(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return p.Token != "" && token != "" && subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(p.Token)) == 1
}

// hook reads where people's answers may come from.
func hook(v *value) *Hook {
	o := v.object("url")
	at := o.must("url", "the variable that holds the URL, such as HOOK_URL")
	if text := at.text(); text != "" && !variable.MatchString(text) {
		at.expected("the name of a variable, since a URL may hold a secret, such as HOOK_URL")
	}
	return &Hook{URL: at.text()}
}

var tokenDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// people reads who may start and approve.
func people(v *value) map[string]Person {
	if v == nil {
		return nil
	}
	all := map[string]Person{}
	for _, p := range v.pairs() {
		o := p.object("key", "token")
		var who Person
		key, token := o.get("key"), o.get("token")
		if key == nil && token == nil {
			p.wrong("expected a key or a token of %s, found neither: a name alone proves nothing", p.name)
		}
		if text := key.text(); text != "" {
			var err error
			if who.Key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(text)); err != nil {
				key.expected("a public key as in authorized_keys, such as ssh-ed25519 AAAA...: the text of a file .pub")
			}
		}
		if text := token.text(); text != "" && !tokenDigest.MatchString(text) {
			token.expected("sha256:64 hex digits, the digest of the token and not the token itself (echo -n \"$TOKEN\" | sha256sum)")
		} else {
			who.Token = strings.TrimPrefix(text, "sha256:")
		}
		all[p.name] = who
	}
	return all
}

// Approval is whom a plan asks before its first step.
type Approval struct {
	How    string        // Automatic, Manual, Hybrid
	Within time.Duration // how long people are waited for
	GoesOn bool          // hybrid: nobody's word within it lets the rollback go on; else it stops
	Two    bool          // who approves is not who started it, and both have proved who they are
}

// How a rollback is approved. Manual and hybrid differ in what starts it: a person, or a detection that a person confirms.
const (
	Automatic = "automatic"
	Manual    = "manual"
	Hybrid    = "hybrid"
)

// approvalWithin is the window of an approval unless the plan states another.
const approvalWithin = 2 * time.Minute

// Asks is whom the plan asks in earnest. One that does not say asks nobody when it calls its risk low, and else somebody.
func (p *Plan) Asks() Approval {
	switch {
	case p.Approval != nil:
		return *p.Approval
	case p.Risk == "low":
		return Approval{How: Automatic}
	}
	return Approval{How: Manual, Within: approvalWithin}
}

// Words is how the plan is approved, for people; empty: nobody is asked.
func (a Approval) Words() string {
	who, end := "a person", "or the plan stops"
	if a.Two {
		who = "a second person, who has proved who it is,"
	}
	if a.GoesOn {
		end = "or it goes on without"
	}
	switch a.How {
	case Manual:
		return fmt.Sprintf("%s approves it within %s, %s", who, a.Within, end)
	case Hybrid:
		return fmt.Sprintf("what was detected starts it, and %s confirms within %s, %s", who, a.Within, end)
	}
	return ""
}

func (a *Approval) evidence() *evidence.PlanApproval {
	if a == nil {
		return nil
	}
	return &evidence.PlanApproval{How: a.How, Within: a.Within.Seconds(), GoesOn: a.GoesOn, Two: a.Two}
}

// approval reads whom a plan asks: a word, or a table.
func approval(v *value, s *Service) *Approval {
	if v == nil {
		return nil
	}
	if !v.isMapping() {
		if how := v.choice(Automatic, Manual, Hybrid); how == Hybrid {
			v.wrong("expected what happens at the end of the window beside hybrid, found none: approval: {how: hybrid, then: stop}, or then: go on")
			return nil
		} else if how == Manual {
			return &Approval{How: how, Within: approvalWithin}
		}
		return &Approval{How: Automatic}
	}
	o := v.object("how", "within", "then", "people")
	how := o.must("how", "automatic, manual or hybrid")
	a := &Approval{How: how.choice(Automatic, Manual, Hybrid), Within: approvalWithin}
	if w := o.get("within"); w != nil {
		a.Within = w.duration()
	}
	then, many := o.get("then"), o.get("people")
	switch {
	case a.How == Hybrid:
		a.GoesOn = o.must("then", "what happens when nobody has confirmed within the window: stop, go on").choice("stop", "go on") == "go on"
	case then != nil && a.How != "":
		then.wrong("expected then beside hybrid alone, found it beside %s: a rollback that waits for a person stops when none comes", a.How)
	}
	if many != nil {
		a.Two = many.choice("one", "two") == "two"
		if a.Two && a.GoesOn {
			many.wrong("expected then: stop beside two people, found then: go on: nobody's word is not a second person's")
		}
	}
	if a.How == Automatic && (o.get("within") != nil || many != nil) {
		v.wrong("expected nothing beside automatic, which asks nobody")
	}
	return a
}
