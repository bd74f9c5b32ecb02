package rollback

import (
	"context"
	"errors"
	"fmt"

	"backout/harness/service"
)

// tries is how often each journey of a dependant runs against the clone: once could have met what the first start made.
const tries = 3

// dependants shows that they work against a clone at the target's schema, by running their journeys there.
func dependants(ctx context.Context, _ *Runner, _ *service.Plan, _ service.Check, w World) (err error) {
	all := w.Dependants()
	if len(all) == 0 {
		return errors.New("expected dependants, found none")
	}
	urls, end, err := w.Clone(ctx)
	if err != nil {
		return fmt.Errorf("start a clone: %w", err)
	}
	defer func() {
		if endErr := end(); endErr != nil && err == nil {
			err = fmt.Errorf("end the clone: %w", endErr)
		}
	}()
	for _, s := range all {
		url := urls[s.Name]
		if url == "" {
			return fmt.Errorf("expected %s in the clone, found none", s.Name)
		}
		for _, j := range s.Journeys {
			for i := range tries {
				err := w.Journey(ctx, s.Name, j.Name, url)
				if ctx.Err() != nil {
					return fmt.Errorf("%s of %s: %w", j.Name, s.Name, context.Cause(ctx))
				}
				if err != nil {
					return foundf("%s of %s against a clone at the target's schema, try %d of %d: %v", j.Name, s.Name, i+1, tries, err)
				}
			}
		}
	}
	return nil
}
