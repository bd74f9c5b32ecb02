package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// door is the way to the API server of a cluster that exists, for the commands of a drill and for the harness itself: kubectl
// and helm run as production runs them, and whatever they are told to do, they reach one namespace, change nothing that was
// there before, and leave their run's label on all that they make, by which it is found again. It also keeps the user's
// credentials to this process: the kubeconfig of the run names this door and holds none.
type door struct {
	namespace, token string
	before           map[string]bool // "deployments.apps/NAME": what was there before the drill
	at               string          // its URL
	server           *http.Server

	mu   sync.Mutex
	made map[string]bool // as before: what has been made through it
}

// largestObject is more than etcd takes.
const largestObject = 8 << 20

// openDoor begins to serve on 127.0.0.1. A token in the path keeps others of this machine from it.
func openDoor(config *rest.Config, namespace, run string, before map[string]bool) (*door, error) {
	d := &door{namespace: namespace, token: run, before: before, made: map[string]bool{}}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	to, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	secret := "/" + token()
	d.at = "http://" + listener.Addr().String() + secret
	way := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: quiet(), // watches tell at once
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.URL.Path, r.Out.URL.RawPath = strings.TrimSuffix(to.Path, "/")+r.In.URL.Path, ""
			r.Out.Host = ""
			r.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) }, // as if there were no door
	}
	d.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, is := strings.CutPrefix(r.URL.Path, secret+"/")
		if !is {
			http.NotFound(w, r)
			return
		}
		r.URL.Path, r.URL.RawPath = "/"+to, ""
		if err := d.through(r); err != nil {
			refuse(w, err)
			return
		}
		way.ServeHTTP(w, r)
	})}
	go func() { _ = d.server.Serve(listener) }() // until it is closed
	return d, nil
}

func (d *door) close() { _ = d.server.Close() } // connections are the drill's own

// refuse answers as the API server does, so that kubectl and helm show the reason.
func refuse(w http.ResponseWriter, why error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: why.Error()})
}

// asked is what a request to the API server is about.
type asked struct{ group, version, namespace, resource, name, sub string }

// object is "deployments.apps/NAME".
func (a asked) object() string { return objectName(a.group, a.resource, a.name) }

func objectName(group, resource, name string) string {
	return schema.GroupResource{Group: group, Resource: resource}.String() + "/" + name
}

// aboutWhat reads a path of the API: /api/v1/namespaces/NS/pods/NAME/log, /apis/apps/v1/namespaces/NS/deployments.
func aboutWhat(path string) (a asked, is bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		a.version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		a.group, a.version, parts = parts[1], parts[2], parts[3:]
	default:
		return a, false
	}
	if len(parts) > 1 && parts[0] == "namespaces" {
		a.namespace, parts = parts[1], parts[2:]
		if len(parts) == 0 { // the namespace itself
			parts = []string{"namespaces", a.namespace}
		}
	}
	if len(parts) > 0 {
		a.resource = parts[0]
	}
	if len(parts) > 1 {
		a.name = parts[1]
	}
	a.sub = strings.Join(parts[min(2, len(parts)):], "/")
	return a, true
}

// open are paths that are about no object: what the server can do.
var open = []string{"/api", "/apis", "/version", "/openapi/", "/livez", "/readyz", "/healthz"}

// through says why a request may not go through, and marks what it makes.
func (d *door) through(r *http.Request) error {
	if clean := path.Clean(r.URL.Path); clean != strings.TrimSuffix(r.URL.Path, "/") { // somebody on the way might clean it
		return fmt.Errorf("a drill does not %s %s", r.Method, r.URL.Path)
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	a, is := aboutWhat(r.URL.Path)
	if !is || a.resource == "" {
		at := strings.TrimSuffix(r.URL.Path, "/")
		if reads && (is || slices.ContainsFunc(open, func(p string) bool { return at == p || strings.HasPrefix(at, strings.TrimSuffix(p, "/")+"/") })) {
			return nil
		}
		return fmt.Errorf("a drill does not %s %s", r.Method, r.URL.Path)
	}
	if a.group == "authorization.k8s.io" || a.group == "authentication.k8s.io" { // questions about oneself
		return nil
	}
	if a.namespace != d.namespace {
		where := "the namespace " + a.namespace
		if a.namespace == "" {
			where = "what is in no namespace"
		}
		return fmt.Errorf("a drill in the namespace %s does not reach %s (%s)", d.namespace, where, a.resource)
	}
	if reads {
		return nil
	}
	if !slices.Contains(kinds(), schema.GroupResource{Group: a.group, Resource: a.resource}) {
		return fmt.Errorf("a drill changes no %s in a cluster that exists: it could not be told from what was there before", schema.GroupResource{Group: a.group, Resource: a.resource})
	}
	if a.name == "" && r.Method == http.MethodDelete {
		return fmt.Errorf("a drill does not delete all %s: others may be among them; name them", a.resource)
	}
	if a.name != "" && d.before[a.object()] {
		return fmt.Errorf("%s was in the namespace %s before the drill, which changes nothing of it", a.object(), d.namespace)
	}
	if r.Method == http.MethodDelete || a.sub != "" {
		return nil
	}
	return d.mark(r, a)
}

// mark puts the run's label on an object that is made or replaced. Its pods have none of it: their template stays as it is.
func (d *door) mark(r *http.Request, a asked) error {
	if r.Method == http.MethodPatch && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch") {
		return nil // of an object that has it
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, largestObject))
	if err != nil {
		return err
	}
	o, err := readObject(text)
	if err != nil {
		return fmt.Errorf("read the %s that is to be made: %w", a.resource, err)
	}
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[Label] = d.token
	o.SetLabels(labels)
	if text, err = json.Marshal(o.Object); err != nil {
		return err
	}
	if r.Method != http.MethodPatch {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	if r.URL.Query().Get("dryRun") == "" {
		d.mu.Lock()
		d.made[objectName(a.group, a.resource, o.GetName())] = true
		d.mu.Unlock()
	}
	return nil
}

// readObject reads JSON, YAML or what client-go sends of its own kinds.
func readObject(text []byte) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	if bytes.HasPrefix(text, []byte("k8s\x00")) {
		typed, kind, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			return nil, err
		}
		if text, err = json.Marshal(typed); err != nil {
			return nil, err
		}
		defer o.SetGroupVersionKind(*kind)
	}
	return o, yaml.Unmarshal(text, &o.Object)
}

// has says whether an object was made through the door.
func (d *door) has(object string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.made[object]
}

// kubeconfig leads to the door.
func (d *door) kubeconfig(path string) error {
	c := clientcmdapi.NewConfig()
	c.Clusters["drill"] = &clientcmdapi.Cluster{Server: d.at}
	c.Contexts["drill"] = &clientcmdapi.Context{Cluster: "drill", Namespace: d.namespace}
	c.CurrentContext = "drill"
	return clientcmd.WriteToFile(*c, path)
}

// kinds of objects that a drill may make, which are those that its rights name.
func kinds() (all []schema.GroupResource) {
	for _, rule := range rights() {
		for _, resource := range rule.Resources {
			of := schema.GroupResource{Group: rule.APIGroups[0], Resource: resource}
			if !strings.Contains(resource, "/") && slices.Contains(rule.Verbs, "delete") {
				all = append(all, of)
			}
		}
	}
	return all
}

// versions of the groups of the kinds.
var versions = map[string]string{"": "v1", "apps": "v1", "batch": "v1", "policy": "v1", "autoscaling": "v2"}

func resourceOf(kind schema.GroupResource) schema.GroupVersionResource {
	return kind.WithVersion(versions[kind.Group])
}

// present is what is in a namespace now, of the kinds that a drill may make.
func present(ctx context.Context, client metadata.Interface, namespace string) (map[string]bool, error) {
	all := map[string]bool{}
	for _, kind := range kinds() {
		list, err := client.Resource(resourceOf(kind)).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list the %s of %s: %w", kind, namespace, err)
		}
		for _, o := range list.Items {
			all[objectName(kind.Group, kind.Resource, o.Name)] = true
		}
	}
	return all, nil
}
