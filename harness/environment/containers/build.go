package containers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"backout/harness/environment/artefact"
	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// imageOnce makes the image of a release once for a run.
type imageOnce struct {
	sync.Mutex
	name string // in this run; empty: not made yet
}

// repository of a service's images in this run: the tag is the release.
func (s *stage) repository(of *service.Service) string {
	return prefix + s.engine.token + "/" + strings.ToLower(of.Name)
}

// image makes the image of a release, whose deployed directory is there, and returns its name in this run.
func (s *stage) image(ctx context.Context, of *service.Service, r *service.Release) (string, error) {
	name := s.repository(of) + ":" + r.Name
	s.mu.Lock()
	once := s.images[name]
	if once == nil {
		once = &imageOnce{}
		s.images[name] = once
	}
	s.mu.Unlock()
	once.Lock()
	defer once.Unlock()
	if once.name != "" {
		return once.name, nil
	}
	made, err := s.source(ctx, of, r)
	if err != nil {
		return "", fmt.Errorf("the image of %s %s: %w", of.Name, r.Name, err)
	}
	if _, err := s.docker.ImageTag(ctx, client.ImageTagOptions{Source: made, Target: name}); err != nil {
		return "", fmt.Errorf("the image of %s %s: %w", of.Name, r.Name, err)
	}
	once.name = name
	return name, nil
}

// fetch pulls what the environment itself starts and this machine has not.
func (s *stage) fetch(ctx context.Context) error {
	needed := []string{s.use.postgres}
	if len(wiring.Caches(s.need)) > 0 {
		needed = append(needed, s.use.redis)
	}
	if s.registry != nil {
		needed = append(needed, s.use.registry)
	}
	for _, image := range needed {
		if err := s.have(ctx, image); err != nil {
			return fmt.Errorf("%w; or run make images", err)
		}
	}
	return nil
}

// have pulls an image that is not here.
func (s *stage) have(ctx context.Context, image string) error {
	if _, err := s.docker.ImageInspect(ctx, image); err == nil {
		return nil
	}
	s.Say("pulling " + image)
	if err := pull(ctx, s.docker, image); err != nil {
		return fmt.Errorf("%s is not here: %w", image, err)
	}
	return nil
}

// source is the image of a release as service.yaml says how it is made or where it is from.
func (s *stage) source(ctx context.Context, of *service.Service, r *service.Release) (string, error) {
	c := of.Containers
	if c.Compose != "" { // a release may be staged while Provision has not looked for projects yet
		select {
		case <-s.connected:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if p := s.projects[of]; p != nil {
		return p.image(ctx, r)
	}
	if c.Image != "" {
		ref := strings.ReplaceAll(c.Image, "{release}", r.Name)
		if err := s.have(ctx, ref); err != nil {
			return "", fmt.Errorf("%s: %w", of.Path, err)
		}
		return ref, nil
	}
	if c.Dockerfile == "" {
		return "", fmt.Errorf("%s: run.containers has neither dockerfile nor image", of.Path)
	}
	return s.build(ctx, of, r)
}

// build makes an image with the release's deployed directory as its context. It is kept for the same contents.
func (s *stage) build(ctx context.Context, of *service.Service, r *service.Release) (string, error) {
	dir := filepath.Join(s.stages.Dir, of.Name, r.Name)
	recipe, err := os.ReadFile(artefact.Within(of.Dir, of.Containers.Dockerfile))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "image 1\n%x\n", sha256.Sum256(recipe))
	if err := artefact.HashTree(sum, dir, nil); err != nil {
		return "", err
	}
	repository, tag := "backout/"+strings.ToLower(of.Name), r.Name+"-"+hex.EncodeToString(sum.Sum(nil))[:16]
	name := repository + ":" + tag
	if _, err := s.docker.ImageInspect(ctx, name); err == nil {
		return name, nil
	}
	s.Say("making the image of " + of.Name + " " + r.Name)
	const file = ".Dockerfile" // beside what is deployed, and not where a release could have one of its own
	if err := os.WriteFile(filepath.Join(dir, file), recipe, 0o644); err != nil {
		return "", err
	}
	defer os.Remove(filepath.Join(dir, file))
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return "", err
	}
	defer provider.Close()
	var log bytes.Buffer
	_, err = provider.BuildImage(ctx, &testcontainers.ContainerRequest{FromDockerfile: testcontainers.FromDockerfile{
		Context: dir, Dockerfile: file, Repo: repository, Tag: tag, KeepImage: true, BuildLogWriter: &log,
		BuildArgs: map[string]*string{"RELEASE": &r.Name},
		BuildOptionsModifier: func(o *client.ImageBuildOptions) {
			o.Labels = nil // it is no thing of this session, which the reaper would take away
			o.Remove, o.ForceRemove = true, true
		},
	}})
	if err != nil {
		text := log.String()
		return "", fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4<<10):])
	}
	return name, nil
}
