package kubernetes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// A definition belongs to no namespace, so one that is not called after the drill's would be everybody's.
func TestDefinitionsAreOfTheDrillAlone(t *testing.T) {
	definition := func(group string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: alarms." + group + "}\nspec: {group: " + group + "}\n"
	}
	for name, c := range map[string]struct{ text, wrong string }{
		"of the drill's namespace":      {text: definition("${NAMESPACE}.example")},
		"two of them":                   {text: definition("${NAMESPACE}.example") + "---\n" + definition("${NAMESPACE}.test")},
		"of everybody":                  {text: definition("example.com"), wrong: `expected a group that begins with ${NAMESPACE}`},
		"of another drill's namespace":  {text: definition("drill-12.example"), wrong: `found "drill-12.example"`},
		"no definition":                 {text: "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", wrong: "expected a CustomResourceDefinition of apiextensions.k8s.io/v1, found a Secret of v1"},
		"of another kind of definition": {text: "apiVersion: x.example/v1\nkind: CustomResourceDefinition\n", wrong: "of x.example/v1"},
		"no YAML":                       {text: "{", wrong: "alarms.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alarms.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			all, err := readDefinitions(path, map[string]string{"namespace": "drill-1"})
			says(t, err, c.wrong)
			for _, d := range all {
				if c.wrong == "" && d.GetName() != "alarms.drill-1.example" && d.GetName() != "alarms.drill-1.test" {
					t.Errorf("found %s", d.GetName())
				}
			}
			if c.wrong == "" && len(all) == 0 {
				t.Error("found none")
			}
		})
	}
}

const aDefinition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: "alarms.${NAMESPACE}.example"}
spec:
  group: ${NAMESPACE}.example
  scope: Namespaced
  names: {plural: alarms, singular: alarm, kind: Alarm, listKind: AlarmList}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func TestDefinitionsAreLentAndGoWithTheirRunInACluster(t *testing.T) {
	k, o := realCluster(t)
	definitionsAreLent(t, k, o.Namespace)
}

// definitionsAreLent makes the definitions of two runs. Who deploys in the namespace of the first may change those of that and no others,
// and they go with what is of their kind.
func definitionsAreLent(t *testing.T, k *cluster, namespace string) {
	other := namespace + "-2"
	if _, err := k.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "alarms.yaml")
	if err := os.WriteFile(path, []byte(aDefinition), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{namespace, other} {
		t.Cleanup(func() {
			if err := k.removeDefinitions(context.Background(), "of-"+ns); err != nil {
				t.Error(err)
			}
			_ = k.client.CoreV1().Namespaces().Delete(context.Background(), ns, metav1.DeleteOptions{})
		})
		if err := k.define(t.Context(), "of-"+ns, ns, []string{path}); err != nil {
			t.Fatal(err)
		}
	}
	as := rest.CopyConfig(k.rest)
	as.Impersonate.UserName = "system:serviceaccount:" + namespace + ":" + operatorName
	operator, err := dynamic.NewForConfig(as)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := dynamic.NewForConfig(k.rest)
	if err != nil {
		t.Fatal(err)
	}
	alarms := func(ns string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: ns + ".example", Version: "v1", Resource: "alarms"}
	}
	patch := func(name string) error {
		_, err := operator.Resource(definitionKind).Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"names":{"shortNames":["al"]}}}`), metav1.PatchOptions{})
		return err
	}
	make := func(in dynamic.Interface, ns string) error {
		_, err := in.Resource(alarms(ns)).Namespace(ns).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": ns + ".example/v1", "kind": "Alarm", "metadata": map[string]any{"name": "one"}}}, metav1.CreateOptions{})
		return err
	}
	all, err := readDefinitions(path, map[string]string{"namespace": namespace + "-3"})
	if err != nil {
		t.Fatal(err)
	}
	_, created := operator.Resource(definitionKind).Create(t.Context(), all[0], metav1.CreateOptions{})
	for _, c := range []struct {
		what  string
		err   error
		wrong string
	}{
		{"change its definition", patch("alarms." + namespace + ".example"), ""},
		{"change another drill's", patch("alarms." + other + ".example"), "is forbidden"},
		{"make another one", created, "is forbidden"},
		{"delete its own", operator.Resource(definitionKind).Delete(t.Context(), "alarms."+namespace+".example", metav1.DeleteOptions{}), "is forbidden"},
		{"make an object of it", make(operator, namespace), ""},
		{"make one of another drill's", make(operator, other), "is forbidden"},
		{"make one there as its owner", make(owner, other), ""},
	} {
		if c.wrong == "" && c.err != nil || c.wrong != "" && (c.err == nil || !strings.Contains(c.err.Error(), c.wrong)) {
			t.Errorf("%s: expected %q, found %v", c.what, c.wrong, c.err)
		}
	}
	if err := k.removeDefinitions(t.Context(), "of-"+namespace); err != nil {
		t.Fatal(err)
	}
	left := func(ns string) (n int) {
		t.Helper()
		labelled := metav1.ListOptions{LabelSelector: Label + "=of-" + ns}
		definitions, err1 := owner.Resource(definitionKind).List(t.Context(), labelled)
		roles, err2 := k.client.RbacV1().ClusterRoles().List(t.Context(), labelled)
		bindings, err3 := k.client.RbacV1().ClusterRoleBindings().List(t.Context(), labelled)
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return len(definitions.Items) + len(roles.Items) + len(bindings.Items)
	}
	if mine, theirs := left(namespace), left(other); mine != 0 || theirs != 3 {
		t.Errorf("expected that what was the run's has gone and another one's has not, found %d and %d", mine, theirs)
	}
}
