package drill

import (
	"slices"
	"testing"
)

func TestCommandsSideBySideAreOne(t *testing.T) {
	var told []bool
	running := oneAtATime(func(b bool) { told = append(told, b) })
	for _, begins := range []bool{true, true, false, true, false, false, true, false} {
		running(begins)
	}
	if expected := []bool{true, false, true, false}; !slices.Equal(told, expected) {
		t.Errorf("expected %v, found %v", expected, told)
	}
}
