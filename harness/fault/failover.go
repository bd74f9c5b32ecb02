package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backout/harness/evidence"
	"backout/harness/postgres"
)

func failover() Kind {
	return Kind{
		Name: "failover", On: []string{OnStreaming}, Removes: true,
		Forms: []Form{{Text: "the primary fails over to {target}"}, {Text: "the primary fails over to {target}, which is {n} seconds behind", Unit: 1}},
		Needs: "lead what reached the primary to another node",
		Can:   func(p Place) bool { return p.State != nil && p.Kill != nil && p.Lead != nil },
		Refuses: func(d evidence.DeclaredFault, _ string) string {
			if !d.ForGood {
				return "what was promoted stays the primary: say when, and that it is for good: before step 1, for good"
			}
			return ""
		},
		New: func(w World, d evidence.DeclaredFault) Fault {
			return &failsOver{World: w, to: d.Of, behind: d.Seconds}
		},
	}
}

// failsOver is what happens when the primary dies and its standby takes over: the primary is killed, the standby is promoted
// once it has replayed what it had received, and the name of the primary leads to it. The standby itself takes part no more.
type failsOver struct {
	World
	to       string
	behind   float64 // seconds of commits that the standby does not receive any more
	timeline string  // of the old primary
}

const primary = "primary"

func (f *failsOver) Inject(ctx context.Context) error {
	if err := f.ask(ctx, primary, `select left(pg_walfile_name(pg_current_wal_lsn()), 8)`, &f.timeline); err != nil {
		return err
	}
	if f.behind > 0 {
		if err := f.fallBehind(ctx); err != nil {
			return fmt.Errorf("leave %s behind: %w", f.to, err)
		}
	}
	if err := f.Place.Kill(ctx, primary); err != nil {
		return err
	}
	if err := f.promote(ctx); err != nil {
		return fmt.Errorf("promote %s: %w", f.to, err)
	}
	return f.Place.Lead(ctx, primary, f.to)
}

// fallBehind has the standby receive nothing more, and returns when the primary has committed for so long without it.
func (f *failsOver) fallBehind(ctx context.Context) error {
	if err := f.lay(ctx, f.to, []*setting{{name: "primary_conninfo", value: ""}}); err != nil {
		return err
	}
	if _, err := Await(ctx, 10*time.Second, func(ctx context.Context) (string, bool, error) {
		var receivers int
		err := f.ask(ctx, f.to, `select count(*) from pg_stat_wal_receiver`, &receivers)
		return fmt.Sprintf("%s has %d receivers", f.to, receivers), receivers == 0, err
	}); err != nil {
		return err
	}
	var received string
	if err := f.ask(ctx, f.to, `select pg_last_wal_receive_lsn()::text`, &received); err != nil {
		return err
	}
	var since time.Time // when the primary was first seen to have something that the standby has not
	_, err := Await(ctx, 10*time.Second+duration(f.behind), func(ctx context.Context) (string, bool, error) {
		var ahead bool
		err := f.ask(ctx, primary, fmt.Sprintf(`select pg_current_wal_flush_lsn() > '%s'::pg_lsn`, received), &ahead)
		switch {
		case err != nil || !ahead:
			return f.to + " has all that the primary has", false, err
		case since.IsZero():
			since = time.Now()
		}
		return fmt.Sprintf("%s is %.1f s behind", f.to, time.Since(since).Seconds()), time.Since(since) >= duration(f.behind), nil
	})
	return err
}

// promote ends the standby's recovery, and takes away what it does not need any more, as a cluster manager does.
func (f *failsOver) promote(ctx context.Context) error {
	n, err := f.node(f.to)
	if err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, n.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	var promoted bool
	if err := pool.QueryRow(ctx, `select pg_promote(true, 20)`).Scan(&promoted); err != nil {
		return err
	}
	if !promoted {
		return errors.New("it was not within 20 s")
	}
	if _, err := pool.Exec(ctx, `alter system reset primary_conninfo`); err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `select pg_reload_conf()`)
	return err
}

// InForce is asked at the primary's name: who answers there must take writes, on a later timeline, and the old one must be gone.
func (f *failsOver) InForce(ctx context.Context) (string, bool, error) {
	state, err := f.Place.State(ctx, primary)
	if err != nil {
		return "", false, err
	}
	var standby bool
	var timeline string
	err = f.ask(ctx, primary, `select pg_is_in_recovery(), case when pg_is_in_recovery() then '' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end`, &standby, &timeline)
	if err != nil {
		return "", false, err
	}
	kind := "a primary"
	if standby {
		kind = "a standby"
	}
	return fmt.Sprintf("the old primary is %s; at its name answers %s on timeline %s, before it was %s", state, kind, timeline, f.timeline),
		state == Gone && !standby && timeline > f.timeline, nil
}

// Lift does nothing: the fault is for good.
func (f *failsOver) Lift(context.Context) error { return nil }

// Gone is never asked, since it is for good.
func (f *failsOver) Gone(context.Context) (string, bool, error) {
	return "", false, errors.New("what has failed over does not come back")
}
