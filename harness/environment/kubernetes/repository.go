package kubernetes

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/containers"
	"backout/harness/environment/wiring"
	"backout/harness/evidence"
	"backout/harness/service"
)

// The repository of a drill, with a folder a service, on a server of Git in the drill's namespace.
const (
	gitName        = "git"
	gitPort        = 9418
	repositoryName = "deployments"
	branch         = "main"
)

// serveGit begins an empty repository, and lets everybody read and push who reaches it: the drill's own operator and hooks.
const serveGit = `git init --quiet --bare --initial-branch=` + branch + ` /tmp/served/` + repositoryName + ` &&
exec git daemon --reuseaddr --export-all --enable=receive-pack --base-path=/tmp/served /tmp/served`

// delivered are the services that are deployed by GitOps.
func (s *stage) delivered() (all []*service.Service) {
	for _, of := range wiring.ThatRun(s.need, service.InKubernetes) {
		if of.Kubernetes.GitOps != "" {
			all = append(all, of)
		}
	}
	return all
}

// repositoryInside is the URL of the repository for whoever is in the cluster.
func (s *stage) repositoryInside() string {
	return fmt.Sprintf("git://%s.%s.svc:%d/%s", gitName, s.namespace, gitPort, repositoryName)
}

func (s *stage) gitAt() string {
	return fmt.Sprintf("127.0.0.1:%d", s.cluster.ports[s.ways[gitName]])
}

// clone is where the operator of the drill has the repository.
func (s *stage) clone() string { return filepath.Join(s.workshop.Dir(), "repository") }

// gitOps is what commands find of GitOps. The configuration of Git and of argocd that whoever runs the drill has is not theirs.
func (s *stage) gitOps() map[string]string {
	if len(s.delivered()) == 0 {
		return nil
	}
	all := map[string]string{
		"GIT_URL":           "git://" + s.gitAt() + "/" + repositoryName,
		"REPOSITORY":        s.clone(),
		"ARGOCD_KUBECONFIG": s.argoKubeconfig(), "ARGOCD_CONFIG_DIR": filepath.Join(s.workshop.Dir(), "argocd"),
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
	}
	for _, of := range s.delivered() {
		if of == s.need.Service || all["APP"] == "" {
			all["APP"] = s.application(of)
		}
	}
	return all
}

// deliver deploys the good releases as GitOps does: their manifests are committed to the repository, and its controller is told
// to bring the cluster to what is there.
func (s *stage) deliver(ctx context.Context) error {
	if err := s.serveRepository(ctx); err != nil {
		return err
	}
	if err := s.firstCommit(ctx); err != nil {
		return fmt.Errorf("commit the good releases: %w", err)
	}
	return s.applications(ctx)
}

func (s *stage) serveRepository(ctx context.Context) error {
	image := containers.ArgoCD(ctx)
	if err := s.images.bring(ctx, image, ""); err != nil {
		return err
	}
	if err := s.create(ctx, gitName, map[int]int{gitPort: s.ways[gitName]}, nil); err != nil {
		return err
	}
	pod := s.container(gitName, image, []string{"sh", "-c", serveGit}, nil)
	if _, err := s.cluster.client.AppsV1().Deployments(s.namespace).Create(ctx, deployed(gitName, pod), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the Deployment %s: %w", gitName, err)
	}
	return environment.Until(ctx, "the server of Git answers", func(ctx context.Context) error {
		if _, err := headOf(ctx, s.gitAt()); err != nil {
			return errors.Join(err, pause(ctx, argoPause))
		}
		return nil
	})
}

// firstCommit has the good releases in the repository, a folder a service.
func (s *stage) firstCommit(ctx context.Context) error {
	dir := s.clone()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	title := ""
	for _, of := range s.delivered() {
		r := wiring.Release(s.need, of)
		from, err := s.release(ctx, of, r, nil)
		if err != nil {
			return err
		}
		if err := (artefact.Tree{From: filepath.Join(from, "manifests"), To: filepath.Join(dir, of.Name)}).Copy(ctx); err != nil {
			return err
		}
		if title != "" {
			title += ", "
		}
		title += of.Name + " " + r.Name
	}
	for _, words := range [][]string{
		{"init", "--quiet", "--initial-branch=" + branch},
		{"config", "user.name", "Operator"},
		{"config", "user.email", "operator@drill.invalid"},
		{"remote", "add", "origin", s.gitOps()["GIT_URL"]},
		{"add", "--all"},
		{"commit", "--quiet", "--message", title},
		{"push", "--quiet", "--set-upstream", "origin", branch},
	} {
		if err := s.command(ctx, dir, append([]string{"git"}, words...)...); err != nil {
			return err
		}
	}
	return nil
}

// followRepository tells of every commit that arrives, until stop is closed. It asks as git ls-remote does, ten times a second.
func (s *stage) followRepository(stop <-chan struct{}, put func(evidence.Kind)) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		head, err := headOf(ctx, s.gitAt())
		cancel()
		if err == nil && head != last { // a server that does not answer tells nothing new
			last = head
			for _, of := range s.delivered() {
				put(&evidence.Sync{Application: s.application(of), Service: of.Name, Event: evidence.SyncCommitted, Revision: head})
			}
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// headOf asks a server of Git for the commit that the branch is at; empty: there is none yet. The first line of its answer says
// so. Source: gitprotocol-pack(5).
func headOf(ctx context.Context, address string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if at, is := ctx.Deadline(); is {
		if err := conn.SetDeadline(at); err != nil {
			return "", err
		}
	}
	request := "git-upload-pack /" + repositoryName + "\x00host=" + gitName + "\x00"
	if _, err := fmt.Fprintf(conn, "%04x%s", len(request)+4, request); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	size := make([]byte, 4)
	if _, err := io.ReadFull(in, size); err != nil {
		return "", err
	}
	if string(size) == "0000" {
		return "", nil // there is no commit yet
	}
	n, err := strconv.ParseUint(string(size), 16, 16)
	if err != nil || n < 44 {
		return "", fmt.Errorf("expected a line that begins with a commit, found one of %q", size)
	}
	head := make([]byte, 40)
	if _, err := io.ReadFull(in, head); err != nil {
		return "", err
	}
	if _, err := hex.DecodeString(string(head)); err != nil {
		return "", fmt.Errorf("expected a commit, found %q", head)
	}
	_, err = io.WriteString(conn, "0000") // nothing is wanted
	return string(head), err
}
