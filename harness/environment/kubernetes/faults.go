package kubernetes

import "backout/harness/fault"

// place is what can be done to what runs here.
func (s *stage) place() fault.Place { return fault.Place{} }
