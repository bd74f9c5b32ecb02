package service

import "slices"

// forbidden reads the mixes of releases that must not serve. Releases that are named must exist, as must dependants.
func forbidden(v *value, s *Service) (all []Mix) {
	for _, item := range v.list() {
		o := item.object("release", "with", "for")
		m := Mix{Release: o.must("release", "a release of the service").release(s), With: map[string]string{}}
		for _, p := range o.must("with", "what it does not work with, such as {schema: v2}").pairs() {
			switch {
			case p.name == "schema":
				m.With[p.name] = p.release(s)
				if !s.migrates() {
					p.key.wrong("expected migrations in service.yaml beside schema, found none")
				}
			case slices.Contains(s.Dependants, p.name):
				m.With[p.name] = p.text()
			default:
				p.key.wrong("expected schema or a dependant in with, found %q%s", p.name, meant(p.name, append([]string{"schema"}, s.Dependants...)))
			}
		}
		if f := o.get("for"); f != nil {
			m.For = f.duration()
		}
		all = append(all, m)
	}
	return all
}
