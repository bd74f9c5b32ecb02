package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/environment/artefact"
	"backout/harness/environment/containers"
	"backout/harness/service"
)

// images brings images from this machine to the nodes of a cluster, with no registry between them.
type images struct {
	cluster *cluster
	token   string
	say     func(string)

	registry string // HOST/PREFIX from which nodes pull; empty: images are loaded into them

	once artefact.Keyed
	mu   sync.Mutex
	own  []string // names that only this run has
}

// repository of a service's images in this run; the tag is the release. Without a registry nobody publishes it, so nothing is
// ever pulled.
func (i *images) repository(of *service.Service) string {
	if i.registry != "" {
		return i.at("backout/drill-" + i.token + "/" + containers.ImageName(of))
	}
	return "drill.backout.local/" + i.token + "/" + containers.ImageName(of)
}

// qualified is the name of an image as containerd has it.
func qualified(image string) string {
	first, _, is := strings.Cut(image, "/")
	switch {
	case !is:
		image = "docker.io/library/" + image
	case !strings.ContainsAny(first, ".:"):
		image = "docker.io/" + image
	}
	if name := image[strings.LastIndex(image, "/"):]; !strings.ContainsAny(name, ":@") {
		image += ":latest"
	}
	return image
}

// bring has an image of this machine on every node, under another name as well unless that is empty.
func (i *images) bring(ctx context.Context, image, as string) error {
	unlock := i.once.Lock(image)
	defer unlock()
	if i.registry != "" {
		return i.push(ctx, image, cmp.Or(as, i.at(image)))
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, node := range i.cluster.nodes {
		g.Go(func() error {
			has, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", "name=="+qualified(image))
			if err != nil {
				return err
			}
			if has == "" {
				i.say(fmt.Sprintf("bringing %s to the node %s", image, node))
				if err := load(ctx, image, node); err != nil {
					return fmt.Errorf("bring %s to the node %s: %w", image, node, err)
				}
			}
			if as == "" {
				return nil
			}
			return i.tag(ctx, node, qualified(image), qualified(as))
		})
	}
	if err := g.Wait(); err != nil || as == "" {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.Contains(i.own, qualified(as)) {
		i.own = append(i.own, qualified(as))
	}
	return nil
}

func (i *images) tag(ctx context.Context, node, image, as string) error {
	_, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, as)
	return err
}

// at is how nodes call an image that is pushed.
func (i *images) at(image string) string {
	if i.registry == "" || strings.HasPrefix(image, i.registry+"/") {
		return image
	}
	return strings.TrimSuffix(i.registry, "/") + "/" + strings.TrimPrefix(image, "backout/")
}

// push brings an image to the registry. There it stays: Docker has no way to remove one.
func (i *images) push(ctx context.Context, image, as string) error {
	i.say(fmt.Sprintf("pushing %s to %s, where it stays", image, as))
	if _, err := docker(ctx, "tag", image, as); err != nil {
		return err
	}
	_, err := docker(ctx, "push", "--quiet", as)
	if err != nil {
		err = fmt.Errorf("push %s: %w", as, err)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, untag := docker(clean, "rmi", "--no-prune", as)
	return errors.Join(err, untag)
}

// reachable says that images cannot get into a cluster that is neither of kind nor has a registry.
func (i *images) reachable(needed []string) error {
	if i.registry != "" || len(i.cluster.nodes) > 0 {
		return nil
	}
	return fmt.Errorf("the cluster of %s: expected --registry HOST/PREFIX, from which it pulls images that are pushed there, found none, and its nodes are no containers of kind on this machine into which they could be loaded; needed are %s",
		i.cluster.name, strings.Join(needed, ", "))
}

// load copies an image to a node.
func load(ctx context.Context, image, node string) error {
	save := exec.CommandContext(ctx, "docker", "save", image)
	in := exec.CommandContext(ctx, "docker", "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--snapshotter", "overlayfs", "-")
	from, to := io.Pipe()
	var saveErr, out strings.Builder
	save.Stdout, save.Stderr = to, &saveErr
	in.Stdin, in.Stdout, in.Stderr = from, &out, &out
	if err := in.Start(); err != nil {
		return err
	}
	err := save.Run()
	to.CloseWithError(err)
	if err != nil {
		err = fmt.Errorf("docker save %s: %w: %s", image, err, strings.TrimSpace(saveErr.String()))
	}
	if waited := in.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("ctr images import: %w: %s", waited, strings.TrimSpace(out.String())))
	}
	return err
}

// forget takes the names of this run from the nodes; the images stay under their own.
func (i *images) forget(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.own) == 0 {
		return nil
	}
	for _, node := range i.cluster.nodes {
		if _, err := docker(ctx, append([]string{"exec", node, "ctr", "-n", "k8s.io", "images", "rm"}, i.own...)...); err != nil {
			return err
		}
	}
	i.own = nil
	return nil
}
