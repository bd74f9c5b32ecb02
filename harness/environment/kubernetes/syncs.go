package kubernetes

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"backout/harness/evidence"
)

// syncs tells what Argo CD says of the applications of a drill, by a watch, and of commits that arrive.
type syncs struct {
	put      func(evidence.Kind)
	services map[string]string // application -> service
	stop     chan struct{}
	ended    sync.Once
	factory  dynamicinformer.DynamicSharedInformerFactory
	told     map[string]*told // the informer calls from one goroutine alone
}

// told is what was said last of an application.
type told struct {
	application
	applied string // the revision that was applied last
}

// application is what Argo CD says of one.
type application struct {
	revision  string // that was compared with the cluster
	sync      string // Synced, OutOfSync, Unknown
	health    string // Healthy, Progressing, Degraded ...
	phase     string // of the operation that runs or ran last: Running, Succeeded, Failed, Error
	began     string // when that began
	operation string // the revision that it applies
	message   string
}

func read(o *unstructured.Unstructured) application {
	at := func(path ...string) string {
		text, _, _ := unstructured.NestedString(o.Object, append([]string{"status"}, path...)...)
		return text
	}
	return application{
		revision: at("sync", "revision"), sync: at("sync", "status"), health: at("health", "status"),
		phase: at("operationState", "phase"), began: at("operationState", "startedAt"), message: at("operationState", "message"),
		operation: cmp.Or(at("operationState", "syncResult", "revision"), at("operationState", "operation", "sync", "revision")),
	}
}

func (a application) text() string {
	text := fmt.Sprintf("it is %s and %s", cmp.Or(a.sync, "not compared yet"), cmp.Or(a.health, "of unknown health"))
	if a.message != "" {
		text += ": " + a.message
	}
	return text
}

// followSyncs begins to watch.
func (s *stage) followSyncs(put func(evidence.Kind)) (*syncs, error) {
	if put == nil {
		put = func(evidence.Kind) {}
	}
	y := &syncs{put: put, services: map[string]string{}, stop: make(chan struct{}), told: map[string]*told{}}
	for _, of := range s.delivered() {
		y.services[s.application(of)] = of.Name
	}
	client, err := dynamic.NewForConfig(s.cluster.rest)
	if err != nil {
		return nil, err
	}
	y.factory = dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, argoNamespace, func(o *metav1.ListOptions) {
		o.LabelSelector = namespaceLabel + "=" + s.namespace
	})
	say := func(o any) {
		if o, is := o.(*unstructured.Unstructured); is {
			y.say(o.GetName(), read(o))
		}
	}
	_, err = y.factory.ForResource(applicationKind).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: say, UpdateFunc: func(_, o any) { say(o) },
	})
	if err != nil {
		return nil, err
	}
	y.factory.Start(y.stop)
	go s.followRepository(y.stop, put)
	return y, nil
}

// say tells what is new of an application.
func (y *syncs) say(name string, now application) {
	of, is := y.services[name]
	if !is {
		return
	}
	was := y.told[name]
	if was == nil {
		was = &told{}
		y.told[name] = was
	}
	tell := func(event, revision, message string) {
		y.put(&evidence.Sync{Application: name, Service: of, Event: event, Revision: revision, Message: strings.TrimSpace(message)})
	}
	if now.revision != "" && now.revision != was.revision {
		tell(evidence.SyncDetected, now.revision, "")
		if now.sync == "Synced" && now.operation != now.revision {
			tell(evidence.SyncSynced, now.revision, "nothing was to be applied")
		}
	}
	if now.sync == "OutOfSync" && was.sync == "Synced" && now.revision == was.revision {
		tell(evidence.SyncDrifted, now.revision, "")
	}
	if now.phase != was.phase || now.began != was.began {
		switch now.phase {
		case "Running":
			tell(evidence.SyncSyncing, now.operation, "")
		case "Succeeded":
			was.applied = now.operation
			tell(evidence.SyncSynced, now.operation, now.message)
		case "Failed", "Error":
			tell(evidence.SyncFailed, now.operation, now.message)
		}
	}
	if now.health != was.health {
		switch now.health {
		case "Healthy":
			tell(evidence.SyncHealthy, cmp.Or(was.applied, now.revision), "")
		case "Degraded":
			tell(evidence.SyncDegraded, cmp.Or(was.applied, now.revision), "")
		}
	}
	was.application = now
}

// end stops watching.
func (y *syncs) end() {
	y.ended.Do(func() {
		close(y.stop)
		y.factory.Shutdown()
	})
}
