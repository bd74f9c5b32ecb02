package service

import (
	"path/filepath"
	"testing"
)

const fixtures = "../../fixtures/services"

// Everything that the fixtures hold loads: services, releases, plans.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"shop", "billing"} {
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
				p, err := r.Plan(plan, "process")
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := Digests(r.Files(p)...); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%s: %s with %d plans", filepath.Base(s.Dir), r.Name, len(plans))
		}
	}
}
