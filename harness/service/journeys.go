package service

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// placeholder is {name} in a text of a journey.
var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead}

var requestKeys = []string{"expect", "refused", "keep", "headers", "once", "until", "write", "cancel"}

func journeys(v *value, s *Service) []Journey {
	var all []Journey
	weight := 0
	for _, p := range v.pairs() {
		o := p.object("weight", "lost", "steps")
		j := Journey{Name: p.name, Weight: 1}
		if w := o.get("weight"); w != nil {
			j.Weight = int(w.number(0, 1000))
		}
		weight += j.Weight
		if lost := o.get("lost"); lost != nil {
			l := lost.object("at_most", "why")
			j.Lost = l.must("at_most", "how many acknowledged writes may be lost").count(1)
			j.Why = l.must("why", "a budget needs its reason").text()
		}
		known := []string{"user", "uuid"}
		known = append(known, sorted(s.Values)...)
		steps := o.must("steps", "its requests in order")
		for _, item := range steps.list() {
			r := request(item, &known)
			if w := r.Write; w != nil && s.Database == nil && !(OverHTTP(w.Find) && OverHTTP(w.All)) {
				item.wrong("expected a database in service.yaml, or GET /... in find and all, since the writes of %s are looked up there, found neither", p.name)
			}
			j.Steps = append(j.Steps, r)
		}
		if steps.isList() && len(j.Steps) == 0 {
			steps.wrong("expected at least one request in %s, found an empty list", p.name)
		}
		if j.Lost > 0 && !j.writes() {
			o.get("lost").wrong("expected a write in %s beside lost, found none", p.name)
		}
		all = append(all, j)
	}
	if v != nil && v.isMapping() && weight == 0 {
		v.wrong("expected a journey with a weight above 0 in journeys, found none")
	}
	return all
}

// request reads one item of a journey's steps: METHOD PATH with its body, and the other keys beside it. known are the
// placeholders that earlier requests give; those that it keeps are added.
func request(item *value, known *[]string) Request {
	r := Request{Line: item.line()}
	var rest []pair
	for _, p := range item.pairs() {
		method, path, ok := strings.Cut(p.name, " ")
		if !ok {
			rest = append(rest, p)
			continue
		}
		switch {
		case r.Method != "":
			p.key.wrong("expected one request an item, found %q beside %s %s", p.name, r.Method, r.Path)
			continue
		case !slices.Contains(methods, method):
			p.key.wrong("expected METHOD PATH with one of %s, found %q%s", strings.Join(methods, ", "), p.name, meant(method, methods))
		case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #"):
			p.key.wrong("expected a path that begins with /, found %q", path)
		}
		r.Method, r.Path, r.Body = method, path, p.plain()
		p.key.placeholders(path, *known)
		p.placeholdersIn(r.Body, *known)
		if (method == http.MethodGet || method == http.MethodHead) && empty(r.Body) {
			r.Body = nil
		}
	}
	if r.Method == "" && item.isMapping() {
		item.wrong("expected a request such as GET /orders/{uuid}: {} in %s, found none", item.what)
	}
	o := &object{value: item}
	for _, p := range rest {
		if !slices.Contains(requestKeys, p.name) {
			p.key.wrong("expected METHOD PATH or %s in %s, found %q%s", oneOf(requestKeys), item.what, p.name, meant(p.name, requestKeys))
			continue
		}
		o.pairs = append(o.pairs, p)
	}
	r.Expect = int(o.must("expect", "the status that is success").number(100, 599))
	for _, status := range o.get("refused").list() {
		n := int(status.number(100, 599))
		if n == r.Expect && n != 0 {
			status.wrong("expected another status than %d in refused, since that is success", n)
		}
		r.Refused = append(r.Refused, n)
	}
	r.Headers = o.get("headers").table()
	for _, h := range o.get("headers").pairsOrNone() {
		if text, ok := scalar(h.node); ok {
			h.placeholders(text, *known)
		}
	}
	r.Until = o.get("until").duration()
	r.Once = o.get("once").flag()
	kept := *known
	for _, k := range o.get("keep").pairsOrNone() {
		path := k.text()
		if path != "" && !jsonPath(path) {
			k.expected("a path such as $.token")
		}
		if !placeholder.MatchString("{" + k.name + "}") {
			k.key.wrong("expected a name of small letters, digits and _ in keep, found %q", k.name)
		}
		r.Keep = append(r.Keep, Keep{Name: k.name, Path: path})
		kept = append(kept, k.name)
	}
	if v := o.get("keep"); v != nil && !v.isMapping() {
		v.expected("a mapping of names to paths such as {token: $.token}")
	}
	if r.Once && len(r.Keep) == 0 {
		o.get("once").wrong("expected keep beside once, since a request is left away when the user has what it keeps, found none")
	}
	if v := o.get("cancel"); v != nil {
		r.Cancel = v.text()
		v.placeholders(r.Cancel, *known)
	}
	if v := o.get("write"); v != nil {
		r.Write = write(v, *known)
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			v.wrong("expected a request that writes beside write, found %s", r.Method)
		}
		if r.Cancel != "" {
			v.wrong("expected either write or cancel in %s, found both", item.what)
		}
	}
	*known = kept
	return r
}

func write(v *value, known []string) *Write {
	o := v.object("key", "find", "payload", "all")
	w := &Write{Payload: map[string]any{}}
	key := o.must("key", "made by the client, such as {uuid}")
	w.Key = key.text()
	key.placeholders(w.Key, known)
	find := o.must("find", "SQL with $1, the key, or GET /notes/{key}")
	w.Find = find.text()
	switch {
	case w.Find == "":
	case OverHTTP(w.Find) && !onlyKey(w.Find, 1):
		find.expected("a request with {key} and no other placeholder, such as GET /notes/{key}")
	case !OverHTTP(w.Find) && !strings.Contains(w.Find, "$1"):
		find.expected("SQL with $1, the key of the write, or a request such as GET /notes/{key}")
	}
	all := o.must("all", "SQL or GET /...: the keys of all writes of this kind, which finds those that nobody sent")
	if w.All = all.text(); OverHTTP(w.All) && !onlyKey(w.All, 0) {
		all.expected("a request without placeholders, such as GET /notes/keys")
	}
	for _, p := range o.get("payload").pairsOrNone() {
		x := p.plain()
		switch x.(type) {
		case map[string]any, []any:
			p.expected("the value of a column")
		case string:
			p.placeholdersIn(x, known)
		}
		w.Payload[p.name] = x
	}
	if p := o.get("payload"); p != nil && !p.isMapping() {
		p.expected("a mapping of columns to what was sent")
	}
	return w
}

// OverHTTP says whether a question is a request of the service and not SQL.
func OverHTTP(question string) bool { return strings.HasPrefix(question, "GET /") }

// onlyKey says whether {key} is there so often and no other placeholder is.
func onlyKey(request string, times int) bool {
	all := placeholder.FindAllString(request, -1)
	return len(all) == times && strings.Count(request, "{key}") == times && !strings.ContainsAny(strings.TrimPrefix(request, "GET "), " #")
}

// jsonPath says whether a path is $ and names or numbers after dots.
func jsonPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "$.")
	return ok && !slices.Contains(strings.Split(rest, "."), "")
}

func empty(body any) bool {
	m, ok := body.(map[string]any)
	return body == nil || ok && len(m) == 0
}

// placeholders notes those of a text that nothing gives.
func (v *value) placeholders(text string, known []string) {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, m[1]) {
			v.wrong("expected %s or a value that an earlier request keeps, found {%s}%s", braces(known), m[1], meant(m[1], known))
		}
	}
}

// placeholdersIn does so for every text in a body, its keys in order.
func (v *value) placeholdersIn(body any, known []string) {
	switch b := body.(type) {
	case string:
		v.placeholders(b, known)
	case []any:
		for _, x := range b {
			v.placeholdersIn(x, known)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(b)) {
			v.placeholdersIn(b[k], known)
		}
	}
}

func braces(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf("{%s}", n))
	}
	return strings.Join(all, ", ")
}
