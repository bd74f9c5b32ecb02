package fault

import "backout/harness/evidence"

func kill() Kind {
	return Kind{
		Name: "kill", Forms: []Form{{Text: "{target} is killed"}}, On: machines(), Removes: true,
		Needs: "kill anything",
		Can:   func(p Place) bool { return p.State != nil && p.Kill != nil && p.Start != nil },
		New: func(w World, d evidence.DeclaredFault) Fault {
			return becomes{d.Of, w.Place.State, Gone, w.Place.Kill, w.Place.Start}
		},
	}
}
