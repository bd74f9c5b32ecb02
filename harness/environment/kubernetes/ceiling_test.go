package kubernetes

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestADrillStaysBelowItsCeiling(t *testing.T) {
	for name, c := range map[string]struct {
		limit                ceiling
		drill, others, quota int
		wrong                string
	}{
		"few":                     {ceiling{30, 50}, 5, 5, 0, ""},
		"as many as may be":       {ceiling{30, 50}, 30, 30, 60, ""},
		"too many":                {ceiling{30, 50}, 31, 100, 0, "the drill would have 31 pods, more than 30: --max-pods 31"},
		"too large a share":       {ceiling{30, 50}, 6, 5, 0, "6 of then 11 pods in the namespace (55 %), more than 50 %: --max-share 55"},
		"a share that is allowed": {ceiling{30, 55}, 6, 5, 0, ""},
		"alone in the namespace":  {ceiling{30, 50}, 6, 0, 0, ""},
		"too much of the quota":   {ceiling{30, 50}, 6, 0, 10, "6 of the 10 pods that the namespace's quota allows (60 %)"},
		"half of the quota":       {ceiling{30, 50}, 5, 5, 10, ""},
	} {
		t.Run(name, func(t *testing.T) { says(t, c.limit.permits(c.drill, c.others, c.quota), c.wrong) })
	}
}

func TestPodsAreCountedBeforeTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want int
	}{
		"a Deployment":               {"kind: Deployment\nspec: {replicas: 3}", 3},
		"one that does not say":      {"kind: Deployment\nspec: {}", 1},
		"one of none":                {"kind: StatefulSet\nspec: {replicas: 0}", 0},
		"a DaemonSet":                {"kind: DaemonSet", 2},
		"a Job":                      {"kind: Job\nspec: {parallelism: 4}", 4},
		"a ConfigMap":                {"kind: ConfigMap", 0},
		"what an autoscaler raises":  {"kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 3}\n---\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: 6, scaleTargetRef: {kind: Deployment, name: a}}", 6},
		"what it raises of another":  {"kind: Deployment\nmetadata: {name: b}\nspec: {replicas: 3}\n---\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: 6, scaleTargetRef: {kind: Deployment, name: a}}", 3},
		"several":                    {"kind: Pod\n---\nkind: CronJob\n---\nkind: Deployment\nspec: {replicas: 2}", 4},
		"a list, as kubectl says it": {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, {apiVersion: v1, kind: Pod}]", 2},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := objectsOf([]byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if got := plannedPods(objects, 2); got != c.want {
				t.Errorf("%d pods, expected %d", got, c.want)
			}
		})
	}
}

func TestPodsAndQuotasAreCounted(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "drills"}, Status: corev1.PodStatus{Phase: phase}}
	}
	quota := func(name string, resourceName corev1.ResourceName, hard string) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "drills"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{resourceName: resource.MustParse(hard)}}}
	}
	client := fake.NewClientset(pod("a", corev1.PodRunning), pod("b", corev1.PodPending), pod("c", corev1.PodSucceeded), pod("d", corev1.PodFailed),
		quota("x", corev1.ResourcePods, "20"), quota("y", "count/pods", "12"), quota("z", corev1.ResourceCPU, "2"))
	pods, most, err := counted(t.Context(), client, "drills")
	if err != nil || len(pods) != 2 || most != 12 {
		t.Errorf("%d pods, quota %d, %v", len(pods), most, err)
	}
}

func TestPodsOfTheDrillAreToldFromOthers(t *testing.T) {
	yes := true
	pod := func(name, kind, owner string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: owner, Controller: &yes}}
		}
		return p
	}
	part := pod("gateway-1", "ReplicaSet", "gateway-0")
	part.Labels = map[string]string{partLabel: "gateway"}
	made := map[string]bool{"deployments.apps/shop": true, "statefulsets.apps/book": true, "daemonsets.apps/each": true, "jobs.batch/once": true, "cronjobs.batch/often": true, "pods/bare": true}
	got := ours([]corev1.Pod{part, pod("shop-1", "ReplicaSet", "shop-abc"), pod("book-0", "StatefulSet", "book"), pod("each-1", "DaemonSet", "each"), pod("once-1", "Job", "once"),
		pod("often-1", "Job", "often-29"), pod("bare", "", ""),
		pod("other-1", "ReplicaSet", "other-abc"), pod("shop-canary-1", "ReplicaSet", "shop-canary-abc"), pod("stray", "", ""), pod("odd", "Other", "shop-1")}, func(o string) bool { return made[o] })
	if want := []string{"gateway-1", "shop-1", "book-0", "each-1", "once-1", "often-1", "bare"}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}
