package kubernetes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"backout/harness/evidence"
	"backout/harness/service"
)

// watched is pods with nothing behind them, and what they have told.
func watched() (*pods, *[]string) {
	of := &service.Service{Name: "shop", Kubernetes: &service.Kubernetes{Port: 8080}}
	var told []string
	p := &pods{services: []*service.Service{of}, selectors: map[*service.Service]labels.Selector{of: labels.SelectorFromSet(labels.Set{"app": "shop"})},
		known: map[string]*pod{}, endpoints: map[string]map[string][]string{}, told: map[string]string{}}
	p.put = func(k evidence.Kind) {
		switch k := k.(type) {
		case *evidence.Pod:
			told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s %s", k.Name, k.Event, k.Reason)))
		case *evidence.Endpoints:
			told = append(told, fmt.Sprintf("%s: %s", k.Service, strings.Join(k.Pods, " ")))
		}
	}
	return p, &told
}

func TestWhatTheWatchTellsOfAPod(t *testing.T) {
	p, told := watched()
	now := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Labels: map[string]string{"app": "shop"}}}
	step := func(change func()) { change(); p.pod(now); p.pod(now) } // twice: a relist says again what was said
	waiting := func(why string) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: why}}}}
	}
	running := func(restarts int32) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{{RestartCount: restarts, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	}
	is := func(s corev1.ConditionStatus) []corev1.PodCondition {
		return []corev1.PodCondition{{Type: corev1.PodReady, Status: s}}
	}
	step(func() {})
	step(func() { now.Spec.NodeName = "node" })
	step(func() { now.Status.ContainerStatuses = waiting("ContainerCreating") })
	step(func() { now.Status.ContainerStatuses = waiting("ImagePullBackOff") })
	step(func() { now.Status.ContainerStatuses = running(0) })
	step(func() { now.Status.Conditions = is(corev1.ConditionTrue) })
	step(func() { now.Status.Conditions = is(corev1.ConditionFalse) })
	step(func() { now.Status.ContainerStatuses = running(1) })
	step(func() { now.Status.Conditions = is(corev1.ConditionTrue) })
	step(func() { now.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
	if len(p.instances()) != 1 {
		t.Error("a pod that is being deleted is asked until it is gone")
	}
	p.deleted(now)
	p.deleted(now)
	if len(p.instances()) != 0 {
		t.Error("a pod that is gone is still asked")
	}
	p.pod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other-1", Labels: map[string]string{"app": "other"}}})
	want := []string{"shop-1 created", "shop-1 scheduled", "shop-1 failing ImagePullBackOff", "shop-1 started", "shop-1 ready", "shop-1 unready",
		"shop-1 restarted", "shop-1 ready", "shop-1 deleting", "shop-1 deleted"}
	if !slices.Equal(*told, want) {
		t.Errorf("expected %q\nfound    %q", want, *told)
	}
}

// A StatefulSet gives the next pod the same name: it is another pod.
func TestANameThatComesAgain(t *testing.T) {
	p, told := watched()
	now := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "shop-0", Labels: map[string]string{"app": "shop"}}}
	p.pod(now)
	now.Status.Phase = corev1.PodSucceeded // it has ended, and is spoken of until it is removed
	p.pod(now)
	p.pod(now)
	p.deleted(now)
	next := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "shop-0", UID: "another", Labels: map[string]string{"app": "shop"}}}
	p.pod(next)
	if want := []string{"shop-0 created", "shop-0 deleted Succeeded", "shop-0 created"}; !slices.Equal(*told, want) {
		t.Errorf("expected %q, found %q", want, *told)
	}
}

func TestToWhomAServiceSends(t *testing.T) {
	p, told := watched()
	yes, no := true, false
	slice := func(name, of string, pods map[string]*bool) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: of}}}
		for pod, ready := range pods {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: pod}, Conditions: discoveryv1.EndpointConditions{Ready: ready}})
		}
		return s
	}
	p.slice(slice("a", "shop", map[string]*bool{"shop-1": &yes, "shop-2": &no}), false)
	p.slice(slice("a", "shop", map[string]*bool{"shop-1": &yes, "shop-2": &no}), false) // nothing new
	p.slice(slice("b", "shop", map[string]*bool{"shop-3": nil}), false)
	p.slice(slice("c", "other", map[string]*bool{"other-1": &yes}), false)
	p.slice(slice("a", "shop", nil), true)
	if want := []string{"shop: shop-1", "shop: shop-1 shop-3", "shop: shop-3"}; !slices.Equal(*told, want) {
		t.Errorf("expected %q, found %q", want, *told)
	}
}
