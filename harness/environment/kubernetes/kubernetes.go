// Package kubernetes is the environment in which services run as pods: in a cluster of kind that is made for drills and
// stays for later ones, with a fresh namespace for each drill. Users' traffic goes in by NodePorts on 127.0.0.1, as
// production's goes through a Service; each pod is asked alone through the API server.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/environment/database"
	"backout/harness/environment/gateway"
	"backout/harness/environment/wiring"
	"backout/harness/fault"
	"backout/harness/service"
)

// Label marks a run's namespace; its value is the run's token.
const Label = "backout.run"

// stage is where one drill happens.
type stage struct {
	*environment.Life
	clusters clusters

	known chan struct{} // closed when need is set and the workshop is there
	wired chan struct{} // closed when the namespace and the ports are there

	mu        sync.Mutex
	need      environment.Need
	begun     bool
	workshop  *containers.Workshop
	cluster   *cluster
	there     *existing // the cluster exists; nil: it is one of kind, made for drills
	namespace string
	password  string
	leases    []*nodePort
	inside    wiring.Wiring
	outside   wiring.Wiring
	ways      map[string]int // what a NodePort leads to, "users/web", "node/primary", "stub/web/payments", "cache", "control" -> NodePort
	nodes     map[string]database.Node
	remote    gateway.Remote
	pods      *pods
	syncs     *syncs
	images    *images
	made      stagings
	clones    int
	versions  map[string]string
	tails     map[string]string
}

// New makes an environment. It starts nothing before Provision.
func New(o environment.Options) (environment.Environment, error) {
	life, err := environment.NewLife(o)
	if err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	s := &stage{Life: life, known: make(chan struct{}), wired: make(chan struct{}), ways: map[string]int{}, nodes: map[string]database.Node{}, tails: map[string]string{}, versions: map[string]string{}}
	s.clusters = clusters{dir: filepath.Join(s.Cache, "kind"), say: s.Say}
	return s, nil
}

// Stage implements environment.Environment. The release's image is made and brought to the nodes as well.
func (s *stage) Stage(ctx context.Context, r *service.Release, overlay map[string]string) (string, error) {
	ctx, done, err := s.Begin(ctx)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	defer done()
	select {
	case <-s.known:
	case <-ctx.Done():
		return "", fmt.Errorf("stage %s: wait for Provision, which names the services: %w", r.Name, ctx.Err())
	}
	of, err := wiring.ServiceOf(s.need, r)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	dir, err := s.release(ctx, of, r, overlay)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	return dir, nil
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
	if s.workshop == nil || s.namespace == "" {
		return map[string]string{}
	}
	dir := s.workshop.Dir()
	all := map[string]string{
		"KUBECONFIG":      s.kubeconfig(),
		"NAMESPACE":       s.namespace,
		"IMAGES":          s.images.repository(s.need.Service),
		"RELEASES":        filepath.Join(dir, "releases"),
		"KUBECACHEDIR":    filepath.Join(dir, "kube-cache"),
		"PUSH":            filepath.Join(s.workshop.ScriptsIn(), "push"),
		"HELM_CACHE_HOME": filepath.Join(dir, "helm"), "HELM_CONFIG_HOME": filepath.Join(dir, "helm"), "HELM_DATA_HOME": filepath.Join(dir, "helm"),
	}
	if s.outside.Cache != 0 {
		all["CACHE_CLI"] = filepath.Join(s.workshop.ScriptsIn(), "cache-cli")
	}
	if s.outside.Ports != nil {
		maps.Copy(all, s.gitOps())
	}
	if port := s.inside.Ports["primary"]; port != 0 {
		all["PRIMARY_INSIDE"] = fmt.Sprintf("%s:%d", s.inside.Hosts["primary"], port)
	}
	return all
}

// kubeconfig is the file of the run that leads to its namespace.
func (s *stage) kubeconfig() string { return filepath.Join(s.workshop.Dir(), "kubeconfig") }

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

// Instances implements environment.Environment: the pods that are there now, under their own names.
func (s *stage) Instances() []service.Instance {
	s.mu.Lock()
	p := s.pods
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.instances()
}

// Nodes implements environment.Environment.
func (s *stage) Nodes() []service.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []service.Node
	for _, role := range []string{"primary", "streaming", "logical"} {
		if n, is := s.nodes[role]; is && s.need.Service.Database != nil {
			all = append(all, service.Node{Name: role, Role: role, URL: n.URL(s.password, s.need.Service.Name), PID: func() int { return 0 }})
		}
	}
	return all
}

// Faults implements environment.Environment.
func (s *stage) Faults() fault.Place { return s.place() }

// Versions implements environment.Environment.
func (s *stage) Versions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.versions)
}

// Log implements environment.Environment. It also answers after Destroy.
func (s *stage) Log(name string) string {
	s.mu.Lock()
	kept, is := s.tails[name]
	k, namespace := s.cluster, s.namespace
	s.mu.Unlock()
	if is || k == nil {
		return kept
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return k.log(ctx, namespace, s.podOf(name))
}

// podOf is the pod of a node or an instance.
func (s *stage) podOf(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.nodes[name]; is {
		return name + "-0"
	}
	return name
}

func (k *cluster) log(ctx context.Context, namespace, pod string) string {
	lines, most := int64(1000), int64(64<<10)
	text, err := k.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{TailLines: &lines, LimitBytes: &most}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return string(text)
}

// Destroy implements environment.Environment. The namespace goes, then what the workshop has; the cluster stays. What cannot be
// removed stays in the register.
func (s *stage) Destroy(ctx context.Context) error {
	return s.End(ctx, destroyWithin, s.destroy)
}

// destroyWithin is longer than it takes to end a cluster that is being made.
const destroyWithin = 4 * time.Minute

func (s *stage) destroy(ctx context.Context, late error) error {
	s.mu.Lock()
	k, namespace, workshop, p, y := s.cluster, s.namespace, s.workshop, s.pods, s.syncs
	s.mu.Unlock()
	defer s.letGo() // in every way out: others wait for it, and what is left is in the register
	if y != nil {
		y.end()
	}
	if p != nil {
		p.end()
	}
	if k != nil {
		if err := s.clusters.mend(ctx, k); err != nil { // what was not taken back; nothing else could be removed otherwise
			return errors.Join(err, late)
		}
	}
	if k != nil && namespace != "" {
		s.keepLogs(ctx)
		remove := func(ctx context.Context) error {
			if err := k.removeDefinitions(ctx, workshop.Token()); err != nil {
				return err
			}
			return k.removeNamespace(ctx, namespace)
		}
		if s.there != nil {
			remove = s.there.leave
		}
		if err := remove(ctx); err != nil {
			return errors.Join(err, late)
		}
		if err := k.forget(ctx, workshop.Token()); err != nil {
			return errors.Join(err, late)
		}
	}
	if late != nil {
		return late // what is still being made must stay registered
	}
	if workshop == nil {
		return nil
	}
	return workshop.Destroy(ctx)
}

// letGo gives ports and the cluster back to other drills.
func (s *stage) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		l.close()
	}
	s.leases = nil
	if s.cluster != nil && s.cluster.lock != nil {
		s.cluster.lock.Close()
		s.cluster.lock = nil
	}
}

// keepLogs keeps what pods have written, before they go.
func (s *stage) keepLogs(ctx context.Context) {
	list, err := s.cluster.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	var all sync.WaitGroup
	for _, p := range list.Items {
		all.Go(func() {
			text := s.cluster.log(ctx, s.namespace, p.Name)
			s.mu.Lock()
			defer s.mu.Unlock()
			name := p.Name
			if node, is := strings.CutSuffix(name, "-0"); is {
				if _, is := s.nodes[node]; is {
					name = node
				}
			}
			if _, is := s.tails[name]; !is {
				s.tails[name] = text
			}
		})
	}
	all.Wait()
}

// removeNamespace removes all that is in a namespace, and itself, and waits until it is gone.
func (k *cluster) removeNamespace(ctx context.Context, name string) error {
	if err := k.removeApplications(ctx, name); err != nil { // or what is removed would be put back
		return err
	}
	now, background := int64(0), metav1.DeletePropagationBackground
	err := k.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !gone(err) {
		return fmt.Errorf("remove the namespace %s: %w", name, err)
	}
	// Nothing in it has anything left to do in good order.
	return environment.Until(ctx, "the namespace "+name+" is gone", func(ctx context.Context) error {
		_, err := k.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		err = k.client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		return errors.Join(err, errors.New("it is still there"), pause(ctx, pauseBetween))
	})
}

const pauseBetween = 200 * time.Millisecond

// pause keeps a question to the API server from being asked all the time.
func pause(ctx context.Context, between time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(between):
		return nil
	}
}

// writeWhole writes a file so that nobody reads half of it.
func writeWhole(path string, text []byte) error {
	part := path + ".part"
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}
