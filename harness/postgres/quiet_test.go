package postgres_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/postgres"
)

func TestQuietNamesTheCause(t *testing.T) {
	tr := nodes(t)
	quiet(t, tr)
	logs := func(node string) string {
		return postgres.Tail(filepath.Join(tr.top, node+".log"), 0, 200)
	}
	ask := func(node string, timeout time.Duration) evidence.Finding {
		t.Helper()
		return finding(t, postgres.Quiet(t.Context(), tr.all(), postgres.Barrier{Timeout: timeout, Log: logs}), node)
	}
	bad := func(f evidence.Finding, cause string) {
		t.Helper()
		if !f.Asked || f.Bad != 1 || !strings.Contains(f.Error, cause) {
			t.Errorf("expected %q, found %+v", cause, f)
		}
	}
	const brief = time.Second

	do(t, tr.streaming, "select pg_wal_replay_pause()")
	f := ask("streaming", brief)
	bad(f, "replay is paused")
	bad(f, "bytes behind")
	do(t, tr.streaming, "select pg_wal_replay_resume()")

	do(t, tr.logical, "alter subscription shop disable")
	bad(ask("logical", brief), "subscription shop is disabled")
	do(t, tr.logical, "alter subscription shop enable")
	quiet(t, tr)

	do(t, tr.primary, "alter publication shop add table refunds")
	bad(ask("logical", brief), "table public.refunds is published but subscription shop does not know it")
	do(t, tr.primary, "alter publication shop drop table refunds")
	quiet(t, tr)

	// DDL is not replicated logically: apply stops at the first row.
	do(t, tr.logical, "alter table orders drop column coupon_code cascade")
	do(t, tr.primary, "update orders set coupon_code = 'late' where id = 1")
	f = ask("logical", 20*time.Second)
	bad(f, "apply errors in the meantime")
	bad(f, `missing replicated column: "coupon_code"`)
	do(t, tr.logical, "alter table orders add column coupon_code text")
	quiet(t, tr)
	do(t, tr.logical, "alter subscription shop disable; truncate orders, lines")
	do(t, tr.logical, "alter subscription shop set publication shop with (refresh = false)")
	// Bring the data back as a new subscriber gets it.
	do(t, tr.logical, "delete from pg_subscription_rel")
	do(t, tr.logical, "alter subscription shop enable")
	do(t, tr.logical, "alter subscription shop refresh publication")
	quiet(t, tr)

	gone := tr.logical
	gone.Node.Name, gone.Node.URL = "gone", "postgres://backout:x@127.0.0.1:1/shop"
	opened, err := postgres.OpenNode(t.Context(), gone.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	f = finding(t, postgres.Quiet(t.Context(), append(tr.all(), opened), postgres.Barrier{Timeout: brief}), "gone")
	if f.Asked || f.Error == "" {
		t.Errorf("a node that cannot be reached: %+v", f)
	}
	down := tr.primary
	down.Node.URL = opened.URL
	if down, err = postgres.OpenNode(t.Context(), down.Node); err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	for _, f := range postgres.Quiet(t.Context(), []postgres.Opened{down, tr.streaming}, postgres.Barrier{Timeout: brief}) {
		if f.Asked || f.Error == "" {
			t.Errorf("without the primary: %+v", f)
		}
	}
}

func TestApplyErrorOfALog(t *testing.T) {
	log := `2026-11-23 10:00:00.000 UTC [12] shop ERROR:  syntax error at or near "x"
2026-11-23 10:00:01.000 UTC [13]  LOG:  logical replication apply worker for subscription "shop" has started
2026-11-23 10:00:01.100 UTC [13]  ERROR:  duplicate key value violates unique constraint "orders_pkey"
2026-11-23 10:00:01.100 UTC [13]  DETAIL:  Key (id)=(1) already exists.
2026-11-23 10:00:01.100 UTC [13]  CONTEXT:  processing remote data for replication origin "pg_16400" during message type "INSERT"
`
	log += `2026-11-23 10:00:06.100 UTC [14]  LOG:  logical replication apply worker for subscription "shop" has started
2026-11-23 10:00:06.101 UTC [14]  ERROR:  replication origin with ID 1 is already active for PID 13
2026-11-23 10:00:06.102 UTC [1]  LOG:  background worker "logical replication worker" (PID 14) exited with exit code 1
`
	if got := postgres.ApplyError(log); got != `duplicate key value violates unique constraint "orders_pkey" (Key (id)=(1) already exists.)` {
		t.Errorf("found %q", got)
	}
	if got := postgres.ApplyError(strings.SplitAfter(log, "\n")[0]); got != "" {
		t.Errorf("found %q", got)
	}
}
