package service

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, err := Schemas.ReadFile("schemas/" + name + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate says what a schema has against a text of YAML.
func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// Every file that the loaders take is right by the schemas too.
func TestTheSchemasTakeWhatTheLoadersTake(t *testing.T) {
	seen := map[string]int{}
	check := func(kind, path string, text []byte) {
		seen[kind]++
		if err := validate(t, compiled(t, kind), text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, root := range []string{"../../fixtures/services", "../cmd/backout/starter", "../cmd/backout/testdata/others"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" || d.Name() == "mutants.yaml" || d.Name() == "compose.yaml" {
				return err
			}
			if in := filepath.Base(filepath.Dir(path)); in == "templates" || in == "manifests" || d.Name() != "service.yaml" && filepath.Base(filepath.Dir(filepath.Dir(path))) != "releases" {
				return nil // of a chart, or a manifest
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			kind := "plan"
			if d.Name() == "service.yaml" || d.Name() == "release.yaml" {
				kind = strings.TrimSuffix(d.Name(), ".yaml")
			}
			check(kind, path, text)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check("service", "the whole of it", []byte(whole))
	check("service", "the whole of it on Kubernetes", []byte(onKubernetes))
	check("release", "the whole of it", []byte(bad))
	check("release", "the whole of it on Kubernetes", []byte(rolledOut))
	check("plan", "the whole of it", []byte(plan))
	for _, kind := range []string{"service", "release", "plan"} {
		if seen[kind] < 3 {
			t.Errorf("looked at %d of %s only", seen[kind], kind)
		}
	}
	if err := validate(t, compiled(t, "service"), []byte("service: web\ntier: critical\ninstnces: 2\n")); err == nil {
		t.Error("the schema takes an unknown key")
	}
}

// The loaders and the schemas know the same keys: each call of object in the loaders has its object in a schema, and the
// other way round.
func TestTheSchemasKnowTheKeysOfTheLoaders(t *testing.T) {
	known := map[string]bool{
		keys(requestKeys):         true, // beside METHOD PATH, which is a pattern
		keys(checkKeys["before"]): true,
		keys(append([]string{"within"}, checkKeys["after"]...)): true,
	}
	set := token.NewFileSet()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			if f, is := call.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "object" {
				var names []string
				ast.Inspect(&ast.ParenExpr{X: &ast.CallExpr{Fun: ast.NewIdent("f"), Args: call.Args}}, func(n ast.Node) bool {
					if lit, is := n.(*ast.BasicLit); is && lit.Kind == token.STRING {
						name, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						names = append(names, name)
					}
					if id, is := n.(*ast.Ident); is && id.Name == "thresholds" {
						names = append(names, thresholds...)
					}
					return true
				})
				known[keys(names)] = true
			}
			return true
		})
	}
	if len(known) < 25 {
		t.Fatalf("found %d calls of object only: the search is broken", len(known))
	}
	stated := map[string]bool{}
	for _, name := range []string{"service", "release", "plan"} {
		text, err := Schemas.ReadFile("schemas/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		gather(doc, stated)
	}
	for k := range known {
		if !stated[k] {
			t.Errorf("the loaders know an object with the keys %s; no schema does", k)
		}
	}
	for k := range stated {
		if !known[k] {
			t.Errorf("a schema has an object with the keys %s; the loaders know none", k)
		}
	}
}

func keys(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }

func gather(doc any, into map[string]bool) {
	switch d := doc.(type) {
	case map[string]any:
		if props, is := d["properties"].(map[string]any); is && d["additionalProperties"] == false {
			into[keys(sorted(props))] = true
		}
		for _, v := range d {
			gather(v, into)
		}
	case []any:
		for _, v := range d {
			gather(v, into)
		}
	}
}
