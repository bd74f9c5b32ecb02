package service

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// everyRelease in mutants.yaml stands for all of them.
const everyRelease = "every release"

// Equivalent is the written reason why a mutant of a release's right rollback changes nothing that is promised, by what it
// changes; empty when none is written. The reasons stand in mutants.yaml beside service.yaml: release -> a part of what is
// changed -> why.
func Equivalent(s *Service, release, what string) (string, error) {
	text, err := s.read("mutants.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	f, root := parse(filepath.Join(s.Dir, "mutants.yaml"), text)
	why := ""
	names, err := s.Releases()
	if err != nil {
		return "", err
	}
	for _, r := range root.pairs() {
		if r.name != everyRelease && !slices.Contains(names, r.name) {
			r.key.wrong("expected a release of %s, found %q%s", s.Name, r.name, meant(r.name, names))
		}
		for _, m := range r.pairs() {
			text := m.text()
			if (r.name == release || r.name == everyRelease) && strings.Contains(what, m.name) {
				why = text
			}
		}
	}
	return why, f.err()
}
