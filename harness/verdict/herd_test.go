package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

const herdBegun, herdEnded, herdQuiet = 41.0, 42.0, 52.0

// herd moves the end of watching before that of the drill's traffic, and has 40 journeys a second go on and three times as
// many come in addition for a second. how, which may be nil, changes one of theirs.
func herd(how func(i int, j *evidence.Journey)) change {
	return func(l *log) {
		l.run.Herd = &evidence.Herd{Times: 3, Seconds: 1}
		later := func(name string, t float64) {
			l.drop(func(e *evidence.Event) bool { return e.Clock != nil && e.Clock.Name == name })
			l.at(t, &evidence.Clock{Name: name})
		}
		const by = herdQuiet - watchEnded
		l.each(func(e *evidence.Event) { // the end of the drill comes as much later
			if float64(e.T) > watchEnded {
				e.T += by
			}
		})
		later(evidence.ClockWatchEnded, herdBegun)
		later(evidence.ClockHerdBegun, herdBegun)
		later(evidence.ClockHerdEnded, herdEnded)
		later(evidence.ClockQuietBegun, herdQuiet)
		come := func(i int, at float64) {
			j := &evidence.Journey{Name: []string{"browse", "checkout"}[i%2], At: evidence.Offset(at), MS: 5, Outcome: evidence.OK, Served: []evidence.Serve{"shop-1@v1"}}
			if how != nil {
				how(i, j)
			}
			l.at(at+0.005, j)
		}
		for i := range 120 {
			come(i, herdBegun+float64(i)/120)
		}
		for i := range 40 * 11 {
			at := herdBegun + float64(i)/40
			come(120+i, at)
			if i%10 == 0 {
				l.at(at+0.005, &evidence.Journey{Name: "change-of-mind", At: evidence.Offset(at), MS: 5, Outcome: evidence.OK, Served: []evidence.Serve{"shop-1@v1"}})
				l.at(at+0.005, &evidence.Journey{Name: "invoices", Service: "billing", At: evidence.Offset(at), MS: 5, Outcome: evidence.OK, Served: []evidence.Serve{"billing-1@b1"}})
			}
		}
		for t := watchEnded + 0.1; t < watchEnded+by; t += 0.5 { // what was read meanwhile
			for i, name := range instances {
				l.at(t, &evidence.Instance{Name: name, Service: "shop", Up: true, Ready: true, Release: "v1", PID: 100 + i})
			}
			for _, name := range nodes {
				l.at(t, &evidence.Node{Name: name, Role: name, Reachable: true, Digest: "ccc", Migration: 4})
			}
			l.at(t, &evidence.Job{Name: "outbox", OK: true})
		}
	}
}

func herdCases() []checkCase {
	const pass, fails, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	turnedAway := func(from, to int) func(int, *evidence.Journey) {
		return func(i int, j *evidence.Journey) {
			if i >= from && i < to && j.Name == "browse" {
				j.Outcome, j.Status, j.Blame = evidence.Failed, 503, j.Served[0]
			}
		}
	}
	without := func(name string) change { return all(herd(nil), noClock(name)) }
	return []checkCase{
		{verdict.StaysRestored, "nobody comes back", func(*log) {}, verdict.NotApplicable, pass, "nobody comes back"},
		{verdict.StaysRestored, "they are served", herd(nil), verdict.Kept, pass, "from 41.0 s on 3 times as many clients came back for 1.0 s: "},
		{verdict.StaysRestored, "they are slow, and latency is judged elsewhere", all(alone, herd(func(i int, j *evidence.Journey) {
			if i < 120 {
				j.MS = 100
			}
		})), verdict.Kept, pass, ""},
		{verdict.StaysRestored, "some are turned away", herd(turnedAway(0, 60)), verdict.Broken, fails, "browse journeys failed"},
		{verdict.StaysRestored, "some could not be sent", herd(func(i int, j *evidence.Journey) {
			if i < 20 {
				j.Outcome, j.Served = evidence.Unsent, nil
			}
		}), verdict.Broken, fails, "browse journeys failed"},
		{verdict.StaysRestored, "service does not recover from them", herd(turnedAway(500, 540)), verdict.Broken, fails, "browse journeys failed"},
		{verdict.StaysRestored, "a replica lags while they come", all(herd(nil), node("logical", 41, 45, func(n *evidence.Node) { n.Lag = 3 })), verdict.Kept, pass, ""},
		{verdict.StaysRestored, "a replica still lags when they have been served", all(herd(nil), node("logical", 41, 60, func(n *evidence.Node) { n.Lag = 3 })), verdict.Broken, fails, "more than 1 s behind"},
		{verdict.StaysRestored, "an instance dies of them", all(herd(nil), instance("shop-2", 43, 60, func(i *evidence.Instance) { *i = evidence.Instance{Name: i.Name, Service: i.Service} })), verdict.Broken, fails, "shop-2 is down"},
		{verdict.StaysRestored, "fewer came than were to", all(herd(nil), func(l *log) {
			l.drop(func(e *evidence.Event) bool { return isJourney(e, "browse", herdBegun, herdEnded) })
		}), verdict.Unjudged, open, "scheduled journeys arrived"},
		{verdict.StaysRestored, "they never came", without(evidence.ClockHerdBegun), verdict.Unjudged, open, "nobody came back, because service was not seen restored"},
		{verdict.StaysRestored, "nobody watched", without(evidence.ClockHerdEnded), verdict.Unjudged, open, "not watched until all"},
	}
}
