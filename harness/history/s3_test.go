package history

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// bucket answers as S3 does, in what a history asks of it: a list of two keys a page, objects, and writes that fail where there is an object.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	pages   int
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/drills/")
	text, there := b.objects[key]
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	}
	switch {
	case r.URL.Query().Get("list-type") == "2":
		b.list(w, r)
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && there:
		fail(http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		body, err := content(r)
		if err != nil {
			fail(http.StatusBadRequest, err.Error())
			return
		}
		b.objects[key] = body
		w.Header().Set("ETag", `"x"`)
	case !there:
		fail(http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", "Thu, 26 Nov 2026 12:00:00 GMT")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text) // the client tells
	}
}

func (b *bucket) list(w http.ResponseWriter, r *http.Request) {
	b.pages++
	type object struct {
		Key          string
		Size         int
		LastModified string
		ETag         string
	}
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string   `xml:",omitempty"`
		Contents              []object `xml:"Contents"`
	}{}
	var keys []string
	for key := range b.objects {
		if strings.HasPrefix(key, r.URL.Query().Get("prefix")) && key > r.URL.Query().Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	if len(keys) > 2 {
		keys = keys[:2]
		out.IsTruncated, out.NextContinuationToken = true, keys[1]
	}
	for _, key := range keys {
		out.Contents = append(out.Contents, object{key, len(b.objects[key]), "2026-11-26T12:00:00.000Z", `"x"`})
	}
	_ = xml.NewEncoder(w).Encode(out) // the client tells
}

// content is a request's body, also when it is sent in chunks with a checksum behind them.
func content(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	in := bufio.NewReader(r.Body)
	var all []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		length, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(length, 16, 64)
		if err != nil || n == 0 {
			return all, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		all = append(all, chunk[:n]...)
	}
}

// A bucket holds a history as a folder does, below a prefix too, and nothing in it is overwritten.
func TestS3(t *testing.T) {
	b := &bucket{objects: map[string][]byte{}}
	server := httptest.NewServer(b)
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	place := "s3://drills?region=eu-central-1&use_path_style=true&prefix=team/&endpoint=" + server.URL
	one, other := open(t, place), open(t, place)
	add(t, one, green(1), green(2, red), green(3))
	add(t, other, green(4), green(5))
	if added, err := other.Add(t.Context(), green(1)); err != nil || added {
		t.Errorf("a run was added twice: %v, %v", added, err)
	}
	for key := range b.objects {
		if !strings.HasPrefix(key, "team/runs/20261") {
			t.Errorf("found %s outside of the prefix", key)
		}
	}
	if l := loaded(t, one); len(l.Runs) != 5 || len(l.Damaged) != 0 {
		t.Errorf("expected 5 runs, found %d and %+v", len(l.Runs), l.Damaged)
	}
	if b.pages < 3 {
		t.Errorf("%d pages were asked for: the list was not read to its end", b.pages)
	}
	rebuild(t, one)
	if l := loaded(t, other); l.Indexed != 5 {
		t.Errorf("expected 5 runs from the index, found %d", l.Indexed)
	}
	// Where an object is, a write says that it was there; it does not replace it.
	name, text, err := green(1).write()
	if err != nil {
		t.Fatal(err)
	}
	if added, err := one.put(t.Context(), runsIn+name, text); err != nil || added {
		t.Errorf("expected that it was there, found %v, %v", added, err)
	}
	server.Close()
	if _, err := one.Load(t.Context()); err == nil {
		t.Error("a bucket that does not answer has no history")
	}
}
