package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
	"backout/harness/traffic"
	"backout/harness/verdict"
)

// Earnest is a plan that is run outside of a drill, with all its guardrails: nothing is deployed but what the plan deploys.
type Earnest struct {
	Plan     *service.Plan
	Operator string
	Key      string             // a private SSH key that proves who the operator is; empty: a token does, or nothing
	Token    string             // secret
	Dir      string             // the deployed directory; empty: one is made of the release's scripts and migrations
	At       []service.Instance // the instances, for validations that ask each of them
	URL      string             // where users come in, for validations by a journey
	Watch    time.Duration      // how long the validation must go on to hold
	Resume   bool               // go on with what an earlier run left
	From     int                // begin with this step, by the operator's word; 0: with the first
	Without  []string           // pre-checks that are left out, by their key, by the operator's word
	Why      string             // the operator's word
	Set      string             // the run's folder
	Version  string
	Tell     func(Progress)
	Begun    func(Begun) // may be nil

	log     *evidence.Log
	run     *evidence.Run
	handle  *Handle
	runner  *rollback.Runner
	ways    []rollback.Transport   // to people
	hook    *asker                 // nil: none
	judge   func() verdict.Verdict // as far as it can be told by now
	began   bool                   // the first step has, or one that follows what an earlier run did
	state   string                 // where lock, journal and the made directory lie
	secrets []string               // that no log may hold
	vars    map[string]string      // of the operator's environment, those that the plan names
	ran     map[string]string      // what each instance ran before the first step
}

// WatchEarnest is how long the validation must go on to hold after a rollback in earnest, unless the operator says so.
const WatchEarnest = 15 * time.Minute

// lastWord is how long the end waits until people have been told what there was to tell.
const lastWord = 10 * time.Second

// RunEarnest runs it and judges it. The error says that it did not begin: bad input, somebody else runs one, or an earlier
// run has left a plan half done. Nothing has changed then.
func RunEarnest(ctx context.Context, e Earnest) (result Result, err error) {
	if err := e.prepare(); err != nil {
		return result, err
	}
	ended, err := e.open()
	if err != nil {
		return result, err
	}
	before, err := e.begin(ctx)
	if err != nil {
		// What was refused is in the log all the same.
		e.log.Put(&evidence.End{How: "broke", Why: e.log.Clean(err.Error())})
		_, closed := e.log.Close()
		return result, errors.Join(&cleaned{e.log.Clean(err.Error()), err}, e.runner.Close(), ended(), closed)
	}
	broke := e.roll(ctx, before)
	if broke == nil && ctx.Err() == nil && e.handle.abortedBy() == nil {
		broke = e.handOver(ctx)
	}
	end := &evidence.End{How: "complete"}
	switch aborted := e.handle.abortedBy(); {
	case aborted != nil:
		end = &evidence.End{How: "aborted", Why: fmt.Sprintf("by %s: %s", aborted.By, aborted.Why)}
	case ctx.Err() != nil:
		end = &evidence.End{How: "interrupted", Why: fmt.Sprint(context.Cause(ctx))}
	case broke != nil:
		end = &evidence.End{How: "broke", Why: e.log.Clean(broke.Error())}
	}
	if end.How == "aborted" || end.How == "interrupted" {
		broke = nil // the verdict says where it stopped, and who wanted it
	}
	broke = errors.Join(broke, e.runner.Close(), ended())
	e.log.Put(end)
	_, closed := e.log.Close()
	result = Result{Spec: Spec{Name: e.run.Name, Service: e.Plan.Release.Service, Plan: e.Plan}, Dir: e.Set, Err: errors.Join(broke, closed)}
	model, err := Judge(e.Set)
	if err != nil {
		result.Err = errors.Join(result.Err, err)
		return result, nil
	}
	result.Run, result.Verdict, result.Head = &model.Run, model.Verdict, model.Head
	result.Err = errors.Join(result.Err, Render(e.Set, model))
	return result, nil
}

// prepare finds everything that can be wrong before anything is opened.
func (e *Earnest) prepare() error {
	p, s := e.Plan, e.Plan.Release.Service
	if p.Sabotage != nil {
		return fmt.Errorf("%s: this plan is wrong on purpose, for a drill: %s", p.Path, p.Sabotage.What)
	}
	var wrong []error
	e.vars = map[string]string{}
	need := func(name string) {
		value, there := os.LookupEnv(name)
		if !there || value == "" {
			wrong = append(wrong, fmt.Errorf("%s: expected the variable %s in your environment, found none: export %s=VALUE", p.Path, name, name))
			return
		}
		hosts, err := s.Unlisted(value)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: the variable %s: %w", p.Path, name, err))
		}
		for _, host := range hosts {
			wrong = append(wrong, fmt.Errorf("%s: the variable %s leads to the host %q, which %s does not list: if a rollback of %s may reach it, add it to `allow` there", p.Path, name, host, s.Path, s.Name))
		}
		e.vars[name] = value
	}
	if e.Dir != "" {
		abs, err := filepath.Abs(e.Dir)
		if info, statErr := os.Stat(abs); err != nil || statErr != nil || !info.IsDir() {
			wrong = append(wrong, fmt.Errorf("--dir %s: expected the folder of the deployed release, found none", e.Dir))
		}
		e.Dir = abs
	}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(p.Env))) {
		need(name)
	}
	if l := s.Lock; l != nil && l.Kubernetes != nil {
		if err := clusterOf(l).Check(); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: lock: %w", s.Path, err))
		}
	} else if l != nil {
		need(l.Postgres)
	}
	wrong = append(wrong, identified(p, e.vars), p.Release.Hosts(p))
	for _, i := range e.At {
		hosts, err := s.Unlisted(i.URL)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("instance %s: %w", i.Name, err))
		}
		for _, host := range hosts {
			wrong = append(wrong, fmt.Errorf("instance %s is on the host %q, which %s does not list under `allow`", i.Name, host, s.Path))
		}
	}
	if e.Key != "" || e.Token != "" {
		wrong = append(wrong, Identify(s, e.Operator, e.Key, e.Token))
	} else if p.Approval != nil && p.Approval.Two {
		wrong = append(wrong, fmt.Errorf("%s asks for two people, so who starts it must prove who it is, found no proof: --by NAME --key FILE, or --token-file FILE", p.Path))
	}
	if why := p.Unproven(); why != "" {
		wrong = append(wrong, errors.New(why))
	}
	ways, secrets, err := rollback.Transports(p.Told(), s)
	wrong = append(wrong, err)
	e.ways = slices.DeleteFunc(ways, func(t rollback.Transport) bool { return t.Stub != "" }) // nobody is behind a stub in earnest
	e.secrets = secrets
	hook, secret, err := newAsker(s, "", false)
	wrong = append(wrong, err)
	e.hook, e.secrets = hook, append(e.secrets, secret...)
	if (e.From > 0 || len(e.Without) > 0) && e.Why == "" {
		wrong = append(wrong, errors.New("expected a reason, since the report will name it, found none: --why TEXT"))
	}
	if e.From > len(p.Steps) {
		wrong = append(wrong, fmt.Errorf("--from %d: %s has %d steps", e.From, p.Path, len(p.Steps)))
	}
	if e.Resume && e.From > 0 {
		wrong = append(wrong, errors.New("expected --resume or --from, found both: --resume goes on where the journal says, --from where you say"))
	}
	for _, kind := range e.Without {
		if kind == "database" {
			wrong = append(wrong, errors.New("--without database: that the right database is reached is the one check that cannot be left out"))
		} else if !slices.ContainsFunc(p.Before, func(c service.Check) bool { return c.Kind() == kind }) {
			wrong = append(wrong, fmt.Errorf("--without %s: %s has no such pre-check", kind, p.Path))
		}
	}
	return errors.Join(wrong...)
}

// identified: of every database that the plan changes, it says which one it is and as whom it is reached.
func identified(p *service.Plan, vars map[string]string) error {
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		of, value := p.Env[name], vars[p.Env[name]]
		if !service.IsDatabase(of) {
			if strings.HasPrefix(value, "postgres://") || strings.HasPrefix(value, "postgresql://") {
				wrong = append(wrong, fmt.Errorf("%s: %s leads to a Postgres database, so its variable must be called DATABASE_URL or DATABASE_URL_..., or its identity cannot be checked; it is called %s", p.Path, name, of))
			}
			continue
		}
		if !slices.ContainsFunc(p.Before, func(c service.Check) bool { return c.Database != nil && p.Env[c.Database.URL] == of }) {
			wrong = append(wrong, fmt.Errorf("%s: expected `- database: {name: ..., role: ..., url: %s}` in before, since in earnest no database is changed that was not asked which one it is, found none", p.Path, name))
		}
	}
	return errors.Join(wrong...)
}

// open makes the run's folder and its log, and lets people reach the run.
func (e *Earnest) open() (ended func() error, err error) {
	p, s := e.Plan, e.Plan.Release.Service
	register, err := environment.RegisterDir()
	if err != nil {
		return nil, err
	}
	e.state = filepath.Join(filepath.Dir(register), "rollbacks", s.Name)
	if err := errors.Join(os.MkdirAll(e.state, 0o700), os.MkdirAll(filepath.Dir(e.Set), 0o755)); err != nil {
		return nil, err
	}
	// Two may begin in the same second: each has a folder of its own.
	for set, n := e.Set, 2; ; n++ {
		err := os.Mkdir(e.Set, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		e.Set = fmt.Sprintf("%s-%d", set, n)
	}
	began := time.Now()
	if e.log, err = evidence.Create(filepath.Join(e.Set, evidence.File), began); err != nil {
		return nil, err
	}
	secrets, _, err := s.SecretValues()
	if err != nil {
		secrets = nil // a secret that is not on this machine cannot be told from here
	}
	e.log.Hide(secrets...)
	e.log.Hide(e.secrets...)
	for name, value := range e.vars {
		if password := passwordOf(value); password != "" {
			e.log.Hide(password)
		} else if looksSecret(name) || strings.Contains(value, "password=") {
			e.log.Hide(value)
		}
	}
	digests, err := service.Digests(append([]string{s.Path}, p.Release.Files(p)...)...)
	if err != nil {
		return nil, err
	}
	rests, err := p.Release.RollbackFiles(p)
	if err != nil {
		return nil, err
	}
	e.run = &evidence.Run{
		Name: p.Name, Feature: "in earnest", Path: p.Path, Line: 1, Again: "backout rollback " + p.Path,
		Started: began.UTC().Truncate(time.Millisecond), Environment: "in earnest", Windows: evidence.Windows{Name: "in earnest", Stability: e.Watch.Seconds()},
		Service: s.Evidence(), Good: p.To, Release: p.Release.Evidence(), Plan: p.Evidence(), Instances: []string{}, Nodes: []string{}, Promises: []evidence.Promise{},
		Versions: map[string]string{"backout": e.Version}, Digests: digests, Rollback: rests, Lease: s.Lock != nil, Machine: machine(),
		Starter: e.proved(),
		Earnest: &evidence.Earnest{Operator: e.Operator, From: e.From, Resume: e.Resume, Without: e.Without, Why: e.Why},
	}
	e.run.Communication = p.Told().Evidence(e.Watch.Seconds())
	facts, guard := verdict.New(), new(sync.Mutex)
	e.log.Tap(func(x evidence.Event) {
		guard.Lock()
		defer guard.Unlock()
		facts.Add(x)
	})
	e.judge = func() verdict.Verdict {
		guard.Lock()
		defer guard.Unlock()
		return verdict.Judge(facts)
	}
	e.log.Put(e.run)
	people, err := rollback.Tell(rollback.Telling{Log: e.log, Run: e.run, Transcript: filepath.Join(e.Set, rollback.TranscriptFile), Transports: e.ways})
	if err != nil {
		return nil, err
	}
	e.runner = &rollback.Runner{Log: e.log, Service: s, Dir: e.Dir, LockDir: e.state, Vars: e.vars, Operator: e.Operator,
		Journal: filepath.Join(e.state, rollback.JournalFile), RunName: filepath.Base(e.Set), Without: e.Without,
		Dial: (&net.Dialer{Timeout: 5 * time.Second}).DialContext} // the hosts were looked at by name
	e.runner.Unasked = e.unasked()
	if e.Dir != "" {
		e.runner.LockDir, e.runner.Journal = e.Dir, filepath.Join(e.Dir, rollback.JournalFile)
	}
	if s.Lock != nil {
		e.runner.Lease = &rollback.Lease{URL: e.vars[s.Lock.Postgres], Cluster: clusterOf(s.Lock), Expiry: s.Lock.Expires}
	}
	e.handle = newHandle(func(error) {}, func(text string) { e.tell("people", text, false) })
	e.handle.aborts = "aborted: what runs now runs to its end, and no further step begins"
	e.handle.begin(func(k evidence.Kind) { e.log.Put(k) }, e.log.Clean)
	silent, err := e.handle.listen(filepath.Base(e.Set), e.Set)
	if err != nil {
		return nil, err
	}
	e.handle.identify(s.People, e.run.Starter)
	if e.hook != nil {
		e.hook.of.Run = filepath.Base(e.Set)
	}
	unhook := e.handle.answerable(filepath.Join(e.Set, HookDir), e.hook)
	e.runner.Approve = e.handle.ask
	e.runner.Hold = e.handle.hold
	return func() error {
		unhook()
		e.handle.finish()
		last, cancel := context.WithTimeout(context.Background(), lastWord)
		defer cancel()
		return errors.Join(people.Close(last), silent())
	}, nil
}

// unasked are the checks that cannot be asked in earnest, or not without what the operator has not given.
func (e *Earnest) unasked() map[string]string {
	all := map[string]string{
		"dependants": "in earnest there is no clone to try dependants on; a drill of this plan shows it: leave it out by --without dependants --why TEXT",
		"artefact":   "in earnest it is not known where artefacts lie: leave it out by --without artefact --why TEXT",
	}
	if len(e.At) == 0 {
		all["every instance serves"] = "expected the instances, found none: --instance web-1=http://127.0.0.1:8081 for each of them"
	}
	if e.URL == "" {
		all["journey"] = "expected where users come in, found nothing: --url http://127.0.0.1:PORT"
	}
	return all
}

// proved is the operator, where it is proved that it is that person.
func (e *Earnest) proved() string {
	if e.Key == "" && e.Token == "" {
		return ""
	}
	return e.Operator
}

// looksSecret says whether a variable's whole value is to be hidden by its name.
func looksSecret(name string) bool {
	for _, part := range []string{"TOKEN", "SECRET", "PASSWORD", "KEY"} {
		if strings.Contains(strings.ToUpper(name), part) {
			return true
		}
	}
	return false
}

// begin takes the lock and learns what an earlier run has left.
func (e *Earnest) begin(ctx context.Context) (before rollback.Progress, err error) {
	if err := e.runner.Take(ctx, e.Plan); err != nil {
		return before, err
	}
	if before, err = e.runner.Unfinished(); err != nil {
		return before, err
	}
	p := e.Plan
	same := before.Digest == p.Digest()
	switch {
	case !before.Unfinished() && e.Resume:
		err = errors.New("--resume: there is nothing to go on with: no earlier run has left a plan half done")
	case !before.Unfinished() || e.From > 0:
	case !e.Resume:
		err = fmt.Errorf("a plan was left half done, and nothing is repeated blindly: %s. See what it has done; then `backout rollback %s --resume` goes on with step %d, or `--from N --why TEXT` with the one that you say", before, p.Path, before.Next())
	case before.Resumable() != nil:
		err = fmt.Errorf("--resume: %w: %s. See what it has done; then `--from N --why TEXT` begins with the step that you say", before.Resumable(), before)
	case !same:
		err = fmt.Errorf("--resume: the plan is not the one that was left half done, so that numbers of steps mean something else: %s. See what it has done; then `--from N --why TEXT` begins with the step that you say", before)
	}
	if err != nil {
		return before, err
	}
	if e.Begun != nil {
		e.Begun(Begun{Name: filepath.Base(e.Set), Title: p.Name, Dir: e.Set, Handle: e.handle, Run: e.run, Tap: e.log.Tap, Now: e.log.Now})
	}
	return before, nil
}

// roll is the rollback itself. What fails in it is evidence; the error is one of ours.
func (e *Earnest) roll(ctx context.Context, before rollback.Progress) error {
	p := e.Plan
	if err := e.stage(ctx); err != nil {
		return err
	}
	// A step is not broken off by Ctrl-C: it is heard at the next boundary.
	steady := context.WithoutCancel(ctx)
	hold := e.runner.Hold
	e.runner.Hold = func(_ context.Context, step string) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return hold(ctx, step)
	}
	earlier := rollback.From(e.From, 0, fmt.Sprintf("by the word of %s: %s", e.Operator, e.Why))
	if e.Resume {
		earlier = before.Earlier()
	}
	done := len(earlier.Done)
	e.runner.Step = func(_ context.Context, index int, outcome string) {
		what := fmt.Sprintf("step %d of %d: %s", index, len(p.Steps), p.Steps[index-1].Name)
		switch outcome {
		case "":
			e.tell(what, p.Steps[index-1].Run, false)
		case evidence.StepOK:
			done++
			e.tell(what, fmt.Sprintf("done, %d %% of the plan", 100*done/len(p.Steps)), false)
		}
	}
	e.log.Put(&evidence.Phase{Name: "rollback"})
	e.clock(evidence.ClockDecided, "in earnest, by "+e.Operator)
	if p.Approval == nil && p.Asks().How == service.Manual { // a person has started it by hand, which is what a plan asks that says nothing else
		e.log.Put(&evidence.Approval{By: e.Operator, Event: evidence.ApprovalApproved, For: "the plan: " + p.Name, Why: "started it by hand"})
	}
	if err := e.runner.Before(ctx, p, e); err != nil {
		if refused := new(rollback.Refused); errors.As(err, &refused) {
			e.tell("refused", "nothing was changed: "+refused.Error(), true)
			return nil
		}
		return err
	}
	e.tell("pre-checks", fmt.Sprintf("%d hold", len(p.Before)-len(e.Without)), true)
	e.began = true
	e.clock(evidence.ClockStarted, "")
	if e.Resume {
		e.tell("resumed", fmt.Sprintf("%d of %d steps are done: %s", len(earlier.Done), len(p.Steps), before), true)
	}
	failed := e.runner.StepsAfter(steady, p, e, earlier)
	e.clock(evidence.ClockCommandReturned, "")
	if failed != nil {
		e.tell("stopped", failed.Error(), true)
		if errors.As(failed, new(*rollback.StepError)) || errors.As(failed, new(*rollback.Refused)) || e.handle.abortedBy() != nil || ctx.Err() != nil {
			return nil
		}
		return failed
	}
	e.tell("steps", fmt.Sprintf("all %d ended as they should", len(p.Steps)), true)
	return e.watch(ctx)
}

// stage makes the directory in which the steps run, unless it was given.
func (e *Earnest) stage(ctx context.Context) error {
	if e.Dir != "" {
		return nil
	}
	p := e.Plan
	stages := artefact.Stages{Dir: filepath.Join(e.state, "deployed"), Say: func(text string) { e.tell("stage", text, false) }}
	if !e.Resume && e.From == 0 { // what earlier steps have left there, those that follow may need
		if err := artefact.RemoveTree(stages.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	dir, err := stages.Release(ctx, p.Release.Service, p.Release, nil)
	e.runner.Dir = dir
	return err
}

// watch asks the plan's validation until the window is over. Others may roll back meanwhile: nothing is run any more.
func (e *Earnest) watch(ctx context.Context) error {
	e.log.Put(&evidence.Phase{Name: "watch"})
	held := e.runner.After(ctx, e.Plan, e)
	if err := e.runner.Release(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	why := ""
	deadline := time.Now().Add(e.Watch)
	if len(e.Plan.After) > 0 && held == nil {
		e.tell("validated", fmt.Sprintf("watching for %s whether it stays so", e.Watch), true)
		// The validation waits for its condition; one that holds is asked again.
		every := max(time.Second, min(10*time.Second, e.Watch/10))
		err := until(ctx, every, func() bool {
			switch {
			case e.handle.abortedBy() != nil:
				why = "aborted"
			case time.Now().After(deadline):
				why = "the window has passed"
			default:
				if held = e.runner.After(ctx, e.Plan, e); held == nil {
					return false
				}
				why = "the validation does not hold any more"
			}
			return true
		})
		if err != nil {
			return nil // the verdict says that it was interrupted
		}
	}
	if held != nil && why == "" {
		why = "the validation did not hold"
	}
	e.clock(evidence.ClockWatchEnded, why)
	switch {
	case held != nil:
		e.tell("not validated", held.Error(), true)
	case len(e.Plan.After) == 0:
		e.tell("not validated", "the plan states no validation", true)
	default:
		e.tell("watched", why, true)
	}
	return nil
}

// handOver hands the incident to the receiver that is named, whatever became of the plan once it had begun.
func (e *Earnest) handOver(ctx context.Context) error {
	c := e.run.Communication
	if c.Receiver == "" || !e.began {
		return nil
	}
	text, err := handoff(e.Set, e.log, e.run, e.judge())
	if err != nil {
		return err
	}
	e.log.Put(&evidence.Phase{Name: "handoff"})
	said, err := e.handle.handOver(ctx, c.Receiver, seconds(c.Accepts), text)
	if err != nil {
		return err
	}
	e.tell("handed over", said, true)
	return nil
}

func (e *Earnest) clock(name, why string) { e.log.Put(&evidence.Clock{Name: name, Why: why}) }

func (e *Earnest) tell(phase, text string, done bool) {
	if e.Tell != nil {
		e.Tell(Progress{Phase: phase, Text: e.log.Clean(text), Done: done})
	}
}

// The plan's checks ask the operator's world through rollback.World.
var _ rollback.World = (*Earnest)(nil)

// Instances implements rollback.World.
func (e *Earnest) Instances() []service.Instance { return e.At }

// Dependants implements rollback.World. Nobody asks, see unasked.
func (e *Earnest) Dependants() []*service.Service { return nil }

// Clone implements rollback.World. Nobody asks, see unasked.
func (e *Earnest) Clone(context.Context) (map[string]string, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}

// Journey implements rollback.World: it is run once where users come in.
func (e *Earnest) Journey(ctx context.Context, of, journey, base string) error {
	if base == "" {
		base = e.URL
	}
	load, err := traffic.New(traffic.Config{Log: e.log, Targets: []traffic.Target{{Service: e.Plan.Release.Service, URL: base}}, Rate: 1, Users: 1, Seed: time.Now().UnixNano()})
	if err != nil {
		return err
	}
	j := load.Once(ctx, of, journey, base)
	if j.Outcome == evidence.OK {
		return nil
	}
	return fmt.Errorf("%s: request %d got status %d %s", journey, j.Step, j.Status, j.Error)
}

// Artefact implements rollback.World. Nobody asks, see unasked.
func (e *Earnest) Artefact(context.Context, string) error { return errors.ErrUnsupported }

// Check is what can be wrong before anything is opened, all of it.
func (e *Earnest) Check() error { return e.prepare() }

// Lines say what would be asked and run, in order.
func (e *Earnest) Lines() []string {
	p, s := e.Plan, e.Plan.Release.Service
	var lines []string
	say := func(what, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%2d  %-11s %s", len(lines)+1, what, fmt.Sprintf(format, args...)))
	}
	say("lock", "one rollback of %s at a time on this machine", s.Name)
	if s.Lock != nil {
		say("lease", "and on all machines, by %s; free %s after its last renewal", s.Lock.Words(), s.Lock.Expires)
	}
	unasked := e.unasked()
	for _, c := range p.Before {
		text := c.Words()
		if slices.Contains(e.Without, c.Kind()) {
			text += "  (left out: " + e.Why + ")"
		} else if why := unasked[c.Kind()]; why != "" {
			text += "  (stops it: " + why + ")"
		}
		say("pre-check", "%s", text)
	}
	if c := p.Ceiling; c != nil {
		say("ceiling", "%s; beyond it a person is asked within %s, or the plan stops", c, c.Within)
	}
	if a := p.Approval; a != nil && a.Words() != "" {
		say("approval", "%s", a.Words())
	}
	for i, step := range p.Steps {
		if i+1 < e.From {
			say("done", "%s  (by your word: %s)", step.Name, e.Why)
			continue
		}
		if step.Expires > 0 {
			say("approval", "a person approves step %d within %s, or the plan stops: backout approve", i+1, step.Expires)
		}
		say("roll back", "%s: %s  (within %s, again: %s)%s", step.Name, oneLine(step.Run), step.Timeout, step.Again, place(p, i+1))
	}
	for _, step := range slices.Backward(p.Steps) {
		if u := step.Undo; u != nil && !u.Nothing {
			say("take back", "%s, when the plan fails after it: %s  (within %s)", step.Name, oneLine(u.Run), u.Timeout)
		}
	}
	for _, c := range p.After {
		text := c.Words()
		if why := unasked[c.Kind()]; why != "" {
			text += "  (cannot be asked: " + why + ")"
		}
		say("validate", "%s", text)
	}
	say("watch", "whether the validation goes on to hold, for %s", e.Watch)
	if c := p.Told(); c.Receiver != "" {
		say("hand over", "to %s, who proves who that is and accepts or refuses within %s: backout accept", c.Receiver, c.Accepts)
	}
	return lines
}
