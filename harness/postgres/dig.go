package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"backout/harness/evidence"
)

// dig opens a table that differs between the primary and a node: first its chunks, ranges of the first column of the
// key, then the rows of those chunks that differ.
type dig struct {
	primary, node *reading
	table         string
	hashing       hashing

	count int64
	told  []string
}

// chunkRows is how many rows a chunk has about, and chunksMost how many chunks there are at most.
const (
	chunkRows  = 5000
	chunksMost = 256
)

// open finds the rows that differ and returns the chunks that hold them, none when the table is too small to be cut.
func (d *dig) open(ctx context.Context, rows int64) ([]evidence.Chunk, error) {
	bounds, list, err := d.bounds(ctx, rows)
	if err != nil {
		return nil, err
	}
	bucket := "0"
	if len(list) > 0 {
		bucket = d.bucket(bounds)
	}
	var mine, theirs map[int]evidence.Chunk
	work, both := errgroup.WithContext(ctx)
	work.Go(func() (err error) { theirs, err = d.sums(both, d.primary, bucket); return err })
	work.Go(func() (err error) { mine, err = d.sums(both, d.node, bucket); return err })
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var differ []int
	for b := range len(list) + 1 {
		if mine[b].Rows != theirs[b].Rows || mine[b].Sum != theirs[b].Sum {
			differ = append(differ, b)
		}
	}
	counts, err := d.rows(ctx, bucket, differ)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var out []evidence.Chunk
	for _, b := range differ {
		c := mine[b]
		c.Node, c.Table, c.Count = d.node.node.Name, shown(d.table), counts[b]
		c.Lo, c.Hi = "start", "end"
		if b > 0 {
			c.Lo = list[b-1]
		}
		if b < len(list) {
			c.Hi = list[b]
		}
		out = append(out, c)
	}
	return out, nil
}

// bounds cuts the key into ranges with about as many rows each, by a sample of the primary's. It returns them as
// PostgreSQL writes an array, and one by one.
func (d *dig) bounds(ctx context.Context, rows int64) (array string, list []string, err error) {
	chunks := min(rows/chunkRows, chunksMost)
	if len(d.hashing.key) == 0 || chunks < 2 || !d.primary.tables[d.table].Columns[d.hashing.key[0]].Native {
		return "", nil, nil
	}
	percent := min(100, 100*float64(chunks)*200/float64(rows))
	err = d.primary.conn.QueryRow(ctx, fmt.Sprintf(`select coalesce(array_agg(distinct k order by k)::text, '{}'), coalesce(array_agg(distinct k order by k)::text[], '{}')
		from (select unnest(percentile_disc(array(select i::float8 / %d from generate_series(1, %d) i)) within group (order by %s)) as k
			from %s tablesample bernoulli (%f) repeatable (1)) q where k is not null`,
		chunks, chunks-1, d.first(), d.table, percent)).Scan(&array, &list)
	if err != nil {
		return "", nil, fmt.Errorf("cut %s into chunks: %w", shown(d.table), err)
	}
	return array, list, nil
}

// first is the first column of the key, in an order that no locale decides.
func (d *dig) first() string {
	c := d.primary.tables[d.table].Columns[d.hashing.key[0]]
	return c.inRow()
}

func (d *dig) bucket(bounds string) string {
	c := d.primary.tables[d.table].Columns[d.hashing.key[0]]
	return fmt.Sprintf("coalesce(width_bucket(%s, '%s'::%s[]), 0)", d.first(), strings.ReplaceAll(bounds, "'", "''"), c.Type)
}

func (d *dig) sums(ctx context.Context, r *reading, bucket string) (map[int]evidence.Chunk, error) {
	rows, err := r.conn.Query(ctx, fmt.Sprintf("select %s, count(*), coalesce(sum(%s), 0)::text from %s group by 1", bucket, d.hashing.rowHash(), d.table))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.node.Name, err)
	}
	all := map[int]evidence.Chunk{}
	var b int
	var c evidence.Chunk
	if _, err := pgx.ForEachRow(rows, []any{&b, &c.Rows, &c.Sum}, func() error { all[b] = c; return nil }); err != nil {
		return nil, fmt.Errorf("%s: %w", r.node.Name, err)
	}
	return all, nil
}

// hashed is one row: its key as text (of a table without a key: nothing) and its hash.
type hashed struct {
	order  int64 // hash of the key, else of the row
	key    []string
	hash   int64
	bucket int
}

func (a hashed) compareKey(b hashed) int {
	switch {
	case a.order != b.order:
		if a.order < b.order {
			return -1
		}
		return 1
	}
	return slices.Compare(a.key, b.key)
}

// rows compares the rows of the chunks that differ. Both nodes send them in the order of a hash, which no locale
// changes, so that they are merged without being held.
func (d *dig) rows(ctx context.Context, bucket string, differ []int) (map[int]int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	theirs, err := d.stream(ctx, d.primary, bucket, differ)
	if err != nil {
		return nil, err
	}
	defer theirs.rows.Close()
	mine, err := d.stream(ctx, d.node, bucket, differ)
	if err != nil {
		return nil, err
	}
	defer mine.rows.Close()
	var keys []hashed // of the first ones
	counts := map[int]int64{}
	a, more := theirs.group()
	b, moreB := mine.group()
	for more || moreB {
		order := 0
		switch {
		case !moreB:
			order = -1
		case !more:
			order = 1
		default:
			order = a[0].compareKey(b[0])
		}
		apart, of := int64(0), hashed{}
		switch {
		case order < 0:
			apart, of = int64(len(a)), a[0]
		case order > 0:
			apart, of = int64(len(b)), b[0]
		default:
			apart, of = apartIn(a, b), a[0]
		}
		if apart > 0 {
			d.count += apart
			counts[of.bucket] += apart
			if len(keys) < told {
				keys = append(keys, of)
			}
		}
		if order <= 0 {
			a, more = theirs.group()
		}
		if order >= 0 {
			b, moreB = mine.group()
		}
	}
	if err := theirs.end(d.primary); err != nil {
		return nil, err
	}
	if err := mine.end(d.node); err != nil {
		return nil, err
	}
	slices.SortFunc(keys, byKey)
	for _, k := range keys {
		line, err := d.tell(ctx, k)
		if err != nil {
			return nil, err
		}
		d.told = append(d.told, line)
	}
	return counts, nil
}

// byKey sorts as people do: numbers by value.
func byKey(a, b hashed) int {
	for i := range a.key {
		if len(a.key[i]) != len(b.key[i]) && digits(a.key[i]) && digits(b.key[i]) {
			return len(a.key[i]) - len(b.key[i])
		}
		if c := strings.Compare(a.key[i], b.key[i]); c != 0 {
			return c
		}
	}
	return 0
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// apartIn counts the rows of one key that differ: usually there is one on each side, but a node may have lost the
// constraint that says so. Both are sorted by hash.
func apartIn(a, b []hashed) int64 {
	same := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].hash == b[j].hash:
			same++
			i++
			j++
		case a[i].hash < b[j].hash:
			i++
		default:
			j++
		}
	}
	return int64(max(len(a), len(b)) - same)
}

// stream is rows in order, with one row looked ahead.
type stream struct {
	rows pgx.Rows
	next *hashed
	err  error
}

func (d *dig) stream(ctx context.Context, r *reading, bucket string, differ []int) (*stream, error) {
	key := d.hashing.keyHash()
	if len(d.hashing.key) == 0 {
		key = d.hashing.rowHash()
	}
	list := make([]string, 0, len(d.hashing.key))
	for _, k := range d.hashing.key {
		list = append(list, "coalesce("+quote(k)+"::text, '')")
	}
	sql := fmt.Sprintf(`select coalesce(%s, 0), array[%s]::text[] collate "C", coalesce(%s, 0), %s from %s`, key, strings.Join(list, ", "), d.hashing.rowHash(), bucket, d.table)
	if bucket != "0" {
		sql += fmt.Sprintf(" where %s = any($1)", bucket)
	} else {
		sql += " where $1::int[] is not null"
	}
	rows, err := r.conn.Query(ctx, sql+" order by 1, 2, 3", differ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.node.Name, err)
	}
	s := &stream{rows: rows}
	s.advance()
	return s, nil
}

func (s *stream) advance() {
	s.next = nil
	if s.err != nil || !s.rows.Next() {
		return
	}
	h := &hashed{}
	if s.err = s.rows.Scan(&h.order, &h.key, &h.hash, &h.bucket); s.err == nil {
		s.next = h
	}
}

// group is the next rows with the same key.
func (s *stream) group() ([]hashed, bool) {
	if s.next == nil {
		return nil, false
	}
	group := []hashed{*s.next}
	for s.advance(); s.next != nil && s.next.compareKey(group[0]) == 0; s.advance() {
		group = append(group, *s.next)
	}
	return group, true
}

func (s *stream) end(r *reading) error {
	s.rows.Close()
	if s.err == nil {
		s.err = s.rows.Err()
	}
	if s.err != nil {
		return fmt.Errorf("%s: %w", r.node.Name, s.err)
	}
	return nil
}

// tell says how one row differs, column by column.
func (d *dig) tell(ctx context.Context, k hashed) (string, error) {
	theirs, err := d.values(ctx, d.primary, k)
	if err != nil {
		return "", err
	}
	mine, err := d.values(ctx, d.node, k)
	if err != nil {
		return "", err
	}
	name := d.node.node.Name
	var of []string
	for i, key := range d.hashing.key {
		of = append(of, key+"="+k.key[i])
	}
	if len(of) == 0 {
		any := append(theirs, mine...)
		for i, c := range d.hashing.columns {
			of = append(of, c.Name+"="+literal(any[0][i]))
		}
		return fmt.Sprintf("(%s): %d times on primary, %d on %s", strings.Join(of, ", "), len(theirs), len(mine), name), nil
	}
	line := strings.Join(of, " ") + ": "
	switch {
	case len(mine) == 0:
		return line + "not on " + name, nil
	case len(theirs) == 0:
		return line + "on " + name + " but not on primary", nil
	case len(mine) != 1 || len(theirs) != 1:
		return line + fmt.Sprintf("%d times on primary, %d on %s", len(theirs), len(mine), name), nil
	}
	var apart []string
	for i, c := range d.hashing.columns {
		if a, b := literal(theirs[0][i]), literal(mine[0][i]); a != b {
			apart = append(apart, fmt.Sprintf("%s: primary %s, %s %s", c.Name, a, name, b))
		}
	}
	return line + strings.Join(apart, "; "), nil
}

// values is the texts of the rows with a key, or of a table without one with a hash.
func (d *dig) values(ctx context.Context, r *reading, k hashed) ([][]*string, error) {
	var list, where []string
	for _, c := range d.hashing.columns {
		list = append(list, quote(c.Name)+"::text")
	}
	var args []any
	for i, key := range d.hashing.key {
		// By the column's own type, so that the index serves.
		where = append(where, fmt.Sprintf("%s = $%d::text::%s", quote(key), i+1, r.tables[d.table].Columns[key].Type))
		args = append(args, k.key[i])
	}
	if len(where) == 0 {
		where, args = []string{d.hashing.rowHash() + " = $1"}, []any{k.hash}
	}
	rows, err := r.conn.Query(ctx, fmt.Sprintf("select array[%s]::text[] from %s where %s limit 1000", strings.Join(list, ", "), d.table, strings.Join(where, " and ")), args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.node.Name, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]*string])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.node.Name, err)
	}
	return all, nil
}

// literal is a value as SQL shows it, cut after 60 characters.
func literal(v *string) string {
	if v == nil {
		return "NULL"
	}
	if r := []rune(*v); len(r) > 60 {
		return "'" + string(r[:60]) + "...'"
	}
	return "'" + *v + "'"
}
