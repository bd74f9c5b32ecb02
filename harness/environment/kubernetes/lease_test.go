package kubernetes

import (
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// held is a Lease that somebody renewed so long ago.
func held(ago time.Duration) *coordinationv1.Lease {
	who, seconds, then := "anna@far", int32(45), metav1.NewMicroTime(time.Now().Add(-ago))
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: "drills", ResourceVersion: "7", Annotations: map[string]string{runAnnotation: "hers"}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &seconds, AcquireTime: &then, RenewTime: &then}}
}

func TestOneDrillAtATimeHoldsTheLease(t *testing.T) {
	untimed := held(time.Hour)
	untimed.Spec.RenewTime = nil
	given := held(time.Second)
	given.Spec.HolderIdentity = nil
	for name, c := range map[string]struct {
		there   *coordinationv1.Lease
		renewed bool // while it is looked at
		wrong   string
		told    string
	}{
		"nobody has it":             {},
		"somebody has it":           {there: held(time.Second), wrong: "a drill is under way in the namespace drills: anna@far with the run hers, since 20"},
		"it does not say when":      {there: untimed, wrong: "anna@far with the run hers"},
		"it has expired":            {there: held(time.Minute), told: "took over the Lease backout-drill of drills, which had expired: it was held by anna@far with the run hers, since 20"},
		"it was given back":         {there: given, told: "took over"},
		"expired by our clock only": {there: held(time.Minute), renewed: true, wrong: "is under way"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if c.there != nil {
				client = fake.NewClientset(c.there)
			}
			var told []string
			l := newLease(client, "drills", "mine", func(text string) { told = append(told, text) })
			l.renewed = 50 * time.Millisecond
			if c.renewed {
				l.say = func(string) {
					again := held(0)
					again.ResourceVersion = "8"
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

func TestTheLeaseIsRenewedAndItsLossIsTold(t *testing.T) {
	client := fake.NewClientset()
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
	if _, err := api.Update(t.Context(), held(0), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
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
	client := fake.NewClientset(held(0))
	l := newLease(client, "drills", "mine", func(string) {})
	says(t, l.take(t.Context(), true), "anna@far")
}
