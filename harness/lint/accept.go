package lint

import (
	"regexp"
	"slices"
	"strings"
)

// acceptance is a comment by which people accept what a rule finds, in the line above or in the same line:
//
//	# lint: accept no-expected-outcome: its exit code says it
//	-- lint: accept down-loses-data, no-lock-timeout: nobody reads it any more
var acceptance = regexp.MustCompile(`(?:^|\s)(?:#|--)\s*lint:\s*accept\s+([a-z-]+(?:,\s*[a-z-]+)*)\s*(?::\s*(.*?))?\s*$`)

// comment is a line that holds nothing else.
var comment = regexp.MustCompile(`^\s*(?:#|--)`)

// accept marks the findings of a file that its comments accept, and adds what is wrong with those comments.
func accept(found []Finding, path, text string) []Finding {
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		m := acceptance.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		about := n
		if comment.MatchString(line) {
			for about++; about < len(lines) && (comment.MatchString(lines[about]) || strings.TrimSpace(lines[about]) == ""); about++ {
			}
		}
		for _, rule := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			here := func(f Finding) bool {
				return f.File == path && f.Rule == rule && (f.Line == about+1 || f.Line == n+1)
			}
			switch {
			case m[2] == "":
				found = append(found, Finding{path, n + 1, unreasoned, "no reason stands behind " + rule, "Write it there: lint: accept " + rule + ": the reason", ""})
			case !slices.ContainsFunc(found, here):
				found = append(found, Finding{path, n + 1, unneeded, "there is no finding of " + rule + " in the line that this is about", "Take the comment away", ""})
			}
			for i := range found {
				if m[2] != "" && here(found[i]) {
					found[i].Accepted = m[2]
				}
			}
		}
	}
	return found
}
