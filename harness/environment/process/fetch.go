package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	embedded "github.com/fergusstrange/embedded-postgres"
	"golang.org/x/sys/unix"

	"backout/harness/environment/artefact"
	"backout/harness/environment/ports"
	"backout/harness/postgres"
)

// fetched is the version that is fetched where the machine has none: the oldest that drills can use.
const fetched = embedded.V15

// findPostgres finds PostgreSQL's programs, or fetches them when it may, and the user whom instances run as.
func (m *machine) findPostgres(ctx context.Context) error {
	bin, err := m.find(m.PostgresDir)
	installed := bin.Dir
	if errors.Is(err, postgres.ErrNoPostgres) && m.PostgresDir == "" {
		if !m.Fetch {
			return fmt.Errorf("%w; fetching it is switched off", err)
		}
		var fetching error
		if bin, installed, fetching = m.fetch(ctx); fetching != nil {
			return fmt.Errorf("%w, and it could not be fetched: %w\ninstall it: apt-get install postgresql", postgres.ErrNoPostgres, fetching)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	cmd, err := bin.Command(ctx, "postgres", "--version")
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bin, m.installed, m.owner = bin, installed, cmd.SysProcAttr.Credential
	return nil
}

// fetch gets PostgreSQL's programs into the cache, once, and returns them and where they were installed.
func (m *machine) fetch(ctx context.Context) (bin postgres.Binaries, installed string, err error) {
	installed = filepath.Join(m.Cache, "postgresql-"+string(fetched))
	lock, err := artefact.LockFile(ctx, installed+".lock", unix.LOCK_EX, func() { m.Say("waiting for another run that fetches PostgreSQL") })
	if err != nil {
		return bin, "", err
	}
	defer lock.Close()
	if _, err := os.Stat(installed); errors.Is(err, os.ErrNotExist) {
		if err := m.download(ctx, installed); err != nil {
			return bin, "", err
		}
	}
	home := installed
	if os.Geteuid() == 0 {
		// As root the cache is often closed to the user whom PostgreSQL runs as.
		home = filepath.Join(m.dir, "postgresql")
		if err := artefact.CopyTree(ctx, installed, home, nil); err != nil {
			return bin, "", err
		}
		if err := artefact.Readable(home); err != nil {
			return bin, "", err
		}
	}
	bin, err = postgres.Find(filepath.Join(home, "bin"))
	if err != nil {
		return bin, "", fmt.Errorf("%w; remove %s and try again", err, installed)
	}
	return bin, installed, nil
}

// download has embedded-postgres fetch and unpack its archive. It has no call for that alone: Start downloads, unpacks
// and then starts a server, unless the data directory looks used; so it is given one with nothing but a version in it,
// which no server starts on. What counts is that the programs are there afterwards.
func (m *machine) download(ctx context.Context, home string) error {
	repository := m.Repository
	if repository == "" {
		repository = "https://repo1.maven.org/maven2"
	}
	m.Say(fmt.Sprintf("no PostgreSQL on this machine: fetching %s from %s into %s", fetched, repository, m.Cache))
	part, err := os.MkdirTemp(m.Cache, ".part-")
	if err != nil {
		return err
	}
	defer artefact.RemoveTree(part)
	data := filepath.Join(part, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	major, _, _ := strings.Cut(string(fetched), ".")
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(major+"\n"), 0o600); err != nil {
		return err
	}
	l, err := ports.Take()
	if err != nil {
		return err
	}
	defer l.Close()
	database := embedded.NewDatabase(embedded.DefaultConfig().
		Version(fetched).
		Port(uint32(l.Port)).
		BinaryRepositoryURL(strings.TrimSuffix(repository, "/")).
		CachePath(filepath.Join(part, "archive")).
		RuntimePath(filepath.Join(part, "runtime")).
		DataPath(data).
		BinariesPath(filepath.Join(part, "unpacked")).
		Logger(io.Discard))
	result := make(chan error, 1)
	go func() {
		err := database.Start()
		removeItsLogs()
		result <- err
	}()
	select {
	case err = <-result:
	case <-ctx.Done():
		return ctx.Err() // the library cannot be interrupted; what it still does is in the folder that goes
	}
	if err == nil {
		err = errors.Join(errors.New("a server started on an empty directory"), database.Stop())
		return err
	}
	if _, missing := os.Stat(filepath.Join(part, "unpacked", "bin", "postgres")); missing != nil {
		return err
	}
	// The user whom PostgreSQL runs as reads it.
	if err := artefact.Readable(filepath.Join(part, "unpacked")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(part, "unpacked"), home); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// removeItsLogs removes the temporary file that embedded-postgres opens for the server's output and leaves behind. It
// is found by its descriptor, so that nobody else's goes.
func removeItsLogs() {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if path, err := os.Readlink(fd); err == nil && strings.HasPrefix(filepath.Base(path), "embedded_postgres_log") {
			_ = os.Remove(path)
		}
	}
}
