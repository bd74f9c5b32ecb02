package postgres

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// told is how many rows a finding names; all are counted.
const told = 20

// Compare takes the fingerprint of every table on every node, all nodes at once, and opens what differs from the
// primary's down to the rows. It is to be called at a quiet point. A standby is compared in all permanent tables, a
// subscriber in the published ones, named as in service.yaml.
//
// There is one Chunk for each table on each node, with Lo and Hi empty: its Count and Differ are those of the whole
// table. Where a table differs and is large enough to be cut, its differing ranges of the key follow, each with its own
// Count, which the whole table's includes. Error says that a table could not be read.
func Compare(ctx context.Context, nodes []Opened, published []string) []evidence.Chunk {
	i := slices.IndexFunc(nodes, func(n Opened) bool { return n.Role == Primary })
	if i < 0 {
		return []evidence.Chunk{{Error: "there is no primary to compare with"}}
	}
	primary := nodes[i]
	readings := make([]reading, len(nodes))
	var wait sync.WaitGroup
	for i, n := range nodes {
		wait.Go(func() {
			r := &readings[i]
			r.node = n
			if r.conn, r.err = session(ctx, n); r.err == nil {
				r.tables, r.err = tables(ctx, r.conn)
			}
		})
	}
	wait.Wait()
	defer func() {
		for _, r := range readings {
			r.close(ctx)
		}
	}()
	p := &readings[i]
	if p.err != nil {
		return []evidence.Chunk{{Node: primary.Name, Error: p.err.Error()}}
	}
	names := map[string][]string{} // node -> tables
	for _, n := range nodes {
		names[n.Name] = slices.Sorted(maps.Keys(p.tables))
		if n.Role != Logical {
			continue
		}
		names[n.Name] = nil
		for _, name := range published {
			q, err := qualified(ctx, p.conn, name)
			if err != nil {
				return []evidence.Chunk{{Node: primary.Name, Table: name, Error: err.Error()}}
			}
			names[n.Name] = append(names[n.Name], q)
			if p.tables[q] == nil && !slices.Contains(names[primary.Name], q) {
				names[primary.Name] = append(names[primary.Name], q)
			}
		}
	}

	// How a table is hashed is agreed first, among the nodes that have it.
	agreed := map[string]hashing{}
	for name, t := range p.tables {
		var others []*table
		for _, r := range readings {
			if o := r.tables[name]; o != nil {
				others = append(others, o)
			}
		}
		agreed[name] = agree(t, others...)
	}
	for i := range readings {
		r := &readings[i]
		wait.Go(func() {
			r.chunks = map[string]evidence.Chunk{}
			for _, name := range names[r.node.Name] {
				r.chunks[name] = r.sum(ctx, p, name, agreed[name])
			}
		})
	}
	wait.Wait()

	var out []evidence.Chunk
	for _, name := range names[primary.Name] {
		c := p.chunks[name]
		c.Equal = c.Error == ""
		p.chunks[name] = c
		out = append(out, c)
	}
	for i := range readings {
		r := &readings[i]
		if r == p {
			continue
		}
		for _, name := range names[r.node.Name] {
			out = append(out, r.against(ctx, p, name, agreed[name])...)
		}
	}
	return out
}

// reading is what one node has.
type reading struct {
	node   Opened
	conn   *pgx.Conn
	tables map[string]*table
	chunks map[string]evidence.Chunk
	err    error
}

func (r *reading) close(ctx context.Context) {
	if r.conn != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		r.conn.Close(clean)
	}
}

// session is a connection on which texts of values are the same on every node and scans run in parallel.
func session(ctx context.Context, n Opened) (*pgx.Conn, error) {
	c := n.Config().ConnConfig.Copy()
	for k, v := range canonical() {
		c.RuntimeParams[k] = v
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", n.Name, err)
	}
	return conn, nil
}

func canonical() map[string]string {
	return map[string]string{
		"timezone": "UTC", "datestyle": "ISO, YMD", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
		"lc_monetary": "C", "xmlbinary": "base64", "search_path": "public",
		"lock_timeout": "10s", // a forgotten lock is a reading that fails, not an audit that hangs
		"jit":          "off", "work_mem": "64MB", "parallel_setup_cost": "0", "parallel_tuple_cost": "0",
		"max_parallel_workers_per_gather": strconv.Itoa(min(8, max(2, runtime.NumCPU()))),
	}
}

// sum is the fingerprint of a whole table.
func (r *reading) sum(ctx context.Context, p *reading, name string, h hashing) evidence.Chunk {
	c := evidence.Chunk{Node: r.node.Name, Table: shown(name)}
	switch {
	case r.err != nil:
		c.Error = r.err.Error()
	case p.tables[name] == nil:
		c.Error = "the primary has no such table"
	case r.tables[name] == nil:
		c.Differ = []string{"the table is missing on " + r.node.Name}
	default:
		c.Differ = columnsApart(p.tables[name], r.tables[name], r.node.Name)
		sql := h.sumSQL(name, "")
		if len(c.Differ) > 0 { // not the same columns: nothing to sum, but the rows are counted
			sql = "select count(*), '' from " + name
		}
		if err := r.conn.QueryRow(ctx, sql).Scan(&c.Rows, &c.Sum); err != nil {
			c.Error = err.Error()
		}
	}
	return c
}

// columnsApart says in words which columns only one of the two has.
func columnsApart(primary, other *table, node string) []string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(primary.Columns)) {
		if _, is := other.Columns[name]; !is {
			words = append(words, fmt.Sprintf("column %s is missing on %s", name, node))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other.Columns)) {
		if _, is := primary.Columns[name]; !is {
			words = append(words, fmt.Sprintf("column %s is on %s but not on the primary", name, node))
		}
	}
	return words
}

// against compares a node's fingerprint of a table with the primary's.
func (r *reading) against(ctx context.Context, p *reading, name string, h hashing) []evidence.Chunk {
	c, first := r.chunks[name], p.chunks[name]
	switch {
	case c.Error != "":
	case first.Error != "":
		c.Error = "the primary's could not be read: " + first.Error
	case len(c.Differ) > 0:
		c.Count = max(c.Rows, first.Rows)
	case c.Rows == first.Rows && c.Sum == first.Sum:
		c.Equal = true
	default:
		d := dig{primary: p, node: r, table: name, hashing: h}
		apart, err := d.open(ctx, first.Rows)
		if err != nil {
			c.Error = fmt.Sprintf("it differs, but the rows could not be told: %v", err)
		}
		c.Count, c.Differ = d.count, d.told
		return append([]evidence.Chunk{c}, apart...)
	}
	return []evidence.Chunk{c}
}
