package process

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"backout/harness/environment"
	"backout/harness/postgres"
	"backout/harness/service"
)

// templateFormat is raised whenever a template is made in another way.
const templateFormat = 2

// recipe is all that a template depends on.
type recipe struct {
	Format    int
	Version   string // of PostgreSQL
	Binaries  string
	Settings  map[string]string
	Databases []database
	Roles     []string // a role for each service, and NAME_migrator
}

// database of one service.
type database struct {
	Name       string
	Migrations map[string][]byte
	To         int64 // 0: all migrations
	Data       data
	Publish    []string
	Logical    bool     // it is on the logical replica as well
	Readers    []string // other services that have its URL: they may read it
}

func migrator(role string) string { return role + "_migrator" }

// newRecipe takes from the services what their databases are made of. installed is where bin is from.
func newRecipe(bin postgres.Binaries, installed string, need environment.Need) (recipe, error) {
	r := recipe{Format: templateFormat, Version: bin.Version, Binaries: installed, Settings: settings(need)}
	for _, s := range services(need) {
		r.Roles = append(r.Roles, s.Name, migrator(s.Name))
		if s.Database == nil {
			continue
		}
		rel := release(need, s)
		files, err := migrations(s, rel)
		if err != nil {
			return r, err
		}
		d := database{Name: s.Name, Migrations: files, Publish: s.Database.Publish,
			Logical: s == need.Service || len(s.Database.Publish) > 0, Readers: readers(need, s.Name)}
		if rel != nil {
			d.To = rel.MigrateTo
		}
		rows := maps.Clone(s.Database.Rows)
		if s == need.Service && len(need.Rows) > 0 {
			if rows == nil {
				rows = map[string]int{}
			}
			maps.Copy(rows, need.Rows)
		}
		if d.Data, err = dataOf(s, rows); err != nil {
			return r, err
		}
		r.Databases = append(r.Databases, d)
	}
	return r, nil
}

// services are all that a drill runs, the drilled one first.
func services(need environment.Need) []*service.Service {
	return append([]*service.Service{need.Service}, need.Dependants...)
}

// thatRun are those of them that run as processes: not a schema alone.
func thatRun(need environment.Need) []*service.Service {
	return slices.DeleteFunc(services(need), func(s *service.Service) bool { return s.Process == nil })
}

// release is the good release of a service; nil when the need names none.
func release(need environment.Need, s *service.Service) *service.Release {
	if s == need.Service {
		return need.Good
	}
	return need.Releases[s.Name]
}

func (r recipe) key() (string, error) {
	text, err := json.Marshal(r) // the keys of maps are sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

func (r recipe) logical() bool {
	return len(subscribed(r.Databases)) > 0
}

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
func (m *machine) template(ctx context.Context, r recipe) (*template, error) {
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	t := &template{dir: filepath.Join(m.cache, "templates", key)}
	t.unlock, err = once(ctx, t.dir, 8,
		func() { m.say("waiting for another run that makes the same database template") },
		func(part string) error {
			m.say("making the database template, once for these migrations, this data and this PostgreSQL")
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
func (m *machine) makeTemplate(ctx context.Context, r recipe, part string) (err error) {
	scratch := m.nodeDir("template")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, 0o711); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeTree(scratch)) }()
	b := &builder{recipe: r, machine: m, dir: scratch, password: newPassword()}
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, name := range b.nodes() {
		from, to := filepath.Join(scratch, name), filepath.Join(part, name)
		err := os.Rename(from, to)
		if errors.Is(err, unix.EXDEV) {
			err = copyTree(ctx, from, to, nil)
		}
		if err != nil {
			return err
		}
	}
	about, err := json.Marshal(made{Password: b.password, Frozen: b.frozen})
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

func newPassword() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never returns an error, see crypto/rand
	return hex.EncodeToString(raw)
}

// builder makes one template.
type builder struct {
	recipe
	machine  *machine
	dir      string
	password string
	primary  *postgres.Server
	replica  *postgres.Server // logical; nil when no table is published
	frozen   []string
}

func (b *builder) nodes() []string {
	if b.logical() {
		return []string{"primary", "logical"}
	}
	return []string{"primary"}
}

func (b *builder) build(ctx context.Context) (err error) {
	defer func() {
		// What still runs after an error must go even when the context is over.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, s := range []*postgres.Server{b.primary, b.replica} {
			if s != nil {
				err = errors.Join(err, s.Kill(clean), b.machine.ended(s.PID()))
			}
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { b.primary, err = b.fresh(gctx, "primary", false); return err })
	if b.logical() {
		g.Go(func() (err error) { b.replica, err = b.fresh(gctx, "logical", true); return err })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if b.replica != nil {
		if err := b.subscribe(ctx); err != nil {
			return err
		}
	}
	if err := b.tidy(ctx, b.primary, b.Databases); err != nil {
		return err
	}
	if b.replica != nil {
		if err := b.tidy(ctx, b.replica, onLogical(b.Databases)); err != nil {
			return err
		}
		if err := b.unsubscribe(ctx); err != nil {
			return err
		}
	}
	for _, s := range []*postgres.Server{b.replica, b.primary} { // the primary last, so that it has nothing to wait for
		if s == nil {
			continue
		}
		if err := b.stop(ctx, s); err != nil {
			return err
		}
	}
	b.primary, b.replica = nil, nil
	return nil
}

// slot is the name of the subscription's slot; names of slots have no hyphen.
func (d database) slot() string { return strings.ReplaceAll(strings.ToLower(d.Name), "-", "_") }

func subscribed(all []database) []database {
	return slices.DeleteFunc(slices.Clone(all), func(d database) bool { return !d.Logical || len(d.Publish) == 0 })
}

func onLogical(all []database) []database {
	return slices.DeleteFunc(slices.Clone(all), func(d database) bool { return !d.Logical })
}

// fresh is a new node with roles, databases and their schema; without subscriber also with their data.
func (b *builder) fresh(ctx context.Context, name string, subscriber bool) (*postgres.Server, error) {
	m := b.machine
	dir := filepath.Join(b.dir, name)
	if err := m.bin.Init(ctx, dir, b.password); err != nil {
		return nil, err
	}
	settings := maps.Clone(b.Settings)
	maps.Copy(settings, map[string]string{"autovacuum": "off", "synchronous_commit": "off", "max_wal_size": "64MB", "min_wal_size": "32MB", "wal_keep_size": "0"})
	server, err := m.startNode(ctx, "template "+name, postgres.Start{Dir: dir, Settings: settings, LogFile: filepath.Join(b.dir, name+".log")})
	if err != nil {
		return nil, err
	}
	databases := b.Databases
	if subscriber {
		databases = onLogical(databases)
	}
	if err := b.fill(ctx, server, databases, !subscriber); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, server.Kill(clean), m.ended(server.PID()))
	}
	return server, nil
}

func (b *builder) fill(ctx context.Context, server *postgres.Server, databases []database, data bool) error {
	var text strings.Builder
	for _, role := range b.Roles {
		fmt.Fprintf(&text, "create role %s login password '%s';\n", quote(role), b.password)
	}
	if err := execute(ctx, server.URL(b.password, "postgres"), text.String()); err != nil {
		return fmt.Errorf("create roles: %w", err)
	}
	for _, d := range databases {
		// Not in one text: it would be one transaction.
		if err := execute(ctx, server.URL(b.password, "postgres"), "create database "+quote(d.Name)+" owner "+quote(migrator(d.Name))); err != nil {
			return fmt.Errorf("create database %s: %w", d.Name, err)
		}
	}
	m := b.machine
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range databases {
		g.Go(func() error {
			if err := execute(ctx, server.URL(b.password, d.Name), grants(d)); err != nil {
				return fmt.Errorf("privileges of %s: %w", d.Name, err)
			}
			url := postgres.URL("127.0.0.1", server.Port(), migrator(d.Name), b.password, d.Name)
			load := func() error {
				if !data && !d.Data.First { // a subscriber gets its rows by replication, and its schema as the primary does
					return nil
				}
				if err := m.load(ctx, url, d.Data); err != nil {
					return fmt.Errorf("load the data of %s: %w", d.Name, err)
				}
				return nil
			}
			if d.Data.First {
				if err := load(); err != nil {
					return err
				}
			}
			if err := b.migrate(ctx, url, d, filepath.Join(b.dir, fmt.Sprintf("migrations-%d-%s", server.Port(), d.Name))); err != nil {
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
func grants(d database) string {
	owner, role := quote(migrator(d.Name)), quote(d.Name)
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

func (b *builder) migrate(ctx context.Context, url string, d database, dir string) error {
	if len(d.Migrations) == 0 {
		return nil
	}
	if err := writeFiles(dir, d.Migrations); err != nil {
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
func (b *builder) subscribe(ctx context.Context) error {
	for _, d := range subscribed(b.Databases) {
		tables := make([]string, len(d.Publish))
		for i, t := range d.Publish {
			tables[i] = table(t)
		}
		// Its owner is who migrates: a migration that adds a table can publish it.
		err := execute(ctx, b.primary.URL(b.password, d.Name), fmt.Sprintf("create publication %s for table %s; alter publication %s owner to %s",
			quote(d.Name), strings.Join(tables, ", "), quote(d.Name), quote(migrator(d.Name))))
		if err != nil {
			return fmt.Errorf("publish tables of %s: %w", d.Name, err)
		}
		on := b.replica.URL(b.password, d.Name)
		// Rows that migrations have made here come again with the first copy.
		if err := execute(ctx, on, "truncate "+strings.Join(tables, ", ")+" cascade"); err != nil {
			return fmt.Errorf("empty the published tables of %s: %w", d.Name, err)
		}
		err = execute(ctx, on, fmt.Sprintf("create subscription %s connection %s publication %s with (slot_name = %s)",
			quote(d.Name), literal(conninfo(b.primary.Port(), b.password, d.Name, "logical")), quote(d.Name), literal(d.slot())))
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", d.Name, err)
		}
	}
	return waitLogical(ctx, b.primary.URL(b.password, "postgres"), b.replica, b.password, b.Databases)
}

// tidy leaves nothing to do for the copies: no vacuum, no hint bits, statistics up to date. Then nobody can connect to
// template1 any more, as to template0: databases are made from both, and nothing ever writes to them.
func (b *builder) tidy(ctx context.Context, server *postgres.Server, databases []database) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range append([]string{"postgres", "template1"}, names(databases)...) {
		g.Go(func() error {
			if err := execute(gctx, server.URL(b.password, name), "vacuum (freeze, analyze)"); err != nil {
				return fmt.Errorf("vacuum %s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	url := server.URL(b.password, "postgres")
	if err := execute(ctx, url, "alter database template1 allow_connections false"); err != nil {
		return err
	}
	oids, err := ask1[[]string](ctx, url, "select array_agg(oid::text order by oid) from pg_database where datistemplate and not datallowconn")
	if err != nil {
		return err
	}
	b.frozen = b.frozen[:0]
	for _, oid := range oids { // the same in every cluster of a version
		b.frozen = append(b.frozen, "base/"+oid)
	}
	return nil
}

func names(all []database) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.Name)
	}
	return out
}

// unsubscribe disables the subscriptions, which keeps their state, and lets their slots hold back no old WAL.
func (b *builder) unsubscribe(ctx context.Context) error {
	for _, d := range subscribed(b.Databases) {
		if err := execute(ctx, b.replica.URL(b.password, d.Name), "alter subscription "+quote(d.Name)+" disable"); err != nil {
			return fmt.Errorf("disable the subscription to %s: %w", d.Name, err)
		}
		url := b.primary.URL(b.password, d.Name)
		// Nothing is written between the copy's end and here, so nothing that is advanced over is missed.
		err := until(ctx, "the slot "+d.slot()+" is free", func(ctx context.Context) error {
			return execute(ctx, url, "select pg_replication_slot_advance("+literal(d.slot())+", pg_current_wal_lsn())")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stop shuts a node down with as little WAL as can be, and removes what a copy must not have.
func (b *builder) stop(ctx context.Context, s *postgres.Server) error {
	url := s.URL(b.password, "postgres")
	for _, text := range []string{"checkpoint", "select pg_switch_wal()", "checkpoint"} {
		if err := execute(ctx, url, text); err != nil {
			return err
		}
	}
	current, err := ask1[string](ctx, url, "select pg_walfile_name(pg_current_wal_lsn())")
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
			err = punchTail(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func quote(name string) string   { return pgx.Identifier{name}.Sanitize() }
func table(name string) string   { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
