package kubernetes

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/containers"
	"backout/harness/service"
)

// argoNamespace is where Argo CD is, once in a cluster: it stays there with it.
const argoNamespace = "argocd"

// argoRecipe is the annotation of that namespace that says that all is there, and of what it was made.
const argoRecipe = "backout.io/recipe"

// argoSettings go in before Argo CD's own manifests, and stay beside what those say. Without a server of its API there is nobody
// whom a repository could call: the controller asks every 10 s, in place of its 2 to 3 min, of a cache that is as old at most
// (18 s from a commit until it was detected were seen), and whoever pushes may ask it to look at once, by an annotation, as that server does when it is called.
const argoSettings = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + argoNamespace + `
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: ` + argoNamespace + `
data:
  timeout.reconciliation: 10s
  timeout.reconciliation.jitter: 0s
`

var (
	applicationKind    = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	applicationSetKind = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
	projectKind        = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "appprojects"}
)

// argoCD installs Argo CD's application controller, repository server, controller of ApplicationSets and Redis, unless they are
// there.
func (s *stage) argoCD(ctx context.Context) error {
	k := s.cluster
	waiting := func() { s.Say("waiting for another run that installs Argo CD in the cluster " + k.name) }
	lock, err := artefact.LockFile(ctx, s.clusters.path(k.name, argoLock), unix.LOCK_EX, waiting)
	if err != nil {
		return err
	}
	defer lock.Close()
	image := containers.ArgoCD(ctx)
	manifests, err := docker(ctx, "run", "--rm", "--network=none", "--entrypoint=cat", image, "/core-install.yaml")
	if err != nil {
		return fmt.Errorf("the manifests of Argo CD: run make images-kubernetes: %w", err)
	}
	recipe := fmt.Sprintf("%x", sha256.Sum256([]byte(argoSettings+manifests)))[:16]
	is, err := k.client.CoreV1().Namespaces().Get(ctx, argoNamespace, metav1.GetOptions{})
	if err != nil && !gone(err) {
		return err
	}
	if err != nil || is.Annotations[argoRecipe] != recipe {
		s.Say("installing Argo CD in the cluster " + k.name + ", which takes half a minute; it stays for later drills")
		if err := s.images.bring(ctx, image, ""); err != nil {
			return err
		}
		if err := s.applyArgoCD(ctx, manifests); err != nil {
			return fmt.Errorf("install Argo CD: %w", err)
		}
	}
	if err := environment.Until(ctx, "Argo CD is ready", k.argoIsReady); err != nil {
		return err
	}
	if err == nil && is.Annotations[argoRecipe] == recipe {
		return nil
	}
	if err := s.firstLogin(ctx); err != nil {
		return fmt.Errorf("install Argo CD: %w", err)
	}
	_, err = k.client.CoreV1().Namespaces().Patch(ctx, argoNamespace, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, argoRecipe, recipe), metav1.PatchOptions{})
	return err
}

// argoLock is not the ending of the locks by which clusters are known.
const argoLock = ".argocd"

func (s *stage) applyArgoCD(ctx context.Context, manifests string) error {
	dir, err := os.MkdirTemp(s.workshop.Dir(), "argocd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// One of its definitions is too large for the annotation that apply leaves otherwise.
	apply := []string{"kubectl", "--kubeconfig", s.clusters.path(s.cluster.name, ".kubeconfig"), "--namespace", argoNamespace, "apply", "--server-side"}
	for _, part := range []struct{ name, text string }{{"backout", argoSettings}, {"argocd", manifests}} {
		path := filepath.Join(dir, part.name+".yaml")
		if err := os.WriteFile(path, []byte(part.text), 0o600); err != nil {
			return err
		}
		if err := s.command(ctx, dir, append(apply, "--field-manager=backout-"+part.name, "--force-conflicts", "-f", path)...); err != nil {
			return err
		}
	}
	return nil
}

// firstLogin makes the keys that argocd --core makes when it finds none, for which whoever deploys would need more rights.
func (s *stage) firstLogin(ctx context.Context) error {
	c, err := clientcmd.LoadFromFile(s.clusters.path(s.cluster.name, ".kubeconfig"))
	if err != nil {
		return err
	}
	c.Contexts[c.CurrentContext].Namespace = argoNamespace
	path := filepath.Join(s.workshop.Dir(), "kubeconfig-first-login")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return err
	}
	defer os.Remove(path)
	return s.command(ctx, s.workshop.Dir(), "sh", "-c", `KUBECONFIG=$0 argocd app list --core`, path)
}

// argoIsReady says what is missing until commits are brought to the cluster.
func (k *cluster) argoIsReady(ctx context.Context) error {
	apps := k.client.AppsV1()
	controller, err := apps.StatefulSets(argoNamespace).Get(ctx, "argocd-application-controller", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if controller.Status.ReadyReplicas == 0 {
		return errors.Join(errors.New("its application controller is not"), pause(ctx, argoPause))
	}
	for _, name := range []string{"argocd-repo-server", "argocd-redis", "argocd-applicationset-controller"} {
		d, err := apps.Deployments(argoNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ReadyReplicas == 0 {
			return errors.Join(errors.New(name+" is not"), pause(ctx, argoPause))
		}
	}
	return nil
}

const argoPause = 100 * time.Millisecond // between two questions

// application is what a service is to Argo CD.
func (s *stage) application(of *service.Service) string { return s.namespace + "-" + of.Name }

// ofNamespace are the labels of all that a drill has in Argo CD's namespace.
func ofNamespace(namespace string) map[string]any { return map[string]any{namespaceLabel: namespace} }

const namespaceLabel = "backout.namespace"

// object of Argo CD.
func object(kind, name, namespace string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "spec": spec,
		"metadata": map[string]any{"name": name, "namespace": argoNamespace, "labels": ofNamespace(namespace)},
	}}
}

// applications tells Argo CD to bring the cluster to what is in the repository, in the drill's namespace alone, and waits until
// it has. One service is an Application; several are those of an ApplicationSet, one for each folder.
func (s *stage) applications(ctx context.Context) error {
	client, err := dynamic.NewForConfig(s.cluster.rest)
	if err != nil {
		return err
	}
	if err := s.argoOperator(ctx); err != nil {
		return err
	}
	create := func(kind schema.GroupVersionResource, o *unstructured.Unstructured) error {
		if _, err := client.Resource(kind).Namespace(argoNamespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make the %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		return nil
	}
	const here = "https://kubernetes.default.svc" // the cluster that Argo CD is in
	project := map[string]any{
		"description":                "a rollback drill of Backout",
		"sourceRepos":                []any{s.repositoryInside()},
		"destinations":               []any{map[string]any{"server": here, "namespace": s.namespace}},
		"clusterResourceWhitelist":   []any{}, // nothing but in the namespace
		"namespaceResourceWhitelist": []any{map[string]any{"group": "*", "kind": "*"}},
	}
	if err := create(projectKind, object("AppProject", s.namespace, s.namespace, project)); err != nil {
		return err
	}
	spec := func(path string) map[string]any {
		return map[string]any{
			"project":     s.namespace,
			"source":      map[string]any{"repoURL": s.repositoryInside(), "targetRevision": branch, "path": path},
			"destination": map[string]any{"server": here, "namespace": s.namespace},
			// A sync that has failed is over: while it is tried again, five times unless stated, no other commit is applied.
			"syncPolicy": map[string]any{"automated": map[string]any{"prune": true, "selfHeal": true}, "retry": map[string]any{"limit": int64(0)}},
		}
	}
	all := s.delivered()
	if len(all) == 1 {
		err = create(applicationKind, object("Application", s.application(all[0]), s.namespace, spec(all[0].Name)))
	} else {
		labels := ofNamespace(s.namespace)
		err = create(applicationSetKind, object("ApplicationSet", s.namespace, s.namespace, map[string]any{
			"goTemplate": true,
			// A folder a service. When the set goes, what its Applications have made stays: it goes with the namespace.
			"syncPolicy": map[string]any{"preserveResourcesOnDeletion": true},
			"generators": []any{map[string]any{"git": map[string]any{"repoURL": s.repositoryInside(), "revision": branch, "directories": []any{map[string]any{"path": "*"}}}}},
			"template":   map[string]any{"metadata": map[string]any{"name": s.namespace + "-{{.path.basename}}", "labels": labels}, "spec": spec("{{.path.path}}")},
		}))
	}
	if err != nil {
		return err
	}
	for _, of := range all {
		name := s.application(of)
		err := environment.Until(ctx, "Argo CD has applied "+of.Name, func(ctx context.Context) error {
			o, err := client.Resource(applicationKind).Namespace(argoNamespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return errors.Join(err, pause(ctx, argoPause))
			}
			if a := read(o); a.sync != "Synced" || a.health != "Healthy" {
				return errors.Join(errors.New(a.text()), pause(ctx, argoPause))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// argoKubeconfig is as kubeconfig, and its namespace is Argo CD's: argocd --core takes it from there.
func (s *stage) argoKubeconfig() string { return filepath.Join(s.workshop.Dir(), "kubeconfig-argocd") }

// argoOperator lets who deploys and rolls back see what argocd --core looks at, and change the Applications of the drill.
func (s *stage) argoOperator(ctx context.Context) error {
	meta := metav1.ObjectMeta{Name: s.namespace, Namespace: argoNamespace, Labels: map[string]string{namespaceLabel: s.namespace}}
	var own []string
	for _, of := range s.delivered() {
		own = append(own, s.application(of))
	}
	see := []string{"get", "list", "watch"}
	api := s.cluster.client.RbacV1()
	if _, err := api.Roles(argoNamespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"argoproj.io"}, Resources: []string{"applications"}, Verbs: []string{"update", "patch"}, ResourceNames: own},
		{APIGroups: []string{"argoproj.io"}, Resources: []string{"applications", "applicationsets", "appprojects"}, Verbs: see},
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "services", "pods"}, Verbs: see},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
	}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the role of who deploys, in Argo CD's namespace: %w", err)
	}
	_, err := api.RoleBindings(argoNamespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta,
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: operatorName, Namespace: s.namespace}},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: meta.Name}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("bind the role of who deploys, in Argo CD's namespace: %w", err)
	}
	c, err := clientcmd.LoadFromFile(s.kubeconfig())
	if err != nil {
		return err
	}
	c.Contexts[c.CurrentContext].Namespace = argoNamespace
	return clientcmd.WriteToFile(*c, s.argoKubeconfig())
}

// removeApplications takes away what a drill has in Argo CD's namespace, and nothing of what that has made: it is in the drill's
// own namespace, and goes with it.
func (k *cluster) removeApplications(ctx context.Context, namespace string) error {
	if _, err := k.client.CoreV1().Namespaces().Get(ctx, argoNamespace, metav1.GetOptions{}); err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	client, err := dynamic.NewForConfig(k.rest)
	if err != nil {
		return err
	}
	labelled := metav1.ListOptions{LabelSelector: namespaceLabel + "=" + namespace}
	// The set first: it would make its Applications anew.
	for _, kind := range []schema.GroupVersionResource{applicationSetKind, applicationKind, projectKind} {
		all := client.Resource(kind).Namespace(argoNamespace)
		err := environment.Until(ctx, "the "+kind.Resource+" of "+namespace+" are gone", func(ctx context.Context) error {
			list, err := all.List(ctx, labelled)
			if gone(err) || err == nil && len(list.Items) == 0 {
				return nil // or Argo CD was never installed whole
			}
			if err != nil {
				return err
			}
			errs := []error{fmt.Errorf("%d are there", len(list.Items))}
			for _, o := range list.Items {
				// A finalizer would have Argo CD remove what the Application has made, one by one.
				if len(o.GetFinalizers()) > 0 {
					_, err := all.Patch(ctx, o.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
					if err != nil && !gone(err) {
						errs = append(errs, err)
					}
				}
				if err := all.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !gone(err) {
					errs = append(errs, err)
				}
			}
			return errors.Join(append(errs, pause(ctx, argoPause))...)
		})
		if err != nil {
			return err
		}
	}
	api := k.client.RbacV1()
	return errors.Join(
		api.RoleBindings(argoNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, labelled),
		api.Roles(argoNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, labelled),
	)
}
