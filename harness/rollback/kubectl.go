package rollback

import (
	"context"
	"fmt"
	"strings"

	"backout/harness/service"
)

// kubectl asks kubectl itself, as the plan's steps will find it, in which cluster and namespace it works.
func kubectl(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	for _, x := range []struct{ what, command, expected string }{
		{"context", "kubectl config current-context", c.Kubectl.Context},
		// Without one in the kubeconfig it is default, which kubectl does not print.
		{"namespace", "kubectl config view --minify -o 'jsonpath={..namespace}'", c.Kubectl.Namespace},
	} {
		is, err := r.Ask(ctx, x.command, p.Env)
		if err != nil {
			return fmt.Errorf("ask kubectl for its %s: %w", x.what, err)
		}
		is = strings.TrimSpace(is)
		if is == "" && x.what == "namespace" {
			is = "default"
		}
		if is != x.expected {
			return foundf("expected kubectl to work in the %s %s, found %s", x.what, x.expected, orNothing(is))
		}
	}
	return nil
}
