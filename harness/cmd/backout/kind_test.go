package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/environment/kubernetes"
	"backout/harness/service"
	"backout/harness/verdict"
)

// onKind is a machine whose drills happen on kind, with a home of its own: its kubeconfig is that of somebody who works there.
func onKind(t *testing.T) machine {
	t.Helper()
	if os.Getenv("BACKOUT_KIND") == "" {
		t.Skip("tests on kind are run by make test-kind")
	}
	m := newMachine(t)
	shop, err := service.Load(filepath.Join(m.root, "fixtures/services/shop/service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if why := kubernetes.Lacks([]*service.Service{shop}); why != "" {
		t.Fatal(why)
	}
	m.in = "kind"
	home := filepath.Join(m.dir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".kube"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, ".kube/config")
	theirs := []byte("apiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts: []\n")
	if err := os.WriteFile(config, theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if now, err := os.ReadFile(config); err != nil || !bytes.Equal(now, theirs) {
			t.Errorf("the user's kubeconfig was changed: %v\n%s", err, now)
		}
	})
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "HOME="+home, "XDG_CACHE_HOME="+cache)
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, name+"="+strings.TrimSpace(string(value)))
	}
	return m
}

// planes are the nodes of the control planes of clusters for drills.
func planes(t *testing.T) []string {
	t.Helper()
	nodes, err := exec.Command("docker", "ps", "-q", "--filter", "label=io.x-k8s.kind.cluster", "--filter", "name=backout-.*-control-plane").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(nodes))
}

// kubectlOn runs kubectl on a node, with all rights.
func kubectlOn(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", node, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// onNodes is what of some runs is left in clusters and on their nodes.
func onNodes(t *testing.T, tokens []string) (left []string) {
	t.Helper()
	for _, node := range planes(t) {
		left = append(left, onNode(t, node, tokens)...)
	}
	return left
}

// onNode is that of one cluster: namespaces, what is in none, what is in Argo CD's, and names of images.
func onNode(t *testing.T, node string, tokens []string) (left []string) {
	t.Helper()
	images, err := exec.Command("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := string(images) + kubectlOn(t, node, "get", "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings", "-o", "name")
	if strings.Contains(all, "namespace/argocd\n") {
		all += kubectlOn(t, node, "--namespace", "argocd", "get", "applicationsets,applications,appprojects,roles,rolebindings,secrets", "-o", "name")
	}
	for line := range strings.Lines(all) {
		for _, token := range tokens {
			if strings.Contains(line, token) {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	return left
}

// A drill on kind that is interrupted or killed leaves nothing in the cluster; the one that is killed needs backout clean for it.
func TestInterruptedOnKind(t *testing.T) {
	for _, c := range []struct {
		phase, log string
		signal     syscall.Signal
	}{
		{"baseline", "baseline", syscall.SIGTERM},
		{"rolled back", "rollback", syscall.SIGINT},
		{"rolled back", "rollback", syscall.SIGKILL},
	} {
		t.Run(c.signal.String()+" in "+c.log, func(t *testing.T) {
			m := onKind(t)
			var tokens []string
			code, stderr := m.start(c.phase, func(cmd *exec.Cmd) {
				tokens = m.tokens()
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			})
			if len(tokens) != 1 {
				t.Fatalf("one run was expected in the register, found %v", tokens)
			}
			if c.signal == syscall.SIGKILL {
				if left := onNodes(t, tokens); len(left) < 3 {
					t.Errorf("a killed run leaves what it had made, found %v", left)
				}
				if out, code := m.run("clean"); code != 0 || !strings.Contains(out, "removed the namespace") {
					t.Errorf("clean: exit %d:\n%s", code, out)
				}
			} else if code != verdict.ExitInconclusive {
				t.Errorf("exit %d, expected %d\n%s", code, verdict.ExitInconclusive, stderr)
			}
			if left := onNodes(t, tokens); len(left) > 0 {
				t.Errorf("left in the cluster: %v", left)
			}
			if left := labelled(t, tokens...); len(left) > 0 {
				t.Errorf("left in Docker: %v", left)
			}
			m.nothingLeft()
			m.judgedAs(c.log, false)
		})
	}
}

// What a killed drill has in Argo CD's namespace goes as well, with finalizers that others have put on it, and nothing of it is brought back
// by Argo CD meanwhile.
func TestADrillUnderGitOpsThatIsKilledOnKind(t *testing.T) {
	for _, drill := range []string{"features/kubernetes/gitops-revert.feature:11", "features/kubernetes/gitops-applicationset.feature:11"} {
		t.Run(filepath.Base(drill), func(t *testing.T) {
			m := onKind(t)
			m.drill = drill
			var tokens []string
			applications := 0
			_, _ = m.start("rolled back", func(cmd *exec.Cmd) {
				tokens = m.tokens()
				for _, node := range planes(t) {
					for _, left := range onNode(t, node, tokens) {
						if name, is := strings.CutPrefix(left, "application.argoproj.io/"); is {
							applications++
							kubectlOn(t, node, "--namespace", "argocd", "patch", "application", name, "--type=merge", "-p", `{"metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"]}}`)
						}
					}
				}
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			})
			if len(tokens) != 1 || applications == 0 {
				t.Fatalf("expected one run with Applications, found %v with %d", tokens, applications)
			}
			if left := strings.Join(onNodes(t, tokens), " "); !strings.Contains(left, "appproject.argoproj.io/") || !strings.Contains(left, "rolebinding.rbac.authorization.k8s.io/") {
				t.Errorf("a killed run leaves what it had made, found %s", left)
			}
			if out, code := m.run("clean"); code != 0 || !strings.Contains(out, "removed the namespace") {
				t.Errorf("clean: exit %d:\n%s", code, out)
			}
			if left := onNodes(t, tokens); len(left) > 0 {
				t.Errorf("left in the cluster: %v", left)
			}
			if left := labelled(t, tokens...); len(left) > 0 {
				t.Errorf("left in Docker: %v", left)
			}
			m.nothingLeft()
			m.judgedAs("rollback", false)
		})
	}
}

// A cluster that is being made when the drill is interrupted or killed is gone afterwards; kind itself takes no interruption.
func TestInterruptedWhileAClusterIsMade(t *testing.T) {
	network := func() string {
		out, err := exec.Command("docker", "network", "ls", "-q", "--filter", "name=^kind$").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			m := onKind(t)
			before := network()
			m.env = append(m.env, "XDG_CACHE_HOME="+filepath.Join(m.dir, "cache")) // where no cluster is yet
			cmd := m.command("run", m.feature()+":8", "--reports", filepath.Join(m.dir, "reports"), "--env", "kind")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			name := ""
			for begun := time.Now(); name == "" && time.Since(begun) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
				if found, _ := filepath.Glob(filepath.Join(m.dir, "cache/backout/kind/*.lock")); len(found) == 1 {
					name = strings.TrimSuffix(filepath.Base(found[0]), ".lock")
				}
				if name != "" && nodesOf(t, name) == "" {
					name = "" // until its first container is there
				}
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			<-ended
			if name == "" {
				t.Fatal("no cluster was begun")
			}
			if signal == syscall.SIGKILL {
				if out, code := m.run("clean"); code != 0 || !strings.Contains(out, "which was not whole") {
					t.Errorf("clean: exit %d:\n%s", code, out)
				}
			}
			if left := nodesOf(t, name); left != "" {
				t.Errorf("nodes are left: %s", left)
			}
			if now := network(); before == "" && now != "" {
				t.Error("the network of kind is left, and was not there before")
			}
			m.nothingLeft()
		})
	}
}

func nodesOf(t *testing.T, cluster string) string {
	t.Helper()
	out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster="+cluster).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
