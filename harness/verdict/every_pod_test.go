package verdict_test

import (
	"slices"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// Every pod is at the target by what was applied last before, not by a commit that came later and changed nothing, nor by a drift
// that nothing was done about.
func TestEveryPodIsOfWhatWasApplied(t *testing.T) {
	for _, rolledBack := range []bool{true, false} {
		l := pods(rolledBack)
		sync := func(t float64, event, revision string) {
			l.at(t, &evidence.Sync{Application: "d-shop", Service: "shop", Event: event, Revision: revision})
		}
		sync(deployBegun+0.1, evidence.SyncCommitted, "bad")
		sync(deployBegun+0.2, evidence.SyncSynced, "bad")
		sync(25, evidence.SyncCommitted, "revert")
		sync(25.2, evidence.SyncDetected, "revert")
		sync(25.5, evidence.SyncSynced, "revert")
		sync(25.6, evidence.SyncDrifted, "revert")
		sync(32, evidence.SyncCommitted, "later")
		sync(32.1, evidence.SyncSynced, "later")
		all := l.judge().Syncs
		with := func(s verdict.Sync) bool { return s.EveryPod != nil }
		i := slices.IndexFunc(all, with)
		if !rolledBack {
			if i >= 0 {
				t.Errorf("expected pods that never were at the target, found %+v", all[i])
			}
			continue
		}
		if len(all) != 4 || i != 1 || all[i].Revision != "revert" || *all[i].EveryPod < 27 || *all[i].EveryPod > 30 {
			t.Errorf("expected every pod by the revert, the second of four, found number %d of %+v", i, all)
		}
	}
}
