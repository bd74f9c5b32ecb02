package fault

import (
	"maps"
	"slices"
	"strings"
)

// script is a file of SQL cut into what stands before the part that is changed, the statements of that part, and what
// stands after it.
type script struct {
	path       string
	head, tail string
	statements []string // each with its semicolon and the comments before it
}

const (
	gooseDown  = "-- +goose Down"
	gooseBegin = "-- +goose StatementBegin"
	gooseEnd   = "-- +goose StatementEnd"
)

// scripts are what a rollback runs as SQL: the Down parts of its migrations, and the SQL files that its steps name.
func (r Right) sql() (all []script) {
	for _, path := range slices.Sorted(maps.Keys(r.Down)) {
		if !r.names(" migrations ") {
			break // no step runs migrations: what stands in their Down is not what brings this release back
		}
		text := r.Down[path]
		i := strings.Index(text, gooseDown)
		if i < 0 {
			continue
		}
		i += len(gooseDown)
		statements, rest := split(text[i:])
		all = append(all, script{path: path, head: text[:i], statements: statements, tail: rest})
	}
	for _, path := range slices.Sorted(maps.Keys(r.Scripts)) {
		if !strings.HasSuffix(path, ".sql") || !r.names(path) {
			continue
		}
		statements, rest := split(r.Scripts[path])
		all = append(all, script{path: path, statements: statements, tail: rest})
	}
	return all
}

// names says whether a step's command names a file.
func (r Right) names(path string) bool {
	for _, s := range r.Plan.Steps {
		if strings.Contains(s.Run, path) {
			return true
		}
	}
	return false
}

// of is the file with these statements.
func (s script) of(statements []string) map[string]string {
	return map[string]string{s.path: s.head + strings.Join(statements, "") + s.tail}
}

// split cuts SQL into statements at semicolons that stand outside of quotes, comments and dollar quotes, and outside of
// goose's own marks of a statement. rest is what follows the last one. See "Lexical Structure" in PostgreSQL's manual.
func split(sql string) (statements []string, rest string) {
	from := 0
	for i := 0; i < len(sql); {
		rest := sql[i:]
		switch {
		case strings.HasPrefix(rest, gooseBegin):
			if end := strings.Index(rest, gooseEnd); end >= 0 {
				i += end + len(gooseEnd)
				statements, from = append(statements, sql[from:i]), i
				continue
			}
			i += len(gooseBegin)
		case strings.HasPrefix(rest, "--"):
			i += through(rest, 2, "\n")
		case strings.HasPrefix(rest, "/*"):
			i += through(rest, 2, "*/")
		case rest[0] == '\'' || rest[0] == '"':
			i += through(rest, 1, rest[:1]) // a doubled quote ends one and begins the next, which comes to the same
		case rest[0] == '$':
			i += through(rest, len(dollar(rest)), dollar(rest))
		case rest[0] == ';':
			i++
			statements, from = append(statements, sql[from:i]), i
		default:
			i++
		}
	}
	return statements, sql[from:]
}

// through is the length of a text until the end of mark, which is looked for from a place on; all of it without one.
func through(text string, from int, mark string) int {
	if mark == "" || from > len(text) {
		return 1
	}
	if i := strings.Index(text[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(text)
}

// dollar is the opening mark of a dollar quote, "$$" or "$name$"; empty: it is none.
func dollar(text string) string {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '$':
			return text[:i+1]
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 1 && c >= '0' && c <= '9':
		default:
			return ""
		}
	}
	return ""
}

// bare is a statement without comments, on one line.
func bare(statement string) string {
	var b strings.Builder
	for i := 0; i < len(statement); {
		rest := statement[i:]
		switch {
		case strings.HasPrefix(rest, "--"):
			i += through(rest, 2, "\n")
			b.WriteByte(' ')
		case strings.HasPrefix(rest, "/*"):
			i += through(rest, 2, "*/")
		case rest[0] == '\'':
			n := through(rest, 1, "'")
			b.WriteString(rest[:n])
			i += n
		default:
			b.WriteByte(rest[0])
			i++
		}
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(b.String()), " "), ";")
}
