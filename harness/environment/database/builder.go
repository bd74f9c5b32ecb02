package database

import (
	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/wiring"
	"backout/harness/postgres"
	"backout/harness/service"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"
)

// Node is a running PostgreSQL node: where the harness reaches it, and where other nodes do.
type Node struct {
	Host, InHost string
	Port, InPort int
}

// URL is a database of the node for the superuser; secret.
func (n Node) URL(password, database string) string {
	return postgres.URL(n.Host, n.Port, postgres.Superuser, password, database)
}

// Builder fills the nodes of one template. How a node is started is the environment's.
type Builder struct {
	Recipe
	Password string
	Scratch  string // a folder for migrations, which is made and removed by the caller
	// Start starts a fresh node, "primary" or "logical", whose superuser has the password.
	Start func(ctx context.Context, name string, settings map[string]string) (Node, error)
	// Restore is what Data.Fill needs.
	Restore func(ctx context.Context, at, path, program string, args ...string) error

	primary Node
	replica Node // logical; of no use when no table is published
	frozen  []string
}

// Nodes are the names of a template's nodes.
func (r Recipe) Nodes() []string {
	if r.Logical() {
		return []string{"primary", "logical"}
	}
	return []string{"primary"}
}

// Build starts and fills the nodes, connects them, and leaves nothing to do for copies of them: the nodes may be stopped,
// the primary last. frozen are the folders that a copy may share, of databases to which nobody can connect.
func (b *Builder) Build(ctx context.Context) (frozen []string, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { b.primary, err = b.fresh(gctx, "primary", false); return err })
	if b.Logical() {
		g.Go(func() (err error) { b.replica, err = b.fresh(gctx, "logical", true); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if b.Logical() {
		if err := b.subscribe(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.tidy(ctx, b.primary, b.Databases); err != nil {
		return nil, err
	}
	if b.Logical() {
		if err := b.tidy(ctx, b.replica, onLogical(b.Databases)); err != nil {
			return nil, err
		}
		if err := b.unsubscribe(ctx); err != nil {
			return nil, err
		}
	}
	return b.frozen, nil
}

// Settle leaves a node that is about to be stopped as little WAL as can be, and returns the name of its current segment.
func Settle(ctx context.Context, url string) (segment string, err error) {
	for _, text := range []string{"checkpoint", "select pg_switch_wal()", "checkpoint"} {
		if err := Execute(ctx, url, text); err != nil {
			return "", err
		}
	}
	return Ask[string](ctx, url, "select pg_walfile_name(pg_current_wal_lsn())")
}

// Slot is the name of the subscription's slot; names of slots have no hyphen.
func (d Database) Slot() string { return strings.ReplaceAll(strings.ToLower(d.Name), "-", "_") }

// Subscribed are those with a subscription.
func Subscribed(all []Database) []Database {
	return slices.DeleteFunc(slices.Clone(all), func(d Database) bool { return !d.Logical || len(d.Publish) == 0 })
}

func onLogical(all []Database) []Database {
	return slices.DeleteFunc(slices.Clone(all), func(d Database) bool { return !d.Logical })
}

// fresh is a new node with roles, databases and their schema; without subscriber also with their data.
func (b *Builder) fresh(ctx context.Context, name string, subscriber bool) (Node, error) {
	settings := maps.Clone(b.Settings)
	maps.Copy(settings, map[string]string{"autovacuum": "off", "synchronous_commit": "off", "max_wal_size": "64MB", "min_wal_size": "32MB", "wal_keep_size": "0"})
	node, err := b.Start(ctx, name, settings)
	if err != nil {
		return node, err
	}
	databases := b.Databases
	if subscriber {
		databases = onLogical(databases)
	}
	return node, b.fill(ctx, node, databases, !subscriber)
}

func (b *Builder) fill(ctx context.Context, server Node, databases []Database, data bool) error {
	var text strings.Builder
	for _, role := range b.Roles {
		fmt.Fprintf(&text, "create role %s login password '%s';\n", quote(role), b.Password)
	}
	if err := Execute(ctx, server.URL(b.Password, "postgres"), text.String()); err != nil {
		return fmt.Errorf("create roles: %w", err)
	}
	for _, d := range databases {
		// Not in one text: it would be one transaction.
		if err := Execute(ctx, server.URL(b.Password, "postgres"), "create database "+quote(d.Name)+" owner "+quote(wiring.Migrator(d.Name))); err != nil {
			return fmt.Errorf("create database %s: %w", d.Name, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range databases {
		g.Go(func() error {
			if err := Execute(ctx, server.URL(b.Password, d.Name), grants(d)); err != nil {
				return fmt.Errorf("privileges of %s: %w", d.Name, err)
			}
			url := postgres.URL(server.Host, server.Port, wiring.Migrator(d.Name), b.Password, d.Name)
			load := func() error {
				if !data && !d.Data.First { // a subscriber gets its rows by replication, and its schema as the primary does
					return nil
				}
				if err := d.Data.Fill(ctx, url, b.Restore); err != nil {
					return fmt.Errorf("load the data of %s: %w", d.Name, err)
				}
				return nil
			}
			if d.Data.First {
				if err := load(); err != nil {
					return err
				}
			}
			if err := b.migrate(ctx, url, d, filepath.Join(b.Scratch, fmt.Sprintf("migrations-%d-%s", server.Port, d.Name))); err != nil {
				return fmt.Errorf("migrate %s: %w", d.Name, err)
			}
			if !d.Data.First {
				if err := load(); err != nil {
					return err
				}
			}
			if !data {
				return nil
			}
			if err := counted(ctx, url, d.Data); err != nil {
				return fmt.Errorf("load the data of %s: %w", d.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// grants let the service write, and others that have its URL read, whatever its migrations will create.
func grants(d Database) string {
	owner, role := quote(wiring.Migrator(d.Name)), quote(d.Name)
	text := ""
	for _, g := range []string{
		"usage on schemas to " + role,
		"select, insert, update, delete on tables to " + role,
		"usage, select, update on sequences to " + role,
	} {
		text += "alter default privileges for role " + owner + " grant " + g + ";\n"
	}
	for _, r := range d.Readers {
		text += "alter default privileges for role " + owner + " grant usage on schemas to " + quote(r) + ";\n"
		text += "alter default privileges for role " + owner + " grant select on tables to " + quote(r) + ";\n"
	}
	return text
}

func (b *Builder) migrate(ctx context.Context, url string, d Database, dir string) error {
	if len(d.Migrations) == 0 {
		return nil
	}
	if err := artefact.WriteFiles(dir, d.Migrations); err != nil {
		return err
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	config.DialFunc = service.DialHere
	db := stdlib.OpenDB(*config)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(dir), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if d.To > 0 {
		_, err = p.UpTo(ctx, d.To)
	} else {
		_, err = p.Up(ctx)
	}
	return err
}

// subscribe publishes the tables, makes the subscriptions and waits until they are in sync.
func (b *Builder) subscribe(ctx context.Context) error {
	for _, d := range Subscribed(b.Databases) {
		tables := make([]string, len(d.Publish))
		for i, t := range d.Publish {
			tables[i] = table(t)
		}
		// Its owner is who migrates: a migration that adds a table can publish it.
		err := Execute(ctx, b.primary.URL(b.Password, d.Name), fmt.Sprintf("create publication %s for table %s; alter publication %s owner to %s",
			quote(d.Name), strings.Join(tables, ", "), quote(d.Name), quote(wiring.Migrator(d.Name))))
		if err != nil {
			return fmt.Errorf("publish tables of %s: %w", d.Name, err)
		}
		on := b.replica.URL(b.Password, d.Name)
		// Rows that migrations have made here come again with the first copy.
		if err := Execute(ctx, on, "truncate "+strings.Join(tables, ", ")+" cascade"); err != nil {
			return fmt.Errorf("empty the published tables of %s: %w", d.Name, err)
		}
		err = Execute(ctx, on, fmt.Sprintf("create subscription %s connection %s publication %s with (slot_name = %s)",
			quote(d.Name), literal(Conninfo(b.primary.InHost, b.primary.InPort, b.Password, d.Name, "logical")), quote(d.Name), literal(d.Slot())))
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", d.Name, err)
		}
	}
	return WaitLogical(ctx, b.primary.URL(b.Password, "postgres"), b.replica, b.Password, b.Databases)
}

// tidy leaves nothing to do for the copies: no vacuum, no hint bits, statistics up to date. Then nobody can connect to
// template1 any more, as to template0: databases are made from both, and nothing ever writes to them.
func (b *Builder) tidy(ctx context.Context, server Node, databases []Database) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range append([]string{"postgres", "template1"}, names(databases)...) {
		g.Go(func() error {
			if err := Execute(gctx, server.URL(b.Password, name), "vacuum (freeze, analyze)"); err != nil {
				return fmt.Errorf("vacuum %s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	url := server.URL(b.Password, "postgres")
	if err := Execute(ctx, url, "alter database template1 allow_connections false"); err != nil {
		return err
	}
	oids, err := Ask[[]string](ctx, url, "select array_agg(oid::text order by oid) from pg_database where datistemplate and not datallowconn")
	if err != nil {
		return err
	}
	b.frozen = b.frozen[:0]
	for _, oid := range oids { // the same in every cluster of a version
		b.frozen = append(b.frozen, "base/"+oid)
	}
	return nil
}

func names(all []Database) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.Name)
	}
	return out
}

// unsubscribe disables the subscriptions, which keeps their state, and lets their slots hold back no old WAL.
func (b *Builder) unsubscribe(ctx context.Context) error {
	for _, d := range Subscribed(b.Databases) {
		if err := Execute(ctx, b.replica.URL(b.Password, d.Name), "alter subscription "+quote(d.Name)+" disable"); err != nil {
			return fmt.Errorf("disable the subscription to %s: %w", d.Name, err)
		}
		url := b.primary.URL(b.Password, d.Name)
		// Nothing is written between the copy's end and here, so nothing that is advanced over is missed.
		err := environment.Until(ctx, "the slot "+d.Slot()+" is free", func(ctx context.Context) error {
			return Execute(ctx, url, "select pg_replication_slot_advance("+literal(d.Slot())+", pg_current_wal_lsn())")
		})
		if err != nil {
			return err
		}
	}
	return nil
}
