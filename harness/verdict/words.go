package verdict

import (
	"math"
	"strconv"
	"strings"

	"backout/harness/evidence"
)

// tick is an offset in the resolution of the log, a tenth of a millisecond. Events that come straight from a running
// drill are rounded to it, so that judging live and judging the saved log see the same numbers. It reaches 59 hours.
type tick int32

const (
	second  tick = 1e4
	forever tick = math.MaxInt32
)

func ticks(o evidence.Offset) tick {
	x := math.Round(float64(o) * float64(second))
	switch {
	case math.IsNaN(x) || x <= 0:
		return 0
	case x >= float64(forever):
		return forever
	}
	return tick(x)
}

func (t tick) offset() evidence.Offset { return evidence.Offset(float64(t) / float64(second)) }

func (t tick) seconds() float64 { return float64(t) / float64(second) }

// rounded is to four decimals, the resolution of the log, so that equal facts give equal bytes.
func rounded(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// number writes 9412 as 9,412.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// count writes "1 row", "2 rows".
func count(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}

func decimal(x float64, digits int) string {
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// length writes a duration in seconds: "41.8 s", "4 min 10 s".
func length(seconds float64) string {
	if seconds < 120 {
		return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
	}
	whole := int64(math.Round(seconds))
	text := number(whole/60) + " min"
	if rest := whole % 60; rest > 0 {
		text += " " + strconv.FormatInt(rest, 10) + " s"
	}
	return text
}

// limit writes a promised duration: "5 min", "90 s".
func limit(seconds float64) string {
	if seconds >= 120 && math.Mod(seconds, 1) == 0 {
		return length(seconds)
	}
	return decimal(seconds, 1) + " s"
}

func at(t tick) string { return strconv.FormatFloat(t.seconds(), 'f', 1, 64) + " s" }

// bare writes a share of 1 as a percentage without its sign.
func bare(share float64) string {
	p := share * 100
	if p >= 10 {
		return decimal(p, 0)
	}
	if p > 0 && p < 0.1 {
		return decimal(p, 2)
	}
	return decimal(p, 1)
}

func percent(share float64) string { return bare(share) + " %" }

func millis(ms float64) string { return decimal(ms, 1) + " ms" }

// short cuts a text that comes from outside to one line of a length that fits a finding.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 160
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + " ..."
}

// list joins "a", "b", "c" as "a, b and c", of more than most only the first ones and how many others.
func list(items []string, most int) string {
	if len(items) > most {
		return strings.Join(items[:most], ", ") + " and " + number(int64(len(items)-most)) + " more"
	}
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// few keeps the numbers of events that a finding cites short.
func few(ns []int64) []int64 {
	const most = 8
	var out []int64
	for _, n := range ns {
		if n == 0 {
			continue
		}
		seen := false
		for _, o := range out {
			seen = seen || o == n
		}
		if !seen {
			out = append(out, n)
		}
		if len(out) == most {
			break
		}
	}
	return out
}
