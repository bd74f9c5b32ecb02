package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

func TestLabelsStandOnLanes(t *testing.T) {
	for name, c := range map[string]struct {
		labels [][2]float64
		lanes  []int
	}{
		"none":                         {},
		"far from each other":          {[][2]float64{{0, 0.1}, {0.2, 0.3}, {0.5, 0.6}}, []int{0, 0, 0}},
		"at one place":                 {[][2]float64{{0, 0.1}, {0, 0.1}, {0, 0.1}}, []int{0, 1, 2}},
		"the first lane is free again": {[][2]float64{{0, 0.2}, {0.1, 0.5}, {0.3, 0.4}}, []int{0, 1, 0}},
	} {
		lanes, n := stack(c.labels)
		if !slices.Equal(lanes, c.lanes) || len(lanes) > 0 && n != slices.Max(lanes)+1 {
			t.Errorf("%s: lanes %v of %d, expected %v", name, lanes, n, c.lanes)
		}
	}
}

// No label of a clock lies on another one, however near to each other the clocks are.
func TestNoClockLiesOnAnother(t *testing.T) {
	for _, near := range []float64{0, 0.01, 0.5, 5, 50} {
		b := New()
		for i, c := range clockOrder {
			e := evidence.Event{N: int64(i + 1), T: evidence.Offset(10 + near*float64(i))}
			(&evidence.Clock{Name: c.name}).Put(&e)
			b.Add(e)
		}
		tl := b.Model(verdict.Verdict{}, "").timeline()
		type box struct{ from, to float64 }
		lanes := map[string][]box{}
		for _, k := range tl.Clocks {
			var at float64
			var lane int
			if _, err := fmt.Sscanf(string(k.Style), "--t:%g;--lane:%d", &at, &lane); err != nil {
				t.Fatal(err)
			}
			width := float64(len(k.Name)+len(k.At)) * 6 / plotWide * tl.Span
			l := box{at, at + width}
			if strings.Contains(k.Class, "end") {
				l = box{at - width, at}
			}
			for _, other := range lanes[fmt.Sprint(lane)] {
				if l.from < other.to && other.from < l.to {
					t.Errorf("%g s apart: %s lies on another label", near, k.Name)
				}
			}
			lanes[fmt.Sprint(lane)] = append(lanes[fmt.Sprint(lane)], l)
			if l.from < -1e-9 && l.to > tl.Span {
				t.Errorf("%g s apart: %s leaves the picture", near, k.Name)
			}
		}
	}
}

// A gap is drawn also where a column of the picture is longer, and very many are drawn as fewer, but never as an observation.
func TestEveryGapIsDrawn(t *testing.T) {
	points := make([]point, 900)
	for i := range points {
		points[i] = point{1, 1, true}
	}
	const per = 8 // columns of 4 s
	if got := holes(points, per, []evidence.Gap{{From: 101, To: 102}}); len(got) != 1 || !strings.Contains(string(got[0].Style), "--a:101;--b:102") {
		t.Errorf("a gap of a second: %v", got)
	}
	var gaps []evidence.Gap
	for i := range 500 {
		gaps = append(gaps, evidence.Gap{From: evidence.Offset(i * 7), To: evidence.Offset(i*7 + 1)})
	}
	got := holes(points, per, gaps)
	if len(got) > maxHoles {
		t.Errorf("%d stretches are drawn", len(got))
	}
	for _, g := range gaps {
		if !slices.ContainsFunc(got, func(s seg) bool {
			var a, b float64
			_, err := fmt.Sscanf(string(s.Style), "--a:%g;--b:%g", &a, &b)
			return err == nil && a <= float64(g.From) && b >= float64(g.To)
		}) {
			t.Errorf("the gap at %v is not drawn", g.From)
		}
	}
}

func TestReadingsAreShortAndGapsAreNull(t *testing.T) {
	nan := float32(0)
	nan /= nan
	raw, err := readings{0, 1, 0.5, 0.12345, 12.345, 1234.5, 100, nan}.MarshalJSON()
	if want := "[0,1,0.5,0.123,12.3,1234,100,null]"; err != nil || string(raw) != want {
		t.Errorf("%s (%v), expected %s", raw, err, want)
	}
}

// What a node was before its schema changed is what it was before the deploy, however long the rollback took.
func TestANodeIsNotBadBeforeItsSchemaChanges(t *testing.T) {
	m := load(t)
	for _, g := range m.replicas().Groups {
		for _, r := range g.Rows {
			if r.Name == "primary" && !strings.HasPrefix(r.Segs[0].Class, "new") {
				t.Errorf("the primary begins as %q", r.Segs[0].Class)
			}
		}
	}
}

// A number of the writes opens to its rows, with the trace by which the service's own records are found.
func TestANumberOfTheWritesOpensToItsRows(t *testing.T) {
	v := load(t).writesView()
	opened := map[string]opened{}
	for _, o := range v.Opened {
		opened[o.ID] = o
	}
	seen := 0
	for _, r := range v.Rows {
		for _, c := range r.Cells {
			if c.ID == "" {
				if c.Text != "0" && (c.Key == "Transformed" || c.Key == "Unknown") {
					t.Errorf("%s, %s: %s of which no row is shown", r.Name, c.Key, c.Text)
				}
				continue
			}
			o, ok := opened[c.ID]
			if !ok || len(o.Rows) == 0 {
				t.Errorf("%s, %s leads nowhere", r.Name, c.Key)
				continue
			}
			for _, l := range o.Rows {
				seen++
				if l.Key == "" || l.N == 0 || len(l.Trace) != 32 && c.Key != "Unknown" {
					t.Errorf("%s: %+v", o.Title, l)
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d rows are shown", seen)
	}
}

func TestTextOfOthersIsPlain(t *testing.T) {
	for raw, want := range map[string]string{
		"plain\n\ttext": "plain\n\ttext", "\x1b[1;31mred\x1b[0m": "red", "50%\r100%": "50%100%", "a\x00b\xffc": "a\ufffdb\ufffdc", "rm \u202egnp.exe": "rm \ufffdgnp.exe", "Grüße, שלום": "Grüße, שלום",
		"\x1b]0;title\x07": "\ufffd]0;title\ufffd",
	} {
		if got := text(raw); got != want {
			t.Errorf("%q is %q, expected %q", raw, got, want)
		}
	}
}

// What a reader may miss is said where the numbers say so, and nowhere else.
func TestInsightsAreSaidWhereTheNumbersSaySo(t *testing.T) {
	const hides, more, silent, early, none = "The overall rate hides the harm", "The rollback failed more journeys than the release", "Most of the time passed in silence", "An alert said so in time", "No alert before the decision"
	drill := func(badCheckouts, badLater int, alertAt float64, silence float64) *Model {
		b := New()
		n := int64(0)
		put := func(at float64, k evidence.Kind) {
			n++
			e := evidence.Event{N: n, T: evidence.Offset(at)}
			k.Put(&e)
			b.Add(e)
		}
		put(0, &evidence.Run{Service: evidence.Service{Name: "shop", Journeys: []string{"browse", "checkout"}}})
		for _, c := range []struct {
			t    float64
			name string
		}{{0, evidence.ClockBaselineBegun}, {10, evidence.ClockBaselineEnded}, {10, evidence.ClockDeployBegun}, {20, evidence.ClockDecided}, {25, evidence.ClockCommandReturned}} {
			put(c.t, &evidence.Clock{Name: c.name})
		}
		journeys := func(name string, from, to float64, good, bad int) {
			for i := range good + bad {
				outcome := evidence.OK
				if i < bad {
					outcome = evidence.Failed
				}
				put(from, &evidence.Journey{Name: name, At: evidence.Offset(from + (to-from)*float64(i)/float64(good+bad)), Outcome: outcome})
			}
		}
		journeys("browse", 0, 10, 100, 0)
		journeys("browse", 10.5, 19, 100, 0)
		journeys("checkout", 10.5, 19, 10-badCheckouts, badCheckouts)
		journeys("checkout", 21, 24, 20, badLater)
		if alertAt > 0 {
			put(alertAt, &evidence.Alert{Metric: "errors", Event: "raised"})
		}
		first, restored := evidence.Offset(11), evidence.Offset(25+silence)
		return b.Model(verdict.Verdict{Silence: &silence, Clocks: verdict.Clocks{evidence.ClockFirstBad: &first, evidence.ClockRestored: &restored}}, "")
	}
	for name, c := range map[string]struct {
		m    *Model
		want []string
	}{
		"all is plain":             {drill(0, 0, 12, 1), []string{early}},
		"one journey of two fails": {drill(5, 0, 12, 1), []string{hides, early}},
		"all of one journey fail":  {drill(10, 10, 12, 1), []string{hides, early}},
		"the rollback is worse":    {drill(5, 9, 12, 1), []string{hides, more, early}},
		"silence":                  {drill(0, 0, 12, 9), []string{silent, early}},
		"nobody raised an alert":   {drill(0, 0, 0, 1), []string{none}},
		"too late":                 {drill(0, 0, 22, 1), []string{early, none}},
	} {
		var got []string
		for _, i := range c.m.insights() {
			got = append(got, i.Title)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
}
