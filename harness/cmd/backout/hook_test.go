package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"backout/harness/drill"
	"backout/harness/evidence"
)

// office is a system of the team's own, in which people answer what a rollback asks.
type office struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []drill.Ask
	answers []func(question []byte) string // one after the other; the last one again and again
}

func openOffice(t *testing.T, answers ...func(question []byte) string) *office {
	o := &office{answers: answers}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		var a drill.Ask
		if err != nil || json.Unmarshal(question, &a) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.asked = append(o.asked, a)
		text := ""
		if !a.Over {
			text = o.answers[0](question)
			if len(o.answers) > 1 {
				o.answers = o.answers[1:]
			}
		}
		if text == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(o.Close)
	return o
}

// Two people, the second of whom answers in a system of the team's own: what is not proven there, comes from who started it, is of
// another run or too late, lets nothing begin; what is, does.
func TestTheTeamsOwnSystemAnswers(t *testing.T) {
	w := newTap(t)
	anna, annas := keyOf(t)
	ben, bens := keyOf(t)
	eve, _ := keyOf(t)
	rewrite(t, filepath.Join(w.dir, "tap/service.yaml"), "tier: standard\n", "tier: standard\nhook: {url: OFFICE_URL}\npeople:\n  anna: {key: "+annas+"}\n  ben: {key: "+bens+"}\n")
	rewrite(t, w.plan, "before:\n", "approval: {how: manual, within: 1m, people: two}\nbefore:\n")
	// signed is an answer as a person makes it of the question that the office shows.
	signed := func(order, by, key string) func(question []byte) string {
		return func(question []byte) string {
			path := filepath.Join(t.TempDir(), "question")
			if err := os.WriteFile(path, question, 0o600); err != nil {
				t.Error(err)
			}
			out, err := w.command(order, "--by", by, "--key", key, "--asked", path).Output()
			if err != nil {
				t.Error(err)
			}
			return string(out)
		}
	}
	// ends runs the plan as anna, and tells of people in its evidence.
	ends := func(o *office) (code int, said, people string) {
		code, said = w.ends([]string{"OFFICE_URL=" + o.URL + "/T0kenOfTheOffice"}, "--by", "anna", "--key", anna)
		runs, err := filepath.Glob(filepath.Join(w.dir, "reports/*"))
		if err != nil || len(runs) != 1 {
			t.Fatalf("expected one run, found %v, %v: %s", runs, err, said)
		}
		for e, err := range evidence.Read(filepath.Join(runs[0], evidence.File)) {
			if err != nil {
				t.Fatal(err)
			}
			if a := e.Approval; a != nil {
				people += a.By + " " + a.Event + " " + a.Proof + " " + a.Why + "\n"
			}
		}
		printed, _ := w.run("evidence", runs[0])
		for _, text := range []string{said, printed} {
			if strings.Contains(text, "T0kenOfTheOffice") {
				t.Error("the office's URL is told")
			}
		}
		if err := os.RemoveAll(runs[0]); err != nil {
			t.Fatal(err)
		}
		return code, said, people
	}
	replayed := ""
	t.Run("the second person answers, after others who may not", func(t *testing.T) {
		w := w.in(t)
		o := openOffice(t, func([]byte) string { return "" }, func([]byte) string { return "yes" }, signed("approve", "ben", eve), signed("approve", "anna", anna), func(q []byte) string {
			replayed = signed("approve", "ben", ben)(q)
			return replayed
		})
		code, said, people := ends(o)
		w.expect(code, said, 0, "PASS")
		if ran := w.ran(); ran != allRan {
			t.Errorf("found %s", ran)
		}
		for _, want := range []string{"ben rejected  it does not prove that it comes from ben", "anna rejected  anna started it: a second person must approve", "ben approved key \n"} {
			if !strings.Contains(people, want) {
				t.Errorf("expected %q in\n%s", want, people)
			}
		}
		last := o.asked[len(o.asked)-1]
		if !last.Over || last.Said != "approved: the plan: no warm water" || last.Service != "tap" || last.Drill {
			t.Errorf("the last that the office got is %+v", last)
		}
	})
	rewrite(t, w.plan, "within: 1m, people", "within: 3s, people")
	for _, c := range []struct {
		name   string
		answer func(question []byte) string
		why    string // that stands in the evidence; empty: nothing more than that nobody answered
	}{
		{"an answer to an earlier run", func([]byte) string { return replayed }, "ben rejected  it answers another question"},
		{"its signature, to this question", func(q []byte) string {
			var a drill.Asked
			var o drill.Order
			if json.Unmarshal(q, &a) != nil || json.Unmarshal([]byte(replayed), &o) != nil {
				t.Error("the question or the answer cannot be read")
			}
			o.Nonce = a.Nonce
			text, err := json.Marshal(o)
			if err != nil {
				t.Error(err)
			}
			return string(text)
		}, "ben rejected  it does not prove that it comes from ben"},
		{"nobody answers", func([]byte) string { return "" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			w.again()
			o := openOffice(t, c.answer)
			code, said, people := ends(o)
			w.expect(code, said, 1, "nobody approved it within 3s")
			if ran := w.ran(); ran != "" || strings.Contains(people, "approved") || !strings.Contains(people, c.why) {
				t.Errorf("steps ran: %q, and people:\n%s", ran, people)
			}
		})
	}
	t.Run("an answer that comes too late", func(t *testing.T) {
		w := w.in(t)
		w.again()
		over := make(chan struct{})
		o := openOffice(t, func(q []byte) string {
			<-over // the one who asked has gone by then
			return signed("approve", "ben", ben)(q)
		})
		defer close(over)
		code, said, people := ends(o)
		w.expect(code, said, 1, "nobody approved it within 3s")
		if ran := w.ran(); ran != "" || strings.Contains(people, "approved") {
			t.Errorf("steps ran: %q, and people:\n%s", ran, people)
		}
	})
	rewrite(t, w.plan, "approval: {how: manual, within: 3s, people: two}\n", "communication: {handoff: {to: ben, within: 5s}}\n")
	for _, c := range []struct {
		name, order string
		code        int
		said        []string
	}{
		{"the incident is handed over, and accepted", "accept", 0, []string{"PASS", "accepted by ben", "ben accepted it at"}},
		{"it is handed over to somebody who does not answer", "", 1, []string{"FAIL", "ben did not answer within 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			w.again()
			o := openOffice(t, func(q []byte) string {
				if c.order == "" {
					return ""
				}
				return signed(c.order, "ben", ben)(q)
			})
			code, said, people := ends(o)
			w.expect(code, said, c.code, c.said...)
			if ran := w.ran(); ran != allRan {
				t.Errorf("found %s", ran)
			}
			if c.order != "" && !strings.HasSuffix(people, "backout handed over  5 of 5 checks are proven, see handoff.md in the run's folder\nben accepted key \n") {
				t.Errorf("found of people\n%s", people)
			}
		})
	}
	t.Run("a host that is not listed", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends([]string{"OFFICE_URL=https://office.example/backout"}, "--by", "anna", "--key", anna)
		w.expect(code, said, 3, `the variable OFFICE_URL leads to the host "office.example", which it does not list`)
	})
	t.Run("no word of where it is", func(t *testing.T) {
		w := w.in(t)
		code, said := w.ends(nil, "--by", "anna", "--key", anna)
		w.expect(code, said, 3, "in the variable OFFICE_URL of your environment, found none: export OFFICE_URL=URL")
	})
}
