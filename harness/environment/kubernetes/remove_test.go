package kubernetes

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	metafake "k8s.io/client-go/metadata/fake"
)

func TestOnlyWhatTheRunHasMadeIsRemoved(t *testing.T) {
	about := func(version, kind, name, run string) *metav1.PartialObjectMetadata {
		o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: kind}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "drills"}}
		if run != "" {
			o.Labels = map[string]string{Label: run}
		}
		return o
	}
	scheme := metafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	meta := metafake.NewSimpleMetadataClient(scheme,
		about("apps/v1", "Deployment", "ours", "t1"), about("v1", "Secret", "ours", "t1"), about("batch/v1", "Job", "ours", "t1"),
		about("apps/v1", "Deployment", "theirs", ""), about("v1", "Secret", "theirs", ""), about("v1", "Secret", "of-another-run", "t2"))
	r := removal{client: fake.NewClientset(), meta: meta, namespace: "drills", token: "t1"}
	n, err := r.all(t.Context())
	if err != nil || n != 3 {
		t.Errorf("removed %d, %v", n, err)
	}
	left, err := present(t.Context(), meta, "drills")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range left {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"deployments.apps/theirs", "secrets/of-another-run", "secrets/theirs"}; !slices.Equal(names, want) {
		t.Errorf("left are %v, expected %v", names, want)
	}
	if n, err := r.all(t.Context()); n != 0 || err != nil {
		t.Errorf("the second time it removed %d, %v", n, err)
	}
}

func TestAClaimIsTheRunsWhenItsStatefulSetMadeIt(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "book", Namespace: "drills", Labels: map[string]string{Label: "t1"}, CreationTimestamp: metav1.NewTime(now)},
		Spec: appsv1.StatefulSetSpec{VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}}}
	objects := []runtime.Object{set}
	claim := func(name string, age time.Duration) {
		objects = append(objects, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "drills", CreationTimestamp: metav1.NewTime(now.Add(-age))}})
	}
	claim("data-book-0", 0)
	claim("data-book-12", -time.Minute)
	claim("data-book-1", time.Minute) // older than the StatefulSet
	claim("data-book-x", 0)
	claim("data-bookshelf-0", 0)
	claim("other-book-0", 0)
	claim("bystander", 0)
	r := removal{client: fake.NewClientset(objects...), namespace: "drills", token: "t1"}
	all, err := r.claims(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if want := []string{"data-book-0", "data-book-12"}; !slices.Equal(names, want) {
		t.Errorf("%v, expected %v", names, want)
	}
}
