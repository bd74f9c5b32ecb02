package kubernetes

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
)

// realCluster is one of kind that is there, which is a cluster like any other to who is given its kubeconfig.
func realCluster(t *testing.T) (*cluster, environment.Options) {
	t.Helper()
	if os.Getenv("BACKOUT_KIND") == "" {
		t.Skip("tests on kind are run by make test-kind")
	}
	c, err := ofCache("")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.all() {
		found, whole := c.noted(name)
		if !whole || strings.HasSuffix(name, aloneEnding) {
			continue
		}
		lock, err := artefact.LockFile(t.Context(), c.path(name, ".lock"), unix.LOCK_SH, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { lock.Close() })
		k, err := c.patient(t.Context(), name, found.Recipe)
		if err != nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(path, k.kubeconfig, 0o600); err != nil {
			t.Fatal(err)
		}
		ns := "test-" + strconv.FormatInt(time.Now().UnixNano(), 10)
		api := k.client.CoreV1().Namespaces()
		_, err = api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{permitLabel: permitted}}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = api.Delete(t.Context(), ns, metav1.DeleteOptions{}) })
		return k, environment.Options{Kubeconfig: path, Context: "kind-" + name, Namespace: ns, MaxShare: 90}
	}
	t.Fatal("expected a cluster of kind, found none: backout run features/kubernetes/rollout-undo.feature --env kind makes one")
	return nil, environment.Options{}
}

const pausing = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: made}
spec:
  replicas: 1
  serviceName: made
  selector: {matchLabels: {app: made}}
  template:
    metadata: {labels: {app: made, backout.part: gateway}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: pause, image: "registry.k8s.io/pause:3.10", imagePullPolicy: IfNotPresent, volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
    - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
`

// kubectl reaches a cluster by the door as it does without one, except for what a drill must not do; and all that it made goes.
func TestKubectlInAClusterThatExists(t *testing.T) {
	k, o := realCluster(t)
	theirs := k.client.CoreV1().ConfigMaps(o.Namespace)
	was, err := theirs.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	place := &existing{options: o, stop: func() {}}
	if _, err := place.enter(t.Context(), "t1", func(text string) { t.Log(text) }); err != nil {
		t.Fatal(err)
	}
	if err := place.lease.take(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	place.begun = true
	config := filepath.Join(t.TempDir(), "drill")
	if err := place.door.kubeconfig(config); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "made.yaml")
	if err := os.WriteFile(manifest, []byte(pausing), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := filepath.Join(t.TempDir(), "flags.yaml")
	if err := os.WriteFile(flags, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: flags}\ndata: {a: b}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ command, want string }{
		{"apply -f " + manifest, "statefulset.apps/made created"},
		{"apply -f " + flags, "configmap/flags created"},
		{"apply -f " + flags, "configmap/flags unchanged"}, // the label of the run is no difference
		{"apply --server-side --force-conflicts -f " + manifest, "serverside-applied"},
		{"rollout status statefulset/made --timeout=60s", "roll out complete"},
		{"get statefulset made -o jsonpath={.metadata.labels}", `"backout.run":"t1"`},
		{"create configmap ours --from-literal=a=b", "created"},
		{"create configmap ours --from-literal=a=c", "already exists"},
		{"patch configmap ours -p {\"data\":{\"a\":\"c\"}}", "patched"},
		{"logs made-0", ""},
		{"exec made-0 -- /pause -v", "pause"},
		{"delete pod made-0 --wait=false", "deleted"},
		{"patch configmap theirs -p {\"data\":{\"a\":\"c\"}}", "configmaps/theirs was in the namespace " + o.Namespace + " before the drill"},
		{"delete configmap theirs", "was in the namespace"},
		{"get nodes", "does not reach what is in no namespace (nodes)"},
		{"get pods -n kube-system", "does not reach the namespace kube-system"},
		{"create role mine --verb=get --resource=pods", "changes no roles"},
	} {
		cmd := exec.Command("kubectl", strings.Fields(c.command)...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+config)
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), c.want) {
			t.Errorf("kubectl %s: expected %q, found %s", c.command, c.want, out)
		}
	}
	// Nobody listens in that pod: who comes by the way is reset, and does not wait.
	w, err := place.ways.open("gateway", 9)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("reading from nobody gave %v", err)
	}
	conn.Close()
	if err := place.leave(t.Context()); err != nil {
		t.Error(err)
	}
	now, err := theirs.Get(t.Context(), "theirs", metav1.GetOptions{})
	if err != nil || now.ResourceVersion != was.ResourceVersion {
		t.Errorf("what was there has changed: %v", err)
	}
	claims, err := k.client.CoreV1().PersistentVolumeClaims(o.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(claims.Items) != 0 {
		t.Errorf("claims that are left: %v, %v", claims, err)
	}
	pods, err := k.client.CoreV1().Pods(o.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 0 {
		t.Errorf("pods that are left: %d, %v", len(pods.Items), err)
	}
}
