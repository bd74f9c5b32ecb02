package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cacheprogram "backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/environment/database"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// Clone implements environment.Environment: a node from the template's primary, which replicas' URLs lead to as well, a cache,
// and one pod of each service, in the drill's namespace and outside of the services' selectors.
func (s *stage) Clone(ctx context.Context) (*environment.Clone, error) {
	ctx, done, err := s.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	defer done()
	s.mu.Lock()
	s.clones++
	name := fmt.Sprintf("clone-%d", s.clones)
	ready := s.pods != nil
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

	mu     sync.Mutex
	parts  []string
	ports  []*nodePort
	spares []spare
}

func (c *clone) start(ctx context.Context) (*environment.Clone, error) {
	s := c.stage
	w := wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InKubernetes, Hosts: map[string]string{}, Ports: map[string]int{}, URLs: maps.Clone(s.inside.URLs)}
	out := &environment.Clone{URLs: map[string]string{}}
	if len(wiring.Roles(s.need)) > 0 {
		name := c.name + "-primary"
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
		name := c.name + "-cache"
		w.Hosts["cache"], w.Cache = name, redisPort
		if err := c.cache(ctx, name); err != nil {
			return nil, err
		}
	}
	running := wiring.ThatRun(s.need, service.InKubernetes)
	at := map[*service.Service]string{}
	for _, of := range running {
		name := c.name + "-" + of.Name
		w.URLs[of.Name] = fmt.Sprintf("http://%s:%d", name, of.Kubernetes.Port)
		// By a NodePort, which kube-proxy opens together with the address inside: one who is reached by it is reached by the
		// others, too. Before any pod asks for it: that a name is not known is remembered for half a minute.
		port, local, err := c.port(ctx, name, of.Kubernetes.Port)
		if err != nil {
			return nil, err
		}
		at[of] = here(local)
		if err := c.service(ctx, name, of.Kubernetes.Port, port); err != nil {
			return nil, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for _, of := range running {
		g.Go(func() error {
			mu.Lock()
			out.URLs[of.Name] = at[of]
			mu.Unlock()
			return c.instance(ctx, of, c.name+"-"+of.Name, at[of], w)
		})
	}
	return out, g.Wait()
}

// service makes the Service of a part.
func (c *clone) service(ctx context.Context, name string, inside, outside int) error {
	c.mu.Lock()
	c.parts = append(c.parts, name)
	c.mu.Unlock()
	_, err := c.stage.cluster.client.CoreV1().Services(c.stage.namespace).Create(ctx, reached(name, map[int]int{inside: outside}), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make the Service %s: %w", name, err)
	}
	return nil
}

// pod makes the pod of a part, whose Service is there, and its Secret.
func (c *clone) pod(ctx context.Context, name, image string, command []string, env, hidden map[string]string) error {
	api := c.stage.cluster.client.CoreV1()
	if _, err := api.Secrets(c.stage.namespace).Create(ctx, secret(name, hidden), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Secret %s: %w", name, err)
	}
	pod := &corev1.Pod{ObjectMeta: named(name), Spec: c.stage.container(name, image, command, env)}
	if _, err := api.Pods(c.stage.namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the pod %s: %w", name, err)
	}
	return nil
}

// port leases one more NodePort for a part, and says which port of 127.0.0.1 leads to it. Where there are none, a spare way of the
// gateway is led to the part's Service.
func (c *clone) port(ctx context.Context, part string, inside int) (number, at int, err error) {
	if t := c.stage.there; t != nil {
		w, err := t.takeSpare()
		if err != nil {
			return 0, 0, err
		}
		c.mu.Lock()
		c.spares = append(c.spares, w)
		c.mu.Unlock()
		_, err = c.stage.remote.Order(ctx, "lead", strconv.Itoa(w.inside), fmt.Sprintf("%s:%d", part, inside))
		return 0, w.port, err
	}
	leases, err := c.stage.cluster.leasePorts(ctx, 1)
	if err != nil {
		return 0, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports = append(c.ports, leases...)
	return leases[0].number, c.stage.cluster.ports[leases[0].number], nil
}

func (c *clone) node(ctx context.Context, name string) (database.Node, error) {
	s := c.stage
	data, err := s.workshop.Data(ctx)
	if err != nil {
		return database.Node{}, err
	}
	recipe, err := database.NewRecipe(0, "", "", s.need)
	if err != nil {
		return database.Node{}, err
	}
	conf, err := containers.NodeConf(recipe.Settings)
	if err != nil {
		return database.Node{}, err
	}
	port, at, err := c.port(ctx, name, postgresPort)
	if err != nil {
		return database.Node{}, err
	}
	env := map[string]string{"PGDATA": "/tmp/pg", "TEMPLATE": "/template/primary", "STANDBY": "", "CLOCK": "", "AUTO": ""}
	if err := c.service(ctx, name, postgresPort, port); err != nil {
		return database.Node{}, err
	}
	if err := c.pod(ctx, name, data.Name, []string{"sh", "-c", containers.StartNode}, env, map[string]string{"CONF": conf}); err != nil {
		return database.Node{}, err
	}
	n := database.Node{Host: "127.0.0.1", Port: at, InHost: name, InPort: postgresPort}
	err = s.whileRuns(ctx, name, name+" accepts connections", func(ctx context.Context) error {
		_, err := database.Ask[int](ctx, n.URL(data.Password, "postgres"), "select 1")
		return err
	})
	if err != nil {
		return n, err
	}
	return n, recipe.Secure(ctx, n, data.Password, s.password, true)
}

func (c *clone) cache(ctx context.Context, name string) error {
	s := c.stage
	image, err := s.workshop.Redis(ctx)
	if err != nil {
		return err
	}
	port, at, err := c.port(ctx, name, redisPort)
	if err != nil {
		return err
	}
	if err := c.service(ctx, name, redisPort, port); err != nil {
		return err
	}
	if err := c.pod(ctx, name, image, containers.RedisCommand(), nil, map[string]string{"CONF": containers.RedisConf(s.inside)}); err != nil {
		return err
	}
	return redisAnswers(ctx, name, cacheprogram.URL("127.0.0.1", at, s.password, 0))
}

func (c *clone) instance(ctx context.Context, of *service.Service, name, at string, w wiring.Wiring) error {
	s := c.stage
	r := wiring.Release(s.need, of)
	if _, err := s.release(ctx, of, r, nil); err != nil {
		return err
	}
	_, secrets, err := of.SecretValues()
	if err != nil {
		return err
	}
	own := map[string]string{"address": fmt.Sprintf("0.0.0.0:%d", of.Kubernetes.Port), "release": r.Name, "instance": name, "data": "/tmp"}
	env, err := w.Environ(of, own, secrets)
	if err != nil {
		return err
	}
	if err := c.pod(ctx, name, s.images.repository(of)+":"+r.Name, nil, nil, env); err != nil {
		return err
	}
	return s.whileRuns(ctx, name, name+" is ready", func(ctx context.Context) error { return answers(ctx, at+of.Ready) })
}

// end removes the clone. What it cannot remove goes with the namespace.
func (c *clone) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	api, now := c.stage.cluster.client.CoreV1(), int64(0)
	var errs []error
	for _, name := range c.parts {
		for _, err := range []error{
			api.Pods(c.stage.namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}),
			api.Services(c.stage.namespace).Delete(ctx, name, metav1.DeleteOptions{}),
			api.Secrets(c.stage.namespace).Delete(ctx, name, metav1.DeleteOptions{}),
		} {
			if err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
	}
	for _, l := range c.ports {
		l.close()
	}
	c.ports = nil
	for _, w := range c.spares {
		c.stage.there.giveBack(w)
	}
	c.spares = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", c.name, err)
	}
	c.parts = nil
	return nil
}
