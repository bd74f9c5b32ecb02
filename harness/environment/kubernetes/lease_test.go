package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// held is a Lease that lasts a second and that somebody has renewed so long ago, by that one's clock.
func held(ago time.Duration) *coordinationv1.Lease {
	who, seconds, then := "anna@far", int32(1), metav1.NewMicroTime(time.Now().Add(-ago))
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: "drills", ResourceVersion: "7", Annotations: map[string]string{runAnnotation: "hers"}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &seconds, AcquireTime: &then, RenewTime: &then}}
}

func TestOneDrillAtATimeHoldsTheLease(t *testing.T) {
	unlimited := held(time.Hour)
	unlimited.Spec.LeaseDurationSeconds = nil
	given := held(0)
	given.Spec.HolderIdentity = nil
	for name, c := range map[string]struct {
		there   *coordinationv1.Lease
		renewed bool // while it is looked at
		wrong   string
		told    string
	}{
		"nobody has it":                      {},
		"somebody has it":                    {there: held(0), renewed: true, wrong: "a drill is under way in the namespace drills: anna@far with the run hers, since 20"},
		"it does not say how long":           {there: unlimited, wrong: "anna@far with the run hers"},
		"it has expired":                     {there: held(time.Minute), told: "took over the Lease backout-drill of drills, which had expired: it was held by anna@far with the run hers, since 20"},
		"it was given back":                  {there: given, told: "took over"},
		"expired by our clock only":          {there: held(time.Minute), renewed: true, wrong: "is under way"},
		"expired, and her clock is of later": {there: held(-time.Hour), told: "took over"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if c.there != nil {
				client = fake.NewClientset(c.there)
			}
			var told []string
			l := newLease(client, "drills", "mine", func(text string) { told = append(told, text) })
			if c.renewed {
				l.say = func(string) {}
				l.Watched = func(found *coordinationv1.Lease) {
					again := found.DeepCopy()
					again.Spec.RenewTime.Time = again.Spec.RenewTime.Add(time.Millisecond)
					if _, err := client.CoordinationV1().Leases("drills").Update(t.Context(), again, metav1.UpdateOptions{}); err != nil {
						t.Error(err)
					}
				}
			}
			says(t, l.take(t.Context(), false), c.wrong)
			if text := strings.Join(told, "\n"); !strings.Contains(text, c.told) {
				t.Errorf("told %q, expected %q", text, c.told)
			}
			now, err := client.CoordinationV1().Leases("drills").Get(t.Context(), leaseName, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if mine := now.Annotations[runAnnotation] == "mine"; mine != (c.wrong == "") {
				t.Errorf("it is held by %s", heldBy(now))
			}
			if err := l.release(context.Background()); err != nil {
				t.Error(err)
			}
			list, err := client.CoordinationV1().Leases("drills").List(t.Context(), metav1.ListOptions{})
			if err != nil || (len(list.Items) == 0) != (c.wrong == "") {
				t.Errorf("after it was given back there are %d, %v", len(list.Items), err)
			}
		})
	}
}

// refuseOld has a client that stands for an API server refuse writes on another version than is there, as that does.
func refuseOld(client *fake.Clientset) {
	n := 0
	write := func(a clienttesting.Action) (bool, runtime.Object, error) {
		var is *coordinationv1.Lease
		switch a := a.(type) {
		case clienttesting.CreateActionImpl:
			is = a.Object.(*coordinationv1.Lease)
		case clienttesting.UpdateActionImpl:
			is = a.Object.(*coordinationv1.Lease)
			found, err := client.Tracker().Get(a.GetResource(), a.GetNamespace(), is.Name)
			if err != nil {
				return true, nil, err
			}
			if found.(*coordinationv1.Lease).ResourceVersion != is.ResourceVersion {
				return true, nil, apierrors.NewConflict(a.GetResource().GroupResource(), is.Name, errors.New("of another version"))
			}
		}
		n++
		is.ResourceVersion = fmt.Sprint(n)
		return false, nil, nil
	}
	client.PrependReactor("create", "leases", write)
	client.PrependReactor("update", "leases", write)
}

func TestTheLeaseIsRenewedAndItsLossIsTold(t *testing.T) {
	client := fake.NewClientset()
	refuseOld(client)
	l := newLease(client, "drills", "mine", func(string) {})
	l.renewed = 20 * time.Millisecond
	if err := l.take(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	api := client.CoordinationV1().Leases("drills")
	first, err := api.Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	l.keep(func(err error) { lost <- err })
	for deadline := time.Now().Add(5 * time.Second); ; {
		now, err := api.Get(t.Context(), leaseName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if now.Spec.RenewTime.After(first.Spec.RenewTime.Time) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it was not renewed")
		}
	}
	for { // it is renewed meanwhile
		now, err := api.Get(t.Context(), leaseName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hers := held(0)
		hers.ResourceVersion = now.ResourceVersion
		if _, err = api.Update(t.Context(), hers, metav1.UpdateOptions{}); err == nil {
			break
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
	}
	select {
	case err := <-lost:
		says(t, err, "it is held by anna@far")
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told that it is lost")
	}
	if err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := api.Get(t.Context(), leaseName, metav1.GetOptions{}); err != nil || now.Annotations[runAnnotation] != "hers" {
		t.Errorf("somebody else's was given back: %v", err)
	}
}

func TestADryRunTakesNoLease(t *testing.T) {
	client := fake.NewClientset()
	l := newLease(client, "drills", "mine", func(string) {})
	writes := ""
	client.PrependReactor("create", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
		writes += fmt.Sprint(a.(clienttesting.CreateActionImpl).CreateOptions.DryRun)
		return true, &coordinationv1.Lease{}, nil
	})
	says(t, l.take(t.Context(), true), "")
	if writes != "[All]" || l.Token() != 0 {
		t.Errorf("found %s, token %d", writes, l.Token())
	}
}
