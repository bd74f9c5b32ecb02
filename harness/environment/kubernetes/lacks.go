package kubernetes

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"backout/harness/environment/containers"
	"backout/harness/service"
)

// Lacks says what this machine has not that drills of these services on kind need, and the command that mends it; empty:
// nothing.
func Lacks(all []*service.Service) string {
	if why := containers.Lacks(all); why != "" {
		return why
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if image := containers.Node(ctx); !containers.Here(ctx, image) && !containers.Pullable(ctx, image) {
		return fmt.Sprintf("the image %s is neither here nor in a registry that answers: run make images-kubernetes", image)
	}
	needed := map[string]bool{}
	for _, s := range all {
		if k := s.Kubernetes; k != nil {
			needed["kubectl"] = true
			if k.Chart != "" {
				needed["helm"] = true
			}
		}
	}
	for program := range needed {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not on PATH: install it, or run make tools-kubernetes, which builds it from its module"
		}
	}
	return ""
}
