package rollback

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"backout/harness/service"
)

// backup asks how old the newest backup is.
func backup(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	made, what, err := newest(ctx, r, p, c.Backup)
	if err != nil {
		return err
	}
	age := time.Since(made).Round(time.Second)
	if age >= c.Backup.Within {
		return foundf("expected a backup that is younger than %s, found %s of %s, which is %s old", c.Backup.Within, what, made.UTC().Format(time.RFC3339), age)
	}
	return nil
}

// newest is when it was made.
func newest(ctx context.Context, r *Runner, p *service.Plan, b *service.Backup) (made time.Time, what string, err error) {
	if b.Run != "" {
		said, err := r.Ask(ctx, b.Run, p.Env)
		if err != nil {
			return made, "", err
		}
		said = strings.TrimSpace(said)
		if seconds, err := strconv.ParseFloat(said, 64); err == nil {
			return time.UnixMilli(int64(seconds * 1000)), "one", nil
		}
		made, err = time.Parse(time.RFC3339, said)
		if err != nil {
			return made, "", fmt.Errorf("expected %s to print seconds since 1970 or a time as in RFC 3339, found %s", b.Run, orNothing(said))
		}
		return made, "one", nil
	}
	pattern := b.File
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(r.Dir, pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return made, "", err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return made, "", err
		}
		// An empty file is what a backup leaves that failed.
		if info.Mode().IsRegular() && info.Size() > 0 && info.ModTime().After(made) {
			made, what = info.ModTime(), filepath.Base(file)
		}
	}
	if what == "" {
		return made, "", foundf("expected a backup, a file that is not empty, at %s, found none", b.File)
	}
	return made, what, nil
}
