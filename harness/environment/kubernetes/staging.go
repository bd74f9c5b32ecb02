package kubernetes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"backout/harness/environment/artefact"
	"backout/harness/environment/containers"
	"backout/harness/service"
)

// stagings are the deployed directories that are whole.
type stagings struct {
	once artefact.Keyed
	mu   sync.Mutex
	done map[string]bool
}

// release makes the deployed directory of a release with its chart or manifests filled in, and brings its image to the
// nodes.
func (s *stage) release(ctx context.Context, of *service.Service, r *service.Release, overlay map[string]string) (string, error) {
	unlock := s.made.once.Lock(of.Name + "/" + r.Name)
	defer unlock()
	dir, err := s.workshop.Stage(ctx, of, r, overlay)
	if err != nil || of.Kubernetes == nil {
		return dir, err
	}
	s.made.mu.Lock()
	whole := s.made.done[dir]
	s.made.mu.Unlock()
	if whole {
		return dir, nil
	}
	image, err := s.workshop.Image(ctx, of, r) // before the rest is there: its content is told by the directory's
	if err != nil {
		return "", err
	}
	select { // until it is known where everything will be
	case <-s.wired:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := s.fill(ctx, dir, of, r); err != nil {
		return "", err
	}
	if err := artefact.Readable(dir); err != nil {
		return "", err
	}
	if err := s.images.bring(ctx, image, s.images.repository(of)+":"+r.Name); err != nil {
		return "", err
	}
	if of == s.need.Service {
		s.images.mu.Lock()
		s.images.made[r.Name] = image
		s.images.mu.Unlock()
		if err := s.images.push(filepath.Join(s.workshop.ScriptsIn(), "push"), of); err != nil {
			return "", err
		}
	}
	s.made.mu.Lock()
	defer s.made.mu.Unlock()
	if s.made.done == nil {
		s.made.done = map[string]bool{}
	}
	s.made.done[dir] = true
	return dir, nil
}

// placeholders of a service's chart and manifests.
func (s *stage) placeholders(of *service.Service, release string) map[string]string {
	words := map[string]string{
		"image":       s.images.repository(of),
		"release":     release,
		"instances":   strconv.Itoa(max(1, of.Instances)),
		"port":        strconv.Itoa(of.Kubernetes.Port),
		"node_port":   strconv.Itoa(s.ways["users/"+of.Name]),
		"environment": environmentOf(of),
		"admin":       adminOf(of),
		"namespace":   s.namespace,
	}
	if of.Kubernetes.GitOps != "" {
		words["repository"], words["git_image"] = s.repositoryInside(), containers.ArgoCD(context.Background())
	}
	return words
}

// Names of the Secrets of a service: what its instances find in their environment, and what its jobs do.
func environmentOf(of *service.Service) string { return of.Name + "-environment" }
func adminOf(of *service.Service) string       { return of.Name + "-admin" }

// fill lays the release's chart and manifests over the service's and puts in what the placeholders stand for.
func (s *stage) fill(ctx context.Context, dir string, of *service.Service, r *service.Release) error {
	words := s.placeholders(of, r.Name)
	k := of.Kubernetes
	if k.Chart != "" {
		if err := overlaid(ctx, artefact.Within(of.Dir, k.Chart), releaseFolder(r, "chart"), filepath.Join(dir, "chart")); err != nil {
			return err
		}
		values, err := filled(k.Values, words)
		if err != nil {
			return fmt.Errorf("%s: values: %w", of.Path, err)
		}
		text, err := yaml.Marshal(values)
		if err != nil {
			return fmt.Errorf("%s: values: %w", of.Path, err)
		}
		return os.WriteFile(filepath.Join(dir, "values.yaml"), text, 0o644)
	}
	to := filepath.Join(dir, "manifests")
	if err := overlaid(ctx, artefact.Within(of.Dir, k.Manifests), releaseFolder(r, "manifests"), to); err != nil {
		return err
	}
	return fillFiles(dir, words)
}

func releaseFolder(r *service.Release, name string) string {
	if r.Dir == "" {
		return ""
	}
	return filepath.Join(r.Dir, name)
}

// overlaid copies a folder, and files of another one over it.
func overlaid(ctx context.Context, from, over, to string) error {
	if err := os.RemoveAll(to); err != nil { // the release's own, which the staging has copied
		return err
	}
	if err := (artefact.Tree{From: from, To: to}).Copy(ctx); err != nil {
		return err
	}
	if over == "" {
		return nil
	}
	if _, err := os.Stat(over); err != nil {
		return nil // it has none
	}
	return artefact.Tree{From: over, To: to}.Copy(ctx)
}

// placeholder of a manifest. Any other ${NAME} is left alone: a script in it may have variables.
var placeholder = regexp.MustCompile(`\$\{[A-Z_]+\}`)

// fillFiles puts placeholders into all YAML files of a deployed directory that a plan or a rollout may apply.
func fillFiles(dir string, words map[string]string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out := filledText(string(text), words)
		if out == string(text) {
			return nil
		}
		return os.WriteFile(path, []byte(out), 0o644)
	})
}

// filledText puts placeholders into a text.
func filledText(text string, words map[string]string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if word, is := words[strings.ToLower(found[2:len(found)-1])]; is {
			return word
		}
		return found
	})
}

var word = regexp.MustCompile(`\{([a-z_]+)\}`)

// filled replaces the placeholders of a chart's values. A text that is one placeholder and reads as a number is that number.
func filled(v any, words map[string]string) (any, error) {
	switch v := v.(type) {
	case string:
		var wrong error
		out := word.ReplaceAllStringFunc(v, func(found string) string {
			text, is := words[found[1:len(found)-1]]
			if !is {
				wrong = fmt.Errorf("%s is no placeholder; there are {image}, {release}, {instances}, {port}, {node_port}, {environment}, {admin} and {namespace}", found)
			}
			return text
		})
		if n, err := strconv.Atoi(out); err == nil && word.FindString(v) == v {
			return n, wrong
		}
		return out, wrong
	case map[string]any:
		all := map[string]any{}
		for name, inner := range v {
			text, err := filled(inner, words)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[name] = text
		}
		return all, nil
	case []any:
		all := make([]any, len(v))
		for i, inner := range v {
			text, err := filled(inner, words)
			if err != nil {
				return nil, err
			}
			all[i] = text
		}
		return all, nil
	}
	return v, nil
}
