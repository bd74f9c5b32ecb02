package verdict

import (
	"slices"

	"backout/harness/evidence"
)

// syncs are what a controller of GitOps has brought to the cluster from "deploy begun" on, each application's in order.
func (j *judging) syncs() (all []Sync) {
	begun, ok := j.f.clock(evidence.ClockDeployBegun)
	if !ok {
		return nil
	}
	for i := range j.f.syncs.all {
		var rows []Sync
		for _, r := range j.f.syncs.all[i] {
			rows = append(rows, Sync{})
			if !enter(rows, r.t, r.v) {
				rows = rows[:len(rows)-1]
			}
		}
		j.everyPod(rows)
		all = append(all, slices.DeleteFunc(rows, func(s Sync) bool { return s.start() < begun })...)
	}
	slices.SortStableFunc(all, func(a, b Sync) int { return int(a.start() - b.start()) })
	return all
}

// enter puts a word where it belongs: into the newest row of its commit that has none yet, or into the last one, which is empty.
// It says whether that is in use now.
func enter(rows []Sync, t tick, w *evidence.Sync) bool {
	last := len(rows) - 1
	mine := func(waits func(*Sync) bool) *Sync {
		for i := last - 1; i >= 0; i-- {
			if rows[i].Revision == w.Revision && waits(&rows[i]) {
				return &rows[i]
			}
		}
		return &rows[last]
	}
	open := func(s *Sync) bool { return s.Applied == nil && s.Failed == nil }
	var row *Sync
	var at **evidence.Offset
	switch w.Event {
	case evidence.SyncCommitted:
		row = &rows[last]
		at = &row.Committed
	case evidence.SyncDrifted:
		row = &rows[last]
		at = &row.Drifted
	case evidence.SyncDetected:
		if row = mine(func(s *Sync) bool { return s.Detected == nil }); row == &rows[last] {
			return false // it has looked again at what was applied already
		}
		at = &row.Detected
	case evidence.SyncSyncing:
		row = mine(func(s *Sync) bool { return open(s) && s.Syncing == nil })
		at = &row.Syncing
	case evidence.SyncSynced:
		row = mine(open)
		at = &row.Applied
	case evidence.SyncFailed:
		row = mine(open)
		at = &row.Failed
		row.Message = short(w.Message)
	case evidence.SyncHealthy:
		if row = mine(func(s *Sync) bool { return s.Applied != nil && s.Healthy == nil }); row == &rows[last] {
			return false
		}
		at = &row.Healthy
	default:
		return false
	}
	row.Application, row.Service, row.Revision = w.Application, w.Service, w.Revision
	*at = offset(t, true)
	return row == &rows[last]
}

// start is the first that is known of a row.
func (s *Sync) start() tick {
	for _, at := range []*evidence.Offset{s.Committed, s.Drifted, s.Detected, s.Syncing, s.Applied, s.Failed} {
		if at != nil {
			return ticks(*at)
		}
	}
	return 0
}

// everyPod says when every pod of the drilled service was at the target, in the row that had it so: the last one that had begun, and
// was applied.
func (j *judging) everyPod(rows []Sync) {
	if len(rows) == 0 || rows[0].Service != j.run.Service.Name {
		return
	}
	last := tick(-1)
	for _, r := range j.replicas() {
		switch {
		case r.Kind != "instance" || r.Removed != "":
		case r.Converged == nil:
			return
		default:
			last = max(last, ticks(*r.Converged))
		}
	}
	for i := len(rows) - 1; i >= 0; i-- {
		if s := &rows[i]; s.start() <= last && s.Applied != nil {
			s.EveryPod = offset(last, true)
			return
		}
	}
}
