package scenarios

// Right says whether the drill rolls its release back by its right plan, and may be run here.
func (s *Scenario) Right() bool {
	return s.NotApplicable == "" && !s.Control() && s.Expect == nil && s.ByItsPlan()
}

// RightDrill is the drill beside which a control runs: the same service and release, and the same that comes between,
// rolled back by its right plan; nil when there is none.
func RightDrill(control Scenario, all []Scenario) *Scenario {
	for i := range all {
		s := &all[i]
		if s.Right() && s.Alone() == control.Alone() &&
			s.Service.Path == control.Service.Path && (s.Second == nil) == (control.Second == nil) && s.Bad.Name == control.Bad.Name && s.Good.Name == control.Good.Name {
			return s
		}
	}
	return nil
}
