package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"time"

	"backout/harness/environment/containers"
	"backout/harness/service"
)

// Lacks says what this machine has not that drills of these services on kind need, and the command that mends it; empty:
// nothing.
func Lacks(all []*service.Service) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if why := lacks(all); why != "" {
		return why
	}
	images := []string{containers.Node(ctx)}
	if slices.ContainsFunc(all, isDelivered) {
		images = append(images, containers.ArgoCD(ctx))
	}
	for _, image := range images {
		if !containers.Here(ctx, image) && !containers.Pullable(ctx, image) {
			return fmt.Sprintf("the image %s is neither here nor in a registry that answers: run make images-kubernetes", image)
		}
	}
	return ""
}

// LacksExisting says it for a cluster that exists. Argo CD is installed in clusters of kind alone: a controller that is there
// belongs to others.
func LacksExisting(all []*service.Service) string {
	for _, s := range all {
		if isDelivered(s) {
			return fmt.Sprintf("%s is deployed by %s, which drills use in clusters of kind alone: --env kind", s.Name, s.Kubernetes.GitOps)
		}
	}
	return lacks(all)
}

func isDelivered(s *service.Service) bool { return s.Kubernetes != nil && s.Kubernetes.GitOps != "" }

// lacks says which programs are missing, or what containers lack.
func lacks(all []*service.Service) string {
	if why := containers.Lacks(all); why != "" {
		return why
	}
	needed := map[string]string{} // what makes it, where it does not come with the machine
	for _, s := range all {
		if s.Kubernetes == nil {
			continue
		}
		needed["kubectl"] = "tools-kubernetes"
		if s.Kubernetes.Chart != "" {
			needed["helm"] = "tools-kubernetes"
		}
		if isDelivered(s) {
			needed["git"], needed["argocd"] = "", "tools-argocd"
		}
	}
	for _, program := range slices.Sorted(maps.Keys(needed)) {
		if _, err := exec.LookPath(program); err != nil {
			mend := program + " is not on PATH: install it"
			if target := needed[program]; target != "" {
				mend += ", or run make " + target + ", which builds it from its module"
			}
			return mend
		}
	}
	return ""
}
