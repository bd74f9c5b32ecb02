package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// ownRights are what the harness itself does in a namespace that exists, over what who deploys there may do.
func ownRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}}, // its own alone, by a Role in it
		{APIGroups: []string{""}, Resources: []string{"resourcequotas"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}}, // SPDY, WebSocket
		{APIGroups: []string{""}, Resources: []string{"pods/proxy"}, Verbs: []string{"get"}},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update", "delete"}},
	}
}

// needed are all rights of a drill in a cluster that exists, from which RBAC makes its manifest.
func needed() []rbacv1.PolicyRule { return append(rights(), ownRights()...) }

// RBAC is the manifest of an account with the least rights for drills in a namespace.
func RBAC(namespace string) (string, error) {
	const name = "backout"
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace}
	text := fmt.Sprintf("# The least rights with which `backout run --env cluster --namespace %s` runs: kubectl apply -f - applies them.\n"+
		"# A token of the account: kubectl create token %s --namespace %s --duration 12h\n", namespace, name, namespace)
	for _, o := range []any{
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta},
		&rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"}, ObjectMeta: meta, Rules: needed()},
		&rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: meta,
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: namespace}},
			RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name}},
	} {
		out, err := yaml.Marshal(o)
		if err != nil {
			return "", err
		}
		text += "---\n" + string(out)
	}
	return text, nil
}

// right is one that a rule grants.
type right struct{ group, resource, verb string }

func (r right) String() string {
	resource := r.resource
	if r.group != "" {
		name, sub, is := strings.Cut(resource, "/")
		if resource = name + "." + r.group; is {
			resource += "/" + sub
		}
	}
	return r.verb + " " + resource
}

func listed(rules []rbacv1.PolicyRule) (all []right) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, right{group, resource, verb})
				}
			}
		}
	}
	return all
}

// grants says whether a rule that the API server tells grants a right on every object of its kind.
func grants(rule authv1.ResourceRule, r right) bool {
	has := func(list []string, word string) bool {
		return slices.Contains(list, word) || slices.Contains(list, "*")
	}
	_, sub, isSub := strings.Cut(r.resource, "/")
	resource := has(rule.Resources, r.resource) || isSub && slices.Contains(rule.Resources, "*/"+sub)
	return len(rule.ResourceNames) == 0 && has(rule.APIGroups, r.group) && resource && has(rule.Verbs, r.verb)
}

// hasRights says which of the rights that a drill needs its account has not. The rules are read at once; where they do not
// show a right, it is asked for by itself, since an authorizer need not tell its rules.
func hasRights(ctx context.Context, client kubernetes.Interface, t target) error {
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authv1.SelfSubjectRulesReview{Spec: authv1.SelfSubjectRulesReviewSpec{Namespace: t.namespace}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask which rights there are in %s: %w", t.namespace, err)
	}
	var missing []string
	for _, r := range listed(needed()) {
		if slices.ContainsFunc(review.Status.ResourceRules, func(rule authv1.ResourceRule) bool { return grants(rule, r) }) {
			continue
		}
		resource, sub, _ := strings.Cut(r.resource, "/")
		asked, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authv1.SelfSubjectAccessReview{Spec: authv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authv1.ResourceAttributes{Namespace: t.namespace, Group: r.group, Resource: resource, Subresource: sub, Verb: r.verb}}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask for the right to %s in %s: %w", r, t.namespace, err)
		}
		if !asked.Status.Allowed {
			missing = append(missing, r.String())
		}
	}
	if len(missing) > 0 {
		return errors.New("in the namespace " + t.namespace + " of " + t.context + " these rights are missing: " + strings.Join(missing, ", ") +
			": backout rbac --namespace " + t.namespace + " prints an account that has them, for who may grant them to apply")
	}
	return nil
}
