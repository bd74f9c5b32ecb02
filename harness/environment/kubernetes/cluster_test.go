package kubernetes

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"backout/harness/environment/artefact"
)

// A cluster is never made anew under somebody who uses it: another node image, another size and another cache have other names.
func TestNamesOfClusters(t *testing.T) {
	here, there := clusters{dir: t.TempDir()}, clusters{dir: t.TempDir()}
	name := func(c clusters, want recipe, of shape) string {
		t.Helper()
		name, err := c.nameOf(want, of)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^backout-[0-9a-f]{8}-[12](-alone)?$`).MatchString(name) {
			t.Errorf("found %q", name)
		}
		return name
	}
	one := recipe{Format: 1, Image: "sha256:aa"}
	first := name(here, one, shape{})
	if again := name(here, one, shape{}); again != first {
		t.Errorf("the same cluster is called %s and %s", first, again)
	}
	for what, other := range map[string]string{
		"another cache":         name(there, one, shape{}),
		"another node image":    name(here, recipe{Format: 1, Image: "sha256:bb"}, shape{}),
		"one that is had alone": name(here, recipe{Format: 1, Image: "sha256:aa", Workers: 1}, shape{Workers: 1, Alone: true}),
	} {
		if other == first {
			t.Errorf("%s has the same name", what)
		}
	}
}

// Nobody's lock is taken away: clusters in use stay, and the file for which others may wait does too.
func TestAClusterThatIsUsedStays(t *testing.T) {
	c := clusters{dir: t.TempDir(), say: func(string) {}}
	path := c.path("backout-00000000-1", ".lock")
	used, err := artefact.LockFile(t.Context(), path, unix.LOCK_SH, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if _, free, err := artefact.TryLock(path); free || err != nil {
		t.Errorf("free %v: %v", free, err)
	}
	if all := c.all(); len(all) != 1 || all[0] != "backout-00000000-1" {
		t.Errorf("found %v", all)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestWhoAnswered(t *testing.T) {
	const pod, nobody, unknown = "the pod", "the pod does not answer", "nobody knows"
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"a pod that is ready", 200, "ok", pod},
		{"a pod that is not", 503, `{"error":"warming up"}`, pod},
		{"a pod whose answer looks like JSON of its own", 404, `{"kind":"Product"}`, pod},
		{"a pod that refuses connections", 503, `{"kind":"Status","message":"error trying to reach service: dial tcp: connection refused"}`, nobody},
		{"a pod that is gone", 404, `{"kind":"Status","reason":"NotFound"}`, nobody},
		{"an API server that is overloaded", 429, `{"kind":"Status","message":"too many requests"}`, unknown},
		{"an API server without etcd", 500, `{"kind":"Status","message":"etcdserver: request timed out"}`, unknown},
	} {
		r := &http.Response{StatusCode: c.status, Status: http.StatusText(c.status), Body: io.NopCloser(strings.NewReader(c.body))}
		err := notTheServers(r)
		got := pod
		switch {
		case errors.Is(err, errUnreached):
			got = nobody
		case err != nil:
			got = unknown
		}
		if got != c.want {
			t.Errorf("%s: expected %s, found %s: %v", c.name, c.want, got, err)
		}
		if body, _ := io.ReadAll(r.Body); err == nil && string(body) != c.body {
			t.Errorf("%s: the answer was changed to %q", c.name, body)
		}
	}
}
