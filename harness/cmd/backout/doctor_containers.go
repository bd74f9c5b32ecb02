package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"backout/harness/environment/containers"
)

// diagnoseContainers says what drills in containers need. Without it they do not apply here; nothing else does without it.
func diagnoseContainers(ctx context.Context) []diagnosis {
	engine := diagnosis{what: "Docker"}
	version, err := asked(ctx, "docker", "version", "--format", "{{.Server.Version}}")
	if err != nil {
		engine.found = "drills in containers do not apply here: " + err.Error()
		engine.mend = "apt-get install docker.io   (or start it: service docker start)"
		return []diagnosis{engine}
	}
	engine.found = version
	return []diagnosis{engine, imagesHere(ctx), privileged(ctx), reaper(ctx), compose(ctx)}
}

// imagesHere says which images are here, and whether the others can be pulled or must be made.
func imagesHere(ctx context.Context) diagnosis {
	d := diagnosis{what: "images"}
	var found, pulled, missing []string
	for _, i := range containers.Images() {
		switch {
		case containers.Here(ctx, i.Built):
			found = append(found, i.Built)
		case i.Official != "" && containers.Here(ctx, i.Official):
			found = append(found, i.Official+" (pulled)")
		case i.Official != "" && containers.Pullable(ctx, i.Official):
			pulled = append(pulled, i.Official)
		default:
			missing = append(missing, i.Built)
		}
	}
	said := func(what string, names []string) {
		if len(names) > 0 {
			d.found += strings.TrimPrefix("; "+what+strings.Join(names, ", "), map[bool]string{true: "; "}[d.found == ""])
		}
	}
	said("", found)
	said("a registry answers, from which a drill pulls ", pulled)
	said("not here, and no registry has them for us: ", missing)
	if len(missing) > 0 {
		d.mend = "make images"
	}
	return d
}

// sysResource is the number of CAP_SYS_RESOURCE.
const sysResource = 24

// privileged says whether a container that asks for all capabilities can start: not where root itself lacks one, unless the
// runtime leaves that one out.
func privileged(ctx context.Context) diagnosis {
	d := diagnosis{what: "privileged", found: "privileged containers can start; clusters of kind need them, drills in containers do not"}
	runtime, err := asked(ctx, "docker", "info", "--format", "{{.DefaultRuntime}}")
	if err != nil {
		d.found = err.Error()
		return d
	}
	status, err := os.ReadFile("/proc/self/status")
	has, known := capability(string(status), sysResource)
	switch {
	case err != nil || !known:
		d.found = "not known: /proc/self/status does not say which capabilities there are"
	case !has && runtime == "nested-runc":
		d.found += "; Docker's runtime is nested-runc, since root lacks CAP_SYS_RESOURCE"
	case !has:
		d.found = "root lacks CAP_SYS_RESOURCE, so privileged containers cannot start; clusters of kind need them, drills in containers do not"
		d.mend = "make container-runtime   (changes /etc/docker/daemon.json)"
	}
	return d
}

var bounding = regexp.MustCompile(`(?m)^CapBnd:\s*([0-9a-f]{1,16})$`)

// capability says whether one is in the bounding set of /proc/PID/status, and whether that is known.
func capability(status string, number uint) (has, known bool) {
	m := bounding.FindStringSubmatch(status)
	if m == nil {
		return false, false
	}
	set, err := strconv.ParseUint(m[1], 16, 64)
	return set>>number&1 == 1, err == nil
}

// reaper says what removes the containers of a run whose harness was killed.
func reaper(ctx context.Context) diagnosis {
	d := diagnosis{what: "reaper", found: containers.Reaper() + " removes what a killed run leaves"}
	if !containers.Here(ctx, containers.Reaper()) {
		d.found = containers.Reaper() + " is not here, and is not needed: `backout clean` removes what a killed run leaves, by its label"
	}
	return d
}

// compose says which compose there is.
func compose(ctx context.Context) diagnosis {
	d := diagnosis{what: "compose"}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if version, err := asked(ctx, command[0], append(command[1:], "version", "--short")...); err == nil {
			d.found = strings.Join(command, " ") + " " + version
			return d
		}
	}
	d.found, d.mend = "neither `docker compose` nor docker-compose; needed by services that a compose file describes", "apt-get install docker-compose"
	return d
}

// asked is what a program of this machine answers within 10 s.
func asked(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(wrong.String()), "\n")
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, said)
	}
	return strings.TrimSpace(string(out)), nil
}
