package containers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/environment/gateway"
	"backout/harness/environment/ports"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// Provision implements environment.Environment. Images are made where they are not there yet, side by side with the
// networks, the nodes and the caches.
func (s *stage) Provision(ctx context.Context, need environment.Need) error {
	ctx, done, err := s.Begin(ctx)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	defer done()
	if err := check(need); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	s.mu.Lock()
	again := s.begun
	s.begun = true
	if !again {
		s.need = need
		s.TellTo(need.Progress)
	}
	s.mu.Unlock()
	if again {
		return errors.New("provision: this environment was provisioned before")
	}
	if err := s.provision(ctx); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

func check(need environment.Need) error {
	if need.Service == nil || need.Good == nil {
		return errors.New("a service and its good release are needed")
	}
	for _, of := range wiring.Services(need) {
		if of.Containers == nil && of.Instances == 0 {
			continue // a schema alone
		}
		if of.Containers == nil {
			return fmt.Errorf("%s has no run.containers: it does not run in containers", of.Path)
		}
		if wiring.Release(need, of) == nil {
			return fmt.Errorf("%s: it is not said which release of %s runs", of.Path, of.Name)
		}
	}
	return wiring.Check(need)
}

// provision says what waits for what: instances for their image, for the networks and for the database's passwords.
func (s *stage) provision(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.wire(); err != nil {
		return err
	}
	if err := s.fetch(ctx); err != nil {
		return err
	}
	if err := s.findProjects(); err != nil {
		return err
	}
	close(s.wired)
	if err := s.scripts(); err != nil {
		return err
	}
	s.follow()
	g, ctx := errgroup.WithContext(ctx)
	connected, staged := s.connected, make(chan struct{})
	then := func(after <-chan struct{}, f func() error) func() error {
		return func() error {
			select {
			case <-after:
				return f()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	g.Go(func() error {
		if err := s.engine.connect(ctx); err != nil {
			return err
		}
		for _, p := range s.projects {
			if err := p.prepare(); err != nil {
				return err
			}
		}
		close(connected)
		return nil
	})
	gate := make(chan struct{})
	g.Go(then(connected, func() error {
		defer close(gate)
		return s.startGateway(ctx)
	}))
	staging, sctx := errgroup.WithContext(ctx)
	if s.registry != nil {
		staging.Go(then(connected, func() error { return s.registry.run(sctx) }))
	}
	for _, of := range wiring.ThatRun(s.need, service.InContainers) {
		staging.Go(func() error {
			r := wiring.Release(s.need, of)
			if _, err := s.stages.Release(sctx, of, r, nil); err != nil {
				return err
			}
			name, err := s.image(sctx, of, r)
			if err != nil {
				return err
			}
			return s.offer(sctx, of, r.Name, name)
		})
	}
	if len(wiring.Caches(s.need)) > 0 {
		staging.Go(then(connected, func() error { return s.startCache(sctx, "cache", s.outside.Cache, s.inside) }))
	}
	g.Go(func() error {
		defer close(staged)
		return staging.Wait()
	})
	g.Go(then(connected, func() error {
		var inSync func(context.Context) error
		if roles := wiring.Roles(s.need); len(roles) > 0 {
			var err error
			if inSync, err = s.cluster(ctx, roles, gate); err != nil {
				return err
			}
			g.Go(func() error { return inSync(ctx) })
		}
		select {
		case <-staged:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.startInstances(ctx, gate)
	}))
	return g.Wait()
}

// lease takes a port of this machine for the run.
func (s *stage) lease() (int, error) {
	l, err := ports.Take()
	if err != nil {
		return 0, err
	}
	s.leases = append(s.leases, l)
	return l.Port, nil
}

// inGateway is by which name containers find the gateway.
const inGateway = "gateway"

// wire chooses all ports before anything starts, so that every URL is known to everybody. A port that is published has the
// same number inside the gateway, so that a URL on 127.0.0.1 means the same on this machine and for a job in a container
// that shares the gateway's network.
func (s *stage) wire() error {
	s.password = database.NewPassword()
	s.inside = wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InContainers, Host: inGateway, Hosts: map[string]string{}, Ports: map[string]int{}, URLs: map[string]string{}}
	outside := wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InContainers, Host: "127.0.0.1", Ports: map[string]int{}, URLs: map[string]string{}}
	for _, role := range wiring.Roles(s.need) {
		port, err := s.lease()
		if err != nil {
			return err
		}
		outside.Ports[role] = port
		s.inside.Hosts[role], s.inside.Ports[role] = role, postgresPort
	}
	if slices.Contains(s.need.Faults, "failover") {
		// Everybody reaches the primary through the gateway, which can lead to another node.
		port, err := s.lease()
		if err != nil {
			return err
		}
		s.inside.Hosts["primary"], s.inside.Ports["primary"] = inGateway, port
	}
	if len(wiring.Caches(s.need)) > 0 {
		port, err := s.lease()
		if err != nil {
			return err
		}
		outside.Cache = port
		s.inside.Hosts["cache"], s.inside.Cache = "cache", redisPort
	}
	way := func(name string) error {
		port, err := s.lease()
		outside.URLs[name] = here(port)
		s.inside.URLs[name] = fmt.Sprintf("http://%s:%d", inGateway, port)
		return err
	}
	var order []string
	for _, of := range wiring.Services(s.need) {
		for stub := range of.Stubs {
			if err := way(of.Name + "/" + stub); err != nil {
				return err
			}
		}
	}
	for _, of := range wiring.ThatRun(s.need, service.InContainers) {
		if err := way(of.Name); err != nil {
			return err
		}
		for n := range max(1, of.Instances) {
			port, err := s.lease()
			if err != nil {
				return err
			}
			name := fmt.Sprintf("%s-%d", of.Name, n+1)
			s.addresses[name] = &address{service: of, port: port}
			order = append(order, name)
		}
	}
	port, err := s.lease()
	if err != nil {
		return err
	}
	s.remote = gateway.Remote{URL: here(port), Token: s.password}
	if slices.ContainsFunc(s.need.Faults, disturbs) {
		s.linkPorts = map[string]int{}
		for _, of := range wiring.ThatRun(s.need, service.InContainers) {
			for node := range outside.Ports {
				l, err := ports.Take() // inside the gateway alone; a number that nothing else has there
				if err != nil {
					return err
				}
				s.leases = append(s.leases, l)
				s.linkPorts[linkName(of.Name, node)] = l.Port
			}
		}
	}
	if slices.Contains(s.need.Faults, "registry") {
		if s.registry, err = s.newRegistry(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outside = outside
	s.instances = order
	return nil
}

// disturbs says whether a kind of fault needs connections that can be disturbed.
func disturbs(kind string) bool { return kind == "slow" || kind == "drop" }

// linkName is the link between a service and a node.
func linkName(service, node string) string { return service + "/" + node }

// linked is where the instances of a service find everything.
func (s *stage) linked(of *service.Service) wiring.Wiring {
	w := s.inside
	if s.linkPorts == nil {
		return w
	}
	w.Ports, w.Hosts = maps.Clone(w.Ports), maps.Clone(w.Hosts)
	for node := range w.Ports {
		w.Ports[node], w.Hosts[node] = s.linkPorts[linkName(of.Name, node)], inGateway
	}
	return w
}

// holds is where the gateway has the disk of a node, where that is of fixed size.
func holds(role string) string { return "/hold/" + role }

// startGateway starts the gateway and waits until it answers.
func (s *stage) startGateway(ctx context.Context) error {
	c := gateway.Config{Token: s.remote.Token, Control: portOf(s.remote.URL), Stubs: map[int]gateway.Stub{}}
	publish := map[int]int{c.Control: c.Control}
	add := func(port int, to string) {
		publish[port] = port
		if to != "" {
			c.Ways = append(c.Ways, gateway.Way{Port: port, To: to})
		}
	}
	for role, port := range s.outside.Ports {
		add(port, fmt.Sprintf("%s.observed:%d", role, postgresPort))
	}
	if s.inside.Hosts["primary"] == inGateway {
		c.Ways = append(c.Ways, gateway.Way{Port: s.inside.Ports["primary"], To: fmt.Sprintf("primary:%d", postgresPort)})
	}
	if s.outside.Cache != 0 {
		add(s.outside.Cache, fmt.Sprintf("cache.observed:%d", redisPort))
	}
	for _, of := range wiring.Services(s.need) {
		for name, stub := range of.Stubs {
			port := portOf(s.outside.URLs[of.Name+"/"+name])
			add(port, "")
			c.Stubs[port] = stub
		}
	}
	for _, of := range wiring.ThatRun(s.need, service.InContainers) {
		u := gateway.Users{Service: of.Name, Port: portOf(s.outside.URLs[of.Name]), Ready: of.Ready}
		add(u.Port, "")
		for _, name := range s.instances {
			if a := s.addresses[name]; a.service == of {
				inside, seen := name, name+".observed"
				if s.projects[of] != nil {
					inside, seen = s.engine.full(name), s.engine.full(name)
				}
				add(a.port, fmt.Sprintf("%s:%d", seen, of.Containers.Port))
				u.Names = append(u.Names, name)
				u.Addresses = append(u.Addresses, fmt.Sprintf("%s:%d", inside, of.Containers.Port))
			}
		}
		c.Users = append(c.Users, u)
	}
	for name, port := range s.linkPorts {
		if c.Links == nil {
			c.Links = map[string]gateway.Way{}
		}
		_, node, _ := strings.Cut(name, "/")
		to := fmt.Sprintf("%s:%d", s.inside.Hosts[node], s.inside.Ports[node])
		if s.inside.Hosts[node] == inGateway {
			to = fmt.Sprintf("127.0.0.1:%d", s.inside.Ports[node])
		}
		c.Links[name] = gateway.Way{Port: port, To: to}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	path, args, err := program(s.Gateway)
	if err != nil {
		return err
	}
	held := map[string]string{}
	if s.disk() != nil {
		// A disk in memory is gone with the last container that has it, and the node's may be killed.
		for role := range s.outside.Ports {
			if held[holds(role)], err = s.engine.volume(ctx, role, s.disk()); err != nil {
				return err
			}
		}
	}
	_, err = s.engine.run(ctx, box{name: "gateway", knows: true, volumes: held, image: s.use.postgres, entry: append([]string{"/backout"}, args...), user: "65532",
		env: map[string]string{gateway.Variable: string(text)}, binds: map[string]string{"/backout": path}, publish: publish,
		on: map[string]string{edge: "gateway.edge", private: inGateway, observed: "gateway.observed"}})
	if err != nil {
		return err
	}
	return s.whileRuns(ctx, "gateway", "the gateway answers", func(ctx context.Context) error {
		_, err := s.remote.Order(ctx, "ping", "")
		return err
	})
}

// whileRuns waits until a container does what it is for. One that has ended will not; the error has its last lines.
func (s *stage) whileRuns(ctx context.Context, name, what string, does func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := environment.Until(ctx, what, func(ctx context.Context) error {
		err := does(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if found, asked := s.engine.inspect(ctx, name); asked == nil && !found.State.Running && !found.State.Restarting {
			stop(fmt.Errorf("its container has ended with exit status %d", found.State.ExitCode))
		}
		return err
	})
	if err != nil {
		if why := context.Cause(ctx); why != nil {
			err = fmt.Errorf("%w: %w", err, why)
		}
		return fmt.Errorf("%w\n%s", err, environment.LastLines(name, s.Log(name), 8))
	}
	return nil
}

func portOf(url string) (port int) {
	_, _ = fmt.Sscanf(url, "http://127.0.0.1:%d", &port) // it is one of ours
	return port
}

// startInstances starts all instances of all services and waits until their proxies see them ready.
func (s *stage) startInstances(ctx context.Context, gate <-chan struct{}) error {
	starting, sctx := errgroup.WithContext(ctx)
	for _, name := range s.instances {
		a := s.addresses[name]
		i := &instance{name: name, service: a.service}
		s.mu.Lock()
		s.running[name] = i
		s.mu.Unlock()
		if s.projects[a.service] != nil {
			continue
		}
		starting.Go(func() error {
			image := s.deployed(a.service, wiring.Release(s.need, a.service).Name)
			if s.registry != nil && a.service == s.need.Service {
				if err := pull(sctx, s.docker, image); err != nil {
					return err
				}
			}
			return s.start(sctx, i, image)
		})
	}
	for of, p := range s.projects {
		starting.Go(func() error { return p.up(sctx, wiring.Release(s.need, of).Name) })
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	if s.registry != nil {
		// From now on it is pulled by whoever needs it, as on a machine that has never run it. It stays then, as there.
		if err := s.registry.forget(ctx, s.deployed(s.need.Service, s.need.Good.Name)); err != nil {
			return err
		}
	}
	select {
	case <-gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, of := range wiring.ThatRun(s.need, service.InContainers) {
		within := cmp.Or(of.ReadyWithin, time.Minute)
		ready, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s (service.yaml: ready: {path: %s, within: %s})", within, of.Ready, within))
		_, err := s.remote.Order(ready, "all", of.Name)
		cause := context.Cause(ready)
		cancel()
		if err != nil {
			return fmt.Errorf("wait until the instances of %s are ready: %w: %w\n%s", of.Name, cmp.Or(cause, err), err, s.lastWords(of))
		}
	}
	return nil
}

// deployed is the image that a script would name to deploy a release.
func (s *stage) deployed(of *service.Service, release string) string {
	if s.registry != nil && of == s.need.Service {
		return s.registry.name(of, release)
	}
	return s.repository(of) + ":" + release
}

// deployedIn is the repository that a script would name.
func (s *stage) deployedIn(of *service.Service) string {
	if s.registry != nil {
		return s.registry.repository(of)
	}
	return s.repository(of)
}

// offer brings an image to where it is deployed from.
func (s *stage) offer(ctx context.Context, of *service.Service, release, image string) error {
	if s.registry == nil || of != s.need.Service {
		return nil
	}
	select {
	case <-s.registry.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.registry.push(ctx, image, of, release)
}

// lastWords are the last lines of a service's instances.
func (s *stage) lastWords(of *service.Service) string {
	out := ""
	for _, i := range s.Instances() {
		if i.Service == of.Name {
			out += environment.LastLines(i.Name, s.Log(i.Name), 5)
		}
	}
	return out
}

const (
	postgresPort = 5432
	redisPort    = 6379
)

// RedisConf is the configuration of a server of all caches of a stage, for CONF: it keeps nothing on disk.
func RedisConf(w wiring.Wiring) string {
	return fmt.Sprintf("port %d\nrequirepass %s\ndatabases %d\nsave \"\"\nappendonly no\nmaxmemory 64mb\nmaxmemory-policy allkeys-lru\nprotected-mode no\n",
		redisPort, w.Password, max(1, len(wiring.Caches(w.Need))))
}

// RedisCommand starts the server by the variable CONF, since the arguments of a process are for everybody to read.
func RedisCommand() []string {
	return []string{"sh", "-c", `printf '%s' "$CONF" | env -u CONF redis-server -`}
}

// startCache starts a server that keeps nothing on disk, and returns when it answers at a port of this machine with the run's
// password: the drill's own through the gateway, a clone's by itself.
func (s *stage) startCache(ctx context.Context, name string, port int, w wiring.Wiring) error {
	b := box{name: name, image: s.use.redis, entry: RedisCommand(), env: map[string]string{"CONF": RedisConf(w)},
		on: map[string]string{private: name, observed: name + ".observed"}}
	if name != "cache" {
		b.publish, b.on[edge] = map[int]int{redisPort: port}, name+".edge"
	}
	if _, err := s.engine.run(ctx, b); err != nil {
		return err
	}
	url := cache.URL("127.0.0.1", port, w.Password, 0)
	return s.whileRuns(ctx, name, name+" answers", func(ctx context.Context) error {
		client, err := cache.Open(url, "backout")
		if err != nil {
			return err
		}
		defer client.Close()
		return client.Ping(ctx)
	})
}
