package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"backout/harness/environment"
	"backout/harness/lease"
)

// leaseName is the Lease that one drill at a time holds in a namespace.
const leaseName = "backout-drill"

// runAnnotation says on the Lease which run holds it. It is no label: what carries the label is removed before the Lease is.
const runAnnotation = "backout.run"

// drillLease keeps a second drill out of a namespace for as long as the first one runs.
type drillLease struct {
	*lease.Lease
	client           kubernetes.Interface
	namespace, token string
	renewed          time.Duration // how often it is
	say              func(string)

	mu   sync.Mutex
	stop func()
}

func newLease(client kubernetes.Interface, namespace, token string, say func(string)) *drillLease {
	l := &drillLease{client: client, namespace: namespace, token: token, renewed: 10 * time.Second, say: say, stop: func() {}}
	l.Lease = &lease.Lease{Of: client.CoordinationV1().Leases(namespace), Name: leaseName, Lasts: 45 * time.Second}
	l.Watched = func(found *coordinationv1.Lease) {
		say("looking whether " + heldBy(found) + " still renews the Lease " + leaseName + " of " + namespace)
	}
	return l
}

// whoami is who holds it, for people.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	at, err := os.Hostname()
	if err != nil {
		at = "somewhere"
	}
	return name + "@" + at
}

// take takes the Lease, or says who holds it. dry: nothing is written.
func (l *drillLease) take(ctx context.Context, dry bool) error {
	took := ""
	err := l.Take(ctx, whoami(), dry, func(was, is *coordinationv1.Lease) error {
		if was != nil {
			took = heldBy(was)
		}
		is.Annotations[runAnnotation] = l.token
		return nil
	})
	if held := new(lease.Held); errors.As(err, &held) {
		return l.refuse(held.By)
	}
	if err != nil {
		return fmt.Errorf("take the Lease %s of %s: %w", leaseName, l.namespace, err)
	}
	if took != "" && !dry {
		l.say("took over the Lease " + leaseName + " of " + l.namespace + ", which had expired: it was held by " + took)
	}
	return nil
}

func (l *drillLease) refuse(found *coordinationv1.Lease) error {
	return fmt.Errorf("a drill is under way in the namespace %s: %s holds the Lease %s: wait until it has ended; if that was killed, `backout clean` there removes what it left, and the Lease may be taken over when it has expired",
		l.namespace, heldBy(found), leaseName)
}

// heldBy says who holds a Lease, with which run, since when, and when it was renewed last.
func heldBy(found *coordinationv1.Lease) string {
	s, text := found.Spec, "somebody who does not say who"
	if s.HolderIdentity != nil && *s.HolderIdentity != "" {
		text = *s.HolderIdentity
	}
	if run := found.Annotations[runAnnotation]; run != "" {
		text += " with the run " + run
	}
	if s.AcquireTime != nil {
		text += ", since " + s.AcquireTime.UTC().Format(time.RFC3339)
	}
	if s.RenewTime != nil {
		text += ", renewed at " + s.RenewTime.UTC().Format(time.RFC3339)
	}
	return text
}

// keep renews the Lease until it is released. lost is told once when it is somebody else's, or could not be renewed before
// it expired: somebody else may hold it then.
func (l *drillLease) keep(lost func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.mu.Lock()
	l.stop = func() { cancel(); <-done }
	l.mu.Unlock()
	go func() {
		defer close(done)
		tick := time.NewTicker(l.renewed)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			asked, end := context.WithTimeout(ctx, l.renewed)
			began := time.Now()
			err := l.Renew(asked, nil)
			end()
			gone := new(lease.Lost)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				last = began
				continue
			case errors.As(err, &gone) && gone.To != nil:
				err = errors.New("it is held by " + heldBy(gone.To))
			case !errors.As(err, &gone) && time.Since(last) < l.Lasts-l.renewed:
				continue
			}
			lost(fmt.Errorf("the Lease %s of %s is lost: %w", leaseName, l.namespace, err))
			return
		}
	}()
}

// release gives it back.
func (l *drillLease) release(ctx context.Context) error {
	l.mu.Lock()
	stop := l.stop
	l.stop = func() {}
	l.mu.Unlock()
	stop()
	return environment.Until(ctx, "the Lease "+leaseName+" is given back", l.Delete)
}

// releaseLease deletes the Lease if a run holds it.
func releaseLease(ctx context.Context, client kubernetes.Interface, namespace, token string) error {
	api := client.CoordinationV1().Leases(namespace)
	return environment.Until(ctx, "the Lease "+leaseName+" is given back", func(ctx context.Context) error {
		found, err := api.Get(ctx, leaseName, metav1.GetOptions{})
		if gone(err) || err == nil && found.Annotations[runAnnotation] != token {
			return nil
		}
		if err != nil {
			return err
		}
		err = api.Delete(ctx, leaseName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID, ResourceVersion: &found.ResourceVersion}})
		if gone(err) {
			return nil
		}
		return err
	})
}
