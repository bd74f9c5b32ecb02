package rollback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
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

// Ask runs a command as a step is run, and returns what it printed. It is no step: nothing of it is in the log. It ends
// with ctx.
func (r *Runner) Ask(ctx context.Context, text string, env map[string]string) (string, error) {
	environ, err := r.environ(env, trace.SpanContext{})
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir, cmd.Env = r.Dir, environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drained
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err = cmd.Run(); err == nil {
		return out.String(), nil
	}
	if said := strings.TrimSpace(out.String() + complaint.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said[max(0, len(said)-500):])
	}
	return "", errors.Join(fmt.Errorf("%s: %w", text, err), context.Cause(ctx))
}
