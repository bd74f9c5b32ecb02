package report

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// message is what was told, or what became of it, in words. The channel stands before the first colon.
func message(m *evidence.Message) (w words) {
	if m.Event == "" {
		w.add("%s: %s", m.Channel, m.Text)
		w.maybe(m.Error) // of older runs
		return w
	}
	w.add("%s by %s: #%d %s after %s", m.Channel, m.Transport, m.Of, m.Event, many(m.Tries, "try", "tries"))
	w.maybe(m.Error)
	return w
}

// message keeps what stakeholders were told and what did not get to them. Actions are on the timeline themselves, and what was
// delivered is no news.
func (b *Builder) message(e evidence.Event) {
	switch m := e.Message; {
	case m.Event == evidence.MessageDelivered:
	case m.Kind == evidence.TellsAction:
		b.m.actions++
	default:
		b.event("message", e)
		if len(b.m.tells) < maxListed {
			b.m.tells = append(b.m.tells, found[evidence.Message]{e.N, float64(e.T), *m})
		}
	}
}

func (b *Builder) handoff(e evidence.Event) {
	switch e.Approval.Event {
	case evidence.ApprovalHanded, evidence.ApprovalAccepted, evidence.ApprovalDeclined, evidence.ApprovalLapsed:
		b.m.taken = found[evidence.Approval]{e.N, float64(e.T), *e.Approval}
	}
}

// message of a running drill: what is told is told, an action was told of already.
func (l *Live) message(e evidence.Event) {
	switch m := e.Message; {
	case m.Event == evidence.MessageDelivered, m.Kind == evidence.TellsAction:
	case m.Event != "":
		l.say(e, m.Channel, describe(e), look{"is-unknown", "i-msg", ""})
	default:
		l.say(e, m.Channel, m.Text, look{"", "i-msg", ""})
	}
}

// told asks whether people heard what they must hear.
func (m *Model) told() check {
	c := check{Name: "People were told, and no all-clear came too early"}
	promised := []string{verdict.FirstNotice, verdict.UpdatesInTime, verdict.NoEarlyAllClear, verdict.MessagesArrive}
	stated := false
	for _, p := range m.Verdict.Promises {
		for _, name := range promised {
			stated = stated || p.Name == name && p.State != verdict.NotApplicable
		}
	}
	switch {
	case stated:
		c = m.judged(c.Name, promised...)
	case len(m.tells) == 0:
		c.Look, c.Seen = noneThere, "Nobody was told anything."
		return c
	default:
		c.Look = personDecides
		c.Seen = "No promise of this drill judges what they were told."
	}
	n := 0
	for _, k := range m.tells {
		if k.what.Event == "" {
			n++
			c.Evidence = append(c.Evidence, k.n)
		}
	}
	c.Seen += fmt.Sprintf(" %s went to stakeholders, and %s to the channel of status.", many(n, "message", "messages"), many(m.actions, "action", "actions"))
	return c
}

const maxTells = 60 // that the summary lists

// transcript is what stakeholders were told, as a table.
func (m *Model) transcript(b *strings.Builder) {
	if len(m.tells) == 0 {
		return
	}
	b.WriteString("\n## Who was told\n\nTo stakeholders; each action by itself is in transcript.txt too.\n\n| At | What | |\n|---:|---|---|\n")
	for i, k := range m.tells {
		if i == maxTells {
			fmt.Fprintf(b, "| | | %d more are in transcript.txt |\n", len(m.tells)-i)
			break
		}
		kind := k.what.Kind
		text := k.what.Text
		if k.what.Event != "" {
			kind, text = k.what.Event, strings.Join(message(&k.what), ", ")
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", offset(k.t), md(kind), md(text))
	}
}
