package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"backout/harness/environment/database"
	"backout/harness/postgres"
)

// dataDir is where a node's volume is: the official image's own place for it.
const dataDir = "/var/lib/postgresql/data"

// start is what a node's container runs. A node whose volume is empty begins with a copy of its template; one that is started
// again goes on with what it has. The configuration and the password of the primary come by variables, since the
// arguments of a process are for everybody to read.
const start = `set -eu
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	cp -a "${TEMPLATE:-/template}/." "$PGDATA"
	if [ -n "$STANDBY" ]; then
		rm -rf "$PGDATA"/pg_replslot/*
		touch "$PGDATA/standby.signal"
	fi
	printf '%s' "$AUTO" >"$PGDATA/postgresql.auto.conf"
fi
printf '%s' "$CONF" >"$PGDATA/backout.conf"
grep -q backout-containers "$PGDATA/pg_hba.conf" || printf 'host all all all scram-sha-256 # backout-containers\nhost replication all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
unset AUTO CONF
if [ -n "$CLOCK" ]; then
	LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1)
	printf '+0' >/tmp/clock
	export LD_PRELOAD FAKETIME_TIMESTAMP_FILE=/tmp/clock FAKETIME_CACHE_DURATION=1
fi
exec postgres -D "$PGDATA" -c "config_file=$PGDATA/backout.conf"
`

// conf is a node's configuration.
func conf(settings map[string]string) (string, error) {
	all := postgres.Defaults()
	maps.Copy(all, settings)
	maps.Copy(all, map[string]string{"listen_addresses": "*", "port": fmt.Sprint(postgresPort), "unix_socket_directories": "/tmp"})
	return postgres.Conf(all)
}

// nodeBox is the container of a node with its data in a volume.
func (s *stage) nodeBox(name, volume, template, conf, auto string, standby bool) box {
	env := map[string]string{"PGDATA": dataDir + "/pg", "CONF": conf, "AUTO": auto, "STANDBY": "", "CLOCK": ""}
	if standby {
		env["STANDBY"] = "yes"
	}
	b := box{name: name, image: s.use.postgres, entry: []string{"sh", "-c", `mkdir -p "$PGDATA"; ` + start}, user: "postgres", env: env, signal: "SIGINT",
		volumes: map[string]string{dataDir: volume}}
	if template != "" {
		b.readOnly = map[string]string{"/template": template}
	}
	return b
}

// cluster starts the nodes of a drill from copies of the template, with new passwords. It returns when the services may
// connect; inSync waits for the replicas.
func (s *stage) cluster(ctx context.Context, roles []string, gate <-chan struct{}) (inSync func(context.Context) error, err error) {
	r, err := s.recipe(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.template(ctx, r)
	if err != nil {
		return nil, err
	}
	defer t.unlock()
	text, err := conf(r.Settings)
	if err != nil {
		return nil, err
	}
	primary := database.Node{InHost: "primary", InPort: postgresPort}
	g, gctx := errgroup.WithContext(ctx)
	for _, role := range roles {
		n := &node{Node: database.Node{Host: "127.0.0.1", Port: s.outside.Ports[role], InHost: role, InPort: postgresPort}}
		s.mu.Lock()
		s.nodes[role] = n
		s.mu.Unlock()
		g.Go(func() error {
			volume, err := s.engine.volume(gctx, role, s.disk())
			if err != nil {
				return err
			}
			n.volume = volume
			from := "primary"
			if role == "logical" {
				from = "logical"
			}
			b := s.nodeBox(role, n.volume, t.volume(from), text, database.AutoConf(role, primary, s.password), role == "streaming")
			b.on = map[string]string{private: role, observed: role + ".observed"}
			if slices.Contains(s.need.Faults, "clock") {
				b.env["CLOCK"] = "yes"
			}
			if _, err := s.engine.run(gctx, b); err != nil {
				return err
			}
			if err := s.look(gctx, role); err != nil {
				return err
			}
			select {
			case <-gate:
			case <-gctx.Done():
				return gctx.Err()
			}
			if role == "streaming" { // it learns the passwords from the primary
				return s.open(gctx, n, role, t.Password, s.password)
			}
			if err := s.open(gctx, n, role, t.Password); err != nil {
				return err
			}
			return r.Secure(gctx, n.Node, t.Password, s.password, role == "primary" && !slices.Contains(roles, "logical"))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	nodes := map[string]database.Node{}
	for _, role := range roles {
		nodes[role] = s.nodes[role].Node
	}
	return func(ctx context.Context) error { return r.InSync(ctx, nodes, s.password, s.need.Synchronous) }, nil
}

// disk is how a node's volume is made: of fixed size where a drill fills it.
func (s *stage) disk() map[string]string {
	if !slices.Contains(s.need.Faults, "disk") {
		return nil
	}
	return map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=768m,mode=0777"}
}

// open waits until a node answers with one of the passwords.
func (s *stage) open(ctx context.Context, n *node, name string, passwords ...string) error {
	return s.whileRuns(ctx, name, name+" accepts connections", func(ctx context.Context) error {
		var errs []error
		for _, password := range passwords {
			_, err := database.Ask[int](ctx, n.URL(password, "postgres"), "select 1")
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// recipe is all that the template depends on.
func (s *stage) recipe(ctx context.Context) (database.Recipe, error) {
	found, err := s.docker.ImageInspect(ctx, s.use.postgres)
	if err != nil {
		return database.Recipe{}, fmt.Errorf("the image %s is not here: run make images: %w", s.use.postgres, err)
	}
	return database.NewRecipe(templateFormat, s.use.postgres, found.ID, s.need)
}

// restart starts the container of a node again after it was killed or stopped.
func (s *stage) restart(ctx context.Context, name string) error {
	_, err := s.docker.ContainerStart(ctx, s.engine.full(name), client.ContainerStartOptions{})
	return err
}
