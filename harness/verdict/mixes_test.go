package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// forbids has service.yaml forbid a mix. In the log the primary is back at its schema at 25.5 and shop-1, -2, -3 at v1 at 26, 27, 28.
func forbids(release string, with map[string]string, seconds float64) change {
	return run(func(r *evidence.Run) {
		r.Service.Forbidden = []evidence.Mix{{Release: release, With: with, For: seconds}}
	})
}

func mixCases() []checkCase {
	early := instance("shop-1", 24, 26, func(i *evidence.Instance) { i.Release = "v1" })
	unready := instance("shop-1", 24, 26, func(i *evidence.Instance) { i.Release, i.Ready = "v1", false })
	schema := map[string]string{"schema": "v2"}
	return []checkCase{
		{verdict.NoForbiddenMix, "nothing is forbidden", func(*log) {}, verdict.NotApplicable, verdict.Pass, "forbids no mix"},
		{verdict.NoForbiddenMix, "of releases that are not here", forbids("v1", map[string]string{"schema": "v9"}, 0), verdict.NotApplicable, verdict.Pass, "forbids no mix"},
		{verdict.NoForbiddenMix, "the right order", forbids("v1", schema, 0), verdict.Kept, verdict.Pass, "none served"},
		{verdict.NoForbiddenMix, "the code comes before the schema", all(forbids("v1", schema, 1), early), verdict.Broken, verdict.Fail, "v1 served with the schema of v2 for 1.6 s from 24.1 s, at most 1 s"},
		{verdict.NoForbiddenMix, "not for longer than it may", all(forbids("v1", schema, 2), early), verdict.Kept, verdict.Pass, "the longest that a forbidden mix served: v1 served with the schema of v2 for 1.6 s"},
		{verdict.NoForbiddenMix, "it is not ready", all(forbids("v1", schema, 0), unready), verdict.Kept, verdict.Pass, "none served"},
		{verdict.NoForbiddenMix, "the bad code after the schema", forbids("v2", map[string]string{"schema": "v1"}, 1), verdict.Broken, verdict.Fail, "v2 served with the schema of v1 for 2.4 s"},
		{verdict.NoForbiddenMix, "the end was not watched", all(forbids("v1", schema, 0), func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Clock != nil && e.Clock.Name == evidence.ClockWatchEnded })
		}), verdict.Unjudged, verdict.Inconclusive, "not watched to its end"},
	}
}
