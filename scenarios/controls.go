package scenarios

import (
	"slices"

	"backout/harness/evidence"
)

// Right says whether the drill rolls its release back by its right plan, and may be run here. Under a fault the right plan
// may be another than on a quiet day.
func (s *Scenario) Right() bool {
	return s.NotApplicable == "" && !s.Control() && s.Expect == nil && (s.ByItsPlan() || len(s.Faults) > 0 || s.Death != nil)
}

// RightDrill is the drill beside which a control runs: the same service and release, and the same that comes between, rolled
// back by its right plan; nil when there is none.
func RightDrill(control Scenario, all []Scenario) *Scenario {
	for i := range all {
		s := &all[i]
		if s.Right() && s.Alone() == control.Alone() && (s.Second == nil) == (control.Second == nil) && s.Lease == control.Lease && s.LeaseInCluster == control.LeaseInCluster && (s.Death == nil) == (control.Death == nil) && (s.Herd == nil) == (control.Herd == nil) &&
			s.Synchronous == control.Synchronous && slices.EqualFunc(s.Faults, control.Faults, sameFault) &&
			s.Service.Path == control.Service.Path && s.Bad.Name == control.Bad.Name && s.Good.Name == control.Good.Name {
			return s
		}
	}
	return nil
}

// sameFault says whether the same is done to the same, whenever.
func sameFault(a, b evidence.DeclaredFault) bool {
	return a.Kind == b.Kind && a.Of == b.Of && a.Seconds == b.Seconds
}
