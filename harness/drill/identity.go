package drill

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"backout/harness/evidence"
	"backout/harness/service"
)

// Key reads a private key of SSH. One with a passphrase is refused: unlock a copy of it, or use a token.
func Key(path string) (ssh.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: expected a private key of SSH without a passphrase (ssh-keygen -t ed25519 -N ''): %w", path, err)
	}
	return key, nil
}

// Identify says whether a person has proved to be one of the service's people, by a key or a token. It is how who starts a rollback
// is known.
func Identify(s *service.Service, by, keyFile, token string) error {
	who, known := s.People[by]
	if !known {
		return fmt.Errorf("%s: expected one of its people, found %q", s.Path, by)
	}
	if token != "" {
		if !who.Gave(token) {
			return fmt.Errorf("the token is not %s's, by its digest in %s", by, s.Path)
		}
		return nil
	}
	key, err := Key(keyFile)
	if err != nil {
		return err
	}
	asked, start := Asked{For: "the rollback", Nonce: rand.Text()}, "start"
	signature, err := asked.Sign(key, start, by)
	if err != nil {
		return err
	}
	if !who.Signed(asked.Challenge(start, by), signature) {
		return fmt.Errorf("%s is not %s's key, by %s", keyFile, by, s.Path)
	}
	return nil
}

// played are people whom the drill plays. Each has a key of the drill's own, and approves through the handle as everybody does.
type played struct {
	keys   map[string]ssh.Signer
	people map[string]service.Person
	mu     sync.Mutex
	timer  *time.Timer
}

// play takes the place of those people of the service whom the drill plays.
func (d *Drill) play() error {
	p := &played{keys: map[string]ssh.Signer{}, people: map[string]service.Person{}}
	names := []string{d.spec.Starter}
	for _, a := range []*evidence.Approver{d.spec.Approver, d.spec.Taker} {
		if a != nil {
			names = append(names, a.By)
		}
	}
	for name, who := range d.spec.Service.People {
		p.people[name] = who
	}
	for _, name := range names {
		if name == "" || p.keys[name] != nil || name == d.o.By {
			continue
		}
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		if p.keys[name], err = ssh.NewSignerFromKey(private); err != nil {
			return err
		}
		p.people[name] = service.Person{Key: p.keys[name].PublicKey()}
	}
	d.handle.identify(p.people, d.run.Starter)
	for _, x := range []struct {
		who         *evidence.Approver
		event, does string
	}{{d.spec.Approver, evidence.ApprovalAsked, Approve}, {d.spec.Taker, evidence.ApprovalHanded, Accept}} {
		if x.who == nil {
			continue
		}
		d.log.Tap(func(e evidence.Event) {
			if e.Approval != nil && e.Approval.Event == x.event {
				p.later(seconds(x.who.After), func() { p.answer(d.handle, x.does, x.who.By) })
			}
		})
	}
	d.onExit(p.end)
	return nil
}

// later has a played person do something so many seconds after being asked.
func (p *played) later(after time.Duration, do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(after, do)
}

// answer has a played person answer what is asked now. What becomes of it is in the log.
func (p *played) answer(h *Handle, order, by string) {
	o := Order{Name: order, By: by, Why: "played by the drill"}
	if key := p.keys[by]; key != nil {
		var err error
		if o.Signature, err = h.State().Asked.Sign(key, order, by); err != nil {
			o.Why += ": " + err.Error()
		}
	}
	_, _ = h.Do(o)
}

func (p *played) end(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	return nil
}
