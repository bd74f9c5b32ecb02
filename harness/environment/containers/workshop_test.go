package containers

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/environment/artefact"
)

// What is made for clusters is kept while it can be of use: a database until its cache drops it, this program for a week.
func TestImagesForClustersArePruned(t *testing.T) {
	docker(t)
	ctx := context.Background()
	o := options(t)
	o.Cache, o.Gateway = t.TempDir(), []string{os.Args[0], "gateway"}
	w, err := NewWorkshop(o, fixtures(t, 50))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	data, err := w.Data(ctx)
	if err != nil {
		t.Fatal(err)
	}
	program, _, err := w.Program(ctx)
	if err != nil {
		t.Fatal(err)
	}
	there := func(image string) bool {
		_, err := w.stage.docker.ImageInspect(ctx, image)
		if err != nil && !absent(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	prune := func(after time.Duration) []string {
		removed, err := dropOld(ctx, w.stage.docker, o.Cache)
		if err != nil {
			t.Fatal(err)
		}
		if err := dropPrograms(ctx, w.stage.docker, o.Cache, time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		return removed
	}
	if removed := prune(6 * 24 * time.Hour); removed != nil || !there(data.Name) || !there(program) {
		t.Errorf("what is of use was removed: %q", removed)
	}
	folders, err := filepath.Glob(filepath.Join(o.Cache, templates, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if err := artefact.RemoveTree(f); err != nil {
			t.Fatal(err)
		}
	}
	removed := prune(0)
	if !slices.Contains(removed, "removed image "+data.Name) || there(data.Name) || !slices.ContainsFunc(removed, func(s string) bool { return strings.HasPrefix(s, "removed volume ") }) {
		t.Errorf("the database of a template that was dropped is still there: removed %q", removed)
	}
	if !there(program) {
		t.Errorf("%s is of today and was removed", program)
	}
	if prune(8 * 24 * time.Hour); there(program) {
		t.Errorf("%s is older than a week and still there", program)
	}
}
