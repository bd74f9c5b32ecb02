package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backout/harness/evidence"
)

// noForbiddenMix: from the decision to the end of watching no mix of releases that service.yaml forbids served for longer than it
// allows. An instance serves while it says that it is ready.
func noForbiddenMix(j *judging) result {
	from, decided := j.f.clock(evidence.ClockDecided)
	to, ended := j.f.clock(evidence.ClockWatchEnded)
	if !decided || !ended {
		return result{state: Unjudged, finding: "the rollback was not watched to its end"}
	}
	r := result{state: Kept}
	longest, which := tick(0), ""
	for _, rule := range j.mixes() {
		together := j.f.serving(j.run.Service.Name, rule.Release, to)
		for _, with := range slices.Sorted(maps.Keys(rule.With)) {
			other := j.f.serving(with, rule.With[with], to)
			if with == "schema" {
				other = j.f.schemaOf(rule.With[with], to)
			}
			together = both(together, other)
		}
		for _, s := range together {
			a, b := max(s.from, from), min(s.to, to)
			if b <= a {
				continue
			}
			text := fmt.Sprintf("%s served with %s for %s from %s", rule.Release, rule.words(), length((b - a).seconds()), at(a))
			if b-a > ticks(evidence.Offset(rule.For)) {
				r.state = Broken
				r.details = append(r.details, text+", at most "+limit(rule.For))
				r.evidence = append(r.evidence, s.n)
			}
			if b-a > longest {
				longest, which = b-a, text
				if r.state == Kept {
					r.evidence = []int64{s.n}
				}
			}
		}
	}
	switch {
	case r.state == Broken:
		r.finding = list(r.details, 2)
	case longest > 0:
		r.finding = "the longest that a forbidden mix served: " + which
	default:
		r.finding = "none served"
	}
	return r
}

// mixes are those forbidden ones that this drill's releases can make.
func (j *judging) mixes() (all []mix) {
	there := func(release string) bool { return release == j.run.Good || release == j.run.Release.Name }
	for _, m := range j.run.Service.Forbidden {
		if schema, of := m.With["schema"]; there(m.Release) && (!of || there(schema)) {
			all = append(all, mix{m})
		}
	}
	return all
}

type mix struct{ evidence.Mix }

func (m mix) words() string {
	var parts []string
	for _, with := range slices.Sorted(maps.Keys(m.With)) {
		if with == "schema" {
			parts = append(parts, "the schema of "+m.With[with])
		} else {
			parts = append(parts, with+" "+m.With[with])
		}
	}
	return strings.Join(parts, " and ")
}

// serving is when any instance of a service was ready with a release. What was read holds until the next reading.
func (f *Facts) serving(service, release string, end tick) (all []span) {
	for _, name := range f.instances.names {
		if !strings.HasPrefix(name, service+"/") {
			continue
		}
		all = append(all, during(f.instances.of(name), end, func(i instance) bool { return i.ready && f.names.is(i.release) == release })...)
	}
	return apart(all)
}

// schemaOf is when the primary had the schema of a release: of the good one as long as its migration is that of before the deploy.
func (f *Facts) schemaOf(release string, end tick) (all []span) {
	begun := f.clockOr(evidence.ClockDeployBegun, end)
	for _, name := range f.run.Nodes {
		list := f.nodes.of(name)
		was, known := before(list, begun)
		if f.role(name) != "primary" || !known {
			continue
		}
		all = append(all, during(list, end, func(n node) bool {
			return n.reachable && (n.migration == was.v.migration) == (release == f.run.Good)
		})...)
	}
	return apart(all)
}

// during is when what was read was so.
func during[T any](list []reading[T], end tick, so func(T) bool) (all []span) {
	for i, r := range list {
		to := end
		if i+1 < len(list) {
			to = list[i+1].t
		}
		if !so(r.v) || to <= r.t {
			continue
		}
		if k := len(all); k > 0 && all[k-1].to == r.t {
			all[k-1].to = to
			continue
		}
		all = append(all, span{from: r.t, to: to, n: r.n})
	}
	return all
}

// both is when both were so; each is sorted and apart.
func both(a, b []span) (all []span) {
	for _, x := range a {
		for _, y := range b {
			if from, to := max(x.from, y.from), min(x.to, y.to); to > from {
				all = append(all, span{from: from, to: to, n: cmp.Or(max(x.n, y.n), 1)})
			}
		}
	}
	return apart(all)
}
