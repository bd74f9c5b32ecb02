package drill

import (
	"context"
	"fmt"
	"net/url"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/service"
	"backout/harness/verdict"
)

// The plan's checks ask the drill through rollback.World.
var _ rollback.World = (*Drill)(nil)

// Instances are those of the drilled service, now.
func (d *Drill) Instances() []service.Instance {
	var own []service.Instance
	for _, i := range d.env.Instances() {
		if i.Service == d.spec.Service.Name {
			own = append(own, i)
		}
	}
	return own
}

// Dependants are the services that depend on the drilled one.
func (d *Drill) Dependants() []*service.Service { return d.spec.Dependants }

// Clone hands out the side stage that was begun when the release was deployed, since starting one takes a second that
// the rollback should not wait for.
func (d *Drill) Clone(ctx context.Context) (urls map[string]string, close func() error, err error) {
	d.cloning.Lock()
	if d.clone == nil {
		d.prepareClone(ctx)
	}
	clone := d.clone
	d.clone = nil // who asked closes it; whoever asks next gets one of their own
	d.cloning.Unlock()
	return clone(ctx)
}

// prepareClone begins a clone in the background when the plan has a pre-check that needs it.
func (d *Drill) prepareClone(ctx context.Context) {
	needed := false
	for _, c := range d.spec.Plan.Before {
		needed = needed || c.Dependants != ""
	}
	if !needed || d.clone != nil {
		return
	}
	ready := make(chan struct{})
	var clone *environment.Clone
	var failed error
	go func() {
		defer close(ready)
		clone, failed = d.env.Clone(context.WithoutCancel(ctx))
	}()
	end := sync.OnceValue(func() error { // by the check that used it, or else at the end of the drill
		if clone == nil {
			return nil
		}
		return clone.Close()
	})
	d.onExit(func(context.Context) error { <-ready; return end() })
	d.clone = func(ctx context.Context) (map[string]string, func() error, error) {
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-ready:
		}
		if failed != nil {
			return nil, nil, failed
		}
		return clone.URLs, end, nil
	}
}

// Journey runs one journey once. It is no traffic: neither in the log nor in the ledger.
func (d *Drill) Journey(ctx context.Context, service, journey, baseURL string) error {
	if baseURL == "" {
		baseURL = d.env.URL(service)
	}
	j := d.load.Once(ctx, service, journey, baseURL)
	if j.Outcome == evidence.OK {
		return nil
	}
	return fmt.Errorf("%s of %s: request %d got status %d %s", journey, service, j.Step, j.Status, j.Error)
}

// Artefact says what is missing of a release in its deployed directory.
func (d *Drill) Artefact(ctx context.Context, release string) error {
	r, err := d.spec.Service.Release(release)
	if err != nil {
		return err
	}
	return d.env.Artefact(ctx, r)
}

// currentStep is the span of the command that runs now, so that a user's error can be traced to it.
func (d *Drill) currentStep() trace.SpanContext {
	if d.runner == nil {
		return trace.SpanContext{}
	}
	return d.runner.Current()
}

// opened are the nodes that take part, with their connections.
func (d *Drill) opened() (all []postgres.Opened) {
	for _, n := range d.takePart() {
		all = append(all, n.Opened)
	}
	return all
}

// takePart are the nodes without those that a fault has removed for good.
func (d *Drill) takePart() (all []node) {
	for _, n := range d.nodes {
		if ask(d, func(f *verdict.Facts, _ evidence.Offset) bool { return len(f.Remaining([]string{n.Name})) > 0 }) {
			all = append(all, n)
		}
	}
	return all
}

func (d *Drill) primaryNode() *node {
	for i := range d.nodes {
		if d.nodes[i].Role == "primary" {
			return &d.nodes[i]
		}
	}
	return nil
}

// passwordOf is the password in a URL; empty when there is none.
func passwordOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}
