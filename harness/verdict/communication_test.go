package verdict_test

import (
	"backout/harness/evidence"
	"backout/harness/verdict"
)

// tell has people told as they should be; how, which may be nil, changes each message before it is written. One that it turns
// into nil is not told. Every interval but the first notice's is 60 times shorter: updates every 5 s, stable for 10 s.
func tell(check string, within float64, how func(m *evidence.Message, t float64) (*evidence.Message, float64)) change {
	return func(l *log) {
		l.run.Communication = &evidence.Communication{FirstNotice: 300, Updates: 300, Stable: 600, Shortened: 60,
			TellFirst: "at once", AllClear: "when nothing is open"}
		l.run.Promises = append(l.run.Promises, evidence.Promise{Check: check, Within: within})
		for _, m := range []struct {
			t    float64
			kind string
		}{{22.1, evidence.TellsFirst}, {26, evidence.TellsMilestone}, {30.5, evidence.TellsMilestone}, {34, evidence.TellsUpdate},
			{38.5, evidence.TellsUpdate}, {43, evidence.TellsUpdate}, {45.5, evidence.TellsAllClear}} {
			e, t := &evidence.Message{Channel: "stakeholders", Kind: m.kind, Text: m.kind}, m.t
			if how != nil {
				e, t = how(e, t)
			}
			if e != nil {
				l.at(t, e)
			}
		}
	}
}

// untold leaves out the messages of a kind.
func untold(kind string) func(*evidence.Message, float64) (*evidence.Message, float64) {
	return func(m *evidence.Message, t float64) (*evidence.Message, float64) {
		if m.Kind == kind {
			return nil, 0
		}
		return m, t
	}
}

// when tells the messages of a kind at another time.
func when(kind string, at float64) func(*evidence.Message, float64) (*evidence.Message, float64) {
	return func(m *evidence.Message, t float64) (*evidence.Message, float64) {
		if m.Kind == kind {
			t = at
		}
		return m, t
	}
}

// sent gives the channel a transport, and each message what became of it; how changes that.
func sent(compared bool, how func(d *evidence.Message)) change {
	return func(l *log) {
		l.run.Communication.Transports = []evidence.Transport{{Channel: "stakeholders", Name: "chat", Compared: compared}}
		for i, e := range l.ordered() { // numbers stay what they are: what follows comes last
			if e.Message == nil || e.Message.Event != "" {
				continue
			}
			d := &evidence.Message{Channel: "stakeholders", Event: evidence.MessageDelivered, Of: int64(i + 1), Transport: "chat", Tries: 1, Seconds: 0.2}
			if how != nil {
				how(d)
			}
			l.at(end-0.1, d)
		}
	}
}

func communicationCases() []checkCase {
	const pass, fails, open = verdict.Pass, verdict.Fail, verdict.Inconclusive
	first, updates, clear, arrive := verdict.FirstNotice, verdict.UpdatesInTime, verdict.NoEarlyAllClear, verdict.MessagesArrive
	older := func(check string) change {
		return run(func(r *evidence.Run) { r.Promises = append(r.Promises, evidence.Promise{Check: check}) })
	}
	alert := func(l *log) {
		l.at(19, &evidence.Alert{Metric: "errors", Event: "raised"})
	}
	compared := func(asked bool, bad int64) change {
		return func(l *log) {
			l.at(destroyed+0.2, &evidence.Finding{Check: evidence.CheckMessages, Of: "stakeholders by chat", Asked: asked, Checked: 7, Bad: bad})
		}
	}
	handed := func(event, by, why, proof string) change {
		return func(l *log) {
			l.run.Communication = &evidence.Communication{Receiver: "ada", Accepts: 60}
			if event == "" {
				return
			}
			l.at(45.6, &evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalHanded, For: "ada"})
			if event != evidence.ApprovalHanded {
				l.at(45.8, &evidence.Approval{By: by, Event: event, For: "ada", Why: why, Proof: proof})
			}
		}
	}
	return []checkCase{
		{first, "nobody promises it", func(*log) {}, verdict.NotApplicable, pass, "the drill promises nothing of the kind"},
		{first, "an older run told nobody", older(first), verdict.Unjudged, open, "the log does not say whom to tell"},
		{first, "in time", tell(first, 5, nil), verdict.Kept, pass, "the first notice was out"},
		{first, "the service's own limit", tell(first, 0, when(evidence.TellsFirst, 30)), verdict.Kept, pass, "the first notice was out"},
		{first, "too late", tell(first, 5, when(evidence.TellsFirst, 30)), verdict.Broken, fails, "at most 5.0 s allowed"},
		{first, "counted from the alert", all(alert, tell(first, 3, nil)), verdict.Broken, fails, "it was known at 1"},
		{first, "never", tell(first, 5, untold(evidence.TellsFirst)), verdict.Broken, fails, "no first notice went out until 47.0 s"},
		{first, "never, and it was not due yet", tell(first, 60, untold(evidence.TellsFirst)), verdict.Unjudged, open, "the run ended before the first notice was due"},
		{first, "it was told and arrived too late", all(tell(first, 5, nil), sent(false, nil)), verdict.Broken, fails, "at most 5.0 s allowed"},
		{first, "it was told and reached nobody", all(tell(first, 60, nil), sent(false, func(d *evidence.Message) {
			d.Event, d.Error = evidence.MessageGivenUp, "410 Gone"
		})), verdict.Broken, fails, "reached nobody: 410 Gone"},

		{updates, "nobody promises it", func(*log) {}, verdict.NotApplicable, pass, "the drill promises nothing of the kind"},
		{updates, "an older run told nobody", older(updates), verdict.Unjudged, open, "the log does not say whom to tell"},
		{updates, "in time", tell(updates, 300, nil), verdict.Kept, pass, "7 messages went to stakeholders, and the longest wait was 4.5 s; at most 5 min allowed, shortened to 5.0 s"},
		{updates, "the interval that the service states", tell(updates, 0, nil), verdict.Kept, pass, "at most 5 min allowed"},
		{updates, "one is missing", tell(updates, 300, when(evidence.TellsUpdate, 45)), verdict.Broken, fails, "the longest wait was 14.5 s; at most 5 min allowed, shortened to 5.0 s"},
		{updates, "nobody hears anything", tell(updates, 300, func(*evidence.Message, float64) (*evidence.Message, float64) { return nil, 0 }), verdict.Broken, fails, "nobody was told anything until 46.0 s"},
		{updates, "silence before the end without an all-clear", tell(updates, 60, untold(evidence.TellsAllClear)), verdict.Broken, fails, "shortened to 1.0 s"},
		{updates, "as seldom as is promised", tell(updates, 900, when(evidence.TellsUpdate, 43)), verdict.Kept, pass, "shortened to 15.0 s"},

		{clear, "nobody promises it", func(*log) {}, verdict.NotApplicable, pass, "the drill promises nothing of the kind"},
		{clear, "an older run told nobody", older(clear), verdict.Unjudged, open, "the log does not say whom to tell"},
		{clear, "when nothing is open", tell(clear, 0, nil), verdict.Kept, pass, "the all-clear was given at 45.5 s, when service had been restored for 15.0 s and nothing was open"},
		{clear, "none is given", tell(clear, 0, untold(evidence.TellsAllClear)), verdict.Kept, pass, "no all-clear was given"},
		{clear, "with the last command", tell(clear, 0, when(evidence.TellsAllClear, returned)), verdict.Broken, fails, "service was restored 0.5 s later"},
		{clear, "before it was stable", tell(clear, 0, when(evidence.TellsAllClear, 36)), verdict.Broken, fails, "service had been restored for 5.5 s, and not for 10.0 s"},
		{clear, "a replica lags", all(tell(clear, 0, nil), node("logical", 44, 60, func(n *evidence.Node) { n.Lag = 3 })), verdict.Broken, fails, "the logical replica is more than 1 s behind"},
		{clear, "stale entries are left in the cache", all(tell(clear, 0, nil), run(func(r *evidence.Run) { r.Service.Caches = []string{"products"} }), func(l *log) {
			for t := 0.4; t < destroyed; t += 0.5 {
				l.at(t, &evidence.Cache{Name: "products", Stale: 3, OK: true})
			}
		}), verdict.Broken, fails, "products"},
		{clear, "jobs failed", all(tell(clear, 0, nil), func(l *log) { f := l.finding(evidence.CheckJobs, "outbox"); f.Bad = 2 }), verdict.Broken, fails, "2 open or failed jobs of outbox"},
		{clear, "sessions are refused", all(tell(clear, 0, nil), func(l *log) { f := l.finding(evidence.CheckSessions, "token"); f.Bad = 4 }), verdict.Broken, fails, "4 refused sessions of token"},
		{clear, "service was never restored", all(tell(clear, 0, nil), instance("shop-3", 28, end, func(i *evidence.Instance) { i.Release = "v2" })), verdict.Broken, fails, "shop-3 serves v2"},

		{arrive, "nobody promises it", func(*log) {}, verdict.NotApplicable, pass, "the drill promises nothing of the kind"},
		{arrive, "an older run told nobody", older(arrive), verdict.Unjudged, open, "the log does not say whom to tell"},
		{arrive, "there is no transport", tell(arrive, 0, nil), verdict.Unjudged, open, "no channel has a transport"},
		{arrive, "all of it", all(tell(arrive, 0, nil), sent(false, nil)), verdict.Kept, pass, "7 messages arrived, the latest 0.2 s after it was told"},
		{arrive, "some is given up", all(tell(arrive, 0, nil), sent(false, func(d *evidence.Message) {
			d.Event, d.Error = evidence.MessageGivenUp, "410 Gone"
		})), verdict.Broken, fails, "7 of 7 messages on stakeholders by chat did not arrive: 410 Gone"},
		{arrive, "nothing is known", all(tell(arrive, 0, nil), run(func(r *evidence.Run) {
			r.Communication.Transports = []evidence.Transport{{Channel: "stakeholders", Name: "chat"}}
		})), verdict.Broken, fails, "nothing is known of them"},
		{arrive, "the receiver got it", all(tell(arrive, 0, nil), sent(true, nil), compared(true, 0)), verdict.Kept, pass, "7 messages arrived"},
		{arrive, "the receiver never got one that was taken", all(tell(arrive, 0, nil), sent(true, nil), compared(true, 1)), verdict.Broken, fails, "stakeholders by chat never got 1 of 7 messages that the transcript holds"},
		{arrive, "the receiver was not asked", all(tell(arrive, 0, nil), sent(true, nil)), verdict.Unjudged, open, "was not asked what it got"},
		{arrive, "the receiver did not answer", all(tell(arrive, 0, nil), sent(true, nil), compared(false, 0)), verdict.Unjudged, open, "was not asked what it got"},

		{verdict.HandedOver, "nobody is named", func(*log) {}, verdict.NotApplicable, pass, "nobody is named"},
		{verdict.HandedOver, "accepted", handed(evidence.ApprovalAccepted, "ada", "", evidence.ProofKey), verdict.Kept, pass, "ada accepted it at 45.8 s, proven by a key"},
		{verdict.HandedOver, "accepted by a typed name", handed(evidence.ApprovalAccepted, "ada", "", ""), verdict.Broken, fails, "by the name ada alone, which proves nothing"},
		{verdict.HandedOver, "accepted by another", handed(evidence.ApprovalAccepted, "grace", "", evidence.ProofKey), verdict.Broken, fails, "it is handed over to ada, and grace accepted it"},
		{verdict.HandedOver, "refused", handed(evidence.ApprovalDeclined, "ada", "who paid?", ""), verdict.Broken, fails, "ada refused it at 45.8 s: who paid?"},
		{verdict.HandedOver, "no answer", handed(evidence.ApprovalLapsed, evidence.Harness, "", ""), verdict.Broken, fails, "ada did not answer within 60.0 s"},
		{verdict.HandedOver, "the run ended meanwhile", handed(evidence.ApprovalHanded, "", "", ""), verdict.Unjudged, open, "ada had not answered yet"},
		{verdict.HandedOver, "the run did not come so far", handed("", "", "", ""), verdict.Unjudged, open, "the run did not come so far"},
	}
}
