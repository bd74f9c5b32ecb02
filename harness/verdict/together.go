package verdict

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// others are the instances of a dependant that is rolled back together with the drilled service, by the name of their readings.
func (f *Facts) others(t evidence.Together) (keys []string) {
	for _, key := range f.instances.names {
		if strings.HasPrefix(key, t.Service+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// otherPart is what an instance of such a dependant is.
func (f *Facts) otherPart(t evidence.Together, key string, now tick) part {
	_, name, _ := strings.Cut(key, "/")
	p := part{name: name, instance: true, other: true}
	follow(&p, f.instances.of(key), now, f.beat(), func(i instance, _ tick) (string, answer) {
		release := f.names.is(i.release)
		switch {
		case !i.up:
			return name + " is down", no
		case release == "":
			return name + " does not say its release", unknown
		case release != t.Target:
			return name + " serves " + release, no
		case !i.ready:
			return name + " is not ready", no
		}
		return "", yes
	})
	f.blind(&p)
	return p
}

// servicesServe: of every service that was deployed together with the release every instance serves the release of before, when
// watching ends and since service was restored.
func servicesServe(j *judging) result {
	r := result{state: Kept}
	var bad, open, good []string
	after := j.end
	if j.whole == yes {
		after = j.restoredAt
	}
	for _, t := range j.run.Together {
		keys := j.f.others(t)
		if len(keys) == 0 {
			open = append(open, "no instance of "+t.Service+" was ever seen")
		}
		for _, key := range keys {
			p := j.f.otherPart(t, key, forever)
			switch is, s := p.holds(min(after, j.end-1), j.end); is {
			case no:
				bad = append(bad, s.text+", not "+t.Target)
				r.evidence = append(r.evidence, s.n)
			case unknown:
				open = append(open, s.text)
				r.evidence = append(r.evidence, s.n)
			default:
				r.evidence = append(r.evidence, p.shown)
			}
		}
		good = append(good, fmt.Sprintf("%s of %s %s %s", count(int64(len(keys)), "instance", "instances"), t.Service, either(len(keys) == 1, "serves", "serve"), t.Target))
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, list(bad, 3), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, list(open, 3), open
	case !j.watched:
		r.state, r.finding = Unjudged, "the rollback was not watched to its end"
	default:
		r.finding = strings.Join(good, ", ")
	}
	return r
}

// reached says which of these services did not get their release on every instance, until an instant.
func (j *judging) othersReached(begun, until tick) (missing []string) {
	for _, t := range j.run.Together {
		got, all := 0, j.f.others(t)
		for _, key := range all {
			for _, x := range j.f.instances.of(key) {
				if x.t >= begun && x.t <= until && j.f.names.is(x.v.release) == t.Release {
					got++
					break
				}
			}
		}
		if got < len(all) || len(all) == 0 {
			missing = append(missing, fmt.Sprintf("%d of %s served %s", got, count(int64(len(all)), "instance of ", "instances of ")+t.Service, t.Release))
		}
	}
	return missing
}
