// Package lease is a Lease of Kubernetes that one holder at a time has, kept by whoever writes on the version that was read: of two
// who do so at once the API server lets one. Clocks of two machines are never compared: a Lease has expired when the one who looks
// has seen it unchanged for as long as it says that it lasts, by a clock of its own.
package lease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// Lease is one that somebody wants or holds. Its methods are safe for concurrent use.
type Lease struct {
	Of    coordination.LeaseInterface // the Leases of its namespace
	Name  string
	Lasts time.Duration // after its last renewal; in whole seconds
	// Watched is told of a Lease that somebody has, when it is going to be watched; may be nil.
	Watched func(found *coordinationv1.Lease)

	mu    sync.Mutex
	mine  *coordinationv1.Lease // as it was written last; nil: it is not held
	first *coordinationv1.Lease // as it was when it was first seen so
	since time.Time
}

// Held says that somebody else has it.
type Held struct{ By *coordinationv1.Lease }

func (h *Held) Error() string { return "the Lease " + h.By.Name + " is held by " + Holder(h.By) }

// Lost says that it is not held any more: somebody else has it, or nobody.
type Lost struct{ To *coordinationv1.Lease } // nil: it was deleted

func (l *Lost) Error() string {
	switch {
	case l.To == nil:
		return "somebody has deleted it"
	case Holder(l.To) == "":
		return "it was taken over by somebody who has gone since"
	}
	return "it is held by " + Holder(l.To)
}

// Holder is who has it; empty: nobody.
func Holder(l *coordinationv1.Lease) string {
	if l == nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// What can be said of a Lease that was found.
const (
	free    = "free"    // nobody has it, or it has expired
	renewed = "renewed" // whoever has it is alive
	unknown = "unknown" // until it was watched for longer
)

// judge says it of a Lease that is found now, was found as first before, and was watched since then.
func judge(first, now *coordinationv1.Lease, watched time.Duration) string {
	switch {
	case Holder(now) == "":
		return free
	case now.Spec.LeaseDurationSeconds == nil: // it never expires
		return renewed
	case !same(first, now):
		return renewed
	case watched >= time.Duration(*now.Spec.LeaseDurationSeconds)*time.Second:
		return free
	}
	return unknown
}

// same says whether nobody has renewed or taken it in between. Labels and annotations may be anybody's.
func same(a, b *coordinationv1.Lease) bool {
	return a != nil && b != nil && a.UID == b.UID && equality.Semantic.DeepEqual(a.Spec, b.Spec)
}

// Take takes it for a holder, whose name is no other holder's, as soon as it is free. The error is a *Held as soon as it is seen that
// somebody has it who lives, which takes as long as that one takes to renew it. fill is told what was there, nil for nothing, and
// writes what more is to stand in it. dry: nothing is written.
func (l *Lease) Take(ctx context.Context, holder string, dry bool, fill func(was, is *coordinationv1.Lease) error) error {
	told := false
	for {
		found, err := l.Of.Get(ctx, l.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			found, err = nil, nil
		}
		if err != nil {
			return err
		}
		switch first, watched := l.look(found); judge(first, found, watched) {
		case renewed:
			return &Held{found}
		case unknown:
			if l.Watched != nil && !told {
				l.Watched(found)
			}
			told = true
			if err := pause(ctx, min(time.Second, l.Lasts/20)); err != nil {
				return fmt.Errorf("watching whether %s still renews the Lease %s: %w", Holder(found), l.Name, err)
			}
			continue
		}
		if err = l.write(ctx, found, holder, dry, fill); err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return err
		}
		// Somebody was quicker, so whoever has it now is alive.
		now, err := l.Of.Get(ctx, l.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err == nil && Holder(now) != "" {
			return &Held{now}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// look notes what was found, and says since when it is so. What was seen in an earlier try counts.
func (l *Lease) look(found *coordinationv1.Lease) (first *coordinationv1.Lease, watched time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = l.first
	if !same(first, found) {
		l.first, l.since = found, time.Now()
	}
	if first == nil {
		first = found
	}
	return first, time.Since(l.since)
}

// begun is from where the number of holders is counted, in seconds, so that it grows also when somebody has deleted the Lease.
var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// write makes it the holder's, unless it was changed since it was found.
func (l *Lease) write(ctx context.Context, found *coordinationv1.Lease, holder string, dry bool, fill func(was, is *coordinationv1.Lease) error) (err error) {
	now, seconds := metav1.NowMicro(), int32(math.Ceil(l.Lasts.Seconds()))
	next := int32(time.Since(begun).Seconds())
	is := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.Name}}
	if found != nil {
		is = found.DeepCopy()
		if t := found.Spec.LeaseTransitions; t != nil {
			next = *t + 1
		}
	}
	is.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &next}
	if is.Annotations == nil {
		is.Annotations = map[string]string{}
	}
	if err := fill(found, is); err != nil {
		return err
	}
	var flag []string
	if dry {
		flag = []string{metav1.DryRunAll}
	}
	if found == nil {
		is, err = l.Of.Create(ctx, is, metav1.CreateOptions{DryRun: flag})
	} else {
		is, err = l.Of.Update(ctx, is, metav1.UpdateOptions{DryRun: flag})
	}
	if err != nil || dry {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mine = is
	return nil
}

// Token is the number of its holder, which grows with each of them.
func Token(l *coordinationv1.Lease) int64 {
	if l == nil || l.Spec.LeaseTransitions == nil {
		return 0
	}
	return int64(*l.Spec.LeaseTransitions)
}

// Token is that of this holder.
func (l *Lease) Token() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Token(l.mine)
}

// Renew says that the holder lives, and changes what stands in the Lease. The error is a *Lost when it is not its holder any more,
// and any other when that could not be known.
func (l *Lease) Renew(ctx context.Context, change func(is *coordinationv1.Lease)) error {
	return l.change(ctx, func(is *coordinationv1.Lease) {
		now := metav1.NowMicro()
		is.Spec.RenewTime = &now
		if change != nil {
			change(is)
		}
	})
}

// Give gives it back: it stays, without a holder. The next one's token is greater.
func (l *Lease) Give(ctx context.Context, change func(is *coordinationv1.Lease)) error {
	err := l.change(ctx, func(is *coordinationv1.Lease) {
		is.Spec.HolderIdentity = nil
		if change != nil {
			change(is)
		}
	})
	if errors.As(err, new(*Lost)) {
		return nil // it is not ours
	}
	if err == nil {
		l.mu.Lock()
		l.mine = nil
		l.mu.Unlock()
	}
	return err
}

// change writes on what was written last. What somebody else has changed of it meanwhile, without taking it, stays.
func (l *Lease) change(ctx context.Context, change func(is *coordinationv1.Lease)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine == nil {
		return &Lost{}
	}
	for on := l.mine; ; {
		is := on.DeepCopy()
		change(is)
		is, err := l.Of.Update(ctx, is, metav1.UpdateOptions{})
		if err == nil {
			l.mine = is
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
		now, err := l.Of.Get(ctx, l.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return &Lost{}
		case err != nil:
			return err
		case now.UID != l.mine.UID || Holder(now) != Holder(l.mine) || Token(now) != Token(l.mine):
			return &Lost{now}
		}
		on = now
	}
}

// Delete removes it, if this holder has it.
func (l *Lease) Delete(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine == nil {
		return nil
	}
	now, err := l.Of.Get(ctx, l.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && (now.UID != l.mine.UID || Holder(now) != Holder(l.mine) || Token(now) != Token(l.mine)) {
		l.mine = nil
		return nil
	}
	if err != nil {
		return err
	}
	err = l.Of.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &now.UID, ResourceVersion: &now.ResourceVersion}})
	if err == nil || apierrors.IsNotFound(err) {
		l.mine = nil
		return nil
	}
	return err
}

// pause keeps a question to the API server from being asked all the time.
func pause(ctx context.Context, between time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(between):
		return nil
	}
}
