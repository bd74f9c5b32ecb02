package observe

import (
	"context"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

func shop() *service.Service {
	return &service.Service{Name: "shop", Database: &service.Database{Invariants: map[string]string{
		"orders have lines": "select id from orders o where not exists (select from lines where order_id = o.id) -- none\n;",
	}}, Jobs: map[string]service.Job{"outbox": {
		Open:   "select id, created_at from outbox where sent_at is null",
		Failed: "select id from outbox where attempts >= 5",
	}}}
}

func TestQueries(t *testing.T) {
	tr := cluster3(t)
	undo(t, tr.primary, "truncate outbox; delete from lines; delete from orders; drop table if exists tokens")
	do(t, tr.primary, `truncate outbox; delete from lines; delete from orders;
		insert into outbox (created_at, sent_at) values (now(), now());
		insert into orders (id) values (2000001); insert into lines values (2000001, 1)`)
	_, s, o := watchTrio(t, Config{Service: shop(), Release: &service.Release{Name: "v2", Traps: map[string]service.Trap{
		"tokens": {Count: "select count(*) from tokens where format = 2;", AtLeast: 1},
	}}})
	job := func(holds func(*evidence.Job) bool) func(evidence.Event) bool {
		return func(e evidence.Event) bool { return e.Job != nil && e.Job.Name == "outbox" && holds(e.Job) }
	}
	probe := func(name string, holds func(*evidence.Probe) bool) func(evidence.Event) bool {
		return func(e evidence.Event) bool { return e.Probe != nil && e.Probe.Name == name && holds(e.Probe) }
	}
	is := func(value float64) func(*evidence.Probe) bool {
		return func(p *evidence.Probe) bool { return p.OK && p.Value == value }
	}
	s.await(t, "no open job", 0, job(func(j *evidence.Job) bool { return j.OK && j.Open == 0 && j.Oldest == nil && j.Failed == 0 }))
	s.await(t, "the invariant holds", 0, probe("invariant", is(0)))
	e := s.await(t, "a trap whose table is not there yet", 0, probe("trap", func(p *evidence.Probe) bool { return !p.OK }))
	if !strings.Contains(e.Probe.Error, `relation "tokens" does not exist`) || e.Probe.Of != "tokens" {
		t.Errorf("found %+v; expected the missing table", *e.Probe)
	}

	mark := s.last()
	do(t, tr.primary, `insert into outbox (created_at, attempts) values (now(), 0), (now() + interval '1 s', 5);
		insert into orders (id) values (2000002), (2000003); create table tokens (format int); insert into tokens values (1), (2)`)
	j := s.await(t, "open and failed jobs", mark, job(func(j *evidence.Job) bool { return j.Open == 2 && j.Failed == 1 }))
	if oldest := *j.Job.Oldest; oldest < 0 || oldest > j.T {
		t.Errorf("oldest %v; expected the time of its creation on the drill's clock, before %v", oldest, j.T)
	}
	if age := j.T - *j.Job.Oldest; age > 5 {
		t.Errorf("it is %v s old; expected less than 5", age)
	}
	s.await(t, "two violating rows", mark, probe("invariant", is(2)))
	s.await(t, "one trap", mark, probe("trap", is(1)))

	// While a step runs nothing is asked.
	o.Step(true)
	mark = s.last()
	until(t, "three seconds", func() bool {
		return len(s.events(mark, func(e evidence.Event) bool { return e.Probe != nil && e.Probe.Name == "load" })) >= 3
	})
	if asked := s.events(mark, func(e evidence.Event) bool { return e.Job != nil || e.Probe != nil && e.Probe.Name != "load" }); len(asked) > 0 {
		t.Errorf("asked while a step ran: event %d", asked[0].N)
	}
	o.Step(false)
	mark = s.last()
	s.await(t, "asked again", mark, job(func(j *evidence.Job) bool { return j.OK && j.Open == 2 }))
	if gaps := s.unforced(""); len(gaps) > 0 {
		t.Errorf("gap %+v; expected none, a step is a reason to rest", *gaps[0].Gap)
	}

	// What is locked cannot be read: not OK, and a gap that ends with the lock.
	holder := session(t, tr.primary, "begin; lock table outbox in access exclusive mode")
	mark = s.last()
	e = s.await(t, "a job that cannot be read", mark, job(func(j *evidence.Job) bool { return !j.OK }))
	if !strings.Contains(e.Job.Error, "lock timeout") {
		t.Errorf("error %q; expected the lock time-out", e.Job.Error)
	}
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "the gap", mark, func(e evidence.Event) bool { return e.Gap != nil && e.Gap.Of == "job outbox" })
	s.await(t, "the job again", mark, job(func(j *evidence.Job) bool { return j.OK && j.Open == 2 }))
}

// A job's age is taken on the database's clock. One that this clock says is yet to come was opened before the clock was
// set back, so nobody knows when: it counts as being from before.
func TestAJobFromBeforeTheClockJumped(t *testing.T) {
	tr := cluster3(t)
	undo(t, tr.primary, "truncate outbox")
	do(t, tr.primary, "truncate outbox; insert into outbox (created_at, attempts) values (clock_timestamp() - interval '1 hour', 0)")
	_, s, _ := watchTrio(t, Config{Service: shop()})
	oldest := func(within func(now, at evidence.Offset) bool) func(evidence.Event) bool {
		return func(e evidence.Event) bool {
			return e.Job != nil && e.Job.OK && e.Job.Oldest != nil && within(e.T, *e.Job.Oldest)
		}
	}
	s.await(t, "a job of an hour ago", 0, oldest(func(now, at evidence.Offset) bool { return now-at > 3599 && now-at < 3605 }))
	do(t, tr.primary, "update outbox set created_at = clock_timestamp() + interval '1 hour'")
	s.await(t, "a job of an hour hence", s.last(), oldest(func(_, at evidence.Offset) bool { return at == 0 }))
}

// A step that begins cancels a query that takes long, and that is no failure of the query.
func TestStepCancelsQuery(t *testing.T) {
	tr := cluster3(t)
	slow := &service.Service{Name: "shop", Database: &service.Database{Invariants: map[string]string{"slow": "select pg_sleep(0.45)"}}}
	_, s, o := watchTrio(t, Config{Service: slow})
	running := func() bool {
		var n int
		c := session(t, tr.primary, "select 1")
		defer c.Close(context.Background())
		err := c.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = $1 and query like '%pg_sleep%' and state = 'active'", application).Scan(&n)
		return err == nil && n > 0
	}
	until(t, "the query runs", running)
	o.Step(true)
	if running() {
		t.Error("the query still runs although a step has begun")
	}
	if failed := s.events(0, func(e evidence.Event) bool { return e.Probe != nil && !e.Probe.OK }); len(failed) > 0 {
		t.Errorf("found %+v; expected no failure", *failed[0].Probe)
	}
	o.Step(false)
	s.await(t, "it is asked again", s.last(), func(e evidence.Event) bool { return e.Probe != nil && e.Probe.Of == "slow" && e.Probe.OK })
}

func TestSteps(t *testing.T) {
	s := newSteps(t.Context())
	ctx, leave, ok := s.enter()
	if !ok {
		t.Fatal("no step runs, yet nothing may enter")
	}
	begun := make(chan struct{})
	go func() { s.begin(); close(begun) }()
	<-ctx.Done() // it is cancelled
	select {
	case <-begun:
		t.Fatal("the step began while something was under way")
	default:
	}
	leave()
	<-begun
	if _, _, ok := s.enter(); ok {
		t.Fatal("a step runs, yet something may enter")
	}
	s.finish()
	ctx, leave, ok = s.enter()
	if !ok || ctx.Err() != nil {
		t.Fatal("the step has ended, yet nothing may enter")
	}
	leave()
	s.begin() // nothing is under way: it returns at once
}

func TestCanonicalSchema(t *testing.T) {
	tr := cluster3(t)
	unreadable := make(chan struct{})
	called := make(chan string, 1000)
	schema := func(ctx context.Context, n service.Node, at string) *evidence.Schema {
		called <- n.Name
		select {
		case <-unreadable:
			return &evidence.Schema{Node: n.Name, At: at, Digest: "canonical"}
		default:
			return &evidence.Schema{Node: n.Name, At: at, Error: "lock timeout"}
		}
	}
	_, s, o := watchTrio(t, Config{Schema: schema, Interval: 20 * time.Millisecond})
	ofSchema := func(name string, ok bool) func(evidence.Event) bool {
		return func(e evidence.Event) bool {
			return e.Schema != nil && e.Schema.Node == name && (e.Schema.Error == "") == ok
		}
	}
	o.Step(true)
	mark := s.last()
	undo(t, tr.primary, "drop table if exists more")
	do(t, tr.primary, "create table more (id int)")
	until(t, "four beats of primary while a step runs", func() bool {
		return len(s.events(mark, node("primary", func(*evidence.Node) bool { return true }))) >= 4
	})
	if len(called) > 0 {
		t.Fatalf("the schema of %s was read: nothing had changed before the step, and then the step ran", <-called)
	}
	o.Step(false)
	for _, name := range []string{"primary", "streaming", "logical"} { // each once after the steps, changed or not
		s.await(t, "a reading with an error", mark, ofSchema(name, false))
	}
	close(unreadable)
	for _, name := range []string{"primary", "streaming", "logical"} {
		e := s.await(t, "a reading", mark, ofSchema(name, true))
		if e.Schema.At != "watch" {
			t.Errorf("at %q; expected watch", e.Schema.At)
		}
		before := s.events(mark, func(b evidence.Event) bool { return b.N < e.N && b.Node != nil && b.Node.Name == name })
		after := s.await(t, "the digest once more", e.N, node(name, func(*evidence.Node) bool { return true }))
		if len(before) == 0 || before[len(before)-1].Node.Digest != after.Node.Digest {
			t.Errorf("%s: the reading does not stand between two events with the same digest", name)
		}
		s.await(t, "the gap of the time in which it could not be read", mark, func(e evidence.Event) bool {
			return e.Gap != nil && e.Gap.Of == "schema "+name
		})
	}

	// A change without a step is read too, on the nodes that have it.
	mark = s.last()
	do(t, tr.primary, "drop table more")
	s.await(t, "primary", mark, ofSchema("primary", true))
	s.await(t, "streaming", mark, ofSchema("streaming", true))
	if got := s.events(mark, ofSchema("logical", true)); len(got) > 0 {
		t.Errorf("the logical node was read again: it has not changed")
	}
}
