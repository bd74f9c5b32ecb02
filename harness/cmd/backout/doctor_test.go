package main

import (
	"context"
	"strings"
	"testing"
)

func TestCapability(t *testing.T) {
	for _, test := range []struct {
		status     string
		has, known bool
	}{
		{"Name:\tx\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n", true, true},
		{"CapBnd:\t000001fffeffffff\n", false, true},
		{"CapBnd:\t0000000001000000\n", true, true},
		{"CapBnd:\t0000000000000000\n", false, true},
		{"CapPrm:\t000001ffffffffff\n", false, false},
		{"CapBnd:\tnothing\n", false, false},
	} {
		if has, known := capability(test.status, sysResource); has != test.has || known != test.known {
			t.Errorf("%q: expected %v, %v, found %v, %v", test.status, test.has, test.known, has, known)
		}
	}
}

// Where Docker does not answer, that is said in a line with what mends it, and nothing that hangs on it is asked.
func TestTheDoctorWithoutDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	all := diagnoseContainers(context.Background())
	if len(all) != 1 || all[0].must || !strings.Contains(all[0].found, "drills in containers do not apply here") || all[0].mend == "" {
		t.Errorf("found %+v", all)
	}
}
