package fault

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// said names a statement in words: the file's, and its beginning.
func (s script) said(i int) string {
	short := []rune(strings.TrimSuffix(bare(s.statements[i]), ";"))
	if len(short) > 60 {
		short = append(short[:60], []rune("...")...)
	}
	return fmt.Sprintf("%s, %q", s.path, string(short))
}

func (r Right) statement(s script, what string, statements []string) Mutant {
	return Mutant{What: what, Plan: r.with(r.Plan.Steps...), Overlay: s.of(statements)}
}

// classes tell the statements that are left out most easily, since everything works without them for a while.
var classes = []struct {
	name    string
	matches *regexp.Regexp
}{
	{"index", regexp.MustCompile(`(?i)^create (unique )?index`)},
	{"grant", regexp.MustCompile(`(?i)^grant`)},
	{"trigger", regexp.MustCompile(`(?i)^(create (or replace )?(constraint )?trigger|alter table \S+ enable trigger)`)},
	{"default", regexp.MustCompile(`(?i)^alter table .*(set default|add constraint|set not null|add check|add foreign key|validate constraint)`)},
}

func class(statement string) string {
	for _, c := range classes {
		if c.matches.MatchString(bare(statement)) {
			return c.name
		}
	}
	return ""
}

func leaveOut(name string) func(Right) []Mutant {
	return func(r Right) []Mutant {
		return without(r, func(s string) bool { return class(s) == name })
	}
}

// dropStatement leaves out a statement of no class.
func dropStatement(r Right) []Mutant {
	return without(r, func(s string) bool { return class(s) == "" })
}

func without(r Right, which func(statement string) bool) (all []Mutant) {
	for _, s := range r.sql() {
		for i, statement := range s.statements {
			if which(statement) {
				all = append(all, r.statement(s, "without "+s.said(i), slices.Delete(slices.Clone(s.statements), i, i+1)))
			}
		}
	}
	return all
}

func swapStatements(r Right) (all []Mutant) {
	for _, s := range r.sql() {
		for i := range len(s.statements) - 1 {
			statements := slices.Clone(s.statements)
			statements[i], statements[i+1] = statements[i+1], statements[i]
			all = append(all, r.statement(s, s.said(i)+" after the one that follows it", statements))
		}
	}
	return all
}

func repeatStatement(r Right) (all []Mutant) {
	for _, s := range r.sql() {
		for i := range s.statements {
			all = append(all, r.statement(s, s.said(i)+" twice", slices.Insert(slices.Clone(s.statements), i+1, s.statements[i])))
		}
	}
	return all
}

// commitHalf commits the first half of a Down and then breaks off, as a migration without a transaction does when its
// session is killed.
func commitHalf(r Right) (all []Mutant) {
	for _, s := range r.sql() {
		if half := len(s.statements) / 2; half > 0 {
			statements := slices.Insert(slices.Clone(s.statements), half,
				"\ncommit;", "\ndo 'begin raise exception ''the session was killed''; end';")
			all = append(all, r.statement(s, fmt.Sprintf("%s committed after %d of %d statements", s.path, half, len(s.statements)), statements))
		}
	}
	return all
}

// written is an update of a table with the first column that it sets.
var written = regexp.MustCompile(`(?i)^update (?:only )?([a-z_][a-z0-9_.]*)(?: (?:as )?[a-z_][a-z0-9_]*)? set ([a-z_][a-z0-9_]*) ?=`)

// spoil follows each update of a Down by one that spoils what was written.
func spoil(word string, sql func(table, column string) string) func(Right) []Mutant {
	return func(r Right) (all []Mutant) {
		for _, s := range r.sql() {
			for i, statement := range s.statements {
				found := written.FindStringSubmatch(bare(statement))
				if found == nil {
					continue
				}
				statements := slices.Insert(slices.Clone(s.statements), i+1, "\n"+sql(found[1], found[2])+";")
				all = append(all, r.statement(s, fmt.Sprintf("%s %s.%s after %s", word, found[1], found[2], s.said(i)), statements))
			}
		}
		return all
	}
}

func nulled(table, column string) string {
	return fmt.Sprintf("update %s set %s = null where %[2]s is not null", table, column)
}

// shifted gives each row the value of the row before it, in the order in which they lie.
func shifted(table, column string) string {
	return fmt.Sprintf("update %[1]s t set %[2]s = s.v from (select ctid as at, lag(%[2]s) over (order by ctid) as v from %[1]s) s "+
		"where t.ctid = s.at and s.v is not null and t.%[2]s is distinct from s.v", table, column)
}

// swapped exchanges the values of two rows that differ.
func swapped(table, column string) string {
	return fmt.Sprintf("with a as (select ctid as at, %[2]s as v from %[1]s where %[2]s is not null order by ctid limit 1), "+
		"b as (select t.ctid as at, t.%[2]s as v from %[1]s t, a where t.%[2]s is not null and t.%[2]s is distinct from a.v order by t.ctid limit 1) "+
		"update %[1]s t set %[2]s = case when t.ctid = a.at then b.v else a.v end from a, b where t.ctid in (a.at, b.at)", table, column)
}
