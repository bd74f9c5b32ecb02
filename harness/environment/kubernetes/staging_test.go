package kubernetes

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestValuesAreFilled(t *testing.T) {
	words := map[string]string{"image": "drill.local/shop", "release": "v2", "instances": "3", "node_port": "30001"}
	for _, c := range []struct {
		name    string
		in, out any
		wrong   string
	}{
		{"a text", "{image}:{release}", "drill.local/shop:v2", ""},
		{"a number", "{instances}", 3, ""},
		{"a number within a text", "n{instances}", "n3", ""},
		{"what is no placeholder of anybody", "plain {{ .Values }}", "plain {{ .Values }}", ""},
		{"nested", map[string]any{"image": map[string]any{"tag": "{release}"}, "list": []any{"{node_port}", true}},
			map[string]any{"image": map[string]any{"tag": "v2"}, "list": []any{30001, true}}, ""},
		{"an unknown word", map[string]any{"deep": map[string]any{"x": "{replicas}"}}, nil, "deep: x: {replicas} is no placeholder"},
	} {
		out, err := filled(c.in, words)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: expected %q, found %v", c.name, c.wrong, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(out, c.out) {
			t.Errorf("%s: expected %v, found %v: %v", c.name, c.out, out, err)
		}
	}
}

func TestManifestsAreFilled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "job.yaml")
	if err := os.WriteFile(file, []byte("image: ${IMAGE}:${RELEASE}\nrun: echo ${HOME} $IMAGE\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "script")
	if err := os.WriteFile(other, []byte("echo ${RELEASE}\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := fillFiles(dir, map[string]string{"image": "drill.local/shop", "release": "v2"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "image: drill.local/shop:v2\nrun: echo ${HOME} $IMAGE\n", other: "echo ${RELEASE}\n"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: expected %q, found %q: %v", path, want, text, err)
		}
	}
}

func TestImagesAreNamedAsContainerdNamesThem(t *testing.T) {
	for in, want := range map[string]string{
		"redis":                            "docker.io/library/redis:latest",
		"backout/shop:v1":                  "docker.io/backout/shop:v1",
		"drill.backout.local/a1b2/shop:v1": "drill.backout.local/a1b2/shop:v1",
		"localhost:5000/shop":              "localhost:5000/shop:latest",
	} {
		if got := qualified(in); got != want {
			t.Errorf("%s: expected %s, found %s", in, want, got)
		}
	}
}
