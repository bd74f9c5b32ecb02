package process

import "backout/harness/fault"

// Faults implements environment.Environment.
func (m *machine) Faults() fault.Place { return fault.Place{} }
