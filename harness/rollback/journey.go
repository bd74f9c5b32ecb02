package rollback

import (
	"context"
	"time"

	"backout/harness/service"
)

// journey waits until a journey of the service succeeds where traffic goes in.
func journey(ctx context.Context, r *Runner, _ *service.Plan, c service.Check, w World) error {
	return until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		if err := w.Journey(ctx, r.Service.Name, c.Journey, ""); err != nil {
			return foundf("expected %s to succeed, found: %v", c.Journey, err)
		}
		return nil
	})
}
