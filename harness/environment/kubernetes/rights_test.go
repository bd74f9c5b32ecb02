package kubernetes

import (
	"reflect"
	"strings"
	"testing"

	authv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

// granting is a server at which an account has these rules, and what an authorizer allows beside them that tells no rules.
func granting(rules []rbacv1.PolicyRule, beside string) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectrulesreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		review := &authv1.SelfSubjectRulesReview{}
		for _, r := range rules {
			review.Status.ResourceRules = append(review.Status.ResourceRules, authv1.ResourceRule{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs, ResourceNames: r.ResourceNames})
		}
		return true, review, nil
	})
	client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authv1.SelfSubjectAccessReview).DeepCopy()
		asked := review.Spec.ResourceAttributes
		review.Status.Allowed = beside != "" && asked.Resource == beside
		return true, review, nil
	})
	return client
}

func TestRightsThatAreMissingAreNamed(t *testing.T) {
	less := func(resource string) (rules []rbacv1.PolicyRule) {
		for _, r := range needed() {
			var left []string
			for _, name := range r.Resources {
				if name != resource {
					left = append(left, name)
				}
			}
			r.Resources = left
			rules = append(rules, r)
		}
		return rules
	}
	named := needed()
	named[0].ResourceNames = []string{"one"}
	for name, c := range map[string]struct {
		rules  []rbacv1.PolicyRule
		beside string
		wrong  string
	}{
		"all":                             {rules: needed()},
		"everything":                      {rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}},
		"no Lease":                        {rules: less("leases"), wrong: "these rights are missing: get leases.coordination.k8s.io, create leases.coordination.k8s.io, update leases.coordination.k8s.io, delete leases.coordination.k8s.io: backout rbac --namespace drills"},
		"no port-forward":                 {rules: less("pods/portforward"), wrong: "create pods/portforward"},
		"no scale":                        {rules: less("deployments/scale"), wrong: "patch deployments.apps/scale"},
		"only for some names":             {rules: named, wrong: "configmaps"},
		"by an authorizer without a rule": {rules: less("leases"), beside: "leases"},
		"none":                            {wrong: "get namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, hasRights(t.Context(), granting(c.rules, c.beside), target{namespace: "drills", context: "far"}), c.wrong)
		})
	}
}

func TestTheManifestGrantsWhatIsNeededInOneNamespace(t *testing.T) {
	text, err := RBAC("drills")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, "---\n")
	if len(parts) != 4 {
		t.Fatalf("%d documents: %s", len(parts), text)
	}
	var role rbacv1.Role
	if err := yaml.Unmarshal([]byte(parts[2]), &role); err != nil || role.Kind != "Role" || role.Namespace != "drills" || !reflect.DeepEqual(role.Rules, needed()) {
		t.Errorf("%v: %s", err, parts[2])
	}
	var binding rbacv1.RoleBinding
	if err := yaml.Unmarshal([]byte(parts[3]), &binding); err != nil || binding.RoleRef.Name != role.Name || binding.Namespace != "drills" {
		t.Errorf("%v: %s", err, parts[3])
	}
}

// An object that a drill may make and cannot list again would stay.
func TestWhatADrillMakesItMayListAndDelete(t *testing.T) {
	verbs := map[string][]string{}
	for _, r := range listed(needed()) {
		verbs[r.group+"/"+r.resource] = append(verbs[r.group+"/"+r.resource], r.verb)
	}
	for _, kind := range kinds() {
		has := strings.Join(verbs[kind.Group+"/"+kind.Resource], " ")
		if !strings.Contains(has, "list") || !strings.Contains(has, "delete") || versions[kind.Group] == "" {
			t.Errorf("%s: %s, version %q", kind, has, versions[kind.Group])
		}
	}
}
