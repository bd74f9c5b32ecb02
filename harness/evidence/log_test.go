package evidence

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// everything is one event of each kind with every field set.
func everything() []Kind {
	e := Event{}
	v := reflect.ValueOf(&e).Elem()
	var kinds []Kind
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer {
			p := reflect.New(f.Type().Elem())
			n := 0
			fill(p.Elem(), &n)
			kinds = append(kinds, p.Interface().(Kind))
		}
	}
	return kinds
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 6, 45, 12, 4e6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	}
}

func create(t testing.TB) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), File)
	l, err := Create(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

func closeLog(t testing.TB, l *Log) string {
	t.Helper()
	head, err := l.Close()
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func readAll(path string) (events []Event, err error) {
	for e, err := range Read(path) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// setClock is an instant as time.Now gives it when the machine's clock has been set forward or back before: the wall
// clock's part is another, the monotonic one is not. The layout is that of package time: bit 63 says that there is a
// monotonic reading, 33 bits of seconds and 30 of nanoseconds follow.
func setClock(t *testing.T, at time.Time, by time.Duration) time.Time {
	t.Helper()
	wall := reflect.ValueOf(&at).Elem().FieldByName("wall")
	p := (*uint64)(unsafe.Pointer(wall.UnsafeAddr()))
	if *p>>63 != 1 {
		t.Fatal("the instant has no monotonic reading: the test looks in the wrong place")
	}
	seconds := int64(*p<<1>>31) + int64(by/time.Second)
	*p = 1<<63 | uint64(seconds)<<30 | *p&(1<<30-1)
	return at
}

// The machine's clock may be set while a drill runs. Offsets do not follow it.
func TestAClockThatJumpsMovesNoOffset(t *testing.T) {
	start := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		l, err := Create(filepath.Join(t.TempDir(), File), start)
		if err != nil {
			t.Fatal(err)
		}
		later := setClock(t, start.Add(2*time.Second), by)
		if found := later.Round(0).Sub(start.Round(0)); found != by+2*time.Second {
			t.Fatalf("the clock was set by %s, and shows %s: the test sets nothing", by, found)
		}
		if at := l.At(later); at != 2 {
			t.Errorf("the clock was set by %s: expected the offset 2, found %v", by, at)
		}
		closeLog(t, l)
	}
}

func TestEveryKindComesBackAsItWasPut(t *testing.T) {
	l, path := create(t)
	var tapped []Event
	l.Tap(func(e Event) { tapped = append(tapped, e) })
	kinds := everything()
	for i, k := range kinds {
		if n := l.PutAt(Offset(i)+0.12344, k); n != int64(i+1) {
			t.Fatalf("number %d, want %d", n, i+1)
		}
	}
	head := closeLog(t, l)
	events, err := readAll(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != len(kinds) {
		t.Fatalf("%d events, want %d", len(events), len(kinds))
	}
	for i, e := range events {
		want := Event{N: int64(i + 1), T: Offset(i) + 0.1234}
		kinds[i].Put(&want)
		if !reflect.DeepEqual(e, want) {
			t.Errorf("event %d\n got %#v\nwant %#v", i+1, e, want)
		}
		if e.Key() != strings.ToLower(reflect.TypeOf(kinds[i]).Elem().Name()) {
			t.Errorf("event %d: key %q", i+1, e.Key())
		}
	}
	if !reflect.DeepEqual(tapped, events) {
		t.Error("a tap saw something else than the reader")
	}
	if found, err := Head(path); err != nil || found != head || !strings.HasPrefix(head, "sha256:") {
		t.Errorf("head %q, %v, want %q", found, err, head)
	}
	if again, err := l.Close(); err != nil || again != head {
		t.Errorf("closed again: %q, %v", again, err)
	}
	if n := l.Put(&Phase{Name: "late"}); n != 0 {
		t.Errorf("an event was put after the end: %d", n)
	}
}

func TestManyWritersAreNumberedInTheOrderOfTheFile(t *testing.T) {
	l, path := create(t)
	var order []int64
	l.Tap(func(e Event) { order = append(order, e.N) })
	const writers, each = 8, 2000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				l.Put(&Journey{Name: "checkout", User: w, Step: i, Outcome: OK})
			}
		})
	}
	all.Wait()
	l.Put(&End{How: "complete"})
	closeLog(t, l)
	events, err := readAll(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != writers*each+1 || len(order) != len(events) {
		t.Fatalf("%d events read, %d tapped", len(events), len(order))
	}
	next := make([]int, writers)
	for i, e := range events {
		if e.N != int64(i+1) || order[i] != e.N {
			t.Fatalf("event %d has number %d, tapped as %d", i+1, e.N, order[i])
		}
		if i > 0 && e.T < events[i-1].T {
			t.Fatalf("event %d is earlier than the one before", e.N)
		}
		if j := e.Journey; j != nil {
			if j.Step != next[j.User] {
				t.Fatalf("writer %d: %d after %d", j.User, j.Step, next[j.User])
			}
			next[j.User]++
		}
	}
}

func TestCreateDoesNotOverwriteEvidence(t *testing.T) {
	l, path := create(t)
	closeLog(t, l)
	if _, err := Create(path, time.Now()); err == nil {
		t.Error("it was overwritten")
	}
}

func TestAnEventThatCannotBeEncodedIsAnError(t *testing.T) {
	l, path := create(t)
	zero := 0.0
	if n := l.Put(&Probe{Name: "load", Value: 1 / zero, OK: true}); n != 0 {
		t.Errorf("number %d", n)
	}
	l.Put(&Message{Text: strings.Repeat("x", maxEvent)})
	l.Put(&End{How: "broke"})
	if l.Err() == nil || !strings.Contains(l.Err().Error(), "probe") {
		t.Errorf("error %v", l.Err())
	}
	if _, err := l.Close(); err == nil {
		t.Error("closed without the error")
	}
	if events, err := readAll(path); err != nil || len(events) != 1 || events[0].N != 1 {
		t.Errorf("%v, %v", events, err)
	}
}

func TestPrintIsOneLineAnEventAndTheHead(t *testing.T) {
	l, path := create(t)
	l.PutAt(0, &Phase{Name: "provision"})
	l.PutAt(6.9114, &Write{Key: "c41f", Journey: "checkout", Event: Acknowledged})
	l.PutAt(27.5, &Pod{Name: "shop-7d9f-x2x", Service: "shop", Event: PodFailing, Owner: "ReplicaSet/shop-7d9f", Reason: "ImagePullBackOff"})
	l.PutAt(28, &Endpoints{Service: "shop", Pods: []string{"shop-7d9f-aaa"}})
	l.PutAt(61.3, &End{How: "complete"})
	head := closeLog(t, l)
	var out strings.Builder
	if err := Print(&out, path); err != nil {
		t.Fatal(err)
	}
	want := `{"n":1,"t":0,"phase":{"name":"provision"}}
{"n":2,"t":6.9114,"write":{"key":"c41f","journey":"checkout","event":"acknowledged"}}
{"n":3,"t":27.5,"pod":{"name":"shop-7d9f-x2x","service":"shop","event":"failing","owner":"ReplicaSet/shop-7d9f","reason":"ImagePullBackOff"}}
{"n":4,"t":28,"endpoints":{"service":"shop","pods":["shop-7d9f-aaa"]}}
{"n":5,"t":61.3,"end":{"how":"complete"}}
{"chain":"` + head + `"}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestZstdcatPrintsTheLog(t *testing.T) {
	zstdcat, err := exec.LookPath("zstdcat")
	if err != nil {
		t.Skip("there is no zstdcat here (package zstd)")
	}
	l, path := create(t)
	l.Put(&Message{Text: strings.Repeat("long ", segmentSize/5)}) // two segments
	l.Put(&End{How: "complete"})
	closeLog(t, l)
	out, err := exec.Command(zstdcat, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := strings.Count(string(out), "\n"); n != 5 {
		t.Errorf("%d lines, want 2 events and 3 segments", n)
	}
}

func TestAWriteThatDoesNotReachTheFileIsAnError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := begin(f, time.Now(), segmentTime)
	if err != nil {
		t.Fatal(err)
	}
	l.Put(&Phase{Name: "provision"})
	if _, err := l.Close(); err == nil || !strings.Contains(err.Error(), "evidence log") {
		t.Errorf("closed with %v", err)
	}
}

// What a kill leaves behind: everything but the segment that was being filled, also when nothing follows it.
func TestAnIdleLogReachesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := begin(f, time.Now(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Put(&Phase{Name: "provision"})
	for end := time.Now().Add(30 * time.Second); ; {
		events, err := readAll(path)
		if !isCut(err) {
			t.Fatalf("a log that is being written reads as %v", err)
		}
		if len(events) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the event is not in the file after 30 s: %v", err)
		}
	}
}
