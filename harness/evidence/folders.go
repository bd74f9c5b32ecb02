package evidence

import (
	"fmt"
	"os"
	"path/filepath"
)

// Folders are the folders of runs at dir: itself when it holds a log, else those in it that hold one, in the order of their
// names; none is no error.
func Folders(dir string) ([]string, error) {
	if holdsLog(dir) {
		return []string{dir}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for runs: %w", err)
	}
	var found []string
	for _, e := range entries {
		if run := filepath.Join(dir, e.Name()); holdsLog(run) {
			found = append(found, run)
		}
	}
	return found, nil
}

func holdsLog(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, File))
	return err == nil
}
