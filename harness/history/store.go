package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/memblob" // mem://
	_ "gocloud.dev/blob/s3blob"  // s3://, of whoever speaks its protocol
	"gocloud.dev/gcerrors"
)

// Schemes are the kinds of URL that are built in. An addition is a line here and an import of its driver above. That of
// Google's (gocloud.dev/blob/gcsblob) is left out for its size.
func Schemes() []string { return []string{"file", "mem", "s3"} }

const (
	runsIn    = "runs/"
	recordsIn = "records/"
	indexAt   = "index.ndjson"
	// stale is how many runs may be missing in the index before one who adds a run writes it anew.
	stale = 100
)

// Store is a history in a folder or a bucket. Any number of machines may add to it at once: an object is written once, under
// a name of its own, and the index is only a copy that spares reading them one by one.
type Store struct {
	Place  string // as it was named
	bucket *blob.Bucket
	dir    string // where it is a folder
}

// Open opens the history in a folder or at a URL. A folder that is not there is made when something is added; unless
// create is set, its absence is an error that is fs.ErrNotExist.
func Open(ctx context.Context, place string, create bool) (*Store, error) {
	scheme, _, isURL := strings.Cut(place, "://")
	if isURL && !slices.Contains(Schemes(), scheme) {
		return nil, fmt.Errorf("history %s: expected a folder or a URL of one of %s, found %s://", place, strings.Join(Schemes(), ", "), scheme)
	}
	if isURL && scheme != "file" {
		bucket, err := blob.OpenBucket(ctx, place)
		if err != nil {
			return nil, fmt.Errorf("open the history %s: %w", place, err)
		}
		return &Store{Place: place, bucket: bucket}, nil
	}
	dir := place
	if isURL {
		u, err := url.Parse(place)
		if err != nil || u.Host != "" || u.Path == "" {
			return nil, fmt.Errorf("history %s: expected file:///PATH of a folder", place)
		}
		dir = filepath.FromSlash(u.Path)
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("history %s: expected a folder, found a file", place)
	} else if err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	// What is written lies beside its place first, since another disk's temporary folder could not be moved from.
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{CreateDir: create, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, fmt.Errorf("open the history %s: %w", place, err)
	}
	return &Store{Place: place, bucket: bucket, dir: dir}, nil
}

// Close lets the bucket go.
func (s *Store) Close() error { return s.bucket.Close() }

// Add keeps a run. It returns false when the run is there already: no object is ever overwritten.
func (s *Store) Add(ctx context.Context, r Run) (bool, error) {
	name, text, err := r.write()
	if err != nil {
		return false, fmt.Errorf("add to the history %s: %w", s.Place, err)
	}
	// Another version of Backout may have judged the same log otherwise; one run is one object all the same.
	n, ok := parseName(name)
	if !ok {
		return false, fmt.Errorf("add to the history %s: expected a run with a service and a head, found %q", s.Place, name)
	}
	same, err := s.list(ctx, runsIn, strings.TrimSuffix(name, n.sum+".json"))
	if err != nil {
		return false, fmt.Errorf("add to the history %s: %w", s.Place, err)
	}
	if len(same) > 0 {
		return false, nil
	}
	return s.put(ctx, runsIn+name, text)
}

// put writes an object that is not there yet.
func (s *Store) put(ctx context.Context, key string, text []byte) (bool, error) {
	err := s.bucket.WriteAll(ctx, key, text, &blob.WriterOptions{IfNotExist: true, ContentType: "application/json"})
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return false, nil // with the same text: its digest is in the name
	}
	if err != nil {
		return false, fmt.Errorf("add to the history %s: %w", s.Place, err)
	}
	return true, nil
}

// Damaged is an object that could not be read. It is never counted as anything.
type Damaged struct {
	Name string // in the history
	Why  string
	named
}

// Log is all that a history holds.
type Log struct {
	Place   string
	Runs    []Run    // from the oldest to the newest
	Records []Record // from the oldest to the newest
	Damaged []Damaged
	Indexed int    // runs that were found in the index
	Index   string // why the index could not be used, in words; empty when it could or when there is none
	texts   map[string][]byte
}

// Load reads a history. What is in its index is read from there, when name and digest agree; the rest one by one.
func (s *Store) Load(ctx context.Context) (*Log, error) {
	l := &Log{Place: s.Place, texts: map[string][]byte{}}
	wrong := func(err error) (*Log, error) { return nil, fmt.Errorf("read the history %s: %w", s.Place, err) }
	names, err := s.list(ctx, runsIn, "")
	if err != nil {
		return wrong(err)
	}
	index, why := s.index(ctx)
	l.Index = why
	objects := make([]object, len(names))
	err = each(len(names), func(i int) error {
		name := names[i]
		n, ok := parseName(name)
		if text := index[name]; ok && text != nil {
			if o := decode(name, n, text); o.damaged == nil {
				o.indexed = true
				objects[i] = o
				return nil
			}
		}
		text, err := s.bucket.ReadAll(ctx, runsIn+name)
		switch {
		case gcerrors.Code(err) == gcerrors.NotFound:
			objects[i] = object{damaged: &Damaged{runsIn + name, "it was removed while it was read", n}}
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			objects[i] = object{damaged: &Damaged{runsIn + name, err.Error(), n}}
		case !ok:
			objects[i] = object{damaged: &Damaged{Name: runsIn + name, Why: "expected a name of the form TIME-SERVICE-RUN-DIGEST.json"}}
		default:
			objects[i] = decode(name, n, text)
		}
		return nil
	})
	if err != nil {
		return wrong(err)
	}
	seen := map[string]bool{}
	for i, o := range objects {
		switch {
		case o.damaged != nil:
			l.Damaged = append(l.Damaged, *o.damaged)
		case seen[o.run.Head]: // two machines added one run at the same instant, judged by two versions: the first name stands
		default:
			seen[o.run.Head] = true
			l.Runs = append(l.Runs, o.run)
			l.texts[names[i]] = o.text
			if o.indexed {
				l.Indexed++
			}
		}
	}
	slices.SortFunc(l.Runs, byTime)
	if err := s.loadRecords(ctx, l); err != nil {
		return wrong(err)
	}
	return l, nil
}

// object is one object as it was read.
type object struct {
	run     Run
	text    []byte
	damaged *Damaged
	indexed bool
}

func decode(name string, n named, text []byte) object {
	text = bytes.TrimRight(text, "\n")
	if got := sum(text); got != n.sum {
		return object{damaged: &Damaged{runsIn + name, fmt.Sprintf("its text has the digest %s, and its name says %s", got, n.sum), n}}
	}
	r, err := read(text)
	if err != nil {
		return object{damaged: &Damaged{runsIn + name, err.Error(), n}}
	}
	return object{run: r, text: text}
}

// index is the text of each run by its name. A line of it is {"name":NAME,"run":OBJECT}; the digest in the name is that of the
// object's text, so that an index that was damaged is not believed. A line that cannot be read is left away, and its object is
// read instead.
func (s *Store) index(ctx context.Context) (texts map[string][]byte, why string) {
	all, err := s.bucket.ReadAll(ctx, indexAt)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, ""
	}
	if err != nil {
		return nil, err.Error()
	}
	texts = map[string][]byte{}
	lines, bad := bytes.Split(bytes.TrimRight(all, "\n"), []byte("\n")), 0
	for _, text := range lines {
		// The name comes first and the rest of the line is the object, which is decoded once, later.
		name, rest, found := bytes.Cut(bytes.TrimPrefix(text, []byte(`{"name":"`)), []byte(`","run":`))
		if run, ends := bytes.CutSuffix(rest, []byte("}")); found && ends {
			texts[string(name)] = run
		} else {
			bad++
		}
	}
	if bad > 0 {
		why = fmt.Sprintf("%d of %d lines of its index cannot be read", bad, len(lines))
	}
	return texts, why
}

// Rebuild writes the index anew from all objects. When two do it at once, one of both indexes stays; either is right.
func (s *Store) Rebuild(ctx context.Context, l *Log) error {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(l.texts)) {
		fmt.Fprintf(w, "{\"name\":%q,\"run\":%s}\n", name, l.texts[name])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := s.bucket.WriteAll(ctx, indexAt, out.Bytes(), &blob.WriterOptions{ContentType: "application/x-ndjson"}); err != nil {
		return fmt.Errorf("write the index of the history %s: %w", s.Place, err)
	}
	return nil
}

// Tidy writes the index anew when many runs are missing in it.
func (s *Store) Tidy(ctx context.Context) error {
	there, err := s.list(ctx, runsIn, "")
	if err != nil {
		return fmt.Errorf("read the history %s: %w", s.Place, err)
	}
	if index, _ := s.index(ctx); len(there)-len(index) <= stale {
		return nil
	}
	l, err := s.Load(ctx)
	if err != nil {
		return err
	}
	return s.Rebuild(ctx, l)
}

// list are the names below runs/ or records/ that begin with a prefix, sorted. What a writer that died left half-written is
// none.
func (s *Store) list(ctx context.Context, below, prefix string) ([]string, error) {
	var names []string
	keep := func(name string) {
		if strings.HasPrefix(name, prefix) && path.Ext(name) == ".json" {
			names = append(names, name)
		}
	}
	if s.dir != "" { // the bucket would ask for size and attributes of each file
		entries, err := os.ReadDir(filepath.Join(s.dir, below))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		for _, e := range entries {
			keep(e.Name())
		}
		return names, err
	}
	for it := s.bucket.List(&blob.ListOptions{Prefix: below + prefix}); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		keep(strings.TrimPrefix(o.Key, below))
	}
}

// each calls f for 0 to n-1, several at once: objects of a bucket are far away.
func each(n int, f func(i int) error) error {
	var work sync.WaitGroup
	errs := make([]error, n)
	next := make(chan int)
	for range min(n, 4*runtime.GOMAXPROCS(0)) {
		work.Go(func() {
			for i := range next {
				errs[i] = f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	work.Wait()
	return errors.Join(errs...)
}
