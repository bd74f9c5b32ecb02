package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"backout/harness/evidence"
	"backout/harness/report"
	"backout/harness/verdict"
)

// Result is what became of one drill.
type Result struct {
	Spec    Spec
	Dir     string // of the run; empty when nothing was written
	Run     *evidence.Run
	Verdict verdict.Verdict
	Head    string // hash of the log's last segment
	Err     error  // bad input, or the harness itself broke
	Took    time.Duration

	NotApplicable string // why the drill cannot happen in this environment: listed, never passed
}

// Exit is the exit code for this drill alone.
func (r Result) Exit() int {
	if r.Err != nil {
		return verdict.ExitBroke
	}
	return r.Verdict.Exit()
}

// Failure is what godog is told: nil when the drill ended as the scenario expects.
func (r Result) Failure() error {
	switch {
	case r.Err != nil:
		return r.Err
	case r.Exit() == verdict.ExitPass:
		return nil
	case r.Verdict.ExpectedWhy != "":
		return fmt.Errorf("%s: %s", r.Verdict.Verdict, r.Verdict.ExpectedWhy)
	}
	return fmt.Errorf("%s: %s", r.Verdict.Verdict, r.Verdict.Because)
}

// destroyWithin bounds the way out, whatever happened before.
const destroyWithin = time.Minute

// Finish stops and removes everything, closes the log, judges it and writes the reports. It is called in every way out
// but a killed harness, and works with a context that has been cancelled.
func (d *Drill) Finish(ctx context.Context) (result Result) {
	result = Result{Spec: *d.spec, Err: d.broke}
	defer func() { result.Err = d.clean(result.Err) }()
	interrupted := ctx.Err() != nil
	// The clean-up must run although the drill was cancelled, so it has a context of its own.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyWithin)
	defer cancel()
	if d.log == nil {
		result.Err = errors.Join(result.Err, d.close(clean))
		return result
	}
	d.handle.finish()
	d.log.Put(&evidence.Phase{Name: "destroy"})
	d.tell(Progress{Phase: "destroy"})
	if d.load != nil && !d.stopped {
		d.stopped = true
		if err := d.load.Stop(clean); err != nil {
			result.Err = errors.Join(result.Err, err)
		}
	}
	destroyed := d.close(clean)
	left := &evidence.Finding{Check: evidence.CheckLeftovers, Of: "environment", Asked: true, Checked: 1}
	if destroyed != nil {
		left.Bad, left.Rows = 1, []string{d.log.Clean(destroyed.Error())}
	}
	d.log.Put(left)
	switch aborted := d.handle.abortedBy(); {
	case aborted != nil:
		d.log.Put(&evidence.End{How: "aborted", Why: fmt.Sprintf("by %s: %s", aborted.By, aborted.Why)})
		result.Err = nil // the verdict says where it stopped, and who wanted it
	case interrupted:
		d.log.Put(&evidence.End{How: "interrupted", Why: fmt.Sprint(context.Cause(ctx))})
		result.Err = nil // the verdict says where it stopped
	case d.broke != nil:
		d.log.Put(&evidence.End{How: "broke", Why: d.log.Clean(d.broke.Error())})
	default:
		d.log.Put(&evidence.End{How: "complete"})
	}
	_, err := d.log.Close()
	result.Dir = d.dir
	result.Err = errors.Join(result.Err, err)
	model, err := Judge(d.dir)
	if err != nil {
		result.Err = errors.Join(result.Err, err)
		return result
	}
	result.Run, result.Verdict, result.Head = &model.Run, model.Verdict, model.Head
	result.Took = time.Since(d.began)
	result.Err = errors.Join(result.Err, Render(d.dir, model))
	return result
}

// Judge works out the verdict of a saved run from its log alone, and what its reports need.
func Judge(dir string) (*report.Model, error) {
	facts, builder := verdict.New(), report.New()
	log := evidence.Reader{Path: filepath.Join(dir, evidence.File)}
	last := evidence.Offset(0)
	for e, err := range log.Events() {
		var cut *evidence.CutError
		if errors.As(err, &cut) {
			facts.Cut(last, cut.Why)
			builder.Cut(cut.Why)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("judge %s: %w", dir, err)
		}
		last = e.T
		facts.Add(e)
		builder.Add(e)
	}
	model := builder.Model(verdict.Judge(facts), log.Head())
	// The events that the findings cite are known only now, so the log is read once more for them.
	err := model.Cite(evidence.Read(log.Path))
	var cut *evidence.CutError
	if err != nil && !errors.As(err, &cut) {
		return nil, fmt.Errorf("judge %s: %w", dir, err)
	}
	return model, nil
}

// Render writes every format of the report into a run's directory.
func Render(dir string, m *report.Model) error {
	var wrong []error
	for _, f := range report.Formats() {
		wrong = append(wrong, write(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Write(w, m) }))
	}
	return errors.Join(wrong...)
}

func write(path string, content func(io.Writer) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := content(file); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// RenderSet writes every format of the report over several runs into the set's folder.
func RenderSet(dir string, s report.Set) error {
	var wrong []error
	for _, f := range report.SetFormats() {
		wrong = append(wrong, write(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Write(w, s) }))
	}
	return errors.Join(wrong...)
}

// Word is the result in a word or two.
func (r Result) Word() string {
	switch {
	case r.NotApplicable != "":
		return verdict.NotApplicable
	case r.Err != nil:
		return "broke"
	case r.Spec.Mutant != nil && r.Verdict.Verdict == verdict.Fail:
		return "killed"
	case r.Spec.Mutant != nil && r.Verdict.Verdict == verdict.Pass:
		return "survived"
	}
	return r.Verdict.Verdict
}

// Entry is the result as the report over several runs lists it.
func (r Result) Entry(set string) report.Entry {
	e := report.Entry{Verdict: r.Verdict, Head: r.Head, Seconds: r.Took.Seconds(), NotApplicable: r.NotApplicable}
	if r.Err != nil {
		e.Broke = r.Err.Error()
	}
	if r.Run != nil {
		e.Run = *r.Run
	} else {
		e.Run = evidence.Run{Name: r.Spec.Name, Feature: r.Spec.Feature, Path: r.Spec.Path, Line: r.Spec.Line, Tags: r.Spec.Tags}
	}
	if rel, err := filepath.Rel(set, r.Dir); r.Dir != "" && err == nil {
		e.Dir = rel
	}
	return e
}
