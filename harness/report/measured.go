package report

import (
	"fmt"
	"slices"

	"backout/harness/evidence"
)

// measured tells what a release's authors measured of its ways back: from which volume on each was faster than the first of them,
// and what each took.
func measured(all []evidence.Measured) (pairs [][2]string) {
	if len(all) == 0 {
		return nil
	}
	first, told := all[0].Way, []string{all[0].Way}
	for _, m := range all {
		if slices.Contains(told, m.Way) {
			continue
		}
		told = append(told, m.Way)
		says := fmt.Sprintf("not faster than %s at the largest volume that was measured", first)
		if from := fasterFrom(all, m.Way, first); from > 0 {
			says = fmt.Sprintf("faster than %s from %s on, of the volumes that were measured", first, many(from, "row", "rows"))
		}
		pairs = append(pairs, [2]string{m.Way, says})
	}
	for _, m := range all {
		says := fmt.Sprintf("took %s, a writer waited at most %s", milliseconds(m.Seconds*1000), milliseconds(m.Blocked*1000))
		if m.Keep > 0 {
			says += fmt.Sprintf("; keeping took %s and %s", milliseconds(m.Keep*1000), bytesOf(float64(m.Bytes)))
		}
		runs := "one run"
		if m.Runs > 1 {
			runs = fmt.Sprintf("medians of %d", m.Runs)
		}
		pairs = append(pairs, [2]string{fmt.Sprintf("%s, %s", many(m.Rows, "row", "rows"), m.Way), fmt.Sprintf("%s; %s, load average %s", says, runs, m.Load)})
	}
	return pairs
}

// fasterFrom is the least volume from which on a way was faster than another, at each volume at which both were measured; 0: at
// the largest it was not.
func fasterFrom(all []evidence.Measured, way, than string) (from int) {
	took := map[string]map[int]float64{way: {}, than: {}}
	var volumes []int
	for _, m := range all {
		if of := took[m.Way]; of != nil {
			of[m.Rows] = m.Seconds
			volumes = append(volumes, m.Rows)
		}
	}
	slices.Sort(volumes)
	for _, v := range slices.Backward(slices.Compact(volumes)) {
		mine, is := took[way][v]
		other, both := took[than][v]
		if !is || !both {
			continue
		}
		if mine >= other {
			break
		}
		from = v
	}
	return from
}
