package verdict

import (
	"fmt"
	"strings"
)

// cachesReadable is about the last reading of each cache in which it answered, which must not be older than the end of
// watching: no entry may be left, or have come back, that the good release cannot read.
func cachesReadable(j *judging) result {
	r := result{state: Kept}
	var bad, open, good []string
	for _, name := range sorted(j.run.Service.Caches) {
		all := j.f.caches.of(name)
		if len(all) == 0 {
			open = append(open, "the cache "+name+" was never read")
			continue
		}
		last := all[len(all)-1]
		for i := len(all) - 1; i >= 0 && !last.v.ok; i-- {
			last = all[i]
		}
		r.evidence = append(r.evidence, last.n)
		switch {
		case !last.v.ok || !j.watched || last.t < j.end-min(j.f.beat(), j.end):
			why := j.f.names.is(all[len(all)-1].v.err)
			open = append(open, strings.TrimSuffix("the cache "+name+" was not read at the end: "+why, ": "))
		case last.v.stale > 0:
			bad = append(bad, fmt.Sprintf("%s holds %s that %s cannot read%s", name,
				count(int64(last.v.stale), "entry", "entries"), j.run.Good, j.readers(name)))
		default:
			good = append(good, name)
		}
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding, r.details = Broken, list(bad, 3), bad
	case len(open) > 0:
		r.state, r.finding, r.details = Unjudged, list(open, 3), open
	default:
		r.finding = fmt.Sprintf("%s can read every entry of %s", j.run.Good, list(good, 3))
	}
	return r
}

// readers says what those who read through a cache met in the last window of watching.
func (j *judging) readers(name string) string {
	journey := j.run.Service.Readers[name]
	if j.watch == nil || journey == "" {
		return ""
	}
	w := j.watch
	for i := range w.base {
		k := &w.base[i]
		if k.service != "" || k.name != journey {
			continue
		}
		if n, bad := k.touching(max(w.decided, j.end-min(w.window, j.end)), j.end); bad > 0 {
			return fmt.Sprintf("; at the end %s of %s %s journeys, which read through it, failed", number(int64(bad)), number(int64(n)), journey)
		}
	}
	return ""
}
