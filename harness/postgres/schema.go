package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pmezard/go-difflib/difflib"
)

// GooseTable is where goose records what it has applied. It is no part of the canonical schema.
const GooseTable = "goose_db_version"

// Schema is one canonical reading.
type Schema struct {
	// Text has a line an object, "kind name: definition", sorted. A column's position among the columns of its table
	// is at the end of its line, after positionMark: shown, not judged.
	Text    string
	Applied []int64 // migrations that goose has applied, sorted; none without goose's table
}

const positionMark = "  -- position "

// Digest is of what is judged: the text without the positions of columns. Readings with the same digest are equal.
func (s Schema) Digest() string {
	sum := sha256.Sum256([]byte(strings.Join(judged(s.Text), "\n")))
	return hex.EncodeToString(sum[:])
}

// judged is the lines of a canonical text without what is only shown.
func judged(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if i := strings.LastIndex(line, positionMark); i >= 0 {
			line = line[:i]
		}
		lines = append(lines, line)
	}
	return lines
}

// Diff is a unified diff from the target's canonical text to what was found; empty when they are equal.
func Diff(target, found string) string {
	a, b := judged(target), judged(found)
	if slices.Equal(a, b) {
		return ""
	}
	ended := func(lines []string) []string {
		for i := range lines {
			lines[i] += "\n"
		}
		return lines
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: ended(a), B: ended(b), FromFile: "target", ToFile: "found", Context: 0})
	if err != nil { // a strings.Builder does not fail
		return err.Error()
	}
	return text
}

// Differences says in words, a line an object, how found differs from the target.
func Differences(target, found string) []string {
	a, b := objects(target), objects(found)
	var out []string
	for name, def := range a {
		other, is := b[name]
		switch {
		case !is:
			out = append(out, name+" is missing")
		case other != def:
			out = append(out, fmt.Sprintf("%s: expected %s, found %s", name, def, other))
		}
	}
	for name := range b {
		if _, is := a[name]; !is {
			out = append(out, name+" is not in the target")
		}
	}
	slices.Sort(out)
	return out
}

// objects splits the lines at the first ": " outside of quotation marks.
func objects(text string) map[string]string {
	all := map[string]string{}
	for _, line := range judged(text) {
		quoted := false
		at := len(line)
		for i := range len(line) {
			if line[i] == '"' {
				quoted = !quoted
			}
			if !quoted && strings.HasPrefix(line[i:], ": ") {
				at = i
				break
			}
		}
		all[line[:at]] = strings.TrimPrefix(line[at:], ": ")
	}
	return all
}

// ReadSchema reads the canonical schema of a database: everything that its DDL has made outside of system schemas,
// but for goose's table, publications and subscriptions, which differ between nodes, and what extensions have made.
// The definitions are those of PostgreSQL's own functions, with an empty search_path. Those block behind ACCESS
// EXCLUSIVE, so a reading waits at most 50 ms for a lock and 500 ms for a statement, then it is an error.
func ReadSchema(ctx context.Context, c Conn) (Schema, error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return Schema{}, fmt.Errorf("read schema: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // it has read only, or failed already
	if _, err := tx.Exec(ctx, `set transaction isolation level repeatable read, read only`); err != nil {
		return Schema{}, fmt.Errorf("read schema: %w", err)
	}
	return readWithin(ctx, tx)
}

func readWithin(ctx context.Context, tx Conn) (Schema, error) {
	settings := briefly()
	settings["search_path"] = ""
	for k, v := range settings {
		if _, err := tx.Exec(ctx, "set local "+k+" = '"+v+"'"); err != nil {
			return Schema{}, fmt.Errorf("read schema: %w", err)
		}
	}
	var lines []string
	for _, k := range kinds() {
		found, err := texts(ctx, tx, common+k.sql)
		if err != nil {
			return Schema{}, fmt.Errorf("read schema: %s: %w", k.of, err)
		}
		lines = append(lines, found...)
	}
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	slices.Sort(lines)
	s := Schema{Text: strings.Join(lines, "\n")}
	if s.Text != "" {
		s.Text += "\n"
	}
	var err error
	if s.Applied, err = Applied(ctx, tx); err != nil {
		return Schema{}, fmt.Errorf("read schema: %w", err)
	}
	return s, nil
}

// oneLine turns the line breaks that PostgreSQL puts into definitions, with the indentation after them, into a space;
// one inside of a literal belongs to it and is written as \n.
func oneLine(s string) string {
	if !strings.Contains(s, "\n") {
		return s
	}
	var b strings.Builder
	quoted, indent := false, false
	for _, r := range s {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == '\n' && quoted:
			b.WriteString(`\n`)
			continue
		case r == '\n':
			b.WriteByte(' ')
			indent = true
			continue
		case r == ' ' && indent:
			continue
		}
		indent = false
		b.WriteRune(r)
	}
	return b.String()
}

// Applied is the set of migrations that goose has applied, sorted, without its row for version 0: those whose latest
// row says so. It is empty where goose has no table.
func Applied(ctx context.Context, c Conn) ([]int64, error) {
	tables, err := texts(ctx, c, `select format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c
		join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where c.relname = $1 and c.relkind = 'r' and n.nspname !~ '^pg_' order by n.nspname <> 'public', n.nspname`, GooseTable)
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	if len(tables) == 0 {
		return nil, nil
	}
	rows, err := c.Query(ctx, `select version_id::int8 from (
		select distinct on (version_id) version_id, is_applied from `+tables[0]+` order by version_id, id desc) latest
		where is_applied and version_id > 0 order by 1`)
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	return applied, nil
}

// texts is the rows of a query with one text column.
func texts(ctx context.Context, c Conn, sql string, args ...any) ([]string, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
