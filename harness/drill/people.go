package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
	"backout/harness/verdict"
)

// HandoffFile is the checklist that is handed over, in a run's directory.
const HandoffFile = "handoff.md"

// tellPeople tells people of the drill from now on until it is over, and compares then what stubs got with the transcript.
func (d *Drill) tellPeople() (err error) {
	s := d.spec.Service
	for i, t := range d.ways {
		if t.Stub == "" {
			continue
		}
		if d.ways[i], err = t.ToStub(d.env.URL(s.Name+"/"+t.Stub), s.Stubs[t.Stub]); err != nil {
			return err
		}
	}
	sabotage := ""
	if x := d.spec.Plan.Sabotage; x != nil && x.Shown == "" {
		sabotage = x.What
	}
	d.people, err = rollback.Tell(rollback.Telling{
		Log: d.log, Run: d.run, Drill: true, Transcript: filepath.Join(d.dir, rollback.TranscriptFile), Transports: d.ways, Sabotage: sabotage,
		Open: func() []string { return ask(d, (*verdict.Facts).Open) },
	})
	if err != nil {
		return err
	}
	d.onExit(func(ctx context.Context) error {
		err := d.people.Close(ctx)
		for _, t := range d.ways {
			if t.Stub != "" {
				f := d.received(ctx, t)
				d.log.Put(&f)
			}
		}
		return err
	})
	return nil
}

// received asks a stub how often it got each message of the transcript.
func (d *Drill) received(ctx context.Context, t rollback.Transport) evidence.Finding {
	f := evidence.Finding{Check: evidence.CheckMessages, Of: t.Channel + " by " + t.Name, Asked: true}
	told := map[string]int{}
	for _, said := range d.people.Told() {
		if said.Channel == t.Channel {
			told[said.Text]++
			f.Checked++
		}
	}
	route, _ := d.spec.Service.Stubs[t.Stub].MessageRoute() // it was checked when the service was loaded
	for text, times := range told {
		got, err := countAt(ctx, d.env.URL(d.spec.Service.Name+"/"+t.Stub), route.Name(), text)
		if err != nil {
			f.Asked, f.Error = false, err.Error()
			return f
		}
		if got < times {
			f.Bad += int64(times - got)
			if len(f.Rows) < 20 {
				f.Rows = append(f.Rows, text)
			}
		}
	}
	return f
}

// countAt asks a stub how many requests of a route had a key.
func countAt(ctx context.Context, base, route, key string) (int, error) {
	at := base + "/-/count?" + url.Values{"route": {route}, "key": {key}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	through := &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}
	response, err := (&http.Client{Transport: through}).Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var said struct{ Count int }
	err = json.NewDecoder(response.Body).Decode(&said)
	return said.Count, err
}

// handOver hands the incident to the receiver that is named, with a checklist and its evidence, and waits for their answer.
func (d *Drill) handOver(ctx context.Context) error {
	if d.run.Communication.Receiver == "" || d.refused != nil {
		return nil
	}
	text, err := handoff(d.dir, d.log, d.run, ask(d, func(f *verdict.Facts, _ evidence.Offset) verdict.Verdict { return verdict.Judge(f) }))
	if err != nil {
		return err
	}
	done := d.phase("handoff", "handed over")
	c := d.run.Communication
	said, err := d.handle.handOver(ctx, c.Receiver, seconds(c.Accepts), text)
	if err != nil {
		return err
	}
	done("%s", said)
	return nil
}

// handoff writes the checklist into a run's folder, and says how far it is proven.
func handoff(dir string, log *evidence.Log, run *evidence.Run, judged verdict.Verdict) (text string, err error) {
	list, proven, all := checklist(judged)
	err = write(filepath.Join(dir, HandoffFile), func(w io.Writer) error {
		_, err := io.WriteString(w, log.Clean(fmt.Sprintf("# Handoff of %s to %s\n\nThe plan %q takes %s back to %s. %d of %d checks are proven. Numbers are those of events: `backout evidence` shows them.\n\n%s",
			run.Service.Name, run.Communication.Receiver, run.Plan.Name, run.Release.Name, run.Good, proven, all, list)))
		return err
	})
	return fmt.Sprintf("%d of %d checks are proven, see %s in the run's folder", proven, all, HandoffFile), err
}

// checklist is what the verdict can say by now, a line a promise; what does not apply is left out, and what is only known when
// the environment has been removed.
func checklist(v verdict.Verdict) (list string, proven, all int) {
	var b strings.Builder
	for _, p := range v.Promises {
		if p.State == verdict.NotApplicable || p.Name == verdict.HandedOver || p.Name == verdict.NothingLeft || p.Name == verdict.MessagesArrive {
			continue
		}
		all++
		tick := " "
		if p.State == verdict.Kept {
			proven++
			tick = "x"
		}
		fmt.Fprintf(&b, "- [%s] %s: %s", tick, p.Name, p.Finding)
		for i, n := range p.Evidence {
			if i == 5 {
				break
			}
			fmt.Fprintf(&b, " #%d", n)
		}
		b.WriteString("\n")
	}
	return b.String(), proven, all
}

// handOver asks the receiver, who must prove who it is, to accept, and says what became of it.
func (h *Handle) handOver(ctx context.Context, to string, within time.Duration, text string) (said string, err error) {
	h.mu.Lock()
	since := time.Now()
	q := h.newQuestion(rollback.Question{For: "the handoff to " + to, Within: within}, to, Accept, Refuse)
	h.handed = q
	h.put(&evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalHanded, For: to, Why: text, Seconds: within.Seconds()})
	h.change()
	h.tell(fmt.Sprintf("handed over to %s, at most %s: backout accept --by %s --key FILE", to, within, to))
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.handed = nil
		h.change()
	}()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		h.mu.Lock()
		answer, proof, aborted, changed := q.answer, q.proof, h.aborted, h.changed
		h.mu.Unlock()
		if answer == nil && aborted != nil {
			return "", fmt.Errorf("aborted by %s: %s", aborted.By, aborted.Why)
		}
		e := &evidence.Approval{For: to, Seconds: time.Since(since).Seconds()}
		if answer != nil {
			e.By, e.Event, e.Why, e.Proof = answer.By, evidence.ApprovalAccepted, answer.Why, proof
			if answer.Name == Refuse {
				e.Event = evidence.ApprovalDeclined
			}
			h.put(e)
			return strings.TrimSuffix(fmt.Sprintf("%s by %s: %s", e.Event, e.By, e.Why), ": "), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-limit.C:
			h.mu.Lock()
			late := q.answer != nil
			h.mu.Unlock()
			if late { // in the last instant
				continue
			}
			e.By, e.Event, e.Seconds = evidence.Harness, evidence.ApprovalLapsed, within.Seconds()
			h.put(e)
			return fmt.Sprintf("%s did not answer within %s", to, within), nil
		}
	}
}

// people are lines of the drill plan about whom to tell.
func people(c *evidence.Communication) []string {
	shortened := func(stated float64) string {
		if c.Shortened <= 1 {
			return seconds(stated).String()
		}
		return fmt.Sprintf("%s, shortened to %.1f s in this drill", seconds(stated), stated/c.Shortened)
	}
	ways := "nobody: the transcript alone"
	for i, t := range c.Transports {
		if i == 0 {
			ways = ""
		} else {
			ways += ", "
		}
		ways += t.Channel + " by " + t.Name
	}
	lines := []string{
		fmt.Sprintf("tells %s; the first notice %s, within %s", ways, c.TellFirst, seconds(c.FirstNotice)),
		fmt.Sprintf("updates every %s; the all-clear %s, stable for %s", shortened(c.Updates), c.AllClear, shortened(c.Stable)),
	}
	if c.Receiver != "" {
		lines = append(lines, fmt.Sprintf("hands the incident over to %s, who proves who that is and accepts or refuses within %s: backout accept", c.Receiver, seconds(c.Accepts)))
	}
	return lines
}
