package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// migrates says whether the release brings migrations of its own.
func (r *Release) migrates() bool {
	found, _ := filepath.Glob(filepath.Join(escape(r.Dir), "migrations", "*.sql")) // the pattern is a good one
	return len(found) > 0
}

// word is a piece of a command that may be the path of a file: a script, a folder, a SQL file.
var word = regexp.MustCompile(`[A-Za-z0-9_./-]+`)

// Files is what a drill of the plan depends on beside the feature: release.yaml, code.patch, the plan, the migrations of
// service and release, their chart or manifests, and the scripts and folders that its steps, its sabotage and the rollout name and that exist in the
// release's or the service's folder, and the scripts that these name. A nil plan is left away.
func (r *Release) Files(p *Plan) []string {
	s := r.Service
	names := []string{"release.yaml", "code.patch", "migrations"}
	var commands []string
	for _, rollout := range r.Rollouts {
		for _, step := range rollout {
			commands = append(commands, step.Run)
		}
	}
	var files []string
	if p != nil {
		files = append(files, p.Path)
		for _, step := range p.Commands() {
			commands = append(commands, step.Run)
		}
		for _, c := range slices.Concat(p.Before, p.After) {
			commands = append(commands, c.run())
		}
		if p.Sabotage != nil {
			commands = append(commands, p.Sabotage.Shown)
		}
	}
	files = append(files, r.scripts(commands...)...)
	files = append(files, s.Path)
	if c := s.Containers; c != nil {
		names = append(names, c.Dockerfile, c.Compose)
	}
	if k := s.Kubernetes; k != nil {
		names = append(names, k.Chart, k.Manifests, "chart", "manifests", "definitions") // the latter of the release, laid over the service's
	}
	if s.Database != nil && s.Database.Migrations != "" {
		files = append(files, filepath.Join(s.Dir, s.Database.Migrations))
	}
	for _, c := range commands {
		names = append(names, word.FindAllString(c, -1)...)
	}
	for _, dir := range []string{r.Dir, s.Dir} {
		for _, name := range names {
			name = filepath.Clean(name)
			if !filepath.IsLocal(name) || name == "." || name == "releases" {
				continue
			}
			path := filepath.Join(dir, name)
			if _, err := os.Lstat(path); err == nil {
				files = append(files, path)
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// RollbackFiles is what the rollback itself rests on, each a file: the plan, the scripts and folders that its steps name
// and what these name, and the migrations up to the release's number, or up to the schema that the plan states where that
// is higher, as of a forward fix. A later migration is not among them, so that it makes no drill of this plan stale.
func (r *Release) RollbackFiles(p *Plan) ([]string, error) {
	s := r.Service
	migrations := []string{filepath.Join(r.Dir, "migrations")}
	if s.Database != nil && s.Database.Migrations != "" {
		migrations = append(migrations, filepath.Join(s.Dir, s.Database.Migrations))
	}
	var commands []string
	for _, step := range p.Commands() {
		commands = append(commands, step.Run)
	}
	named := append([]string{p.Path}, r.scripts(commands...)...)
	for _, dir := range []string{r.Dir, s.Dir} {
		for _, name := range word.FindAllString(strings.Join(commands, "\n"), -1) {
			if name = filepath.Clean(name); filepath.IsLocal(name) && name != "." && name != "releases" {
				named = append(named, filepath.Join(dir, name))
			}
		}
	}
	var files []string
	var errs []error
	for _, top := range append(named, migrations...) {
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && path == top {
				return nil // a word of a command that is no file
			}
			if err != nil || entry.IsDir() {
				return err
			}
			if n, is := migration(path); slices.Contains(migrations, filepath.Dir(path)) && (!is || n > max(r.MigrateTo, p.Schema)) {
				return nil
			}
			files = append(files, path)
			return nil
		})
		errs = append(errs, err)
	}
	slices.Sort(files)
	return slices.Compact(files), errors.Join(errs...)
}

// migration is the number with which a migration's file name begins, as goose reads it: 00005_drop_coupon_code.sql.
func migration(path string) (int64, bool) {
	number, _, found := strings.Cut(filepath.Base(path), "_")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, found && err == nil && filepath.Ext(path) == ".sql"
}

// Digests is the sha256 of each file, and of each file in each folder, by its path, as "sha256:" and hexadecimal digits.
// Of a symbolic link in a folder it is that of where it leads to, as text.
func Digests(files ...string) (map[string]string, error) {
	all := map[string]string{}
	var errs []error
	for _, f := range files {
		errs = append(errs, filepath.WalkDir(f, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			sum, err := digest(path, entry)
			if err == nil {
				all[path] = sum
			}
			return err
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("digest what the drill depends on: %w", err)
	}
	return all, nil
}

func digest(path string, entry fs.DirEntry) (string, error) {
	h := sha256.New()
	switch kind := entry.Type(); {
	case kind&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		io.Copy(h, strings.NewReader(to)) // a hash takes everything
	case kind.IsRegular():
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("%s: expected a file, found %s", path, kind)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
