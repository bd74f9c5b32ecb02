package rollback

import (
	"context"

	"backout/harness/service"
)

// artefact asks whether the release that a plan goes back to can still be deployed.
func artefact(ctx context.Context, _ *Runner, _ *service.Plan, c service.Check, w World) error {
	err := w.Artefact(ctx, c.Artefact)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return foundf("%v", err)
}
