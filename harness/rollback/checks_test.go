package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// world answers what checks ask of a drill.
type world struct {
	instances  []service.Instance
	dependants []*service.Service
	clone      func() (map[string]string, func() error, error)
	journey    func(service, journey, url string) error
	artefact   func(release string) error
	impact     func(begun bool) (rollback.Impact, error)
}

func (w world) Instances() []service.Instance  { return w.instances }
func (w world) Dependants() []*service.Service { return w.dependants }
func (w world) Clone(context.Context) (map[string]string, func() error, error) {
	return w.clone()
}
func (w world) Journey(_ context.Context, service, journey, url string) error {
	return w.journey(service, journey, url)
}
func (w world) Impact(_ context.Context, _ string, begun bool) (rollback.Impact, error) {
	return w.impact(begun)
}
func (w world) Artefact(_ context.Context, release string) error { return w.artefact(release) }

// instance is an instance of the service that answers as it is told.
func instance(t *testing.T, name string, answer http.HandlerFunc) service.Instance {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return service.Instance{Name: name, Service: "shop", URL: s.URL}
}

func serving(release string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if release != "" {
			w.Header().Set("X-Release", release)
		}
		if r.URL.Path != "/readyz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}
}

func TestEveryInstanceServes(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	tests := []struct {
		name string
		last http.HandlerFunc // of the third instance
		err  string
	}{
		{"all do", serving("v1", 200), ""},
		{"one serves another release", serving("v2", 200), "expected 3 instances that serve v1, found: shop-3 serves v2"},
		{"one is not ready", serving("v1", 503), "shop-3 is not ready (503 Service Unavailable)"},
		{"one does not say", serving("", 200), "shop-3 does not say in X-Release what it serves"},
		{"one redirects", http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, "shop-3 does not say"},
		{"one is gone", nil, "shop-3 does not answer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, seen := runner(t)
			third := service.Instance{Name: "shop-3", URL: gone.URL}
			if test.last != nil {
				third = instance(t, "shop-3", test.last)
			}
			w := world{instances: []service.Instance{instance(t, "shop-1", serving("v1", 200)), instance(t, "shop-2", serving("v1", 200)), third}}
			within := 300 * time.Millisecond
			if test.err == "" {
				within = 30 * time.Second
			}
			err := r.After(t.Context(), &service.Plan{After: []service.Check{{Serves: "v1", Within: within}}}, w)
			answered(t, err, test.err, seen, evidence.PartAfter, evidence.StepFailed)
		})
	}
	t.Run("there are none", func(t *testing.T) {
		r, seen := runner(t)
		err := r.After(t.Context(), &service.Plan{After: []service.Check{{Serves: "v1", Within: time.Millisecond}}}, world{})
		answered(t, err, "expected instances of shop, found none", seen, evidence.PartAfter, evidence.StepFailed)
	})
	t.Run("one comes late", func(t *testing.T) {
		r, seen := runner(t)
		var asked atomic.Int32
		w := world{instances: []service.Instance{instance(t, "shop-1", func(w http.ResponseWriter, r *http.Request) {
			release := "v2"
			if asked.Add(1) > 2 {
				release = "v1"
			}
			serving(release, 200)(w, r)
		})}}
		err := r.After(t.Context(), &service.Plan{After: []service.Check{{Serves: "v1", Within: 30 * time.Second}}}, w)
		answered(t, err, "", seen, evidence.PartAfter, evidence.StepFailed)
	})
}

// answered checks an error and that it is in evidence as it was returned.
func answered(t *testing.T, err error, expected string, seen *events, part, outcome string) {
	t.Helper()
	if (err == nil) != (expected == "") || err != nil && !strings.Contains(err.Error(), expected) {
		t.Errorf("expected %q, found %v", expected, err)
	}
	first, last := seen.only(t, "started"), seen.only(t, "ended")
	if len(first) != len(last) || len(last) == 0 || last[0].Part != part {
		t.Fatalf("expected as many started as ended, found %+v", seen.all)
	}
	if expected == "" {
		outcome = evidence.StepOK
	}
	if last[0].Outcome != outcome || !strings.Contains(last[0].Error, expected) {
		t.Errorf("expected %s, %q in evidence, found %+v", outcome, expected, last)
	}
}

func TestEveryValidationIsAsked(t *testing.T) {
	r, seen := runner(t)
	var mu sync.Mutex
	asked := map[string]int{}
	w := world{journey: func(service, journey, url string) error {
		mu.Lock()
		defer mu.Unlock()
		asked[service+" "+journey+" "+url]++
		if journey == "browse" || asked["shop checkout "] == 3 {
			return nil
		}
		return errors.New("request 2 got status 500")
	}}
	err := r.After(t.Context(), &service.Plan{After: []service.Check{
		{Journey: "orders", Within: 10 * time.Millisecond},
		{Journey: "browse", Within: 30 * time.Second},
		{Journey: "checkout", Within: 30 * time.Second},
	}}, w)
	if err == nil || err.Error() != "the journey orders succeeds: expected orders to succeed, found: request 2 got status 500" {
		t.Errorf("expected orders alone not to succeed, found %v", err)
	}
	var outcomes []string
	for _, s := range seen.only(t, "ended") {
		outcomes = append(outcomes, s.Outcome)
	}
	if fmt.Sprint(outcomes) != "[failed ok ok]" {
		t.Errorf("found %v", outcomes)
	}
}

func TestDependantsAreCompatible(t *testing.T) {
	billing := &service.Service{Name: "billing", Journeys: []service.Journey{{Name: "invoices"}, {Name: "charges"}}}
	var asked []string
	closed := 0
	good := world{
		dependants: []*service.Service{billing},
		clone: func() (map[string]string, func() error, error) {
			return map[string]string{"billing": "http://clone"}, func() error { closed++; return nil }, nil
		},
		journey: func(service, journey, url string) error {
			asked = append(asked, service+" "+journey+" "+url)
			return nil
		},
	}
	tests := []struct {
		name    string
		change  func(*world)
		err     string
		outcome string
		unread  bool
	}{
		{"they are", func(*world) {}, "", "", false},
		{"one fails on its second run", func(w *world) {
			w.journey = func(_, journey, _ string) error {
				if asked = append(asked, journey); len(asked) == 5 {
					return errors.New("request 1 got status 500")
				}
				return nil
			}
		}, "charges of billing against a clone at the target's schema, try 2 of 3: request 1 got status 500", evidence.StepRefused, false},
		{"there is no clone", func(w *world) {
			w.clone = func() (map[string]string, func() error, error) { return nil, nil, errors.New("no space left") }
		}, "could not be checked: start a clone: no space left", evidence.StepFailed, true},
		{"it is not in the clone", func(w *world) {
			w.clone = func() (map[string]string, func() error, error) { return nil, func() error { return nil }, nil }
		}, "could not be checked: expected billing in the clone, found none", evidence.StepFailed, true},
		{"there are none", func(w *world) { w.dependants = nil }, "could not be checked: expected dependants, found none", evidence.StepFailed, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			asked, closed = nil, 0
			r, seen := runner(t)
			w := good
			test.change(&w)
			err := r.Before(t.Context(), &service.Plan{Before: []service.Check{{Dependants: "compatible"}}}, w)
			answered(t, err, test.err, seen, evidence.PartBefore, test.outcome)
			var refused *rollback.Refused
			if err != nil && (!errors.As(err, &refused) || refused.Kind != "dependants" || (refused.Err != nil) != test.unread) {
				t.Errorf("expected a refusal, unread: %v, found %#v", test.unread, err)
			}
			if err == nil && (len(asked) != 6 || asked[0] != "billing invoices http://clone" || closed != 1) {
				t.Errorf("expected each journey three times against the clone and its end, found %v, %d", asked, closed)
			}
		})
	}
}

func TestPreChecksRunSideBySideAndTheFirstIsNamed(t *testing.T) {
	r, seen := runner(t)
	r.Log.Hide("hidden-word")
	both := make(chan struct{})
	var asked atomic.Int32
	w := world{artefact: func(release string) error {
		if asked.Add(1) == 2 {
			close(both)
		}
		<-both // each waits for the other
		return fmt.Errorf("%s is not there, hidden-word", release)
	}}
	err := r.Before(t.Context(), &service.Plan{Before: []service.Check{{Artefact: "v1"}, {Artefact: "v0"}}}, w)
	var refused *rollback.Refused
	if !errors.As(err, &refused) || refused.Check != "the artefact of v1 is present" || refused.Why != "v1 is not there, [secret]" || refused.Err != nil {
		t.Errorf("expected the first check to be named, found %#v", err)
	}
	if last := seen.only(t, "ended"); len(last) != 2 {
		t.Errorf("expected both in evidence, found %+v", last)
	}
}

func TestAPlanThatAsksForWhatIsNotHandedOutDoesNotBegin(t *testing.T) {
	r, seen := runner(t)
	err := r.Before(t.Context(), &service.Plan{Path: "rollback.yaml", Env: map[string]string{"X": "DATABASE_URL_LOGICAL"}, Before: []service.Check{{Artefact: "v1"}}}, world{})
	if err == nil || errors.As(err, new(*rollback.Refused)) || !strings.Contains(err.Error(), `found "DATABASE_URL_LOGICAL"`) || len(seen.all) != 0 {
		t.Errorf("expected an error that is no refusal, found %v", err)
	}
}
