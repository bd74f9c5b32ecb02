package database

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"backout/harness/environment/artefact"
	"backout/harness/service"
)

// Data is what fills a fresh database, and all that it depends on.
type Data struct {
	SQL     string         `json:",omitempty"` // run as it is
	Dump    string         `json:",omitempty"` // sha256 of a plain pg_dump, which is loaded by psql
	Archive string         `json:",omitempty"` // sha256 of a pg_dump archive, which is loaded by pg_restore
	Command []string       `json:",omitempty"` // run in the service's folder
	Sources string         `json:",omitempty"` // sha256 of that folder without its releases, as the command may read any of it
	Given   map[string]int `json:",omitempty"` // the rows that the command is told
	Counted map[string]int `json:",omitempty"` // the rows that must be there afterwards
	First   bool           `json:",omitempty"` // it holds the schema with goose's record, so it is loaded before the migrations

	path string // of the file, or the folder of the command
}

// DataOf is what a service's load makes with so many rows. A SQL file is told the numbers by :rows_TABLE; where a number
// is in no such place, and for all other kinds, the rows are counted afterwards.
func DataOf(s *service.Service, rows map[string]int) (Data, error) {
	var d Data
	if command := s.Database.LoadCommand; len(command) > 0 {
		sum := sha256.New()
		if err := artefact.HashTree(sum, s.Dir, func(path string) bool { return path == "releases" }); err != nil {
			return d, fmt.Errorf("load the data of %s: %w", s.Name, err)
		}
		return Data{Command: command, Sources: hex.EncodeToString(sum.Sum(nil)), Given: rows, Counted: rows, path: s.Dir}, nil
	}
	if s.Database.Load == "" {
		return d, nil
	}
	path := artefact.Within(s.Dir, s.Database.Load)
	text, err := os.ReadFile(path)
	if err != nil {
		return d, fmt.Errorf("load the data of %s: %w", s.Name, err)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(text))
	switch {
	case bytes.HasPrefix(text, []byte("PGDMP")):
		// The list of contents is not compressed, so goose's table stands in it by name.
		return Data{Archive: digest, Counted: rows, First: bytes.Contains(text, []byte("CREATE TABLE public.goose_db_version")), path: path}, nil
	case plainDump(text):
		return Data{Dump: digest, Counted: rows, First: bytes.Contains(text, []byte("CREATE TABLE public.goose_db_version")), path: path}, nil
	}
	d.Counted = map[string]int{}
	for table, n := range rows {
		if !strings.Contains(string(text), ":rows_"+table) {
			d.Counted[table] = n
		}
	}
	d.SQL, err = seed(s, path, string(text), rows)
	return d, err
}

// plainDump says whether a text is what pg_dump writes unless told otherwise: it has lines that only psql understands.
func plainDump(text []byte) bool {
	return bytes.Contains(text[:min(len(text), 1000)], []byte("PostgreSQL database dump"))
}

// seed is a SQL file with each :rows_TABLE replaced by its number.
func seed(s *service.Service, path, text string, rows map[string]int) (string, error) {
	// The longest names first: :rows_orders is the beginning of :rows_orders_old.
	names := slices.Collect(maps.Keys(rows))
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, n := range names {
		pairs = append(pairs, ":rows_"+n, strconv.Itoa(rows[n]))
	}
	out := strings.NewReplacer(pairs...).Replace(text)
	if i := strings.Index(out, ":rows_"); i >= 0 {
		name := strings.FieldsFunc(out[i:], func(r rune) bool { return !strings.ContainsRune(":_abcdefghijklmnopqrstuvwxyz0123456789", r) })[0]
		return "", fmt.Errorf("%s:%d: %s has no number: add the table to database.rows of %s", path, 1+strings.Count(out[:i], "\n"), name, s.Path)
	}
	return out, nil
}

// Fill fills a database, at a URL of its migrator. restore has one of PostgreSQL's programs read a file: the path, the
// program and its arguments, to which the URL is added.
func (d Data) Fill(ctx context.Context, at string, restore func(ctx context.Context, at, path, program string, args ...string) error) error {
	switch {
	case d.SQL != "":
		return Execute(ctx, at, d.SQL)
	case d.Dump != "":
		return restore(ctx, at, d.path, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d")
	case d.Archive != "":
		return restore(ctx, at, d.path, "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "-d")
	case len(d.Command) > 0:
		return fillBy(ctx, at, d)
	}
	return nil
}

// counted compares how many rows there are with how many are stated.
func counted(ctx context.Context, at string, d Data) error {
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(d.Counted)) {
		n, err := Ask[int64](ctx, at, "select count(*) from "+table(name))
		if err == nil && n != int64(d.Counted[name]) {
			err = fmt.Errorf("expected %d rows of %s, found %d", d.Counted[name], name, n)
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// fillBy runs the service's own command, as a developer would, with DATABASE_URL and ROWS_TABLE for each number of rows.
func fillBy(ctx context.Context, at string, d Data) error {
	cmd := exec.CommandContext(ctx, d.Command[0], d.Command[1:]...)
	cmd.Dir = d.path
	cmd.Env = append(os.Environ(), "DATABASE_URL="+at)
	for name, n := range d.Given {
		cmd.Env = append(cmd.Env, "ROWS_"+strings.ReplaceAll(name, ".", "_")+"="+strconv.Itoa(n))
	}
	return artefact.Spoken(cmd, filepath.Join(d.path, d.Command[0]))
}
