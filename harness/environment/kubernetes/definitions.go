package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"backout/harness/environment"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// definitionsName is what belongs to the definitions of a drill.
const definitionsName = "backout-definitions"

var definitionKind = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// Defines says whether a release has definitions of kinds, which belong to no namespace.
func Defines(r *service.Release) bool { return len(definitionFiles(r)) > 0 }

func definitionFiles(r *service.Release) []string {
	if r == nil || r.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(r.Dir, "definitions"))
	if err != nil {
		return nil // it has none
	}
	var all []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") {
			all = append(all, filepath.Join(r.Dir, "definitions", e.Name()))
		}
	}
	return all
}

// define makes the definitions of the good releases.
func (s *stage) define(ctx context.Context) error {
	var files []string
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		files = append(files, definitionFiles(wiring.Release(s.need, of))...)
	}
	if len(files) == 0 {
		return nil
	}
	return s.cluster.define(ctx, s.workshop.Token(), s.namespace, files)
}

// define makes CustomResourceDefinitions, as whoever owns a cluster does, and lets who deploys and rolls back in a namespace use what they
// define and change these and no others. They belong to no namespace, so each is of a group that is called after this one: drills side by
// side do not meet, and the run's label says whose it is.
func (k *cluster) define(ctx context.Context, run, namespace string, files []string) error {
	client, err := dynamic.NewForConfig(k.rest)
	if err != nil {
		return err
	}
	var names, groups []string
	for _, path := range files {
		all, err := readDefinitions(path, map[string]string{"namespace": namespace})
		if err != nil {
			return err
		}
		for _, d := range all {
			d.SetLabels(map[string]string{Label: run})
			if _, err := client.Resource(definitionKind).Create(ctx, d, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("%s: make the definition %s: %w", path, d.GetName(), err)
			}
			group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
			names, groups = append(names, d.GetName()), append(groups, group)
		}
	}
	for _, name := range names {
		err := environment.Until(ctx, "the kinds of "+name+" are served", func(ctx context.Context) error {
			d, err := client.Resource(definitionKind).Get(ctx, name, metav1.GetOptions{})
			if err == nil && !established(d) {
				err = errors.New("they are not yet")
			}
			if err != nil {
				return errors.Join(err, pause(ctx, pauseBetween))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(groups)
	return k.lend(ctx, run, namespace, names, slices.Compact(groups))
}

// lend gives who deploys and rolls back the rights on definitions, and on what they define in the namespace.
func (k *cluster) lend(ctx context.Context, run, namespace string, names, groups []string) error {
	api := k.client.RbacV1()
	who := []rbacv1.Subject{{Kind: "ServiceAccount", Name: operatorName, Namespace: namespace}}
	wide := metav1.ObjectMeta{Name: namespace, Labels: map[string]string{Label: run}}
	all := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	_, err1 := api.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: wide, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{definitionKind.Group}, Resources: []string{definitionKind.Resource}, ResourceNames: names, Verbs: []string{"get", "list", "watch", "update", "patch"}},
	}}, metav1.CreateOptions{})
	_, err2 := api.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: wide, Subjects: who,
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: wide.Name}}, metav1.CreateOptions{})
	_, err3 := api.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: named(definitionsName), Rules: []rbacv1.PolicyRule{
		{APIGroups: groups, Resources: []string{"*"}, Verbs: all},
	}}, metav1.CreateOptions{})
	_, err4 := api.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: named(definitionsName), Subjects: who,
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: definitionsName}}, metav1.CreateOptions{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return fmt.Errorf("let who deploys use the definitions: %w", err)
	}
	return nil
}

// readDefinitions reads a file of definitions, each of a group of the drill's own.
func readDefinitions(path string, words map[string]string) (all []*unstructured.Unstructured, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(filledText(string(text), words))), 4<<10)
	for {
		d := &unstructured.Unstructured{}
		if err := decoder.Decode(&d.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
		if d.GetKind() != "CustomResourceDefinition" || d.GroupVersionKind().Group != definitionKind.Group {
			return nil, fmt.Errorf("%s: expected a CustomResourceDefinition of %s/%s, found a %s of %s", path, definitionKind.Group, definitionKind.Version, d.GetKind(), d.GetAPIVersion())
		}
		if own := words["namespace"]; group != own && !strings.HasPrefix(group, own+".") {
			return nil, fmt.Errorf("%s: expected a group that begins with ${NAMESPACE}, since a definition belongs to no namespace and drills run side by side, found %q: write ${NAMESPACE}.example", path, group)
		}
		all = append(all, d)
	}
	return all, nil
}

// established says whether the kinds of a definition can be used.
func established(d *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(d.Object, "status", "conditions")
	for _, c := range conditions {
		if c, is := c.(map[string]any); is && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// removeDefinitions removes what a run has made that belongs to no namespace, and with the definitions all that is of their kinds. It
// comes before the namespace goes, by which a dead run is found.
func (k *cluster) removeDefinitions(ctx context.Context, run string) error {
	client, err := dynamic.NewForConfig(k.rest)
	if err != nil {
		return err
	}
	labelled := metav1.ListOptions{LabelSelector: Label + "=" + run}
	err = environment.Until(ctx, "the definitions of "+run+" are gone", func(ctx context.Context) error {
		list, err := client.Resource(definitionKind).List(ctx, labelled)
		if err == nil && len(list.Items) == 0 {
			return nil
		}
		if err != nil {
			return errors.Join(err, pause(ctx, pauseBetween))
		}
		errs := []error{fmt.Errorf("%d are there", len(list.Items))}
		for _, d := range list.Items {
			if err := client.Resource(definitionKind).Delete(ctx, d.GetName(), metav1.DeleteOptions{}); err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
		return errors.Join(append(errs, pause(ctx, pauseBetween))...)
	})
	api := k.client.RbacV1()
	return errors.Join(err,
		api.ClusterRoleBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, labelled),
		api.ClusterRoles().DeleteCollection(ctx, metav1.DeleteOptions{}, labelled),
	)
}
