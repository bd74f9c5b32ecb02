// Package lint reads rollback plans, migrations and scripts and says what goes wrong with them sooner or later, without
// running anything: each finding with its place, what was found and what to do.
package lint

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"backout/harness/service"
)

// Finding is one thing found.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Rule     string `json:"rule"`
	Found    string `json:"found"`
	Do       string `json:"do"`
	Accepted string `json:"accepted,omitempty"` // the reason for which people accept it; empty: nobody does
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s. %s.", f.File, f.Line, f.Rule, f.Found, f.Do)
}

// Rule is one thing that is looked for, in plans or in SQL.
type Rule struct {
	Name string
	Why  string // what happens otherwise, in a sentence
	Plan func(*service.Plan) []Finding
	SQL  func(Script, Sizes) []Finding
}

// Rules are all of them. The name of each stands in its findings and in the comments that accept them.
var Rules = slices.Concat(planRules, downRules, lockRules, []Rule{
	{Name: unreadable, Why: "What cannot be read is not known to be right."},
	{Name: noTimeout, Why: "A step without a timeout hangs for as long as nobody looks."},
	{Name: unreasoned, Why: "A finding is accepted for a reason that others can read."},
	{Name: unneeded, Why: "A comment that accepts nothing hides the next finding."},
})

const (
	unreadable = "unreadable"
	noTimeout  = "no-timeout"
	unreasoned = "accepts-without-reason"
	unneeded   = "accepts-nothing"
)

// Sizes say which tables are large.
type Sizes struct {
	Rows  map[string]int // as service.yaml states them
	Large int            // from so many rows on
}

// large says in words why a table counts as large; empty: it does not. A table whose rows nobody states may be.
func (s Sizes) large(table string) string {
	rows, known := s.Rows[table]
	if !known {
		rows, known = s.Rows[strings.TrimPrefix(table, "public.")]
	}
	switch {
	case !known:
		return table + ", whose rows service.yaml does not state"
	case rows >= s.Large:
		return fmt.Sprintf("%s with %d rows", table, rows)
	}
	return ""
}

// Plan is what is found in a plan.
func Plan(p *service.Plan) []Finding {
	var all []Finding
	for _, r := range Rules {
		if r.Plan != nil {
			all = append(all, named(r.Name, r.Plan(p))...)
		}
	}
	return all
}

// SQL is what is found in a migration of goose, or in a script for psql.
func SQL(path, text string, sizes Sizes) []Finding {
	script, err := Read(path, text)
	if err != nil {
		return []Finding{*err}
	}
	var all []Finding
	for _, r := range Rules {
		if r.SQL != nil {
			all = append(all, named(r.Name, r.SQL(script, sizes))...)
		}
	}
	for i := range all {
		all[i].File = path
	}
	return all
}

func named(rule string, found []Finding) []Finding {
	for i := range found {
		found[i].Rule = rule
	}
	return found
}

// sorted puts findings into the order of their places, each once.
func sorted(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Found, b.Found))
	})
	return slices.Compact(all)
}

// Judge lays the comments of the files over what was found in them: what they accept, and comments that are wrong.
func Judge(found []Finding, files []string) ([]Finding, error) {
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read which findings are accepted: %w", err)
		}
		found = accept(found, path, string(text))
	}
	return sorted(found), nil
}
