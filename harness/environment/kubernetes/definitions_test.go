package kubernetes

import (
	"os"
	"path/filepath"
	"testing"
)

// A definition belongs to no namespace, so one that is not called after the drill's would be everybody's.
func TestDefinitionsAreOfTheDrillAlone(t *testing.T) {
	definition := func(group string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: alarms." + group + "}\nspec: {group: " + group + "}\n"
	}
	for name, c := range map[string]struct{ text, wrong string }{
		"of the drill's namespace":      {text: definition("${NAMESPACE}.example")},
		"two of them":                   {text: definition("${NAMESPACE}.example") + "---\n" + definition("${NAMESPACE}.test")},
		"of everybody":                  {text: definition("example.com"), wrong: `expected a group that begins with ${NAMESPACE}`},
		"of another drill's namespace":  {text: definition("drill-12.example"), wrong: `found "drill-12.example"`},
		"no definition":                 {text: "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", wrong: "expected a CustomResourceDefinition of apiextensions.k8s.io/v1, found a Secret of v1"},
		"of another kind of definition": {text: "apiVersion: x.example/v1\nkind: CustomResourceDefinition\n", wrong: "of x.example/v1"},
		"no YAML":                       {text: "{", wrong: "alarms.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alarms.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			all, err := readDefinitions(path, map[string]string{"namespace": "drill-1"})
			says(t, err, c.wrong)
			for _, d := range all {
				if c.wrong == "" && d.GetName() != "alarms.drill-1.example" && d.GetName() != "alarms.drill-1.test" {
					t.Errorf("found %s", d.GetName())
				}
			}
			if c.wrong == "" && len(all) == 0 {
				t.Error("found none")
			}
		})
	}
}
