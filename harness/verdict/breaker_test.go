package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// breaker has the drill promise something of it; trips is when it did, 0: it did not.
func breaker(check string, within, trips float64) change {
	return func(l *log) {
		l.run.Promises = append(l.run.Promises, evidence.Promise{Check: check, Text: check, Within: within})
		l.at(15.9, &evidence.Breaker{Event: evidence.BreakerArmed, Samples: 240})
		if trips > 0 {
			l.at(trips, &evidence.Breaker{Event: evidence.BreakerTripped, Rule: "errors", Of: "checkout", Samples: 60, Failures: 24, Value: 0.4,
				Baseline: 0.004, Threshold: 0.02, Near: 1.2})
		}
		l.at(45.5, &evidence.Breaker{Event: evidence.BreakerEnded, Rule: "errors", Of: "checkout", Samples: 1800, Near: 0.25})
	}
}

func breakerCases() []checkCase {
	without := func(event string) change {
		return func(l *log) {
			l.drop(func(e *evidence.Event) bool { return e.Breaker != nil && e.Breaker.Event == event })
		}
	}
	unseen := func(l *log) {
		l.each(func(e *evidence.Event) {
			if e.Breaker != nil && e.Breaker.Event == evidence.BreakerEnded {
				e.Breaker.Samples = 0
			}
		})
	}
	return []checkCase{
		{verdict.BreakerTrips, "nobody promises it", func(*log) {}, verdict.NotApplicable, verdict.Pass, "promises nothing of the kind"},
		{verdict.BreakerTrips, "in time", breaker(verdict.BreakerTrips, 10, 19), verdict.Kept, verdict.Pass, "after the first bad answer: 24 of 60 checkout failed, against 0.4 % in the baseline and 2 % that trip it"},
		{verdict.BreakerTrips, "too late", breaker(verdict.BreakerTrips, 1, 21), verdict.Broken, verdict.Fail, "promised: "},
		{verdict.BreakerTrips, "never", breaker(verdict.BreakerTrips, 10, 0), verdict.Broken, verdict.Fail, "it did not trip; the nearest that anything came to tripping it is 25 % of the way"},
		{verdict.BreakerTrips, "before the release", breaker(verdict.BreakerTrips, 10, 15.95), verdict.Broken, verdict.Fail, "before the release was deployed"},
		{verdict.BreakerTrips, "before anything failed", breaker(verdict.BreakerTrips, 10, 16.2), verdict.Broken, verdict.Fail, "nothing had failed for which v2 is to blame"},
		{verdict.BreakerTrips, "it did not know the baseline", all(breaker(verdict.BreakerTrips, 10, 19), without(evidence.BreakerArmed)), verdict.Unjudged, verdict.Inconclusive, "did not know the baseline"},

		{verdict.BreakerQuiet, "nobody promises it", func(*log) {}, verdict.NotApplicable, verdict.Pass, "promises nothing of the kind"},
		{verdict.BreakerQuiet, "it did", breaker(verdict.BreakerQuiet, 0, 0), verdict.Kept, verdict.Pass, "it looked at 1,800 answers"},
		{verdict.BreakerQuiet, "it tripped", breaker(verdict.BreakerQuiet, 0, 19), verdict.Broken, verdict.Fail, "it tripped at 19.0 s"},
		{verdict.BreakerQuiet, "it was not there", all(breaker(verdict.BreakerQuiet, 0, 0), without(evidence.BreakerArmed)), verdict.Unjudged, verdict.Inconclusive, "not watched to the end"},
		{verdict.BreakerQuiet, "it ended early", all(breaker(verdict.BreakerQuiet, 0, 0), without(evidence.BreakerEnded)), verdict.Unjudged, verdict.Inconclusive, "not watched to the end"},
		{verdict.BreakerQuiet, "it saw nothing", all(breaker(verdict.BreakerQuiet, 0, 0), unseen), verdict.Unjudged, verdict.Inconclusive, "looked at no answer"},
	}
}
