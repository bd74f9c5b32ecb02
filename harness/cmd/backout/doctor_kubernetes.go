package main

import (
	"context"
	"os/exec"
	"strings"

	"backout/harness/environment/containers"
)

// diagnoseKubernetes says what drills on clusters need beside containers. Without it they do not apply here; nothing else
// does without it.
func diagnoseKubernetes(ctx context.Context) []diagnosis {
	var all []diagnosis
	for _, i := range containers.ImagesForKubernetes() {
		d := diagnosis{what: i.Folder + " image"}
		switch {
		case containers.Here(ctx, i.Built):
			d.found = i.Built
		case i.Official != "" && containers.Here(ctx, i.Official):
			d.found = i.Official
		case i.Official != "" && containers.Pullable(ctx, i.Official):
			d.found = "a registry answers, from which a drill pulls " + i.Official
		default:
			d.found = i.Built + " is not here, and no registry has it for us: drills on kind that need it do not apply here"
			d.mend = "make images-kubernetes"
		}
		all = append(all, d)
	}
	for _, p := range []struct {
		name    string
		version []string
		mend    string
	}{
		{"kubectl", []string{"version", "--client"}, "make tools-kubernetes"},
		{"helm", []string{"version", "--short"}, "make tools-kubernetes"},
		{"argocd", []string{"version", "--client", "--short"}, "make tools-argocd"},
	} {
		d := diagnosis{what: p.name}
		if _, err := exec.LookPath(p.name); err != nil {
			d.found, d.mend = "not on PATH; drills on clusters whose plans call it do not apply here", p.mend
		} else if said, err := asked(ctx, p.name, p.version...); err != nil {
			d.found, d.mend = err.Error(), p.mend
		} else {
			d.found, _, _ = strings.Cut(said, "\n")
		}
		all = append(all, d)
	}
	return all
}
