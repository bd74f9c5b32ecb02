package report

import (
	"slices"
	"strings"
	"testing"

	"backout/harness/evidence"
)

// From which volume on a way back was faster is said of the volumes that were measured, and of no other.
func TestFromWhichVolumeOnAWayBackIsFaster(t *testing.T) {
	at := func(rows int, way string, seconds float64) evidence.Measured {
		return evidence.Measured{Rows: rows, Way: way, Seconds: seconds, Blocked: seconds / 2, Keep: 1, Bytes: 3 << 20, Runs: 3, Load: "0.5"}
	}
	for name, c := range map[string]struct {
		copies []float64 // at 1,000, 2,000 and 3,000 rows, where the Down takes 10 s, 20 s and 30 s
		want   string
	}{
		"at all":                    {[]float64{1, 1, 1}, "faster than Down from 1,000 rows on"},
		"from the second on":        {[]float64{11, 1, 1}, "faster than Down from 2,000 rows on"},
		"at the largest":            {[]float64{11, 21, 1}, "faster than Down from 3,000 rows on"},
		"at the least and largest":  {[]float64{1, 21, 1}, "faster than Down from 3,000 rows on"},
		"at the least alone":        {[]float64{1, 21, 31}, "not faster than Down at the largest volume"},
		"at none":                   {[]float64{11, 21, 31}, "not faster than Down at the largest volume"},
		"as fast is not faster":     {[]float64{10, 20, 30}, "not faster than Down at the largest volume"},
		"not measured at the least": {[]float64{0, 1, 1}, "faster than Down from 2,000 rows on"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []evidence.Measured
			for n, seconds := range c.copies {
				all = append(all, at((n+1)*1000, "Down", float64(n+1)*10))
				if seconds > 0 {
					all = append(all, at((n+1)*1000, "copy", seconds))
				}
			}
			pairs := measured(all)
			if pairs[0][0] != "copy" || !strings.HasPrefix(pairs[0][1], c.want) {
				t.Errorf("expected that the copy is %s, found %q", c.want, pairs[0])
			}
			if len(pairs) != 1+len(all) {
				t.Errorf("expected a line for each of %d figures, found %q", len(all), pairs)
			}
		})
	}
	m := &Model{Run: evidence.Run{Release: evidence.Release{Measured: []evidence.Measured{at(1000, "Down", 10), at(1000, "copy", 1)}}}}
	if i := slices.IndexFunc(m.facts(), func(g group) bool { return strings.HasPrefix(g.Name, "Ways back") }); i < 0 || len(m.facts()[i].Pairs) != 3 {
		t.Errorf("expected the figures among the conditions of the page, found %v", m.facts())
	}
	if got := measured(nil); got != nil {
		t.Errorf("expected nothing of a release that states no figures, found %q", got)
	}
}
