package kubernetes

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// said is what the API server behind a door was asked.
type said struct {
	method, path, authorization string
	body                        map[string]any
}

func doorBefore(t *testing.T, before ...string) (*door, *[]said) {
	t.Helper()
	var all []said
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := said{method: r.Method, path: r.URL.Path, authorization: r.Header.Get("Authorization")}
		text, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(text, &s.body)
		all = append(all, s)
	}))
	t.Cleanup(server.Close)
	there := map[string]bool{}
	for _, o := range before {
		there[o] = true
	}
	d, err := openDoor(&rest.Config{Host: server.URL + "/clusters/x", BearerToken: "mine"}, "drills", "t1", there)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d, &all
}

func TestTheDoorLetsThroughOnlyWhatADrillMayDo(t *testing.T) {
	const ns = "/api/v1/namespaces/drills/"
	const apps = "/apis/apps/v1/namespaces/drills/deployments"
	for name, c := range map[string]struct {
		method, path string
		wrong        string
	}{
		"what the server can do":               {"GET", "/apis/apps/v1", ""},
		"its version":                          {"GET", "/version", ""},
		"its schemas":                          {"GET", "/openapi/v3/apis/apps/v1", ""},
		"the namespace itself":                 {"GET", "/api/v1/namespaces/drills", ""},
		"to label the namespace":               {"PATCH", "/api/v1/namespaces/drills", "changes no namespaces"},
		"to read":                              {"GET", ns + "pods", ""},
		"to read what was there":               {"GET", apps + "/old", ""},
		"to make":                              {"POST", apps, ""},
		"to change what was made":              {"PATCH", apps + "/new", ""},
		"to scale what was made":               {"PATCH", apps + "/new/scale", ""},
		"to delete what was made":              {"DELETE", apps + "/new", ""},
		"to change what was there":             {"PATCH", apps + "/old", "deployments.apps/old was in the namespace drills before the drill"},
		"to scale what was there":              {"PATCH", apps + "/old/scale", "was in the namespace"},
		"to delete what was there":             {"DELETE", apps + "/old", "was in the namespace"},
		"to enter a pod that was there":        {"POST", ns + "pods/old/exec", "was in the namespace"},
		"to delete all":                        {"DELETE", apps, "does not delete all deployments"},
		"another namespace":                    {"GET", "/api/v1/namespaces/others/pods", "does not reach the namespace others"},
		"what is in no namespace":              {"GET", "/api/v1/nodes", "does not reach what is in no namespace (nodes)"},
		"all namespaces":                       {"GET", "/api/v1/pods", "does not reach what is in no namespace (pods)"},
		"a kind that is not known":             {"POST", "/apis/x.example/v1/namespaces/drills/things", "changes no things.x.example"},
		"rights":                               {"POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/drills/roles", "changes no roles.rbac"},
		"the Lease":                            {"DELETE", "/apis/coordination.k8s.io/v1/namespaces/drills/leases/backout-drill", "changes no leases"},
		"which rights there are":               {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ""},
		"what is not about objects":            {"POST", "/version", "does not POST"},
		"a path that leads out of the way":     {"GET", "/debug/pprof", "does not GET"},
		"one that climbs":                      {"GET", ns + "../others/pods", "does not GET"},
		"one that stumbles":                    {"GET", ns + "/pods", "does not GET"},
		"a Secret of a release that was there": {"DELETE", ns + "secrets/sh.helm.release.v1.shop.v1", "was in the namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			d, all := doorBefore(t, "deployments.apps/old", "pods/old", "secrets/sh.helm.release.v1.shop.v1")
			r, err := http.NewRequest(c.method, d.at+c.path, strings.NewReader(`{"metadata":{"name":"new"}}`))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if c.wrong == "" && (resp.StatusCode != 200 || len(*all) != 1) || c.wrong != "" && (resp.StatusCode != 403 || !strings.Contains(string(text), c.wrong) || len(*all) != 0) {
				t.Errorf("found %d %s, and the server was asked %v; expected %q", resp.StatusCode, text, *all, c.wrong)
			}
			if len(*all) == 1 && ((*all)[0].authorization != "Bearer mine" || (*all)[0].path != "/clusters/x"+c.path) {
				t.Errorf("the server was asked %v", (*all)[0])
			}
		})
	}
}

func TestWhatIsMadeThroughTheDoorCarriesTheRunsLabel(t *testing.T) {
	const apps = "/apis/apps/v1/namespaces/drills/deployments"
	labels := func(s said) any {
		meta, _ := s.body["metadata"].(map[string]any)
		set, _ := meta["labels"].(map[string]any)
		return set[Label]
	}
	for name, c := range map[string]struct {
		method, path, kind, body string
		want                     any
		made                     bool
	}{
		"made":                       {"POST", apps, "application/json", `{"metadata":{"name":"new","labels":{"a":"b"}}}`, "t1", true},
		"made, but only tried":       {"POST", apps + "?dryRun=All", "application/json", `{"metadata":{"name":"new"}}`, "t1", false},
		"applied on the server":      {"PATCH", apps + "/new?fieldManager=helm", "application/apply-patch+yaml", "metadata: {name: new}", "t1", true},
		"replaced":                   {"PUT", apps + "/new", "application/json", `{"metadata":{"name":"new"}}`, "t1", true},
		"changed, when it has it":    {"PATCH", apps + "/new", "application/strategic-merge-patch+json", `{"spec":{"replicas":1}}`, nil, false},
		"one that claims to be ours": {"POST", apps, "application/json", `{"metadata":{"name":"new","labels":{"backout.run":"other"}}}`, "t1", true},
	} {
		t.Run(name, func(t *testing.T) {
			d, all := doorBefore(t)
			r, err := http.NewRequest(c.method, d.at+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", c.kind)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if len(*all) != 1 || labels((*all)[0]) != c.want || d.has("deployments.apps/new") != c.made {
				t.Errorf("the server was sent %v, made is %v", *all, d.has("deployments.apps/new"))
			}
		})
	}
}

func TestTheDoorKnowsWhoMayPass(t *testing.T) {
	d, all := doorBefore(t)
	at := d.at[:strings.LastIndex(d.at, "/")]
	resp, err := http.Get(at + "/another/api/v1/namespaces/drills/secrets")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || len(*all) != 0 {
		t.Errorf("%s, and the server was asked %v", resp.Status, *all)
	}
}
