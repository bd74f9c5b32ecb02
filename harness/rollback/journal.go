package rollback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// JournalFile is what the journal of a plan's steps is called.
const JournalFile = "rollback.journal"

// Progress is how far a plan has come, as it is written before and after each step: a line of the journal, and in the row
// of the lease. It tells whoever comes after a runner that died what must not be repeated.
type Progress struct {
	Plan     string    `json:"plan"`
	Path     string    `json:"path"`
	Digest   string    `json:"digest"` // of what the plan runs; another one makes numbers of steps mean something else
	Run      string    `json:"run,omitempty"`
	Operator string    `json:"operator"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Token    int64     `json:"token,omitempty"`
	At       time.Time `json:"at"`
	Steps    int       `json:"steps"`
	Begun    int       `json:"begun"` // the last step that began, from 1; 0: none
	Step     string    `json:"step,omitempty"`
	Outcome  string    `json:"outcome,omitempty"` // how that one ended; empty: it runs, or its runner died
	Finished bool      `json:"finished,omitempty"`

	// Of a plan whose steps may run side by side, or are taken back.
	Done  []int `json:"done,omitempty"`  // that have ended well
	Open  []int `json:"open,omitempty"`  // that have begun and have not ended well
	Undo  int   `json:"undo,omitempty"`  // the step that is being taken back; 0: none is
	Taken bool  `json:"taken,omitempty"` // what the plan had done was taken back, all of it
}

// Unfinished says that somebody has to decide what becomes of the plan: a step began, and neither have all ended as they should
// nor was all taken back.
func (p Progress) Unfinished() bool { return p.Begun > 0 && !p.Finished && !p.Taken }

// Earlier is what whoever goes on with the plan must know.
func (p Progress) Earlier() Earlier {
	why := "an earlier run has ended it: " + p.String()
	if len(p.Done)+len(p.Open) == 0 {
		return From(p.Next(), p.Begun, why)
	}
	return Earlier{Done: p.Done, Begun: slices.Concat(p.Done, p.Open), Why: why}
}

// Resumable says why nobody can simply go on; nil: somebody can.
func (p Progress) Resumable() error {
	if p.Undo == 0 {
		return nil
	}
	return fmt.Errorf("it was being taken back: step %d is half taken back, or was when its runner died, and to go forward from there may put it on top of what is left of it", p.Undo)
}

// Next is the step with which the plan goes on.
func (p Progress) Next() int {
	if p.Outcome == evidence.StepOK {
		return p.Begun + 1
	}
	return max(1, p.Begun)
}

func (p Progress) String() string {
	how := "and nobody has written how it ended: its runner died"
	if p.Outcome != "" {
		how = "and it ended: " + p.Outcome
	}
	began := fmt.Sprintf("step %d of %d (%s) had begun", p.Begun, p.Steps, p.Step)
	if p.Undo > 0 {
		began = fmt.Sprintf("taking back step %d of %d (%s) had begun", p.Undo, p.Steps, p.Step)
	}
	if len(p.Done)+len(p.Open) > 0 {
		how += fmt.Sprintf("; in all %s of them had ended well, and not so: %s", numbers(p.Done), numbers(p.Open))
	}
	return fmt.Sprintf("%s on %s ran the plan %q (%s) until %s: %s, %s", p.Operator, p.Host, p.Plan, p.Path, p.At.UTC().Format("2006-01-02 15:04:05 UTC"), began, how)
}

// numbers is "1, 3", or "none".
func numbers(steps []int) string {
	if len(steps) == 0 {
		return "none"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(steps), " ", ", "), "[]")
}

// Unfinished is how far the plan before has come, by the later word of the journal on this machine and the row of the
// lease, which knows of all machines. The lock must be held. Without either nothing is known, and nothing is unfinished.
func (r *Runner) Unfinished() (Progress, error) {
	var last Progress
	if r.Journal != "" {
		var err error
		if last, err = readJournal(r.Journal); err != nil {
			return last, err
		}
	}
	if l := r.lease; l != nil && l.found.At.After(last.At) {
		last = l.found
	}
	return last, nil
}

// readJournal is its last whole line. Half a line was never followed by what it announced.
func readJournal(path string) (last Progress, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil
	}
	if err != nil {
		return last, fmt.Errorf("read the journal of the plan before: %w", err)
	}
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		return last, nil
	}
	line := text[bytes.LastIndexByte(text[:end], '\n')+1 : end]
	if err := json.Unmarshal(line, &last); err != nil {
		return last, fmt.Errorf("%s: expected lines of JSON, found %.60q: %w: see by hand how far the plan before was, then remove the file", path, line, err)
	}
	return last, nil
}

// stepBegins writes that a step begins now, after it was seen that the lease is still this runner's. Nothing may come between it
// and the step.
func (r *Runner) stepBegins(ctx context.Context, p *service.Plan, step int) error {
	r.open = append(r.open, step)
	err := r.begins(ctx, p, r.now(p, step))
	if err == nil {
		return nil
	}
	r.open = r.open[:len(r.open)-1]
	if why := new(unleased); errors.As(err, &why) {
		return &StepError{evidence.PartStep, step, p.Steps[step-1], Outcome{Outcome: evidence.StepRefused, Error: r.Log.Clean(why.Error())}}
	}
	return err
}

// undoBegins writes that a step is taken back from now on.
func (r *Runner) undoBegins(ctx context.Context, p *service.Plan, step int) error {
	now := r.now(p, step)
	now.Undo = step
	return r.begins(ctx, p, now)
}

// now is how far the plan is when a step begins.
func (r *Runner) now(p *service.Plan, step int) Progress {
	now := Progress{Plan: p.Name, Path: p.Path, Digest: p.Digest(), Run: r.RunName, At: time.Now().UTC(),
		Steps: len(p.Steps), Begun: step, Step: r.Log.Clean(p.Steps[step-1].Name)}
	as := r.holder(p)
	now.Operator, now.Host, now.PID = as.Operator, as.Host, as.PID
	r.tally(p, &now)
	return now
}

// tally writes which steps are done and which are open, where their numbers alone do not say it.
func (r *Runner) tally(p *service.Plan, now *Progress) {
	if p.Graph {
		now.Done, now.Open = slices.Clone(r.done), slices.Clone(r.open)
	}
}

// unleased says that the lease is not held any more, or that it could not be seen whether it is.
type unleased struct{ error }

func (r *Runner) begins(ctx context.Context, p *service.Plan, now Progress) error {
	if r.Journal == "" && r.lease == nil {
		return nil
	}
	if l := r.lease; l != nil {
		now.Token = l.token
		if err := l.renew(ctx, nil, &now); errors.As(err, new(*Lost)) {
			return &unleased{err}
		} else if err != nil {
			return &unleased{fmt.Errorf("it could not be seen whether the lease is still held, and without it no step is run: %w", err)}
		}
	}
	return r.write(now)
}

// stepEnded writes how a step ended. That the row of the lease could not be written stops nothing here: the check before the
// next step does.
func (r *Runner) stepEnded(ctx context.Context, p *service.Plan, step int, outcome string) error {
	if outcome == evidence.StepOK {
		r.done = append(r.done, step)
		r.open = slices.DeleteFunc(r.open, func(n int) bool { return n == step })
	}
	now := r.progress
	now.At, now.Outcome = time.Now().UTC(), outcome
	now.Begun, now.Step = step, r.Log.Clean(p.Steps[step-1].Name)
	now.Finished = outcome == evidence.StepOK && len(r.done) == len(p.Steps)
	r.tally(p, &now)
	return r.ends(ctx, now)
}

// wentBack writes that all was taken back.
func (r *Runner) wentBack(ctx context.Context) error {
	now := r.progress
	now.At, now.Outcome, now.Undo, now.Taken = time.Now().UTC(), "taken back", 0, true
	return r.ends(ctx, now)
}

func (r *Runner) ends(ctx context.Context, now Progress) error {
	if r.Journal == "" && r.lease == nil {
		return nil
	}
	err := r.write(now)
	if l := r.lease; l != nil {
		_ = l.renew(ctx, nil, &now)
	}
	return err
}

// write appends to the journal and waits until it is on the disk.
func (r *Runner) write(now Progress) (err error) {
	r.progress = now
	if r.Journal == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the journal: %w", err)
		}
	}()
	if r.journal == nil {
		file, err := os.OpenFile(r.Journal, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		// Half a line of whoever died while writing it is no part of the journal: what comes now takes its place.
		if err := endOfLines(file); err != nil {
			return errors.Join(err, file.Close())
		}
		r.journal = file
		dir, err := os.Open(filepath.Dir(r.Journal)) // the name must last too
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return err
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if _, err := r.journal.Write(append(text, '\n')); err != nil {
		return err
	}
	return r.journal.Sync()
}

// endOfLines moves to the end of the last whole line, and cuts off what comes after it.
func endOfLines(file *os.File) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	end := int64(bytes.LastIndexByte(text, '\n') + 1)
	if err := file.Truncate(end); err != nil {
		return err
	}
	_, err = file.Seek(end, io.SeekStart)
	return err
}
