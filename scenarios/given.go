package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"backout/harness/service"
)

// given are the sentences that say what the drill stands on.
func given() []Sentence {
	return []Sentence{
		sentence(`the service {name}`, func(d *draft, w []string) error { return d.takeService(w[0]) }, nil),
		sentence(`the service {name} with {n} {word}`, func(d *draft, w []string) error {
			if err := d.takeService(w[0]); err != nil {
				return err
			}
			n, err := number(w[1])
			if err != nil {
				return err
			}
			db := d.Service.Database
			if db == nil {
				return fmt.Errorf("%s has no database, so no %s", w[0], w[2])
			}
			if _, known := db.Rows[w[2]]; !known {
				return fmt.Errorf("%s: its data does not say how to make %s: expected one of the tables under rows", d.Service.Path, w[2])
			}
			d.Rows = map[string]int{w[2]: int(n)}
			return nil
		}, nil),
		sentence(`a streaming replica and a logical replica`, func(d *draft, _ []string) error {
			d.Streaming, d.Logical = true, true
			return d.needDatabase()
		}, nil),
		sentence(`a streaming replica`, func(d *draft, _ []string) error {
			d.Streaming = true
			return d.needDatabase()
		}, nil),
		sentence(`a logical replica`, func(d *draft, _ []string) error {
			d.Logical = true
			return d.needDatabase()
		}, nil),
		sentence(`every commit waits for the streaming replica`, func(d *draft, _ []string) error {
			if !d.Streaming {
				return fmt.Errorf("there is no streaming replica to wait for: say first: And a streaming replica")
			}
			d.Synchronous = true
			return nil
		}, nil),
		sentence(`rollbacks on all machines take turns by a lease`, func(d *draft, _ []string) error {
			d.Lease = true
			return nil
		}, nil),
		sentence(`rollbacks on all machines take turns by a Lease of Kubernetes`, func(d *draft, _ []string) error {
			d.LeaseInCluster = true
			return nil
		}, nil),
		sentence(`{n} journeys per second by {n} users`, func(d *draft, w []string) (err error) {
			if d.Rate, err = number(w[0]); err != nil {
				return err
			}
			users, err := number(w[1])
			if err != nil {
				return err
			}
			d.Users = int(users)
			if d.Rate <= 0 || d.Users < 1 {
				return fmt.Errorf("a drill without traffic observes nothing: expected a rate above 0 and at least 1 user")
			}
			return nil
		}, nil),
	}
}

func (d *draft) takeService(name string) (err error) {
	if d.Service != nil {
		return fmt.Errorf("the service is %q already: a drill rolls back one", d.Service.Name)
	}
	if d.Service, err = service.Find(d.services, name); err != nil {
		return err
	}
	d.Runs = map[string]*service.Release{}
	for _, name := range d.Service.Dependants {
		dependant, err := service.Find(d.services, name)
		if err != nil {
			return fmt.Errorf("the dependant of %s: %w", d.Service.Name, err)
		}
		if err := d.circle(dependant, []string{d.Service.Name}); err != nil {
			return err
		}
		d.Dependants = append(d.Dependants, dependant)
		if d.Runs[name], err = onlyGood(dependant); err != nil {
			return err
		}
	}
	return nil
}

// circle refuses services that depend on each other in a circle: there is no order in which they could be rolled back.
func (d *draft) circle(s *service.Service, above []string) error {
	above = append(above, s.Name)
	for _, name := range s.Dependants {
		if slices.Contains(above, name) {
			return fmt.Errorf("%s: dependants go in a circle: %s -> %s: expected that no service depends on itself", s.Path, strings.Join(above, " -> "), name)
		}
		next, err := service.Find(d.services, name)
		if err != nil {
			return fmt.Errorf("the dependant of %s: %w", s.Name, err)
		}
		if err := d.circle(next, above); err != nil {
			return err
		}
	}
	return nil
}

// onlyGood is the good release that a dependant runs for the whole drill.
func onlyGood(s *service.Service) (*service.Release, error) {
	names, err := s.Releases()
	if err != nil {
		return nil, err
	}
	var found *service.Release
	for _, name := range names {
		r, err := s.Release(name)
		if err != nil {
			return nil, err
		}
		if !r.Good || r.HasPlan() { // one that is rolled back comes over another one
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s: a dependant needs exactly one good release that no plan rolls back; found %s and %s", s.Path, found.Name, r.Name)
		}
		found = r
	}
	if found == nil {
		return nil, fmt.Errorf("%s: a dependant needs a good release that no plan rolls back; found none of %v", s.Path, names)
	}
	return found, nil
}

func (d *draft) needDatabase() error {
	if err := d.needService(); err != nil {
		return err
	}
	if d.Service.Database == nil {
		return fmt.Errorf("%s has no database, so no replica of it", d.Service.Name)
	}
	return nil
}
