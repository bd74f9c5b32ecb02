package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/database"
	"backout/harness/environment/ports"
	"backout/harness/environment/proxy"
	"backout/harness/environment/wiring"
	"backout/harness/postgres"
	"backout/harness/service"
)

// Clone implements environment.Environment: one node from the template's primary, which replicas' URLs lead to as
// well, and one instance of each service, without proxies. It has the passwords of the drill, which are hidden already.
func (m *machine) Clone(ctx context.Context) (*environment.Clone, error) {
	ctx, done, err := m.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	defer done()
	m.mu.Lock()
	ready := m.supervisor != nil
	m.clones++
	name := fmt.Sprintf("clone-%d", m.clones)
	m.mu.Unlock()
	if !ready {
		return nil, errors.New("clone: the environment is not provisioned")
	}
	c := &clone{machine: m, name: name, supervisor: newSupervisor(m.register, m.owner)}
	c.cleanup = m.onDestroy(name, c.close)
	out, err := c.start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), c.end(ctx))
	}
	return out, nil
}

type clone struct {
	machine    *machine
	name       string
	cleanup    *cleanup
	supervisor *supervisor
	server     *postgres.Server
	leases     []*ports.Lease
}

func (c *clone) lease() (*ports.Lease, error) {
	l, err := ports.Take()
	if err == nil {
		c.leases = append(c.leases, l)
	}
	return l, err
}

func (c *clone) start(ctx context.Context) (*environment.Clone, error) {
	m := c.machine
	w := wiring.Wiring{Need: m.need, Password: m.password, Kind: service.InProcesses, Host: "127.0.0.1", Ports: map[string]int{}, URLs: map[string]string{}, Data: filepath.Join(m.dir, "data-"+c.name)}
	maps.Copy(w.URLs, m.stubs)
	out := &environment.Clone{URLs: map[string]string{}, Close: func() error { return c.end(context.Background()) }}
	if len(wiring.Roles(m.need)) > 0 {
		l, err := c.lease()
		if err != nil {
			return nil, err
		}
		w.Ports["primary"] = l.Port
		if err := c.node(ctx, l.Port); err != nil {
			return nil, err
		}
		if m.need.Service.Database != nil {
			out.DatabaseURL = c.server.URL(m.password, m.need.Service.Name)
		}
	}
	if len(wiring.Caches(m.need)) > 0 { // of its own: what it writes is no part of the drill
		l, err := c.lease()
		if err != nil {
			return nil, err
		}
		w.Cache = l.Port
		if err := m.startCache(ctx, c.supervisor, c.name+"-cache", w); err != nil {
			return nil, err
		}
	}
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		l, err := c.lease()
		if err != nil {
			return nil, err
		}
		w.URLs[s.Name], out.URLs[s.Name] = l.URL(), l.URL()
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		g.Go(func() error {
			dir, err := m.stages.Release(ctx, s, wiring.Release(m.need, s), nil)
			if err != nil {
				return err
			}
			_, secrets, err := s.SecretValues()
			if err != nil {
				return err
			}
			name := c.name + "-" + s.Name
			sp := m.spec(s, w, name, w.URLs[s.Name], dir, secrets)
			if _, err := c.supervisor.add(sp); err != nil {
				return err
			}
			client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}}
			err = environment.Until(ctx, name+" is ready", func(ctx context.Context) error {
				return proxy.AskReady(ctx, client, w.URLs[s.Name]+s.Ready)
			})
			if err != nil {
				return fmt.Errorf("%w\n%s", err, environment.LastLines(name, m.Log(name), 5))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *clone) node(ctx context.Context, port int) error {
	m := c.machine
	r, err := database.NewRecipe(templateFormat, m.bin.Version, m.installed, m.need)
	if err != nil {
		return err
	}
	t, err := m.template(ctx, r)
	if err != nil {
		return err
	}
	defer t.unlock()
	dir := m.nodeDir(c.name)
	if err := m.copyNode(ctx, t, "primary", dir); err != nil {
		return err
	}
	c.server, err = m.startNode(ctx, c.name, postgres.Start{Dir: dir, Port: port, Settings: r.Settings, LogFile: filepath.Join(m.dir, "logs", c.name+".log")})
	if err != nil {
		return err
	}
	return m.secure(ctx, t, r, c.server, true)
}

// end closes the clone by itself; close is what Destroy does.
func (c *clone) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	c.machine.mu.Lock()
	done := c.cleanup.done
	c.cleanup.done = true
	c.machine.mu.Unlock()
	if done {
		return nil
	}
	if err := c.close(ctx); err != nil {
		c.machine.mu.Lock()
		c.cleanup.done = false // Destroy tries again
		c.machine.mu.Unlock()
		return fmt.Errorf("close %s: %w", c.name, err)
	}
	return nil
}

func (c *clone) close(ctx context.Context) error {
	err := c.supervisor.Close(ctx)
	if c.server != nil {
		err = errors.Join(err, c.server.Kill(ctx), c.machine.ended(c.server.PID()))
	}
	if err != nil {
		return err
	}
	for _, l := range c.leases {
		_ = l.Close() // an abstract socket has nothing to remove
	}
	c.leases = nil
	err = errors.Join(artefact.RemoveTree(c.machine.nodeDir(c.name)), artefact.RemoveTree(c.machine.nodeDir(c.name+"-cache")))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
