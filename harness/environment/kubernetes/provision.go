package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cacheprogram "backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/environment/database"
	"backout/harness/environment/gateway"
	"backout/harness/environment/wiring"
	"backout/harness/fault"
	"backout/harness/service"
)

// Provision implements environment.Environment. The cluster, the database's image and the releases' are made or found side
// by side, and then the good releases are installed as production would install them.
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
	s.mu.Unlock()
	if again {
		return errors.New("provision: this environment was provisioned before")
	}
	if err := s.provision(ctx, need); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

func check(need environment.Need) error {
	if need.Service == nil || need.Good == nil {
		return errors.New("a service and its good release are needed")
	}
	for _, of := range wiring.Services(need) {
		if of.Kubernetes == nil && of.Instances == 0 {
			continue // a schema alone
		}
		if of.Kubernetes == nil {
			return fmt.Errorf("%s has no run.kubernetes: it does not run on Kubernetes", of.Path)
		}
		if wiring.Release(need, of) == nil {
			return fmt.Errorf("%s: it is not said which release of %s runs", of.Path, of.Name)
		}
	}
	return wiring.Check(need)
}

// provision says what waits for what.
func (s *stage) provision(ctx context.Context, need environment.Need) error {
	if err := s.begin(need); err != nil {
		return err
	}
	if s.there != nil {
		if err := s.enter(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var staging sync.WaitGroup
	defer func() { cancel(); staging.Wait() }()
	g, ctx := errgroup.WithContext(ctx)
	running := wiring.ThatRun(s.need, service.InKubernetes)
	staged := make(chan error, len(running))
	for _, of := range running {
		staging.Go(func() {
			_, err := s.release(ctx, of, wiring.Release(s.need, of), nil)
			staged <- err
		})
	}
	var data containers.DataImage
	var program string
	var command []string
	made, mctx := errgroup.WithContext(ctx)
	roles := wiring.Roles(s.need)
	if len(roles) > 0 {
		made.Go(func() (err error) { data, err = s.workshop.Data(mctx); return err })
	}
	if s.hasGateway() {
		made.Go(func() (err error) { program, command, err = s.workshop.Program(mctx); return err })
	}
	made.Go(func() error { return s.settle(mctx) })
	if err := made.Wait(); err != nil {
		return err
	}
	var inSync func(context.Context) error
	databases := make(chan struct{})
	g.Go(func() (err error) {
		defer close(databases)
		if len(roles) > 0 {
			inSync, err = s.databases(ctx, roles, data)
		}
		return err
	})
	if len(wiring.Caches(s.need)) > 0 {
		g.Go(func() error { return s.cache(ctx) })
	}
	if s.hasGateway() {
		g.Go(func() error { return s.gateway(ctx, program, command) })
	}
	controller := make(chan struct{})
	g.Go(func() error {
		defer close(controller)
		if len(s.delivered()) == 0 {
			return nil
		}
		return s.argoCD(ctx)
	})
	g.Go(func() error {
		for range running {
			if err := <-staged; err != nil {
				return err
			}
		}
		select {
		case <-databases:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-controller:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(s.delivered()) > 0 {
			y, err := s.followSyncs(s.need.Put)
			if err != nil {
				return err
			}
			s.mu.Lock()
			s.syncs = y
			s.mu.Unlock()
			if err := s.deliver(ctx); err != nil {
				return err
			}
		}
		var all errgroup.Group
		if inSync != nil {
			all.Go(func() error { return inSync(ctx) })
		}
		for _, of := range running {
			all.Go(func() error { return s.install(ctx, of) })
		}
		return all.Wait()
	})
	return g.Wait()
}

// begin makes the run's directory and the workshop.
func (s *stage) begin(need environment.Need) error {
	s.TellTo(need.Progress)
	workshop, err := containers.NewWorkshop(s.Options, need)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.need, s.workshop, s.password = need, workshop, database.NewPassword()
	s.versions = workshop.Versions()
	s.versions["go"] = runtime.Version()
	s.mu.Unlock()
	return nil
}

// stubs is how many there are.
func (s *stage) stubs() (n int) {
	for _, of := range wiring.Services(s.need) {
		n += len(of.Stubs)
	}
	return n
}

// hasGateway says whether there is a pod with the program: it has the stubs, and where no NodePort leads in, all ways.
func (s *stage) hasGateway() bool { return s.there != nil || s.stubs() > 0 }

// enter finds the cluster that exists.
func (s *stage) enter(ctx context.Context) error {
	k, err := s.there.enter(ctx, s.workshop.Token(), s.Say)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cluster, s.namespace = k, s.there.namespace
	s.images = &images{cluster: k, token: s.workshop.Token(), say: s.Say, registry: s.Registry, made: map[string]string{}}
	s.mu.Unlock()
	if err := s.images.reachable(s.imagesOf()); err != nil {
		return err
	}
	return s.there.door.kubeconfig(s.kubeconfig())
}

// imagesOf names the images of this drill, for people.
func (s *stage) imagesOf() (all []string) {
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		all = append(all, s.images.repository(of)+" (of "+of.Name+")")
	}
	if len(wiring.Roles(s.need)) > 0 {
		all = append(all, s.images.at("backout/data")+" (PostgreSQL with the data)")
	}
	if len(wiring.Caches(s.need)) > 0 {
		all = append(all, s.images.at("backout/redis"))
	}
	return append(all, s.images.at("backout/program")+" (the gateway)")
}

// settle opens the cluster, makes the namespace, and chooses all ports, so that every URL is known to everybody.
func (s *stage) settle(ctx context.Context) error {
	close(s.known)
	if s.there == nil {
		if err := s.openCluster(ctx); err != nil {
			return err
		}
	}
	if err := s.wire(ctx); err != nil {
		return err
	}
	if s.there != nil {
		if err := s.occupy(ctx); err != nil {
			return err
		}
	}
	if err := s.space(ctx); err != nil {
		return err
	}
	p, err := followPods(s.cluster, s.namespace, wiring.ThatRun(s.need, service.InKubernetes), s.need.Put, s.need.Now)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.pods = p
	s.mu.Unlock()
	close(s.wired)
	return nil
}

// openCluster opens one of kind, with a namespace for this drill.
func (s *stage) openCluster(ctx context.Context) error {
	register := s.workshop.Register()
	image, err := s.workshop.Node(ctx)
	if err != nil {
		return fmt.Errorf("%w; or run make images-kubernetes", err)
	}
	of := shape{Workers: s.Workers}
	if fault.Wide(s.need.Faults) { // the one that drills share would be disturbed for all of them
		of = shape{Workers: max(1, s.Workers), Alone: true}
	}
	k, err := s.clusters.open(ctx, image, of, func(name string) error {
		return register.Add(environment.Entry{Kind: Name, Name: name, Path: s.clusters.path(name, "")})
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cluster, s.namespace = k, "drill-"+s.workshop.Token()
	s.images = &images{cluster: k, token: s.workshop.Token(), say: s.Say, made: map[string]string{}}
	s.mu.Unlock()
	if of.Alone {
		if err := k.removeRuns(ctx); err != nil {
			return fmt.Errorf("remove what dead runs have left in the cluster %s: %w", k.name, err)
		}
	}
	return register.Add(environment.Entry{Kind: Name, Name: s.namespace, Path: s.clusters.path(k.name, "")})
}

// wire leases a NodePort for each thing that is reached from outside.
func (s *stage) wire(ctx context.Context) error {
	var ways []string
	roles := wiring.Roles(s.need)
	for _, role := range roles {
		ways = append(ways, "node/"+role)
	}
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		ways = append(ways, "users/"+of.Name)
	}
	var stubs []string
	for _, of := range wiring.Services(s.need) {
		for _, stub := range slices.Sorted(maps.Keys(of.Stubs)) {
			stubs = append(stubs, of.Name+"/"+stub)
		}
	}
	for _, stub := range stubs {
		ways = append(ways, "stub/"+stub)
	}
	if s.hasGateway() {
		ways = append(ways, "control")
	}
	caches := len(wiring.Caches(s.need)) > 0
	if caches {
		ways = append(ways, "cache")
	}
	if len(s.delivered()) > 0 {
		ways = append(ways, gitName)
	}
	ports, err := s.waysIn(ctx, ways, stubs)
	if err != nil {
		return err
	}
	at := func(way string) int { return ports[way] }
	inside := wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InKubernetes, Host: "gateway", Hosts: map[string]string{}, Ports: map[string]int{}, URLs: map[string]string{}}
	outside := wiring.Wiring{Need: s.need, Password: s.password, Kind: service.InKubernetes, Host: "127.0.0.1", Ports: map[string]int{}, URLs: map[string]string{}}
	for _, role := range roles {
		inside.Hosts[role], inside.Ports[role] = role, postgresPort
		outside.Ports[role] = at("node/" + role)
	}
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		inside.URLs[of.Name] = fmt.Sprintf("http://%s:%d", of.Name, of.Kubernetes.Port)
		outside.URLs[of.Name] = here(at("users/" + of.Name))
	}
	for i, stub := range stubs {
		inside.URLs[stub] = fmt.Sprintf("http://gateway:%d", firstStub+i)
		outside.URLs[stub] = here(at("stub/" + stub))
	}
	if caches {
		inside.Hosts["cache"], inside.Cache = "cache", redisPort
		outside.Cache = at("cache")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inside, s.outside = inside, outside
	s.remote = gateway.Remote{URL: here(at("control")), Token: s.password}
	return nil
}

// waysIn opens the ways from 127.0.0.1 and gives their ports.
func (s *stage) waysIn(ctx context.Context, ways, stubs []string) (map[string]int, error) {
	if s.there != nil {
		for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
			s.ways["users/"+of.Name] = s.freeNodePort(ctx)
		}
		return s.there.waysIn(ways, stubs)
	}
	leases, err := s.cluster.leasePorts(ctx, len(ways))
	if err != nil {
		return nil, err
	}
	s.leases = leases
	ports := map[string]int{}
	for i, way := range ways {
		s.ways[way] = leases[i].number
		ports[way] = s.cluster.ports[leases[i].number]
	}
	return ports, nil
}

func here(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// space makes the namespace, with the rights of who deploys and rolls back in it, and the Secrets of the services.
func (s *stage) space(ctx context.Context) error {
	api := s.cluster.client.CoreV1()
	if s.there == nil {
		if err := s.newSpace(ctx); err != nil {
			return err
		}
	}
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		_, secrets, err := of.SecretValues()
		if err != nil {
			return err
		}
		own := map[string]string{"address": fmt.Sprintf("0.0.0.0:%d", of.Kubernetes.Port), "release": "", "instance": "", "data": "/data"}
		env, err := s.inside.Environ(of, own, secrets)
		if err != nil {
			return err
		}
		admin := map[string]string{}
		for _, role := range wiring.Roles(s.need) {
			if of.Database == nil {
				break
			}
			key := "DATABASE_URL"
			if role != "primary" {
				key += "_" + strings.ToUpper(role)
			}
			admin[key] = s.inside.DatabaseURL(of.Name, role, wiring.Migrator(of.Name))
		}
		for name, values := range map[string]map[string]string{environmentOf(of): env, adminOf(of): admin} {
			if _, err := api.Secrets(s.namespace).Create(ctx, secret(name, values), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("make the Secret %s: %w", name, err)
			}
		}
	}
	if info, err := s.cluster.client.Discovery().ServerVersion(); err == nil {
		s.mu.Lock()
		s.versions["kubernetes"] = info.GitVersion
		s.mu.Unlock()
	}
	return nil
}

// newSpace makes the namespace, and the account of who deploys and rolls back in it.
func (s *stage) newSpace(ctx context.Context) error {
	_, err := s.cluster.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace,
		Labels: map[string]string{Label: s.workshop.Token(), permitLabel: permitted}}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make the namespace: %w", err)
	}
	if err := s.operator(ctx); err != nil {
		return err
	}
	return s.define(ctx)
}

// databases starts the nodes. It returns when the services may connect; inSync waits for the replicas.
func (s *stage) databases(ctx context.Context, roles []string, data containers.DataImage) (inSync func(context.Context) error, err error) {
	if err := s.images.bring(ctx, data.Name, ""); err != nil {
		return nil, err
	}
	recipe, err := database.NewRecipe(0, "", "", s.need)
	if err != nil {
		return nil, err
	}
	conf, err := containers.NodeConf(recipe.Settings)
	if err != nil {
		return nil, err
	}
	primary := database.Node{InHost: "primary", InPort: postgresPort}
	all := map[string]database.Node{}
	g, gctx := errgroup.WithContext(ctx)
	for _, role := range roles {
		n := database.Node{Host: "127.0.0.1", Port: s.outside.Ports[role], InHost: role, InPort: postgresPort}
		all[role] = n
		g.Go(func() error {
			from, standby := "primary", ""
			switch role {
			case "logical":
				from = "logical"
			case "streaming":
				standby = "yes"
			}
			env := map[string]string{"PGDATA": dataDir + "/pg", "TEMPLATE": "/template/" + from, "STANDBY": standby, "CLOCK": ""}
			hidden := map[string]string{"CONF": conf, "AUTO": database.AutoConf(role, primary, s.password)}
			pod := s.container(role, data.Name, []string{"sh", "-c", containers.StartNode}, env)
			if err := s.create(gctx, role, map[int]int{postgresPort: s.ways["node/"+role]}, hidden); err != nil {
				return err
			}
			if _, err := s.cluster.client.AppsV1().StatefulSets(s.namespace).Create(gctx, stateful(role, pod), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("make the StatefulSet %s: %w", role, err)
			}
			passwords := []string{data.Password}
			if role == "streaming" { // it learns the passwords from the primary
				passwords = append(passwords, s.password)
			}
			if err := s.whileRuns(gctx, role+"-0", role+" accepts connections", func(ctx context.Context) error {
				var errs []error
				for _, password := range passwords {
					_, err := database.Ask[int](ctx, n.URL(password, "postgres"), "select 1")
					if err == nil {
						return nil
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			}); err != nil {
				return err
			}
			if role == "streaming" {
				return nil
			}
			return recipe.Secure(gctx, n, data.Password, s.password, role == "primary" && !slices.Contains(roles, "logical"))
		})
	}
	s.mu.Lock()
	s.nodes = all
	s.mu.Unlock()
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return recipe.InSync(ctx, all, s.password, s.need.Synchronous) }, nil
}

// create makes the Service and the Secret of a part of the harness.
func (s *stage) create(ctx context.Context, name string, ports map[int]int, hidden map[string]string) error {
	api := s.cluster.client.CoreV1()
	if _, err := api.Secrets(s.namespace).Create(ctx, secret(name, hidden), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Secret %s: %w", name, err)
	}
	if _, err := api.Services(s.namespace).Create(ctx, reached(name, ports), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Service %s: %w", name, err)
	}
	return nil
}

// cache starts a server of caches that keeps nothing on disk.
func (s *stage) cache(ctx context.Context) error {
	image, err := s.workshop.Redis(ctx)
	if err != nil {
		return err
	}
	if err := s.images.bring(ctx, image, ""); err != nil {
		return err
	}
	if err := s.create(ctx, "cache", map[int]int{redisPort: s.ways["cache"]}, map[string]string{"CONF": containers.RedisConf(s.inside)}); err != nil {
		return err
	}
	pod := s.container("cache", image, containers.RedisCommand(), nil)
	if _, err := s.cluster.client.AppsV1().Deployments(s.namespace).Create(ctx, deployed("cache", pod), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Deployment cache: %w", err)
	}
	if err := s.workshop.CacheCLI(filepath.Join(s.workshop.ScriptsIn(), "cache-cli")); err != nil {
		return err
	}
	return redisAnswers(ctx, "the cache", cacheprogram.URL("127.0.0.1", s.outside.Cache, s.password, 0))
}

func redisAnswers(ctx context.Context, name, url string) error {
	return environment.Until(ctx, name+" answers", func(ctx context.Context) error {
		client, err := cacheprogram.Open(url, "backout")
		if err != nil {
			return err
		}
		defer client.Close()
		return client.Ping(ctx)
	})
}

// gateway starts the stubs, and the ways in where no NodePort is one.
func (s *stage) gateway(ctx context.Context, image string, command []string) error {
	if err := s.images.bring(ctx, image, ""); err != nil {
		return err
	}
	c := gateway.Config{Token: s.password, Control: controlPort, Stubs: map[int]gateway.Stub{}}
	ports := map[int]int{controlPort: s.ways["control"]}
	next := firstStub
	for _, of := range wiring.Services(s.need) {
		for _, name := range slices.Sorted(maps.Keys(of.Stubs)) {
			c.Stubs[next], ports[next] = of.Stubs[name], s.ways["stub/"+of.Name+"/"+name]
			next++
		}
	}
	if s.there != nil {
		c.Ways = s.there.toServices(wiring.ThatRun(s.need, service.InKubernetes))
		for _, w := range c.Ways {
			ports[w.Port] = 0
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := s.create(ctx, "gateway", ports, map[string]string{gateway.Variable: string(text)}); err != nil {
		return err
	}
	if _, err := s.cluster.client.AppsV1().Deployments(s.namespace).Create(ctx, deployed("gateway", s.container("gateway", image, command, nil)), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Deployment gateway: %w", err)
	}
	return environment.Until(ctx, "the gateway answers", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := s.remote.Order(ctx, "ping", "x")
		return err
	})
}

// whileRuns waits until a pod does what it is for; the error says how the pod is and has its last lines.
func (s *stage) whileRuns(ctx context.Context, pod, what string, does func(context.Context) error) error {
	err := environment.Until(ctx, what, does)
	if err == nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return fmt.Errorf("%w\n%s\n%s", err, s.cluster.describe(clean, s.namespace, pod), environment.LastLines(pod, s.cluster.log(clean, s.namespace, pod), 8))
}

// describe says in a line how a pod is.
func (k *cluster) describe(ctx context.Context, namespace, name string) string {
	p, err := k.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	text := name + " is " + string(p.Status.Phase)
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			text += "; " + c.Message
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			text += "; " + c.State.Waiting.Reason + " " + c.State.Waiting.Message
		}
		if c.State.Terminated != nil {
			text += fmt.Sprintf("; ended with %d", c.State.Terminated.ExitCode)
		}
	}
	return text
}

func gone(err error) bool { return apierrors.IsNotFound(err) }

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func token() string { return database.NewPassword() }

// answers asks a readiness check over a new connection.
func answers(ctx context.Context, url string) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("its readiness check answered %s", resp.Status)
	}
	return nil
}
