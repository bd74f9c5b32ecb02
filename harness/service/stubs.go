package service

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Stub stands for something that the service calls and that is not drilled.
type Stub struct {
	Routes []Route // the first that fits answers; what fits none is answered with 501
}

// Route is one kind of request that a stub answers.
type Route struct {
	Method  string
	Path    string // {name} stands for one part of it
	Status  int    // 200 unless stated
	Body    any    // JSON; nil: none
	Latency time.Duration
	Key     string // where a request says which write it is for: "$.order" in its body, or a header; empty: {key} in the path
}

// Name is the route as it was written, "POST /charges".
func (r Route) Name() string { return r.Method + " " + r.Path }

// Counts says whether requests of the route can be counted for a write.
func (r Route) Counts() bool { return r.Key != "" || strings.Contains(r.Path, "{key}") }

func stubs(v *value, s *Service) map[string]Stub {
	if v == nil {
		return nil
	}
	all := map[string]Stub{}
	for _, p := range v.pairs() {
		if !serviceName.MatchString(p.name) || p.name == s.Name || slices.Contains(s.Dependants, p.name) {
			p.key.wrong("expected a name of small letters, digits and _ in stubs, which no service of the drill has, found %q", p.name)
		}
		routes := p.object("routes").must("routes", "what it answers, such as POST /charges: {status: 201}")
		var stub Stub
		for _, at := range routes.pairsOrNone() {
			method, path, _ := strings.Cut(at.name, " ")
			if !slices.Contains(methods, method) || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#") {
				at.key.wrong("expected METHOD PATH with one of %s, found %q%s", strings.Join(methods, ", "), at.name, meant(method, methods))
			}
			o := at.object("status", "body", "latency", "key")
			r := Route{Method: method, Path: path, Status: http.StatusOK, Latency: o.get("latency").duration(), Key: o.get("key").text()}
			if status := o.get("status"); status != nil {
				r.Status = int(status.number(200, 599))
			}
			if body := o.get("body"); body != nil {
				r.Body = body.plain()
			}
			if key := r.Key; strings.HasPrefix(key, "$") && !jsonPath(key) || strings.ContainsAny(key, " :{}") {
				o.get("key").expected("a path such as $.order, or the name of a header")
			}
			stub.Routes = append(stub.Routes, r)
		}
		if routes != nil && len(stub.Routes) == 0 {
			routes.expected("a mapping of METHOD PATH to what is answered")
		}
		all[p.name] = stub
	}
	return all
}

// atStub checks an effect that is counted at a stub.
func (v *value) atStub(e Effect, stub Stub) {
	var known []string
	for _, r := range stub.Routes {
		if r.Counts() {
			known = append(known, r.Name())
		}
	}
	if e.Count != "" && !slices.Contains(known, e.Count) {
		v.wrong("expected a route of the stub %s that says which write a request is for (key: ..., or {key} in its path) in count, found %q%s",
			e.At, e.Count, meant(e.Count, known))
	}
}
