package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/environment/kubernetes"
)

// bystander is what somebody else has in the namespace.
const bystander = `apiVersion: apps/v1
kind: Deployment
metadata: {name: bystander}
spec:
  replicas: 1
  selector: {matchLabels: {app: bystander}}
  template:
    metadata: {labels: {app: bystander}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: pause, image: "registry.k8s.io/pause:3.10", imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Secret
metadata: {name: bystander}
stringData: {theirs: secret}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: bystander}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`

// owner is who owns a namespace of a cluster that exists, and lets a machine drill in it.
type owner struct {
	t          *testing.T
	kubeconfig string // with all rights
	context    string
	namespace  string
}

func (o owner) kubectl(in string, args ...string) string {
	o.t.Helper()
	c := exec.Command("kubectl", append([]string{"--kubeconfig", o.kubeconfig}, args...)...)
	c.Stdin = strings.NewReader(in)
	var wrong bytes.Buffer
	c.Stderr = &wrong
	out, err := c.Output()
	if err != nil {
		o.t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out, wrong.String())
	}
	return strings.TrimSpace(string(out))
}

func (o owner) in(args ...string) string {
	o.t.Helper()
	return o.kubectl("", append([]string{"--namespace", o.namespace}, args...)...)
}

// everything is what is in the namespace, each object with its version; endpoints and pods come and go by themselves.
func (o owner) everything() string {
	o.t.Helper()
	return o.in("get", "deployments,statefulsets,daemonsets,jobs,services,secrets,configmaps,persistentvolumeclaims,serviceaccounts,poddisruptionbudgets,leases",
		"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
}

// inCluster is a machine whose drills happen in a namespace of a cluster that exists, with the account of `backout rbac`. The
// cluster is kind's own, which to these drills is one like any other.
func inCluster(t *testing.T) (machine, owner) {
	t.Helper()
	m := onKind(t)
	cache := ""
	for _, e := range m.env {
		if v, is := strings.CutPrefix(e, "XDG_CACHE_HOME="); is {
			cache = v
		}
	}
	m.drill = "features/kubernetes/rollout-undo.feature"
	files, _ := filepath.Glob(filepath.Join(cache, "backout/kind/*.kubeconfig"))
	if len(files) == 0 {
		if out, code := m.run("run", m.drill, "--env", "kind", "--reports", filepath.Join(m.dir, "made")); code != 0 {
			t.Fatalf("make a cluster: exit %d\n%s", code, out)
		}
		files, _ = filepath.Glob(filepath.Join(cache, "backout/kind/*.kubeconfig"))
	}
	o := owner{t: t, kubeconfig: files[0], namespace: fmt.Sprintf("test-%d", time.Now().UnixNano())}
	o.context = o.kubectl("", "config", "current-context")
	o.kubectl("", "create", "namespace", o.namespace)
	t.Cleanup(func() { o.kubectl("", "delete", "namespace", o.namespace, "--wait=false") })
	o.kubectl("", "label", "namespace", o.namespace, "backout.io/drills=permitted")
	rbac, err := kubernetes.RBAC(o.namespace)
	if err != nil {
		t.Fatal(err)
	}
	o.kubectl(rbac, "apply", "-f", "-")
	o.kubectl(bystander, "apply", "--namespace", o.namespace, "-f", "-")
	o.in("rollout", "status", "deployment/bystander", "--timeout=60s")

	// The machine's own kubeconfig: the account's, under a name of its own.
	token := o.in("create", "token", "backout", "--duration", "2h")
	theirs := filepath.Join(m.dir, "theirs")
	if err := os.WriteFile(theirs, []byte(o.kubectl("", "config", "view", "--raw", "--minify")), 0o600); err != nil {
		t.Fatal(err)
	}
	mine := owner{t: t, kubeconfig: theirs}
	mine.kubectl("", "config", "set-credentials", "backout", "--token", token)
	mine.kubectl("", "config", "set-context", "far", "--cluster", o.context, "--user", "backout")
	mine.kubectl("", "config", "unset", "current-context")
	before, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if now, err := os.ReadFile(theirs); err != nil || !bytes.Equal(now, before) {
			t.Errorf("the user's kubeconfig was changed: %v", err)
		}
	})
	m.in = "cluster"
	m.flags = []string{"--kubeconfig", theirs, "--context", "far", "--namespace", o.namespace, "--max-share", "90"}
	return m, o
}

func (m machine) drilled(flags ...string) (out string, code int) {
	m.t.Helper()
	args := []string{"run", m.drill, "--env", m.in, "--seed", "7", "--reports", filepath.Join(m.dir, fmt.Sprintf("reports-%d", time.Now().UnixNano()))}
	return m.run(append(append(args, m.flags...), flags...)...)
}

// The account that `backout rbac` prints can drill, and leaves what others have as it was.
func TestADrillInAClusterThatExistsLeavesItAsItWas(t *testing.T) {
	m, o := inCluster(t)
	before := o.everything()
	if out, code := m.drilled(); code != 0 {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if after := o.everything(); after != before {
		t.Errorf("the namespace was\n%s\nand is\n%s", before, after)
	}
	if pods := o.in("get", "pods", "-o", "name"); strings.Count(pods, "\n") != 0 || !strings.Contains(pods, "bystander") {
		t.Errorf("pods that are left: %s", pods)
	}
	m.nothingLeft()
}

// One right less, and the drill is refused before anything is made; and so it is for every other reason.
func TestADrillInAClusterThatExistsIsRefused(t *testing.T) {
	m, o := inCluster(t)
	before := o.everything()
	refused := func(t *testing.T, text string, flags ...string) {
		t.Helper()
		if out, code := m.drilled(flags...); code != 3 || !strings.Contains(strings.Join(strings.Fields(out), " "), text) {
			t.Errorf("exit %d, expected 3 and %q:\n%s", code, text, out)
		}
		if after := o.everything(); after != before {
			t.Errorf("the namespace was\n%s\nand is\n%s", before, after)
		}
	}
	rbac, err := kubernetes.RBAC(o.namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ without, missing string }{
		{"pods/portforward", "create pods/portforward"},
		{"leases", "create leases.coordination.k8s.io"},
		{"endpointslices", "watch endpointslices.discovery.k8s.io"},
		{"deployments/scale", "patch deployments.apps/scale"},
	} {
		t.Run("without the right to "+c.without, func(t *testing.T) {
			less := strings.Replace(rbac, "  - "+c.without+"\n", "  - nothing\n", 1)
			if less == rbac {
				t.Fatalf("no rule names %s:\n%s", c.without, rbac)
			}
			o.kubectl(less, "apply", "-f", "-")
			defer o.kubectl(rbac, "apply", "-f", "-")
			before = o.everything()
			refused(t, c.missing)
		})
	}
	before = o.everything()
	t.Run("where too few pods are allowed", func(t *testing.T) { refused(t, "the drill would have 4 pods, more than 3", "--max-pods", "3") })
	t.Run("where its share would be too large", func(t *testing.T) {
		refused(t, "4 of then 5 pods in the namespace (80 %), more than 50 %", "--max-share", "50")
	})
	t.Run("where a pattern forbids it", func(t *testing.T) {
		refused(t, "the context far: expected none that matches ^far$", "--forbid", "^far$")
	})
	t.Run("where a quota is too small", func(t *testing.T) {
		o.in("create", "quota", "small", "--hard=secrets=2")
		defer o.in("delete", "quota", "small")
		refused(t, "exceeded quota: small")
	})
	t.Run("where a name is taken", func(t *testing.T) {
		o.in("create", "configmap", "stand-flags")
		before = o.everything()
		refused(t, "configmaps/stand-flags was in the namespace")
		o.in("delete", "configmap", "stand-flags")
	})
	t.Run("without the label", func(t *testing.T) {
		o.kubectl("", "label", "namespace", o.namespace, "backout.io/drills-")
		before = o.everything()
		refused(t, "expected the label backout.io/drills=permitted")
	})
}

// A drill that is killed keeps others out until it is cleaned away, which needs the register alone.
func TestADrillThatIsKilledInAClusterThatExists(t *testing.T) {
	m, o := inCluster(t)
	before := o.everything()
	_, _ = m.start("rolled back", func(cmd *exec.Cmd) {
		other := m
		other.env = append(append([]string{}, m.env...), "XDG_STATE_HOME="+filepath.Join(m.dir, "other"))
		out, code := other.drilled()
		if code != 3 || !strings.Contains(out, "a drill is under way in the namespace "+o.namespace) || !strings.Contains(out, m.tokens()[0]) {
			t.Errorf("a second drill: exit %d\n%s", code, out)
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	register := m.registers()
	if len(register) != 1 {
		t.Fatalf("one run was expected in the register, found %v", register)
	}
	text, err := os.ReadFile(register[0])
	if err != nil || strings.Contains(string(text), "eyJ") { // how tokens of accounts begin
		t.Errorf("the register holds a token, or cannot be read: %v", err)
	}
	if o.everything() == before {
		t.Error("a killed run leaves what it had made")
	}
	if out, code := m.run("clean"); code != 0 || !strings.Contains(out, "from the namespace "+o.namespace+" of far") {
		t.Errorf("clean: exit %d:\n%s", code, out)
	}
	if after := o.everything(); after != before {
		t.Errorf("the namespace was\n%s\nand is\n%s", before, after)
	}
	m.nothingLeft()
}

// A Lease whose holder has not renewed it for longer than it lasts is taken over, and whose it was is told.
func TestALeaseThatHasExpiredInAClusterThatExists(t *testing.T) {
	m, o := inCluster(t)
	before := o.everything()
	o.kubectl(`apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: backout-drill}
spec: {holderIdentity: somebody@elsewhere, leaseDurationSeconds: 30, renewTime: "2026-01-02T03:04:05.000000Z"}
`, "apply", "--namespace", o.namespace, "-f", "-")
	out, code := m.drilled()
	if code != 0 || !strings.Contains(out, "took over the Lease backout-drill of "+o.namespace+", which had expired: it was held by somebody@elsewhere") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if after := o.everything(); after != before {
		t.Errorf("the namespace was\n%s\nand is\n%s", before, after)
	}
	m.nothingLeft()
}
