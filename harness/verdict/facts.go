package verdict

import "backout/harness/evidence"

// Facts is what a verdict needs to know of a log, folded event by event. It is not safe for concurrent use.
type Facts struct {
	cut *cut
}

type cut struct {
	at  evidence.Offset
	why string
}

// New returns facts of an empty log.
func New() *Facts { return &Facts{} }

// Add folds the next event of the log.
func (f *Facts) Add(e evidence.Event) {}

// Cut says that the log ended at an offset without its End event, and why.
func (f *Facts) Cut(at evidence.Offset, why string) { f.cut = &cut{at: at, why: why} }

// Seen is whether the harm or the traps that the release states were seen, and since when without a break.
type Seen struct {
	Shown    bool
	Since    evidence.Offset
	Finding  string // in words, also when nothing was seen
	Evidence []int64
}

// State is whether a state holds at an instant, since when, and what it lacks, each a plain sentence.
type State struct {
	Held     bool
	At       evidence.Offset // the instant from which it holds; of a state that does not hold it means nothing
	Missing  []string
	Evidence []int64
}

// Harm says whether the harm or the traps that the release states are there at now.
func (f *Facts) Harm(now evidence.Offset) Seen { return Seen{} }

// UsersRestored says whether users have been served as in the baseline for the whole stability window before now.
func (f *Facts) UsersRestored(now evidence.Offset) State { return State{} }

// Restored says whether everything that observation can see has been as before for the whole stability window before
// now: users, instances, nodes, lag, jobs, caches.
func (f *Facts) Restored(now evidence.Offset) State { return State{} }

// Judge gives the verdict. The same facts give the same verdict.
func Judge(f *Facts) Verdict { return Verdict{Verdict: Inconclusive} }

// Exit is the exit code of the command line for this verdict.
func (v Verdict) Exit() int {
	if v.Expected != nil {
		switch {
		case *v.Expected:
			return ExitPass
		case v.Verdict == Inconclusive:
			return ExitInconclusive
		}
		return ExitFail
	}
	switch v.Verdict {
	case Pass:
		return ExitPass
	case Fail:
		return ExitFail
	}
	return ExitInconclusive
}

