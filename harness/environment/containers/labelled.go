package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/moby/client"
)

// Labelled is what runs have in Docker now, a line each, by the runs' tokens. Where Docker does not answer there is nothing.
func Labelled(ctx context.Context) (map[string][]string, error) {
	if Answers() != "" {
		return nil, nil
	}
	docker, err := reach(ctx)
	if err != nil {
		return nil, err
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
	for _, c := range containers.Items {
		found[c.Labels[Label]] = append(found[c.Labels[Label]], "container "+strings.TrimPrefix(strings.Join(c.Names, " "), "/"))
	}
	for _, n := range networks.Items {
		found[n.Labels[Label]] = append(found[n.Labels[Label]], "network "+n.Name)
	}
	for _, v := range volumes.Items {
		found[v.Labels[Label]] = append(found[v.Labels[Label]], "volume "+v.Name)
	}
	delete(found, "") // of no run: what was made from an image of the cache
	return found, nil
}
