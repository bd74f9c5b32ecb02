package process

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/database"
	"backout/harness/postgres"
)

// startNode starts a node that is registered before and after.
func (m *machine) startNode(ctx context.Context, name string, s postgres.Start) (*postgres.Server, error) {
	if err := m.register.Add(environment.Entry{Kind: environment.KindProcess, Name: name}); err != nil {
		return nil, err
	}
	s.Started = func(pid int) error {
		e, err := environment.Process(name, pid)
		if err != nil {
			return err
		}
		return m.register.Add(e)
	}
	server, err := m.bin.Start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return server, nil
}

// ended says that a process is gone.
func (m *machine) ended(pid int) error {
	return m.register.Done(environment.Entry{Kind: environment.KindProcess, PID: pid})
}

// nodeDir is the folder of a node. Its name differs from run to run, see spread.
func (m *machine) nodeDir(name string) string {
	return filepath.Join(m.dir, name+"-"+m.register.Token())
}

// copyNode makes a node's directory from the template. Nothing of the slots goes to a standby, as with pg_basebackup.
func (m *machine) copyNode(ctx context.Context, t *template, role, dir string) error {
	from := "primary"
	if role == "logical" {
		from = "logical"
	}
	share := func(path string, d fs.DirEntry) artefact.How {
		switch {
		case role == "streaming" && filepath.Dir(path) == "pg_replslot":
			return artefact.Skipped
		case slices.Contains(t.Frozen, filepath.Dir(path)):
			return artefact.Linked
		}
		return artefact.Copied
	}
	return artefact.Tree{From: filepath.Join(t.dir, from), To: dir, Owner: m.owner, How: share}.Copy(ctx)
}

// cluster starts the nodes of a drill from copies of the template, with new passwords. It returns when the services may
// connect; inSync waits for the replicas.
func (m *machine) cluster(ctx context.Context, t *template, r database.Recipe, roles []string) (inSync func(context.Context) error, err error) {
	all := make([]*node, len(roles))
	g, gctx := errgroup.WithContext(ctx)
	for i, role := range roles {
		g.Go(func() error {
			dir := m.nodeDir(role)
			if err := m.copyNode(gctx, t, role, dir); err != nil {
				return err
			}
			m.mark("copied " + role)
			if role == "streaming" {
				if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600); err != nil {
					return err
				}
			}
			auto := database.AutoConf(role, database.Node{InHost: "127.0.0.1", InPort: m.listens("primary")}, m.password)
			if err := os.WriteFile(filepath.Join(dir, "postgresql.auto.conf"), []byte(auto), 0o600); err != nil {
				return err
			}
			n := &node{name: role, start: postgres.Start{Dir: dir, Port: m.listens(role), Settings: r.Settings, LogFile: filepath.Join(m.dir, "logs", role+".log")}}
			server, err := m.startNode(gctx, role, n.start)
			if err != nil {
				return fmt.Errorf("%w\nif its files are damaged, remove %s", err, t.dir)
			}
			m.mark("started " + role)
			n.server, all[i] = server, n
			m.onDestroy(role, func(ctx context.Context) error { return m.endNode(ctx, n) })
			if role == "streaming" {
				return nil // it learns the passwords from the primary
			}
			return m.secure(gctx, t, r, server, role == "primary" && !slices.Contains(roles, "logical"))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.nodes = append(m.nodes, all...)
	m.mu.Unlock()
	nodes := map[string]database.Node{}
	for _, n := range all {
		nodes[n.name] = here(n.now())
	}
	return func(ctx context.Context) error { return r.InSync(ctx, nodes, m.password, m.need.Synchronous) }, nil
}

// secure gives a copied node the run's passwords.
func (m *machine) secure(ctx context.Context, t *template, r database.Recipe, server *postgres.Server, dropSlots bool) error {
	if err := r.Secure(ctx, here(server), t.Password, m.password, dropSlots); err != nil {
		return fmt.Errorf("%s: %w; if the template is damaged, remove %s", server.Dir(), err, t.dir)
	}
	return nil
}
