package fault

import "backout/harness/evidence"

func drop() Kind {
	return Kind{
		Name: "drop", Forms: []Form{{Text: "the connections of {word} to its database are dropped"}}, On: []string{OnService},
		Needs: "drop connections", Can: hasLinks,
		New: func(w World, d evidence.DeclaredFault) Fault { return link{w, d.Of, LinkState{Dropped: true}} },
	}
}
