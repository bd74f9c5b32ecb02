package kubernetes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kind "sigs.k8s.io/kind/pkg/cluster"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/ports"
)

// cluster is one of kind that stays for later drills: state is in a namespace for each of them.
type cluster struct {
	name       string
	nodes      []string    // names of their containers, the control plane first
	ports      map[int]int // NodePort -> the port of 127.0.0.1 that leads to it
	kubeconfig []byte
	rest       *rest.Config
	client     kubernetes.Interface
	alone      bool     // no other drill uses it
	lock       *os.File // nobody deletes it meanwhile, and nobody else uses it if it is had alone
}

// What is mapped when a cluster is made, since kind cannot map more later: enough for five drills side by side.
const (
	firstNodePort = 30000
	nodePorts     = 60
)

// ownLabel is kind's own, on the containers of a cluster.
const ownLabel = "io.x-k8s.kind.cluster"

// recipe is all that a cluster depends on. A cluster of another recipe is made anew.
type recipe struct {
	Format  int
	Image   string // the node image's ID
	Workers int
}

// note is what the cache keeps of a cluster that was made whole. One without a note was not.
type note struct{ Recipe recipe }

// clusters are those of one cache.
type clusters struct {
	dir string // of the cache
	say func(string)
}

func (c clusters) path(name, ending string) string { return filepath.Join(c.dir, name+ending) }

// shape is which cluster a drill wants.
type shape struct {
	Workers int
	// Alone: no other drill uses it meanwhile. It is another cluster than the one that drills share, so that drills that
	// disturb a whole cluster wait for each other only.
	Alone bool
}

const aloneEnding = "-alone"

// nameOf tells clusters of different caches and recipes apart: nobody's cluster is made anew because another program has
// another node image. The cache is told by a number of its own, since a path may be in two containers that share an engine.
func (c clusters) nameOf(want recipe, of shape) (string, error) {
	path := filepath.Join(c.dir, "id")
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
		_, err = f.WriteString(token())
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	} else if !os.IsExist(err) {
		return "", err
	}
	id, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(want)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("backout-%x-%d", sha256.Sum256(append(id, text...)), of.Workers+1)
	name = name[:len("backout-")+8] + name[len("backout-")+64:]
	if of.Alone {
		name += aloneEnding
	}
	return name, nil
}

// open returns a cluster of a shape, which is made if it is not there. register is told before that.
func (c clusters) open(ctx context.Context, image string, of shape, register func(name string) error) (_ *cluster, err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	id, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return nil, fmt.Errorf("the node image %s is not here: run make images-kubernetes: %w", image, err)
	}
	want := recipe{Format: 1, Image: id, Workers: of.Workers}
	name, err := c.nameOf(want, of)
	if err != nil {
		return nil, err
	}
	waiting := func() { c.say("waiting for another run that makes the cluster " + name) }
	how := unix.LOCK_SH
	if of.Alone {
		how = unix.LOCK_EX
		waiting = func() { c.say("waiting for another drill that has the cluster " + name + " to itself") }
	}
	for range 3 {
		lock, err := artefact.LockFile(ctx, c.path(name, ".lock"), how, waiting)
		if err != nil {
			return nil, err
		}
		if _, is := c.noted(name); is {
			k, err := c.patient(ctx, name, want)
			if err == nil {
				k.lock, k.alone = lock, of.Alone
				return k, nil
			}
			if ctx.Err() != nil { // which is not the cluster's fault
				lock.Close()
				return nil, context.Cause(ctx)
			}
			c.say(fmt.Sprintf("the cluster %s does not answer any more: %v", name, err))
		}
		lock.Close()
		took, err := c.make(ctx, name, image, want, register, waiting)
		if err != nil {
			return nil, fmt.Errorf("make the cluster %s: %w", name, err)
		}
		if took > 0 {
			c.say(fmt.Sprintf("made the cluster %s in %.0f s; it stays for later drills: backout clean --clusters removes it", name, took.Seconds()))
		}
	}
	return nil, fmt.Errorf("the cluster %s was made, and did not answer, three times: docker logs %s-control-plane", name, name)
}

func (c clusters) noted(name string) (n note, is bool) {
	text, err := os.ReadFile(c.path(name, ".json"))
	return n, err == nil && json.Unmarshal(text, &n) == nil
}

// patient connects to a cluster that may be busy, and sees that all of it is ready.
func (c clusters) patient(ctx context.Context, name string, want recipe) (k *cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = environment.Until(ctx, "the cluster "+name+" answers", func(ctx context.Context) (err error) {
		if k, err = c.load(ctx, name); err != nil {
			return errors.Join(err, pause(ctx, 200*time.Millisecond))
		}
		if len(k.nodes) != want.Workers+1 {
			return fmt.Errorf("%d of its %d nodes run", len(k.nodes), want.Workers+1)
		}
		return k.isReady(ctx)
	})
	return k, err
}

// make makes a cluster, unless somebody else has. However it ends, it leaves a whole one or nothing.
func (c clusters) make(ctx context.Context, name, image string, want recipe, register func(string) error, waiting func()) (took time.Duration, err error) {
	lock, err := artefact.LockFile(ctx, c.path(name, ".lock"), unix.LOCK_EX, waiting)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if _, is := c.noted(name); is {
		if _, err := c.patient(ctx, name, want); err == nil {
			return 0, nil // somebody else was quicker, or it was only slow
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	if err := register(name); err != nil {
		return 0, err
	}
	if _, err := c.remove(ctx, name); err != nil { // broken, or half-made by a run that was killed
		return 0, err
	}
	c.dropOld(ctx, want)
	c.say("making the cluster " + name)
	began := time.Now()
	if err := c.noteNetwork(ctx); err != nil {
		return 0, err
	}
	config, release, err := configOf(want, image)
	if err != nil {
		return 0, err
	}
	defer release()
	defer func() {
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			_, wrong := c.remove(clean, name)
			err = errors.Join(err, wrong)
		}
	}()
	provider := kind.NewProvider(kind.ProviderWithDocker())
	done := make(chan error, 1)
	go func() {
		done <- provider.Create(name, kind.CreateWithV1Alpha4Config(config), kind.CreateWithKubeconfigPath(c.path(name, ".kubeconfig")))
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = interrupted(ctx, name, done)
	}
	if err != nil {
		return 0, c.explain(err)
	}
	k, err := c.load(ctx, name)
	if err != nil {
		return 0, err
	}
	if err := k.ready(ctx); err != nil {
		return 0, err
	}
	if want.Workers > 0 {
		if err := k.openPlane(ctx); err != nil {
			return 0, err
		}
	}
	text, err := json.Marshal(note{Recipe: want})
	if err != nil {
		return 0, err
	}
	return time.Since(began), writeWhole(c.path(name, ".json"), text)
}

// dropOld removes clusters of other node images that nobody uses: they would stay for ever. One that cannot be removed now
// is another time.
func (c clusters) dropOld(ctx context.Context, want recipe) {
	for _, name := range c.all() {
		found, is := c.noted(name)
		if !is || found.Recipe.Image == want.Image {
			continue
		}
		lock, free, err := artefact.TryLock(c.path(name, ".lock"))
		if err != nil || !free {
			continue
		}
		if _, err := c.remove(ctx, name); err == nil {
			c.say("removed the cluster " + name + ", which is of another node image")
		}
		lock.Close()
	}
}

// networkName is that of the network on which kind puts every node on a machine.
const networkName = "kind"

// noteNetwork remembers that the network is not there yet, so that it goes with the last cluster.
func (c clusters) noteNetwork(ctx context.Context) error {
	found, err := docker(ctx, "network", "ls", "-q", "--filter", "name=^"+networkName+"$")
	if err != nil || found != "" {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, "network"), nil, 0o600)
}

// dropNetwork removes the network if it was made for a cluster of ours, and no container, running or not, is on it.
func (c clusters) dropNetwork(ctx context.Context) error {
	path := filepath.Join(c.dir, "network")
	if _, err := os.Stat(path); err != nil {
		return nil // it was there before
	}
	list, err := docker(ctx, "ps", "-aq", "--filter", "network="+networkName)
	if err != nil || list != "" {
		return err
	}
	if _, err := docker(ctx, "network", "rm", networkName); err != nil && !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "No such") {
		return err
	}
	return os.Remove(path)
}

// interrupted ends a Create, which takes no context: without its containers it fails, and takes away what it has made.
func interrupted(ctx context.Context, name string, done <-chan error) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := removeNodes(clean, name)
		select {
		case <-done:
			return errors.Join(context.Cause(ctx), removeNodes(clean, name))
		case <-clean.Done():
			return errors.Join(context.Cause(ctx), err, errors.New("kind did not end when its containers were gone"))
		case <-tick.C:
		}
	}
}

// explain adds what is known to be behind kind's errors.
func (c clusters) explain(err error) error {
	if strings.Contains(err.Error(), "unable to apply caps") || strings.Contains(err.Error(), "operation not permitted") {
		return fmt.Errorf("%w: privileged containers cannot start here: run make container-runtime", err)
	}
	return err
}

// configOf is kind's configuration. release lets go of the ports once the nodes listen on them.
func configOf(want recipe, image string) (_ *v1alpha4.Cluster, release func(), err error) {
	config := &v1alpha4.Cluster{TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"}, FeatureGates: map[string]bool{}}
	config.Networking.APIServerAddress = "127.0.0.1"
	var leases []*ports.Lease
	release = func() {
		for _, l := range leases {
			_ = l.Close() // an abstract socket has nothing to remove
		}
	}
	plane := v1alpha4.Node{Role: v1alpha4.ControlPlaneRole, Image: image}
	for i := range nodePorts {
		l, err := ports.Take()
		if err != nil {
			release()
			return nil, nil, err
		}
		leases = append(leases, l)
		plane.ExtraPortMappings = append(plane.ExtraPortMappings, v1alpha4.PortMapping{ContainerPort: int32(firstNodePort + i), HostPort: int32(l.Port), ListenAddress: "127.0.0.1"})
	}
	config.Nodes = append(config.Nodes, plane)
	for range want.Workers {
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole, Image: image})
	}
	if lacksResource() { // nobody may lower an OOM score then
		config.FeatureGates["KubeletInUserNamespace"] = true
	}
	kubelet := "kind: KubeletConfiguration\nserializeImagePulls: false\n"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		kubelet += "failCgroupV1: false\n" // Kubernetes 1.35 and later refuse cgroup v1 otherwise
	}
	config.KubeadmConfigPatches = []string{kubelet}
	return config, release, nil
}

// lacksResource says whether root lacks CAP_SYS_RESOURCE, bit 24. Source: capabilities(7).
func lacksResource() bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if mask, is := strings.CutPrefix(line, "CapBnd:"); is {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && n>>24&1 == 0
		}
	}
	return false
}

// load connects to a cluster that is there.
func (c clusters) load(ctx context.Context, name string) (*cluster, error) {
	k := &cluster{name: name, ports: map[int]int{}}
	var err error
	if k.kubeconfig, err = os.ReadFile(c.path(name, ".kubeconfig")); err != nil {
		return nil, err
	}
	if k.rest, err = clientcmd.RESTConfigFromKubeConfig(k.kubeconfig); err != nil {
		return nil, err
	}
	k.rest.QPS, k.rest.Burst = 200, 400 // the cluster is our own
	if k.client, err = kubernetes.NewForConfig(k.rest); err != nil {
		return nil, err
	}
	list, err := docker(ctx, "ps", "--filter", "label="+ownLabel+"="+name, "--format", "{{.Names}}")
	if err != nil {
		return nil, err
	}
	k.nodes = strings.Fields(list)
	plane := name + "-control-plane"
	if !slices.Contains(k.nodes, plane) {
		return nil, fmt.Errorf("its node %s does not run", plane)
	}
	slices.SortFunc(k.nodes, func(a, b string) int {
		return strings.Compare(strings.Replace(a, plane, "", 1), strings.Replace(b, plane, "", 1))
	})
	text, err := docker(ctx, "inspect", "--format", "{{json .HostConfig.PortBindings}}", plane)
	if err != nil {
		return nil, err
	}
	var bound map[string][]struct{ HostPort string }
	if err := json.Unmarshal([]byte(text), &bound); err != nil {
		return nil, err
	}
	for inside, to := range bound {
		n, err := strconv.Atoi(strings.TrimSuffix(inside, "/tcp"))
		if err != nil || n < firstNodePort || n >= firstNodePort+nodePorts || len(to) == 0 {
			continue // the API server's
		}
		if k.ports[n], err = strconv.Atoi(to[0].HostPort); err != nil {
			return nil, err
		}
	}
	if err := c.mend(ctx, k); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := k.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// ready waits until pods can run: kind's own wait returns no error when it is over.
func (k *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("not within 3 min"))
	defer cancel()
	return environment.Until(ctx, "the nodes and the network of the cluster are ready", func(ctx context.Context) error { return k.isReady(ctx) })
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// openPlane has services' pods placed on the machine of the control plane as well, as they are where it is the only one.
func (k *cluster) openPlane(ctx context.Context) error {
	_, err := k.client.CoreV1().Nodes().Patch(ctx, k.nodes[0], types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	return err
}

// isReady says what is missing until pods can run: nodes, names, volumes.
func (k *cluster) isReady(ctx context.Context) error {
	nodes, err := k.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(nodes.Items) < len(k.nodes) {
		return fmt.Errorf("%d of %d nodes have joined", len(nodes.Items), len(k.nodes))
	}
	for _, n := range nodes.Items {
		if !nodeReady(&n) {
			return fmt.Errorf("the node %s is not ready", n.Name)
		}
	}
	for _, what := range [][2]string{{"kube-system", "coredns"}, {"local-path-storage", "local-path-provisioner"}} {
		d, err := k.client.AppsV1().Deployments(what[0]).Get(ctx, what[1], metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ReadyReplicas == 0 {
			return fmt.Errorf("no pod of %s is ready", what[1])
		}
	}
	_, err = k.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

// remove deletes a cluster, whole or not, and what was made for it, and says whether there was anything.
func (c clusters) remove(ctx context.Context, name string) (was bool, err error) {
	// A program that a dead harness had started may go on making what it was asked for: until nothing more appears.
	for quiet := 0; quiet < 2; {
		list, err := docker(ctx, "ps", "-aq", "--filter", "label="+ownLabel+"="+name)
		if err != nil {
			return was, err
		}
		quiet++
		if list != "" {
			was, quiet = true, 0
			if err := removeNodes(ctx, name); err != nil {
				return was, err
			}
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return was, err
		}
	}
	var errs []error
	for _, ending := range []string{".json", ".kubeconfig", ".kubeconfig.lock", disturbed, argoLock} {
		err := os.Remove(c.path(name, ending))
		was = was || err == nil
		if err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return was, errors.Join(append(errs, c.dropNetwork(ctx))...)
}

func removeNodes(ctx context.Context, name string) error {
	list, err := docker(ctx, "ps", "-aq", "--filter", "label="+ownLabel+"="+name)
	if err != nil || list == "" {
		return err
	}
	_, err = docker(ctx, append([]string{"rm", "-f", "-v"}, strings.Fields(list)...)...)
	if err != nil && strings.Contains(err.Error(), "already in progress") {
		return nil
	}
	return err
}

// docker runs Docker's command line, as kind does, and returns its trimmed output.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(wrong.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
