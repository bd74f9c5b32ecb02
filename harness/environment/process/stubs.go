package process

import (
	"backout/harness/environment/proxy"
	"backout/harness/environment/wiring"
	"context"
	"fmt"
)

// startStubs serves the stubs of all services. A clone's instances call the same ones: keys tell whose a request is.
func (m *machine) startStubs() error {
	for _, s := range wiring.Services(m.need) {
		for name, one := range s.Stubs {
			b, err := proxy.ServeStub(one, "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("%s: stub %s: %w", s.Path, name, err)
			}
			m.onDestroy("stub "+name, func(context.Context) error { return b.Close() })
			m.mu.Lock()
			m.stubs[s.Name+"/"+name] = b.URL()
			m.mu.Unlock()
		}
	}
	return nil
}
