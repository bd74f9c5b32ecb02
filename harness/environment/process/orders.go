package process

import (
	"backout/harness/environment/control"
	"backout/harness/environment/proxy"
	"context"
	"strings"
)

// orders are what scripts may ask of the supervisor and the proxies.
func (m *machine) orders() control.Orders {
	of := func(order func(p *proxy.Proxy, ctx context.Context, name string) error) control.Order {
		return control.On(func(ctx context.Context, name string) error {
			i, err := m.supervisor.find(name)
			if err != nil {
				return err
			}
			return order(m.proxies[i.service], ctx, name)
		})
	}
	return control.Orders{
		"restart": control.On(m.supervisor.restart),
		"link": {Run: func(ctx context.Context, names []string) (string, error) {
			i, err := m.supervisor.reach(ctx, names[0])
			if err != nil {
				return "", err
			}
			return i.link + "\n", nil
		}},
		"status": {Of: func(n int) bool { return n == 0 }, Run: func(context.Context, []string) (string, error) { return m.status(), nil }},
		"out":    of((*proxy.Proxy).Out),
		"in":     of((*proxy.Proxy).In),
		"wait":   of((*proxy.Proxy).Wait),
		"switch": {Of: func(n int) bool { return n > 0 }, Run: func(ctx context.Context, names []string) (string, error) {
			i, err := m.supervisor.find(names[0])
			if err != nil {
				return "", err
			}
			return "", m.proxies[i.service].Switch(ctx, names)
		}},
	}
}

// status is a line an instance: what the supervisor and what the proxy know of it.
func (m *machine) status() string {
	var b strings.Builder
	for line := range strings.Lines(m.supervisor.status()) {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, " ")
		if i, err := m.supervisor.find(name); err == nil {
			line += ", " + m.proxies[i.service].State(name)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
