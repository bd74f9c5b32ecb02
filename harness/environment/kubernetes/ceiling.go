package kubernetes

import (
	"context"
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// ceiling is how much of a namespace a drill may take.
type ceiling struct{ pods, percent int }

// plannedPods is how many pods an object of a manifest stands for at rest. A DaemonSet has one on each of so many nodes, and a
// HorizontalPodAutoscaler raises its target to what it may.
func plannedPods(objects []unstructured.Unstructured, nodes int) (n int) {
	scaled := map[string]int{}
	for _, o := range objects {
		if o.GetKind() == "HorizontalPodAutoscaler" {
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "kind")
			name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name")
			scaled[kind+"/"+name] = number(o, 1, "spec", "maxReplicas")
		}
	}
	for _, o := range objects {
		count := 0
		switch o.GetKind() {
		case "Pod", "CronJob":
			count = 1
		case "Deployment", "StatefulSet", "ReplicaSet":
			count = number(o, 1, "spec", "replicas")
		case "DaemonSet":
			count = nodes
		case "Job":
			count = number(o, 1, "spec", "parallelism")
		}
		n += max(count, scaled[o.GetKind()+"/"+o.GetName()])
	}
	return n
}

func number(o unstructured.Unstructured, unless int, fields ...string) int {
	v, is, err := unstructured.NestedFieldNoCopy(o.Object, fields...)
	if !is || err != nil {
		return unless
	}
	switch v := v.(type) {
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return unless
}

// permits says why a drill of so many pods is too much beside so many others, and under what quotas allow; 0: there is none.
func (c ceiling) permits(drill, others, quota int) error {
	if drill > c.pods {
		return fmt.Errorf("the drill would have %d pods, more than %d: --max-pods %d permits it, or take fewer instances", drill, c.pods, drill)
	}
	// A namespace that nobody else has a pod in is the drill's: a share of it says nothing.
	if share := percent(drill, drill+others); others > 0 && share > c.percent {
		return fmt.Errorf("the drill would have %d of then %d pods in the namespace (%d %%), more than %d %%: --max-share %d permits it, or take a namespace of its own",
			drill, drill+others, share, c.percent, share)
	}
	if share := percent(drill, quota); quota > 0 && share > c.percent {
		return fmt.Errorf("the drill would have %d of the %d pods that the namespace's quota allows (%d %%), more than %d %%: --max-share %d permits it, or raise the quota",
			drill, quota, share, c.percent, min(100, share))
	}
	return nil
}

func percent(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return int(math.Ceil(100 * float64(part) / float64(whole)))
}

// counted are the pods that are there and have not ended, and what quotas allow; 0: there is none.
func counted(ctx context.Context, client kubernetes.Interface, namespace string) (pods []corev1.Pod, quota int, err error) {
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("count the pods of %s: %w", namespace, err)
	}
	quotas, err := client.CoreV1().ResourceQuotas(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("read the quotas of %s: %w", namespace, err)
	}
	for _, q := range quotas.Items {
		for _, name := range []corev1.ResourceName{corev1.ResourcePods, "count/pods"} {
			if hard, is := q.Spec.Hard[name]; is && (quota == 0 || int(hard.Value()) < quota) {
				quota = int(hard.Value())
			}
		}
	}
	return running(list.Items), quota, nil
}

// running are the pods that have not ended.
func running(all []corev1.Pod) (pods []corev1.Pod) {
	for _, p := range all {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			pods = append(pods, p)
		}
	}
	return pods
}

// ours are those pods that belong to what the drill has made: directly, or by an owner. A ReplicaSet and a Job of a CronJob are
// called after what made them.
func ours(pods []corev1.Pod, made func(object string) bool) (names []string) {
	for _, p := range pods {
		if isOurs(p, made) {
			names = append(names, p.Name)
		}
	}
	return names
}

func isOurs(p corev1.Pod, made func(object string) bool) bool {
	if p.Labels[partLabel] != "" || made(objectName("", "pods", p.Name)) {
		return true
	}
	o := metav1.GetControllerOf(&p)
	if o == nil {
		return false
	}
	above := o.Name[:max(0, strings.LastIndexByte(o.Name, '-'))]
	switch o.Kind {
	case "ReplicaSet":
		return made(objectName("apps", "replicasets", o.Name)) || made(objectName("apps", "deployments", above))
	case "StatefulSet":
		return made(objectName("apps", "statefulsets", o.Name))
	case "DaemonSet":
		return made(objectName("apps", "daemonsets", o.Name))
	case "Job":
		return made(objectName("batch", "jobs", o.Name)) || made(objectName("batch", "cronjobs", above))
	}
	return false
}

// nodes is how many there are; 1 where the account may not know.
func nodes(ctx context.Context, client kubernetes.Interface) (int, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count the nodes: %w", err)
	}
	return max(1, len(list.Items)), nil
}
