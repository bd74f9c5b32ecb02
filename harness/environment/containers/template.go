package containers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"

	"backout/harness/environment/artefact"
	"backout/harness/environment/database"
	"backout/harness/postgres"
)

// templateFormat is raised whenever a template is made in another way.
const templateFormat = 1001

// template is the data of a stopped cluster in volumes: primary, and logical where a table is published. Nobody may remove it
// until unlock is called.
type template struct {
	Password string // of all its roles
	key      string
	cache    string // to which it belongs: another one has other passwords
	unlock   func()
}

const templateFile = "template.json"

// volume of a node of the template.
func (t *template) volume(node string) string {
	cache := sha256.Sum256([]byte(t.cache))
	return fmt.Sprintf("%stemplate-%s-%x-%s", prefix, t.key, cache[:4], node)
}

// template returns the template of a recipe, which is made when it is not there yet. A folder of the cache stands for it and
// holds its password; a template whose volumes somebody has removed is made again.
func (s *stage) template(ctx context.Context, r database.Recipe) (*template, error) {
	key, err := r.Key()
	if err != nil {
		return nil, err
	}
	t := &template{key: key, cache: s.Cache}
	dir := filepath.Join(s.Cache, templates, key)
	if _, err := os.Stat(dir); err == nil {
		for _, name := range r.Nodes() {
			_, err := s.docker.VolumeInspect(ctx, t.volume(name), client.VolumeInspectOptions{})
			if err != nil && !absent(err) {
				return nil, fmt.Errorf("database template: %w", err)
			}
			if err != nil {
				if err := artefact.RemoveTree(dir); err != nil {
					return nil, err
				}
				break
			}
		}
	}
	t.unlock, err = artefact.Once(ctx, dir, 8,
		func() { s.Say("waiting for another run that makes the same database template") },
		func(part string) error {
			s.Say("making the database template, once for these migrations, this data and this image")
			return s.makeTemplate(ctx, r, t, part)
		})
	if err != nil {
		return nil, fmt.Errorf("database template: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, templateFile))
	if err == nil {
		err = json.Unmarshal(text, t)
	}
	if err != nil {
		t.unlock()
		return nil, fmt.Errorf("database template: %w; remove %s and try again", err, dir)
	}
	return t, nil
}

// makeTemplate makes it by nodes of this run, whose volumes stay.
func (s *stage) makeTemplate(ctx context.Context, r database.Recipe, t *template, part string) (err error) {
	b := &builder{stage: s, of: t, nodes: map[string]database.Node{}}
	scratch := filepath.Join(s.dir, "template")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	b.Builder = database.Builder{Recipe: r, Password: database.NewPassword(), Scratch: scratch, Start: b.start, Restore: b.restore}
	names := []string{"template-primary", "template-logical"}
	defer func() {
		// What still runs after an error must go even when the context is over.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		for _, name := range names {
			err = errors.Join(err, s.engine.remove(clean, name))
		}
		if err != nil {
			for _, name := range r.Nodes() {
				_, _ = s.docker.VolumeRemove(clean, t.volume(name), client.VolumeRemoveOptions{Force: true}) // the next run makes it anew
			}
		}
		err = errors.Join(err, artefact.RemoveTree(scratch))
	}()
	if _, err := dropOld(ctx, s.docker, s.Cache); err != nil {
		return err
	}
	if _, err := b.Build(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range r.Nodes() {
		g.Go(func() error {
			if _, err := database.Settle(gctx, b.nodes[name].URL(b.Password, "postgres")); err != nil {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, name := range []string{"logical", "primary"} { // the primary last, so that it has nothing to wait for
		if _, is := b.nodes[name]; !is {
			continue
		}
		seconds := 30
		if _, err := s.docker.ContainerStop(ctx, s.engine.full("template-"+name), client.ContainerStopOptions{Timeout: &seconds}); err != nil {
			return err
		}
	}
	about, err := json.Marshal(template{Password: b.Password})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(part, templateFile), about, 0o600)
}

// templates is the folder of the cache for them.
const templates = "container-templates"

// dropOld removes the volumes and images of templates that a cache has dropped, and of those whose making was killed. It
// returns a line for each.
func dropOld(ctx context.Context, docker *testcontainers.DockerClient, cache string) (removed []string, err error) {
	ofCache := client.Filters{}.Add("label", templateLabel)
	images, err := docker.ImageList(ctx, client.ImageListOptions{Filters: ofCache})
	if err != nil {
		return nil, err
	}
	for _, i := range images.Items {
		if _, err := os.Stat(filepath.Join(cache, templates, i.Labels[templateLabel])); i.Labels[cacheLabel] != cache || !os.IsNotExist(err) {
			continue
		}
		if _, err := docker.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{}); err == nil { // one that is in use stays
			removed = append(removed, "removed image "+strings.Join(i.RepoTags, " "))
		}
	}
	all, err := docker.VolumeList(ctx, client.VolumeListOptions{Filters: ofCache})
	if err != nil {
		return nil, err
	}
	for _, v := range all.Items {
		folder := filepath.Join(cache, templates, v.Labels[templateLabel])
		if v.Labels[cacheLabel] != cache {
			continue // of another cache, which knows itself what it needs
		}
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			continue
		}
		lock, free, err := artefact.TryLock(folder + ".lock")
		if err != nil {
			return removed, err
		}
		if !free {
			continue // it is being made
		}
		_, err = docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{}) // one that is in use stays
		if err == nil {
			removed = append(removed, "removed volume "+v.Name)
		}
		if err := lock.Close(); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// cacheLabel says which cache a template belongs to.
const cacheLabel = "backout.cache"

// builder fills a template by containers.
type builder struct {
	database.Builder
	stage *stage
	of    *template

	mu    sync.Mutex
	nodes map[string]database.Node
}

// initdb makes a cluster in an empty volume before the node starts.
const initdb = `set -eu
umask 077
mkdir -p "$PGDATA"
printf '%s\n' "$PASSWORD" >/tmp/password
initdb --pgdata="$PGDATA" --username="$SUPERUSER" --auth=scram-sha-256 --pwfile=/tmp/password --encoding=UTF8 --locale=C --no-sync --no-instructions >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log >&2; exit 1; }
rm /tmp/password
`

// start starts a fresh node of the template.
func (b *builder) start(ctx context.Context, name string, settings map[string]string) (database.Node, error) {
	s := b.stage
	volume := b.of.volume(name)
	_, err := s.docker.VolumeRemove(ctx, volume, client.VolumeRemoveOptions{Force: true}) // what a killed run has left
	if err != nil && !absent(err) {
		return database.Node{}, err
	}
	_, err = s.docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: volume, Labels: map[string]string{templateLabel: b.of.key, cacheLabel: s.Cache}})
	if err != nil {
		return database.Node{}, err
	}
	text, err := conf(settings)
	if err != nil {
		return database.Node{}, err
	}
	full := "template-" + name
	box := s.nodeBox(full, volume, "", text, "", false)
	box.env["PGDATA"] = dataDir // the volume is copied as it is
	box.env["PASSWORD"], box.env["SUPERUSER"] = b.Password, postgres.Superuser
	box.entry = []string{"sh", "-c", initdb + start}
	box.on = map[string]string{edge: full + ".edge", private: full}
	box.publish = map[int]int{postgresPort: 0}
	c, err := s.engine.run(ctx, box)
	if err != nil {
		return database.Node{}, err
	}
	port, err := c.MappedPort(ctx, fmt.Sprintf("%d/tcp", postgresPort))
	if err != nil {
		return database.Node{}, err
	}
	n := database.Node{Host: "127.0.0.1", Port: int(port.Num()), InHost: full, InPort: postgresPort}
	b.mu.Lock()
	b.nodes[name] = n
	b.mu.Unlock()
	return n, s.open(ctx, &node{Node: n}, full, b.Password)
}

// restore has one of the image's own programs read a file, inside the node's container.
func (b *builder) restore(ctx context.Context, at, path, program string, args ...string) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	name := ""
	b.mu.Lock()
	for node, n := range b.nodes {
		if fmt.Sprint(n.Port) == u.Port() {
			name = "template-" + node
		}
	}
	b.mu.Unlock()
	c, err := b.stage.engine.box(name)
	if err != nil {
		return err
	}
	const inside = "/tmp/load"
	if err := c.CopyFileToContainer(ctx, path, inside, 0o644); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	u.Host = fmt.Sprintf("127.0.0.1:%d", postgresPort)
	password, _ := u.User.Password() // not among the arguments, which every user of the machine can read
	u.User = url.User(u.User.Username())
	quoted := "'" + strings.Join(append([]string{program}, args...), "' '") + "'"
	if _, err := b.stage.engine.callWith(ctx, name, []string{"PGPASSWORD=" + password}, "sh", "-c", quoted+` "$1" <`+inside, "sh", u.String()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
