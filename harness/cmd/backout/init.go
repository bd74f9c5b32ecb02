package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed starter
var starter embed.FS

func initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a starter service.yaml, releases, a plan and features into the current folder; they run as they are",
		Long: `Write a starter into the current folder: service.yaml, two releases with a rollback plan, a script that deploys, a drill
and its control, and JSON Schemas by which editors know the keys. They run as they are, with a stand-in in place of your service:

  backout plan     what the drills would do
  backout run      run them
  backout controls show that they would notice

Then put your own program, releases and plan in their place. Nothing that is there already is overwritten.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			written, err := writeStarter(".")
			for _, path := range written {
				fmt.Fprintln(c.OutOrStdout(), "  wrote", path)
			}
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), "next: backout plan, then backout run")
			}
			return err
		},
	}
}

// writeStarter writes all of the starter, or nothing when one of its files is there already.
func writeStarter(dir string) ([]string, error) {
	files, err := fs.Sub(starter, "starter")
	if err != nil {
		return nil, err
	}
	var paths, there []string
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		paths = append(paths, path)
		if _, err := os.Lstat(filepath.Join(dir, path)); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("init: expected a folder without %s: nothing was written", strings.Join(there, ", "))
	}
	texts := map[string][]byte{}
	for _, path := range paths {
		if texts[path], err = fs.ReadFile(files, path); err != nil {
			return nil, err
		}
	}
	for _, kind := range schemaKinds() {
		path := ".backout/" + kind + ".schema.json" // the first line of each YAML file leads editors there
		if texts[path], err = schemaOf(kind); err != nil {
			return nil, err
		}
	}
	var written []string
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		text := texts[path]
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(text), "#!") {
			mode = 0o755
		}
		at := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return written, fmt.Errorf("init: %w", err)
		}
		if err := os.WriteFile(at, text, mode); err != nil {
			return written, fmt.Errorf("init: %w", err)
		}
		written = append(written, path)
	}
	return written, nil
}
