package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/evidence"
	"backout/harness/fault"
	"backout/harness/observe"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/service"
	"backout/harness/traffic"
	"backout/harness/verdict"
)

// provisionWithin bounds provisioning, the making of a template and of artefacts included.
const provisionWithin = 5 * time.Minute

// open makes the run's directory and its log, whose first event is the whole resolved drill.
func (d *Drill) open() error {
	run, err := d.spec.resolve(d.o)
	if err != nil {
		return err
	}
	if d.o.By != "" {
		if err := Identify(d.spec.Service, d.o.By, d.o.Key, d.o.Token); err != nil {
			return fmt.Errorf("start it as %s: %w", d.o.By, err)
		}
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fmt.Errorf("make the run's directory: %w", err)
	}
	if d.env, err = d.o.Start(); err != nil {
		return err
	}
	run.Versions = d.env.Versions()
	run.Versions["backout"] = d.o.Version
	d.began = time.Now()
	run.Started = d.began.UTC().Truncate(time.Millisecond)
	if d.log, err = evidence.Create(filepath.Join(d.dir, evidence.File), d.began); err != nil {
		return err
	}
	for _, s := range append([]*service.Service{d.spec.Service}, d.spec.Dependants...) {
		secrets, _, err := s.SecretValues()
		if err != nil {
			return err
		}
		d.log.Hide(secrets...)
	}
	if d.spec.Plan.Ceiling != nil { // nobody else asks
		d.impact = newImpact(d.spec.Service.Name)
		d.log.Tap(d.impact.see)
	}
	ways, secrets, err := rollback.Transports(d.spec.Plan.Told(), d.spec.Service)
	if err != nil {
		return err
	}
	d.ways = ways
	hook, secret, err := newAsker(d.spec.Service, d.spec.Short(), true)
	if err != nil {
		return err
	}
	d.log.Hide(append(secrets, secret...)...)
	d.log.Tap(func(e evidence.Event) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.facts.Add(e)
	})
	d.run = run
	d.log.Put(run)
	d.handle.begin(func(k evidence.Kind) { d.log.Put(k) }, d.log.Clean)
	if err := d.play(); err != nil {
		return err
	}
	silent, err := d.handle.listen(d.spec.Short(), d.dir)
	if err != nil {
		return err
	}
	d.onExit(func(context.Context) error { d.handle.finish(); return silent() })
	unhook := d.handle.answerable(filepath.Join(d.dir, HookDir), hook)
	d.onExit(func(context.Context) error { unhook(); return nil })
	if d.o.Begun != nil {
		d.o.Begun(Begun{Name: d.spec.Short(), Title: d.spec.Name, Dir: d.dir, Handle: d.handle, Run: run, Tap: d.log.Tap, Now: d.log.Now})
	}
	return nil
}

// provision starts everything that the drill stands on, side by side where nothing waits for another.
func (d *Drill) provision(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, provisionWithin, fmt.Errorf("not provisioned within %s", provisionWithin))
	defer cancel()
	if err := d.open(); err != nil {
		return err
	}
	done := d.phase("provision", "provisioned")
	d.onExit(d.env.Destroy)

	var dir string
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		dir, err = d.env.Stage(wctx, d.spec.Bad, d.spec.Overlay)
		return err
	})
	for _, r := range d.spec.Together {
		work.Go(func() error {
			_, err := d.env.Stage(wctx, r, nil)
			return err
		})
	}
	work.Go(func() error {
		err := d.env.Provision(wctx, environment.Need{
			Service: d.spec.Service, Dependants: d.spec.Dependants, Good: d.spec.Good, Releases: d.spec.Runs,
			Streaming: d.spec.Streaming, Logical: d.spec.Logical, Synchronous: d.spec.Synchronous, Rows: d.spec.Rows, Faults: d.spec.FaultKinds(),
			Progress: func(text string) { d.tell(Progress{Phase: "provisioned", Text: text}) },
			Put:      func(k evidence.Kind) { d.log.Put(k) },
			End:      d.end,
			Now:      d.log.Now,
		})
		if err != nil {
			return err
		}
		d.hideVariables()
		return d.readBaseline(wctx)
	})
	err := work.Wait()
	if err != nil {
		return err
	}
	if err := d.tellPeople(); err != nil {
		return err
	}
	d.load, err = traffic.New(traffic.Config{
		Log: d.log, Targets: d.targets(), Rate: d.spec.Rate, Users: d.spec.Users, InFlight: d.run.Traffic.InFlight,
		Seed: d.o.Seed, Tracer: d.o.Tracer, Step: d.currentStep,
	})
	if err != nil {
		return err
	}

	d.runner = &rollback.Runner{
		Log: d.log, Service: d.spec.Service, Dir: dir, Vars: d.env.Variables(), Platform: d.env.Platform(), Tracer: d.o.Tracer,
		Running: oneAtATime(func(running bool) {
			if d.watching != nil {
				d.watching.Step(running)
			}
		}),
	}
	d.runner.Hold, d.runner.Approve = d.handle.hold, d.approve
	if err := d.takesTurns(ctx); err != nil {
		return err
	}
	d.onExit(func(context.Context) error { return d.runner.Close() })
	if d.faults, err = newFaults(d.log, d.spec.Faults, fault.World{Place: d.env.Faults(), Instances: d.env.Instances, Nodes: d.env.Nodes}); err != nil {
		return err
	}
	d.runner.Step = d.faults.step
	d.onExit(d.faults.end)
	d.watching = observe.Start(context.WithoutCancel(ctx), observe.Config{
		Log: d.log, Interval: seconds(d.run.Windows.Probe), Beat: seconds(d.run.Windows.Beat),
		Service: d.spec.Service, Dependants: d.spec.Dependants, Release: d.spec.Bad,
		Instances: d.env.Instances, Nodes: d.env.Nodes, Caches: d.env.Caches, Schema: d.readSchema,
		Command: func(ctx context.Context, command string) (string, error) {
			return d.runner.Ask(ctx, command, d.spec.Bad.Env)
		},
	})
	d.onExit(func(context.Context) error { return d.watching.Stop() })
	d.log.Tap(func(e evidence.Event) {
		if e.Journey != nil {
			d.watching.Journey(*e.Journey, e.T)
		}
	})
	done("%s", d.whatRuns())
	return nil
}

// hideVariables makes every variable that holds a password a secret of the log.
func (d *Drill) hideVariables() {
	for _, v := range d.env.Variables() {
		if password := passwordOf(v); password != "" {
			d.log.Hide(password)
		}
	}
}

// readBaseline reads each node's schema, keeps a copy of the rows that nobody will touch, and notes what is there.
func (d *Drill) readBaseline(ctx context.Context) error {
	if d.spec.Service.Database == nil {
		return nil
	}
	for _, n := range d.env.Nodes() {
		opened, err := postgres.OpenNode(ctx, n)
		if err != nil {
			return err
		}
		d.onExit(func(context.Context) error { opened.Pool.Close(); return nil })
		d.nodes = append(d.nodes, node{Opened: opened})
		if n.Name == "primary" {
			d.db = opened.Pool
		}
	}
	work, wctx := errgroup.WithContext(ctx)
	for i := range d.nodes {
		n := &d.nodes[i]
		work.Go(func() error {
			schema, err := patientSchema(wctx, *n)
			if err != nil {
				return err
			}
			n.target = schema
			d.log.Put(&evidence.Schema{Node: n.Name, At: "baseline", Digest: schema.Digest(), Text: schema.Text, Equal: true, Applied: schema.Applied})
			return nil
		})
	}
	work.Go(func() (err error) {
		d.frozen, err = postgres.Freeze(wctx, d.primaryNode().Opened, d.spec.Service.Database.Frozen)
		return err
	})
	err := work.Wait()
	if d.frozen != nil {
		d.onExit(d.frozen.Drop)
	}
	if err != nil {
		return err
	}
	if path := d.spec.Service.Database.Production; path != "" {
		if err := d.compareProduction(path); err != nil {
			return err
		}
	}
	if d.spec.Plan.Schema != 0 {
		if err := d.readTargets(ctx); err != nil {
			return err
		}
	}
	before, err := postgres.Snapshot(ctx, d.opened())
	d.before = before
	return err
}

// compareProduction notes whether the primary's schema is the one that production has.
func (d *Drill) compareProduction(path string) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(d.spec.Service.Dir, path)
	}
	theirs, err := postgres.ReadProduction(path)
	if err != nil {
		return err
	}
	ours := postgres.Portable(d.primaryNode().target.Text)
	s := &evidence.Schema{Node: "primary", At: "production", Equal: ours == theirs}
	if !s.Equal {
		s.Diff = postgres.Diff(theirs, ours)
	}
	d.log.Put(s)
	return nil
}

// readTargets replaces each node's target by the schema that the plan states.
func (d *Drill) readTargets(ctx context.Context) error {
	dir, err := d.env.Stage(ctx, d.spec.Bad, nil)
	if err != nil {
		return err
	}
	for i := range d.nodes {
		n := &d.nodes[i]
		if n.Role == "streaming" {
			continue
		}
		target, err := postgres.TargetSchema(ctx, n.Opened, filepath.Join(dir, "migrations"), d.spec.Plan.Schema)
		if err != nil {
			return fmt.Errorf("the schema %d that %s states: %w", d.spec.Plan.Schema, d.spec.Plan.Path, err)
		}
		n.target = target
	}
	for i := range d.nodes {
		n := &d.nodes[i]
		if n.Role == "streaming" {
			n.target = d.primaryNode().target
		}
		d.log.Put(&evidence.Schema{Node: n.Name, At: "target", Digest: n.target.Digest(), Text: n.target.Text, Equal: true, Applied: n.target.Applied})
	}
	return nil
}

// readSchema reads one node's canonical schema against its target, for observe and for the audit.
func (d *Drill) readSchema(ctx context.Context, n service.Node, at string) *evidence.Schema {
	for i := range d.nodes {
		if d.nodes[i].Name != n.Name {
			continue
		}
		read := func() (postgres.Schema, error) { return postgres.ReadSchema(ctx, d.nodes[i].Pool) }
		if at == "audit" {
			read = func() (postgres.Schema, error) { return patientSchema(ctx, d.nodes[i]) }
		}
		found, err := read()
		if err != nil {
			return &evidence.Schema{Node: n.Name, At: at, Error: d.log.Clean(err.Error())}
		}
		target := d.nodes[i].target
		s := &evidence.Schema{Node: n.Name, At: at, Digest: found.Digest(), Applied: found.Applied}
		if s.Equal = found.Digest() == target.Digest(); !s.Equal {
			s.Diff = postgres.Diff(target.Text, found.Text)
		}
		return s
	}
	return nil
}

// patientSchema reads a canonical schema where nothing may block it: only a busy machine makes it time out, and then it
// is read again.
func patientSchema(ctx context.Context, n node) (found postgres.Schema, err error) {
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if waited := until(within, 50*time.Millisecond, func() bool {
		found, err = postgres.ReadSchema(within, n.Pool)
		return err == nil
	}); waited != nil {
		return found, fmt.Errorf("read the schema of %s: %w", n.Name, errors.Join(err, waited))
	}
	return found, nil
}

// baseline starts traffic and measures the steady state once the service answers as it should.
func (d *Drill) baseline(ctx context.Context) error {
	done := d.phase("baseline", "baseline")
	d.load.Start(context.WithoutCancel(ctx))
	warm := newWarmth(d.log, d.run.Service.Journeys)
	within, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("the good release %s was not steady within 30 s", d.spec.Good.Name))
	defer cancel()
	if err := until(within, 50*time.Millisecond, warm.reached); err != nil {
		return fmt.Errorf("%w: %s", err, warm.last())
	}
	from := d.log.Now()
	if err := pass(ctx, seconds(d.run.Windows.Baseline)); err != nil {
		return err
	}
	to := d.log.Now()
	if d.run.Alone {
		var err error
		if from, to, err = d.steady(ctx); err != nil {
			return err
		}
	}
	d.log.PutAt(from, &evidence.Clock{Name: evidence.ClockBaselineBegun})
	d.clock(evidence.ClockBaselineEnded, "")
	d.watching.Baseline(from, to)
	done("%s", warm.since(from))
	return nil
}

// steadyWithin is how long a drill that judges latency waits for a stretch in which it is steady. A machine that does not
// get there has other work to do; the verdict says then that the baseline was not steady.
const steadyWithin = time.Minute

// steady waits until latency has been steady for as long as a baseline lasts, and returns that stretch.
func (d *Drill) steady(ctx context.Context) (from, to evidence.Offset, err error) {
	limit, told := d.log.Now()+evidence.Seconds(steadyWithin), false
	length := evidence.Offset(d.run.Windows.Baseline)
	err = until(ctx, 500*time.Millisecond, func() bool {
		unsteady := ask(d, func(f *verdict.Facts, now evidence.Offset) string {
			from, to = now-length, now
			return f.Unsteady(from, to)
		})
		if unsteady != "" && !told {
			told = true
			d.tell(Progress{Phase: "baseline", Text: "waiting for latency to be steady: " + unsteady})
		}
		return unsteady == "" || to >= limit
	})
	return from, to, err
}

// deploy runs the commands with which production deploys the release.
func (d *Drill) deploy(ctx context.Context) error {
	done := d.phase("deploy", d.spec.Bad.Name)
	d.deployBegun = d.log.Now()
	d.clock(evidence.ClockDeployBegun, "")
	err := d.runner.Rollout(ctx, d.spec.Bad, d.run.Environment)
	d.clock(evidence.ClockDeployed, "")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		done("its rollout ended with an error: %v", err) // which may be what is wrong with it; the verdict sees the steps
		return nil
	}
	done("deployed over %s", d.spec.Good.Name)
	return nil
}

// decide waits for the harm or the trap, and for as long as it must last, and orders the rollback.
func (d *Drill) decide(ctx context.Context) error {
	const lasts, good = 2 * time.Second, 5 * time.Second
	d.prepareClone(ctx)
	done := d.phase("decide", "decided")
	deployed := d.log.Now()
	var seen verdict.Seen
	why := ""
	err := until(ctx, 50*time.Millisecond, func() bool {
		seen = ask(d, (*verdict.Facts).Harm)
		since := d.log.Now() - deployed
		switch {
		case d.spec.Bad.Good:
			why = "it is a good release, and has been deployed for 5 s"
			return since >= evidence.Seconds(good)
		case d.spec.Trips:
			// Beside the breaker's word the verdict needs the harm itself, since other promises rest on it.
			tripped := ask(d, func(f *verdict.Facts, _ evidence.Offset) string { return f.Tripped() })
			if why = "the breaker tripped: " + tripped; tripped != "" && seen.Shown {
				return true
			}
			why = "the breaker did not trip, or what the release states was not seen: " + seen.Finding
			return since >= evidence.Seconds(d.spec.Bad.Within)
		case seen.Shown && d.log.Now()-seen.Since >= evidence.Seconds(lasts):
			why = seen.Finding
			return true
		}
		why = "nothing of what the release states was seen: " + seen.Finding
		return since >= evidence.Seconds(d.spec.Bad.Within)
	})
	if err != nil {
		return err
	}
	d.decidedAt, d.waited = d.log.Now(), d.handle.people()
	d.clock(evidence.ClockDecided, why)
	done("%s", why)
	return nil
}

func (d *Drill) whatRuns() string {
	var parts []string
	for _, n := range d.env.Nodes() {
		parts = append(parts, map[string]string{"primary": "primary", "streaming": "streaming replica", "logical": "logical replica"}[n.Role])
	}
	if n := len(d.spec.Service.Caches); n == 1 {
		parts = append(parts, "a cache")
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%d caches", n))
	}
	count := map[string]int{}
	for _, i := range d.env.Instances() {
		count[i.Service]++
	}
	if n := count[d.spec.Service.Name]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d instances of %s", n, d.spec.Service.Name))
	}
	for _, s := range d.spec.Dependants {
		parts = append(parts, fmt.Sprintf("%d of %s", count[s.Name], s.Name))
	}
	return strings.Join(parts, ", ")
}
