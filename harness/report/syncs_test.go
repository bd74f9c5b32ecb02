package report

import (
	"reflect"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// Times count from the commit; where nobody committed, from what the controller saw or was told.
func TestSyncRows(t *testing.T) {
	at := func(t float64) *evidence.Offset { o := evidence.Offset(t); return &o }
	v := verdict.Verdict{Syncs: []verdict.Sync{
		{Service: "web", Revision: "5d1d70e254e3c5d7", Committed: at(10), Detected: at(10.5), Syncing: at(10.6), Applied: at(11), Healthy: at(14), EveryPod: at(16.25)},
		{Service: "web", Revision: "5d1d70e254e3c5d7", Drifted: at(20), Syncing: at(20.1), Applied: at(20.5)},
		{Service: "web", Revision: "595cc6f", Syncing: at(21), Failed: at(22), Message: "no check"},
	}}
	var found [][]string
	for _, r := range syncs(v, 9) {
		row := append([]string{r.Revision, r.Why, r.At}, r.Times...)
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], nbsp, " ")
		}
		found = append(found, row)
	}
	want := [][]string{
		{"5d1d70e", "", "+1.0 s", "0.5 s", "1.0 s", "4.0 s", "6.2 s"},
		{"5d1d70e", "the cluster had drifted from it", "+11.0 s", "", "0.5 s", "", ""},
		{"595cc6f", "the controller was told to apply it again; no check", "+12.0 s", "", "failed after 1.0 s", "", ""},
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("expected %q, found %q", want, found)
	}
}
