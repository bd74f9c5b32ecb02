package wiring

import (
	"backout/harness/service"
	"strings"
	"testing"
)

func TestCachePlaceholders(t *testing.T) {
	one := &service.Service{Name: "web", Path: "web/service.yaml", Caches: map[string]service.Cache{"pages": {}}}
	two := &service.Service{Name: "web", Path: "web/service.yaml", Caches: map[string]service.Cache{"pages": {}, "carts": {}}}
	none := &service.Service{Name: "web", Path: "web/service.yaml"}
	for _, c := range []struct {
		s              *service.Service
		text, is, says string
	}{
		{one, "{cache_url}", "redis://default:hush@127.0.0.1:7000/0", ""},
		{one, "{cache_url:pages}", "redis://default:hush@127.0.0.1:7000/0", ""},
		{two, "{cache_url:pages}", "redis://default:hush@127.0.0.1:7000/1", ""},
		{two, "{cache_url}", "", "expected one of the caches of web, as {cache_url:carts}; there are carts, pages"},
		{one, "{cache_url:page}", "", "there are pages"},
		{none, "{cache_url}", "", "web/service.yaml states no caches"},
	} {
		w := Wiring{Password: "hush", Host: "127.0.0.1", Cache: 7000}
		w.Need.Service = c.s
		got, err := w.fill(c.text, c.s, nil)
		if c.says == "" && (err != nil || got != c.is) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: found %q, %v", c.text, got, err)
		}
	}
}
