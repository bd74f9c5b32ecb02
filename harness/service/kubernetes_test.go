package service

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// onKubernetes is a service that runs on Kubernetes too.
var onKubernetes = strings.NewReplacer("ready: /readyz\n", `  kubernetes:
    chart: ./chart
    pods: app.kubernetes.io/name=shop,app.kubernetes.io/component=web
    values: {image: {repository: "{image}", tag: "{release}"}, replicas: "{instances}", routes: ["/orders/{id}", 8]}
    env: {ADDR: "{address}"}
ready: /readyz
`, "{header: X-Release}", "{header: X-Release, instance: X-Instance}").Replace(inContainers)

// rolledOut is a release that is deployed there.
var rolledOut = deployedBoth + `  kubernetes:
    - {name: upgrade it, run: helm upgrade shop chart -f values.yaml --wait, timeout: 90s, again: safe}
`

func clustered(over ...string) map[string]string {
	all := files("service.yaml", onKubernetes, "chart/Chart.yaml", "name: shop\n", "manifests/shop.yaml", "kind: Service\n", "manifest/README", "none\n",
		"releases/v2/release.yaml", rolledOut, "releases/v2/chart/templates/web.yaml", "kind: Deployment\n", "releases/v2/jobs/down.yaml", "kind: Job\n",
		"releases/v2/rollback.kubernetes.yaml", strings.Replace(plan, "./deploy v1", "kubectl apply -f jobs/down.yaml && kubectl rollout undo deployment/shop", 1))
	for i := 0; i < len(over); i += 2 {
		all[over[i]] = over[i+1]
	}
	return all
}

func TestHowAServiceRunsOnKubernetes(t *testing.T) {
	values := map[string]any{"image": map[string]any{"repository": "{image}", "tag": "{release}"}, "replicas": "{instances}", "routes": []any{"/orders/{id}", uint64(8)}}
	pods := "app.kubernetes.io/name=shop,app.kubernetes.io/component=web"
	env := map[string]string{"ADDR": "{address}"}
	for _, test := range []struct {
		name, from, to string
		want           Kubernetes
	}{
		{"by a chart", "", "", Kubernetes{Chart: "./chart", Port: 8080, Pods: pods, Values: values, Env: env}},
		{"on another port", "    chart: ./chart\n", "    chart: ./chart\n    port: 80\n", Kubernetes{Chart: "./chart", Port: 80, Pods: pods, Values: values, Env: env}},
		{"with workers", "    chart: ./chart\n", "    chart: ./chart\n    background: 2\n", Kubernetes{Chart: "./chart", Port: 8080, Pods: pods, Background: 2, Values: values, Env: env}},
		{"by manifests", onKubernetes[strings.Index(onKubernetes, "    chart: ./chart"):strings.Index(onKubernetes, "    env: {ADDR: \"{address}\"}\nready")], "    manifests: ./manifests\n",
			Kubernetes{Manifests: "./manifests", Port: 8080, Pods: "app.kubernetes.io/name=shop", Env: env}},
		{"by GitOps", onKubernetes[strings.Index(onKubernetes, "    chart: ./chart"):strings.Index(onKubernetes, "    env: {ADDR: \"{address}\"}\nready")], "    manifests: ./manifests\n    gitops: argocd\n",
			Kubernetes{Manifests: "./manifests", GitOps: ArgoCD, Port: 8080, Pods: "app.kubernetes.io/name=shop", Env: env}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, clustered("service.yaml", strings.Replace(onKubernetes, test.from, test.to, 1)))
			if !reflect.DeepEqual(*s.Kubernetes, test.want) {
				t.Errorf("expected %+v, found %+v", test.want, *s.Kubernetes)
			}
			if s.InstanceHeader != "X-Instance" {
				t.Errorf("expected the header that names the instance, found %q", s.InstanceHeader)
			}
			if !s.Runs(InKubernetes) || !reflect.DeepEqual(s.EnvIn(InKubernetes), env) || !reflect.DeepEqual(s.BuildIn(InKubernetes), s.Containers.Build) {
				t.Errorf("expected a service that runs there on the artefact of containers, found %v, %v, %v", s.Runs(InKubernetes), s.EnvIn(InKubernetes), s.BuildIn(InKubernetes))
			}
		})
	}
	if s := load(t, files()); s.Runs(InKubernetes) || s.EnvIn(InKubernetes) != nil || s.BuildIn(InKubernetes) != nil {
		t.Error("expected a service that says nothing of Kubernetes to be no part of a drill there")
	}
}

func TestMistakesAboutKubernetesAreTold(t *testing.T) {
	for _, test := range []struct{ from, to, err string }{
		{"chart: ./chart", "chart: ./chrat", `:15:12: expected a folder in chart, found none`},
		{"chart: ./chart", "chart: ./manifests", `:15:12: expected Chart.yaml in the folder `},
		{"chart: ./chart", "manifests: ./manifest", `:15:16: expected *.yaml in the folder `},
		{"chart: ./chart", "chart: ./chart\n    manifests: ./manifests", `:15:5: expected exactly one of chart, manifests in kubernetes, found chart, manifests`},
		{"    chart: ./chart\n", "", `:15:5: expected exactly one of chart, manifests in kubernetes, found none`},
		{"chart: ./chart", "manifests: ./manifests", `:17:13: expected chart beside values, found manifests: write ${IMAGE}, ${RELEASE} and their like there`},
		{"chart: ./chart", "chart: ./chart\n    gitops: argocd", `:16:13: expected manifests beside gitops, which are what lies in the repository, found none`},
		{"chart: ./chart", "manifests: ./manifests\n    gitops: argo", `:16:13: expected "argocd" in gitops, found "argo"; did you mean "argocd"?`},
		{"chart: ./chart", "chart: ./chart\n    port: 0", `:16:11: expected a whole number from 1 to 65535 in port, found 0`},
		{"pods: app.kubernetes.io/name=shop,", "pods: shop,", `:16:11: expected labels of the pods that run a release, such as app.kubernetes.io/name=shop,app.kubernetes.io/component=web in pods, found "shop,app`},
		{"{release}", "{relase}", `in tag, found {relase}; did you mean "release"?`},
		{"values: {image", "value: {image", `expected one of chart, manifests, gitops, port, pods, background, values, env in kubernetes, found "value"; did you mean "values"?`},
		{"dockerfile: ./Dockerfile", "compose: ./compose.yaml\n    of: web", `expected dockerfile or image in containers beside kubernetes, found compose`},
		{"instance: X-Instance", "instances: X-Instance", `expected one of header, instance in release, found "instances"; did you mean "instance"?`},
		{"  containers:\n    dockerfile: ./Dockerfile\n    port: 8080\n    command: [/app/shop, -v]\n    env: {ADDR: \"{address}\"}\n", "",
			`:10:5: expected containers beside kubernetes, which say how the image of a release is made, found none`},
	} {
		t.Run(strings.ReplaceAll(test.to, "/", "_"), func(t *testing.T) {
			text := strings.Replace(onKubernetes, test.from, test.to, 1)
			if text == onKubernetes {
				t.Fatalf("%q is not in service.yaml", test.from)
			}
			dir := folder(t, clustered("service.yaml", text))
			_, err := Load(filepath.Join(dir, "service.yaml"))
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("expected %s, found %v", test.err, err)
			}
		})
	}
}

// kind and a cluster that exists are deployed to in one way.
func TestOneWayToDeployOnKubernetes(t *testing.T) {
	s := load(t, clustered())
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	for environment, way := range map[string]string{"process": InProcesses, "containers": InContainers, "kind": InKubernetes, "cluster": InKubernetes, "kinds": ""} {
		if got := Way(environment); got != way {
			t.Errorf("%s: expected %q, found %q", environment, way, got)
		}
	}
	for _, environment := range []string{"kind", "cluster"} {
		steps, err := r.RolloutFor(environment)
		if err != nil || len(steps) != 1 || steps[0].Run != "helm upgrade shop chart -f values.yaml --wait" {
			t.Errorf("%s: found %+v, %v", environment, steps, err)
		}
		p, err := r.Plan("", environment)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(p.Path) != "rollback.kubernetes.yaml" {
			t.Errorf("%s: found %s", environment, p.Path)
		}
		if _, err := r.Plan("slowly", environment); err == nil || errors.Is(err, ErrNoPlan) {
			t.Errorf("%s: expected a plan that is nowhere to be a mistake, found %v", environment, err)
		}
	}
}

// A drill depends on the chart, on what the release lays over it, and on the manifests that its commands name.
func TestWhatADrillOnKubernetesDependsOn(t *testing.T) {
	s := load(t, clustered())
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan("", "kind")
	if err != nil {
		t.Fatal(err)
	}
	digests, err := Digests(r.Files(p)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(s.Dir, "chart", "Chart.yaml"), filepath.Join(r.Dir, "chart", "templates", "web.yaml"), filepath.Join(r.Dir, "jobs", "down.yaml")} {
		if digests[path] == "" {
			t.Errorf("a drill depends on %s, found %v", path, digests)
		}
	}
}

func TestHostsOnKubernetes(t *testing.T) {
	s := load(t, clustered("service.yaml", strings.Replace(onKubernetes, "    env: {ADDR: \"{address}\"}\nready", "    env: {MAIL: smtp://mail.prod}\nready", 1)))
	r, err := s.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Hosts(nil); err == nil || !strings.Contains(err.Error(), `expected no other host than this machine, found "mail.prod"`) {
		t.Errorf("expected what pods find in their environment to be looked at, found %v", err)
	}
}
