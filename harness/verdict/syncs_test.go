package verdict

import (
	"testing"

	"backout/harness/evidence"
)

// Each commit is a row, and so is each time that the controller went back to one by itself or because it was told to.
func TestSyncs(t *testing.T) {
	f := New()
	n := int64(0)
	add := func(at float64, k evidence.Kind) {
		n++
		e := evidence.Event{N: n, T: evidence.Offset(at)}
		k.Put(&e)
		f.Add(e)
	}
	run := &evidence.Run{Good: "v1", Replicas: 1}
	run.Service.Name = "web"
	add(0, run)
	word := func(at float64, event, revision string) {
		add(at, &evidence.Sync{Application: "d-web", Service: "web", Event: event, Revision: revision, Message: "because"})
	}
	word(1, evidence.SyncCommitted, "a")
	word(2, evidence.SyncSynced, "a")
	word(3, evidence.SyncHealthy, "a")
	add(5, &evidence.Clock{Name: evidence.ClockDeployBegun})
	word(6, evidence.SyncCommitted, "b")
	word(6.5, evidence.SyncDetected, "b")
	word(6.6, evidence.SyncSyncing, "b")
	word(7, evidence.SyncSynced, "b")
	word(9, evidence.SyncHealthy, "b")
	word(10, evidence.SyncDrifted, "b") // somebody has undone it in the cluster
	word(10.1, evidence.SyncSyncing, "b")
	word(10.5, evidence.SyncSynced, "b")
	word(11, evidence.SyncHealthy, "b")
	word(12, evidence.SyncSyncing, "a") // somebody has chosen an entry of its history
	word(12.5, evidence.SyncFailed, "a")
	word(13, evidence.SyncCommitted, "c") // nobody has looked yet

	got := Judge(f).Syncs
	type row struct {
		revision                                                             string
		committed, drifted, detected, syncing, applied, failed, healthy, pod float64
	}
	want := []row{
		{"b", 6, 0, 6.5, 6.6, 7, 0, 9, 0},
		{"b", 0, 10, 0, 10.1, 10.5, 0, 11, 0},
		{"a", 0, 0, 0, 12, 0, 12.5, 0, 0},
		{"c", 13, 0, 0, 0, 0, 0, 0, 0},
	}
	if len(got) != len(want) {
		t.Fatalf("expected %d rows, found %d: %+v", len(want), len(got), got)
	}
	at := func(o *evidence.Offset) float64 {
		if o == nil {
			return 0
		}
		return float64(*o)
	}
	for i, s := range got {
		found := row{s.Revision, at(s.Committed), at(s.Drifted), at(s.Detected), at(s.Syncing), at(s.Applied), at(s.Failed), at(s.Healthy), at(s.EveryPod)}
		if found != want[i] {
			t.Errorf("row %d: expected %+v, found %+v", i, want[i], found)
		}
	}
	if got[2].Message != "because" {
		t.Errorf("expected why it failed, found %q", got[2].Message)
	}
}
