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

// Clean removes what a dead run has left: clusters that are not whole, and its namespaces in those that are.
func Clean(ctx context.Context, token string, _ environment.Entry) (removed []string, err error) {
	c, err := ofCache("")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range c.all() {
		k, lock, err := c.ifWhole(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case k == nil && lock != nil: // half-made, and nobody is making it
			err := c.remove(ctx, name)
			lock.Close()
			if errs = append(errs, err); err == nil {
				removed = append(removed, "removed the cluster "+name+", which was not whole")
			}
			continue
		case k == nil:
			continue
		}
		list, err := k.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + token})
		if err != nil {
			errs = append(errs, err)
		} else {
			for _, n := range list.Items {
				err := k.removeNamespace(ctx, n.Name)
				if errs = append(errs, err); err == nil {
					removed = append(removed, "removed the namespace "+n.Name+" of the cluster "+name)
				}
			}
			errs = append(errs, k.forget(ctx, token))
		}
		k.lock.Close()
	}
	return removed, errors.Join(errs...)
}

// RemoveClusters removes all clusters that were made for drills and that no drill uses now.
func RemoveClusters(ctx context.Context, o environment.Options) (removed []string, err error) {
	c, err := ofCache(o.Cache)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range c.all() {
		lock, free, err := artefact.TryLock(c.path(name, ".lock"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !free {
			errs = append(errs, errors.New("the cluster "+name+" is in use: it stays"))
			continue
		}
		err = c.remove(ctx, name)
		if errs = append(errs, err); err == nil {
			removed = append(removed, "removed the cluster "+name)
			_ = os.Remove(c.path(name, ".lock"))
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
	found, _ := filepath.Glob(filepath.Join(c.dir, "*.lock"))
	for _, path := range found {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".lock"))
	}
	return names
}

// ifWhole connects to a cluster that is whole. One that is not, and that nobody makes, is given with its lock.
func (c clusters) ifWhole(ctx context.Context, name string) (*cluster, *os.File, error) {
	if _, is := c.noted(name); is {
		// A drill that has it to itself holds it for minutes: what is left there is removed another time.
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		lock, err := artefact.LockFile(within, c.path(name, ".lock"), unix.LOCK_SH, nil)
		if err != nil {
			return nil, nil, err
		}
		k, err := c.load(ctx, name)
		if err != nil {
			lock.Close()
			return nil, nil, err
		}
		k.lock = lock
		return k, nil, nil
	}
	lock, free, err := artefact.TryLock(c.path(name, ".lock"))
	if err != nil || !free {
		return nil, nil, err
	}
	return nil, lock, nil
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
