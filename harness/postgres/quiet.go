package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
)

// Roles of nodes.
const (
	Primary   = "primary"
	Streaming = "streaming"
	Logical   = "logical"
)

// Barrier says how the quiet point is waited for.
type Barrier struct {
	Timeout time.Duration
	// ApplyErrors is what ApplyErrors found on each logical node from when on no error may have happened. A node that
	// is not in it counts from the call of Quiet, which is right after a rollback: apply may have stopped while the bad
	// release was there, and what counts is that it goes on now.
	ApplyErrors map[string]int64
	// Log is the end of what a node has written, which holds the text of apply errors; may be nil.
	Log func(node string) string
}

// Quiet is to be called when writes are over. It takes the primary's position in the WAL, behind all that was
// written, and waits until each node has it: a standby has replayed to it; a subscriber has confirmed it, with its
// subscription enabled and at work, every published table ready and no new apply error. Each node, the primary too,
// gets one finding CheckQuiet: Asked is false when the node could not be reached, Bad is 1 and Error is the cause when
// it did not get there in time.
func Quiet(ctx context.Context, nodes []Opened, b Barrier) []evidence.Finding {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	begun := time.Now()
	out := make([]evidence.Finding, len(nodes))
	var primary *Opened
	lsn, err := "", errors.New("there is no primary")
	for i, n := range nodes {
		out[i] = evidence.Finding{Check: evidence.CheckQuiet, Of: n.Name, Checked: 1}
		if n.Role == Primary && primary == nil {
			primary = &nodes[i]
			lsn, err = barrier(ctx, n)
		}
	}
	var wait sync.WaitGroup
	for i, n := range nodes {
		f := &out[i]
		if err != nil {
			f.Error = fmt.Sprintf("the primary's position is not known: %v", err)
			continue
		}
		wait.Go(func() {
			reached, cause := arrives(ctx, n, *primary, lsn, b)
			f.Asked = reached
			switch {
			case cause == nil:
				f.Text = fmt.Sprintf("at %s after %.1f s", lsn, time.Since(begun).Seconds())
			case reached:
				f.Bad, f.Error = 1, cause.Error()
			default:
				f.Error = fmt.Sprintf("could not be reached: %v", cause)
			}
		})
	}
	wait.Wait()
	return out
}

// barrier is a position behind everything written so far and flushed. The position of the next insertion would not do:
// it may stand behind a page header that is written only with the next record. So a message of our own is committed.
func barrier(ctx context.Context, primary Opened) (lsn string, err error) {
	err = pgx.BeginFunc(ctx, primary.Pool, func(tx pgx.Tx) error {
		// A standby that is required for commits may be gone; the finding about it must not hang here.
		_, err := tx.Exec(ctx, `set local synchronous_commit = local`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `select pg_logical_emit_message(true, 'backout', 'quiet point')`)
		return err
	})
	if err != nil {
		return "", err
	}
	err = primary.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&lsn)
	return lsn, err
}

// broken is a cause that waiting does not mend.
type broken struct{ error }

// arrives waits until the node has the position. It is not reached when its last answer was no answer at all.
func arrives(ctx context.Context, n, primary Opened, lsn string, b Barrier) (reached bool, cause error) {
	behind := func() (reached bool, cause error) { return true, nil }
	switch n.Role {
	case Streaming:
		behind = func() (bool, error) { return replayed(ctx, n, lsn) }
	case Logical:
		before, known := b.ApplyErrors[n.Name]
		behind = func() (bool, error) {
			if !known {
				var err error
				if before, err = ApplyErrors(ctx, n); err != nil {
					return false, err
				}
				known = true
			}
			return applied(ctx, n, primary, lsn, before)
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := behind()
		if err == nil {
			return true, nil
		}
		if ctx.Err() == nil || cause == nil { // an answer that the time-out cut off says less than the one before
			reached, cause = r, err
		}
		if r && errors.As(err, &broken{}) {
			return true, withLog(err, n, b)
		}
		select {
		case <-ctx.Done():
			return reached, withLog(fmt.Errorf("not at %s after %s: %w", lsn, b.Timeout, cause), n, b)
		case <-tick.C:
		}
	}
}

func withLog(cause error, n Opened, b Barrier) error {
	if n.Role != Logical || b.Log == nil {
		return cause
	}
	if line := ApplyError(b.Log(n.Name)); line != "" {
		return fmt.Errorf("%w; its log says: %s", cause, line)
	}
	return cause
}

// ApplyError is the last error of a subscriber's worker in its log, without time and process; empty when there is none.
// That a worker could not start because the one before it was still ending is not the error that ended that one.
func ApplyError(log string) string {
	var last string
	lines := strings.Split(log, "\n")
	for i, l := range lines {
		_, text, is := strings.Cut(l, "ERROR:  ")
		if !is || !strings.Contains(l, "] logical replication") && !strings.Contains(strings.Join(lines[i:min(i+3, len(lines))], "\n"), "replication origin") &&
			!strings.Contains(text, "logical replication") {
			continue
		}
		if strings.Contains(text, "already active for PID") {
			continue
		}
		last = text
		if i+1 < len(lines) {
			if _, more, is := strings.Cut(lines[i+1], "DETAIL:  "); is {
				last += " (" + more + ")"
			}
		}
	}
	return last
}

func replayed(ctx context.Context, n Opened, lsn string) (reached bool, cause error) {
	var recovering, receiving, paused, done bool
	var at string
	var lag int64
	err := n.QueryRow(ctx, `select r.at is not null and pg_is_in_recovery(), exists (select from pg_stat_wal_receiver where status = 'streaming'),
		case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
		coalesce(r.at >= $1::text::pg_lsn, false), coalesce(r.at::text, 'nothing'), coalesce($1::text::pg_lsn - r.at, 0)::int8
		from (select pg_last_wal_replay_lsn() as at) r`, lsn).Scan(&recovering, &receiving, &paused, &done, &at, &lag)
	switch {
	case err != nil:
		return false, err
	case done && recovering:
		return true, nil
	case !recovering:
		return true, errors.New("it is no standby any more")
	}
	causes := []string{fmt.Sprintf("it has replayed to %s, %d bytes behind", at, lag)}
	if paused {
		causes = append(causes, "replay is paused")
	}
	if !receiving {
		causes = append(causes, "it receives nothing from the primary")
	}
	return true, errors.New(strings.Join(causes, "; "))
}

// ApplyErrors is how many errors the node's subscriptions have had while applying or copying, ever.
func ApplyErrors(ctx context.Context, n Opened) (int64, error) {
	var count int64
	err := n.QueryRow(ctx, `select coalesce(sum(apply_error_count + sync_error_count), 0)::int8 from pg_stat_subscription_stats
		where subid in (select oid from pg_subscription where subdbid = (select oid from pg_database where datname = current_database()))`).Scan(&count)
	if err != nil {
		return 0, fmt.Errorf("read apply errors of %s: %w", n.Name, err)
	}
	return count, nil
}

// subscription is one subscription of the node's database.
type subscription struct {
	Name, Slot   string
	Enabled      bool
	Publications []string
	Working      bool
	Ready        []string // tables, by qualified name
	Waiting      []string
}

// applied tells whether all subscriptions of a node have the position. Reached is about this node: where the primary
// cannot be asked, it is false too, since nothing is known then.
func applied(ctx context.Context, n, primary Opened, lsn string, before int64) (reached bool, cause error) {
	rows, err := n.Query(ctx, `select s.subname, coalesce(s.subslotname, ''), s.subenabled, s.subpublications,
		exists (select from pg_stat_subscription w where w.subid = s.oid and w.relid is null and w.pid is not null),
		array(select format('%I.%I', ns.nspname, c.relname) from pg_subscription_rel r join pg_class c on c.oid = r.srrelid
			join pg_namespace ns on ns.oid = c.relnamespace where r.srsubid = s.oid and r.srsubstate = 'r'),
		array(select format('%I.%I', ns.nspname, c.relname) from pg_subscription_rel r join pg_class c on c.oid = r.srrelid
			join pg_namespace ns on ns.oid = c.relnamespace where r.srsubid = s.oid and r.srsubstate <> 'r')
		from pg_subscription s where s.subdbid = (select oid from pg_database where datname = current_database()) order by 1`)
	if err != nil {
		return false, err
	}
	subs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[subscription])
	if err != nil {
		return false, err
	}
	errs, err := ApplyErrors(ctx, n)
	if err != nil {
		return false, err
	}
	if len(subs) == 0 {
		return true, errors.New("it has no subscription")
	}
	var causes []string
	say := func(format string, args ...any) { causes = append(causes, fmt.Sprintf(format, args...)) }
	for _, s := range subs {
		if !s.Enabled {
			say("subscription %s is disabled", s.Name)
		} else if !s.Working {
			say("subscription %s has no worker", s.Name)
		}
		published, err := texts(ctx, primary.Pool, `select distinct format('%I.%I', schemaname, tablename) from pg_publication_tables where pubname = any($1)`, s.Publications)
		if err != nil {
			return false, fmt.Errorf("ask the primary: %w", err)
		}
		known := map[string]bool{}
		for _, t := range s.Ready {
			known[t] = true
		}
		for _, t := range s.Waiting {
			known[t] = true
			say("table %s is not copied yet", t)
		}
		for _, t := range published {
			if !known[t] {
				say("table %s is published but subscription %s does not know it: ALTER SUBSCRIPTION %s REFRESH PUBLICATION", t, s.Name, s.Name)
			}
		}
		if len(published) == 0 {
			say("subscription %s: publication %s has no tables on the primary", s.Name, strings.Join(s.Publications, ", "))
		}
		var done bool
		var lag int64
		err = primary.QueryRow(ctx, `select coalesce(confirmed_flush_lsn >= $1::text::pg_lsn, false), coalesce($1::text::pg_lsn - confirmed_flush_lsn, 0)::int8
			from pg_replication_slots where slot_name = $2`, lsn, s.Slot).Scan(&done, &lag)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			say("slot %q of subscription %s is not on the primary", s.Slot, s.Name)
		case err != nil:
			return false, fmt.Errorf("ask the primary: %w", err)
		case !done:
			say("subscription %s is %d bytes behind", s.Name, lag)
		}
	}
	if errs > before {
		say("%d apply errors in the meantime", errs-before)
		return true, broken{errors.New(strings.Join(causes, "; "))}
	}
	if len(causes) > 0 {
		return true, errors.New(strings.Join(causes, "; "))
	}
	return true, nil
}
