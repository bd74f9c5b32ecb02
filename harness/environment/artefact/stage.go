// Package artefact makes what is deployed: the deployed directory of a release, from its folder, the service's scripts
// and migrations, and what the service's build makes of it. It knows no environment.
package artefact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"backout/harness/service"
)

// Stages makes the deployed directories of one drill's releases, each once.
type Stages struct {
	Kind  string            // of environment, which says how an artefact is built
	Cache string            // folder of what builds have made
	Dir   string            // the deployed directories are Dir/SERVICE/RELEASE
	Say   func(text string) // tells people what takes long

	once Keyed
	made sync.Map // directory -> struct{}: it was there
}

// Release makes SERVICE/RELEASE: the release's folder, the service's own scripts, the artefact, and the service's
// migrations with the release's laid over them. The files of overlay, path -> text, take the place of those of their name.
func (g *Stages) Release(ctx context.Context, s *service.Service, r *service.Release, overlay map[string]string) (dir string, err error) {
	dir = filepath.Join(g.Dir, s.Name, r.Name)
	unlock := g.once.Lock(dir)
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		g.made.Store(dir, struct{}{})
		return dir, nil
	}
	if _, was := g.made.Load(dir); was {
		// Whoever took it away is to be seen, and not to be helped.
		return "", fmt.Errorf("the deployed directory of %s %s was there, and somebody has taken it away", s.Name, r.Name)
	}
	if r.Name != filepath.Base(dir) || s.Name == "" {
		return "", fmt.Errorf("stage %q of %q: the names must be folder names", r.Name, s.Name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("stage %s of %s: %w", r.Name, s.Name, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	// Under another name until it is whole.
	part := filepath.Join(filepath.Dir(dir), "."+r.Name)
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return "", err
	}
	if s.Dir != "" {
		if err := (Tree{From: s.Dir, To: part, How: scripts}).Copy(ctx); err != nil {
			return "", err
		}
	}
	if r.Dir != "" {
		notMigrations := func(path string, d fs.DirEntry) How {
			if path == "migrations" {
				return Skipped
			}
			return Copied
		}
		if err := (Tree{From: r.Dir, To: part, How: notMigrations}).Copy(ctx); err != nil {
			return "", err
		}
	}
	if len(s.BuildIn(g.Kind)) > 0 {
		artefact, unlock, err := g.artefact(ctx, s, r)
		if err != nil {
			return "", err
		}
		err = CopyTree(ctx, artefact, part, nil)
		unlock()
		if err != nil {
			return "", err
		}
	}
	files, err := Migrations(s, r)
	if err != nil {
		return "", err
	}
	if err := WriteFiles(filepath.Join(part, "migrations"), files); err != nil {
		return "", err
	}
	for path, text := range overlay {
		if err := replace(filepath.Join(part, path), text); err != nil {
			return "", fmt.Errorf("put %s in place: %w", path, err)
		}
	}
	if err := Readable(part); err != nil {
		return "", err
	}
	if err := os.Rename(part, dir); err != nil {
		return "", err
	}
	g.made.Store(dir, struct{}{})
	return dir, nil
}

// replace writes a file anew and keeps whether it is a program.
func replace(path, text string) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return os.WriteFile(path, []byte(text), mode)
}

// scripts copies the programs at the top of the service's folder, such as deploy, and nothing else of it.
func scripts(path string, d fs.DirEntry) How {
	if !d.Type().IsRegular() {
		return Skipped
	}
	if info, err := d.Info(); err != nil || info.Mode()&0o111 == 0 {
		return Skipped
	}
	return Copied
}

// Readable lets the user whom instances run as read what was staged.
func Readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if d.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		if mode == info.Mode().Perm() {
			return nil
		}
		return os.Chmod(path, mode)
	})
}

// Migrations are the service's, and laid over them the release's: a file of the release takes the place of one with
// the same name or the same number.
func Migrations(s *service.Service, r *service.Release) (map[string][]byte, error) {
	files := map[string][]byte{}
	if s.Database != nil && s.Database.Migrations != "" {
		if err := readFiles(Within(s.Dir, s.Database.Migrations), files); err != nil {
			return nil, fmt.Errorf("migrations of %s: %w", s.Name, err)
		}
	}
	if r == nil || r.Dir == "" {
		return files, nil
	}
	over := map[string][]byte{}
	if err := readFiles(filepath.Join(r.Dir, "migrations"), over); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("migrations of %s: %w", r.Name, err)
	}
	for name := range over {
		number, is := migrationNumber(name)
		for other := range files {
			if n, has := migrationNumber(other); is && has && n == number {
				delete(files, other)
			}
		}
	}
	for name, text := range over {
		files[name] = text
	}
	return files, nil
}

var leadingNumber = regexp.MustCompile(`^(\d+)_`)

func migrationNumber(name string) (int64, bool) {
	m := leadingNumber.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

func readFiles(dir string, into map[string][]byte) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		into[e.Name()] = text
	}
	return nil
}

// WriteFiles writes files, name -> text, into dir, which is made if there is anything to write.
func WriteFiles(dir string, files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Within is path, taken from dir when it is not absolute.
func Within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// artefact is the folder of what the service's build makes of a release, built once for the same sources and kept in
// the cache. The caller copies from it, then unlocks it.
func (g *Stages) artefact(ctx context.Context, s *service.Service, r *service.Release) (dir string, unlock func(), err error) {
	command := s.BuildIn(g.Kind)
	key, err := sourcesKey(s, r, command)
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(g.Cache, "artefacts", s.Name+"-"+r.Name+"-"+key[:24])
	unlock, err = Once(ctx, dir, 100, nil, func(part string) error {
		g.Say(fmt.Sprintf("building %s %s", s.Name, r.Name))
		return build(ctx, s, r, command, part)
	})
	if err != nil {
		return "", nil, err
	}
	return dir, unlock, nil
}

// build runs the service's build command as a developer would: with our environment, OUT and RELEASE.
func build(ctx context.Context, s *service.Service, r *service.Release, command []string, out string) error {
	// What it makes for a while is in the cache, where the next build removes it: a compiler that is killed leaves it.
	temp, err := os.MkdirTemp(filepath.Dir(out), ".part-")
	if err != nil {
		return err
	}
	defer RemoveTree(temp)
	program := command[0]
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "OUT="+out, "RELEASE="+r.Dir, "TMPDIR="+temp)
	return Spoken(cmd, fmt.Sprintf("cd %s && OUT=%s RELEASE=%s %s", s.Dir, out, r.Dir, strings.Join(command, " ")))
}

// sourcesKey is a digest of what a build depends on: the service's folder without its other releases, the release's
// folder, the nearest go.mod and go.sum, the command and the platform.
func sourcesKey(s *service.Service, r *service.Release, command []string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "artefact 1\n%s/%s %s\n%q\n", runtime.GOOS, runtime.GOARCH, runtime.Version(), command)
	if err := HashTree(sum, s.Dir, func(path string) bool { return path == "releases" }); err != nil {
		return "", err
	}
	if r.Dir != "" {
		if err := HashTree(sum, r.Dir, nil); err != nil {
			return "", err
		}
	}
	for dir := s.Dir; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			more, _ := os.ReadFile(filepath.Join(dir, "go.sum")) // a module without dependencies has none
			fmt.Fprintf(sum, "%x %x\n", sha256.Sum256(text), sha256.Sum256(more))
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// HashTree adds the names, modes and contents of the files below root; skip, which may be nil, leaves paths out.
func HashTree(sum io.Writer, root string, skip func(path string) bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if skip != nil && skip(rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %o %x\n", rel, info.Mode().Perm()&0o111, sha256.Sum256(text))
		return nil
	})
}

// Once makes a folder of the cache if it is not there yet, whoever comes first, and returns it locked against removal.
// keep is how many such folders stay in the cache.
func Once(ctx context.Context, dir string, keep int, waiting func(), make func(part string) error) (unlock func(), err error) {
	lock := dir + ".lock"
	for {
		file, err := LockFile(ctx, lock, unix.LOCK_SH, waiting)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(dir); err == nil {
			now := time.Now()
			_ = os.Chtimes(dir, now, now) // the oldest are removed first
			return func() { file.Close() }, nil
		}
		file.Close()
		if err := makeOnce(ctx, dir, lock, keep, waiting, make); err != nil {
			return nil, err
		}
	}
}

func makeOnce(ctx context.Context, dir, lock string, keep int, waiting func(), make func(part string) error) error {
	file, err := LockFile(ctx, lock, unix.LOCK_EX, waiting)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), ".part-")
	if err != nil {
		return err
	}
	defer RemoveTree(part)
	if err := make(part); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil {
		return err
	}
	prune(filepath.Dir(dir), dir, keep)
	return nil
}

// prune keeps a part of the cache small: what nobody uses now goes when it is not among the last used, or was not used
// for a month. What cannot be removed stays; a later drill tries again.
func prune(parent, except string, keep int) {
	const age = 30 * 24 * time.Hour
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	type folder struct {
		path string
		used time.Time
	}
	var all []folder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if strings.HasPrefix(e.Name(), ".part-") {
			if time.Since(info.ModTime()) > 24*time.Hour { // of a run that was killed
				_ = RemoveTree(path)
			}
			continue
		}
		all = append(all, folder{path, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b folder) int { return b.used.Compare(a.used) })
	for i, f := range all {
		if f.path == except || (i < keep && time.Since(f.used) < age) {
			continue
		}
		lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = RemoveTree(f.path)
			_ = os.Remove(lock.Name())
		}
		lock.Close()
	}
}
