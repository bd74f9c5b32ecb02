package control

import "sync"

// Hold is whether a fault keeps everybody from an instance. The zero value: none does. Orders of scripts wait until it is free.
type Hold struct {
	mu   sync.Mutex
	how  string
	free chan struct{} // closed when it is held no more
}

// Take says how it is held from now on, unless it is already: then it returns how.
func (h *Hold) Take(how string) (already string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free != nil {
		return h.how
	}
	h.how, h.free = how, make(chan struct{})
	return ""
}

// Release ends it. It may be called again.
func (h *Hold) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free != nil {
		close(h.free)
		h.how, h.free = "", nil
	}
}

// Now is how it is held, and what is closed when it is no more; nil: it is not held.
func (h *Hold) Now() (how string, free <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.how, h.free
}
