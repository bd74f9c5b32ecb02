package rollback

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"backout/harness/service"
)

// space asks how much is free for what the way back needs: a table written anew, a dump restored.
func space(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	free, err := free(ctx, r, p, c.Space)
	if err != nil {
		return err
	}
	if free < c.Space.AtLeast {
		return foundf("expected %d bytes that are free, found %d", c.Space.AtLeast, free)
	}
	return nil
}

func free(ctx context.Context, r *Runner, p *service.Plan, s *service.Space) (int64, error) {
	if s.Run != "" {
		said, err := r.Ask(ctx, s.Run, p.Env)
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(said), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("expected %s to print a number of bytes, found %s", s.Run, orNothing(strings.TrimSpace(said)))
		}
		return n, nil
	}
	path := s.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Dir, path)
	}
	var at unix.Statfs_t
	if err := unix.Statfs(path, &at); err != nil {
		return 0, fmt.Errorf("%s: %w", s.Path, err)
	}
	return int64(at.Bavail) * at.Bsize, nil // what others than root may use
}
