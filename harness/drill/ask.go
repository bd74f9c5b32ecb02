package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// A system of the team's own may have the answers that people give elsewhere: in a chat, in a ticket. It is asked by HTTP, and never
// asks: nothing of ours listens for it.

const (
	askEvery   = time.Second
	askWithin  = 5 * time.Second
	mostAnswer = 64 << 10
)

// Ask is what is posted to the hook, again and again while something is asked, and once more when it is over. It answers with 204
// where nobody has answered yet, and else with 200 and an Order.
type Ask struct {
	Asked
	Service string `json:"service"`
	Run     string `json:"run"` // the name of its folder
	Drill   bool   `json:"drill,omitempty"`
	Said    string `json:"said,omitempty"`  // what became of the last answer, when it was taken
	Error   string `json:"error,omitempty"` // and when it was not
	Over    bool   `json:"over,omitempty"`  // nobody is waited for any more
}

// asker asks the hook of one run.
type asker struct {
	of   Ask
	at   string
	name string // of the variable that leads there
	http *http.Client
}

// newAsker reads where the service's hook is. It is nil where there is none: service.yaml names none, or in a drill its variable is
// not set. What it leads to must be this machine in a drill, and else stand in `allow`. Secret is what must be hidden.
func newAsker(s *service.Service, run string, drill bool) (a *asker, secret []string, err error) {
	if s.Hook == nil {
		return nil, nil, nil
	}
	name := s.Hook.URL
	text := os.Getenv(name)
	if text == "" && drill {
		return nil, nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, nil, fmt.Errorf("%s: hook: expected a URL, such as https://approvals.example/backout, in the variable %s of your environment, found none: export %s=URL", s.Path, name, name)
	}
	ip := net.ParseIP(u.Hostname())
	here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	unlisted, err := s.Unlisted(text)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: hook: the variable %s: %w", s.Path, name, err)
	case drill && !here:
		return nil, nil, fmt.Errorf("%s: hook: the variable %s leads to the host %q: expected this machine, since nobody is asked for a drill: unset it, or lead it to 127.0.0.1", s.Path, name, u.Hostname())
	case len(unlisted) > 0:
		return nil, nil, fmt.Errorf("%s: hook: the variable %s leads to the host %q, which it does not list: if approvals may come from there, add it to `allow`", s.Path, name, u.Hostname())
	case !here && u.Scheme != "https":
		return nil, nil, fmt.Errorf("%s: hook: the variable %s: expected https:// beyond this machine, since what comes back may hold a token, found http://", s.Path, name)
	}
	secret = []string{text}
	if password, has := u.User.Password(); has {
		secret = append(secret, password)
	}
	dial := (&net.Dialer{Timeout: askWithin}).DialContext
	if drill {
		dial = service.DialHere
	}
	return &asker{of: Ask{Service: s.Name, Run: run, Drill: drill}, at: text, name: name, http: &http.Client{
		Timeout:       askWithin,
		Transport:     &http.Transport{DialContext: dial, TLSHandshakeTimeout: askWithin, DisableKeepAlives: true}, // and no proxy, which would be another host
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },               // nor what the hook names
	}}, secret, nil
}

// asks asks the hook while something is asked, until the context is done. Whoever answers there must prove who it is, since nobody
// knows who can reach that system; an answer that was not taken is not taken again.
func (h *Handle) asks(ctx context.Context, a *asker) {
	var now Ask
	var refused []byte
	heard := true
	end := func(ctx context.Context) {
		if now.Nonce == "" {
			return
		}
		now.Over = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
		defer cancel()
		_, _ = a.post(ctx, now) // it learns by the time as well that nobody waits
		now, refused, heard = Ask{}, nil, true
	}
	for tick := time.NewTicker(askEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			end(ctx)
			return
		case <-tick.C:
		}
		asked := h.State().Asked
		if asked.Nonce != now.Nonce {
			end(ctx)
			now = a.of
			now.Asked = asked
		}
		if asked.Nonce == "" {
			continue
		}
		text, err := a.post(ctx, now)
		switch {
		case err != nil && heard && ctx.Err() == nil:
			heard = false
			h.unheard(asked, fmt.Sprintf("the hook of %s: %v", a.name, err))
		case err != nil || len(text) == 0 || bytes.Equal(text, refused):
		default:
			if now.Said, err = h.answer(text, true); err != nil {
				refused, now.Error = text, h.clean(err.Error())
			} else {
				refused, now.Error = nil, ""
			}
		}
	}
}

// post asks once. Nothing means that nobody has answered yet.
func (a *asker) post(ctx context.Context, what Ask) (answer []byte, err error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.at, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("it cannot be asked") // the error holds the URL
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request)
	if err != nil {
		if at := new(url.Error); errors.As(err, &at) {
			err = at.Err // without the URL
		}
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("expected 204, or 200 with an answer, found %s", response.Status)
	}
	answer, err = io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	if len(answer) > mostAnswer {
		return nil, fmt.Errorf("expected an answer of at most %d bytes, found more", mostAnswer)
	}
	return answer, err
}

// unheard says that the hook cannot be asked. Other ways to answer remain.
func (h *Handle) unheard(asked Asked, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	why = oneWord(h.clean(why), 500)
	if h.over {
		return
	}
	h.put(&evidence.Approval{By: evidence.Harness, Event: evidence.ApprovalUnheard, For: asked.For, Why: why})
	h.tell("cannot be asked: " + why)
}

// answerable lets people answer by files in a folder and by the hook, which may be nil, until end.
func (h *Handle) answerable(dir string, a *asker) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { h.hook(ctx, dir); done <- struct{}{} }()
	go func() {
		if a != nil {
			h.asks(ctx, a)
		}
		done <- struct{}{}
	}()
	return func() { cancel(); <-done; <-done }
}
