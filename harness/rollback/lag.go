package rollback

import (
	"context"
	"fmt"
	"strings"

	"backout/harness/service"
)

// slots are the readers of the write-ahead log, by what any role may see: one that is away for the moment is there too.
const slots = `
select slot_name, active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn)), -1)::bigint
from pg_catalog.pg_replication_slots where not temporary order by slot_name`

// lag asks how far the readers of the database are behind.
func lag(ctx context.Context, r *Runner, p *service.Plan, c service.Check, _ World) error {
	conn, err := r.connect(ctx, r.Vars[p.Env[c.Lag.URL]])
	if err != nil {
		return fmt.Errorf("connect with %s: %w", c.Lag.URL, err)
	}
	defer hangUp(ctx, conn)
	rows, err := conn.Query(ctx, slots)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.Lag.URL, err)
	}
	defer rows.Close()
	var wrong []string
	seen := 0
	for rows.Next() {
		var name string
		var active bool
		var behind int64
		if err := rows.Scan(&name, &active, &behind); err != nil {
			return err
		}
		seen++
		switch {
		case !active:
			wrong = append(wrong, fmt.Sprintf("nobody reads from the slot %s", name))
		case behind < 0:
			wrong = append(wrong, fmt.Sprintf("it is not known how far the slot %s is", name))
		case behind >= c.Lag.Below:
			wrong = append(wrong, fmt.Sprintf("the reader of the slot %s is %d bytes behind", name, behind))
		}
	}
	switch {
	case rows.Err() != nil:
		return fmt.Errorf("ask %s: %w", c.Lag.URL, rows.Err())
	case seen == 0:
		return foundf("expected readers of %s that are less than %d bytes behind, found no replication slot", c.Lag.URL, c.Lag.Below)
	case len(wrong) > 0:
		return foundf("expected readers of %s that are less than %d bytes behind, found: %s", c.Lag.URL, c.Lag.Below, strings.Join(wrong, "; "))
	}
	return nil
}
