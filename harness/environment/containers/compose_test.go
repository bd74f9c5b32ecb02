package containers

import (
	"strings"
	"testing"
)

func TestPortsThatAComposeFileMayPublish(t *testing.T) {
	for _, c := range []struct {
		port    any
		several bool
		refused string // empty: it is not
	}{
		{"127.0.0.1:8080:80", false, ""},
		{"127.0.0.1::80/tcp", true, ""},
		{map[string]any{"target": 80, "host_ip": "127.0.0.1"}, true, ""},
		{"127.0.0.1:8080:80", true, "several instances"},
		{map[string]any{"target": 80, "published": 8080, "host_ip": "127.0.0.1"}, true, "several instances"},
		{80, false, "on all addresses"},
		{"8080:80", false, "on all addresses"},
		{"0.0.0.0:8080:80/udp", false, "on all addresses"},
		{"[::]:8080:80", false, "on all addresses"},
		{map[string]any{"target": 80, "published": 8080}, false, "on all addresses"},
	} {
		err := mayPublish(c.port, c.several)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%v, several %v: expected %q, found %v", c.port, c.several, c.refused, err)
		}
	}
}
