package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// newClient keeps connections alive, follows nothing and goes nowhere but where it is told.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: readTimeout, Control: service.Here}).DialContext,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// watchInstance asks one instance alone until ctx ends.
func (o *Observer) watchInstance(ctx context.Context, s *subject[service.Instance]) {
	t := o.track("instance " + s.now.Load().Name)
	defer t.end()
	var written beat[evidence.Instance]
	var use usage
	every(ctx, o.Interval, func() {
		i := s.now.Load()
		r := evidence.Instance{Name: i.Name, Service: i.Service}
		from := o.Log.Now()
		why := blind(i)
		if why == nil {
			o.askInstance(ctx, i, &r)
			why = blind(i) // the way may have been cut meanwhile: then what came back is not the instance's
		}
		if ctx.Err() != nil {
			return // the observation ended while it was asked
		}
		if why != nil {
			t.lost(from, o.clean(why.Error()))
			return
		}
		t.read()
		now := o.Log.Now()
		if i.PID != nil {
			r.PID = i.PID()
		}
		if i.Restarts != nil {
			r.Restarts = i.Restarts()
		}
		key := r
		r.CPU, r.Memory = use.process(r.PID, now)
		if r.PID != 0 {
			o.alerts.gauge("cpu", r.Name, r.CPU, now)
			o.alerts.gauge("memory", r.Name, float64(r.Memory), now)
		}
		if written.due(key, now, evidence.Seconds(o.Beat), evidence.Seconds(o.Interval/2)) {
			o.Log.Put(&r)
		}
	})
}

// blind says why nobody can know what an instance is now; nil: it can be asked.
func blind(i *service.Instance) error {
	if i.Blind == nil {
		return nil
	}
	return i.Blind()
}

// askInstance asks for readiness. What comes back says whether it is up, ready, and which release it is.
func (o *Observer) askInstance(ctx context.Context, i *service.Instance, r *evidence.Instance) {
	ready, header := o.asked(i.Service)
	timeout := o.timeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(i.URL, "/")+ready, nil)
	if err != nil {
		r.Error = o.clean(err.Error())
		return
	}
	resp, err := o.client.Do(req)
	if err != nil {
		r.Error = o.unanswered(ctx, err, timeout)
		return
	}
	defer resp.Body.Close()
	r.Up = true
	r.Ready = resp.StatusCode/100 == 2
	r.Release = o.clean(resp.Header.Get(header))
	if !r.Ready {
		r.Error = "the readiness check answered " + resp.Status
	}
	// The rest is read so that the connection can be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		r.Ready = false
		r.Error = o.unanswered(ctx, err, timeout)
	}
}

// asked is the readiness path of a service and the header in which its instances name their release.
func (o *Observer) asked(name string) (ready, header string) {
	for _, s := range append([]*service.Service{o.Service}, o.Dependants...) {
		if s != nil && s.Name == name {
			return "/" + strings.TrimPrefix(s.Ready, "/"), s.Header
		}
	}
	return "/", ""
}

// timeout of one reading: it leaves time to write what happened within a beat.
func (o *Observer) timeout() time.Duration {
	return min(readTimeout, max(o.Beat-o.Interval, o.Interval))
}

// unanswered says in few words, without the address that is in the instance's name, why there is no answer.
func (o *Observer) unanswered(ctx context.Context, err error, timeout time.Duration) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	// The port of our own end differs each time and says nothing.
	var op *net.OpError
	if errors.As(err, &op) {
		return o.clean(fmt.Sprintf("%s: %v", op.Op, op.Err))
	}
	return o.clean(err.Error())
}

// oneLine is a text with all white space as single blanks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// clean is a text without secrets and of at most 200 bytes.
func (o *Observer) clean(s string) string { return shorten(o.Log.Clean(s), 200) }

// shorten cuts a text at a rune, with a sign that it was cut.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "..."
	return strings.ToValidUTF8(s[:limit-len(more)], "") + more
}
