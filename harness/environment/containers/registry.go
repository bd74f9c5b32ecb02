package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"backout/harness/environment"
	"backout/harness/environment/proxy"
	"backout/harness/service"
)

// registry is a real registry of this run, for drills in which it fails. The images of the drilled service are there and
// not on the machine, as on a host that has never run them.
type registry struct {
	stage *stage
	port  int
	ready chan struct{} // closed when it answers
}

const (
	registryName = "registry"
	registryPort = 5000
)

func (s *stage) newRegistry() (*registry, error) {
	port, err := s.lease()
	return &registry{stage: s, port: port, ready: make(chan struct{})}, err
}

// run starts it and waits until it answers.
func (r *registry) run(ctx context.Context) error {
	s := r.stage
	_, err := s.engine.run(ctx, box{name: registryName, image: s.use.registry, on: map[string]string{edge: registryName}, publish: map[int]int{registryPort: r.port}})
	if err != nil {
		return err
	}
	if err := r.answers(ctx); err != nil {
		return err
	}
	close(r.ready)
	return nil
}

func (r *registry) answers(ctx context.Context) error {
	ask := httpClient()
	return environment.Until(ctx, "the registry answers", func(ctx context.Context) error { return proxy.AskReady(ctx, ask, here(r.port)+"/v2/") })
}

// repository of a service's images there. The run's token in it is what they are found by on this machine when all goes.
func (r *registry) repository(of *service.Service) string {
	return fmt.Sprintf("127.0.0.1:%d/%s%s/%s", r.port, prefix, r.stage.engine.token, strings.ToLower(of.Name))
}

func (r *registry) name(of *service.Service, release string) string {
	return r.repository(of) + ":" + release
}

// push brings an image of this machine there; on this machine it loses its name.
func (r *registry) push(ctx context.Context, image string, of *service.Service, release string) error {
	docker, name := r.stage.docker, r.name(of, release)
	if _, err := docker.ImageTag(ctx, client.ImageTagOptions{Source: image, Target: name}); err != nil {
		return err
	}
	pushed, err := docker.ImagePush(ctx, name, client.ImagePushOptions{RegistryAuth: "e30="}) // {}: nobody in particular
	if err == nil {
		err = errors.Join(pushed.Wait(ctx), pushed.Close())
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", name, err)
	}
	return r.forget(ctx, name)
}

// forget takes the name of an image from this machine, so that who needs it must pull it.
func (r *registry) forget(ctx context.Context, name string) error {
	_, err := r.stage.docker.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true})
	if err != nil && !absent(err) {
		return fmt.Errorf("forget %s: %w", name, err)
	}
	return nil
}

func (r *registry) stop(ctx context.Context) error {
	seconds := 1
	_, err := r.stage.docker.ContainerStop(ctx, r.stage.engine.full(registryName), client.ContainerStopOptions{Timeout: &seconds})
	return err
}

func (r *registry) start(ctx context.Context) error {
	return r.stage.restart(ctx, registryName)
}

// can says whether the image of a release could be pulled now: the engine asks for its manifest.
func (r *registry) can(ctx context.Context, release string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := r.stage.docker.DistributionInspect(ctx, r.name(r.stage.need.Service, release), client.DistributionInspectOptions{EncodedRegistryAuth: "e30="})
	return err
}
