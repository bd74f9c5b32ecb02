package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"backout/harness/environment"
	"backout/harness/environment/gateway"
	"backout/harness/service"
)

// existing is a cluster that was there before, and the one namespace of it in which a drill happens.
type existing struct {
	target
	options environment.Options
	client  kubernetes.Interface // with the user's own rights, beside the door
	rest    *rest.Config
	before  map[string]bool // what was in the namespace, as the door has it
	door    *door
	ways    *forwards
	lease   *drillLease
	limit   ceiling
	removal removal
	inside  map[string]int // way -> the gateway's port
	begun   bool           // something of the drill may be there

	mu    sync.Mutex
	spare []spare

	stop func() // of what watches while it runs
}

// NewExisting makes the environment of a cluster that exists. It starts nothing before Provision.
func NewExisting(o environment.Options) (environment.Environment, error) {
	env, err := New(o)
	if err != nil {
		return nil, err
	}
	s := env.(*stage)
	s.there = &existing{options: s.Options, stop: func() {}}
	return env, nil
}

// enter finds the cluster and refuses whatever a drill must not do there. It changes nothing there.
func (t *existing) enter(ctx context.Context, token string, say func(string)) (*cluster, error) {
	if err := Named(t.options); err != nil {
		return nil, err
	}
	never, err := patterns(t.options.Forbid)
	if err != nil {
		return nil, err
	}
	if t.target, t.rest, err = readTarget(t.options); err != nil {
		return nil, err
	}
	if err := t.allowed(never); err != nil {
		return nil, err
	}
	t.rest.UserAgent, t.rest.QPS, t.rest.Burst = "backout", 50, 100
	if t.client, err = kubernetes.NewForConfig(t.rest); err != nil {
		return nil, err
	}
	ns, err := t.client.CoreV1().Namespaces().Get(ctx, t.namespace, metav1.GetOptions{})
	if err := permits(t.target, ns, err); err != nil {
		return nil, err
	}
	if err := hasRights(ctx, t.client, t.target); err != nil {
		return nil, err
	}
	t.lease = newLease(t.client, t.namespace, token, say)
	if err := t.lease.take(ctx, true); err != nil { // told before images are made, which takes long
		return nil, err
	}
	k := &cluster{name: t.context, rest: t.rest, ports: map[int]int{}}
	if t.options.Registry == "" {
		if k.nodes, err = kindNodes(ctx, t.server); err != nil {
			return nil, err
		}
	}
	meta, err := metadata.NewForConfig(t.rest)
	if err != nil {
		return nil, err
	}
	if t.before, err = present(ctx, meta, t.namespace); err != nil {
		return nil, err
	}
	if t.door, err = openDoor(t.rest, t.namespace, token, t.before); err != nil {
		return nil, err
	}
	if k.client, err = kubernetes.NewForConfig(&rest.Config{Host: t.door.at, QPS: 50, Burst: 100}); err != nil {
		return nil, err
	}
	t.removal = removal{client: t.client, meta: meta, namespace: t.namespace, token: token}
	t.ways = &forwards{rest: t.rest, client: t.client, namespace: t.namespace}
	t.limit = ceiling{maxPods(t.options), maxShare(t.options)}
	return k, nil
}

// occupy rehearses what is to be made, and then takes the namespace for this drill.
func (s *stage) occupy(ctx context.Context) error {
	t := s.there
	planned, err := s.rehearse(ctx)
	if err != nil {
		return err
	}
	pods, quota, err := counted(ctx, t.client, t.namespace)
	if err != nil {
		return err
	}
	if err := t.limit.permits(planned, len(pods), quota); err != nil {
		return err
	}
	path := ""
	if len(t.kubeconfig) > 0 {
		path = strings.Join(t.kubeconfig, ":")
	}
	entry := environment.Entry{Kind: InCluster, Name: t.namespace, Path: path, Context: t.context, Server: t.server}
	if err := s.workshop.Register().Add(entry); err != nil {
		return err
	}
	t.begun = true
	if err := t.lease.take(ctx, false); err != nil {
		t.begun = false
		return err
	}
	s.Say(fmt.Sprintf("in the namespace %s of %s: %d pods at rest, beside %d that are there", t.namespace, t.context, planned, len(pods)))
	end := s.need.End
	if end == nil {
		end = func(why error) { s.Say(why.Error()) }
	}
	t.lease.keep(end)
	t.watch(end)
	return nil
}

// firstWay is the gateway's first port that leads to a Service.
const firstWay = 9500

// waysIn opens ways from 127.0.0.1 to the gateway and gives their ports.
func (t *existing) waysIn(ways, stubs []string) (map[string]int, error) {
	ports := map[string]int{}
	t.inside = map[string]int{}
	for i, name := range ways {
		inside := firstWay + i
		if stub, is := strings.CutPrefix(name, "stub/"); is {
			inside = firstStub + slices.Index(stubs, stub)
		} else if name == "control" {
			inside = controlPort
		} else {
			t.inside[name] = inside
		}
		w, err := t.ways.open("gateway", inside)
		if err != nil {
			return nil, err
		}
		ports[name] = w.port
	}
	return ports, t.openSpares()
}

// spare is a way of the gateway that leads nowhere until it is led somewhere.
type spare struct{ inside, port int }

const (
	firstSpare = 9700
	spares     = 16 // enough for two clones of seven parts
)

func (t *existing) openSpares() error {
	for i := range spares {
		w, err := t.ways.open("gateway", firstSpare+i)
		if err != nil {
			return err
		}
		t.spare = append(t.spare, spare{firstSpare + i, w.port})
	}
	return nil
}

func (t *existing) takeSpare() (w spare, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spare) == 0 {
		return w, fmt.Errorf("all %d spare ways into the cluster are in use: close a clone first", spares)
	}
	w, t.spare = t.spare[0], t.spare[1:]
	return w, nil
}

func (t *existing) giveBack(w spare) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = append(t.spare, w)
}

// toServices are the gateway's ways to Services, by the names that everybody in the namespace calls them by.
func (t *existing) toServices(running []*service.Service) (all []gateway.Way) {
	for _, name := range slices.Sorted(maps.Keys(t.inside)) {
		kind, of, _ := strings.Cut(name, "/")
		to := ""
		switch kind {
		case "node":
			to = fmt.Sprintf("%s:%d", of, postgresPort)
		case "cache":
			to = fmt.Sprintf("cache:%d", redisPort)
		case "users":
			for _, s := range running {
				if s.Name == of {
					to = fmt.Sprintf("%s:%d", of, s.Kubernetes.Port)
				}
			}
		}
		all = append(all, gateway.Way{Port: t.inside[name], To: to})
	}
	for i := range spares {
		all = append(all, gateway.Way{Port: firstSpare + i, To: "127.0.0.1:1"})
	}
	return all
}

// watch ends the drill when it has more pods than it may.
func (t *existing) watch(end func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	t.stop = func() { cancel(); done.Wait() }
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			list, err := t.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue // that the API server is silent is told by who asks pods
			}
			if mine := ours(running(list.Items), t.door.has); len(mine) > t.limit.pods {
				end(fmt.Errorf("the drill has %d pods in the namespace %s, more than %d (--max-pods): it was ended; they were %s", len(mine), t.namespace, t.limit.pods, strings.Join(mine, ", ")))
				return
			}
		}
	})
}

// leave removes all that the drill made and gives the namespace back.
func (t *existing) leave(ctx context.Context) error {
	t.stop()
	if t.removal.client == nil {
		return nil // it was not entered
	}
	if t.begun {
		if _, err := t.removal.all(ctx); err != nil {
			return err
		}
		if err := t.lease.release(ctx); err != nil {
			return err
		}
		t.begun = false
	}
	t.ways.close()
	t.door.close()
	return nil
}

// kindNodes are the containers on this machine that are the nodes behind a server's address; none: it is no cluster of kind.
func kindNodes(ctx context.Context, server string) ([]string, error) {
	list, err := docker(ctx, "ps", "--filter", "label="+ownLabel, "--format", `{{.Label "`+ownLabel+`"}} {{.Names}} {{.Ports}}`)
	if err != nil {
		return nil, err
	}
	at := strings.TrimSuffix(host(server), "/") + "->"
	name := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, at) {
			name, _, _ = strings.Cut(line, " ")
		}
	}
	if name == "" {
		return nil, nil
	}
	var nodes []string
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			nodes = append(nodes, words[1])
		}
	}
	return nodes, nil
}

// CleanExisting removes what a dead run has left in a namespace of a cluster that exists, by what the register knows of it.
func CleanExisting(ctx context.Context, token string, e environment.Entry) (removed []string, err error) {
	o := environment.Options{Context: e.Context, Namespace: e.Name}
	t, config, err := readTargetIn(strings.Split(e.Path, ":"), o)
	if err != nil {
		return nil, fmt.Errorf("the namespace %s of %s: %w", e.Name, e.Context, err)
	}
	if t.server != e.Server {
		return nil, fmt.Errorf("the namespace %s of %s: the context led to %s when the drill ran, and leads to %s now: make it lead there again", e.Name, e.Context, e.Server, t.server)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if _, err := client.CoreV1().Namespaces().Get(ctx, e.Name, metav1.GetOptions{}); gone(err) {
		return nil, nil
	}
	n, err := removal{client: client, meta: meta, namespace: e.Name, token: token}.all(ctx)
	if n > 0 {
		removed = append(removed, fmt.Sprintf("removed %d objects from the namespace %s of %s", n, e.Name, e.Context))
	}
	if err == nil {
		err = releaseLease(ctx, client, e.Name, token)
	}
	if err != nil {
		return removed, fmt.Errorf("clean the namespace %s of %s: %w", e.Name, e.Context, err)
	}
	nodes, err := kindNodes(ctx, t.server)
	if err != nil {
		return removed, err
	}
	return removed, errors.Join((&cluster{nodes: nodes}).forget(ctx, token))
}
