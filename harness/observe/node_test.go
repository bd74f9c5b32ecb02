package observe

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/service"
)

func healthy(name, role string) func(evidence.Event) bool {
	return node(name, func(n *evidence.Node) bool {
		return n.Role == role && n.Reachable && n.Error == "" && n.Lag <= 1 && n.Digest != "" && n.Migration == 2
	})
}

func watchTrio(t testing.TB, c Config) (*trio, *seen, *Observer) {
	t.Helper()
	tr := cluster3(t)
	s := record(t)
	c.Log, c.Nodes = s.log, tr.nodes
	o := observe(t, c)
	for _, name := range []string{"primary", "streaming", "logical"} {
		s.await(t, name+" is healthy", 0, healthy(name, name))
	}
	return tr, s, o
}

func TestNodes(t *testing.T) {
	tr, s, o := watchTrio(t, Config{})
	for _, name := range []string{"primary", "streaming", "logical"} {
		e := s.await(t, name+" with what its processes take", 0, node(name, func(n *evidence.Node) bool { return n.Memory > 0 }))
		if e.Node.Memory > 1<<30 {
			t.Errorf("%s: %d MB; expected that shared memory counts once", name, e.Node.Memory>>20)
		}
	}

	// DDL on the primary is seen there and on its standby, a version in goose's table is seen too.
	digest := func(name string) string {
		all := s.events(0, node(name, func(n *evidence.Node) bool { return n.Reachable }))
		return all[len(all)-1].Node.Digest
	}
	before := map[string]string{"primary": digest("primary"), "streaming": digest("streaming"), "logical": digest("logical")}
	undo(t, tr.primary, "drop table extra; delete from goose_db_version where version_id = 7")
	do(t, tr.primary, "create table extra (id int primary key); insert into goose_db_version (version_id, is_applied) values (7, true)")
	for _, name := range []string{"primary", "streaming"} {
		s.await(t, "the change on "+name, 0, node(name, func(n *evidence.Node) bool { return n.Migration == 7 && n.Digest != before[name] }))
	}
	if digest("logical") != before["logical"] {
		t.Error("the digest of the logical node changed: nobody changed its schema")
	}

	// Without a WAL receiver's replay the standby falls behind; a change of its own digest waits too.
	do(t, tr.streaming, "select pg_wal_replay_pause()")
	undo(t, tr.streaming, "select pg_wal_replay_resume()")
	mark := s.last()
	do(t, tr.primary, "insert into orders (coupon) values ('a')")
	e := s.await(t, "streaming is behind", mark, node("streaming", func(n *evidence.Node) bool { return n.Lag > 1 }))
	if e.Node.LagBytes <= 0 || e.Node.Error != "" {
		t.Errorf("behind by %d bytes, error %q; expected some bytes and no error", e.Node.LagBytes, e.Node.Error)
	}
	mark = s.last()
	do(t, tr.streaming, "select pg_wal_replay_resume()")
	s.await(t, "streaming has caught up", mark, node("streaming", func(n *evidence.Node) bool { return n.Lag == 0 && n.LagBytes == 0 }))

	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
	if gaps := s.unforced(""); len(gaps) > 0 {
		t.Errorf("gaps: %+v", *gaps[0].Gap)
	}
	for _, n := range tr.nodes() {
		until(t, n.Name+" has no connection of ours", func() bool { return ours(t, n) == 0 })
	}
}

func ours(t testing.TB, n service.Node) (count int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = $1", application).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func TestSubscriptionErrors(t *testing.T) {
	tr, s, _ := watchTrio(t, Config{})
	for _, c := range []struct{ name, harm, undo, says string }{
		{"disabled", "alter subscription shop disable", "alter subscription shop enable", "subscription shop is disabled"},
		{"cannot apply", "alter table orders drop column coupon", "alter table orders add column if not exists coupon text", "cannot apply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			undo(t, tr.logical, c.undo)
			mark := s.last()
			do(t, tr.logical, c.harm)
			do(t, tr.primary, "insert into orders (coupon) values ('x')")
			s.await(t, "an error that says "+c.says, mark, node("logical", func(n *evidence.Node) bool { return strings.Contains(n.Error, c.says) }))
			s.await(t, "lag", mark, node("logical", func(n *evidence.Node) bool { return n.Lag > 0.5 && n.LagBytes > 0 }))
			mark = s.last()
			do(t, tr.logical, c.undo)
			s.await(t, "logical is healthy again", mark, healthy("logical", "logical"))
		})
	}
}

// A step of a rollback holds ACCESS EXCLUSIVE on a table: the probes go on, those that need that very table have a gap
// of their own.
func TestNotBlockedByAccessExclusive(t *testing.T) {
	tr, s, o := watchTrio(t, Config{Beat: 500 * time.Millisecond})
	holder := session(t, tr.primary, "begin; lock table orders, lines, outbox in access exclusive mode")
	for _, name := range []string{"primary", "streaming"} { // the standby replays the lock
		mark := s.last()
		until(t, "six beats of "+name, func() bool {
			return len(s.events(mark, node(name, func(n *evidence.Node) bool { return n.Reachable && n.Error == "" }))) >= 6
		})
	}
	if gaps := s.unforced(""); len(gaps) > 0 {
		t.Fatalf("a gap while orders was locked: %+v", *gaps[0].Gap)
	}
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}

	holder = session(t, tr.primary, "begin; lock table goose_db_version in access exclusive mode")
	mark := s.last()
	until(t, "six beats of primary", func() bool { return len(s.events(mark, healthy("primary", "primary"))) >= 6 })
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	e := s.await(t, "the gap of the migration", mark, func(e evidence.Event) bool { return e.Gap != nil && e.Gap.Of == "migration primary" })
	if e.Gap.To-e.Gap.From < 1 {
		t.Errorf("gap from %v to %v; expected the time of the lock, at least a second", e.Gap.From, e.Gap.To)
	}
	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, g := range s.unforced("") {
		if !strings.HasPrefix(g.Gap.Of, "migration ") {
			t.Errorf("gap %+v; expected gaps of the migration only", *g.Gap)
		}
	}
}

func TestLockWaits(t *testing.T) {
	tr, s, _ := watchTrio(t, Config{})
	s.log.Hide("SECRETCOUPON")
	holder := session(t, tr.primary, "begin; update orders set coupon = 'y' where false; lock table orders in access exclusive mode")
	waiter := session(t, tr.primary, "select 1")
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "select  count(*) from orders where coupon = 'SECRETCOUPON' or coupon = '"+strings.Repeat("z", 300)+"'")
		done <- err
	}()
	l := s.await(t, "a lock wait", 0, func(e evidence.Event) bool { return e.Lock != nil && e.Lock.Waiting > 0 }).Lock
	if l.Node != "primary" || l.Waiting != 1 || l.Relation != "public.orders" || l.Longest < 0.1 {
		t.Errorf("found %+v; expected one wait for public.orders on primary of at least 0.1 s", *l)
	}
	if !strings.HasPrefix(l.Query, "select count(*) from orders where coupon = '[secret]'") || len(l.Query) > 200 {
		t.Errorf("query %q; expected it without the secret and cut at 200 bytes", l.Query)
	}
	if !strings.HasPrefix(l.Blocker, "idle in transaction, last: ") || !strings.Contains(l.Blocker, "lock table orders") {
		t.Errorf("blocker %q; expected the idle transaction and its statement", l.Blocker)
	}
	mark := s.last()
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "that nobody waits", mark, func(e evidence.Event) bool { return e.Lock != nil && e.Lock.Waiting == 0 })
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	// Of a wait for a row, the table is named too.
	do(t, tr.primary, "insert into orders (id) values (1000001)")
	undo(t, tr.primary, "delete from orders where id = 1000001")
	holder = session(t, tr.primary, "begin; update orders set coupon = 'a' where id = 1000001")
	go func() {
		_, err := waiter.Exec(context.Background(), "update orders set coupon = 'b' where id = 1000001")
		done <- err
	}()
	l = s.await(t, "a wait for a row", mark, func(e evidence.Event) bool { return e.Lock != nil && e.Lock.Waiting > 0 }).Lock
	if l.Relation != "public.orders" || !strings.Contains(l.Blocker, "coupon = 'a'") {
		t.Errorf("found %+v; expected a wait for a row of public.orders behind coupon = 'a'", *l)
	}
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestNodeDiesAndComesBack(t *testing.T) {
	b, start, server := alone(t)
	n := service.Node{Name: "primary", Role: "primary", URL: server.URL(password, "postgres"), PID: func() int { return server.PID() }}
	s := record(t)
	observe(t, Config{Log: s.log, Nodes: func() []service.Node { return []service.Node{n} }})
	up := node("primary", func(n *evidence.Node) bool { return n.Reachable && n.Error == "" })
	down := node("primary", func(n *evidence.Node) bool { return !n.Reachable && n.Error != "" })
	s.await(t, "the node is up", 0, up)

	mark := s.last()
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := s.await(t, "the node is down", mark, down)
	if strings.Contains(e.Node.Error, "secret") {
		t.Errorf("the error shows the password: %s", e.Node.Error)
	}
	s.await(t, "that it refuses", mark, node("primary", func(n *evidence.Node) bool { return strings.Contains(n.Error, "cannot connect") }))
	mark = s.last()
	again, err := b.Start(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Kill(context.Background())
	s.await(t, "the node is up again", mark, up)
	if gaps := s.unforced("node primary"); len(gaps) > 0 {
		t.Errorf("gap %+v: a node that refuses was observed", *gaps[0].Gap)
	}

	// A backend that hangs is a gap, from the start of the reading that got no answer.
	mark = s.last()
	pid := backend(t, n)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	s.await(t, "that there is no answer", mark, node("primary", func(n *evidence.Node) bool {
		return !n.Reachable && strings.HasPrefix(n.Error, "no answer within")
	}))
	g := s.await(t, "the gap", mark, func(e evidence.Event) bool { return e.Gap != nil && e.Gap.Of == "node primary" }).Gap
	if g.To-g.From < 0.8 {
		t.Errorf("gap from %v to %v; expected the whole reading that timed out", g.From, g.To)
	}
	s.await(t, "the node is up on another connection", mark, up)
}

// backend is the process that serves the node's probe.
func backend(t testing.TB, n service.Node) (pid int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(t.Context(), "select pid from pg_stat_activity where application_name = $1 order by backend_start limit 1", application).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestBeats(t *testing.T) {
	_, s, o := watchTrio(t, Config{Interval: 20 * time.Millisecond, Beat: 200 * time.Millisecond})
	mark := s.last()
	all := func() []evidence.Event {
		return s.events(mark, node("primary", func(*evidence.Node) bool { return true }))
	}
	until(t, "ten beats", func() bool { return len(all()) >= 10 })
	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
	beats := all()
	if span := beats[len(beats)-1].T - beats[0].T; span < 0.15*evidence.Offset(len(beats)-2) {
		t.Errorf("%d events in %v s; expected a beat each 0.2 s while nothing changes", len(beats), span)
	}
	if i := slices.IndexFunc(s.all, func(e evidence.Event) bool { return e.Probe != nil && e.Probe.Name == "load" && e.Probe.OK }); i < 0 {
		t.Error("no load of the machine")
	}
}
