package containers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"backout/harness/environment/control"
	"backout/harness/service"
)

// instance is one instance of a service: at any time one container, or none.
type instance struct {
	name    string
	service *service.Service

	order sync.Mutex   // one order at a time
	held  control.Hold // by a fault: orders wait, as those to a machine that does not answer do

	mu    sync.Mutex
	image string
	pid   int
	base  int // restarts that were ordered, and those of containers before this one
	count int // of this container by the engine
}

// reach waits until nothing holds the instance.
func (i *instance) reach(ctx context.Context) error {
	how, free := i.held.Now()
	if free == nil {
		return nil
	}
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s is %s and does not answer: %w", i.name, how, context.Cause(ctx))
	}
}

// PID of its first process on this machine; 0 when it does not run.
func (i *instance) PID() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pid
}

// Restarts of the instance, by the engine or by order.
func (i *instance) Restarts() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.base + i.count
}

// grace is how long a container may take to end in good order.
const grace = 10 * time.Second

// start puts a container of an image in the place of the instance.
func (s *stage) start(ctx context.Context, i *instance, image string) error {
	env, err := s.environ(i.service, i.name, release(image))
	if err != nil {
		return err
	}
	if slices.Contains(s.need.Faults, "clock") {
		// For programs that call libc, in images that have libfaketime. The dynamic linker knows where libraries are ($LIB).
		maps.Copy(env, map[string]string{"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "FAKETIME_TIMESTAMP_FILE": clockFile,
			"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
	}
	b := box{name: i.name, image: image, command: i.service.Containers.Command, env: env, restart: true,
		on: map[string]string{private: i.name, observed: i.name + ".observed"}, volumes: s.dataVolume(i.service)}
	if _, err := s.engine.run(ctx, b); err != nil {
		return err
	}
	i.mu.Lock()
	i.image, i.count = image, 0
	i.mu.Unlock()
	return s.look(ctx, i.name)
}

// clockFile says in a container how far its clock is off.
const clockFile = "/tmp/clock"

// release is what an image's tag says.
func release(image string) string { return image[strings.LastIndex(image, ":")+1:] }

// dataVolume is where all instances of a service keep what is in no database.
func (s *stage) dataVolume(of *service.Service) map[string]string {
	for _, part := range []map[string]string{of.Env, of.Containers.Env} {
		for _, text := range part {
			if strings.Contains(text, "{data}") {
				return map[string]string{dataPath: s.engine.full("data-" + of.Name)}
			}
		}
	}
	return nil
}

const dataPath = "/data"

// environ is all that an instance finds in its environment.
func (s *stage) environ(of *service.Service, name, release string) (map[string]string, error) {
	_, secrets, err := of.SecretValues()
	if err != nil {
		return nil, err
	}
	own := map[string]string{"address": "0.0.0.0:" + strconv.Itoa(of.Containers.Port), "release": release, "instance": name, "data": dataPath}
	return s.linked(of).Environ(of, own, secrets)
}

// replace ends the container of an instance in good order and starts one of another image.
func (s *stage) replace(ctx context.Context, name, image string) error {
	i := s.find(name)
	if i == nil {
		return s.unknown(name)
	}
	i.order.Lock()
	defer i.order.Unlock()
	if p := s.projects[i.service]; p != nil {
		if image != "" {
			return fmt.Errorf("%s is described by %s: deploy it by RELEASE=NAME $COMPOSE up -d", name, i.service.Containers.Compose)
		}
		return s.restartComposed(ctx, i)
	}
	if err := i.reach(ctx); err != nil {
		return err
	}
	if image == "" {
		i.mu.Lock()
		image = i.image
		i.mu.Unlock()
	}
	if _, err := s.docker.ImageInspect(ctx, image); err != nil {
		if s.registry == nil {
			return fmt.Errorf("%s: the image %s is not here: %w", name, image, err)
		}
		if err := pull(ctx, s.docker, image); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	seconds := int(grace.Seconds())
	if _, err := s.docker.ContainerStop(ctx, s.engine.full(name), client.ContainerStopOptions{Timeout: &seconds}); err != nil && !absent(err) {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	i.mu.Lock()
	i.base += i.count + 1
	i.count = 0
	i.mu.Unlock()
	if err := s.engine.remove(ctx, name); err != nil {
		return err
	}
	return s.start(ctx, i, image)
}

func (s *stage) find(name string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[name]
}

func (s *stage) unknown(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("no instance is named %q; there are %s", name, strings.Join(s.instances, ", "))
}

// look asks the engine what an instance or a node does now.
func (s *stage) look(ctx context.Context, name string) error {
	found, err := s.engine.inspect(ctx, name)
	pid, count := 0, 0
	switch {
	case err != nil && !absent(err):
		return fmt.Errorf("ask Docker about %s: %w", name, err)
	case err == nil && found.State.Running:
		pid, count = found.State.Pid, found.RestartCount
	case err == nil:
		count = found.RestartCount
	}
	s.mu.Lock()
	i, n := s.running[name], s.nodes[name]
	s.mu.Unlock()
	if i != nil {
		i.mu.Lock()
		i.pid, i.count = pid, count
		i.mu.Unlock()
	}
	if n != nil {
		n.mu.Lock()
		n.pid = pid
		n.mu.Unlock()
	}
	return nil
}

// follow keeps the numbers of processes and restarts up to date, by the engine's own events, until the run ends.
func (s *stage) follow() {
	filter := client.Filters{}.Add("label", Label+"="+s.engine.token).Add("type", string(events.ContainerEventType))
	told := s.docker.Events(s.Context(), client.EventsListOptions{Filters: filter})
	go func() {
		for {
			select {
			case <-s.Context().Done():
				return
			case <-told.Err:
				if s.Context().Err() != nil {
					return
				}
				told = s.docker.Events(s.Context(), client.EventsListOptions{Filters: filter})
			case m := <-told.Messages:
				switch m.Action {
				case events.ActionStart, events.ActionDie:
					_ = s.look(s.Context(), s.engine.short(m.Actor.Attributes["name"])) // the next event tells again
				}
			}
		}
	}()
}

// orders are what scripts may ask of the supervisor and the proxies.
func (s *stage) orders() control.Orders {
	ask := func(word string) control.Order {
		return control.On(func(ctx context.Context, name string) error {
			if s.find(name) == nil {
				return s.unknown(name)
			}
			_, err := s.remote.Order(ctx, word, name)
			return err
		})
	}
	return control.Orders{
		"run": {Of: func(n int) bool { return n == 2 }, Run: func(ctx context.Context, words []string) (string, error) {
			return "", s.replace(ctx, words[0], words[1])
		}},
		"restart": control.On(func(ctx context.Context, name string) error { return s.replace(ctx, name, "") }),
		"image": {Run: func(_ context.Context, names []string) (string, error) {
			i := s.find(names[0])
			if i == nil {
				return "", s.unknown(names[0])
			}
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.image + "\n", nil
		}},
		"status": {Of: func(n int) bool { return n == 0 }, Run: s.status},
		"out":    ask("out"),
		"in":     ask("in"),
		"wait":   ask("wait"),
		"switch": {Of: func(n int) bool { return n > 0 }, Run: func(ctx context.Context, names []string) (string, error) {
			return s.remote.Order(ctx, append([]string{"switch"}, names...)...)
		}},
	}
}

// status is a line an instance.
func (s *stage) status(ctx context.Context, _ []string) (string, error) {
	var b strings.Builder
	s.mu.Lock()
	names := append([]string(nil), s.instances...)
	s.mu.Unlock()
	for _, name := range names {
		i := s.find(name)
		if i == nil {
			continue
		}
		state, err := s.remote.Order(ctx, "state", name)
		if err != nil {
			return "", err
		}
		i.mu.Lock()
		running := "not running"
		if i.pid != 0 {
			running = fmt.Sprintf("running as %d", i.pid)
		}
		fmt.Fprintf(&b, "%s %s, restarts %d, image %s, %s\n", name, running, i.base+i.count, i.image, state)
		i.mu.Unlock()
	}
	return b.String(), nil
}

// scripts makes the commands that plans and rollouts find.
func (s *stage) scripts() error {
	socket := filepath.Join(s.dir, "control")
	server, err := control.Serve(socket, s.orders())
	if err != nil {
		return err
	}
	s.control = server
	bin := filepath.Join(s.dir, "bin")
	if err := control.Wrappers(bin, socket, s.Self); err != nil {
		return err
	}
	text := fmt.Sprintf("#!/bin/sh\n# redis-cli, in a container that shares the gateway's network\nexec docker run --rm -i --network container:%s --label %s=%s --entrypoint redis-cli %s \"$@\"\n",
		s.engine.full("gateway"), Label, s.engine.token, s.use.redis)
	return os.WriteFile(filepath.Join(bin, "cache-cli"), []byte(text), 0o755)
}
