package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/moby/moby/client"

	"backout/harness/environment/artefact"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// project is a service that a compose file describes. The compose command line runs it, since that is what production runs:
// the plugin where it is there, else docker-compose 1.29. (testcontainers-go's own module is the plugin as a library, and
// would be another program than the one that the plan calls.)
type project struct {
	stage   *stage
	service *service.Service
	name    string   // of the project
	command []string // docker compose, or docker-compose
	between string   // what stands between the parts of a container's name
	script  string   // runs the command with the project's files and variables
}

// Compose is the compose command of this machine; empty: there is none.
func Compose() []string {
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	return nil
}

// findProjects finds the services that compose files describe.
func (s *stage) findProjects() error {
	for _, of := range wiring.ThatRun(s.need, service.InContainers) {
		if of.Containers.Compose == "" {
			continue
		}
		command := Compose()
		if command == nil {
			return fmt.Errorf("%s is described by a compose file, and there is neither docker compose nor docker-compose: install docker-compose", of.Path)
		}
		p := &project{stage: s, service: of, name: prefix + s.engine.token + "-" + strings.ToLower(of.Name), command: command, between: "-",
			script: filepath.Join(s.dir, "bin", "compose-"+of.Name)}
		if len(command) == 1 {
			p.between = "_"
		}
		s.projects[of] = p
		for n := range max(1, of.Instances) {
			s.engine.called[fmt.Sprintf("%s-%d", of.Name, n+1)] = strings.Join([]string{p.name, of.Containers.Of, fmt.Sprint(n + 1)}, p.between)
		}
	}
	return nil
}

// override is what a run adds to a compose file: its label on everything, and its networks on every service.
type override struct {
	Version  string                    `yaml:"version,omitempty"`
	Services map[string]map[string]any `yaml:"services"`
	Networks map[string]map[string]any `yaml:"networks"`
	Volumes  map[string]map[string]any `yaml:"volumes,omitempty"`
}

// outside says whether a network or a volume of a compose file is made by somebody else: external: true, or {name: X}.
type outside struct {
	External any `yaml:"external"`
}

// mayPublish refuses a port that a compose file publishes on other addresses than 127.0.0.1, which is compose's default, or on
// a fixed one for a service of several instances. Backout reaches the service on its network; a port need not be published.
func mayPublish(port any, several bool) error {
	var host, published string
	switch p := port.(type) {
	case map[string]any:
		host, published = fmt.Sprint(p["host_ip"]), fmt.Sprint(p["published"])
		if p["published"] == nil {
			published = ""
		}
	default:
		text, _, _ := strings.Cut(fmt.Sprint(p), "/")
		parts := strings.Split(text, ":")
		if n := len(parts); n >= 3 {
			host, published = strings.Join(parts[:n-2], ":"), parts[n-2]
		} else if n == 2 {
			published = parts[0]
		}
	}
	switch {
	case host != "127.0.0.1":
		return fmt.Errorf("%v is published on all addresses of this machine: a drill publishes on 127.0.0.1 only: leave it out, or write 127.0.0.1::PORT", port)
	case published != "" && several:
		return fmt.Errorf("%v: several instances cannot have the same port of this machine: leave it out, or write 127.0.0.1::PORT", port)
	}
	return nil
}

// prepare writes the override and the script, with which plans call compose as well.
func (p *project) prepare() error {
	s, of := p.stage, p.service
	folder, err := filepath.Abs(of.Dir) // plans call it from elsewhere
	if err != nil {
		return err
	}
	file := artefact.Within(folder, of.Containers.Compose)
	env, err := s.environ(of, of.Name, "")
	if err != nil {
		return err
	}
	maps.Copy(env, map[string]string{"IMAGES": s.repository(of), "CONTEXT": filepath.Join(s.stages.Dir, of.Name)})
	stated := filepath.Join(s.dir, "bin", "compose-"+of.Name+".env")
	var lines strings.Builder
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&lines, "%s='%s'\n", k, strings.ReplaceAll(env[k], "'", `'\''`))
	}
	if err := os.WriteFile(stated, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var theirs struct {
		Version  string `yaml:"version"`
		Services map[string]struct {
			Ports []any `yaml:"ports"`
		} `yaml:"services"`
		Networks map[string]outside `yaml:"networks"`
		Volumes  map[string]outside `yaml:"volumes"`
	}
	if err := yaml.Unmarshal(text, &theirs); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if _, is := theirs.Services[of.Containers.Of]; !is {
		return fmt.Errorf("%s: expected the service %q, which run.containers.of names, found %v", file, of.Containers.Of, slices.Sorted(maps.Keys(theirs.Services)))
	}
	for name, described := range theirs.Services {
		for _, port := range described.Ports {
			if err := mayPublish(port, name == of.Containers.Of && of.Instances > 1); err != nil {
				return fmt.Errorf("%s: services.%s.ports: %w", file, name, err)
			}
		}
	}
	label := map[string]string{Label: s.engine.token}
	o := override{Version: theirs.Version, Services: map[string]map[string]any{}, Volumes: map[string]map[string]any{},
		Networks: map[string]map[string]any{"default": {"labels": label}}}
	for _, n := range []string{private, observed} {
		o.Networks["backout-"+n] = map[string]any{"external": true, "name": s.engine.nets[n].Name}
	}
	for name := range theirs.Services {
		o.Services[name] = map[string]any{"labels": label}
	}
	o.Services[of.Containers.Of]["networks"] = []string{"default", "backout-" + private, "backout-" + observed}
	for name, v := range theirs.Volumes {
		if v.External == nil { // what is somebody else's is not labelled
			o.Volumes[name] = map[string]any{"labels": label}
		}
	}
	for name, n := range theirs.Networks {
		if n.External == nil {
			o.Networks[name] = map[string]any{"labels": label}
		}
	}
	added, err := yaml.Marshal(o)
	if err != nil {
		return err
	}
	over := filepath.Join(s.dir, "bin", "compose-"+of.Name+".yaml")
	if err := os.WriteFile(over, added, 0o600); err != nil {
		return err
	}
	var words []string
	for _, w := range append(slices.Clone(p.command), "--project-name", p.name, "--project-directory", folder, "-f", file, "-f", over) {
		words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	// RELEASE is whoever calls it to say.
	script := fmt.Sprintf("#!/bin/sh\nset -a\n. '%s'\nCONTEXT=$CONTEXT/${RELEASE:?say which release: RELEASE=v1 \\$COMPOSE up -d}\nset +a\nexec %s \"$@\"\n", stated, strings.Join(words, " "))
	return os.WriteFile(p.script, []byte(script), 0o700)
}

// call runs the compose command for a release.
func (p *project) call(ctx context.Context, release string, args ...string) error {
	cmd := exec.CommandContext(ctx, p.script, args...)
	cmd.Env = append(os.Environ(), "RELEASE="+release)
	return artefact.Spoken(cmd, "RELEASE="+release+" docker compose "+strings.Join(args, " "))
}

// image makes the image of a release as the compose file says, where it says how.
func (p *project) image(ctx context.Context, r *service.Release) (string, error) {
	select {
	case <-p.stage.connected:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	name := p.stage.repository(p.service) + ":" + r.Name
	if err := p.call(ctx, r.Name, "build", p.service.Containers.Of); err != nil {
		return "", err
	}
	if _, err := p.stage.docker.ImageInspect(ctx, name); err != nil {
		return "", fmt.Errorf("%s: expected that the service %s makes or names the image ${IMAGES}:${RELEASE}, which is %s; there is none: %w",
			p.service.Containers.Compose, p.service.Containers.Of, name, err)
	}
	return name, nil
}

// up starts the project with its instances on a release.
func (p *project) up(ctx context.Context, release string) error {
	err := p.call(ctx, release, "up", "-d", "--scale", fmt.Sprintf("%s=%d", p.service.Containers.Of, max(1, p.service.Instances)))
	for n := range max(1, p.service.Instances) {
		err = errors.Join(err, p.stage.look(ctx, fmt.Sprintf("%s-%d", p.service.Name, n+1)))
	}
	return err
}

// restartComposed restarts the container that compose made for an instance.
func (s *stage) restartComposed(ctx context.Context, i *instance) error {
	if err := i.reach(ctx); err != nil {
		return err
	}
	seconds := int(grace.Seconds())
	_, err := s.docker.ContainerRestart(ctx, s.engine.full(i.name), client.ContainerRestartOptions{Timeout: &seconds})
	i.mu.Lock()
	i.base++
	i.mu.Unlock()
	return errors.Join(err, s.look(ctx, i.name))
}
