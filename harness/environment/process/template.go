package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"backout/harness/environment/artefact"
	"backout/harness/environment/database"
	"backout/harness/postgres"
)

// templateFormat is raised whenever a template is made in another way.
const templateFormat = 2

// template is a stopped cluster in the cache: primary, and logical where a table is published. A streaming replica is
// one more copy of the primary. Nobody may remove it until unlock is called.
type template struct {
	dir    string
	unlock func()
	made
}

// made is what a template says of itself.
type made struct {
	Password string // of all its roles
	// Frozen are the folders that a copy may share: of template0 and template1, to which nobody can connect.
	Frozen []string
}

const madeFile = "template.json"

// template returns the template of a recipe, which is made when it is not in the cache yet.
func (m *machine) template(ctx context.Context, r database.Recipe) (*template, error) {
	key, err := r.Key()
	if err != nil {
		return nil, err
	}
	t := &template{dir: filepath.Join(m.Cache, "templates", key)}
	t.unlock, err = artefact.Once(ctx, t.dir, 8,
		func() { m.Say("waiting for another run that makes the same database template") },
		func(part string) error {
			m.Say("making the database template, once for these migrations, this data and this PostgreSQL")
			return m.makeTemplate(ctx, r, part)
		})
	if err != nil {
		return nil, fmt.Errorf("database template: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(t.dir, madeFile))
	if err == nil {
		err = json.Unmarshal(text, &t.made)
	}
	if err != nil {
		t.unlock()
		return nil, fmt.Errorf("database template: %w; remove %s and try again", err, t.dir)
	}
	return t, nil
}

// makeTemplate makes it where PostgreSQL may run, in the run's directory, and then moves it to part.
func (m *machine) makeTemplate(ctx context.Context, r database.Recipe, part string) (err error) {
	scratch := m.nodeDir("template")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, 0o711); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, artefact.RemoveTree(scratch)) }()
	b := &builder{machine: m, dir: scratch, servers: map[string]*postgres.Server{}}
	b.Builder = database.Builder{Recipe: r, Password: database.NewPassword(), Scratch: scratch, Start: b.start, Restore: m.restore}
	frozen, err := b.build(ctx)
	if err != nil {
		return err
	}
	for _, name := range r.Nodes() {
		from, to := filepath.Join(scratch, name), filepath.Join(part, name)
		err := os.Rename(from, to)
		if errors.Is(err, unix.EXDEV) {
			err = artefact.CopyTree(ctx, from, to, nil)
		}
		if err != nil {
			return err
		}
	}
	about, err := json.Marshal(made{Password: b.Password, Frozen: frozen})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(part, madeFile), about, 0o600); err != nil {
		return err
	}
	// The servers ran without fsync; what is in the cache must survive a crash of the machine whole or not at all.
	f, err := os.Open(part)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// builder makes one template from servers of this machine.
type builder struct {
	database.Builder
	machine *machine
	dir     string

	mu      sync.Mutex
	servers map[string]*postgres.Server
}

func (b *builder) build(ctx context.Context) (frozen []string, err error) {
	defer func() {
		// What still runs after an error must go even when the context is over.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, s := range b.servers {
			err = errors.Join(err, s.Kill(clean), b.machine.ended(s.PID()))
		}
	}()
	if frozen, err = b.Build(ctx); err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(b.Nodes()) { // the primary last, so that it has nothing to wait for
		if err := b.stop(ctx, b.servers[name]); err != nil {
			return nil, err
		}
		delete(b.servers, name)
	}
	return frozen, nil
}

// start starts a fresh node.
func (b *builder) start(ctx context.Context, name string, settings map[string]string) (database.Node, error) {
	dir := filepath.Join(b.dir, name)
	if err := b.machine.bin.Init(ctx, dir, b.Password); err != nil {
		return database.Node{}, err
	}
	server, err := b.machine.startNode(ctx, "template "+name, postgres.Start{Dir: dir, Settings: settings, LogFile: filepath.Join(b.dir, name+".log")})
	if err != nil {
		return database.Node{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers[name] = server
	return here(server), nil
}

// here is how a server is reached, by us and by other servers.
func here(s *postgres.Server) database.Node {
	return database.Node{Host: "127.0.0.1", Port: s.Port(), InHost: "127.0.0.1", InPort: s.Port()}
}

// stop shuts a node down with as little WAL as can be, and removes what a copy must not have.
func (b *builder) stop(ctx context.Context, s *postgres.Server) error {
	current, err := database.Settle(ctx, s.URL(b.Password, "postgres"))
	if err != nil {
		return err
	}
	if err := errors.Join(s.Stop(ctx), b.machine.ended(s.PID())); err != nil {
		return err
	}
	for _, name := range []string{"backout.conf", "postmaster.opts"} {
		if err := os.Remove(filepath.Join(s.Dir(), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	// Segments beyond the current one are empty ones that were made for later.
	entries, err := os.ReadDir(filepath.Join(s.Dir(), "pg_wal"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.Dir(), "pg_wal", e.Name())
		switch {
		case len(e.Name()) != 24:
			continue
		case e.Name() > current:
			err = os.Remove(path)
		default:
			err = artefact.PunchTail(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
