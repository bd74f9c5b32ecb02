package links_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"backout/harness/environment/links"
	"backout/harness/fault"
)

// answers is a server that answers every request for TLS as PostgreSQL does, and then sends back what it gets.
func answers(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
					return
				}
				if _, err := c.Write([]byte("N")); err != nil {
					return
				}
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestALinkIsSlowedAndDroppedAndAsBefore(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s := links.New()
	defer s.Close()
	listen := free(t)
	if err := s.Open("a", listen, answers(t)); err != nil {
		t.Fatal(err)
	}
	// One connection was there before anything was done to the link.
	old, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	echo := func() (time.Duration, error) {
		begun := time.Now()
		if err := old.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return 0, err
		}
		if _, err := old.Write([]byte("12345678")); err != nil {
			return 0, err
		}
		_, err := old.Read(make([]byte, 8))
		return time.Since(begun), err
	}
	if _, err := echo(); err != nil {
		t.Fatal(err)
	}
	const slow = 150 * time.Millisecond
	for _, c := range []struct {
		name string
		to   fault.LinkState
		open bool
		slow bool
	}{
		{"as usual", fault.LinkState{}, true, false},
		{"slow", fault.LinkState{Slow: slow}, true, true},
		{"slower by the same again", fault.LinkState{Slow: slow}, true, true},
		{"as before", fault.LinkState{}, true, false},
		{"dropped", fault.LinkState{Dropped: true}, false, false},
		{"dropped again", fault.LinkState{Dropped: true}, false, false},
		{"open again", fault.LinkState{}, true, false},
		{"open twice", fault.LinkState{}, true, false},
	} {
		if err := s.Set(ctx, "a", c.to); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		took, open, err := s.Measure(ctx, "a")
		if err != nil || open != c.open || (took >= slow) != c.slow {
			t.Errorf("%s: expected open %v and slow %v, found %v after %s (%v)", c.name, c.open, c.slow, open, took, err)
		}
		if c.name == "slow" {
			if took, err := echo(); err != nil || took < slow {
				t.Errorf("the connection that was open before: expected at least %s, found %s (%v)", slow, took, err)
			}
		}
		if c.name == "dropped" {
			if _, err := echo(); err == nil {
				t.Error("the connection that was open before still answers on a dropped link")
			}
		}
	}
	if err := s.Set(ctx, "b", fault.LinkState{}); err == nil {
		t.Error("a link that there is not was changed")
	}
	if err := s.Open("a", listen, listen); err == nil {
		t.Error("two links have one name")
	}
}
