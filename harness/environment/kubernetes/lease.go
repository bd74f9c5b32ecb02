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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"backout/harness/environment"
)

// leaseName is the Lease that one drill at a time holds in a namespace.
const leaseName = "backout-drill"

// runAnnotation says on the Lease which run holds it. It is no label: what carries the label is removed before the Lease is.
const runAnnotation = "backout.run"

// lease keeps a second drill out of a namespace for as long as the first one runs.
type lease struct {
	client           kubernetes.Interface
	namespace, token string
	lasts, renewed   time.Duration // for how long it counts after it was renewed last, and how often that is
	say              func(string)

	mu   sync.Mutex
	held bool
	stop func()
}

func newLease(client kubernetes.Interface, namespace, token string, say func(string)) *lease {
	return &lease{client: client, namespace: namespace, token: token, lasts: 45 * time.Second, renewed: 10 * time.Second, say: say, stop: func() {}}
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
func (l *lease) take(ctx context.Context, dry bool) error {
	api := l.client.CoordinationV1().Leases(l.namespace)
	now, seconds, me := metav1.NowMicro(), int32(l.lasts.Seconds()), whoami()
	var flag []string
	if dry {
		flag = []string{metav1.DryRunAll}
	}
	want := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName, Annotations: map[string]string{runAnnotation: l.token}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &me, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now}}
	found, err := api.Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case gone(err):
		_, err = api.Create(ctx, want, metav1.CreateOptions{DryRun: flag})
	case err != nil:
	case l.live(found, now.Time):
		return l.refuse(found)
	default:
		if found, err = l.watched(ctx, found, dry); err != nil {
			return err
		}
		was := heldBy(found)
		want.ResourceVersion = found.ResourceVersion // somebody who is quicker wins
		if _, err = api.Update(ctx, want, metav1.UpdateOptions{DryRun: flag}); err == nil && !dry {
			l.say("took over the Lease " + leaseName + " of " + l.namespace + ", which had expired: it was held by " + was)
		}
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		if found, err := api.Get(ctx, leaseName, metav1.GetOptions{}); err == nil {
			return l.refuse(found)
		}
	}
	if err != nil {
		return fmt.Errorf("take the Lease %s of %s: %w", leaseName, l.namespace, err)
	}
	l.mu.Lock()
	l.held = !dry
	l.mu.Unlock()
	return nil
}

// watched looks for one more interval whether a Lease that has expired by our clock is still renewed: clocks differ.
func (l *lease) watched(ctx context.Context, found *coordinationv1.Lease, dry bool) (*coordinationv1.Lease, error) {
	if dry {
		return found, nil
	}
	l.say("the Lease " + leaseName + " of " + l.namespace + " has expired; looking whether " + heldBy(found) + " still renews it")
	until := time.NewTimer(l.renewed + l.renewed/5)
	defer until.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-until.C:
	}
	now, err := l.client.CoordinationV1().Leases(l.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the Lease %s of %s: %w", leaseName, l.namespace, err)
	}
	if now.ResourceVersion != found.ResourceVersion {
		return nil, l.refuse(now)
	}
	return now, nil
}

// live says whether somebody holds it. One that says nothing of its time is held.
func (l *lease) live(found *coordinationv1.Lease, now time.Time) bool {
	s := found.Spec
	if s.HolderIdentity == nil || *s.HolderIdentity == "" {
		return false
	}
	if s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return true
	}
	return now.Before(s.RenewTime.Add(time.Duration(*s.LeaseDurationSeconds) * time.Second))
}

func (l *lease) refuse(found *coordinationv1.Lease) error {
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
func (l *lease) keep(lost func(error)) {
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
			ours, err := l.renew(asked)
			end()
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				last = time.Now()
			case !ours || time.Since(last) >= l.lasts-l.renewed:
				l.mu.Lock()
				l.held = false
				l.mu.Unlock()
				lost(fmt.Errorf("the Lease %s of %s is lost: %w", leaseName, l.namespace, err))
				return
			}
		}
	}()
}

func (l *lease) renew(ctx context.Context) (ours bool, err error) {
	api := l.client.CoordinationV1().Leases(l.namespace)
	found, err := api.Get(ctx, leaseName, metav1.GetOptions{})
	if gone(err) {
		return false, errors.New("somebody has deleted it")
	}
	if err != nil {
		return true, err
	}
	if found.Annotations[runAnnotation] != l.token {
		return false, errors.New("it is held by " + heldBy(found))
	}
	now := metav1.NowMicro()
	found.Spec.RenewTime = &now
	_, err = api.Update(ctx, found, metav1.UpdateOptions{})
	return true, err // a conflict is looked into by the next try
}

// release gives it back.
func (l *lease) release(ctx context.Context) error {
	l.mu.Lock()
	stop, held := l.stop, l.held
	l.stop, l.held = func() {}, false
	l.mu.Unlock()
	stop()
	if !held {
		return nil
	}
	if err := releaseLease(ctx, l.client, l.namespace, l.token); err != nil {
		l.mu.Lock()
		l.held = true // for the next try
		l.mu.Unlock()
		return err
	}
	return nil
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
