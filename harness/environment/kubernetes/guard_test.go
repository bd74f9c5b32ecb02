package kubernetes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"backout/harness/environment"
)

// says fails unless an error has the text; no text: unless there is none.
func says(t *testing.T, err error, text string) {
	t.Helper()
	if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("found %v, expected %q", err, text)
	}
}

func TestWhereADrillIsMustBeSaid(t *testing.T) {
	for name, c := range map[string]struct {
		o     environment.Options
		wrong string
	}{
		"all of it":             {o: environment.Options{Context: "c", Namespace: "n"}},
		"no context":            {o: environment.Options{Namespace: "n"}, wrong: "expected --context NAME"},
		"no namespace":          {o: environment.Options{Context: "c"}, wrong: "expected --namespace NAME"},
		"a share of too much":   {o: environment.Options{Context: "c", Namespace: "n", MaxShare: 101}, wrong: "--max-share 101"},
		"fewer pods than none":  {o: environment.Options{Context: "c", Namespace: "n", MaxPods: -1}, wrong: "--max-pods -1"},
		"a pattern that is not": {o: environment.Options{Context: "c", Namespace: "n", Forbid: []string{"("}}, wrong: `--forbid "("`},
		"a pattern of nothing":  {o: environment.Options{Context: "c", Namespace: "n", Forbid: []string{""}}, wrong: "it is empty"},
	} {
		t.Run(name, func(t *testing.T) { says(t, Named(c.o), c.wrong) })
	}
}

func TestNoDrillWhereNamesForbidIt(t *testing.T) {
	good := target{context: "staging", cluster: "staging", server: "https://staging.example:6443", namespace: "drills"}
	for name, c := range map[string]struct {
		change func(*target)
		forbid []string
		wrong  string
	}{
		"allowed":                       {},
		"a word that has it inside":     {change: func(t *target) { t.namespace = "reproduction" }},
		"the context":                   {change: func(t *target) { t.context = "prod" }, wrong: `the context prod: expected none that matches (^|[^a-z])prod, found "prod"`},
		"the cluster":                   {change: func(t *target) { t.cluster = "eu-production-1" }, wrong: "the cluster eu-production-1"},
		"the server":                    {change: func(t *target) { t.server = "https://k8s.prod.example" }, wrong: "the server k8s.prod.example"},
		"the server's path":             {change: func(t *target) { t.server = "https://rancher.example/k8s/clusters/prod-1" }, wrong: "the server"},
		"the namespace":                 {change: func(t *target) { t.namespace = "shop-prod" }, wrong: "the namespace shop-prod"},
		"in capitals":                   {change: func(t *target) { t.context = "EU-PROD" }, wrong: "the context EU-PROD"},
		"one more pattern":              {forbid: []string{"^dri"}, wrong: "the namespace drills"},
		"another pattern takes nothing": {change: func(t *target) { t.context = "prod" }, forbid: []string{"^live"}, wrong: "the context prod"},
	} {
		t.Run(name, func(t *testing.T) {
			place := good
			if c.change != nil {
				c.change(&place)
			}
			never, err := patterns(c.forbid)
			if err != nil {
				t.Fatal(err)
			}
			says(t, place.allowed(never), c.wrong)
		})
	}
}

func TestTheNamespaceMustPermitDrills(t *testing.T) {
	place := target{context: "staging", namespace: "drills"}
	labelled := func(set map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "drills", Labels: set}}
	}
	ending := labelled(map[string]string{permitLabel: permitted})
	ending.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, c := range map[string]struct {
		ns    *corev1.Namespace
		err   error
		wrong string
	}{
		"permitted":        {ns: labelled(map[string]string{permitLabel: permitted})},
		"no label":         {ns: labelled(nil), wrong: "found no such label: kubectl --context staging label namespace drills backout.io/drills=permitted"},
		"another value":    {ns: labelled(map[string]string{permitLabel: "no"}), wrong: "found backout.io/drills=no"},
		"no namespace":     {err: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "drills"), wrong: "kubectl --context staging create namespace drills &&"},
		"it is going":      {ns: ending, wrong: "is being deleted"},
		"it is not known":  {err: errors.New("no route"), wrong: "no route"},
		"may not be known": {err: apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "drills", errors.New("no")), wrong: "forbidden"},
	} {
		t.Run(name, func(t *testing.T) { says(t, permits(place, c.ns, c.err), c.wrong) })
	}
}

const someKubeconfig = `apiVersion: v1
kind: Config
current-context: mine
clusters: [{name: far, cluster: {server: "https://far.example:6443"}}]
users: [{name: me, user: {token: secret}}]
contexts:
- {name: mine, context: {cluster: far, user: me}}
- {name: other, context: {cluster: far, user: me}}
`

func TestTheContextIsOfTheKubeconfigThatIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(someKubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	place, config, err := readTarget(environment.Options{Kubeconfig: path, Context: "other", Namespace: "drills"})
	if err != nil || place.server != "https://far.example:6443" || place.cluster != "far" || config.BearerToken != "secret" || len(place.kubeconfig) != 1 {
		t.Errorf("found %+v, %v", place, err)
	}
	_, _, err = readTarget(environment.Options{Kubeconfig: path, Context: "none"})
	says(t, err, "--context none: expected a context of "+path)
	_, _, err = readTarget(environment.Options{Kubeconfig: path + ".not", Context: "mine"})
	says(t, err, "found none")
	if text, err := os.ReadFile(path); err != nil || string(text) != someKubeconfig {
		t.Errorf("the kubeconfig has changed: %s, %v", text, err)
	}
}
