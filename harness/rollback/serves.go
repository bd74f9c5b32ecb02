package rollback

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"backout/harness/service"
)

// serves waits until every instance, asked alone, is ready and says that it is the release.
func serves(ctx context.Context, r *Runner, _ *service.Plan, c service.Check, w World) error {
	client := &http.Client{
		Timeout:       2 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: r.dial()}, // a new connection each time, and no proxy of the machine's
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		instances := w.Instances()
		if len(instances) == 0 {
			return foundf("expected instances of %s, found none", r.Service.Name)
		}
		seen := make([]string, len(instances))
		var all sync.WaitGroup
		for i, instance := range instances {
			all.Go(func() { seen[i] = asks(ctx, client, r.Service, instance, c.Serves) })
		}
		all.Wait()
		var wrong []string
		for i, s := range seen {
			if s != "" {
				wrong = append(wrong, instances[i].Name+" "+s)
			}
		}
		if len(wrong) > 0 {
			return foundf("expected %d instances that serve %s, found: %s", len(instances), c.Serves, strings.Join(wrong, ", "))
		}
		return nil
	})
}

// asks says what is wrong with an instance; empty: it is ready and serves the release.
func asks(ctx context.Context, client *http.Client, s *service.Service, instance service.Instance, release string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, instance.URL+s.Ready, nil)
	if err != nil {
		return err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Sprintf("does not answer (%v)", err)
	}
	response.Body.Close() // only its head is of interest
	is := response.Header.Get(s.Header)
	switch {
	case is == "":
		return fmt.Sprintf("does not say in %s what it serves", s.Header)
	case is != release:
		return "serves " + is
	case response.StatusCode < 200 || response.StatusCode > 299:
		return fmt.Sprintf("is not ready (%s)", response.Status)
	}
	return ""
}
