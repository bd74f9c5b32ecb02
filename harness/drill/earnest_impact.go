package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"backout/harness/rollback"
)

// Impact implements rollback.World. In earnest nobody watches the service, so each instance that the operator named is asked which
// release it runs: those on the release that is rolled back are to be touched, and those that have changed since were. Nothing is
// known of the users' answers, so a ceiling of traffic asks a person.
func (e *Earnest) Impact(ctx context.Context, from string, begun bool) (rollback.Impact, error) {
	var out rollback.Impact
	if len(e.At) == 0 {
		return out, errors.New("expected the instances, found none: --instance NAME=URL for each of them")
	}
	if c := e.Plan.Ceiling; c != nil && c.Traffic > 0 {
		return out, errors.New("in earnest the users' answers are not observed, so nobody knows their share")
	}
	now := map[string]string{}
	for _, i := range e.At {
		release, err := e.runs(ctx, i.URL)
		if err != nil && !begun {
			return out, fmt.Errorf("ask %s which release it runs: %w", i.Name, err)
		}
		now[i.Name] = release // one that does not answer any more was touched
	}
	if !begun {
		e.ran = now
	}
	for _, i := range e.At {
		if !begun && now[i.Name] == from || begun && now[i.Name] != e.ran[i.Name] {
			out.Instances = append(out.Instances, i.Name)
		}
	}
	return out, nil
}

// runs asks an instance which release it runs.
func (e *Earnest) runs(ctx context.Context, url string) (string, error) {
	s := e.Plan.Release.Service
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+s.Ready, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	answer.Body.Close()
	return answer.Header.Get(s.Header), nil
}
