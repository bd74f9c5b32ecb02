package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Oldest is the oldest major version that a drill can use.
const Oldest = 15

// Binaries is an installation of PostgreSQL's own programs.
type Binaries struct {
	Dir     string // holds postgres and initdb
	Version string // "15.13"
}

// ErrNoPostgres says that this machine has no PostgreSQL that can be used.
var ErrNoPostgres = errors.New("no PostgreSQL 15 or later found")

// Find looks for PostgreSQL's programs in dir, or, when dir is empty, on PATH, where pg_config says, and in Debian's
// folders, the newest first. An error wraps ErrNoPostgres, says where it looked and names the package to install.
func Find(dir string) (Binaries, error) {
	if dir != "" {
		b, err := look(dir)
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrNoPostgres, err)
		}
		return b, nil
	}
	var places []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil { // a link leads to where its companions are
			places = append(places, filepath.Dir(p))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(out)))
	}
	var newest Binaries
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, p := range debian {
		if b, err := look(p); err == nil && (newest.Dir == "" || major(b.Version) > major(newest.Version)) {
			newest = b
		}
	}
	if newest.Dir != "" {
		places = append(places, newest.Dir)
	}
	var found []error
	for _, p := range places {
		b, err := look(p)
		if err == nil {
			return b, nil
		}
		found = append(found, err)
	}
	err := fmt.Errorf("%w on PATH, by pg_config or in /usr/lib/postgresql/*/bin; install it: apt-get install postgresql", ErrNoPostgres)
	return Binaries{}, errors.Join(append([]error{err}, found...)...)
}

var (
	versionText   = regexp.MustCompile(`\(PostgreSQL\) (\d+)(\S*)`)
	leadingDigits = regexp.MustCompile(`^\d+`)
)

func look(dir string) (Binaries, error) {
	for _, p := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
			return Binaries{}, fmt.Errorf("%s has no %s that can be run", dir, p)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	m := versionText.FindStringSubmatch(string(out))
	if m == nil {
		return Binaries{}, fmt.Errorf("%s/postgres --version: expected a version, found %q", dir, strings.TrimSpace(string(out)))
	}
	b := Binaries{Dir: dir, Version: m[1] + m[2]}
	if major(b.Version) < Oldest {
		return Binaries{}, fmt.Errorf("%s has PostgreSQL %s, but %d or later is needed", dir, b.Version, Oldest)
	}
	return b, nil
}

func major(version string) int {
	n, _ := strconv.Atoi(leadingDigits.FindString(version)) // "15.13", but also "18beta1"
	return n
}

// account is whom PostgreSQL runs as, since it refuses root.
type account struct {
	name     string
	uid, gid int
}

// unprivileged is nil when we are not root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as; run as an ordinary user, or: useradd --system postgres")
}

// mayEnter is an error that says what to do when the user cannot pass through a folder.
func (a *account) mayEnter(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return nil
	}
	bit := os.FileMode(0o001)
	switch {
	case int(st.Uid) == a.uid:
		bit = 0o100
	case int(st.Gid) == a.gid:
		bit = 0o010
	}
	if info.Mode()&bit == 0 {
		return fmt.Errorf("PostgreSQL runs as %s, who cannot pass through %s (mode %04o); chmod o+x it, or choose another folder by TMPDIR",
			a.name, dir, info.Mode().Perm())
	}
	return nil
}
