package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// question is what the audit asks a service over HTTP, such as "GET /notes/{key}".
type question struct {
	client *client
	step   *step
}

// question compiles what a service of this drill is asked.
func (a *audit) question(at, text string) (*question, error) {
	i := slices.IndexFunc(a.targets, func(t Target) bool { return t.Service.Name == at })
	if i < 0 {
		return nil, fmt.Errorf("%s gets no traffic, so its address is unknown", at)
	}
	method, address, ok := strings.Cut(text, " ")
	if !ok || method != http.MethodGet {
		return nil, fmt.Errorf("expected a request such as \"GET /charges?key={key}\", found %q", text)
	}
	t, err := compile(strings.TrimSpace(address), path, func(name string) (int, error) {
		if name != "key" {
			return 0, fmt.Errorf("{%s} has no value here; {key} has", name)
		}
		return 0, nil
	})
	if err != nil {
		return nil, err
	}
	cl, err := newClient(a.targets[i].URL, a.targets[i].Service, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return &question{client: cl, step: &step{request: &http.Request{Method: method}, path: t}}, nil
}

func (q *question) text(key string) string {
	return q.step.request.Method + " " + string(q.step.path.append(nil, []string{key}))
}

// asked is one worker's way of asking a question.
type asked struct {
	*question
	request, scratch, body []byte
}

// ask sends the question for a key. Asking changes nothing, so a dead connection may be forgiven once.
func (o *asked) ask(key string) (got answer, err error) {
	values := []string{key}
	for try := range 2 {
		o.request, o.scratch = o.step.append(o.request[:0], o.scratch, o.client, values, nil, try > 0)
		if got, err = o.client.do(o.step.request, o.request, try > 0, o.body); err == nil {
			break
		}
	}
	o.body = got.body[:0]
	if err != nil {
		return got, fmt.Errorf("%s: %w", o.text(key), err)
	}
	if len(got.body) >= bodyLimit {
		return got, fmt.Errorf("%s: expected an answer of at most %d bytes, found a longer one", o.text(key), bodyLimit)
	}
	return got, nil
}

// overHTTP looks writes up at the drilled service: 404 says that one is not there, an object that it is there once, a
// list of objects so often.
func (c *lookup) overHTTP(ctx context.Context, w *write, places []int) error {
	q, err := c.audit.question(c.audit.service.Name, w.find)
	if err != nil {
		return err
	}
	defer q.client.cutBy(ctx)()
	one := asked{question: q}
	for _, i := range places {
		e := &c.audit.entries[i]
		got, err := one.ask(e.key)
		if err != nil {
			return err
		}
		found := gjson.ParseBytes(got.body)
		var rows []gjson.Result
		switch {
		case got.status == http.StatusNotFound:
		case got.status == http.StatusOK && gjson.ValidBytes(got.body) && found.IsObject():
			rows = []gjson.Result{found}
		case got.status == http.StatusOK && gjson.ValidBytes(got.body) && found.IsArray():
			rows = found.Array()
		default:
			return fmt.Errorf("%s: expected 404, or 200 with an object or a list of objects, found %d%s", q.text(e.key), got.status, excerpt(got.body))
		}
		out := looked{asked: true, rows: len(rows)}
		if len(rows) > 0 {
			if !rows[0].IsObject() {
				return fmt.Errorf("%s: expected a list of objects, found%s", q.text(e.key), excerpt(got.body))
			}
			values, columns := fieldsOf(rows[0], w.fields)
			out.fields = e.differences(values, columns)
		}
		c.audit.looked[i] = out
	}
	return nil
}

// fieldsOf are the values that an object has for the fields of a write. One that it lacks is null.
func fieldsOf(object gjson.Result, fields []field) (values []any, columns []int) {
	for i, f := range fields {
		columns = append(columns, i)
		switch v := object.Get(f.column); v.Type {
		case gjson.Null:
			values = append(values, nil)
		case gjson.String:
			values = append(values, v.Str)
		case gjson.Number:
			values = append(values, json.Number(v.Raw))
		case gjson.JSON:
			values = append(values, v.Value())
		default:
			values = append(values, v.Bool())
		}
	}
	return values, columns
}

// keysLimit is how long a list of keys may be: some millions of them.
const keysLimit = 256 << 20

// keysOverHTTP are the keys of all writes of a kind, which the service answers as a list. It may be longer than what
// traffic keeps of an answer, so it is read by net/http, over the same dialler.
func (a *audit) keysOverHTTP(ctx context.Context, text string) ([]string, error) {
	q, err := a.question(a.service.Name, text)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	path := q.step.path.append(nil, []string{""})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.client.base()+string(path), nil)
	if err != nil {
		return nil, err
	}
	through := &http.Transport{DialContext: q.client.dialer.DialContext, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, keysLimit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	list := gjson.ParseBytes(body)
	if response.StatusCode != http.StatusOK || !gjson.ValidBytes(body) || !list.IsArray() {
		return nil, fmt.Errorf("%s: expected 200 and a list of keys, found %d%s", text, response.StatusCode, excerpt(body[:min(len(body), bodyLimit)]))
	}
	var keys []string
	for _, k := range list.Array() {
		if k.Type != gjson.String && k.Type != gjson.Number {
			return nil, errors.New(text + ": expected a list of texts or numbers, found " + k.Raw)
		}
		keys = append(keys, k.String())
	}
	return keys, nil
}
