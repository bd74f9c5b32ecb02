package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"backout/harness/evidence"
	"backout/harness/service"
)

// pods knows the pods of the services by a watch, and has a way to each of them alone.
type pods struct {
	cluster   *cluster
	namespace string
	services  []*service.Service
	selectors map[*service.Service]labels.Selector
	put       func(evidence.Kind)
	now       func() evidence.Offset
	stop      chan struct{}
	ended     sync.Once
	factory   informers.SharedInformerFactory
	server    *http.Server
	at        string // the URL of the way to pods

	mu        sync.Mutex
	known     map[string]*pod
	endpoints map[string]map[string][]string // Service -> EndpointSlice -> pods
	told      map[string]string              // what was last written of a Service
	blind     error                          // why the API server did not answer when it was asked last
	since     evidence.Offset                // of blind
}

// pod is what the watch has said of one.
type pod struct {
	service  *service.Service
	uid      types.UID
	restarts int
	said     map[string]string // event -> its details, so that nothing is told twice
	gone     bool
}

// followPods begins to watch.
func followPods(k *cluster, namespace string, services []*service.Service, put func(evidence.Kind), now func() evidence.Offset) (*pods, error) {
	p := &pods{cluster: k, namespace: namespace, services: services, selectors: map[*service.Service]labels.Selector{}, put: put, now: now, stop: make(chan struct{}),
		known: map[string]*pod{}, endpoints: map[string]map[string][]string{}, told: map[string]string{}}
	if put == nil {
		p.put, p.now = func(evidence.Kind) {}, func() evidence.Offset { return 0 }
	}
	for _, s := range services {
		selector, err := labels.Parse(s.Kubernetes.Pods)
		if err != nil {
			return nil, fmt.Errorf("%s: run.kubernetes.pods: %w", s.Path, err)
		}
		p.selectors[s] = selector
	}
	if err := p.serve(); err != nil {
		return nil, err
	}
	p.factory = informers.NewSharedInformerFactoryWithOptions(k.client, 0, informers.WithNamespace(namespace))
	watched := p.factory.Core().V1().Pods().Informer()
	_, err := watched.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.pod(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { p.pod(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) { p.deleted(o) },
	})
	if err != nil {
		return nil, err
	}
	slice := p.factory.Discovery().V1().EndpointSlices().Informer()
	_, err = slice.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.slice(o.(*discoveryv1.EndpointSlice), false) },
		UpdateFunc: func(_, o any) { p.slice(o.(*discoveryv1.EndpointSlice), false) },
		DeleteFunc: func(o any) {
			if tomb, is := o.(cache.DeletedFinalStateUnknown); is {
				o = tomb.Obj
			}
			if s, is := o.(*discoveryv1.EndpointSlice); is {
				p.slice(s, true)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	p.factory.Start(p.stop)
	go p.look()
	return p, nil
}

// of is the service that a pod belongs to; nil: none.
func (p *pods) of(set map[string]string) *service.Service {
	for _, s := range p.services {
		if p.selectors[s].Matches(labels.Set(set)) {
			return s
		}
	}
	return nil
}

// pod takes what the watch says of a pod and tells what is new.
func (p *pods) pod(now *corev1.Pod) {
	s := p.of(now.Labels)
	if s == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	is := p.known[now.Name]
	if is == nil || is.uid != now.UID { // a StatefulSet gives the next pod the same name
		is = &pod{service: s, uid: now.UID, said: map[string]string{}}
		p.known[now.Name] = is
	}
	if is.gone { // one that has ended is still spoken of until it is removed
		return
	}
	say := func(event, reason string) {
		if was, said := is.said[event]; said && was == reason {
			return
		}
		is.said[event] = reason
		e := evidence.Pod{Name: now.Name, Service: s.Name, Event: event, Reason: reason, Node: now.Spec.NodeName, Owner: owner(now), Restarts: is.restarts}
		if len(now.Spec.Containers) > 0 {
			e.Image = now.Spec.Containers[0].Image
		}
		p.put(&e)
	}
	say("created", "")
	if now.Spec.NodeName != "" {
		say("scheduled", "")
	}
	running := false
	for _, c := range now.Status.ContainerStatuses {
		running = running || c.State.Running != nil
		if int(c.RestartCount) > is.restarts {
			is.restarts = int(c.RestartCount)
			delete(is.said, "restarted")
			say("restarted", "")
		}
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			say("failing", w.Reason)
		}
	}
	for _, c := range now.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			say("failing", c.Reason)
		}
	}
	if running {
		say("started", "")
	}
	if ready(now) {
		delete(is.said, "unready")
		delete(is.said, "failing")
		say("ready", "")
	} else if _, was := is.said["ready"]; was {
		delete(is.said, "ready")
		say("unready", "")
	}
	if now.DeletionTimestamp != nil {
		say("deleting", "")
	}
	if now.Status.Phase == corev1.PodSucceeded || now.Status.Phase == corev1.PodFailed {
		is.gone = true
		say("deleted", string(now.Status.Phase))
	}
}

func (p *pods) deleted(o any) {
	if tomb, is := o.(cache.DeletedFinalStateUnknown); is {
		o = tomb.Obj
	}
	now, is := o.(*corev1.Pod)
	if !is {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[now.Name]; known != nil && known.uid == now.UID && !known.gone {
		known.gone = true
		p.put(&evidence.Pod{Name: now.Name, Service: known.service.Name, Event: "deleted", Owner: owner(now), Node: now.Spec.NodeName, Restarts: known.restarts})
	}
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func owner(p *corev1.Pod) string {
	if o := metav1.GetControllerOf(p); o != nil {
		return o.Kind + "/" + o.Name
	}
	return ""
}

// slice takes what an EndpointSlice says, and tells to which pods its Service sends requests when that has changed.
func (p *pods) slice(s *discoveryv1.EndpointSlice, deleted bool) {
	name := s.Labels[discoveryv1.LabelServiceName]
	if !slices.ContainsFunc(p.services, func(of *service.Service) bool { return of.Name == name }) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.endpoints[name] == nil {
		p.endpoints[name] = map[string][]string{}
	}
	delete(p.endpoints[name], s.Name)
	if !deleted {
		var list []string
		for _, e := range s.Endpoints {
			// Serving is true for a pod that ends and still answers, which gets requests where nothing else is ready.
			if e.TargetRef != nil && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				list = append(list, e.TargetRef.Name)
			}
		}
		p.endpoints[name][s.Name] = list
	}
	var all []string
	for _, list := range p.endpoints[name] {
		all = append(all, list...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	text := strings.Join(all, " ")
	if was, is := p.told[name]; !is || was != text {
		p.told[name] = text
		p.put(&evidence.Endpoints{Service: name, Pods: append([]string{}, all...)})
	}
}

// instances are the pods that are there now.
func (p *pods) instances() []service.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []service.Instance
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		is := p.known[name]
		if is.gone {
			continue
		}
		all = append(all, service.Instance{Name: name, Service: is.service.Name, URL: fmt.Sprintf("%s/%s/%d", p.at, name, is.service.Kubernetes.Port),
			Restarts: func() int { p.mu.Lock(); defer p.mu.Unlock(); return is.restarts }, Blind: p.blinded})
	}
	return all
}

// ready is how many pods of a service are.
func (p *pods) ready(of *service.Service) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, is := range p.known {
		if _, ready := is.said["ready"]; ready && is.service == of && !is.gone {
			n++
		}
	}
	return n
}

// blinded says why pods cannot be asked alone now; nil: the API server answers.
func (p *pods) blinded() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blind
}

// serve opens the way to each pod alone, for the harness on 127.0.0.1: /POD/PORT/path goes through the API server's proxy. A
// token in the path keeps others of this machine from it.
func (p *pods) serve() error {
	transport, err := rest.TransportFor(p.cluster.rest)
	if err != nil {
		return err
	}
	to, err := url.Parse(p.cluster.rest.Host)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secret := "/" + token()
	p.at = "http://" + listener.Addr().String() + secret
	way := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			pod, rest, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, secret+"/"), "/")
			port, path, _ := strings.Cut(rest, "/")
			r.SetURL(to)
			r.Out.URL.Path = fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%s/proxy/%s", p.namespace, pod, port, path)
			r.Out.URL.RawPath = ""
		},
		ModifyResponse: notTheServers,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, errUnreached) && r.Context().Err() == nil {
				p.sees(fmt.Errorf("the API server does not answer: %w", err))
			}
			panic(http.ErrAbortHandler) // nobody has answered: the connection breaks, as it would have without a proxy
		},
	}
	p.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, secret+"/") {
			http.NotFound(w, r)
			return
		}
		way.ServeHTTP(w, r)
	})}
	go func() { _ = p.server.Serve(listener) }() // until it is closed
	return nil
}

// look keeps asking whether the API server answers, more quickly than a pod is given up: who asks a pod through it must know
// which of the two is silent.
func (p *pods) look() {
	const every, within = 200 * time.Millisecond, 500 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		_, err := p.cluster.client.Discovery().RESTClient().Get().AbsPath("/livez/ping").DoRaw(ctx)
		cancel()
		if apierrors.IsForbidden(err) { // it answers, whatever an account may ask it
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("the API server does not answer: %w", err)
		}
		p.sees(err)
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

// sees notes whether the API server answers. While it does not, nobody knows what became of pods: that is a gap.
func (p *pods) sees(blind error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch was := p.blind; {
	case was == nil && blind != nil:
		p.since = p.now()
	case was != nil && blind == nil:
		p.put(&evidence.Gap{Of: "pods", From: p.since, To: p.now(), Why: was.Error()})
	}
	p.blind = blind
}

var errUnreached = errors.New("the pod does not answer")

// notTheServers tells an answer of the pod itself from one of the API server: that the pod does not answer, or is not there;
// anything else that the API server says means that nobody knows.
func notTheServers(r *http.Response) error {
	if r.StatusCode < 400 {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, 4<<10))
	if err != nil {
		return errUnreached
	}
	var status metav1.Status
	said := json.Unmarshal(head, &status) == nil && status.Kind == "Status"
	switch {
	case bytes.Contains(head, []byte("error trying to reach service")), said && r.StatusCode == http.StatusNotFound:
		return errUnreached
	case said:
		return fmt.Errorf("it answered %s: %s", r.Status, status.Message)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	return nil
}

// end stops watching.
func (p *pods) end() {
	p.ended.Do(func() {
		p.sees(nil) // a gap ends with the observation
		close(p.stop)
		_ = p.server.Close() // connections are the harness's own
		p.factory.Shutdown()
	})
}
