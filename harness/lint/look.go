package lint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"backout/harness/service"
)

// Looked is what was looked at, and what was found there.
type Looked struct {
	Plans, Scripts int
	Findings       []Finding
}

// Open are the findings that nobody accepts.
func (l Looked) Open() []Finding {
	return slices.DeleteFunc(slices.Clone(l.Findings), func(f Finding) bool { return f.Accepted != "" })
}

// Look looks at plans, migrations, services, and folders with services in them. A table is large from so many rows on.
// Plans that are wrong on purpose, which say so by `sabotage`, are looked at only when they are named or sabotaged is true.
func Look(paths []string, large int, sabotaged bool) (Looked, error) {
	l := looker{large: large, sabotaged: sabotaged, files: map[string]bool{}, seen: map[string]bool{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return Looked{}, err
		case info.IsDir():
			err = l.folder(path)
		case filepath.Base(path) == "service.yaml":
			l.service(path)
		case filepath.Ext(path) == ".sql":
			err = l.sql(path, above(path))
		default:
			err = l.plan(path, true)
		}
		if err != nil {
			return Looked{}, err
		}
	}
	if l.Plans+l.Scripts+len(l.Findings) == 0 {
		return Looked{}, fmt.Errorf("%s: expected a plan, a migration, or a folder with a service.yaml in it, found nothing to look at", strings.Join(paths, ", "))
	}
	var files []string
	for path := range l.files {
		files = append(files, path)
	}
	slices.Sort(files)
	var err error
	l.Findings, err = Judge(l.Findings, files)
	return l.Looked, err
}

type looker struct {
	Looked
	large     int
	sabotaged bool
	files     map[string]bool // in whose comments findings may be accepted
	seen      map[string]bool // plans and scripts that were looked at
}

// folder looks at every service below a folder.
func (l *looker) folder(top string) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != top && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || entry.Name() != "service.yaml":
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && ours.Match(text) {
			l.service(path)
		}
		return err
	})
}

// ours tells a service.yaml from other files of that name, such as a Service's of Kubernetes.
var ours = regexp.MustCompile(`(?m)^service:`)

// service looks at all plans of a service, its migrations and those of its releases.
func (l *looker) service(path string) {
	s, err := service.Load(path)
	if err != nil {
		l.broken(path, err)
		return
	}
	l.files[path] = true
	releases, err := s.Releases()
	if err != nil {
		l.broken(path, err)
	}
	var scripts []string
	if s.Database != nil && s.Database.Migrations != "" {
		scripts = append(scripts, find(filepath.Join(s.Dir, s.Database.Migrations), "*.sql")...)
	}
	for _, name := range releases {
		dir := filepath.Join(s.Dir, "releases", name)
		if _, err := s.Release(name); err != nil {
			l.broken(filepath.Join(dir, "release.yaml"), err)
			continue
		}
		scripts = append(scripts, find(filepath.Join(dir, "migrations"), "*.sql")...)
		for _, plan := range find(dir, "*.yaml") {
			if filepath.Base(plan) != "release.yaml" {
				if err := l.plan(plan, l.sabotaged); err != nil {
					l.broken(plan, err)
				}
			}
		}
	}
	for _, script := range scripts {
		if err := l.sql(script, s); err != nil {
			l.broken(script, err)
		}
	}
}

// plan looks at a plan, and at the migrations and SQL files that its steps run.
func (l *looker) plan(path string, sabotaged bool) error {
	if l.seen[path] {
		return nil
	}
	p, err := service.PlanAt(path)
	if err != nil {
		l.seen[path] = true
		l.broken(path, err)
		return nil
	}
	if p.Sabotage != nil && !sabotaged {
		return nil
	}
	l.seen[path] = true
	l.Plans++
	l.Findings = append(l.Findings, Plan(p)...)
	files, err := p.Release.RollbackFiles(p)
	if err != nil {
		return err
	}
	for _, f := range append(files, p.Release.Service.Path, filepath.Join(p.Release.Dir, "release.yaml")) {
		if filepath.Ext(f) == ".sql" {
			if err := l.sql(f, p.Release.Service); err != nil {
				return err
			}
		}
		l.files[f] = true
	}
	return nil
}

// sql looks at a migration or a script; s may be nil where no service is known.
func (l *looker) sql(path string, s *service.Service) error {
	if l.seen[path] {
		return nil
	}
	l.seen[path] = true
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sizes := Sizes{Large: l.large}
	if s != nil && s.Database != nil {
		sizes.Rows = s.Database.Rows
	}
	l.Scripts++
	l.files[path] = true
	l.Findings = append(l.Findings, SQL(path, string(text), sizes)...)
	return nil
}

// mistake is how loading tells one: with the file, the line, and what is expected there.
var mistake = regexp.MustCompile(`^(.+?\.(?:yaml|yml)):([0-9]+)(?::[0-9]+)?: (.*)$`)

// broken is what cannot be loaded, each mistake a finding.
func (l *looker) broken(path string, err error) {
	for _, text := range strings.Split(err.Error(), "\n") {
		f := Finding{File: path, Line: 1, Rule: unreadable, Found: text, Do: "Mend it: it would not run"}
		if m := mistake.FindStringSubmatch(text); m != nil {
			f.File, f.Found = m[1], m[3]
			f.Line, _ = strconv.Atoi(m[2]) // digits
		}
		if strings.HasPrefix(f.Found, `expected "timeout" in steps`) {
			f.Rule, f.Found, f.Do = noTimeout, "a step has no timeout", "State timeout: the time that it takes in drills, with some room"
		}
		l.Findings = append(l.Findings, f)
	}
}

// above is the service in whose folder a file lies; nil: none is known.
func above(path string) *service.Service {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	for dir := filepath.Dir(abs); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		s, err := service.Load(filepath.Join(dir, "service.yaml"))
		if err == nil {
			return s
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return nil
}

// find are the files in a folder, sorted; none where there is no folder.
func find(dir, pattern string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // it has none
	}
	var all []string
	for _, e := range entries {
		if is, err := filepath.Match(pattern, e.Name()); err == nil && is && e.Type().IsRegular() {
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	return all
}
