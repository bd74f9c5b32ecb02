package service

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PlanAt loads the plan in a file that lies beside its release, SERVICE/releases/RELEASE/NAME.yaml, with both of them.
func PlanAt(path string) (*Plan, error) {
	dir := filepath.Dir(path)
	releases := filepath.Dir(dir)
	name, way, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".yaml"), ".")
	environment := ""
	for e, w := range ways {
		if w == cmp.Or(way, InProcesses) {
			environment = e
		}
	}
	if abs, err := filepath.Abs(releases); err != nil || filepath.Base(abs) != "releases" || filepath.Ext(path) != ".yaml" || name == "release" || environment == "" {
		return nil, errors.Join(err, fmt.Errorf("%s: expected a plan, such as services/web/releases/v2/rollback.yaml, rollback.containers.yaml or rollback.kubernetes.yaml", path))
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("load the plan: %w", err)
	}
	s, err := Load(filepath.Join(filepath.Dir(releases), "service.yaml"))
	if err != nil {
		return nil, err
	}
	r, err := s.Release(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	return r.Plan(name, environment)
}

// Way is the way of deploying that the plan is written for: process, containers or kubernetes, as its file's name says.
func (p *Plan) Way() string {
	_, way, _ := strings.Cut(strings.TrimSuffix(filepath.Base(p.Path), ".yaml"), ".")
	return cmp.Or(way, InProcesses)
}

// Scripts are the files of the release's or the service's folder that the command names, and those that these name in turn.
func (r *Release) Scripts(commands ...string) []string { return r.scripts(commands...) }

// Migration is one file of migrations.
type Migration struct {
	Number int64
	Path   string
}

// Migrations are those in the release's deployed directory below a folder's name, in the order in which they are applied:
// the service's, and those that the release lays over them, which replace files of the same name.
func (r *Release) Migrations(folder string) ([]Migration, error) {
	byName := map[string]Migration{}
	for _, dir := range []string{r.Service.Dir, r.Dir} {
		paths, err := filepath.Glob(filepath.Join(escape(dir), escape(folder), "*.sql"))
		if err != nil {
			return nil, fmt.Errorf("list the migrations of %s: %w", r.Name, err)
		}
		for _, path := range paths {
			if n, is := migration(path); is {
				byName[filepath.Base(path)] = Migration{n, path}
			}
		}
	}
	var all []Migration
	for _, name := range sorted(byName) {
		all = append(all, byName[name])
	}
	slices.SortStableFunc(all, func(a, b Migration) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}
