package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"backout/harness/evidence"
	"backout/harness/lease"
)

// LeaseCluster is where the Leases of Kubernetes are by which operators take turns.
type LeaseCluster struct {
	Kubeconfig string // empty: those that kubectl finds, by KUBECONFIG or in the home
	Context    string // empty: the current one
	Namespace  string
}

// config says how its API server is reached.
func (c LeaseCluster) config() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
}

// Check says why its API server cannot be reached as the kubeconfig is. Nobody is asked.
func (c LeaseCluster) Check() error {
	if _, err := c.config().ClientConfig(); err != nil {
		return fmt.Errorf("expected the context %q of the lease in the kubeconfig that kubectl finds, by KUBECONFIG or in the home: %w", c.Context, err)
	}
	return nil
}

// Annotations of a Lease, beside what it says of its holder itself: all of that, how far the plan before came, and that sessions of a
// dead holder may still run.
const (
	leaseHolder    = "backout.io/holder"
	leaseProgress  = "backout.io/progress"
	leaseUndrained = "backout.io/undrained"
)

// leaseObject is the lease as an object of a cluster. Its token is the number of its holder.
type leaseObject struct {
	service string
	lease   *lease.Lease
}

// LeaseName is what the Lease of a service is called.
func LeaseName(service string) string { return "rollback-" + strings.ReplaceAll(service, "_", "-") }

func (r *Runner) leaseOfCluster(expiry time.Duration) (turns, error) {
	c := r.Lease.Cluster
	config, err := c.config().ClientConfig()
	if err != nil {
		return nil, err
	}
	config.Dial, config.UserAgent, config.QPS, config.Burst = r.dial(), "backout", 20, 40
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &leaseObject{r.Service.Name, &lease.Lease{Of: client.CoordinationV1().Leases(c.Namespace), Name: LeaseName(r.Service.Name), Lasts: expiry}}, nil
}

func (l *leaseObject) take(ctx context.Context, as evidence.Holder) (found before, err error) {
	who := fmt.Sprintf("%s on %s, process %d", as.Operator, as.Host, as.PID)
	err = l.lease.Take(ctx, who, false, func(was, is *coordinationv1.Lease) (err error) {
		if found, err = read(was); err != nil {
			return err
		}
		as.Token = lease.Token(is)
		found.token = as.Token
		if found.undrained {
			is.Annotations[leaseUndrained] = "yes"
		}
		return put(is, leaseHolder, as)
	})
	if held := new(lease.Held); errors.As(err, &held) {
		h := &Held{Lease: true, Expires: l.lease.Lasts, Holder: holderOf(held.By)}
		return found, h
	}
	return found, err
}

// read is what a new holder finds.
func read(was *coordinationv1.Lease) (found before, err error) {
	if was == nil {
		return found, nil
	}
	found.undrained = lease.Holder(was) != "" || was.Annotations[leaseUndrained] != ""
	if text := was.Annotations[leaseProgress]; text != "" {
		if err := json.Unmarshal([]byte(text), &found.progress); err != nil {
			return found, fmt.Errorf("read how far the plan before was, in the annotation %s: %w", leaseProgress, err)
		}
	}
	return found, nil
}

// holderOf is who has it, as well as it is known: it may be somebody's who is none of ours.
func holderOf(of *coordinationv1.Lease) evidence.Holder {
	h := evidence.Holder{}
	if lease.Holder(of) == "" {
		return h
	}
	if err := json.Unmarshal([]byte(of.Annotations[leaseHolder]), &h); err != nil || h.Operator == "" {
		h = evidence.Holder{Operator: lease.Holder(of)}
	}
	h.Token = lease.Token(of)
	return h
}

func put(is *coordinationv1.Lease, name string, value any) error {
	text, err := json.Marshal(value)
	if err == nil {
		is.Annotations[name] = string(text)
	}
	return err
}

func (l *leaseObject) renew(ctx context.Context, as evidence.Holder, progress *Progress) error {
	var wrong error
	err := l.lease.Renew(ctx, func(is *coordinationv1.Lease) {
		wrong = put(is, leaseHolder, as)
		if progress != nil {
			wrong = errors.Join(wrong, put(is, leaseProgress, progress))
		}
	})
	if lost := new(lease.Lost); errors.As(err, &lost) {
		return lostTo(l.service, holderOf(lost.To))
	}
	if err != nil {
		err = fmt.Errorf("renew the Lease %s: %w", l.lease.Name, err)
	}
	return errors.Join(wrong, err)
}

func (l *leaseObject) drained(ctx context.Context) error {
	return l.lease.Renew(ctx, func(is *coordinationv1.Lease) { delete(is.Annotations, leaseUndrained) })
}

func (l *leaseObject) give(ctx context.Context) error {
	return l.lease.Give(ctx, func(is *coordinationv1.Lease) { delete(is.Annotations, leaseHolder) })
}

func (l *leaseObject) hangUp(context.Context) {} // connections are closed when they are idle
