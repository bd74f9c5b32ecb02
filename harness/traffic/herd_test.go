package traffic

import (
	"context"
	"net/http"
	"testing"
	"time"

	"backout/harness/evidence"
)

// Those who come back come beside those who come anyway, at their own rate, and are in the ledger as all are.
func TestAHerdComesBesideTheTraffic(t *testing.T) {
	s, log := newSite(t), newLog(t)
	l := newTraffic(t, Config{Log: log.Log, Targets: []Target{{Service: shop(), URL: s.URL}}, Rate: 10, Users: 5, Seed: 7})
	l.Start(t.Context())
	log.journeys(t, 2, any1)
	begun := log.Now()
	if err := l.Herd(t.Context(), 100, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ended := log.Now()
	log.journeys(t, 1, func(j *evidence.Journey) bool { return j.At > ended }) // the others go on
	stop(t, l)
	during, failed, writes := 0, 0, 0
	for _, e := range log.all(t) {
		switch {
		case e.Journey != nil && e.Journey.At >= begun && e.Journey.At < begun+0.5:
			if during++; e.Journey.Outcome != evidence.OK {
				failed++
			}
		case e.Write != nil && e.Write.Event == evidence.Invoked && !e.Write.Cancels:
			writes++
		}
	}
	// 50 of the herd and 5 of the others.
	if during < 50 || during > 58 || failed > 0 {
		t.Errorf("expected 55 journeys in half a second, found %d, of which %d failed", during, failed)
	}
	if invoked, _, _, _ := l.Ledger().Count(); invoked != writes || writes < 20 {
		t.Errorf("expected %d writes in the ledger, found %d", writes, invoked)
	}
}

// More than can be waiting within the time-out of a request are not sent, and the end of the drill cuts off those that are.
func TestAHerdHasALimitOfItsOwn(t *testing.T) {
	s, log := newSite(t), newLog(t)
	s.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		slow := time.NewTimer(800 * time.Millisecond) // two requests of a journey take longer than the time-out of one
		defer slow.Stop()
		select {
		case <-slow.C:
		case <-r.Context().Done():
		}
		return false
	})
	l := newTraffic(t, Config{Log: log.Log, Targets: []Target{{Service: only("change-of-mind"), URL: s.URL}}, Rate: 1, Seed: 7, Timeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Herd(ctx, 100, time.Minute) }()
	log.journeys(t, 10, func(j *evidence.Journey) bool { return j.Outcome == evidence.Unsent })
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("expected it to say that it was cut off")
		}
	case <-time.After(20 * time.Second):
		t.Error("it did not end with its context")
	}
}

func TestHowManyOfAHerdMayBeUnderWay(t *testing.T) {
	for rate, most := range map[float64]int{1: 50, 80: 400, 100.1: 501} {
		if n := HerdInFlight(rate, 5*time.Second); n != most {
			t.Errorf("at %g a second: expected %d, found %d", rate, most, n)
		}
	}
}
