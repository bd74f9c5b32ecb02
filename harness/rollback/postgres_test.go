package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/service"
)

const password = "pa55-of-the-test"

// server starts a PostgreSQL with a database shop, the roles shop and shop_migrator, and a table orders.
func server(t *testing.T) *postgres.Server {
	t.Helper()
	binaries, err := postgres.Find("")
	if err != nil {
		t.Skipf("PostgreSQL is not on this machine: %v", err)
	}
	// Not t.TempDir: as root the server runs as another user, who must pass through.
	top, err := os.MkdirTemp("", "rollback-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o711); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := filepath.Join(top, "data")
	if err := binaries.Init(ctx, dir, password); err != nil {
		t.Fatal(err)
	}
	s, err := binaries.Start(ctx, postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log"), Settings: map[string]string{"max_prepared_transactions": "5", "autovacuum": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	do(t, s.URL(password, "postgres"), "create database shop", "create role shop login password '"+password+"'",
		"create role shop_migrator login password '"+password+"'")
	do(t, s.URL(password, "shop"), "grant all on schema public to shop, shop_migrator",
		"set role shop_migrator; create table orders (id int primary key); insert into orders values (1); create table lines (id int); grant all on orders, lines to shop")
	return s
}

func as(s *postgres.Server, role string) string {
	return postgres.URL("127.0.0.1", s.Port(), role, password, "shop")
}

// do runs statements on a connection of their own.
func do(t *testing.T, url string, statements ...string) {
	t.Helper()
	c := session(t, url)
	defer c.Close(context.Background())
	for _, s := range statements {
		statement(t, c, s)
	}
}

// session is a connection that lives as long as the test.
func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	c, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func statement(t *testing.T, c *pgx.Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // also when the test is over, to clean up
	defer cancel()
	if _, err := c.Exec(ctx, text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestPreChecksAgainstPostgres(t *testing.T) {
	s := server(t)
	before := func(t *testing.T, c service.Check, vars map[string]string) (*events, error) {
		t.Helper()
		r, seen := runner(t)
		r.Log.Hide(password)
		r.Vars = vars
		p := &service.Plan{Env: map[string]string{}, Before: []service.Check{c}}
		for v := range vars {
			p.Env[strings.TrimPrefix(v+"_NODE", "DATABASE_URL_")] = v
		}
		return seen, r.Before(t.Context(), p, world{})
	}

	t.Run("identity", func(t *testing.T) {
		do(t, s.URL(password, "postgres"), "create role changed login password '"+password+"'", "grant shop_migrator to changed",
			"alter role changed set role shop_migrator")
		tests := []struct{ name, url, err, outcome string }{
			{"as stated", as(s, "shop_migrator"), "", ""},
			{"another database", strings.Replace(as(s, "shop_migrator"), "/shop?", "/postgres?", 1), "expected NODE to be the database shop, found postgres", evidence.StepRefused},
			{"another role", as(s, "shop"), "expected NODE to connect as shop_migrator, found shop", evidence.StepRefused},
			{"a role that changes on connecting", as(s, "changed"), "expected NODE to connect as shop_migrator, found changed", evidence.StepRefused},
			{"a wrong password", strings.Replace(as(s, "shop_migrator"), password, "wrong", 1), "could not be checked: connect with NODE", evidence.StepFailed},
			{"no server", "postgres://shop_migrator:" + password + "@127.0.0.1:1/shop", "could not be checked: connect with NODE", evidence.StepFailed},
			{"no URL", "://" + password, "could not be checked: connect with NODE: the URL of the database cannot be read", evidence.StepFailed},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				seen, err := before(t, service.Check{Database: &service.Identity{Name: "shop", Role: "shop_migrator", URL: "NODE"}}, map[string]string{"DATABASE_URL": test.url})
				answered(t, err, test.err, seen, evidence.PartBefore, test.outcome)
				if err != nil && strings.Contains(fmt.Sprint(err, seen.all), password) {
					t.Errorf("the password is in %v", err)
				}
			})
		}
	})

	// The migrator of a plan may read statistics of others or not; what is in the way is seen all the same.
	for _, role := range []string{"shop_migrator", "backout"} {
		tests := []struct {
			name  string
			setup func(t *testing.T)
			ok    bool
			why   string // with all rights
			plain string // as an ordinary role
		}{
			{"nothing", func(t *testing.T) {}, true, "", ""},
			{"idle in transaction", func(t *testing.T) {
				c := session(t, as(s, "shop"))
				statement(t, c, "begin")
				statement(t, c, "select * from orders where id = 1 /* "+password+" */")
			}, false, "is idle in transaction for", "in the same transaction for more than 1s and holds AccessShareLock on orders (what it does is hidden from this role"},
			{"a long query", func(t *testing.T) {
				c := session(t, as(s, "shop"))
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.Exec(ctx, "select pg_sleep(60) from orders")
				}()
				t.Cleanup(func() { cancel(); <-done })
				waitFor(t, s, "select 1 from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")
			}, false, "is active in a transaction for", "in the same transaction for more than 1s"},
			{"a prepared transaction", func(t *testing.T) {
				c := session(t, as(s, "shop"))
				statement(t, c, "begin")
				statement(t, c, "insert into orders values (2)")
				statement(t, c, "prepare transaction 'left over'")
				t.Cleanup(func() { do(t, as(s, "shop"), "rollback prepared 'left over'") })
			}, false, "prepared transaction 'left over' for", "prepared transaction 'left over' for"},
			{"two prepared transactions, one on another table", func(t *testing.T) {
				c := session(t, as(s, "shop"))
				for i, text := range []string{"insert into lines values (1)", "insert into orders values (3)"} {
					statement(t, c, "begin")
					statement(t, c, text)
					statement(t, c, fmt.Sprintf("prepare transaction 'number %d'", i))
					t.Cleanup(func() { do(t, as(s, "shop"), fmt.Sprintf("rollback prepared 'number %d'", i)) })
				}
			}, false, "NODE: prepared transaction 'number 1' for", "NODE: prepared transaction 'number 1' for"},
			{"on another table", func(t *testing.T) {
				c := session(t, as(s, "shop"))
				statement(t, c, "begin")
				statement(t, c, "insert into lines values (2)")
			}, true, "", ""},
			{"of the harness", func(t *testing.T) {
				c := session(t, s.URL(password, "shop")+"&application_name=backout-fingerprint")
				statement(t, c, "begin")
				statement(t, c, "select * from orders")
			}, true, "", ""},
			{"short transactions that are idle for moments", func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				c := session(t, as(s, "shop"))
				go func() {
					var err error
					for err == nil && ctx.Err() == nil {
						if _, err = c.Exec(context.Background(), "begin"); err == nil {
							if _, err = c.Exec(context.Background(), "select * from orders"); err == nil {
								_, err = c.Exec(context.Background(), "commit")
							}
						}
					}
					done <- err
				}()
				t.Cleanup(func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				})
			}, true, "", ""},
		}
		for _, test := range tests {
			t.Run(test.name+", seen as "+role, func(t *testing.T) {
				test.setup(t)
				seen, err := before(t, service.Check{Unblocked: []string{"orders"}}, map[string]string{"DATABASE_URL": as(s, role)})
				why := test.why
				if role == "shop_migrator" {
					why = test.plain
				}
				answered(t, err, why, seen, evidence.PartBefore, evidence.StepRefused)
				if err != nil && strings.Contains(err.Error(), password) {
					t.Errorf("expected a redacted query, found %v", err)
				}
				t.Log(err)
			})
		}
	}

	t.Run("every node that the plan names", func(t *testing.T) {
		do(t, s.URL(password, "postgres"), "create database other")
		do(t, s.URL(password, "other"), "create table orders (id int)")
		c := session(t, s.URL(password, "other")+"&application_name=")
		statement(t, c, "begin")
		statement(t, c, "lock table orders")
		_, err := before(t, service.Check{Unblocked: []string{"orders"}}, map[string]string{
			"DATABASE_URL": s.URL(password, "shop"), "DATABASE_URL_LOGICAL": s.URL(password, "other")})
		if err == nil || !strings.Contains(err.Error(), "LOGICAL_NODE: pid") || !strings.Contains(err.Error(), "holds AccessExclusiveLock on orders: lock table orders") {
			t.Errorf("expected the second node's session, found %v", err)
		}
	})
	t.Run("what cannot be read is not ok", func(t *testing.T) {
		for why, c := range map[string]struct {
			table, url string
		}{
			"expected the table refunds, found none": {"refunds", as(s, "shop")},
			"connect:":                               {"orders", "postgres://shop@127.0.0.1:1/shop"},
		} {
			seen, err := before(t, service.Check{Unblocked: []string{c.table}}, map[string]string{"DATABASE_URL": c.url})
			answered(t, err, "could not be checked: NODE: "+why, seen, evidence.PartBefore, evidence.StepFailed)
			var refused *rollback.Refused
			if !errors.As(err, &refused) || refused.Err == nil {
				t.Errorf("expected a refusal that could not be read, found %#v", err)
			}
		}
	})
}

// waitFor waits until a query returns a row.
func waitFor(t *testing.T, s *postgres.Server, query string) {
	t.Helper()
	c := session(t, s.URL(password, "shop"))
	for limit := time.Now().Add(30 * time.Second); ; {
		var one int
		err := c.QueryRow(t.Context(), query).Scan(&one)
		if err == nil {
			return
		}
		if !errors.Is(err, pgx.ErrNoRows) || time.Now().After(limit) {
			t.Fatalf("%s: %v", query, err)
		}
	}
}
