package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"backout/harness/environment"
)

// InCluster is the name of this kind of environment in a cluster that exists, and of its entries in the register.
const InCluster = "cluster"

// permitLabel is what whoever owns a namespace says with that drills may happen in it.
const (
	permitLabel = "backout.io/drills"
	permitted   = "permitted"
)

// neverIn are patterns of names in which no drill happens. Options add to them; nothing takes one away.
var neverIn = []string{`(^|[^a-z])prod`}

// Named says what is missing of the options before any cluster is asked.
func Named(o environment.Options) error {
	if o.Context == "" {
		return errors.New("--env cluster: expected --context NAME, found none: the current context is never taken, since nobody has chosen it for a drill; kubectl config get-contexts lists them")
	}
	if o.Namespace == "" {
		return errors.New("--env cluster: expected --namespace NAME, found none: a drill happens in the one that is named")
	}
	if o.MaxPods < 0 || o.MaxShare < 0 || o.MaxShare > 100 {
		return fmt.Errorf("--max-pods %d --max-share %d: expected a number of pods, and a share of 1 to 100 percent", o.MaxPods, o.MaxShare)
	}
	_, err := patterns(o.Forbid)
	return err
}

// Limits unless said otherwise.
const (
	DefaultMaxPods  = 30
	DefaultMaxShare = 50
)

func maxPods(o environment.Options) int  { return cmp.Or(o.MaxPods, DefaultMaxPods) }
func maxShare(o environment.Options) int { return cmp.Or(o.MaxShare, DefaultMaxShare) }

func patterns(more []string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for _, text := range append(append([]string{}, neverIn...), more...) {
		p, err := regexp.Compile("(?i)" + text)
		if err != nil || text == "" {
			return nil, fmt.Errorf("--forbid %q: expected a regular expression: %w", text, cmp.Or(err, errors.New("it is empty")))
		}
		all = append(all, p)
	}
	return all, nil
}

// target is where a drill in a cluster that exists would happen.
type target struct {
	context, cluster, server, namespace string
	kubeconfig                          []string // the files that say so, whole paths
}

// readTarget finds a context in the kubeconfig that is named, or in those that kubectl would read. None of them is ever written.
func readTarget(o environment.Options) (target, *rest.Config, error) {
	paths := clientcmd.NewDefaultClientConfigLoadingRules().Precedence
	if o.Kubeconfig != "" {
		paths = []string{o.Kubeconfig}
	}
	return readTargetIn(paths, o)
}

func readTargetIn(paths []string, o environment.Options) (target, *rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: paths}
	t := target{context: o.Context, namespace: o.Namespace}
	for _, path := range rules.GetLoadingPrecedence() {
		if whole, err := filepath.Abs(path); err == nil { // another command may ask from another folder
			if _, err := os.Stat(whole); err == nil {
				t.kubeconfig = append(t.kubeconfig, whole)
			}
		}
	}
	raw, err := rules.Load()
	if err != nil {
		return t, nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	where := strings.Join(rules.GetLoadingPrecedence(), ", ")
	c, is := raw.Contexts[o.Context]
	if !is {
		var names []string
		for name := range raw.Contexts {
			names = append(names, name)
		}
		return t, nil, fmt.Errorf("--context %s: expected a context of %s, found %s: kubectl config get-contexts lists them", o.Context, where, cmp.Or(strings.Join(names, ", "), "none"))
	}
	t.cluster = c.Cluster
	if of := raw.Clusters[c.Cluster]; of != nil {
		t.server = of.Server
	}
	// No access to the files is handed over, so that nothing that refreshes a token can write one.
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, o.Context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return t, nil, fmt.Errorf("--context %s: %w", o.Context, err)
	}
	return t, config, nil
}

// allowed says why a drill may not happen there, by its names alone.
func (t target) allowed(never []*regexp.Regexp) error {
	for _, name := range []struct{ what, is string }{
		{"context", t.context}, {"cluster", t.cluster}, {"server", host(t.server)}, {"namespace", t.namespace},
	} {
		for _, p := range never {
			if found := p.FindString(name.is); found != "" {
				return fmt.Errorf("the %s %s: expected none that matches %s, found %q in it: drills do not happen there; name another context or namespace",
					name.what, name.is, strings.TrimPrefix(p.String(), "(?i)"), found)
			}
		}
	}
	return nil
}

// host of a server, as people read it: its path may name clusters as well.
func host(server string) string {
	_, rest, is := strings.Cut(server, "://")
	if !is {
		return server
	}
	return rest
}

// permits says whether whoever owns the namespace allows drills in it.
func permits(t target, ns *corev1.Namespace, err error) error {
	kubectl := fmt.Sprintf("kubectl --context %s", t.context)
	switch {
	case gone(err):
		return fmt.Errorf("the namespace %s: expected one that exists in %s, found none: %s create namespace %s && %s label namespace %s %s=%s",
			t.namespace, t.context, kubectl, t.namespace, kubectl, t.namespace, permitLabel, permitted)
	case err != nil:
		return fmt.Errorf("read the namespace %s of %s: %w", t.namespace, t.context, err)
	case ns.DeletionTimestamp != nil:
		return fmt.Errorf("the namespace %s of %s is being deleted", t.namespace, t.context)
	case ns.Labels[permitLabel] != permitted:
		found := "no such label"
		if v, is := ns.Labels[permitLabel]; is {
			found = permitLabel + "=" + v
		}
		return fmt.Errorf("the namespace %s of %s: expected the label %s=%s, by which whoever owns it permits drills, found %s: %s label namespace %s %s=%s",
			t.namespace, t.context, permitLabel, permitted, found, kubectl, t.namespace, permitLabel, permitted)
	}
	return nil
}
