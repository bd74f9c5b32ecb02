package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/postgres"
)

// settings of postgresql.conf for all nodes of a drill; those of service.yaml are laid over them.
func settings(need environment.Need) map[string]string {
	all := map[string]string{
		"max_connections": "200",
		"log_lock_waits":  "on",
		// A replica that was held back for a while must be able to go on.
		"wal_keep_size": "1GB",
		"min_wal_size":  "64MB",
	}
	for _, s := range slices.Backward(services(need)) { // the drilled service has the last word
		if s.Database != nil {
			maps.Copy(all, s.Database.Settings)
		}
	}
	return all
}

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
	share := func(path string, d fs.DirEntry) how {
		switch {
		case role == "streaming" && filepath.Dir(path) == "pg_replslot":
			return skipped
		case slices.Contains(t.Frozen, filepath.Dir(path)):
			return linked
		}
		return copied
	}
	return tree{from: filepath.Join(t.dir, from), to: dir, owner: m.owner, how: share}.copy(ctx)
}

// quickRetry lets a replica that could not connect try again soon. It holds only until the replicas are in sync: in the
// drill they are as slow to come back as PostgreSQL's default of 5 s lets them be in production.
const quickRetry = "wal_retrieve_retry_interval"

// cluster starts the nodes of a drill from copies of the template, with new passwords. It returns when the services may
// connect; inSync waits for the replicas.
func (m *machine) cluster(ctx context.Context, t *template, r recipe, roles []string) (inSync func(context.Context) error, err error) {
	port := m.wiring.ports
	servers := make([]*postgres.Server, len(roles))
	g, gctx := errgroup.WithContext(ctx)
	for i, role := range roles {
		g.Go(func() error {
			dir := m.nodeDir(role)
			if err := m.copyNode(gctx, t, role, dir); err != nil {
				return err
			}
			m.mark("copied " + role)
			auto := ""
			if role != "primary" {
				auto = quickRetry + " = '100ms'\n"
			}
			if role == "streaming" {
				// In a file, because the standby's own catalog is the primary's.
				auto += "primary_conninfo = " + literal(conninfo(port["primary"], m.password, "", "streaming")) + "\n"
				if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600); err != nil {
					return err
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "postgresql.auto.conf"), []byte(auto), 0o600); err != nil {
				return err
			}
			server, err := m.startNode(gctx, role, postgres.Start{Dir: dir, Port: port[role], Settings: r.Settings, LogFile: filepath.Join(m.dir, "logs", role+".log")})
			if err != nil {
				return fmt.Errorf("%w\nif its files are damaged, remove %s", err, t.dir)
			}
			m.mark("started " + role)
			servers[i] = server
			m.onDestroy(role, func(ctx context.Context) error { return errors.Join(server.Kill(ctx), m.ended(server.PID())) })
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
	for i, role := range roles {
		m.nodes = append(m.nodes, &node{name: role, server: servers[i]})
	}
	m.mu.Unlock()
	return func(ctx context.Context) error { return m.inSync(ctx, r, roles, servers) }, nil
}

// secure gives the roles of a copied node the run's password, and removes slots that nobody will read.
func (m *machine) secure(ctx context.Context, t *template, r recipe, server *postgres.Server, dropSlots bool) error {
	var text strings.Builder
	for _, role := range append([]string{postgres.Superuser}, r.Roles...) {
		fmt.Fprintf(&text, "alter role %s password '%s';\n", quote(role), m.password)
	}
	if dropSlots {
		text.WriteString("select pg_drop_replication_slot(slot_name) from pg_replication_slots;\n")
	}
	if err := execute(ctx, server.URL(t.Password, "postgres"), text.String()); err != nil {
		return fmt.Errorf("give the roles in %s their passwords: %w; if the template is damaged, remove %s", server.Dir(), err, t.dir)
	}
	return nil
}

// inSync connects the logical replica and waits until both replicas have all that the primary has.
func (m *machine) inSync(ctx context.Context, r recipe, roles []string, servers []*postgres.Server) error {
	primary := servers[slices.Index(roles, "primary")]
	url := primary.URL(m.password, "postgres")
	g, ctx := errgroup.WithContext(ctx)
	for i, role := range roles {
		server := servers[i]
		switch role {
		case "streaming":
			g.Go(func() error {
				if err := waitStreaming(ctx, url, server.URL(m.password, "postgres")); err != nil {
					return err
				}
				return m.slowAgain(ctx, server)
			})
		case "logical":
			g.Go(func() error {
				for _, d := range subscribed(r.Databases) {
					// One transaction: the subscription starts with the new connection.
					err := use(ctx, server.URL(m.password, d.Name), func(c *pgx.Conn) error {
						return run(ctx, c, fmt.Sprintf("alter subscription %s connection %s; alter subscription %s enable",
							quote(d.Name), literal(conninfo(primary.Port(), m.password, d.Name, "logical")), quote(d.Name)))
					})
					if err != nil {
						return fmt.Errorf("connect the logical replica of %s: %w", d.Name, err)
					}
				}
				if err := waitLogical(ctx, url, server, m.password, r.Databases); err != nil {
					return err
				}
				return m.slowAgain(ctx, server)
			})
		}
	}
	return g.Wait()
}

func (m *machine) slowAgain(ctx context.Context, server *postgres.Server) error {
	return use(ctx, server.URL(m.password, "postgres"), func(c *pgx.Conn) error {
		return errors.Join(run(ctx, c, "alter system reset "+quickRetry), run(ctx, c, "select pg_reload_conf()"))
	})
}
