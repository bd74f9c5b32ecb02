package lease

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is said of a Lease depends on what was seen, and for how long, and on no time that stands in it.
func TestWhenALeaseIsFree(t *testing.T) {
	of := func(who string, seconds int32, renewed time.Time) *coordinationv1.Lease {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
		if who != "" {
			l.Spec.HolderIdentity = &who
		}
		if seconds > 0 {
			l.Spec.LeaseDurationSeconds = &seconds
		}
		l.Spec.RenewTime = &metav1.MicroTime{Time: renewed}
		return l
	}
	now := time.Now()
	anew := of("ada", 15, now)
	anew.UID = "2"
	noted := of("ada", 15, now)
	noted.Annotations = map[string]string{"of": "somebody else"}
	for _, c := range []struct {
		name       string
		first, now *coordinationv1.Lease
		watched    time.Duration
		expected   string
	}{
		{"there is none", nil, nil, 0, free},
		{"nobody has it", of("", 15, now), of("", 15, now), 0, free},
		{"it was given back meanwhile", of("ada", 15, now), of("", 15, now), time.Second, free},
		{"seen for the first time", of("ada", 15, now), of("ada", 15, now), 0, unknown},
		{"of a clock that is an hour late", of("ada", 15, now.Add(-time.Hour)), of("ada", 15, now.Add(-time.Hour)), 14 * time.Second, unknown},
		{"of a clock that is an hour early", of("ada", 15, now.Add(time.Hour)), of("ada", 15, now.Add(time.Hour)), 15 * time.Second, free},
		{"not renewed for as long as it lasts", of("ada", 15, now), of("ada", 15, now), 15 * time.Second, free},
		{"renewed", of("ada", 15, now), of("ada", 15, now.Add(time.Second)), 20 * time.Second, renewed},
		{"taken by another one", of("ada", 15, now), of("bob", 15, now), 20 * time.Second, renewed},
		{"deleted, and made anew", of("ada", 15, now), anew, 20 * time.Second, renewed},
		{"somebody has written on it", of("ada", 15, now), noted, 20 * time.Second, free},
		{"it never expires", of("ada", 0, now), of("ada", 0, now), time.Hour, renewed},
	} {
		if found := judge(c.first, c.now, c.watched); found != c.expected {
			t.Errorf("%s: expected %s, found %s", c.name, c.expected, found)
		}
	}
}
