package environment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Until tries again until f succeeds. what names the condition; on time-out the last mismatch is in the error.
func Until(ctx context.Context, what string, f func(context.Context) error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not tried yet")
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w; last: %w", what, ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// LastLines of a log, for an error.
func LastLines(name, log string, lines int) string {
	all := strings.Split(strings.TrimRight(log, "\n"), "\n")
	out := ""
	for _, line := range all[max(0, len(all)-lines):] {
		out += name + ": " + line + "\n"
	}
	return out
}
