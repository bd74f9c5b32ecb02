package scenarios

// RightDrill is the drill beside which a control runs: the same service and release, rolled back by its right plan; nil
// when there is none.
func RightDrill(control Scenario, all []Scenario) *Scenario {
	for i := range all {
		s := &all[i]
		if s.NotApplicable == "" && !s.Control() && s.Expect == nil && s.ByItsPlan() && s.Alone() == control.Alone() &&
			s.Service.Path == control.Service.Path && s.Bad.Name == control.Bad.Name && s.Good.Name == control.Good.Name {
			return s
		}
	}
	return nil
}
