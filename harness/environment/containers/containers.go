// Package containers is the environment in which each service instance, each PostgreSQL node and each cache is a container
// of its own on a private network, so that a drill can do to hosts what production does to them. It uses the Docker engine
// of this machine through testcontainers-go; whatever it makes carries the run's label.
package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/control"
	"backout/harness/environment/database"
	"backout/harness/environment/gateway"
	"backout/harness/environment/ports"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// stage is where one drill happens.
type stage struct {
	*environment.Life
	stages  artefact.Stages
	prepare func() error // makes the run's directory and registers what carries the run's label; it may be called again

	wired     chan struct{} // closed when it is known where everything will be, and which services compose files describe
	engine    *engine
	docker    *testcontainers.DockerClient
	register  *environment.Register
	dir       string // of the run
	password  string
	remote    gateway.Remote
	control   *control.Server
	leases    []*ports.Lease
	inside    wiring.Wiring                 // what instances find
	outside   wiring.Wiring                 // what the harness and scripts find: everything on 127.0.0.1
	addresses map[string]*address           // of instances, by name
	nodes     map[string]*node              // by role
	images    map[string]*imageOnce         // by service and release
	connected chan struct{}                 // closed when the networks are there
	projects  map[*service.Service]*project // that compose files describe
	versions  map[string]string
	linkPorts map[string]int // in the gateway, by linkName; nil: nothing is disturbed
	leads     string         // the node to which the primary's address leads; empty: to the primary
	registry  *registry      // where the drill declares that it fails
	use       use

	mu        sync.Mutex
	begun     bool
	need      environment.Need
	instances []string // in order
	running   map[string]*instance
	clones    int
	tails     map[string]string // of logs, kept when the containers go
}

// use is which images it starts, chosen once.
type use struct{ postgres, redis, registry string }

// address is where an instance is reached by the harness.
type address struct {
	service *service.Service
	port    int
}

// node is a PostgreSQL node.
type node struct {
	database.Node
	volume string
	mu     sync.Mutex
	pid    int
}

// New makes an environment. It starts nothing before Provision or Stage.
func New(o environment.Options) (environment.Environment, error) {
	life, err := environment.NewLife(o)
	if err != nil {
		return nil, fmt.Errorf("containers: %w", err)
	}
	s := &stage{Life: life, wired: make(chan struct{}), connected: make(chan struct{}), projects: map[*service.Service]*project{},
		addresses: map[string]*address{}, nodes: map[string]*node{}, running: map[string]*instance{}, images: map[string]*imageOnce{}, tails: map[string]string{}}
	s.prepare = sync.OnceValue(s.makeDirectory)
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	if s.docker, err = reach(ctx); err != nil {
		return nil, fmt.Errorf("containers: %w; `backout doctor` says what this machine has", err)
	}
	s.use = use{postgres: Postgres(ctx), redis: Redis(ctx), registry: Registry(ctx)}
	s.versions = map[string]string{"go": runtime.Version(), "postgresql image": s.use.postgres}
	if v, err := s.docker.ServerVersion(ctx, client.ServerVersionOptions{}); err == nil {
		s.versions["docker"] = v.Version
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.versions["linux"] = unix.ByteSliceToString(u.Release[:])
	}
	return s, nil
}

func (s *stage) makeDirectory() error {
	if err := os.MkdirAll(filepath.Join(s.Cache, "artefacts"), 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	register, err := environment.OpenRegister(s.Register)
	if err != nil {
		return err
	}
	s.register = register
	if err := register.Add(environment.Entry{Kind: environment.KindContainers, Name: register.Token()}); err != nil {
		return err
	}
	s.engine = &engine{client: s.docker, token: register.Token(), cache: s.Cache, boxes: map[string]testcontainers.Container{}, called: map[string]string{}}
	dir, err := register.Directory(s.Temp)
	if err != nil {
		return err
	}
	artefact.Spread(dir)
	for _, sub := range []string{"releases", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	s.stages.Kind, s.stages.Cache, s.stages.Dir, s.stages.Say = service.InContainers, s.Cache, filepath.Join(dir, "releases"), s.Say
	s.mu.Lock()
	s.dir = dir
	s.mu.Unlock()
	return nil
}

// Stage implements environment.Environment. The release's image is made as well.
func (s *stage) Stage(ctx context.Context, r *service.Release, overlay map[string]string) (string, error) {
	ctx, done, err := s.Begin(ctx)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	defer done()
	select {
	case <-s.wired:
	case <-ctx.Done():
		return "", fmt.Errorf("stage %s: wait for Provision, which names the services: %w", r.Name, ctx.Err())
	}
	of, err := wiring.ServiceOf(s.need, r)
	if err == nil {
		err = s.prepare()
	}
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	dir, err := s.stages.Release(ctx, of, r, overlay)
	if err != nil || !of.Runs(service.InContainers) {
		return dir, err
	}
	image, err := s.image(ctx, of, r)
	if err != nil {
		return dir, err
	}
	return dir, s.offer(ctx, of, r.Name, image)
}

// Artefact implements environment.Environment.
func (s *stage) Artefact(ctx context.Context, r *service.Release) error {
	if _, err := s.Stage(ctx, r, nil); err != nil {
		return fmt.Errorf("the artefact of %s: %w", r.Name, err)
	}
	return nil
}

// Variables implements environment.Environment.
func (s *stage) Variables() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outside.Variables(slices.Collect(maps.Keys(s.nodes)))
}

// Platform implements environment.Environment.
func (s *stage) Platform() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.need.Service == nil || s.dir == "" {
		return map[string]string{}
	}
	var own []string
	for _, name := range s.instances {
		if s.addresses[name].service == s.need.Service {
			own = append(own, name)
		}
	}
	all := map[string]string{
		"SUPERVISOR":  filepath.Join(s.dir, "bin", "supervisor"),
		"PROXY":       filepath.Join(s.dir, "bin", "proxy"),
		"INSTANCES":   strings.Join(own, " "),
		"RELEASES":    filepath.Join(s.dir, "releases"),
		"IMAGES":      s.deployedIn(s.need.Service),
		"JOB_NETWORK": "container:" + s.engine.full("gateway"),
		"RUN_LABEL":   Label + "=" + s.engine.token,
	}
	if s.outside.Cache != 0 {
		all["CACHE_CLI"] = filepath.Join(s.dir, "bin", "cache-cli")
	}
	if port := s.inside.Ports["primary"]; port != 0 {
		all["PRIMARY_INSIDE"] = fmt.Sprintf("%s:%d", s.inside.Hosts["primary"], port)
	}
	if p := s.projects[s.need.Service]; p != nil {
		all["COMPOSE"] = p.script
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		all["DOCKER_HOST"] = host
	}
	return all
}

// Caches implements environment.Environment.
func (s *stage) Caches() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outside.CacheURLs()
}

// URL implements environment.Environment.
func (s *stage) URL(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outside.URLs[name]
}

// Instances implements environment.Environment.
func (s *stage) Instances() []service.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []service.Instance
	for _, name := range s.instances {
		a := s.addresses[name]
		i := service.Instance{Name: name, Service: a.service.Name, URL: here(a.port)}
		if r := s.running[name]; r != nil {
			i.PID, i.Restarts = r.PID, r.Restarts
		}
		all = append(all, i)
	}
	return all
}

// Nodes implements environment.Environment.
func (s *stage) Nodes() []service.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []service.Node
	for _, role := range []string{"primary", "streaming", "logical"} {
		if n := s.nodes[role]; n != nil && s.need.Service.Database != nil {
			runs := n
			if role == "primary" && s.leads != "" {
				runs = s.nodes[s.leads]
			}
			all = append(all, service.Node{Name: role, Role: role, URL: n.URL(s.password, s.need.Service.Name), PID: runs.PID})
		}
	}
	return all
}

// PID of the postmaster on this machine; 0 when it does not run.
func (n *node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pid
}

// Versions implements environment.Environment.
func (s *stage) Versions() map[string]string {
	v := map[string]string{}
	for name, is := range s.versions {
		v[name] = is
	}
	return v
}

// Log implements environment.Environment. It also answers after Destroy.
func (s *stage) Log(name string) string {
	s.mu.Lock()
	kept, is := s.tails[name]
	e := s.engine
	s.mu.Unlock()
	if is || e == nil {
		return kept
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return e.logs(ctx, name)
}

// Destroy implements environment.Environment. Everything that carries the run's label goes, then the directory. What failed
// is tried again by the next call; what cannot be removed stays in the register.
func (s *stage) Destroy(ctx context.Context) error {
	return s.End(ctx, 50*time.Second, s.destroy)
}

func (s *stage) destroy(ctx context.Context, late error) error {
	if s.control != nil {
		late = errors.Join(late, s.control.Close())
	}
	if s.engine != nil {
		s.keepLogs(ctx)
		swept, err := sweep(ctx, s.docker, s.engine.token)
		if err != nil {
			return errors.Join(err, late)
		}
		for _, line := range swept {
			if !strings.HasPrefix(line, "removed ") {
				s.Say(line)
			}
		}
	}
	if late != nil {
		return late
	}
	s.mu.Lock()
	dir := s.dir
	s.mu.Unlock()
	if dir != "" {
		if err := artefact.RemoveTree(dir); err != nil {
			return err
		}
	}
	for _, l := range s.leases {
		_ = l.Close() // an abstract socket has nothing to remove
	}
	s.leases = nil
	if s.register != nil {
		if err := s.register.Remove(); err != nil {
			return err
		}
	}
	return s.docker.Close()
}

// keepLogs keeps what every container has written, before it goes.
func (s *stage) keepLogs(ctx context.Context) {
	s.engine.mu.Lock()
	var names []string
	for name := range s.engine.boxes {
		names = append(names, name)
	}
	s.engine.mu.Unlock()
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error {
			text := s.engine.logs(ctx, name)
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, is := s.tails[name]; !is {
				s.tails[name] = text
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
}

// here is the URL of a port that is published on this machine.
func here(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// madeHere are the images that a service's Dockerfile is made from and that nobody publishes.
func madeHere(s *service.Service) (all []string) {
	if s.Containers == nil || s.Containers.Dockerfile == "" {
		return nil
	}
	text, err := os.ReadFile(artefact.Within(s.Dir, s.Containers.Dockerfile))
	if err != nil {
		return nil // which the build says better
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "FROM") {
			continue
		}
		for _, i := range Images() {
			if i.Official == "" && i.Built == words[1] {
				all = append(all, i.Built)
			}
		}
	}
	return all
}

// Lacks says what this machine has not that drills of these services need, and the command that mends it; empty: nothing.
func Lacks(all []*service.Service) string {
	if why := Answers(); why != "" {
		return why
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	needed := map[string]bool{Postgres(ctx): true} // the gateway runs on it, too
	for _, s := range all {
		if len(s.Caches) > 0 {
			needed[Redis(ctx)] = true
		}
		for _, image := range madeHere(s) {
			needed[image] = true
		}
	}
	docker, err := reach(ctx)
	if err != nil {
		return err.Error()
	}
	defer docker.Close()
	for image := range needed {
		if _, err := docker.ImageInspect(ctx, image); err != nil && !Pullable(ctx, image) {
			return fmt.Sprintf("the image %s is neither here nor in a registry that answers: run make images", image)
		}
	}
	return ""
}
