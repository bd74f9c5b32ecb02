package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/log"
	networks "github.com/testcontainers/testcontainers-go/network"

	"backout/harness/environment"
)

// Label marks everything that a run has made; its value is the run's token.
const Label = "backout.run"

// templateLabel marks the volumes of a database template, which are a cache and outlive runs; its value is the template's key.
const templateLabel = "backout.template"

// prefix of the names of a run's containers, volumes and images; the token follows.
const prefix = "backout-"

// engine is the Docker engine as one run uses it.
type engine struct {
	client *testcontainers.DockerClient
	token  string
	cache  string // whose run it is

	nets   map[string]*testcontainers.DockerNetwork
	called map[string]string // names that somebody else gives: of containers that compose makes

	mu    sync.Mutex
	boxes map[string]testcontainers.Container // by short name
}

// reach connects to the engine. The reaper, which removes what a killed run has left, is used where its image is here:
// where it is not, `backout clean` does the same by label, and nothing is pulled for it.
func reach(ctx context.Context) (*testcontainers.DockerClient, error) {
	log.SetDefault(log.NewNoopLogger()) // what it does is for people in Progress
	plain, err := client.New(client.FromEnv)
	if err != nil {
		return nil, fmt.Errorf("reach Docker: %w", err)
	}
	defer plain.Close()
	if _, err := plain.ImageInspect(ctx, Reaper()); err != nil {
		if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
			return nil, err
		}
	}
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach Docker: %w", err)
	}
	if _, err := docker.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, fmt.Errorf("reach Docker: %w", err)
	}
	return docker, nil
}

// The networks of a run. Services and nodes talk on private; the gateway reaches nodes on observed, so that one that is cut off
// can still be looked at; only what publishes a port is on edge, since the other two lead nowhere else.
const (
	private  = "private"
	observed = "observed"
	edge     = "edge"
)

// connect makes the run's networks.
func (e *engine) connect(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	e.nets = map[string]*testcontainers.DockerNetwork{}
	for _, name := range []string{private, observed, edge} {
		wg.Go(func() {
			options := []networks.NetworkCustomizer{networks.WithLabels(map[string]string{Label: e.token, cacheLabel: e.cache})}
			if name != edge {
				options = append(options, networks.WithInternal())
			}
			making, done := unbroken(ctx)
			defer done()
			n, err := networks.New(making, options...)
			mu.Lock()
			defer mu.Unlock()
			e.nets[name] = n
			if err != nil {
				errs = append(errs, fmt.Errorf("make the network %s: %w", name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// box is a container that is to be started.
type box struct {
	name     string // short: primary, web-1
	image    string
	entry    []string // in place of the image's entry point and command, where it is not empty
	command  []string // in place of the image's command
	env      map[string]string
	user     string
	volumes  map[string]string // path -> volume
	readOnly map[string]string // path -> volume
	binds    map[string]string // path -> file of the host, read-only
	publish  map[int]int       // port inside -> port on 127.0.0.1; 0: a free one
	on       map[string]string // network -> the name by which others on it find it
	restart  bool              // when it ends by itself, as a service of production is
	signal   string            // that stops it in good order; empty: the image's
	labels   map[string]string
	knows    bool // it asks for names of this run only: of one that is not there now it learns so at once
}

// full is the name of a container, a volume or an instance in the engine.
func (e *engine) full(name string) string {
	if called, is := e.called[name]; is {
		return called
	}
	return prefix + e.token + "-" + name
}

// short is the name of a container that the engine calls full.
func (e *engine) short(full string) string {
	for name, called := range e.called {
		if called == full {
			return name
		}
	}
	return strings.TrimPrefix(full, prefix+e.token+"-")
}

// run starts a container. Whatever of it was made is found by its label, so an error leaves nothing to be undone here.
func (e *engine) run(ctx context.Context, b box) (testcontainers.Container, error) {
	labels := map[string]string{Label: e.token}
	for k, v := range b.labels {
		labels[k] = v
	}
	here := netip.MustParseAddr("127.0.0.1")
	ports := network.PortMap{}
	var exposed []string
	var host *container.HostConfig
	for inside, outside := range b.publish {
		text := strconv.Itoa(inside) + "/tcp"
		exposed = append(exposed, text)
		binding := network.PortBinding{HostIP: here}
		if outside != 0 {
			binding.HostPort = strconv.Itoa(outside)
		}
		ports[network.MustParsePort(text)] = []network.PortBinding{binding}
	}
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithName(e.full(b.name)), testcontainers.WithLabels(labels), testcontainers.WithEnv(b.env), testcontainers.WithExposedPorts(exposed...),
		testcontainers.WithConfigModifier(func(c *container.Config) {
			// Docker gives a container's host name as an alias on every network that it is on: by its own name it would be
			// reached through the observed network when it is cut off the private one.
			c.Hostname = b.name + ".host"
			c.User, c.StopSignal = b.user, b.signal
			if len(b.entry) > 0 {
				c.Entrypoint = b.entry
			}
			if len(b.entry)+len(b.command) > 0 {
				c.Cmd = b.command
			}
		}),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			host = h
			h.PortBindings = ports
			h.ShmSize = 256 << 20
			h.SecurityOpt = []string{"no-new-privileges"}
			h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "16m"}}
			if b.knows {
				// Docker passes on what it does not know, such as the name of a container that is being replaced, and whoever
				// asks for it meanwhile waits for that answer. Nobody answers here.
				h.DNS, h.DNSOptions = []netip.Addr{here}, []string{"timeout:1", "attempts:1"}
			}
			if b.restart {
				h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
			}
			for path, volume := range b.volumes {
				h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: volume, Target: path})
			}
			for path, volume := range b.readOnly {
				h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: volume, Target: path, ReadOnly: true})
			}
			for path, file := range b.binds {
				h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: file, Target: path, ReadOnly: true})
			}
		}),
	}
	// Unless ports are named, testcontainers-go publishes on all addresses whatever the image exposes.
	options = append(options, testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
		PreCreates: []testcontainers.ContainerRequestHook{func(context.Context, testcontainers.ContainerRequest) error {
			host.PortBindings = ports
			return nil
		}},
	}))
	for _, name := range []string{edge, private, observed} { // the first is that of the published ports
		if alias, is := b.on[name]; is {
			options = append(options, networks.WithNetwork([]string{alias}, e.nets[name]))
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	making, done := unbroken(ctx)
	defer done()
	c, err := testcontainers.Run(making, b.image, options...)
	if c != nil {
		e.mu.Lock()
		e.boxes[b.name] = c
		e.mu.Unlock()
	}
	if err != nil {
		return nil, fmt.Errorf("start the container %s from %s: %w", b.name, b.image, err)
	}
	return c, nil
}

// box is a container that was started.
func (e *engine) box(name string) (testcontainers.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.boxes[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no container is named %q", name)
}

// call runs a command in a container and returns what it wrote.
func (e *engine) call(ctx context.Context, name string, command ...string) (string, error) {
	return e.callWith(ctx, name, nil, command...)
}

// callWith runs it with some variables, which nobody else can read.
func (e *engine) callWith(ctx context.Context, name string, env []string, command ...string) (string, error) {
	c, err := e.box(name)
	if err != nil {
		return "", err
	}
	code, out, err := c.Exec(ctx, command, exec.Multiplexed(), exec.WithEnv(env))
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", name, strings.Join(command, " "), err)
	}
	text, err := io.ReadAll(io.LimitReader(out, 64<<10))
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d: %s", code, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return string(text), fmt.Errorf("%s: %s: %w", name, strings.Join(command, " "), err)
	}
	return string(text), nil
}

// inspect asks the engine what a container is doing now. It is found by its name, since scripts replace containers too.
func (e *engine) inspect(ctx context.Context, name string) (container.InspectResponse, error) {
	found, err := e.client.ContainerInspect(ctx, e.full(name), client.ContainerInspectOptions{})
	return found.Container, err
}

// remove ends a container at once; its anonymous volumes go with it.
func (e *engine) remove(ctx context.Context, name string) error {
	_, err := e.client.ContainerRemove(ctx, e.full(name), client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !absent(err) {
		return fmt.Errorf("remove the container %s: %w", name, err)
	}
	return nil
}

// unbroken is a context for a request that makes something. When a caller goes away, the engine may still make what it was
// asked for, after everything was removed; so such a request, which takes a moment, is waited for: half a minute at most.
func unbroken(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// volume makes a volume of this run.
func (e *engine) volume(ctx context.Context, name string, options map[string]string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	full := e.full(name)
	making, done := unbroken(ctx)
	defer done()
	_, err := e.client.VolumeCreate(making, client.VolumeCreateOptions{Name: full, DriverOpts: options, Labels: map[string]string{Label: e.token}})
	if err != nil {
		return "", fmt.Errorf("make the volume %s: %w", name, err)
	}
	return full, nil
}

// logs is what a container has written, the last 64 KB.
func (e *engine) logs(ctx context.Context, name string) string {
	const most = 64 << 10
	r, err := e.client.ContainerLogs(ctx, e.full(name), client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "1000"})
	if err != nil {
		return ""
	}
	defer r.Close()
	var both strings.Builder
	_, _ = stdcopy.StdCopy(&both, &both, r) // what could be read is shown
	text := both.String()
	if len(text) > most {
		_, text, _ = strings.Cut(text[len(text)-most:], "\n")
	}
	return text
}

// pull brings an image from its registry to this machine.
func pull(ctx context.Context, docker *testcontainers.DockerClient, image string) error {
	pulled, err := docker.ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = errors.Join(pulled.Wait(ctx), pulled.Close())
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	return nil
}

// absent says that an error of the engine means that a thing is not there, or is being removed already.
func absent(err error) bool {
	text := err.Error()
	return strings.Contains(text, "No such") || strings.Contains(text, "not found") || strings.Contains(text, "no such") || beingRemoved(err)
}

func beingRemoved(err error) bool { return strings.Contains(err.Error(), "is already in progress") }

// inUse says that a network cannot be removed yet: one of its containers is still being removed.
func inUse(err error) bool { return strings.Contains(err.Error(), "has active endpoints") }

// sweep removes all that carries a run's label, until nothing more of it is found: a script that was killed may have asked for
// something that is made only now. It returns a line for each thing that it removed, and for each that Docker keeps.
func sweep(ctx context.Context, docker *testcontainers.DockerClient, token string) (removed []string, err error) {
	const patience = 20 * time.Second // with what is found again and again without anything going
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	progress := time.Now()
	for {
		gone, waiting, err := sweepOnce(ctx, docker, token)
		removed = append(removed, gone...)
		switch {
		case err != nil || len(gone)+len(waiting) == 0:
			slices.Sort(removed)
			return removed, err
		case len(gone) > 0:
			progress = time.Now()
			continue
		case time.Since(progress) > patience:
			return removed, fmt.Errorf("nothing went for %s: %w", patience, errors.Join(waiting...))
		case time.Since(progress) > patience/10:
			if kept := keptByDocker(ctx, docker, token); len(kept) == len(waiting) {
				slices.Sort(removed)
				return append(removed, kept...), nil
			}
		}
		select { // somebody else is at it
		case <-ctx.Done():
			return removed, errors.Join(append(waiting, ctx.Err())...)
		case <-tick.C:
		}
	}
}

// Miscounted says of a network, by name or id, that Docker will not remove it although nothing is connected to it. Docker before
// 28 counts endpoints apart from having them, and loses count when several containers come or go at once (moby#17217); it
// counts anew when it is started. A network that could be removed is.
func Miscounted(ctx context.Context, network string) (bool, error) {
	docker, err := reach(ctx)
	if err != nil {
		return false, err
	}
	defer docker.Close()
	return miscounted(ctx, docker, network), nil
}

func miscounted(ctx context.Context, docker *testcontainers.DockerClient, network string) bool {
	is, err := docker.NetworkInspect(ctx, network, client.NetworkInspectOptions{})
	if err != nil || len(is.Network.Containers) > 0 {
		return false
	}
	_, err = docker.NetworkRemove(ctx, network, client.NetworkRemoveOptions{})
	return err != nil && inUse(err)
}

// keptByDocker are lines for the networks of a run that are all that is left of it, and miscounted.
func keptByDocker(ctx context.Context, docker *testcontainers.DockerClient, token string) (kept []string) {
	mine := client.Filters{}.Add("label", Label+"="+token)
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	if err != nil || len(containers.Items) > 0 {
		return nil
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	if err != nil {
		return nil
	}
	for _, n := range networks.Items {
		if miscounted(ctx, docker, n.ID) {
			kept = append(kept, "network "+n.Name+" is empty and stays: Docker has lost count of what was connected, until it is started anew; a later backout clean removes it")
		}
	}
	return kept
}

// dropEmpty removes networks that Docker once would not let go, see Miscounted.
func dropEmpty(ctx context.Context, docker *testcontainers.DockerClient, cache string, now time.Time) (removed []string) {
	const old = time.Hour // those of a run that is just beginning are empty too
	all, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("label", cacheLabel+"="+cache)})
	if err != nil {
		return nil // the next time
	}
	for _, n := range all.Items {
		if now.Sub(n.Created) < old {
			continue
		}
		if _, err := docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err == nil { // one that is in use stays
			removed = append(removed, "removed network "+n.Name)
		}
	}
	return removed
}

// letGo takes from a network what Docker still counts as connected although its container is gone, which happens when a
// container is removed while it starts: nothing else lets the network be removed.
func letGo(ctx context.Context, docker *testcontainers.DockerClient, id string) {
	n, err := docker.NetworkInspect(ctx, id, client.NetworkInspectOptions{})
	if err != nil {
		return // the next look says more
	}
	for container, endpoint := range n.Network.Containers {
		if _, err := docker.ContainerInspect(ctx, container, client.ContainerInspectOptions{}); err != nil && absent(err) {
			_, _ = docker.NetworkDisconnect(ctx, id, client.NetworkDisconnectOptions{Container: endpoint.Name, Force: true})
		}
	}
}

// sweepOnce removes what is found now: containers side by side, then networks, volumes and names of images. waiting has, for
// each thing that was there and that somebody else is removing, what Docker says of it.
func sweepOnce(ctx context.Context, docker *testcontainers.DockerClient, token string) (removed []string, waiting []error, err error) {
	mine := client.Filters{}.Add("label", Label+"="+token)
	var mu sync.Mutex
	var errs []error
	gone := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			removed = append(removed, "removed "+what)
		case absent(err) || inUse(err):
			waiting = append(waiting, fmt.Errorf("remove %s: %w", what, err))
		default:
			errs = append(errs, fmt.Errorf("remove %s: %w", what, err))
		}
	}
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	if err != nil {
		return nil, nil, fmt.Errorf("list the containers of run %s: %w", token, err)
	}
	var wg sync.WaitGroup
	for _, c := range containers.Items {
		wg.Go(func() {
			_, err := docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			gone(containerCalled(c.Names), err)
		})
	}
	wg.Wait()
	networks, nerr := docker.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	volumes, verr := docker.VolumeList(ctx, client.VolumeListOptions{Filters: mine})
	for _, n := range networks.Items {
		wg.Go(func() {
			_, err := docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
			if err != nil && inUse(err) {
				letGo(ctx, docker, n.ID)
			}
			gone("network "+n.Name, err)
		})
	}
	for _, v := range volumes.Items {
		wg.Go(func() {
			_, err := docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
			gone("volume "+v.Name, err)
		})
	}
	// Names of images: the run's own, those that compose gives, and those that were pulled from the run's registry.
	images, ierr := docker.ImageList(ctx, client.ImageListOptions{})
	for _, i := range images.Items {
		for _, tag := range i.RepoTags {
			if strings.Contains(tag, prefix+token) {
				_, err := docker.ImageRemove(ctx, tag, client.ImageRemoveOptions{}) // the name alone: the image has another one in the cache
				gone("image "+tag, err)
			}
		}
	}
	wg.Wait()
	return removed, waiting, errors.Join(append(errs, nerr, verr, ierr)...)
}

// Clean removes what a dead run has left of containers, networks and volumes.
func Clean(ctx context.Context, token string, _ environment.Entry) ([]string, error) {
	docker, err := reach(ctx)
	if err != nil {
		return nil, err
	}
	defer docker.Close()
	removed, err := sweep(ctx, docker, token)
	if err != nil {
		return removed, err
	}
	// It may have been killed while it made a template, whose volumes outlive runs.
	life, err := environment.NewLife(environment.Options{})
	if err != nil {
		return removed, err
	}
	dropped, err := dropOld(ctx, docker, life.Cache)
	return slices.Concat(removed, dropped, dropEmpty(ctx, docker, life.Cache, time.Now())), err
}

// answering connects to an engine that answers soon.
func answering(ctx context.Context) (*testcontainers.DockerClient, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return reach(ctx)
}

// containerCalled is what people are told that a container is.
func containerCalled(names []string) string {
	return "container " + strings.TrimPrefix(strings.Join(names, " "), "/")
}

// Answers says in a line why no container can be started here; empty: Docker answers.
func Answers() string {
	docker, err := answering(context.Background())
	if err != nil {
		return fmt.Sprintf("Docker does not answer: %v: start it, or install it (Debian: apt-get install docker.io)", err)
	}
	defer docker.Close()
	return ""
}

// program is the absolute path of a program of this machine that is put into the gateway's container.
func program(words []string) (string, []string, error) {
	path, err := filepath.Abs(words[0])
	return path, words[1:], err
}
