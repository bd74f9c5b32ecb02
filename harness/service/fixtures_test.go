package service

import (
	"errors"
	"path/filepath"
	"testing"
)

const fixtures = "../../fixtures/services"

// Everything that the fixtures hold loads: services, releases, plans.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"shop", "billing", "stall", "kiosk", "stand", "nodewatch", "ferry"} {
		s, err := Find([]string{fixtures}, name)
		if err != nil {
			t.Error(err)
			continue
		}
		releases, err := s.Releases()
		if err != nil {
			t.Fatal(err)
		}
		for _, release := range releases {
			r, err := s.Release(release)
			if err != nil {
				t.Error(err)
				continue
			}
			plans := r.plans()
			for plan := range plans {
				there := map[string]bool{}
				for _, environment := range []string{"process", "containers", "kind"} {
					p, err := r.Plan(plan, environment)
					if errors.Is(err, ErrNoPlan) {
						continue // each environment has ways to roll back that the others know not
					}
					if err != nil {
						t.Error(err)
						continue
					}
					there[environment] = true
					if _, err := Digests(r.Files(p)...); err != nil {
						t.Error(err)
					}
					if err := r.Hosts(p); err != nil {
						t.Error(err)
					}
				}
				if len(there) == 0 || there["process"] && !there["containers"] {
					t.Errorf("%s: expected the plan %s for containers as well, or for an environment at all, found %v", r.Dir, plan, there)
				}
			}
			t.Logf("%s: %s with %d plans", filepath.Base(s.Dir), r.Name, len(plans))
		}
	}
}
