package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"backout/harness/evidence"
	"backout/harness/service"
)

const (
	auditBatch     = 200              // lookups that are sent together
	auditTimeout   = 60 * time.Second // of one batch, and of one query for phantoms
	auditAtOnce    = 4                // connections
	keptInEvent    = 500
	phantomsSingle = 1000 // phantoms that get an event of their own; the finding counts all
)

// audit is one look at what became of every write.
type audit struct {
	log     *evidence.Log
	db      *pgxpool.Pool
	service *service.Service
	targets []Target
	entries []entry
	looked  []looked // by the entries' places
	own     map[string]struct{}

	mu     sync.Mutex
	broken map[*write]error // writes whose query failed
}

// looked is what the database holds of one write.
type looked struct {
	asked  bool
	rows   int
	fields []string // that differ, when there is one row
}

// Audit looks every write up by its key in the database of the drilled service, counts its effects, and looks for
// rows that nobody sent. It puts into the log what became of each write and a finding for each question. A question
// that could not be asked is a finding that says so, and what was not looked up is not kept; the error says that the
// audit ended early. It is for the time after Stop, with db on the primary.
func (l *Ledger) Audit(ctx context.Context, log *evidence.Log, db *pgxpool.Pool, targets []Target) error {
	a := &audit{log: log, db: db, targets: targets, entries: l.entries(), own: l.known(), broken: map[*write]error{}}
	a.looked = make([]looked, len(a.entries))
	for _, t := range targets {
		if !t.Dependant {
			a.service = t.Service
		}
	}
	if a.service == nil {
		return errors.New("audit the ledger: expected the drilled service among the targets, found none")
	}
	for _, question := range []func(context.Context){a.lookUp, a.report, a.phantoms, a.effects} {
		question(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("audit the ledger: %w", context.Cause(ctx))
		}
	}
	return nil
}

// lookUp asks the database for every entry, in batches on several connections.
func (a *audit) lookUp(ctx context.Context) {
	batches := a.batches(func(*entry) bool { return true })
	a.spread(len(batches), func() func(int) {
		c := &lookup{audit: a}
		return func(n int) {
			if n < 0 {
				c.release()
				return
			}
			c.batch(ctx, batches[n])
		}
	})
}

// batches are the places of the wanted entries, those of one write together.
func (a *audit) batches(want func(*entry) bool) [][]int {
	open := map[*write][]int{}
	var order []*write
	var full [][]int
	for i := range a.entries {
		e := &a.entries[i]
		if !want(e) {
			continue
		}
		if _, seen := open[e.write]; !seen {
			order = append(order, e.write)
		}
		open[e.write] = append(open[e.write], i)
		if len(open[e.write]) == auditBatch {
			full = append(full, open[e.write])
			open[e.write] = nil
		}
	}
	for _, w := range order {
		if len(open[w]) > 0 {
			full = append(full, open[w])
		}
	}
	return full
}

// spread runs n pieces of work on several workers. Each is made by start; -1 tells it that there is no more.
func (a *audit) spread(n int, start func() func(int)) {
	workers := auditAtOnce
	if a.db != nil {
		workers = min(workers, int(a.db.Config().MaxConns))
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(workers, n) {
		work.Go(func() {
			do := start()
			defer do(-1)
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	work.Wait()
}

// lookup is one connection and what is prepared on it.
type lookup struct {
	audit    *audit
	conn     *pgxpool.Conn
	prepared map[*write]prepared
}

type prepared struct {
	name    string
	columns []int // the place of each field
}

func (c *lookup) release() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), auditTimeout)
	defer cancel()
	for _, p := range c.prepared {
		if c.conn.Conn().Deallocate(ctx, p.name) != nil {
			// A connection with statements left on it would refuse to prepare them again.
			c.conn.Conn().Close(ctx)
			break
		}
	}
	c.conn.Release()
	c.conn, c.prepared = nil, nil
}

// batch looks up entries of one write. It tries a second time on a new connection; after that the write's query
// counts as broken and is not asked again.
func (c *lookup) batch(ctx context.Context, places []int) {
	w := c.audit.entries[places[0]].write
	if c.audit.why(w) != nil {
		return
	}
	err := c.try(ctx, w, places)
	if err != nil && ctx.Err() == nil {
		c.release()
		err = c.try(ctx, w, places)
	}
	if err != nil {
		c.release()
		c.audit.breaks(w, err)
	}
}

func (c *lookup) try(ctx context.Context, w *write, places []int) error {
	if service.OverHTTP(w.find) {
		return c.overHTTP(ctx, w, places)
	}
	if c.audit.db == nil {
		return errors.New("there is no connection to the primary")
	}
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	if c.conn == nil {
		conn, err := c.audit.db.Acquire(ctx)
		if err != nil {
			return err
		}
		c.conn, c.prepared = conn, map[*write]prepared{}
	}
	p, ok := c.prepared[w]
	if !ok {
		var err error
		if p, err = c.prepare(ctx, w); err != nil {
			return err
		}
		c.prepared[w] = p
	}
	var batch pgx.Batch
	for _, i := range places {
		batch.Queue(p.name, c.audit.entries[i].key)
	}
	results := c.conn.SendBatch(ctx, &batch)
	for _, i := range places {
		if err := c.read(results, i, p.columns); err != nil {
			return errors.Join(err, results.Close())
		}
	}
	return results.Close()
}

func (c *lookup) prepare(ctx context.Context, w *write) (prepared, error) {
	p := prepared{name: "backout_audit_" + strconv.Itoa(len(c.prepared)+1), columns: make([]int, len(w.fields))}
	d, err := c.conn.Conn().Prepare(ctx, p.name, w.find)
	if err != nil {
		return p, err
	}
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		names[i] = f.Name
	}
	for i := range w.fields {
		if p.columns[i] = slices.Index(names, w.fields[i].column); p.columns[i] < 0 {
			return p, fmt.Errorf("find has no column %s, which the payload names; it has %s", w.fields[i].column, strings.Join(names, ", "))
		}
	}
	return p, nil
}

func (c *lookup) read(results pgx.BatchResults, place int, columns []int) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	out := looked{asked: true}
	for rows.Next() {
		if out.rows++; out.rows > 1 {
			continue
		}
		values, err := rows.Values()
		if err != nil {
			return err
		}
		out.fields = c.audit.entries[place].differences(values, columns)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	c.audit.looked[place] = out
	return nil
}

func (a *audit) breaks(w *write, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken[w] == nil {
		a.broken[w] = err
	}
}

func (a *audit) why(w *write) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broken[w]
}

// fates says what became of a write and of its being taken back, which is empty when nobody asked for that.
func (e *entry) fates(in looked) (write, cancel string, fields []string) {
	switch {
	case e.cancel == acknowledged && in.rows == 0:
		cancel = evidence.Kept
	case e.cancel == acknowledged:
		cancel = evidence.Resurrected
	case e.cancel == unknown && in.rows == 0:
		cancel = evidence.Kept
	case e.cancel != never:
		cancel = evidence.Absent // it did not happen, and nothing was promised
	}
	switch {
	case e.state == refused && in.rows > 0:
		return evidence.Phantom, cancel, []string{"refused, yet there"}
	case in.rows > 1:
		return evidence.Duplicated, cancel, nil
	case in.rows == 0 && e.state != acknowledged:
		return evidence.Absent, cancel, nil
	case e.cancel == acknowledged, e.cancel == unknown && in.rows == 0:
		return evidence.Kept, cancel, nil // the write was kept until it was taken back
	case in.rows == 0:
		return evidence.Lost, cancel, nil
	case len(in.fields) > 0:
		return evidence.Transformed, cancel, in.fields
	}
	return evidence.Kept, cancel, nil
}

// report puts the fate of every write that was looked up into the log, and a finding for each journey that writes.
func (a *audit) report(context.Context) {
	for _, j := range a.service.Journeys {
		if !slices.ContainsFunc(j.Steps, func(r service.Request) bool { return r.Write != nil }) {
			continue
		}
		f := evidence.Finding{Check: evidence.CheckLedger, Of: j.Name, Asked: true}
		kept := map[bool][]string{} // by whether the write is a cancellation
		flush := func(cancels bool, least int) {
			if len(kept[cancels]) >= least {
				a.log.Put(&evidence.Write{Journey: j.Name, Event: evidence.Audited, Cancels: cancels, Fate: evidence.Kept, Keys: kept[cancels]})
				kept[cancels] = nil
			}
		}
		note := func(e *entry, in looked, fate string, fields []string, cancels bool) {
			switch fate {
			case "":
				return
			case evidence.Kept:
				kept[cancels] = append(kept[cancels], e.key)
				flush(cancels, keptInEvent)
				return
			case evidence.Absent:
			default:
				f.Bad++
				if len(f.Rows) < rowsShown {
					f.Rows = append(f.Rows, a.clean(strings.TrimSuffix(e.key+": "+fate+": "+strings.Join(fields, "; "), ": ")))
				}
			}
			for i := range fields {
				fields[i] = a.clean(fields[i])
			}
			a.log.Put(&evidence.Write{Key: e.key, Journey: j.Name, Event: evidence.Audited, Cancels: cancels, Fate: fate, Rows: in.rows, Fields: fields})
		}
		missed := 0
		for i := range a.entries {
			e, in := &a.entries[i], a.looked[i]
			if e.write.journey.name != j.Name {
				continue
			}
			if !in.asked {
				missed++
				if err := a.why(e.write); f.Asked && err != nil {
					f.Error = a.clean(err.Error())
				}
				f.Asked = false
				continue
			}
			f.Checked++
			write, cancel, fields := e.fates(in)
			note(e, in, write, fields, false)
			note(e, in, cancel, nil, true)
		}
		flush(false, 1)
		flush(true, 1)
		if missed > 0 {
			f.Text = fmt.Sprintf("%d of %d writes could not be looked up", missed, missed+int(f.Checked))
		}
		a.log.Put(&f)
	}
}

// clean is a text fit for evidence.
func (a *audit) clean(s string) string { return shorten(a.log.Clean(s), errorLimit) }

// phantoms looks for writes in the database that nobody sent.
func (a *audit) phantoms(ctx context.Context) {
	known := make(map[string]struct{}, len(a.entries)+len(a.own))
	for i := range a.entries {
		known[a.entries[i].key] = struct{}{}
	}
	for key := range a.own {
		known[key] = struct{}{}
	}
	first := map[string]evidence.Finding{} // query -> what it gave when it was asked
	for _, j := range a.service.Journeys {
		for _, r := range j.Steps {
			if r.Write == nil {
				continue
			}
			f := evidence.Finding{Check: evidence.CheckPhantoms, Of: j.Name}
			if r.Write.All == "" {
				f.Error = "its write states no query for all keys (all: ...)"
				a.log.Put(&f)
				continue
			}
			if other, asked := first[r.Write.All]; asked {
				f.Asked, f.Error, f.Text = other.Asked, other.Error, "asked together with "+other.Of
				a.log.Put(&f)
				continue
			}
			if err := a.phantom(ctx, &f, r.Write.All, known); err != nil {
				f.Asked, f.Error = false, a.clean(err.Error())
			}
			first[r.Write.All] = f
			a.log.Put(&f)
		}
	}
}

func (a *audit) phantom(ctx context.Context, f *evidence.Finding, query string, known map[string]struct{}) error {
	seen := func(key string) {
		f.Checked++
		if _, ok := known[key]; ok {
			return
		}
		f.Bad++
		if len(f.Rows) < rowsShown {
			f.Rows = append(f.Rows, a.clean(key))
		}
		if f.Bad <= phantomsSingle {
			a.log.Put(&evidence.Write{Key: shorten(key, errorLimit), Journey: f.Of, Event: evidence.Audited, Fate: evidence.Phantom, Rows: 1})
		}
	}
	if service.OverHTTP(query) {
		keys, err := a.keysOverHTTP(ctx, query)
		for _, key := range keys {
			seen(key)
		}
		f.Asked = err == nil
		return err
	}
	if a.db == nil {
		return errors.New("there is no connection to the primary")
	}
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	rows, err := a.db.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		if len(values) == 0 || values[0] == nil {
			continue
		}
		seen(foundText(values[0]))
	}
	f.Asked = rows.Err() == nil
	return rows.Err()
}
