package drill

import (
	"testing"

	"backout/harness/evidence"
)

func TestStillnessCountsEachThingOnceAsComeAndGone(t *testing.T) {
	s := stillness{flips: map[string]int{}}
	for _, look := range []struct {
		at      evidence.Offset
		missing []string
		changed evidence.Offset
	}{
		{1, []string{"shop-3 serves v2", "checkout fails"}, 1},
		{2, []string{"shop-3 serves v2", "checkout fails"}, 1},
		{3, []string{"shop-3 serves v2"}, 3},                   // checkout went
		{4, []string{"shop-3 serves v2", "checkout fails"}, 3}, // and came back: it flickers
		{5, []string{"shop-3 serves v2"}, 3},
		{6, nil, 6}, // shop-3 has converged
		{7, nil, 6},
		{8, []string{"the primary lags"}, 8}, // something new
	} {
		if s.look(look.at, look.missing); s.changed != look.changed {
			t.Errorf("at %v: changed at %v, expected %v", look.at, s.changed, look.changed)
		}
	}
}
