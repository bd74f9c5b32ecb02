// Package harness_test holds the rule of the house: imports point down one list.
package harness_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// floors is DESIGN's list, from the top down. A package may import only packages below its own floor.
var floors = []string{
	"backout/harness/cmd/backout",
	"backout/scenarios",
	"backout/harness/live",
	"backout/harness/drill",
	"backout/harness/environment/process",
	"backout/harness/environment/kubernetes",
	"backout/harness/environment/containers",
	"backout/harness/environment/gateway",
	"backout/harness/environment/database",
	"backout/harness/environment/wiring",
	"backout/harness/environment/artefact",
	"backout/harness/environment/control",
	"backout/harness/environment/proxy",
	"backout/harness/environment/links",
	"backout/harness/environment/ports",
	"backout/harness/environment",
	"backout/harness/rollback",
	"backout/harness/traffic",
	"backout/harness/observe",
	"backout/harness/fault",
	"backout/harness/lease",
	"backout/harness/postgres",
	"backout/harness/cache",
	"backout/harness/lint",
	"backout/harness/runbook",
	"backout/harness/service",
	"backout/harness/history",
	"backout/harness/report",
	"backout/harness/verdict",
	"backout/harness/evidence",
}

// pure lists what the verdict may use of the standard library: no clock, no files, no network, no context.
var impure = []string{"time", "os", "net", "context", "io/fs", "path/filepath", "math/rand", "math/rand/v2", "sync"}

func TestImportsPointDown(t *testing.T) {
	floor := map[string]int{}
	for i, p := range floors {
		floor[p] = i
	}
	seen := 0
	for pkg, imports := range packages(t, "..") {
		here, listed := floor[pkg]
		if !listed {
			t.Errorf("%s is on no floor: add it to the list in this test and to CONTRIBUTING.md", pkg)
			continue
		}
		seen++
		for _, imp := range imports {
			if there, ours := floor[imp]; ours && there <= here {
				t.Errorf("%s imports %s, which stands above it", pkg, imp)
			}
			if strings.HasPrefix(imp, "backout/fixtures") {
				t.Errorf("%s imports %s: the engine knows no fixture", pkg, imp)
			}
		}
	}
	if seen < 10 {
		t.Errorf("looked at %d packages only: the walk is broken", seen)
	}
}

func TestVerdictIsPure(t *testing.T) {
	for pkg, imports := range packages(t, "..") {
		if pkg != "backout/harness/verdict" {
			continue
		}
		for _, imp := range imports {
			if strings.HasPrefix(imp, "backout/") && imp != "backout/harness/evidence" {
				t.Errorf("verdict imports %s: it may import evidence alone", imp)
			}
			for _, bad := range impure {
				if imp == bad || strings.HasPrefix(imp, bad+"/") {
					t.Errorf("verdict imports %s: it must be pure", imp)
				}
			}
		}
	}
}

// packages maps every package of harness and scenarios below root to its imports, tests left out.
func packages(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, top := range []string{"harness", "scenarios"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			pkg := "backout/" + filepath.ToSlash(rel)
			if found[pkg] == nil {
				found[pkg] = []string{} // also a package without imports is on a floor
			}
			for _, imp := range file.Imports {
				name, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					return err
				}
				found[pkg] = append(found[pkg], name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestTheEngineKnowsNoSample: what a drill needs to know of a service is in the service's own files, so that any
// service can be drilled. The names of the samples stand nowhere in the engine or in the vocabulary.
func TestTheEngineKnowsNoSample(t *testing.T) {
	var names []string
	samples, err := filepath.Glob("../fixtures/services/*/service.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range samples {
		if name := filepath.Base(filepath.Dir(path)); name != "stand" { // a verb of which comments are full
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	if len(names) < 2 {
		t.Fatalf("found the samples %v only: the search is broken", names)
	}
	name := regexp.MustCompile(`(?i)\b(` + strings.Join(names, "|") + `)(\b|-[0-9])` + "|[\"'`/]stand([\"'`/]|$)|\\bstand-[0-9]")
	files := 0
	for _, root := range []string{".", "../scenarios"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return filepath.SkipDir
			case d.IsDir() || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			files++
			text, err := os.ReadFile(path)
			for n, line := range strings.Split(string(text), "\n") {
				if name.MatchString(line) {
					t.Errorf("%s:%d names a sample service: %s", path, n+1, strings.TrimSpace(line))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Errorf("looked at %d files only: the walk is broken", files)
	}
}
