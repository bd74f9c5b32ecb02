package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/postgres"
)

// open is a temporary folder that the unprivileged user can pass through, which those of t.TempDir are not for root.
func open(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postgres-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func binaries(t testing.TB) postgres.Binaries {
	t.Helper()
	b, err := postgres.Find("")
	if err != nil {
		t.Skip(err)
	}
	return b
}

func TestServerLife(t *testing.T) {
	b := binaries(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	top := open(t)
	dir := filepath.Join(top, "data")
	if err := b.Init(ctx, dir, "it's secret"); err != nil {
		t.Fatal(err)
	}
	told := 0
	start := postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Settings: map[string]string{"cluster_name": `it's \ odd`},
		Started: func(pid int) error { told = pid; return nil }}
	s, err := b.Start(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill(context.Background())
	if told != s.PID() {
		t.Errorf("Started was told of process %d, expected %d", told, s.PID())
	}
	db, err := postgres.Open(ctx, s.URL("it's secret", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name, fsync, level, addresses string
	if err := db.QueryRow(ctx, `select current_setting('cluster_name'), current_setting('fsync'), current_setting('wal_level'),
		current_setting('listen_addresses')`).Scan(&name, &fsync, &level, &addresses); err != nil {
		t.Fatal(err)
	}
	if name != `it's \ odd` || fsync != "off" || level != "logical" || addresses != "127.0.0.1" {
		t.Errorf("settings: found cluster_name %q, fsync %s, wal_level %s, listen_addresses %s", name, fsync, level, addresses)
	}
	db.Close()

	// SIGKILL leaves a System V segment and /dev/shm files behind; Kill removes them.
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Wait()
	shmid, control := postgres.SharedOf(dir)
	if shmid == "" {
		t.Fatal("the killed postmaster left no System V segment; the test looks in the wrong place")
	}
	if err := s.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	deadline, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	for { // the last backend holds the segment for an instant longer
		if !postgres.SegmentThere(shmid) {
			break
		}
		if deadline.Err() != nil {
			t.Fatalf("segment %s is still there", shmid)
		}
	}
	if _, err := os.Stat(control); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", control, err)
	}

	// The directory starts again, here on a chosen port, and stops in order.
	s2, err := b.Start(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := s2.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("postmaster.pid after Stop: expected none, found %v", err)
	}
}

func TestStartErrorsCarryTheLog(t *testing.T) {
	b := binaries(t)
	top := open(t)
	dir := filepath.Join(top, "data")
	if err := b.Init(t.Context(), dir, "x"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Start(t.Context(), postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("expected the reason from the log, found %v", err)
	}
	_, err = b.Start(t.Context(), postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Started: func(int) error { return errors.New("cannot register") }})
	if err == nil || !strings.Contains(err.Error(), "cannot register") {
		t.Errorf("expected the error of Started, found %v", err)
	}
}

func TestAPortThatIsTakenIsSaid(t *testing.T) {
	b := binaries(t)
	top := open(t)
	dir := filepath.Join(top, "data")
	if err := b.Init(t.Context(), dir, "x"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = b.Start(t.Context(), postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Port: port})
	if want := fmt.Sprintf("on port %d: the port is taken", port); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("expected %q, found %v", want, err)
	}
}

// A server that goes on starting up: it restores from an archive that never answers.
func TestAServerThatNeverBecomesReadySaysWhatItSawLast(t *testing.T) {
	b := binaries(t)
	top := open(t)
	dir := filepath.Join(top, "data")
	if err := b.Init(t.Context(), dir, "x"); err != nil {
		t.Fatal(err)
	}
	signal := filepath.Join(dir, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Own(signal); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := b.Start(ctx, postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Settings: map[string]string{"restore_command": "sleep 1000"}})
	for _, want := range []string{"waiting for it to accept connections", "last: the database system is starting up", "database system was shut down"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "postmaster.pid")); err == nil {
		t.Error("the postmaster was left running")
	}
}

func TestClosedParentsAreNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs PostgreSQL as another user")
	}
	b := binaries(t)
	top := open(t)
	if err := os.Chmod(top, 0o700); err != nil {
		t.Fatal(err)
	}
	err := b.Init(t.Context(), filepath.Join(top, "data"), "x")
	if err == nil || !strings.Contains(err.Error(), "cannot pass through "+top) {
		t.Errorf("expected an error that names %s, found %v", top, err)
	}
}

func TestFindNamesThePackage(t *testing.T) {
	_, err := postgres.Find(t.TempDir())
	if !errors.Is(err, postgres.ErrNoPostgres) || !strings.Contains(err.Error(), "has no postgres") {
		t.Errorf("found %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := postgres.Find(""); err != nil && !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("expected the package's name, found %v", err)
	}
}
