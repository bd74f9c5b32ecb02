package postgres

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"backout/harness/evidence"
)

// Frozen is the frozen cohort: rows that traffic never touches, copied in the baseline into a scratch database of the
// primary's cluster.
type Frozen struct {
	primary  Opened
	database string
	tables   []frozenTable
}

// frozenTable is one table's copy. Its columns are all text, which holds the types of any database.
type frozenTable struct {
	table
	copy    string // its name in the scratch database
	where   string
	hashing hashing
	rows    int64
	sum     string
	// published: a subscriber holds the rows too.
	published bool
}

// scratchPrefix begins the names of databases that the harness makes for itself.
const scratchPrefix = "backout_"

func scratchName(what string) string {
	return scratchPrefix + what + "_" + strings.ToLower(rand.Text()[:8])
}

// Freeze copies the rows that match the predicates, by table, in one snapshot. With no tables it does nothing. A
// predicate that no row matches is an error: it would promise nothing. Drop removes the copy.
func Freeze(ctx context.Context, primary Opened, cohort map[string]string) (_ *Frozen, err error) {
	f := &Frozen{primary: primary}
	if len(cohort) == 0 {
		return f, nil
	}
	source, err := session(ctx, primary)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	defer closeSoon(ctx, source)
	f.database = scratchName("frozen")
	if _, err := source.Exec(ctx, "create database "+quote(f.database)+" template template0"); err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	defer func() {
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, f.Drop(clean))
		}
	}()
	target, err := f.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	defer closeSoon(ctx, target)
	tx, err := source.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // it has only read
	there, err := tables(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	published, err := texts(ctx, tx, `select distinct format('%I.%I', schemaname, tablename) from pg_publication_tables`)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	for i, name := range slices.Sorted(maps.Keys(cohort)) {
		q, err := qualified(ctx, tx, name)
		if err != nil {
			return nil, fmt.Errorf("freeze: %w", err)
		}
		if there[q] == nil {
			return nil, fmt.Errorf("freeze %s: the primary has no such table", name)
		}
		t := frozenTable{table: *there[q], copy: fmt.Sprintf("t%d", i), where: cohort[name], hashing: agree(there[q]), published: slices.Contains(published, q)}
		if len(t.Key) == 0 {
			return nil, fmt.Errorf("freeze %s: it has no primary key and no unique index over columns that are not null, so its rows cannot be told apart", name)
		}
		if err := t.fill(ctx, tx, target); err != nil {
			return nil, fmt.Errorf("freeze %s where %s: %w", name, t.where, err)
		}
		if t.rows == 0 {
			return nil, fmt.Errorf("freeze %s where %s: expected rows that match, found none", name, t.where)
		}
		f.tables = append(f.tables, t)
	}
	return f, nil
}

func (f *Frozen) connect(ctx context.Context) (*pgx.Conn, error) {
	c := f.primary.Config().ConnConfig.Copy()
	c.Database = f.database
	return pgx.ConnectConfig(ctx, c)
}

func closeSoon(ctx context.Context, c *pgx.Conn) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	c.Close(clean)
}

// fill pipes the rows from one connection into the other and takes their fingerprint.
func (t *frozenTable) fill(ctx context.Context, tx pgx.Tx, target *pgx.Conn) error {
	var columns []string
	for _, c := range t.hashing.columns {
		columns = append(columns, quote(c.Name)+" text")
	}
	if _, err := target.Exec(ctx, fmt.Sprintf("create table %s (%s)", t.copy, strings.Join(columns, ", "))); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, t.hashing.sumSQL(t.Name, " where "+t.where)).Scan(&t.rows, &t.sum); err != nil {
		return err
	}
	r, w := io.Pipe()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		err := copyTo(ctx, tx.Conn(), w, fmt.Sprintf("copy (select %s from %s where %s) to stdout", t.list(), t.Name, t.where))
		w.CloseWithError(err)
		return err
	})
	work.Go(func() error {
		_, err := target.PgConn().CopyFrom(ctx, r, fmt.Sprintf("copy %s (%s) from stdin", t.copy, t.list()))
		r.CloseWithError(err)
		return err
	})
	return work.Wait()
}

// copyTo gathers what comes row by row, since each piece that goes through a pipe costs a switch and a message.
func copyTo(ctx context.Context, c *pgx.Conn, w io.Writer, sql string) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if _, err := c.PgConn().CopyTo(ctx, b, sql); err != nil {
		return err
	}
	return b.Flush()
}

// list is the columns, by name.
func (t *frozenTable) list() string {
	var names []string
	for _, c := range t.hashing.columns {
		names = append(names, quote(c.Name))
	}
	return strings.Join(names, ", ")
}

// Tables names the tables of the cohort and how many rows of each are kept.
func (f *Frozen) Tables() map[string]int64 {
	all := map[string]int64{}
	for _, t := range f.tables {
		all[shown(t.Name)] = t.rows
	}
	return all
}

// Check compares a node's rows with the copy, column by column: one finding CheckFrozen for each table, of
// "node/table", Checked being the number of rows in the copy, Bad those that are gone, changed or additional. A column
// or table that is gone makes all of them bad. Columns that were added are not looked at. A subscriber is asked about
// the tables that were published when the copy was made.
func (f *Frozen) Check(ctx context.Context, n Opened) []evidence.Finding {
	var out []evidence.Finding
	for i := range f.tables {
		t := &f.tables[i]
		if n.Role == Logical && !t.published {
			continue
		}
		finding := evidence.Finding{Check: evidence.CheckFrozen, Of: n.Name + "/" + shown(t.Name), Checked: t.rows}
		if err := f.check(ctx, n, t, &finding); err != nil {
			finding.Asked, finding.Bad, finding.Rows, finding.Error = false, 0, nil, err.Error()
		}
		out = append(out, finding)
	}
	return out
}

func (f *Frozen) check(ctx context.Context, n Opened, t *frozenTable, out *evidence.Finding) error {
	conn, err := session(ctx, n)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, conn)
	there, err := tables(ctx, conn)
	if err != nil {
		return err
	}
	now := there[t.Name]
	if now == nil {
		out.Asked, out.Bad, out.Text = true, t.rows, "the table is gone"
		return nil
	}
	same := true
	var gone []string
	for _, c := range t.hashing.columns {
		found, is := now.Columns[c.Name]
		if !is {
			gone = append(gone, c.Name)
		}
		same = same && found.Type == c.Type
	}
	if len(gone) > 0 {
		out.Asked, out.Bad, out.Text = true, t.rows, "gone: column "+strings.Join(gone, ", column ")
		return nil
	}
	// With the same types the same fingerprint means the same rows. Anything else is decided by reading them.
	if same {
		var rows int64
		var sum string
		if err := conn.QueryRow(ctx, t.hashing.sumSQL(t.Name, " where "+t.where)).Scan(&rows, &sum); err != nil {
			return err
		}
		if rows == t.rows && sum == t.sum {
			out.Asked, out.Text = true, fmt.Sprintf("%d rows equal to the copy", rows)
			return nil
		}
	}
	source, err := f.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to the copy: %w", err)
	}
	defer closeSoon(ctx, source)
	missing, changed, added, lines, err := t.merge(ctx, source, conn)
	if err != nil {
		return err
	}
	out.Asked, out.Bad, out.Rows = true, missing+changed+added, lines
	out.Text = fmt.Sprintf("%d missing, %d changed, %d added", missing, changed, added)
	return nil
}

// merge reads the copy and the node's rows in the order of their keys.
func (t *frozenTable) merge(ctx context.Context, source, node *pgx.Conn) (missing, changed, added int64, lines []string, err error) {
	var order []string
	at := make([]int, len(t.Key)) // where the columns of the key are
	for i, k := range t.Key {
		order = append(order, quote(k)+`::text collate "C"`)
		at[i] = slices.IndexFunc(t.hashing.columns, func(c column) bool { return c.Name == k })
	}
	by := strings.Join(order, ", ")
	ctx, cancel := context.WithCancel(ctx)
	a := copied(ctx, source, fmt.Sprintf("copy (select %s from %s order by %s) to stdout", t.list(), t.copy, by))
	defer a.stop()
	b := copied(ctx, node, fmt.Sprintf("copy (select %s from %s where %s order by %s) to stdout", t.list(), t.Name, t.where, by))
	defer b.stop()
	defer cancel() // before the two stops, which wait
	tell := func(row []string, format string, args ...any) {
		if len(lines) < told {
			var of []string
			for i, k := range t.Key {
				of = append(of, k+"="+unescape(row[at[i]]))
			}
			lines = append(lines, strings.Join(of, " ")+": "+fmt.Sprintf(format, args...))
		}
	}
	then, moreThen := a.row()
	now, moreNow := b.row()
	for moreThen || moreNow {
		c := 0
		switch {
		case !moreThen:
			c = 1
		case !moreNow:
			c = -1
		default:
			for _, i := range at {
				if c = strings.Compare(unescape(then[i]), unescape(now[i])); c != 0 {
					break
				}
			}
		}
		switch {
		case c < 0:
			missing++
			tell(then, "missing, or not where %s any more", t.where)
		case c > 0:
			added++
			tell(now, "was not there before")
		case !slices.Equal(then, now):
			changed++
			var apart []string
			for i, col := range t.hashing.columns {
				if then[i] != now[i] {
					apart = append(apart, fmt.Sprintf("%s: was %s, is %s", col.Name, copiedLiteral(then[i]), copiedLiteral(now[i])))
				}
			}
			tell(then, "%s", strings.Join(apart, "; "))
		}
		if c <= 0 {
			then, moreThen = a.row()
		}
		if c >= 0 {
			now, moreNow = b.row()
		}
	}
	if err := errors.Join(a.err, b.err); err != nil {
		return 0, 0, 0, nil, err
	}
	return missing, changed, added, lines, nil
}

// rowsOf is rows as COPY writes them.
type rowsOf struct {
	pipe *io.PipeReader
	scan *bufio.Reader
	done chan struct{}
	err  error
}

func copied(ctx context.Context, c *pgx.Conn, sql string) *rowsOf {
	r, w := io.Pipe()
	rows := &rowsOf{pipe: r, scan: bufio.NewReaderSize(r, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(rows.done)
		w.CloseWithError(copyTo(ctx, c, w, sql)) // of nil: the end
	}()
	return rows
}

// stop waits until the connection is free; what was not read is thrown away.
func (r *rowsOf) stop() {
	r.pipe.Close()
	<-r.done
}

// row is the fields of the next row, as COPY has escaped them: equal escaped means equal.
func (r *rowsOf) row() ([]string, bool) {
	if r.err != nil {
		return nil, false
	}
	line, err := r.scan.ReadBytes('\n')
	if err != nil {
		if !errors.Is(err, io.EOF) {
			r.err = err
		}
		return nil, false
	}
	return strings.Split(string(bytes.TrimSuffix(line, []byte{'\n'})), "\t"), true
}

func copiedLiteral(field string) string {
	if field == `\N` {
		return "NULL"
	}
	text := unescape(field)
	return literal(&text)
}

// unescape gives the value of a field of COPY's text format that is not NULL.
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	return strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v").Replace(field)
}

// Drop removes the copy.
func (f *Frozen) Drop(ctx context.Context) error {
	if f.database == "" {
		return nil
	}
	if _, err := f.primary.Exec(ctx, "drop database if exists "+quote(f.database)+" with (force)"); err != nil {
		return fmt.Errorf("drop the frozen copy: %w", err)
	}
	return nil
}
