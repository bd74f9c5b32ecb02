package containers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"backout/harness/environment"
	"backout/harness/service"
)

// Workshop makes with this machine's Docker engine what another kind of environment brings to its nodes: the images of
// releases, one that holds a database, and one that holds this program. All of them are kept by their content.
type Workshop struct {
	stage   *stage
	connect func(context.Context) error
}

// NewWorkshop begins one for a drill's need. It makes nothing before it is asked to.
func NewWorkshop(o environment.Options, need environment.Need) (*Workshop, error) {
	env, err := New(o)
	if err != nil {
		return nil, err
	}
	s := env.(*stage)
	s.need = need
	s.TellTo(need.Progress)
	close(s.wired)
	close(s.connected)
	if err := s.prepare(); err != nil {
		return nil, err
	}
	var once sync.Mutex
	connected := false
	return &Workshop{stage: s, connect: func(ctx context.Context) error {
		once.Lock()
		defer once.Unlock()
		if connected {
			return nil
		}
		err := s.engine.connect(ctx)
		connected = err == nil
		return err
	}}, nil
}

// Register is that of the run, and Dir its directory.
func (w *Workshop) Register() *environment.Register { return w.stage.register }
func (w *Workshop) Dir() string                     { return w.stage.dir }

// Stage makes the deployed directory of a release, as environment.Environment does, with no image.
func (w *Workshop) Stage(ctx context.Context, of *service.Service, r *service.Release, overlay map[string]string) (string, error) {
	return w.stage.stages.Release(ctx, of, r, overlay)
}

// Image makes the image of a release that was staged and returns its name, in which its content is told.
func (w *Workshop) Image(ctx context.Context, of *service.Service, r *service.Release) (string, error) {
	name, err := w.stage.source(ctx, of, r)
	if err != nil {
		return "", fmt.Errorf("the image of %s %s: %w", of.Name, r.Name, err)
	}
	return name, nil
}

// Postgres, Redis are the images that are used, which are here afterwards.
func (w *Workshop) Postgres(ctx context.Context) (string, error) {
	return w.stage.use.postgres, w.stage.have(ctx, w.stage.use.postgres)
}

func (w *Workshop) Redis(ctx context.Context) (string, error) {
	return w.stage.use.redis, w.stage.have(ctx, w.stage.use.redis)
}

// Node is the image of clusters' nodes, which is here afterwards.
func (w *Workshop) Node(ctx context.Context) (string, error) {
	image := Node(ctx)
	return image, w.stage.have(ctx, image)
}

// Versions are those of the conditions of a run.
func (w *Workshop) Versions() map[string]string { return w.stage.Versions() }

// DataImage is one of PostgreSQL that has a database template below /template: primary, and logical where there is a
// subscriber.
type DataImage struct {
	Name     string
	Password string // of all roles in it
}

// Data makes the image of a drill's database, or finds it.
func (w *Workshop) Data(ctx context.Context) (DataImage, error) {
	s := w.stage
	if _, err := w.Postgres(ctx); err != nil {
		return DataImage{}, err
	}
	r, err := s.recipe(ctx)
	if err != nil {
		return DataImage{}, err
	}
	key, err := r.Key()
	if err != nil {
		return DataImage{}, err
	}
	if err := w.connect(ctx); err != nil { // for the nodes of a template that is not there yet
		return DataImage{}, err
	}
	t, err := s.template(ctx, r)
	if err != nil {
		return DataImage{}, err
	}
	defer t.unlock()
	// A template that was made again has another password.
	d := DataImage{Name: fmt.Sprintf("backout/data:%s-%x", key[:16], sha256.Sum256([]byte(t.Password)))[:len("backout/data:")+16+1+8], Password: t.Password}
	if _, err := s.docker.ImageInspect(ctx, d.Name); err == nil {
		return d, nil
	}
	s.Say("making an image of the database template")
	b := box{name: "data", user: "root", image: s.use.postgres, entry: []string{"sh", "-c", "mkdir -p /template && cp -a /from/. /template"}, readOnly: map[string]string{},
		on: map[string]string{private: "data"}}
	for _, node := range r.Nodes() {
		b.readOnly["/from/"+node] = t.volume(node)
	}
	if _, err := s.engine.run(ctx, b); err != nil {
		return DataImage{}, err
	}
	ended := s.docker.ContainerWait(ctx, s.engine.full("data"), client.ContainerWaitOptions{})
	select {
	case err := <-ended.Error:
		return DataImage{}, fmt.Errorf("copy the database template: %w", err)
	case e := <-ended.Result:
		if e.StatusCode != 0 {
			return DataImage{}, fmt.Errorf("copy the database template: it ended with %d\n%s", e.StatusCode, environment.LastLines("data", s.Log("data"), 5))
		}
	}
	_, err = s.docker.ContainerCommit(ctx, s.engine.full("data"), client.ContainerCommitOptions{Reference: d.Name,
		Changes: []string{"CMD []", `ENTRYPOINT ["sh"]`, "USER postgres", "LABEL " + templateLabel + "=" + key, "LABEL " + cacheLabel + "=" + strconv.Quote(s.Cache), "LABEL " + Label + "="}})
	if err != nil {
		return DataImage{}, fmt.Errorf("make the image of the database template: %w", err)
	}
	return d, s.engine.remove(ctx, "data")
}

// StartNode is what a node of a DataImage runs: it copies TEMPLATE, a folder of the image, to PGDATA unless something is
// there, and becomes PostgreSQL. Its other variables are STANDBY, AUTO, CONF and CLOCK; each may be empty.
const StartNode = `mkdir -p "$PGDATA"; ` + start

// NodeConf is the configuration of a node, for CONF.
func NodeConf(settings map[string]string) (string, error) { return conf(settings) }

// Program makes an image that runs this program.
func (w *Workshop) Program(ctx context.Context) (image string, command []string, err error) {
	s := w.stage
	path, args, err := program(s.Gateway)
	if err != nil {
		return "", nil, err
	}
	sum, err := hashFile(path)
	if err != nil {
		return "", nil, err
	}
	image, command = "backout/program:"+sum[:16], append([]string{"/backout"}, args...)
	if _, err := s.docker.ImageInspect(ctx, image); err == nil {
		return image, command, nil
	}
	if _, err := w.Postgres(ctx); err != nil {
		return "", nil, err
	}
	if err := w.connect(ctx); err != nil {
		return "", nil, err
	}
	c, err := s.engine.run(ctx, box{name: "program", user: "root", image: s.use.postgres, entry: []string{"sleep", "600"}, on: map[string]string{private: "program"}})
	if err != nil {
		return "", nil, err
	}
	if err := c.CopyFileToContainer(ctx, path, "/backout", 0o755); err != nil {
		return "", nil, fmt.Errorf("make the image of this program: %w", err)
	}
	_, err = s.docker.ContainerCommit(ctx, s.engine.full("program"), client.ContainerCommitOptions{Reference: image, Changes: []string{"CMD []", "USER 65532", "LABEL " + programLabel + "=", "LABEL " + cacheLabel + "=" + strconv.Quote(s.Cache), "LABEL " + Label + "="}})
	if err != nil {
		return "", nil, fmt.Errorf("make the image of this program: %w", err)
	}
	if err := dropPrograms(ctx, s.docker, s.Cache, time.Now()); err != nil {
		return "", nil, err
	}
	return image, command, s.engine.remove(ctx, "program")
}

// programLabel marks images that hold this program.
const programLabel = "backout.program"

// dropPrograms removes the images of builds of this program that a cache made more than a week ago: who develops it makes many.
func dropPrograms(ctx context.Context, docker *testcontainers.DockerClient, cache string, now time.Time) error {
	const kept = 7 * 24 * time.Hour
	all, err := docker.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", programLabel)})
	if err != nil {
		return fmt.Errorf("look for images of older builds of this program: %w", err)
	}
	for _, i := range all.Items {
		if i.Labels[cacheLabel] == cache && now.Sub(time.Unix(i.Created, 0)) > kept {
			_, _ = docker.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{}) // one that is in use stays
		}
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// CacheCLI writes a script that is redis-cli for this machine's ports.
func (w *Workshop) CacheCLI(path string) error {
	s := w.stage
	text := fmt.Sprintf("#!/bin/sh\n# redis-cli, in a container that shares this machine's network\nexec docker run --rm -i --network host --label %s=%s --entrypoint redis-cli %s \"$@\"\n",
		Label, s.engine.token, s.use.redis)
	return os.WriteFile(path, []byte(text), 0o755)
}

// Destroy removes what the workshop has started, its directory and its register.
func (w *Workshop) Destroy(ctx context.Context) error { return w.stage.Destroy(ctx) }

// Token of the run.
func (w *Workshop) Token() string { return w.stage.engine.token }

// ScriptsIn is where a run has the commands that scripts find.
func (w *Workshop) ScriptsIn() string { return filepath.Join(w.stage.dir, "bin") }

// ImageName is the name of a service as images have it.
func ImageName(of *service.Service) string { return strings.ToLower(of.Name) }
