package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"backout/harness/service"
)

func TestAStubAnswersAsItIsToldAndCounts(t *testing.T) {
	b, err := ServeStub(service.Stub{Routes: []service.Route{
		{Method: "POST", Path: "/charges", Status: 201, Body: map[string]any{"ok": true}, Key: "$.order"},
		{Method: "PUT", Path: "/mails/{key}", Status: 204, Latency: 20 * time.Millisecond},
		{Method: "GET", Path: "/rates/{currency}", Status: 200, Body: 1.5, Key: "X-Order"},
	}}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, b.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Order", "o-3")
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, strings.TrimSpace(string(text))
	}
	begun := time.Now()
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"POST", "/charges", `{"order": "o-1"}`, 201, `{"ok":true}`},
		{"POST", "/charges", `{"order": "o-1"}`, 201, `{"ok":true}`},
		{"PUT", "/mails/o%2F2", "", 204, ""},
		{"GET", "/rates/eur", "", 200, "1.5"},
		{"POST", "/refunds", "", 501, "the stub has no route for POST /refunds"},
		{"GET", "/charges", "", 501, "the stub has no route for GET /charges"},
		{"PUT", "/mails/", "", 501, "the stub has no route for PUT /mails/"},
		{"GET", "/-/count?route=POST+/charges&key=o-1", "", 200, `{"count":2}`},
		{"GET", "/-/count?route=POST+/charges&key=o-2", "", 200, `{"count":0}`},
		{"GET", "/-/count?route=PUT+/mails/%7Bkey%7D&key=o/2", "", 200, `{"count":1}`},
		{"GET", "/-/count?route=GET+/rates/%7Bcurrency%7D&key=o-3", "", 200, `{"count":1}`},
		{"GET", "/-/unmatched", "", 200, `{"answered":4,"count":3,"requests":["POST /refunds","GET /charges","PUT /mails/"]}`},
	} {
		if status, answer := ask(c.method, c.path, c.body); status != c.status || answer != c.answer {
			t.Errorf("%s %s: expected %d %q, found %d %q", c.method, c.path, c.status, c.answer, status, answer)
		}
	}
	if took := time.Since(begun); took < 20*time.Millisecond {
		t.Errorf("the latency was not kept: %s", took)
	}
}
