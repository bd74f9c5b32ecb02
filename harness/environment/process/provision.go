package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/control"
	"backout/harness/environment/database"
	"backout/harness/environment/ports"
	"backout/harness/environment/proxy"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// Provision implements environment.Environment. Releases are staged, and built where they are not in the cache, side by
// side with the database.
func (m *machine) Provision(ctx context.Context, need environment.Need) error {
	ctx, done, err := m.Begin(ctx)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	defer done()
	if err := check(need); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	m.mu.Lock()
	again := m.provision
	m.provision = true
	if !again {
		m.need, m.begun = need, time.Now()
		m.TellTo(need.Progress)
		close(m.known)
	}
	m.mu.Unlock()
	if again {
		return errors.New("provision: this environment was provisioned before")
	}
	if err := m.provisionAll(ctx); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

func check(need environment.Need) error {
	if need.Service == nil || need.Good == nil {
		return errors.New("a service and its good release are needed")
	}
	for _, s := range wiring.Services(need) {
		if s.Process == nil && s.Instances == 0 {
			continue // a schema alone
		}
		if s.Process == nil || len(s.Process.Command) == 0 {
			return fmt.Errorf("%s has no run.process.command: it does not run as processes", s.Path)
		}
		if wiring.Release(need, s) == nil {
			return fmt.Errorf("%s: it is not said which release of %s runs", s.Path, s.Name)
		}
	}
	return wiring.Check(need)
}

// provisionAll says what waits for what: instances for their release and for the database's passwords; nothing else.
func (m *machine) provisionAll(ctx context.Context) error {
	if err := m.prepare(); err != nil {
		return err
	}
	if len(wiring.Roles(m.need)) > 0 {
		if err := m.findPostgres(ctx); err != nil {
			return err
		}
	}
	if len(wiring.Caches(m.need)) > 0 {
		program, err := cache.Find()
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.cacheProgram = program
		m.mu.Unlock()
	}
	if err := m.wire(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	staging, sctx := errgroup.WithContext(ctx)
	for _, s := range wiring.Services(m.need) {
		staging.Go(func() error {
			dir, err := m.stages.Release(sctx, s, wiring.Release(m.need, s), nil)
			if err != nil {
				return err
			}
			m.mark("staged " + s.Name)
			return m.link(s, dir)
		})
	}
	if len(wiring.Caches(m.need)) > 0 {
		staging.Go(func() error { // like a release: instances wait for it
			defer m.mark("cache open")
			own := newSupervisor(m.register, m.owner) // out of reach of the scripts that restart instances
			m.onDestroy("cache", own.Close)
			return m.startCache(sctx, own, "cache", m.wiring)
		})
	}
	staged := make(chan struct{})
	g.Go(func() error {
		defer close(staged)
		return staging.Wait()
	})
	g.Go(func() error {
		var inSync func(context.Context) error
		if roles := wiring.Roles(m.need); len(roles) > 0 {
			r, err := database.NewRecipe(templateFormat, m.bin.Version, m.installed, m.need)
			if err != nil {
				return err
			}
			t, err := m.template(ctx, r)
			if err != nil {
				return err
			}
			defer t.unlock()
			if inSync, err = m.cluster(ctx, t, r, roles); err != nil {
				return err
			}
			m.mark("database open")
			g.Go(func() error {
				defer m.mark("replicas in sync")
				return inSync(ctx)
			})
		}
		<-staged
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.startInstances(ctx); err != nil {
			return err
		}
		m.mark("instances ready")
		return nil
	})
	return g.Wait()
}

// wire chooses all ports before anything starts, so that every URL is known to everybody.
func (m *machine) wire() error {
	m.mu.Lock()
	m.password = database.NewPassword()
	m.wiring = wiring.Wiring{Need: m.need, Password: m.password, Kind: service.InProcesses, Host: "127.0.0.1", Ports: map[string]int{}, URLs: map[string]string{}, Data: filepath.Join(m.dir, "data")}
	m.mu.Unlock()
	for _, role := range wiring.Roles(m.need) {
		l, err := ports.Take()
		if err != nil {
			return err
		}
		m.leases = append(m.leases, l)
		m.wiring.Ports[role] = l.Port
	}
	if len(wiring.Caches(m.need)) > 0 {
		l, err := ports.Take()
		if err != nil {
			return err
		}
		m.leases = append(m.leases, l)
		m.mu.Lock()
		m.wiring.Cache = l.Port
		m.mu.Unlock()
	}
	if err := m.openPrimary(); err != nil {
		return err
	}
	if err := m.openLinks(); err != nil {
		return err
	}
	if err := m.startStubs(); err != nil {
		return err
	}
	maps.Copy(m.wiring.URLs, m.stubs)
	m.supervisor = newSupervisor(m.register, m.owner)
	m.onDestroy("supervisor", m.supervisor.Close)
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		p, err := proxy.New(proxy.Config{Service: s.Name, Ready: s.Ready, Listen: "127.0.0.1:0", Control: service.Here})
		if err != nil {
			return err
		}
		m.onDestroy("proxy of "+s.Name, func(context.Context) error { return p.Close() })
		m.mu.Lock()
		m.proxies[s.Name] = p
		m.mu.Unlock()
		m.wiring.URLs[s.Name] = p.URL()
		for n := range max(1, s.Instances) {
			l, err := ports.Take()
			if err != nil {
				return err
			}
			m.leases = append(m.leases, l)
			m.mu.Lock()
			m.instances = append(m.instances, service.Instance{Name: fmt.Sprintf("%s-%d", s.Name, n+1), Service: s.Name, URL: l.URL()})
			m.mu.Unlock()
		}
	}
	socket := filepath.Join(m.dir, "control")
	server, err := control.Serve(socket, m.orders())
	if err != nil {
		return err
	}
	m.control = server
	m.onDestroy("control socket", func(context.Context) error { return server.Close() })
	return control.Wrappers(filepath.Join(m.dir, "bin"), socket, m.Self)
}

// link points the links of a service's instances to a staged release.
func (m *machine) link(s *service.Service, dir string) error {
	for _, i := range m.Instances() {
		if i.Service != s.Name {
			continue
		}
		home := filepath.Join(m.dir, "instances", i.Name)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(dir, filepath.Join(home, "current")); err != nil {
			return err
		}
	}
	return nil
}

// startInstances starts all instances of all services and waits until their proxies see them ready.
func (m *machine) startInstances(ctx context.Context) error {
	all := m.Instances()
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		_, secrets, err := s.SecretValues()
		if err != nil {
			return err
		}
		var names, addresses []string
		for n := range all {
			if all[n].Service != s.Name {
				continue
			}
			i, err := m.supervisor.add(m.spec(s, m.linked(s), all[n].Name, all[n].URL, filepath.Join(m.dir, "instances", all[n].Name, "current"), secrets))
			if err != nil {
				return err
			}
			all[n].PID = func() int { return int(i.pid.Load()) }
			all[n].Restarts = func() int { return int(i.restarts.Load()) }
			names, addresses = append(names, i.name), append(addresses, i.address)
		}
		m.proxies[s.Name].Watch(names, addresses)
	}
	m.mu.Lock()
	m.instances = all
	m.mu.Unlock()
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		within := cmp.Or(s.ReadyWithin, time.Minute)
		ready, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s (service.yaml: ready: {path: %s, within: %s})", within, s.Ready, within))
		err := m.proxies[s.Name].WaitAll(ready)
		cancel()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, m.lastWords(s.Name))
		}
	}
	return nil
}

// lastWords are the last lines of the instances that are not ready.
func (m *machine) lastWords(service string) string {
	out := ""
	for _, i := range m.Instances() {
		if i.Service == service {
			out += environment.LastLines(i.Name, m.Log(i.Name), 5)
		}
	}
	return out
}

// spec says how an instance of s is run.
func (m *machine) spec(s *service.Service, w wiring.Wiring, name, url, link string, secrets map[string]string) spec {
	address := url[len("http://"):]
	return spec{name: name, service: s.Name, link: link, address: address, command: s.Process.Command,
		log: filepath.Join(m.dir, "logs", name+".log"),
		env: func(release string) ([]string, error) {
			data, err := w.DataDir(s)
			if err != nil {
				return nil, err
			}
			own := map[string]string{"address": address, "release": release, "instance": name, "data": data}
			home := filepath.Join(m.dir, "tmp")
			all := map[string]string{"HOME": home, "TMPDIR": home, "PATH": os.Getenv("PATH")}
			if lang := os.Getenv("LANG"); lang != "" {
				all["LANG"] = lang
			}
			stated, err := w.Environ(s, own, secrets)
			if err != nil {
				return nil, err
			}
			maps.Copy(all, stated)
			var env []string
			for _, name := range slices.Sorted(maps.Keys(all)) {
				env = append(env, name+"="+all[name])
			}
			return env, nil
		}}
}
