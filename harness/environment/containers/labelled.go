package containers

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/client"
)

// Labelled is what runs have in Docker now, a line each, by the runs' tokens. Where Docker does not answer there is nothing.
func Labelled(ctx context.Context) (map[string][]string, error) {
	docker, err := answering(ctx)
	if err != nil {
		return nil, nil
	}
	defer docker.Close()
	runs := client.Filters{}.Add("label", Label)
	containers, cerr := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: runs})
	networks, nerr := docker.NetworkList(ctx, client.NetworkListOptions{Filters: runs})
	volumes, verr := docker.VolumeList(ctx, client.VolumeListOptions{Filters: runs})
	if err := errors.Join(cerr, nerr, verr); err != nil {
		return nil, fmt.Errorf("list what runs have in Docker: %w", err)
	}
	found := map[string][]string{}
	is := func(labels map[string]string, what string) { found[labels[Label]] = append(found[labels[Label]], what) }
	for _, c := range containers.Items {
		is(c.Labels, containerCalled(c.Names))
	}
	for _, n := range networks.Items {
		is(n.Labels, "network "+n.Name)
	}
	for _, v := range volumes.Items {
		is(v.Labels, "volume "+v.Name)
	}
	delete(found, "") // of no run: what was made from an image of the cache
	return found, nil
}
