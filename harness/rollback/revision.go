package rollback

import (
	"context"
	"regexp"
	"strings"
	"time"

	"backout/harness/service"
)

// revision asks whether what the plan goes back to is there, and is what is meant: a revision of a Deployment, a commit, a
// tag, the number of a migration.
func revision(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	is, err := r.Ask(ctx, c.Revision.Run, p.Env)
	if err != nil {
		return foundf("expected the target %s, found that it cannot be asked: %v", c.Revision.Is, err)
	}
	if is = strings.TrimSpace(is); is != c.Revision.Is {
		return foundf("expected the target %s, found %s", c.Revision.Is, orNothing(is))
	}
	return nil
}

// printed waits until a command ends with 0 and prints what it must.
func printed(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	match, err := regexp.Compile("(?m)" + c.Command.Output) // ^ and $ are of a line, as grep has it
	if err != nil {
		return err
	}
	return until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		is, err := r.Ask(ctx, c.Command.Run, p.Env)
		if err != nil {
			return foundf("expected %s to print %s, found: %v", c.Command.Run, c.Command.Output, err)
		}
		if is = strings.TrimSpace(is); !match.MatchString(is) {
			return foundf("expected %s to print %s, found %s", c.Command.Run, c.Command.Output, orNothing(is))
		}
		return nil
	})
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return short(s)
}
