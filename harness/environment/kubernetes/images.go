package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
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
	made map[string]string // RELEASE of the drilled service -> the image whose content it is
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
		return i.publish(ctx, image, cmp.Or(as, i.at(image)))
	}
	id, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return err
	}
	// By a name on the node that tells the content: an image may be made anew under its name.
	mark := "id.backout.local/" + strings.TrimPrefix(id, "sha256:")[:16] + ":here"
	g, ctx := errgroup.WithContext(ctx)
	for _, node := range i.cluster.nodes {
		g.Go(func() error {
			has, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", "name=="+mark)
			if err != nil {
				return err
			}
			if has == "" {
				i.say(fmt.Sprintf("bringing %s to the node %s", image, node))
				if err := load(ctx, image, node); err != nil {
					return fmt.Errorf("bring %s to the node %s: %w", image, node, err)
				}
				if err := i.tag(ctx, node, qualified(image), mark); err != nil {
					return err
				}
			}
			// The same content may have been brought under another name.
			for _, name := range []string{image, as} {
				if name == "" {
					continue
				}
				if err := i.tag(ctx, node, mark, qualified(name)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// push writes a script that has a tag of the drilled service mean the image of a release from now on, as a push to a registry
// does: `"$PUSH" RELEASE TAG`. bring is told of every release before a plan can name it.
func (i *images) push(path string, of *service.Service) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var cases strings.Builder
	for _, release := range slices.Sorted(maps.Keys(i.made)) {
		fmt.Fprintf(&cases, "%s) image=%s ;;\n", release, qualified(i.made[release]))
	}
	tag := fmt.Sprintf(`for node in %s; do docker exec "$node" ctr -n k8s.io images tag --force "$image" "%s:${2:?a tag}"; done`,
		strings.Join(i.cluster.nodes, " "), i.repository(of))
	if i.registry != "" {
		to := i.repository(of) + ":${2:?a tag}"
		tag = fmt.Sprintf(`docker tag "$image" "%s" && docker push --quiet "%s" && docker rmi --no-prune "%s"`, to, to, to)
	}
	text := fmt.Sprintf(`#!/bin/sh
# push RELEASE TAG: the tag means the image of that release from now on
set -eu
case ${1:?a release} in
%s*)
    echo "the image of $1 is not here" >&2
    exit 1
    ;;
esac
%s
`, cases.String(), tag)
	part := path + ".part"
	if err := os.WriteFile(part, []byte(text), 0o755); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// hide takes a release of the drilled service from all nodes: a pod of it is not started, since nobody publishes the name that
// this run gave it. The image itself stays under its own.
func (i *images) hide(ctx context.Context, of *service.Service, release string) error {
	for _, node := range i.cluster.nodes {
		if _, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "rm", "--sync", i.repository(of)+":"+release); err != nil {
			return err
		}
	}
	return nil
}

// show brings it back.
func (i *images) show(ctx context.Context, of *service.Service, release string) error {
	i.mu.Lock()
	image := i.made[release]
	i.mu.Unlock()
	if image == "" {
		return fmt.Errorf("no image of %s %s was brought here", of.Name, release)
	}
	for _, node := range i.cluster.nodes {
		if err := i.tag(ctx, node, qualified(image), i.repository(of)+":"+release); err != nil {
			return err
		}
	}
	return nil
}

// has is on how many nodes a release of the drilled service is.
func (i *images) has(ctx context.Context, of *service.Service, release string) (on, all int, err error) {
	for _, node := range i.cluster.nodes {
		found, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", "name=="+i.repository(of)+":"+release)
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

// at is how nodes call an image that is pushed.
func (i *images) at(image string) string {
	if i.registry == "" || strings.HasPrefix(image, i.registry+"/") {
		return image
	}
	return strings.TrimSuffix(i.registry, "/") + "/" + strings.TrimPrefix(image, "backout/")
}

// publish brings an image to the registry. There it stays: Docker has no way to remove one.
func (i *images) publish(ctx context.Context, image, as string) error {
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
	var saveErr, out strings.Builder
	pipe, err := save.StdoutPipe()
	if err != nil {
		return err
	}
	// The pipe is between the two programs alone: when either ends early, the other learns it.
	save.Stderr, in.Stdin, in.Stdout, in.Stderr = &saveErr, pipe, &out, &out
	if err := in.Start(); err != nil {
		return err
	}
	err = save.Start()
	_ = pipe.Close() // each program has its own end
	if err == nil {
		err = save.Wait()
	}
	if err != nil {
		err = fmt.Errorf("docker save %s: %w: %s", image, err, strings.TrimSpace(saveErr.String()))
	}
	if waited := in.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("ctr images import: %w: %s", waited, strings.TrimSpace(out.String())))
	}
	return err
}
