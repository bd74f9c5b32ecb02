package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/environment/proxy"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// Clone implements environment.Environment: one node from the template's primary, which replicas' URLs lead to as well, a
// cache, and one instance of each service, without proxies. It has the passwords of the drill, which are hidden already.
func (s *stage) Clone(ctx context.Context) (*environment.Clone, error) {
	ctx, done, err := s.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	defer done()
	s.mu.Lock()
	s.clones++
	name := fmt.Sprintf("clone-%d", s.clones)
	ready := s.outside.Ports != nil
	s.mu.Unlock()
	if !ready {
		return nil, errors.New("clone: the environment is not provisioned")
	}
	c := &clone{stage: s, name: name}
	out, err := c.start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), c.end())
	}
	out.Close = c.end
	return out, nil
}

type clone struct {
	stage *stage
	name  string

	mu    sync.Mutex
	boxes []string
}

func (c *clone) add(suffix string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.name + "-" + suffix
	c.boxes = append(c.boxes, name)
	return name
}

func (c *clone) start(ctx context.Context) (*environment.Clone, error) {
	s := c.stage
	w := wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InContainers, Hosts: map[string]string{}, Ports: map[string]int{}, URLs: maps.Clone(s.inside.URLs)}
	out := &environment.Clone{URLs: map[string]string{}}
	if len(wiring.Roles(s.need)) > 0 {
		name := c.add("primary")
		w.Hosts["primary"], w.Ports["primary"] = name, postgresPort
		n, err := c.node(ctx, name)
		if err != nil {
			return nil, err
		}
		if s.need.Service.Database != nil {
			out.DatabaseURL = n.URL(s.password, s.need.Service.Name)
		}
	}
	if len(wiring.Caches(s.need)) > 0 { // of its own: what it writes is no part of the drill
		name := c.add("cache")
		w.Hosts["cache"], w.Cache = name, redisPort
		s.mu.Lock()
		port, err := s.lease()
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if err := s.startCache(ctx, name, port, w); err != nil {
			return nil, err
		}
	}
	running := wiring.ThatRun(s.need, service.InContainers)
	names := map[*service.Service]string{}
	for _, of := range running {
		names[of] = c.add(of.Name)
		w.URLs[of.Name] = fmt.Sprintf("http://%s:%d", names[of], of.Containers.Port)
	}
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for _, of := range running {
		g.Go(func() error {
			at, err := c.instance(ctx, of, names[of], w)
			mu.Lock()
			defer mu.Unlock()
			out.URLs[of.Name] = at
			return err
		})
	}
	return out, g.Wait()
}

func (c *clone) instance(ctx context.Context, of *service.Service, name string, w wiring.Wiring) (string, error) {
	s := c.stage
	if s.projects[of] != nil {
		return "", fmt.Errorf("%s is described by a compose file, which a clone cannot start beside the drill's own", of.Path)
	}
	r := wiring.Release(s.need, of)
	if _, err := s.stages.Release(ctx, of, r, nil); err != nil {
		return "", err
	}
	image, err := s.image(ctx, of, r)
	if err != nil {
		return "", err
	}
	_, secrets, err := of.SecretValues()
	if err != nil {
		return "", err
	}
	own := map[string]string{"address": fmt.Sprintf("0.0.0.0:%d", of.Containers.Port), "release": r.Name, "instance": name, "data": dataPath}
	env, err := w.Environ(of, own, secrets)
	if err != nil {
		return "", err
	}
	box, err := s.engine.run(ctx, box{name: name, image: image, command: of.Containers.Command, env: env,
		on: map[string]string{edge: name + ".edge", private: name}, publish: map[int]int{of.Containers.Port: 0}})
	if err != nil {
		return "", err
	}
	port, err := box.MappedPort(ctx, fmt.Sprintf("%d/tcp", of.Containers.Port))
	if err != nil {
		return "", err
	}
	at := here(int(port.Num()))
	client := httpClient()
	err = environment.Until(ctx, name+" is ready", func(ctx context.Context) error { return proxy.AskReady(ctx, client, at+of.Ready) })
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, environment.LastLines(name, s.Log(name), 5))
	}
	return at, nil
}

func (c *clone) node(ctx context.Context, name string) (database.Node, error) {
	s := c.stage
	r, err := s.recipe(ctx)
	if err != nil {
		return database.Node{}, err
	}
	t, err := s.template(ctx, r)
	if err != nil {
		return database.Node{}, err
	}
	defer t.unlock()
	text, err := conf(r.Settings)
	if err != nil {
		return database.Node{}, err
	}
	volume, err := s.engine.volume(ctx, name, nil)
	if err != nil {
		return database.Node{}, err
	}
	b := s.nodeBox(name, volume, t.volume("primary"), text, "", false)
	b.on = map[string]string{edge: name + ".edge", private: name}
	b.publish = map[int]int{postgresPort: 0}
	box, err := s.engine.run(ctx, b)
	if err != nil {
		return database.Node{}, err
	}
	port, err := box.MappedPort(ctx, fmt.Sprintf("%d/tcp", postgresPort))
	if err != nil {
		return database.Node{}, err
	}
	n := database.Node{Host: "127.0.0.1", Port: int(port.Num()), InHost: name, InPort: postgresPort}
	if err := s.open(ctx, &node{Node: n}, name, t.Password); err != nil {
		return n, err
	}
	return n, r.Secure(ctx, n, t.Password, s.password, true)
}

// end removes the clone. What it cannot remove goes with the run.
func (c *clone) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, name := range c.boxes {
		errs = append(errs, c.stage.engine.remove(ctx, name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", c.name, err)
	}
	c.boxes = nil
	return nil
}
