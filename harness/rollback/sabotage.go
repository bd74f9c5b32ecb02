package rollback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/trace"

	"backout/harness/evidence"
	"backout/harness/service"
)

// askSabotage is how often it is asked whether a sabotage took effect.
const askSabotage = 200 * time.Millisecond

// Sabotage asks, after the plan's steps, whether what is wrong with the plan on purpose took effect, and writes the
// answer. The question is the plan's own command, run as a step is: it is asked until its exit code is 0 or the plan's
// time is over.
func (r *Runner) Sabotage(ctx context.Context, p *service.Plan) {
	s := p.Sabotage
	event := func(what, why string) {
		r.Log.Put(&evidence.Fault{Name: "sabotage", Of: s.What, Event: what, Error: r.Log.Clean(why)})
	}
	event("asked", "")
	ctx, cancel := context.WithTimeoutCause(ctx, s.Within, fmt.Errorf("not shown within %s", s.Within))
	defer cancel()
	if err := until(ctx, askSabotage, func(ctx context.Context) error { return r.shown(ctx, p) }); err != nil {
		event("not in force", err.Error())
		return
	}
	event("in force", "")
}

// shown runs the plan's question once.
func (r *Runner) shown(ctx context.Context, p *service.Plan) error {
	_, err := r.Ask(ctx, p.Sabotage.Shown, p.Env)
	return err
}

// Ask runs a command as a step is run, and returns what it printed. It is no step: nothing of it is in the log. It and
// all that it started end with it, with ctx, and with the harness.
func (r *Runner) Ask(ctx context.Context, text string, env map[string]string) (string, error) {
	environ, err := r.environ(env, trace.SpanContext{})
	if err != nil {
		return "", err
	}
	pipes, err := newPipes()
	if err != nil {
		return "", fmt.Errorf("start the command: %w", err)
	}
	defer pipes.close()
	g, err := start(text, r.Dir, environ, pipes.toOut, pipes.toErr)
	pipes.started()
	if err != nil {
		return "", err
	}
	var out, complaint bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = out.ReadFrom(pipes.out) }) // what was not read says nothing
	reading.Go(func() { _, _ = complaint.ReadFrom(pipes.err) })
	var killed error
	select {
	case err = <-g.ended:
	case <-ctx.Done():
		killed = g.signal(syscall.SIGKILL)
		err = <-g.ended
	}
	killed = errors.Join(killed, g.end()) // a question leaves nothing running
	pipes.stop(time.Now().Add(drained))
	reading.Wait()
	if err == nil {
		return out.String(), killed
	}
	if said := strings.TrimSpace(out.String() + complaint.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said[max(0, len(said)-500):])
	}
	return "", errors.Join(fmt.Errorf("%s: %w", text, err), context.Cause(ctx), killed)
}
