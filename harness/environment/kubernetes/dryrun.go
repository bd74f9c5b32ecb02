package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// dry is for requests that the API server checks and does not carry out.
var dry = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// rehearse sends all that will be made at first to the API server, which checks it and makes nothing, and counts the pods. What
// refuses it there, admission, quota, a name that is taken, stops the drill with nothing begun.
func (s *stage) rehearse(ctx context.Context) (pods int, err error) {
	own, err := s.rehearseOwn(ctx)
	if err != nil {
		return 0, err
	}
	many, err := nodes(ctx, s.there.client)
	if err != nil {
		return 0, err
	}
	pods = own
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		objects, err := s.rehearseService(ctx, of)
		if err != nil {
			return 0, fmt.Errorf("dry run of %s %s, on the server: %w", of.Name, wiring.Release(s.need, of).Name, err)
		}
		pods += plannedPods(objects, many)
	}
	return pods, nil
}

// rehearseOwn does it for the harness's own parts, with images and secrets that stand for the real ones.
func (s *stage) rehearseOwn(ctx context.Context) (pods int, err error) {
	k, ns := s.cluster.client, s.namespace
	var errs []error
	check := func(kind, name string, err error) {
		if apierrors.IsAlreadyExists(err) {
			err = errors.New("there is one already, which a drill neither needs nor changes: take another namespace; if a drill left it, `backout clean` where that ran removes it")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("dry run of the %s %s, on the server: %w", kind, name, err))
		}
	}
	part := func(name string, volume bool) {
		_, err := k.CoreV1().Secrets(ns).Create(ctx, secret(name, nil), dry)
		check("Secret", name, err)
		_, err = k.CoreV1().Services(ns).Create(ctx, reached(name, map[int]int{controlPort: 0}), dry)
		check("Service", name, err)
		pod := s.container(name, "backout/dry-run:v1", nil, nil)
		if volume {
			set := stateful(name, pod)
			_, err := k.AppsV1().StatefulSets(ns).Create(ctx, set, dry)
			check("StatefulSet", name, err)
			pod = set.Spec.Template.Spec
			pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "data"}) // which its claim stands for
		} else {
			_, err := k.AppsV1().Deployments(ns).Create(ctx, deployed(name, pod), dry)
			check("Deployment", name, err)
		}
		// Admission looks at pods, and would stop those of a Deployment much later.
		_, err = k.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: named(name), Spec: pod}, dry)
		check("pod", name, err)
		pods++
	}
	for _, role := range wiring.Roles(s.need) {
		part(role, true)
	}
	if len(wiring.Caches(s.need)) > 0 {
		part("cache", false)
	}
	part("gateway", false)
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		for _, name := range []string{environmentOf(of), adminOf(of)} {
			_, err := k.CoreV1().Secrets(ns).Create(ctx, secret(name, nil), dry)
			check("Secret", name, err)
		}
	}
	return pods, errors.Join(errs...)
}

// rehearseService does it for the good release of a service, by the command lines that will deploy it.
func (s *stage) rehearseService(ctx context.Context, of *service.Service) ([]unstructured.Unstructured, error) {
	dir := filepath.Join(s.workshop.Dir(), "dry-run", of.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, dir, of, wiring.Release(s.need, of)); err != nil {
		return nil, err
	}
	manifests := "manifests"
	if of.Kubernetes.Chart != "" {
		if s.there.before[objectName("", "secrets", "sh.helm.release.v1."+of.Name+".v1")] {
			return nil, fmt.Errorf("a release of Helm that is called %s is there already, which a drill does not change: take another namespace", of.Name)
		}
		if err := s.rendered(ctx, dir, of.Name); err != nil {
			return nil, err
		}
		manifests = "rendered"
	}
	// kubectl shows what would become of each object. Helm's own dry run renders, and checks little.
	out, err := s.output(ctx, dir, "kubectl", "apply", "--dry-run=server", "-o", "json", "-R", "-f", manifests)
	if err != nil {
		return nil, err
	}
	objects, err := objectsOf(out)
	if err != nil {
		return nil, err
	}
	return objects, s.there.untouched(objects)
}

// rendered writes what a chart and its hooks come to into the folder rendered.
func (s *stage) rendered(ctx context.Context, dir, name string) error {
	out, err := s.output(ctx, dir, "helm", "upgrade", "--install", name, "chart", "-f", "values.yaml", "--dry-run=server", "-o", "json")
	if err != nil {
		return err
	}
	var release struct {
		Manifest string
		Hooks    []struct{ Manifest string }
	}
	if err := json.Unmarshal(out, &release); err != nil {
		return fmt.Errorf("read what helm upgrade --dry-run=server says: %w", err)
	}
	text := release.Manifest
	for _, hook := range release.Hooks {
		text += "\n---\n" + hook.Manifest
	}
	if err := os.MkdirAll(filepath.Join(dir, "rendered"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "rendered", "all.yaml"), []byte(text), 0o600)
}

// objectsOf reads what kubectl -o json prints: an object, a list of them, or several of these.
func objectsOf(text []byte) (all []unstructured.Unstructured, err error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4<<10)
	for {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); err != nil {
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			return nil, fmt.Errorf("read what kubectl apply --dry-run=server says: %w", err)
		}
		if !o.IsList() {
			all = append(all, o)
			continue
		}
		list, err := o.ToList()
		if err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
	}
}

// untouched says which of the objects that would be applied are there already.
func (t *existing) untouched(objects []unstructured.Unstructured) error {
	var errs []error
	for _, o := range objects {
		resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		name := objectName(resource.Group, resource.Resource, o.GetName())
		if t.before[name] {
			errs = append(errs, fmt.Errorf("%s is in the namespace %s already, and a drill changes nothing that was there before: take another namespace", name, o.GetNamespace()))
		}
	}
	return errors.Join(errs...)
}

// freeNodePort is one that the API server would grant now. Were the choice left to it, each time that a manifest is applied
// again it would ask for another one and change the Service. 0: it grants none of ours, and chooses.
func (s *stage) freeNodePort(ctx context.Context) int {
	for range 5 {
		port := 30000 + rand.IntN(2768)
		_, err := s.cluster.client.CoreV1().Services(s.namespace).Create(ctx, reached("gateway", map[int]int{controlPort: port}), dry)
		if err == nil {
			return port
		}
		if !strings.Contains(err.Error(), "already allocated") {
			return 0
		}
	}
	return 0
}
