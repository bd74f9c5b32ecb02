package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"backout/harness/evidence"
)

// A watch says the same thing many times, and only what is new is told, each with the commit that it is about.
func TestSyncsTellWhatIsNew(t *testing.T) {
	var found []string
	y := &syncs{services: map[string]string{"d-web": "web"}, told: map[string]*told{}, put: func(k evidence.Kind) {
		s := k.(*evidence.Sync)
		found = append(found, fmt.Sprintf("%s %s %s", s.Event, s.Revision, s.Message))
	}}
	say := func(name, compared, status, health, phase, began, applied, message string) {
		y.say(name, read(&unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
			"sync":   map[string]any{"revision": compared, "status": status},
			"health": map[string]any{"status": health},
			"operationState": map[string]any{"phase": phase, "startedAt": began, "message": message,
				"operation": map[string]any{"sync": map[string]any{"revision": applied}}},
		}}}))
	}
	for range 2 {
		say("d-web", "a", "Synced", "Healthy", "Succeeded", "10:00:00", "a", "applied")
	}
	say("other", "a", "Synced", "Healthy", "Succeeded", "10:00:00", "a", "applied")
	say("d-web", "b", "OutOfSync", "Healthy", "Succeeded", "10:00:00", "a", "applied")
	say("d-web", "b", "OutOfSync", "Healthy", "Running", "10:00:05", "b", "")
	say("d-web", "b", "Synced", "Progressing", "Succeeded", "10:00:05", "b", "applied")
	say("d-web", "b", "Synced", "Healthy", "Succeeded", "10:00:05", "b", "applied")
	say("d-web", "b", "OutOfSync", "Healthy", "Succeeded", "10:00:05", "b", "applied")
	say("d-web", "b", "OutOfSync", "Degraded", "Failed", "10:00:09", "b", "the check has failed")
	say("d-web", "c", "Synced", "Healthy", "Failed", "10:00:09", "b", "the check has failed") // it says what is there already
	want := []string{
		"detected a ", "synced a applied", "healthy a ",
		"detected b ", "syncing b ", "synced b applied", "healthy b ",
		"drifted b ", "failed b the check has failed", "degraded b ",
		"detected c ", "synced c nothing was to be applied", "healthy b ",
	}
	if strings.Join(found, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected\n%s\nfound\n%s", strings.Join(want, "\n"), strings.Join(found, "\n"))
	}
}

func TestHeadOf(t *testing.T) {
	commit := strings.Repeat("5d1d70e254", 4)
	for _, test := range []struct{ name, answer, head, err string }{
		{"a commit", "0035" + commit + " HEAD\x00a\n", commit, ""},
		{"an error", "0036ERR access denied or repository not exported: /x....\n", "", "expected a commit"},
		{"a short one", "0008NAK\n", "", "expected a line that begins with a commit"},
		{"no commit", "0000", "", ""},
		{"nothing", "", "", "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			asked := make(chan string, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				request := make([]byte, 4+len("git-upload-pack /deployments\x00host=git\x00"))
				_, _ = io.ReadFull(conn, request) // what is missing is seen below
				asked <- string(request)
				_, _ = io.WriteString(conn, test.answer) // whoever asks says what it got
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			head, err := headOf(ctx, l.Addr().String())
			if head != test.head || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("expected %q and %q, found %q and %v", test.head, test.err, head, err)
			}
			if request := <-asked; request != "002agit-upload-pack /deployments\x00host=git\x00" {
				t.Errorf("asked %q", request)
			}
		})
	}
}
