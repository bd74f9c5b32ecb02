package fault

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
)

func lag() Kind {
	return Kind{
		Name: "lag", Forms: []Form{{Text: "{target} lags by {n} seconds", Unit: 1}, {Text: "{target} applies nothing"}},
		On: []string{OnStreaming, OnLogical},
		Refuses: func(d evidence.DeclaredFault, on string) string {
			switch {
			case on == OnStreaming && d.Seconds <= 0:
				return `expected by how much: "the streaming replica lags by 5 seconds"`
			case on == OnLogical && d.Seconds > 0:
				return `PostgreSQL has no delay for a logical replica: "the logical replica applies nothing"`
			}
			return ""
		},
		New: func(w World, d evidence.DeclaredFault) Fault {
			if d.Seconds > 0 {
				return &delayed{World: w, name: d.Of, by: d.Seconds,
					setting: setting{name: "recovery_min_apply_delay", value: fmt.Sprintf("%dms", int(d.Seconds*1000))}}
			}
			return &idle{World: w, name: d.Of}
		},
	}
}

// delayed has a standby replay what was committed only when it is so old.
type delayed struct {
	World
	name    string
	by      float64
	setting setting
	reached bool // the age that was asked for was seen
}

func (f *delayed) Inject(ctx context.Context) error {
	return f.lay(ctx, f.name, []*setting{&f.setting})
}

// InForce is what the age of the newest transaction says that was replayed, and not the setting alone. It grows to what was
// asked for first. Later it is also in force while replay waits for a commit to be old enough: the end of a transaction that
// was rolled back is replayed without delay, and makes the newest one look young.
func (f *delayed) InForce(ctx context.Context) (string, bool, error) {
	var age, delay float64
	var waits bool
	err := f.ask(ctx, f.name, `select coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8,
		(select setting::float8 / 1000 from pg_settings where name = 'recovery_min_apply_delay'),
		exists (select from pg_stat_activity where backend_type = 'startup' and wait_event = 'RecoveryApplyDelay')`, &age, &delay, &waits)
	if err != nil {
		return "", false, err
	}
	f.reached = f.reached || age >= f.by
	seen := fmt.Sprintf("the newest transaction that %s has replayed is %.1f s old", f.name, age)
	if waits {
		seen += ", and the next one waits"
	}
	return seen, delay == f.by && f.reached && (age >= f.by || waits), nil
}

func (f *delayed) Lift(ctx context.Context) error {
	return f.back(ctx, f.name, []*setting{&f.setting})
}

// Gone is that the delay is not ours any more. Whether the standby has caught up is for the drill to judge.
func (f *delayed) Gone(ctx context.Context) (string, bool, error) {
	var delay float64
	err := f.ask(ctx, f.name, `select setting::float8 / 1000 from pg_settings where name = 'recovery_min_apply_delay'`, &delay)
	return fmt.Sprintf("%s replays what is %g s old", f.name, delay), err == nil && delay != f.by, err
}

// idle keeps the subscriptions of a logical replica from applying anything.
type idle struct {
	World
	name  string
	names []string
}

func (f *idle) Inject(ctx context.Context) error {
	return f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error {
		all, err := postgres.Texts(ctx, c, `select subname from pg_subscription where subenabled and subdbid = (select oid from pg_database where datname = current_database())`)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("%s has no subscription that applies anything", f.name)
		}
		f.names = all
		return f.each(ctx, c, "disable")
	})
}

func (f *idle) each(ctx context.Context, c postgres.Conn, verb string) error {
	for _, name := range f.names {
		if _, err := c.Exec(ctx, "alter subscription "+pgx.Identifier{name}.Sanitize()+" "+verb); err != nil {
			return err
		}
	}
	return nil
}

func (f *idle) InForce(ctx context.Context) (string, bool, error) {
	var workers, enabled int
	if err := f.ask(ctx, f.name, `select (select count(*) from pg_stat_subscription where pid is not null),
		(select count(*) from pg_subscription where subenabled and subdbid = (select oid from pg_database where datname = current_database()))`, &workers, &enabled); err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%s has %d subscriptions enabled and %d workers that apply", f.name, enabled, workers), enabled == 0 && workers == 0, nil
}

func (f *idle) Lift(ctx context.Context) error {
	return f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error { return f.each(ctx, c, "enable") })
}

// Gone is that they are enabled again. Whether they can apply what has piled up is for the drill to judge: the plan may have
// taken away what that needs.
func (f *idle) Gone(ctx context.Context) (string, bool, error) {
	var enabled int
	err := f.on(ctx, f.name, func(ctx context.Context, c postgres.Conn) error {
		return c.QueryRow(ctx, `select count(*) from pg_subscription where subenabled and subname = any($1)`, f.names).Scan(&enabled)
	})
	return fmt.Sprintf("%d of %d subscriptions of %s are enabled", enabled, len(f.names), f.name), err == nil && enabled == len(f.names), err
}
