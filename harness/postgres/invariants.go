package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// Invariants asks each query for violating rows: one finding CheckInvariants for each, of "node/invariant". Checked is 1
// when the invariant holds, else the number of violating rows, like Bad. On a subscriber an invariant that reads tables
// which are not published is not applicable, and its finding says so.
func Invariants(ctx context.Context, n Opened, invariants map[string]string, published []string) []evidence.Finding {
	var out []evidence.Finding
	has, err := publishedOn(ctx, n, published)
	for _, name := range slices.Sorted(maps.Keys(invariants)) {
		f := evidence.Finding{Check: evidence.CheckInvariants, Of: n.Name + "/" + name}
		e := err
		if e == nil {
			e = invariant(ctx, n, invariants[name], has, &f)
		}
		if e != nil {
			f = evidence.Finding{Check: f.Check, Of: f.Of, Error: e.Error()}
		}
		out = append(out, f)
	}
	return out
}

func invariant(ctx context.Context, n Opened, query string, has func(table string) bool, f *evidence.Finding) error {
	query = strings.TrimRight(query, "; \n\t")
	return pgx.BeginTxFunc(ctx, n, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if n.Role == Logical {
			read, err := relations(ctx, tx, query)
			if err != nil {
				return err
			}
			for _, r := range read {
				if !has(r) {
					f.Asked, f.Text = true, fmt.Sprintf("not applicable: it reads %s, which is not published", shown(r))
					return nil
				}
			}
		}
		// The line break ends a comment in the query's last line.
		if err := tx.QueryRow(ctx, "select count(*) from ("+query+"\n) q").Scan(&f.Bad); err != nil {
			return err
		}
		f.Asked, f.Checked = true, max(1, f.Bad)
		if f.Bad == 0 {
			return nil
		}
		var err error
		f.Text = fmt.Sprintf("%d rows violate it", f.Bad)
		f.Rows, err = texts(ctx, tx, fmt.Sprintf("select q::text from (%s\n) q limit %d", query, told))
		return err
	})
}

// relations is the tables that a query reads, views opened, as its plan names them.
func relations(ctx context.Context, c Conn, query string) ([]string, error) {
	var plan string
	if err := c.QueryRow(ctx, "explain (verbose, format json) "+query).Scan(&plan); err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal([]byte(plan), &tree); err != nil {
		return nil, fmt.Errorf("read the plan of %s: %w", query, err)
	}
	found := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			name, is := v["Relation Name"].(string)
			if schema, too := v["Schema"].(string); is && too && schema != "pg_catalog" && schema != "information_schema" {
				found[quoteIfNeeded(schema)+"."+quoteIfNeeded(name)] = true
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(tree)
	return slices.Sorted(maps.Keys(found)), nil
}

// quoteIfNeeded writes a name as %I does, but for reserved words.
func quoteIfNeeded(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return quote(name)
		}
	}
	return name
}
