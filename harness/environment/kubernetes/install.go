package kubernetes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// operatorName is the account as which releases are deployed and rolled back: it has rights in the drill's namespace alone.
const operatorName = "backout-operator"

// rights are what whoever deploys and rolls back may do. They are the least with which the plans of the samples run; rbac.yaml,
// which people apply to their own namespaces, is made of them.
func rights() []rbacv1.PolicyRule {
	all := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"}, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods/eviction"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create", "get"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets", "replicasets", "controllerrevisions"}, Verbs: all},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale", "statefulsets/scale"}, Verbs: []string{"get", "update", "patch"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: all},
		{APIGroups: []string{"policy"}, Resources: []string{"poddisruptionbudgets"}, Verbs: all},
		{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: all},
	}
}

// turns is what an operator may do in a namespace of kind beside that, to hold a Lease by which rollbacks take turns. In a namespace that
// exists the Leases are others'.
func turns() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}}
}

// operator makes the account and the kubeconfig of the run, whose only context is that account in the drill's namespace.
func (s *stage) operator(ctx context.Context) error {
	api := s.cluster.client
	if _, err := api.CoreV1().ServiceAccounts(s.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: named(operatorName)}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the account of who deploys: %w", err)
	}
	if _, err := api.RbacV1().Roles(s.namespace).Create(ctx, &rbacv1.Role{ObjectMeta: named(operatorName), Rules: append(rights(), turns())}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the role of who deploys: %w", err)
	}
	_, err := api.RbacV1().RoleBindings(s.namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: named(operatorName),
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: operatorName, Namespace: s.namespace}},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: operatorName}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("bind the role of who deploys: %w", err)
	}
	life := int64((12 * time.Hour).Seconds())
	granted, err := api.CoreV1().ServiceAccounts(s.namespace).CreateToken(ctx, operatorName, &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &life}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("get a token of who deploys: %w", err)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["drill"] = &clientcmdapi.Cluster{Server: s.cluster.rest.Host, CertificateAuthorityData: s.cluster.rest.CAData}
	c.AuthInfos["drill"] = &clientcmdapi.AuthInfo{Token: granted.Status.Token}
	c.Contexts["drill"] = &clientcmdapi.Context{Cluster: "drill", AuthInfo: "drill", Namespace: s.namespace}
	c.CurrentContext = "drill"
	return clientcmd.WriteToFile(*c, s.kubeconfig())
}

// install deploys the good release of a service as production would for the first time, and waits until it serves.
func (s *stage) install(ctx context.Context, of *service.Service) error {
	r := wiring.Release(s.need, of)
	dir, err := s.release(ctx, of, r, nil)
	if err != nil {
		return err
	}
	within := cmp.Or(of.ReadyWithin, time.Minute)
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s (service.yaml: ready: {path: %s, within: %s})", within, of.Ready, within))
	defer cancel()
	command := []string{"helm", "upgrade", "--install", of.Name, "chart", "-f", "values.yaml"}
	if of.Kubernetes.Chart == "" {
		command = []string{"kubectl", "apply", "-f", "manifests"}
	}
	if of.Kubernetes.GitOps == "" { // else it was committed
		if err := s.command(ctx, dir, command...); err != nil {
			return fmt.Errorf("install %s %s: %w", of.Name, r.Name, err)
		}
	}
	want := max(1, of.Instances) + of.Kubernetes.Background
	err = s.whilePods(ctx, of, func(ready int) error {
		if ready < want {
			return fmt.Errorf("%d of %d pods are ready", ready, want)
		}
		return answers(ctx, s.outside.URLs[of.Name]+of.Ready)
	})
	if err != nil {
		return fmt.Errorf("install %s %s: %w: %w", of.Name, r.Name, cmp.Or(context.Cause(ctx), err), err)
	}
	return nil
}

// command runs a command of the command line as the plans of this drill run theirs.
func (s *stage) command(ctx context.Context, dir string, words ...string) error {
	_, err := s.output(ctx, dir, words...)
	return err
}

// output is what such a command prints.
func (s *stage) output(ctx context.Context, dir string, words ...string) ([]byte, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("%s is not on PATH: install it, or make tools-kubernetes builds it from its module: %w", words[0], err)
	}
	cmd := exec.CommandContext(ctx, path, words[1:]...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range s.Platform() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cd %s && KUBECONFIG=%s %s: %w\n%s", dir, s.kubeconfig(), strings.Join(words, " "), err, strings.TrimSpace(wrong.String()+out.String()))
	}
	return out.Bytes(), nil
}

// whilePods waits for a number of ready pods of a service; the error says how each pod is.
func (s *stage) whilePods(ctx context.Context, of *service.Service, enough func(ready int) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := enough(s.pods.ready(of))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			texts := []error{err}
			for _, i := range s.pods.instances() {
				if i.Service == of.Name {
					texts = append(texts, errors.New(s.cluster.describe(clean, s.namespace, i.Name)))
				}
			}
			return errors.Join(texts...)
		case <-tick.C:
		}
	}
}
