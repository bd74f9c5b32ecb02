package traffic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"backout/harness/evidence"
)

// sessionsAtOnce is how many users try their kept values at the same time.
const sessionsAtOnce = 8

// rowsShown is how many wrong things a finding lists.
const rowsShown = 20

// Sessions tries again what users had kept before an instant: each user runs the journey that service.yaml names for
// the value, without the requests that are made once a user. It gives one finding for each kept value and puts
// nothing into the log but the writes that such a journey makes.
func (t *Traffic) Sessions(ctx context.Context, before evidence.Offset) []evidence.Finding {
	s, err := t.stream("")
	if err != nil {
		return nil
	}
	var findings []evidence.Finding
	for _, name := range slices.Sorted(maps.Keys(s.program.service.Sessions)) {
		f := evidence.Finding{Check: evidence.CheckSessions, Of: name}
		if err := t.session(ctx, s, &f, s.program.service.Sessions[name], before); err != nil {
			f.Asked, f.Error = false, shorten(t.log.Clean(err.Error()), errorLimit)
		}
		findings = append(findings, f)
	}
	return findings
}

func (t *Traffic) session(ctx context.Context, s *stream, f *evidence.Finding, name string, before evidence.Offset) error {
	slot := slices.Index(s.program.kept, f.Of)
	if slot < 0 {
		return fmt.Errorf("no request keeps %s once a user", f.Of)
	}
	j, err := s.program.find(name)
	if err != nil {
		return err
	}
	cl, err := newClient(s.client.base(), s.program.service, t.timeout)
	if err != nil {
		return err
	}
	defer cl.cutBy(ctx)()

	var calls []call
	for _, u := range s.users {
		if kept := u.before(before, slot); kept != nil {
			calls = append(calls, call{journey: j, user: u, client: cl, kept: kept, seed: t.seed()})
		}
	}
	if len(calls) == 0 {
		return fmt.Errorf("no user had %s before %.1f s", f.Of, float64(before))
	}
	wrong := make([]string, len(calls))
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(sessionsAtOnce, len(calls)) {
		work.Go(func() {
			w := newWorker(t)
			for n := int(next.Add(1)) - 1; n < len(calls); n = int(next.Add(1)) - 1 {
				c := &calls[n]
				c.at = time.Now()
				if out := w.run(c); out.Outcome != evidence.OK {
					wrong[n] = fmt.Sprintf("user %d: %s", c.user.number, out.Error)
				}
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("try %s again: %w", f.Of, context.Cause(ctx))
	}
	f.Asked, f.Checked = true, int64(len(calls))
	for _, text := range wrong {
		if text == "" {
			continue
		}
		f.Bad++
		if len(f.Rows) < rowsShown {
			f.Rows = append(f.Rows, text)
		}
	}
	return nil
}
