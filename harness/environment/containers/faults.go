package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"backout/harness/environment/gateway"
	"backout/harness/environment/wiring"
	"backout/harness/fault"
	"backout/harness/service"
)

// Faults implements environment.Environment.
func (s *stage) Faults() fault.Place {
	p := fault.Place{
		State: s.stateOf,
		Pause: func(ctx context.Context, name string) error {
			s.hold(name, "paused")
			_, err := s.docker.ContainerPause(ctx, s.engine.full(name), client.ContainerPauseOptions{})
			return err
		},
		Resume: func(ctx context.Context, name string) error {
			defer s.release(name)
			if state, err := s.stateOf(ctx, name); err != nil || state != fault.Paused {
				return err // it was never paused
			}
			_, err := s.docker.ContainerUnpause(ctx, s.engine.full(name), client.ContainerUnpauseOptions{})
			return err
		},
		Kill: func(ctx context.Context, name string) error {
			s.hold(name, "gone")
			_, err := s.docker.ContainerKill(ctx, s.engine.full(name), client.ContainerKillOptions{Signal: "KILL"})
			return err
		},
		Start: func(ctx context.Context, name string) error {
			defer s.release(name)
			return s.restart(ctx, name)
		},
		Cut: func(ctx context.Context, name string) error {
			_, err := s.docker.NetworkDisconnect(ctx, s.engine.nets[private].ID, client.NetworkDisconnectOptions{Container: s.engine.full(name), Force: true})
			return err
		},
		Heal: func(ctx context.Context, name string) error {
			found, err := s.engine.inspect(ctx, name)
			if err != nil {
				return err
			}
			for _, on := range found.NetworkSettings.Networks {
				if on.NetworkID == s.engine.nets[private].ID {
					return nil // it was never cut off
				}
			}
			_, err = s.docker.NetworkConnect(ctx, s.engine.nets[private].ID, client.NetworkConnectOptions{Container: s.engine.full(name),
				EndpointConfig: &network.EndpointSettings{Aliases: []string{name}}})
			return err
		},
		Reaches: s.reaches,
		// By the gateway, which holds the disk too: a node may end when nothing more fits.
		Fill: func(ctx context.Context, name string) error {
			// dd ends with an error when nothing more fits, which is what is asked for.
			_, err := s.engine.call(ctx, "gateway", "sh", "-c", `dd if=/dev/zero of="$0/ballast" bs=1M 2>/dev/null; test -s "$0/ballast"`, holds(name))
			return err
		},
		Free: func(ctx context.Context, name string) error {
			if _, err := s.engine.call(ctx, "gateway", "rm", "-f", holds(name)+"/ballast"); err != nil {
				return err
			}
			if state, err := s.stateOf(ctx, name); err != nil || state != fault.Gone {
				return err
			}
			return s.restart(ctx, name) // as whoever has made room does
		},
		Room: func(ctx context.Context, name string) (int64, error) {
			out, err := s.engine.call(ctx, "gateway", "df", "-B1", "--output=avail", holds(name))
			if err != nil {
				return 0, err
			}
			fields := strings.Fields(out)
			return strconv.ParseInt(fields[len(fields)-1], 10, 64)
		},
		Skew: func(ctx context.Context, name string, by time.Duration) error {
			_, err := s.engine.call(ctx, name, "sh", "-c", `test -e /usr/lib/*/faketime/libfaketime.so.1 && printf '%+ds' "$0" >"$1"`, strconv.Itoa(int(by.Seconds())), clockFile)
			if err != nil && s.find(name) != nil {
				return fmt.Errorf("its image has no shell or no libfaketime; the clock of a static program, such as one of Go, cannot be set apart: %w", err)
			}
			return err
		},
	}
	p.Lead = s.lead
	p.Link = func(ctx context.Context, of string, to fault.LinkState) error {
		text, err := json.Marshal(to)
		if err != nil {
			return err
		}
		return s.eachLink(of, func(name string) error {
			_, err := s.remote.Order(ctx, "link", name, string(text))
			return err
		})
	}
	p.LinkState = func(ctx context.Context, of string) (answer time.Duration, open bool, err error) {
		seen := 0
		err = s.eachLink(of, func(name string) error {
			text, err := s.remote.Order(ctx, "measure", name)
			if err != nil {
				return err
			}
			var m gateway.Measured
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				return err
			}
			if seen++; seen > 1 && m.Open != open {
				return fmt.Errorf("some links of %s are open and others are not", of)
			}
			if seen == 1 || m.Answer < answer {
				answer = m.Answer // how long the fastest one takes
			}
			open = m.Open
			return nil
		})
		return answer, open, err
	}
	if !strings.HasPrefix(s.use.postgres, "backout/") {
		p.Skew = nil // the official image has no libfaketime
	}
	p.StopRegistry = func(ctx context.Context) error { return s.registry.stop(ctx) }
	p.StartRegistry = func(ctx context.Context) error { return s.registry.start(ctx) }
	p.Pull = func(ctx context.Context, release string) error { return s.registry.can(ctx, release) }
	return p
}

// hold has orders to an instance wait until release. A node has no orders.
func (s *stage) hold(name, how string) {
	if i := s.find(name); i != nil {
		i.held.Take(how)
	}
}

func (s *stage) release(name string) {
	if i := s.find(name); i != nil {
		i.held.Release()
	}
}

// lead has the primary's two addresses, for services and for the harness, lead to another node.
func (s *stage) lead(ctx context.Context, from, to string) error {
	if from != "primary" || s.inside.Hosts["primary"] != inGateway {
		return fmt.Errorf("%s has no address that can be led elsewhere: the drill did not declare a failover of it", from)
	}
	for _, way := range []struct {
		port int
		host string
	}{{s.outside.Ports["primary"], to + ".observed"}, {s.inside.Ports["primary"], to}} {
		if _, err := s.remote.Order(ctx, "lead", strconv.Itoa(way.port), fmt.Sprintf("%s:%d", way.host, postgresPort)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads = to
	return nil
}

// eachLink does something to every link of a service.
func (s *stage) eachLink(of string, do func(name string) error) error {
	if s.linkPorts == nil {
		return errors.New("the connections go through no links: the drill did not declare that it disturbs them")
	}
	for name := range s.linkPorts {
		if service, _, _ := strings.Cut(name, "/"); service == of {
			if err := do(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateOf is what a container is doing now.
func (s *stage) stateOf(ctx context.Context, name string) (fault.State, error) {
	found, err := s.engine.inspect(ctx, name)
	switch {
	case err != nil && absent(err):
		return fault.Gone, nil
	case err != nil:
		return "", fmt.Errorf("ask Docker about %s: %w", name, err)
	case found.State.Paused:
		return fault.Paused, nil
	case found.State.Running:
		return fault.Running, nil
	}
	return fault.Gone, nil
}

// reaches asks from within a node's container whether a connection to another node, or to an instance, comes about.
func (s *stage) reaches(ctx context.Context, from, to string) (bool, error) {
	port := postgresPort
	for _, i := range s.Instances() {
		for _, of := range wiring.ThatRun(s.need, service.InContainers) {
			if i.Name == to && i.Service == of.Name {
				port = of.Containers.Port
			}
		}
	}
	out, err := s.engine.call(ctx, from, "sh", "-c", `timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$0" "$1" 2>/dev/null && echo yes || echo no`, to, strconv.Itoa(port))
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(out) == "yes", nil
}

func httpClient() *http.Client {
	return &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}}
}
