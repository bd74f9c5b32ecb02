package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// sample is a small log of several segments: its bytes, and the offsets at which its segments begin and end.
func sample(t testing.TB) (raw []byte, edges []int) {
	t.Helper()
	l, path := create(t)
	for s := range 4 {
		for i := range 5 {
			l.PutAt(Offset(s*10)+Offset(i), &Phase{Name: fmt.Sprintf("segment %d event %d", s+1, i)})
		}
		if s == 3 {
			l.PutAt(34, &End{How: "complete"})
		}
		l.mu.Lock()
		l.cut()
		l.mu.Unlock()
	}
	closeLog(t, l)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	split, err := newSplitter(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		edges = append(edges, int(split.offset))
		if _, err := split.next(); err != nil {
			break
		}
	}
	if len(edges) != 6 || edges[5] != len(raw) {
		t.Fatalf("edges %v of %d bytes, want 5 segments", edges, len(raw))
	}
	return raw, edges
}

func readBytes(t testing.TB, dir string, raw []byte) ([]Event, error) {
	t.Helper()
	path := filepath.Join(dir, File)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return readAll(path)
}

// resized gives a segment the trailer of another place.
func resized(segment []byte, number int) []byte {
	return appendTrailer(bytes.Clone(segment[:len(segment)-trailerSize]), number)
}

func isCut(err error) bool    { return errors.As(err, new(*CutError)) }
func isEdited(err error) bool { return errors.As(err, new(*EditedError)) }

func checkPrefix(t *testing.T, events []Event) {
	t.Helper()
	for i, e := range events {
		want := fmt.Sprintf("segment %d event %d", i/5+1, i%5)
		if e.N != int64(i+1) || e.Phase == nil && e.End == nil || e.Phase != nil && e.Phase.Name != want {
			t.Fatalf("event %d is %+v", i+1, e)
		}
	}
}

func TestEveryEditedByteIsSeenAndIsNoCut(t *testing.T) {
	raw, _ := sample(t)
	dir := t.TempDir()
	for i := range raw {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(raw)
			bad[i] ^= flip
			events, err := readBytes(t, dir, bad)
			if !isEdited(err) {
				t.Errorf("byte %d ^ %#x: %d events and %v, want an EditedError", i, flip, len(events), err)
			}
			checkPrefix(t, events)
		}
	}
}

func TestEveryCutIsSeenAndIsNoEdit(t *testing.T) {
	raw, edges := sample(t)
	dir := t.TempDir()
	for n := range raw {
		events, err := readBytes(t, dir, raw[:n])
		if !isCut(err) {
			t.Errorf("%d of %d bytes: %d events and %v, want a CutError", n, len(raw), len(events), err)
		}
		checkPrefix(t, events)
		whole := 0
		for s, edge := range edges[1:] {
			if n >= edge {
				whole = min((s+1)*5, 20)
				if s >= 3 {
					whole = 21
				}
			}
		}
		if len(events) != whole {
			t.Errorf("%d of %d bytes: %d events, want %d", n, len(raw), len(events), whole)
		}
	}
}

func TestSegmentsThatWereMovedOrAddedAreEdits(t *testing.T) {
	raw, edges := sample(t)
	segments := make([][]byte, 5)
	for i := range segments {
		segments[i] = raw[edges[i]:edges[i+1]]
	}
	// What someone would write who knows the format, but not the hash that the next segment holds.
	forged := forge(t, segments[1], "segment 2 event 3", "segment 2 event 4")
	l, path := create(t)
	l.PutAt(1, &Phase{Name: "another log"})
	closeLog(t, l)
	other, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, order := range map[string][][]byte{
		"one in the middle dropped": {segments[0], segments[2], segments[3], segments[4]},
		"the first dropped":         segments[1:],
		"two swapped, renumbered":   {segments[0], resized(segments[2], 2), resized(segments[1], 3), segments[3], segments[4]},
		"one dropped, renumbered":   {segments[0], resized(segments[2], 2), resized(segments[3], 3), resized(segments[4], 4)},
		"two swapped":               {segments[0], segments[2], segments[1], segments[3], segments[4]},
		"one twice":                 {segments[0], segments[1], segments[1], segments[2], segments[3], segments[4]},
		"one rewritten":             {segments[0], forged, segments[2], segments[3], segments[4]},
		"the last rewritten":        {segments[0], segments[1], segments[2], forge(t, segments[3], "segment 4 event 0", "segment 4 event 9"), segments[4]},
		"another log behind":        append(slices.Clone(segments), other),
		"garbage behind":            append(slices.Clone(segments), []byte("garbage and more garbage")),
		"garbage before":            append([][]byte{[]byte("garbage and more garbage")}, segments...),
	} {
		events, err := readBytes(t, t.TempDir(), bytes.Join(order, nil))
		if !isEdited(err) {
			t.Errorf("%s: %v, want an EditedError", name, err)
		}
		checkPrefix(t, events)
		if name == "one rewritten" && len(events) != 5 {
			t.Errorf("%s: %d events were handed out, want those before it", name, len(events))
		}
	}
}

// forge rewrites a segment so that only the chain can tell.
func forge(t *testing.T, segment []byte, from, to string) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(segment, nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(plain, []byte(from), []byte(to))
	if bytes.Equal(changed, plain) {
		t.Fatalf("%q is not in %s", from, plain)
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return appendTrailer(e.EncodeAll(changed, nil), int(segment[len(segment)-trailerSize+8]))
}

func TestALogThatWasClosedWithoutAnEndIsCut(t *testing.T) {
	l, path := create(t)
	l.Put(&Phase{Name: "provision"})
	head := closeLog(t, l)
	events, err := readAll(path)
	if !isCut(err) || len(events) != 1 {
		t.Errorf("%d events and %v", len(events), err)
	}
	if found, err := Head(path); found != head || !isCut(err) {
		t.Errorf("head %q and %v", found, err)
	}
	var out strings.Builder
	if err := Print(&out, path); !isCut(err) || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("printed %q and %v", out.String(), err)
	}
}

func TestAReaderMayStopEarly(t *testing.T) {
	path := synthetic(t, Synthetic{Rate: 20, Seed: 1})
	for e, err := range Read(path) {
		if err != nil {
			t.Fatal(err)
		}
		if e.N == 10 {
			break
		}
	}
}

func TestAMissingLogIsAnErrorOfItsOwn(t *testing.T) {
	_, err := readAll(filepath.Join(t.TempDir(), File))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTheFastDecoderAgreesWithEncodingJSON(t *testing.T) {
	path := synthetic(t, Synthetic{Rate: 20, Seed: 1})
	var d decoder
	var out bytes.Buffer
	if err := Print(&out, path); err != nil {
		t.Fatal(err)
	}
	fast, hot := 0, 0
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var want Event
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		switch want.Key() {
		case "journey", "write", "probe", "instance", "node":
			hot++
		}
		got, ok := d.event(line)
		if !ok {
			continue
		}
		fast++
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %+v\nwant %+v", line, got, want)
		}
	}
	if fast == 0 || fast != hot {
		t.Errorf("%d of %d hot events took the fast path", fast, hot)
	}
}

// A field that is added to a hot kind must be added to its decoder, or reading becomes slow.
func TestTheFastDecoderKnowsEveryField(t *testing.T) {
	for _, k := range everything() {
		var e Event
		k.Put(&e)
		switch k := k.(type) {
		case *Write:
			k.Fields = nil // of a write that was changed: rare
		case *Journey, *Probe, *Instance, *Node:
		default:
			continue
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := new(decoder).event(line); !ok || !reflect.DeepEqual(got, e) {
			t.Errorf("%s\ngives %+v, %v", line, got, ok)
		}
	}
}

func benchmarkLines(b *testing.B, fast bool) {
	path := synthetic(b, Synthetic{Rate: 200, Seed: 7})
	var out bytes.Buffer
	if err := Print(&out, path); err != nil {
		b.Fatal(err)
	}
	lines := bytes.Split(out.Bytes(), []byte("\n"))
	lines = lines[:len(lines)-2]
	var d decoder
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		line := lines[n%len(lines)]
		n++
		var e Event
		var err error
		if fast {
			e, err = decodeLine(line, &d)
		} else {
			err = json.Unmarshal(line, &e)
		}
		if err != nil || e.N == 0 {
			b.Fatalf("%s: %v", line, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	raw, edges := sample(f)
	f.Add(raw)
	f.Add(raw[:edges[2]])
	f.Add(raw[:edges[2]+10])
	f.Add([]byte{})
	f.Add(append(bytes.Clone(raw[:edges[1]]), raw[edges[2]:]...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, err := readBytes(t, t.TempDir(), raw)
		if err != nil && !isCut(err) && !isEdited(err) {
			t.Errorf("neither cut nor edited: %v", err)
		}
	})
}

func FuzzDecodeLine(f *testing.F) {
	for _, k := range everything() {
		var e Event
		k.Put(&e)
		if line, err := json.Marshal(e); err == nil {
			f.Add(line)
		}
	}
	f.Add([]byte(`{"n":1,"t":-0.5,"probe":{"name":"x","value":9007199254740993,"ok":false}}`))
	f.Add([]byte(`{"n":1,"t":0.1,"journey":{"served":["a@b","c@d"],"error":"\u00e9"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, ok := new(decoder).event(line)
		if !ok {
			return
		}
		var want Event
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", line, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\n got %+v\nwant %+v", line, got, want)
		}
	})
}
