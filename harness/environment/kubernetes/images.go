package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"

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

	once artefact.Keyed
	mu   sync.Mutex
	own  []string          // names that only this run has
	from map[string]string // which image each of them is, by the name that it has on the nodes
}

// repository of a service's images in this run; the tag is the release. Nobody publishes it, so nothing is ever pulled.
func (i *images) repository(of *service.Service) string {
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
	if i.from == nil {
		i.from = map[string]string{}
	}
	i.from[qualified(as)] = qualified(image)
	return nil
}

// hide takes a name of this run from all nodes: a pod that is of it is not started, since nobody publishes it. The image
// itself stays under its own name.
func (i *images) hide(ctx context.Context, name string) error {
	for _, node := range i.cluster.nodes {
		if _, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "rm", "--sync", qualified(name)); err != nil {
			return err
		}
	}
	return nil
}

// show brings it back.
func (i *images) show(ctx context.Context, name string) error {
	i.mu.Lock()
	image := i.from[qualified(name)]
	i.mu.Unlock()
	if image == "" {
		return fmt.Errorf("no image was brought under the name %s", name)
	}
	for _, node := range i.cluster.nodes {
		if err := i.tag(ctx, node, image, qualified(name)); err != nil {
			return err
		}
	}
	return nil
}

// has is on how many nodes a name of this run is.
func (i *images) has(ctx context.Context, name string) (on, of int, err error) {
	for _, node := range i.cluster.nodes {
		found, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", "name=="+qualified(name))
		if err != nil {
			return 0, 0, err
		}
		if found != "" {
			on++
		}
	}
	return on, len(i.cluster.nodes), nil
}

func (i *images) tag(ctx context.Context, node, image, as string) error {
	_, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, as)
	return err
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
