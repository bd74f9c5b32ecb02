package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
	"backout/harness/traffic"
	"backout/harness/verdict"
)

const (
	settleWithin = 15 * time.Second // requests in flight end by their own time-outs before that
	drainWithin  = 10 * time.Second // jobs that have not drained by then are a finding
	quietWithin  = 15 * time.Second // a node that has not reached the primary's LSN by then is a finding
	auditWithin  = 5 * time.Minute
)

// quiet stops arrivals, lets what is in flight settle and jobs drain, and waits until every node has replayed all that
// the primary wrote: comparing while writing makes healthy nodes differ.
func (d *Drill) quiet(ctx context.Context) error {
	done := d.phase("quiet", "quiet point")
	d.clock(evidence.ClockQuietBegun, "")
	settle, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	d.stopped = true
	if err := d.load.Stop(settle); err != nil {
		return err
	}
	d.drain(ctx)
	if len(d.nodes) > 0 {
		d.put(postgres.Quiet(ctx, d.opened(), postgres.Barrier{Timeout: quietWithin, Log: d.env.Log}))
	}
	d.clock(evidence.ClockQuietReached, "")
	done("no write in flight, jobs and replicas caught up as far as they do")
	return ctx.Err()
}

// drain waits until no job is open and notes what each kind of job has left, open or failed.
func (d *Drill) drain(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	var work sync.WaitGroup
	for name, job := range d.spec.Service.Jobs {
		work.Go(func() {
			var open, failed []string
			var err error
			_ = until(within, 20*time.Millisecond, func() bool {
				open, err = postgres.Texts(within, d.db, job.Open)
				return err == nil && len(open) == 0
			}) // a time-out is the finding below
			f := &evidence.Finding{Check: evidence.CheckJobs, Of: name, Asked: err == nil || len(open) > 0}
			if f.Asked {
				failed, err = postgres.Texts(ctx, d.db, job.Failed)
				f.Asked = err == nil
			}
			if err != nil {
				f.Error = d.log.Clean(err.Error())
			}
			f.Bad = int64(len(open) + len(failed))
			f.Checked = f.Bad
			f.Text = fmt.Sprintf("%d open, %d failed", len(open), len(failed))
			for _, row := range append(open, failed...)[:min(20, len(open)+len(failed))] {
				f.Rows = append(f.Rows, d.log.Clean(row))
			}
			d.log.Put(f)
		})
	}
	work.Wait()
}

// audit asks everything that can only be asked at a quiet point, side by side where it only reads.
func (d *Drill) audit(ctx context.Context) error {
	done := d.phase("audit", "checked")
	within, cancel := context.WithTimeoutCause(ctx, auditWithin, fmt.Errorf("the audit took longer than %s", auditWithin))
	defer cancel()
	parent := ctx
	work, ctx := errgroup.WithContext(within)
	ask := func(f func() []evidence.Finding) { work.Go(func() error { d.put(f()); return nil }) }

	work.Go(func() error {
		// A stub gets no traffic of ours, but is asked what it was called for.
		return d.load.Ledger().Audit(ctx, d.log, d.db, append(d.targets(), d.stubs()...))
	})
	for _, s := range d.stubs() {
		ask(func() []evidence.Finding { return []evidence.Finding{unmatched(ctx, s)} })
	}
	if db := d.spec.Service.Database; db != nil {
		work.Go(func() error {
			for _, c := range postgres.Compare(ctx, d.opened(), db.Publish) {
				d.log.Put(&c)
			}
			return nil
		})
		for _, n := range d.opened() {
			ask(func() []evidence.Finding { return d.frozen.Check(ctx, n) })
			ask(func() []evidence.Finding { return postgres.References(ctx, n, db.References, db.Publish) })
			ask(func() []evidence.Finding { return postgres.Sequences(ctx, n) })
			ask(func() []evidence.Finding { return postgres.Invariants(ctx, n, db.Invariants, db.Publish) })
			work.Go(func() error {
				d.log.Put(d.readSchema(ctx, n.Node, "audit"))
				return nil
			})
		}
		for _, n := range d.takePart() {
			ask(func() []evidence.Finding { return postgres.Migrations(ctx, n.Opened, n.target) })
		}
		ask(func() []evidence.Finding { return postgres.Leftovers(ctx, d.opened(), d.before) })
	}
	if err := work.Wait(); err != nil && (parent.Err() != nil || within.Err() == nil) {
		return err // that the time is over is no error: each question says for itself that it has no answer
	}
	// These run journeys, which may write; so they come when all is compared.
	d.put(d.load.Sessions(within, d.deployBegun))
	for _, s := range d.spec.Dependants {
		d.put([]evidence.Finding{d.dependant(within, s)})
	}
	d.clock(evidence.ClockDataVerified, "")
	_, acknowledged, _, _ := d.load.Ledger().Count()
	done("%d acknowledged writes, %d nodes", acknowledged, len(d.opened()))
	if d.refused == nil && d.clear() {
		d.clock(evidence.ClockAllClear, "")
	}
	return nil
}

// dependant runs each journey of a dependant a few times, now that the rollback is over.
func (d *Drill) dependant(ctx context.Context, s *service.Service) evidence.Finding {
	f := evidence.Finding{Check: evidence.CheckDependants, Of: s.Name, Asked: true}
	for _, j := range s.Journeys {
		for range 3 {
			f.Checked++
			if err := d.Journey(ctx, s.Name, j.Name, ""); err != nil {
				f.Bad++
				f.Rows = append(f.Rows, d.log.Clean(err.Error()))
			}
		}
	}
	if ctx.Err() != nil {
		f.Asked, f.Error = false, context.Cause(ctx).Error()
	}
	return f
}

// residual are the promises about what a rollback may leave open.
var residual = []string{verdict.Restored, verdict.EffectsExactlyOnce, verdict.JobsDone, verdict.SessionsAccepted}

// clear says that service is restored and nothing residual is open.
func (d *Drill) clear() bool {
	judged := ask(d, func(f *verdict.Facts, _ evidence.Offset) verdict.Verdict { return verdict.Judge(f) })
	for _, p := range judged.Promises {
		open := p.State == verdict.Broken || p.State == verdict.Unjudged
		if open && slices.Contains(residual, p.Name) {
			return false
		}
	}
	return true
}

func (d *Drill) put(findings []evidence.Finding) {
	for _, f := range findings {
		d.log.Put(&f)
	}
}

// stubs are those of the drilled service.
func (d *Drill) stubs() []traffic.Target {
	var all []traffic.Target
	for _, name := range slices.Sorted(maps.Keys(d.spec.Service.Stubs)) {
		name = d.spec.Service.Name + "/" + name
		all = append(all, traffic.Target{Service: &service.Service{Name: name}, URL: d.env.URL(name), Dependant: true})
	}
	return all
}

// unmatched notes what a stub was asked and had no route for. It was answered with 501, and users or effects show what came
// of that; the finding says why.
func unmatched(ctx context.Context, s traffic.Target) evidence.Finding {
	f := evidence.Finding{Check: evidence.CheckStubs, Of: s.Service.Name}
	var said struct {
		Count, Answered int64
		Requests        []string
	}
	err := func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/unmatched", nil)
		if err != nil {
			return err
		}
		through := &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}
		response, err := (&http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		return json.NewDecoder(response.Body).Decode(&said)
	}()
	if err != nil {
		f.Error = err.Error()
		return f
	}
	f.Asked, f.Checked, f.Bad, f.Rows = true, said.Answered+said.Count, said.Count, said.Requests
	return f
}

func (d *Drill) targets() []traffic.Target {
	all := []traffic.Target{{Service: d.spec.Service, URL: d.env.URL(d.spec.Service.Name)}}
	for _, s := range d.spec.Dependants {
		all = append(all, traffic.Target{Service: s, URL: d.env.URL(s.Name), Dependant: true})
	}
	return all
}
