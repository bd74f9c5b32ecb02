package traffic

import (
	"slices"
	"sync"

	"backout/harness/evidence"
)

// historyLimit is how many sets of kept values a user remembers, the first ones: those from before a deploy are what
// is tried again, and a release that refuses every token must not fill the memory.
const historyLimit = 16

// A user is one synthetic user of one service: a number, and the values kept by requests that are made once a user.
type user struct {
	number int
	text   string // the number

	mu      sync.Mutex
	kept    []string // by the program's order; empty: not there
	history []memory
}

// memory is what a user had kept from an instant on.
type memory struct {
	at   evidence.Offset
	kept []string
}

func newUser(number int, text string, p *program) *user {
	return &user{number: number, text: text, kept: make([]string, len(p.kept))}
}

// recall copies the kept values to where a journey has them.
func (u *user) recall(to []string) {
	u.mu.Lock()
	copy(to, u.kept)
	u.mu.Unlock()
}

// remember keeps what a request that is made once has given.
func (u *user) remember(at evidence.Offset, slots []keep, values []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, k := range slots {
		u.kept[k.slot-slotKept] = values[k.slot]
	}
	if len(u.history) < historyLimit {
		u.history = append(u.history, memory{at: at, kept: slices.Clone(u.kept)})
	}
}

// forget drops the kept values after they were refused, unless another journey has already got newer ones.
func (u *user) forget(used []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.Equal(u.kept, used) {
		clear(u.kept)
	}
}

// before is what the user had last kept before an instant; nil: the value was not there.
func (u *user) before(t evidence.Offset, slot int) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := len(u.history) - 1; i >= 0; i-- {
		if m := u.history[i]; m.at < t && m.kept[slot] != "" {
			return m.kept
		}
	}
	return nil
}
