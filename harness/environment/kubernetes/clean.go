package kubernetes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
)

// Name of this kind of environment, and of its entries in the register: a cluster that is being made, and the namespace of a
// drill.
const Name = "kind"

// Clean removes what a dead run has left in the cluster of an entry: the cluster itself where it is not whole or does not
// answer, else the run's namespace.
func Clean(ctx context.Context, run string, e environment.Entry) (removed []string, err error) {
	c := clusters{dir: filepath.Dir(e.Path), say: func(string) {}}
	name := filepath.Base(e.Path)
	if _, err := os.Stat(c.path(name, ".lock")); err != nil {
		return nil, nil // it was never begun
	}
	found, whole := c.noted(name)
	var k *cluster
	if whole {
		// A drill that has it to itself holds it for minutes, and has removed what a dead run left there.
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		lock, err := artefact.LockFile(within, c.path(name, ".lock"), unix.LOCK_SH, nil)
		busy := within.Err() != nil
		cancel()
		if err != nil && busy && ctx.Err() == nil && strings.HasSuffix(name, aloneEnding) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		k, err = c.patient(ctx, name, found.Recipe)
		if err == nil {
			defer lock.Close()
			return k.removeRun(ctx, run)
		}
		lock.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	lock, free, err := artefact.TryLock(c.path(name, ".lock"))
	if err != nil || !free {
		return nil, err // somebody makes it anew, or mends it
	}
	defer lock.Close()
	was, err := c.remove(ctx, name)
	if was && err == nil {
		removed = append(removed, "removed the cluster "+name+", which was not whole")
	}
	return removed, err
}

// removeRun removes the namespaces of a run and its names of images.
func (k *cluster) removeRun(ctx context.Context, run string) (removed []string, err error) {
	if err := k.removeDefinitions(ctx, run); err != nil {
		return nil, err
	}
	list, err := k.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + run})
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, n := range list.Items {
		err := k.removeNamespace(ctx, n.Name)
		if errs = append(errs, err); err == nil {
			removed = append(removed, "removed the namespace "+n.Name+" of the cluster "+k.name)
		}
	}
	return removed, errors.Join(append(errs, k.forget(ctx, run))...)
}

// removeRuns removes what all runs have left in a cluster that is had alone: none of them lives.
func (k *cluster) removeRuns(ctx context.Context) error {
	list, err := k.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: Label})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list.Items {
		_, err := k.removeRun(ctx, n.Labels[Label])
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// RemoveClusters removes all clusters that were made for drills and that no drill uses now.
func RemoveClusters(ctx context.Context, o environment.Options) (removed []string, err error) {
	c, err := ofCache(o.Cache)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range c.all() {
		// The file of the lock stays: somebody may be waiting for it.
		lock, free, err := artefact.TryLock(c.path(name, ".lock"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !free {
			errs = append(errs, errors.New("the cluster "+name+" is in use: it stays"))
			continue
		}
		was, err := c.remove(ctx, name)
		if errs = append(errs, err); was && err == nil {
			removed = append(removed, "removed the cluster "+name)
		}
		lock.Close()
	}
	return removed, errors.Join(errs...)
}

func ofCache(dir string) (clusters, error) {
	life, err := environment.NewLife(environment.Options{Cache: dir})
	if err != nil {
		return clusters{}, err
	}
	return clusters{dir: filepath.Join(life.Cache, "kind"), say: func(string) {}}, nil
}

// all are the names of clusters that were begun.
func (c clusters) all() (names []string) {
	found, _ := filepath.Glob(filepath.Join(c.dir, "backout-*.lock"))
	for _, path := range found {
		if name := strings.TrimSuffix(filepath.Base(path), ".lock"); !strings.HasSuffix(name, ".kubeconfig") {
			names = append(names, name)
		}
	}
	return names
}

// forget takes the names of a run's images from the nodes.
func (k *cluster) forget(ctx context.Context, token string) error {
	var errs []error
	for _, node := range k.nodes {
		list, err := docker(ctx, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", "name~=drill.backout.local/"+token)
		if err != nil || list == "" {
			errs = append(errs, err)
			continue
		}
		_, err = docker(ctx, append([]string{"exec", node, "ctr", "-n", "k8s.io", "images", "rm"}, strings.Fields(list)...)...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
