package service

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// inContainers is a service that runs in containers too.
var inContainers = strings.Replace(whole, "ready: /readyz\n", `  containers:
    dockerfile: ./Dockerfile
    port: 8080
    command: [/app/shop, -v]
    env: {ADDR: "{address}"}
ready: /readyz
`, 1)

// deployedBoth is a release that is deployed in both.
var deployedBoth = strings.Replace(bad, `rollout:
  - {name: deploy it, run: ./deploy v2, timeout: 60s, again: safe}
`, `rollout:
  process:
    - {name: deploy it, run: ./deploy v2, timeout: 60s, again: safe}
  containers:
    - {name: deploy its image, run: ./deploy.containers v2, timeout: 90s, again: safe}
`, 1)

func files(over ...string) map[string]string {
	all := map[string]string{"service.yaml": inContainers, "Dockerfile": "FROM scratch\n", "compose.yaml": "services: {web: {}}\n",
		"deploy.containers": "#!/bin/sh\ncurl http://db.prod/\n", "releases/v2/release.yaml": deployedBoth}
	for i := 0; i < len(over); i += 2 {
		all[over[i]] = over[i+1]
	}
	return all
}

func TestHowAServiceRunsInContainers(t *testing.T) {
	for _, test := range []struct {
		name, from, to string
		want           Containers
	}{
		{"by a Dockerfile", "", "", Containers{Dockerfile: "./Dockerfile", Build: []string{"./build"}, Port: 8080, Command: []string{"/app/shop", "-v"}, Env: map[string]string{"ADDR": "{address}"}}},
		{"with another build", "    port: 8080", "    build: [./build, -static]\n    port: 8080",
			Containers{Dockerfile: "./Dockerfile", Build: []string{"./build", "-static"}, Port: 8080, Command: []string{"/app/shop", "-v"}, Env: map[string]string{"ADDR": "{address}"}}},
		{"by an image", "dockerfile: ./Dockerfile", "image: registry.example:5000/shop:{release}",
			Containers{Image: "registry.example:5000/shop:{release}", Build: []string{"./build"}, Port: 8080, Command: []string{"/app/shop", "-v"}, Env: map[string]string{"ADDR": "{address}"}}},
		{"by a compose file", "dockerfile: ./Dockerfile\n    port: 8080\n    command: [/app/shop, -v]", "compose: ./compose.yaml\n    of: web\n    build: []\n    port: 80",
			Containers{Compose: "./compose.yaml", Of: "web", Port: 80, Env: map[string]string{"ADDR": "{address}"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, files("service.yaml", strings.Replace(inContainers, test.from, test.to, 1)))
			if !reflect.DeepEqual(*s.Containers, test.want) {
				t.Errorf("expected %+v, found %+v", test.want, *s.Containers)
			}
			if s.Process == nil {
				t.Error("it runs as a process too")
			}
		})
	}
}

func TestMistakesAboutContainersAreTold(t *testing.T) {
	for _, test := range []struct{ file, from, to, err string }{
		{"service.yaml", "dockerfile: ./Dockerfile", "dockerfile: ./Dokerfile", `:10:17: expected a file in dockerfile, found none`},
		{"service.yaml", "dockerfile: ./Dockerfile", "image: shop:v1", `:10:12: expected {release} in image, or every release would be the same one, found "shop:v1"`},
		{"service.yaml", "dockerfile: ./Dockerfile", "image: 'shop {release}'", `:10:12: expected the reference of an image, such as registry.example/web:{release} in image, found "shop {release}"`},
		{"service.yaml", "dockerfile: ./Dockerfile", "image: shop:{release}\n    dockerfile: ./Dockerfile", `:10:5: expected exactly one of dockerfile, image, compose in containers, found dockerfile, image`},
		{"service.yaml", "    dockerfile: ./Dockerfile\n", "", `:10:5: expected exactly one of dockerfile, image, compose in containers, found none`},
		{"service.yaml", "dockerfile: ./Dockerfile", "dockerfile: ./Dockerfile\n    of: web", `:11:9: expected compose beside of, found none`},
		{"service.yaml", "dockerfile: ./Dockerfile", "compose: ./compose.yaml", `:10:5: expected "of" in containers, found none: the service of the compose file that an instance is`},
		{"service.yaml", "dockerfile: ./Dockerfile", "compose: ./compose.yaml\n    of: web", `expected no command beside compose, which states it, found one`},
		{"service.yaml", "    port: 8080\n", "", `:10:5: expected "port" in containers, found none: that an instance listens on inside`},
		{"service.yaml", "port: 8080\n    command", "port: 80800\n    command", `:11:11: expected a whole number from 1 to 65535 in port, found 80800`},
		{"service.yaml", "    port: 8080\n", "    port: 8080\n    ports: [1]\n", `:12:5: expected one of dockerfile, image, compose, of, build, port, command, env in containers, found "ports"; did you mean "port"?`},
		{"releases/v2/release.yaml", "  containers:", "  container:", `:13:3: expected one of process, containers, kubernetes in rollout, found "container"; did you mean "containers"?`},
		{"releases/v2/release.yaml", "again: safe}\n  containers:\n    - {name: deploy its image, run: ./deploy.containers v2, timeout: 90s, again: safe}", "again: safe}\n  containers: []", `:13:15: expected at least one step in containers, found an empty list`},
		{"releases/v2/release.yaml", "timeout: 90s, ", "", `:14:7: expected "timeout" in containers, item 1, found none: after which it is ended`},
	} {
		t.Run(strings.ReplaceAll(test.to, "/", "_"), func(t *testing.T) {
			original := files()[test.file]
			text := strings.Replace(original, test.from, test.to, 1)
			if text == original {
				t.Fatalf("%q is not in %s", test.from, test.file)
			}
			dir := folder(t, files(test.file, text))
			err := all(filepath.Join(dir, "service.yaml"))
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, test.file)+":") || !strings.Contains(err.Error(), test.err) {
				t.Errorf("expected %s, found %v", test.err, err)
			}
		})
	}
	text := strings.Replace(whole, "  process:\n    build: [./build]\n    command: [./shop, -v]\n    env: {ADDR: \"{address}\", PORT: 8080}\n", "", 1)
	if err := all(filepath.Join(folder(t, files("service.yaml", strings.Replace(text, "run:\n", "run: {}\n", 1))), "service.yaml")); err == nil ||
		!strings.Contains(err.Error(), "expected process or containers in run, found neither") {
		t.Errorf("expected a service that nothing starts to be refused, found %v", err)
	}
}

// A release says how it is deployed for each way; one that does not say does not apply there.
func TestRolloutsByEnvironment(t *testing.T) {
	s := load(t, files())
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	onlyList, err := load(t, files("releases/v2/release.yaml", bad)).Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		of          *Release
		environment string
		run, err    string
		none        bool
	}{
		{r, "process", "./deploy v2", "", false},
		{r, "containers", "./deploy.containers v2", "", false},
		{r, "kind", "", "expected a rollout for kubernetes in", true},
		{onlyList, "process", "./deploy v2", "", false},
		{onlyList, "containers", "", "expected a rollout for containers in", true},
		{r, "container", "", `found "container"; did you mean "containers"?`, false},
	} {
		steps, err := test.of.RolloutFor(test.environment)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) || errors.Is(err, ErrNoRollout) != test.none {
			t.Errorf("%s: expected %q, not applicable: %v, found %v", test.environment, test.err, test.none, err)
		}
		if err == nil && (len(steps) != 1 || steps[0].Run != test.run) {
			t.Errorf("%s: expected %s, found %+v", test.environment, test.run, steps)
		}
	}
	if steps := r.Rollouts["containers"]; steps[0].Line != 14 || steps[0].Timeout != 90*time.Second {
		t.Errorf("found %+v", steps)
	}
	digests, err := Digests(r.Files(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Dockerfile", "deploy.containers"} {
		if digests[filepath.Join(s.Dir, name)] == "" {
			t.Errorf("a drill depends on %s, found %v", name, digests)
		}
	}
}

// What is run for containers is looked at as what is run for processes is; the names of images are no hosts.
func TestHostsInContainers(t *testing.T) {
	s := load(t, files("service.yaml", strings.NewReplacer("dockerfile: ./Dockerfile", "image: registry.example:5000/shop:{release}",
		`env: {ADDR: "{address}"}`, "env: {MAIL: smtp://mail.prod}").Replace(inContainers)))
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Hosts(nil)
	for _, want := range []string{"service.yaml:13: expected no other host than this machine, found \"mail.prod\"", "deploy.containers:2: expected no other host than this machine, found \"db.prod\""} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %s, found %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "registry.example") {
		t.Errorf("expected the name of an image to be no host, found %v", err)
	}
}
