package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"backout/harness/environment"
	"backout/harness/environment/wiring"
	"backout/harness/fault"
	"backout/harness/service"
)

// place is what can be done to what runs here.
func (s *stage) place() fault.Place {
	if s.there != nil { // machines, their container engines and the API server are other people's as well, and so are their quotas
		return fault.Place{Nameless: true, KillPod: s.killPod, Pods: s.podsOf}
	}
	return fault.Place{
		Nameless: true,
		State:    s.stateOf,
		Kill:     s.kill,
		Start:    s.start,
		KillPod:  s.killPod,
		Pods:     s.podsOf,

		Drain:        s.drain,
		Undrain:      func(ctx context.Context) error { return s.cluster.cordon(ctx, s.worker(), false) },
		StopKubelet:  func(ctx context.Context) error { return s.kubelet(ctx, "stop") },
		StartKubelet: func(ctx context.Context) error { return s.kubelet(ctx, "start") },
		Worker:       s.workerNow,

		HideImage: func(ctx context.Context, release string) error { return s.images.hide(ctx, s.need.Service, release) },
		ShowImage: func(ctx context.Context, release string) error { return s.images.show(ctx, s.need.Service, release) },
		HasImage: func(ctx context.Context, release string) (on, of int, err error) {
			return s.images.has(ctx, s.need.Service, release)
		},

		PauseAPI:  func(ctx context.Context) error { return s.signalAPI(ctx, "STOP") },
		ResumeAPI: func(ctx context.Context) error { return s.signalAPI(ctx, "CONT") },
		API:       s.api,

		LimitPods:   s.limitPods,
		UnlimitPods: s.unlimitPods,
		PodLimit:    s.podLimit,

		ForbidEviction: s.forbidEviction,
		AllowEviction:  s.allowEviction,
		MayEvict:       s.mayEvict,
	}
}

// Pods of the harness: the nodes of the database.

// stateOf asks the engine of the machine about the container of a node, since the API server forgets a pod that is deleted by
// force before it has ended.
func (s *stage) stateOf(ctx context.Context, name string) (fault.State, error) {
	ids, err := s.containersOf(ctx, name)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return fault.Gone, nil
	}
	return fault.Running, nil
}

// containersOf are the running containers of a node of the database. All of those are on the machine of the control plane.
func (s *stage) containersOf(ctx context.Context, name string) ([]string, error) {
	if _, is := s.nodes[name]; !is {
		return nil, fmt.Errorf("%s is no node of the database: a pod has no name that a drill could know", name)
	}
	of := fmt.Sprintf(`labels."io.kubernetes.pod.namespace"==%s,labels."io.kubernetes.pod.name"==%s,labels."io.kubernetes.container.name"==%s`, s.namespace, s.podOf(name), name)
	text, err := docker(ctx, "exec", s.cluster.nodes[0], "sh", "-c",
		`run=$(ctr -n k8s.io tasks ls | awk '$3 == "RUNNING" { print $1 }'); for c in $(ctr -n k8s.io containers ls -q "$0"); do echo "$run" | grep -x "$c" || true; done`, of)
	return strings.Fields(text), err
}

// kill ends all processes of a node at once, and has nothing start it again.
func (s *stage) kill(ctx context.Context, name string) error {
	ids, err := s.containersOf(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := docker(ctx, "exec", s.cluster.nodes[0], "ctr", "-n", "k8s.io", "tasks", "kill", "--all", "-s", "SIGKILL", id); err != nil {
			return err
		}
	}
	if err := s.scale(ctx, name, 0); err != nil {
		return err
	}
	now := int64(0)
	err = s.cluster.client.CoreV1().Pods(s.namespace).Delete(ctx, s.podOf(name), metav1.DeleteOptions{GracePeriodSeconds: &now})
	if gone(err) {
		return nil
	}
	return err
}

func (s *stage) start(ctx context.Context, name string) error { return s.scale(ctx, name, 1) }

func (s *stage) scale(ctx context.Context, name string, to int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to)
	_, err := s.cluster.client.AppsV1().StatefulSets(s.namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// Pods of services.

func (s *stage) service(name string) (*service.Service, error) {
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		if of.Name == name {
			return of, nil
		}
	}
	return nil, fmt.Errorf("no service of this drill is named %s", name)
}

// list are the pods of a service that have not ended.
func (s *stage) list(ctx context.Context, name string) ([]corev1.Pod, error) {
	of, err := s.service(name)
	if err != nil {
		return nil, err
	}
	list, err := s.cluster.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: of.Kubernetes.Pods})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}), nil
}

func serves(p *corev1.Pod) bool { return ready(p) && p.DeletionTimestamp == nil }

func (s *stage) podsOf(ctx context.Context, name string) (all []fault.Pod, err error) {
	list, err := s.list(ctx, name)
	for _, p := range list {
		all = append(all, fault.Pod{Name: p.Name, ID: string(p.UID), Ready: serves(&p)})
	}
	return all, err
}

// oldest is the pod of a service that has served longest.
func (s *stage) oldest(ctx context.Context, name string) (*corev1.Pod, error) {
	list, err := s.list(ctx, name)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(p corev1.Pod) bool { return !serves(&p) })
	if len(list) == 0 {
		return nil, fmt.Errorf("no pod of %s serves", name)
	}
	first := slices.MinFunc(list, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return &first, nil
}

func (s *stage) killPod(ctx context.Context, name string) (fault.Pod, error) {
	p, err := s.oldest(ctx, name)
	if err != nil {
		return fault.Pod{}, err
	}
	now := int64(0)
	err = s.cluster.client.CoreV1().Pods(s.namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	return fault.Pod{Name: p.Name, ID: string(p.UID), Ready: true}, err
}

// The machine beside the control plane's.

// worker is its name; empty: there is none.
func (s *stage) worker() string {
	if len(s.cluster.nodes) < 2 {
		return ""
	}
	return s.cluster.nodes[1]
}

// disturb notes on disk that the cluster will not be as it was made, before it is so: whoever opens it next mends it.
func (s *stage) disturb(what string) error {
	if !s.cluster.alone {
		return fmt.Errorf("%s: other drills use this cluster, too: the drill has not declared that it disturbs it", what)
	}
	return writeWhole(s.clusters.path(s.cluster.name, disturbed), []byte(what+"\n"))
}

// disturbed is the ending of the file that says that somebody has disturbed a cluster.
const disturbed = ".disturbed"

// mend undoes what drills do to a whole cluster, if one has begun to.
func (c clusters) mend(ctx context.Context, k *cluster) error {
	text, err := os.ReadFile(c.path(k.name, disturbed))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 90*time.Second, errors.New("not within 90 s"))
	defer cancel()
	for _, node := range k.nodes {
		// Nobody is there to be woken where no API server runs.
		if _, err := docker(ctx, "exec", node, "sh", "-c", "pkill -CONT -x kube-apiserver; systemctl start kubelet"); err != nil {
			return err
		}
	}
	err = environment.Until(ctx, "the cluster "+k.name+" is mended ("+strings.TrimSpace(string(text))+")", func(ctx context.Context) error {
		err := k.isReady(ctx)
		for _, node := range k.nodes {
			if err == nil {
				err = k.cordon(ctx, node, false)
			}
			if err == nil { // its node stays ready for most of a minute without it
				_, err = docker(ctx, "exec", node, "curl", "-sSf", "--max-time", "1", "http://127.0.0.1:10248/healthz")
			}
		}
		if err != nil {
			return errors.Join(err, pause(ctx, 200*time.Millisecond))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.Remove(c.path(k.name, disturbed))
}

// cordon closes a machine to new pods, or opens it.
func (k *cluster) cordon(ctx context.Context, node string, closed bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%v}}`, closed)
	_, err := k.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return err
}

// drainWithin is how long disruption budgets may make a drain wait.
const drainWithin = time.Minute

// drain does what kubectl drain does.
func (s *stage) drain(ctx context.Context) error {
	if err := s.disturb("the worker was drained"); err != nil {
		return err
	}
	if err := s.cluster.cordon(ctx, s.worker(), true); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, drainWithin, fmt.Errorf("not within %s", drainWithin))
	defer cancel()
	return environment.Until(ctx, s.worker()+" is drained", func(ctx context.Context) error {
		left, err := s.movable(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		errs := []error{fmt.Errorf("%d pods are left on it", len(left))}
		for _, p := range left {
			if p.DeletionTimestamp != nil {
				continue
			}
			err := s.cluster.client.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
			if err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
		return errors.Join(append(errs, pause(ctx, 200*time.Millisecond))...)
	})
}

// movable are the pods on the worker that a drain moves: all but those that each machine has.
func (s *stage) movable(ctx context.Context) ([]corev1.Pod, error) {
	list, err := s.cluster.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + s.worker()})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		by := metav1.GetControllerOf(&p)
		return by != nil && (by.Kind == "DaemonSet" || by.Kind == "Node") || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}), nil
}

func (s *stage) kubelet(ctx context.Context, what string) error {
	if err := s.disturb("the kubelet of the worker was stopped"); err != nil {
		return err
	}
	_, err := docker(ctx, "exec", s.worker(), "systemctl", what, "kubelet")
	return err
}

func (s *stage) workerNow(ctx context.Context) (w fault.Worker, err error) {
	n, err := s.cluster.client.CoreV1().Nodes().Get(ctx, s.worker(), metav1.GetOptions{})
	if err != nil {
		return w, err
	}
	left, err := s.movable(ctx)
	if err != nil {
		return w, err
	}
	// The node's own status is older than the kubelet by most of a minute. What is not active makes systemctl end with an error.
	is, err := docker(ctx, "exec", s.worker(), "sh", "-c", "curl -fsm 1 http://127.0.0.1:10248/healthz || systemctl is-active kubelet || true")
	if err != nil {
		return w, err
	}
	w = fault.Worker{Name: "the worker", Open: !n.Spec.Unschedulable, Pods: len(left), Kubelet: fault.State(is), Ready: nodeReady(n)}
	switch is {
	case "ok":
		w.Kubelet = fault.Running
	case "inactive", "failed":
		w.Kubelet = fault.Gone
	}
	return w, nil
}

// The API server.

func (s *stage) signalAPI(ctx context.Context, signal string) error {
	if err := s.disturb("the API server was paused"); err != nil {
		return err
	}
	_, err := docker(ctx, "exec", s.cluster.nodes[0], "pkill", "-"+signal, "-x", "kube-apiserver")
	return err
}

// api looks at the process, and asks it.
func (s *stage) api(ctx context.Context) (is fault.State, silent string, err error) {
	text, err := docker(ctx, "exec", s.cluster.nodes[0], "sh", "-c", "ps -o stat= -C kube-apiserver || true")
	if err != nil {
		return "", "", err
	}
	switch {
	case text == "":
		is = fault.Gone
	case strings.HasPrefix(text, "T"):
		is = fault.Paused
	default:
		is = fault.Running
	}
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := s.cluster.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(asking); err != nil {
		return is, err.Error(), ctx.Err()
	}
	return is, "", nil
}

// The quota of pods.

const quotaName = "backout-used-up"

func (s *stage) limitPods(ctx context.Context) error {
	list, err := s.cluster.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	n := 0
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed { // what has ended does not count
			n++
		}
	}
	q := &corev1.ResourceQuota{ObjectMeta: named(quotaName), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(int64(n), resource.DecimalSI)}}}
	_, err = s.cluster.client.CoreV1().ResourceQuotas(s.namespace).Create(ctx, q, metav1.CreateOptions{})
	return err
}

func (s *stage) unlimitPods(ctx context.Context) error {
	err := s.cluster.client.CoreV1().ResourceQuotas(s.namespace).Delete(ctx, quotaName, metav1.DeleteOptions{})
	if gone(err) {
		return nil
	}
	return err
}

// podLimit tries before it looks at the quota, since pods go in between.
func (s *stage) podLimit(ctx context.Context) (l fault.PodLimit, err error) {
	p := &corev1.Pod{ObjectMeta: named("one-more"), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "one-more", Image: "one-more"}}}}
	_, err = s.cluster.client.CoreV1().Pods(s.namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	refused := apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
	if refused {
		l.Refused = err.Error()
	} else if err != nil {
		return l, err
	}
	q, err := s.cluster.client.CoreV1().ResourceQuotas(s.namespace).Get(ctx, quotaName, metav1.GetOptions{})
	if gone(err) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	used, hard := q.Status.Used[corev1.ResourcePods], q.Status.Hard[corev1.ResourcePods]
	l.Used, l.Hard = int(used.Value()), int(hard.Value())
	if !refused && l.Hard > 0 && l.Used >= l.Hard {
		return l, fmt.Errorf("one more pod was let in, and then %d of %d were there", l.Used, l.Hard)
	}
	return l, nil
}

// Disruption budgets.

// kept is the annotation that has what a budget allowed before, or that it was not there.
const kept = "backout.io/before"

// budgets are those of the pods of a service.
func (s *stage) budgets(ctx context.Context, name string) ([]policyv1.PodDisruptionBudget, error) {
	p, err := s.oldest(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := s.cluster.client.PolicyV1().PodDisruptionBudgets(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(b policyv1.PodDisruptionBudget) bool {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		return err != nil || !selector.Matches(labels.Set(p.Labels))
	}), nil
}

// forbidEviction changes the budgets that there are: of a pod that two budgets are about, none is evicted but by mistake.
func (s *stage) forbidEviction(ctx context.Context, name string) error {
	found, err := s.budgets(ctx, name)
	if err != nil {
		return err
	}
	api, none := s.cluster.client.PolicyV1().PodDisruptionBudgets(s.namespace), intstr.FromInt32(0)
	for _, b := range found {
		if _, is := b.Annotations[kept]; is {
			continue
		}
		if b.Annotations == nil {
			b.Annotations = map[string]string{}
		}
		b.Annotations[kept] = "min"
		value := b.Spec.MinAvailable
		if value == nil {
			b.Annotations[kept], value = "max", b.Spec.MaxUnavailable
		}
		if value != nil {
			b.Annotations[kept] += " " + value.String()
		}
		b.Spec.MinAvailable, b.Spec.MaxUnavailable = nil, &none
		if _, err := api.Update(ctx, &b, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return nil
	}
	of, err := s.service(name)
	if err != nil {
		return err
	}
	selector, err := metav1.ParseToLabelSelector(of.Kubernetes.Pods)
	if err != nil {
		return err
	}
	b := &policyv1.PodDisruptionBudget{ObjectMeta: named("backout-" + name), Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: selector}}
	b.Annotations = map[string]string{kept: "none"}
	_, err = api.Create(ctx, b, metav1.CreateOptions{})
	return err
}

func (s *stage) allowEviction(ctx context.Context, _ string) error {
	api := s.cluster.client.PolicyV1().PodDisruptionBudgets(s.namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, b := range list.Items {
		before, is := b.Annotations[kept]
		if !is {
			continue
		}
		what, text, _ := strings.Cut(before, " ")
		if what == "none" {
			if err := api.Delete(ctx, b.Name, metav1.DeleteOptions{}); err != nil && !gone(err) {
				return err
			}
			continue
		}
		b.Spec.MinAvailable, b.Spec.MaxUnavailable = nil, nil
		if value := intstr.Parse(text); text != "" && what == "min" {
			b.Spec.MinAvailable = &value
		} else if text != "" {
			b.Spec.MaxUnavailable = &value
		}
		delete(b.Annotations, kept)
		if _, err := api.Update(ctx, &b, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) mayEvict(ctx context.Context, name string) (refused string, err error) {
	p, err := s.oldest(ctx, name)
	if err != nil {
		return "", err
	}
	err = s.cluster.client.PolicyV1().Evictions(s.namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: s.namespace},
		DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}})
	if apierrors.IsTooManyRequests(err) {
		return err.Error(), nil
	}
	return "", err
}
