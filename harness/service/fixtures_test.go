package service

import (
	"errors"
	"path/filepath"
	"testing"
)

const fixtures = "../../fixtures/services"

// Everything that the fixtures hold loads: services, releases, plans.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"shop", "billing", "stall", "kiosk"} {
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
				for _, environment := range []string{"process", "containers"} {
					p, err := r.Plan(plan, environment)
					if errors.Is(err, ErrNoPlan) && environment == "process" {
						continue // containers are rolled back in ways that processes know not
					}
					if err != nil {
						t.Error(err)
						continue
					}
					if _, err := Digests(r.Files(p)...); err != nil {
						t.Error(err)
					}
					if err := r.Hosts(p); err != nil {
						t.Error(err)
					}
				}
			}
			t.Logf("%s: %s with %d plans", filepath.Base(s.Dir), r.Name, len(plans))
		}
	}
}
