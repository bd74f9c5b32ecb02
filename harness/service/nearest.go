package service

import (
	"fmt"
	"strings"
)

// oneOf lists names for an error.
func oneOf(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return fmt.Sprintf("%q", names[0])
	}
	return "one of " + strings.Join(names, ", ")
}

// meant is "; did you mean X" when a name is near enough to one of the known names.
func meant(name string, known []string) string {
	best, least := "", len([]rune(name))/2+1
	for _, k := range known {
		d := distance(name, k)
		if len(name) > 2 && len(k) > 2 && (strings.HasPrefix(k, name) || strings.HasPrefix(name, k)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" || best == name {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters must be added, left away or replaced to make b of a (Levenshtein). Texts are looked at up
// to 64 letters.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	x, y = x[:min(len(x), 64)], y[:min(len(y), 64)]
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			replace := diagonal
			if x[i] != y[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
