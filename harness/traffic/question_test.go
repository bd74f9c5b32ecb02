package traffic

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/service"
)

// TestAuditOverHTTP looks writes up at a service that has no database.
func TestAuditOverHTTP(t *testing.T) {
	const whole = `{"text": "hello", "size": 3.0, "done": false, "tags": {"b": 1, "a": [2]}}`
	found := map[string]string{"kept": whole, "alone": "[" + whole + "]", "changed": `{"text": "hullo", "size": 3, "done": false, "tags": {"a": [2], "b": 1}}`,
		"lacking": `{"size": 3, "done": false, "tags": {"a": [2], "b": 1}}`, "twice": "[" + whole + "," + whole + "]", "a b/c": whole}
	keys := `["kept", "alone", "changed", "lacking", "twice", "a b/c", "nobody's", 7]`
	broken := ""
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, "/notes/")
		body, is := found[key]
		switch {
		case key == "keys":
			body = keys
		case key == broken:
			http.Error(w, "the disk is full", http.StatusInternalServerError)
			return
		case !is:
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	defer at.Close()
	s := &service.Service{Name: "notes", Journeys: []service.Journey{{Name: "write", Weight: 1, Steps: []service.Request{
		{Method: "PUT", Path: "/notes/{uuid}", Body: map[string]any{}, Expect: 201, Write: &service.Write{Key: "{uuid}", Find: "GET /notes/{key}", All: "GET /notes/keys",
			Payload: map[string]any{"text": "hello", "size": 3, "done": false, "tags": map[string]any{"a": []any{2}, "b": 1}}}}}}}}
	p, err := newProgram(s, false)
	if err != nil {
		t.Fatal(err)
	}
	l := &Ledger{own: map[string]struct{}{}}
	for _, key := range []string{"kept", "alone", "changed", "lacking", "twice", "gone", "a b/c"} {
		l.settle(l.invoke(p.journeys[0].steps[0].write, key, nil), acknowledged, nil)
	}
	audit := func() (fates []string, findings map[string]*evidence.Finding) {
		log := newLog(t)
		if err := l.Audit(t.Context(), log.Log, nil, []Target{{Service: s, URL: at.URL}}); err != nil {
			t.Fatal(err)
		}
		findings = map[string]*evidence.Finding{}
		for _, e := range log.all(t) {
			if w := e.Write; w != nil {
				for _, key := range append(w.Keys, w.Key) {
					if key != "" {
						fates = append(fates, strings.TrimSpace(key+": "+w.Fate+" "+strings.Join(w.Fields, "; ")))
					}
				}
			}
			if f := e.Finding; f != nil {
				findings[f.Check] = f
			}
		}
		slices.Sort(fates)
		return fates, findings
	}
	fates, findings := audit()
	want := []string{"7: phantom", "a b/c: kept", "alone: kept", "changed: transformed text: sent hello, found hullo", "gone: lost", "kept: kept",
		"lacking: transformed text: sent hello, found NULL", "nobody's: phantom", "twice: duplicated"}
	if !slices.Equal(fates, want) {
		t.Errorf("fates: found\n%s\nexpected\n%s", strings.Join(fates, "\n"), strings.Join(want, "\n"))
	}
	if f := findings[evidence.CheckLedger]; !f.Asked || f.Checked != 7 || f.Bad != 4 {
		t.Errorf("ledger: %+v", f)
	}
	if f := findings[evidence.CheckPhantoms]; !f.Asked || f.Checked != 8 || f.Bad != 2 {
		t.Errorf("phantoms: %+v", f)
	}

	// What is no answer is not taken for one.
	broken = "kept"
	for _, all := range []string{`{"keys": []}`, `[{"key": 1}]`, `no JSON`} {
		keys = all
		_, findings := audit()
		if f := findings[evidence.CheckLedger]; f.Asked || !strings.Contains(f.Error, "GET /notes/kept: expected 404, or 200 with an object or a list of objects, found 500") {
			t.Errorf("ledger: %+v", f)
		}
		if f := findings[evidence.CheckPhantoms]; f.Asked || !strings.Contains(f.Error, "GET /notes/keys: expected") {
			t.Errorf("phantoms of %.20s: %+v", all, f)
		}
	}
	broken, keys = "", `["`+strings.Repeat(`kept", "`, bodyLimit/4)+`kept"]`
	if _, findings := audit(); findings[evidence.CheckPhantoms].Checked != bodyLimit/4+1 {
		t.Errorf("a long list of keys: %+v", findings[evidence.CheckPhantoms])
	}
	for _, odd := range []string{`"text"`, `[1]`, `{`, `{"text": "` + strings.Repeat("x", bodyLimit) + `"}`} {
		found["kept"] = odd
		if _, findings := audit(); findings[evidence.CheckLedger].Asked {
			t.Errorf("%s was taken for an answer", odd)
		}
	}
}
