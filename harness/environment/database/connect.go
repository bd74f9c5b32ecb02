package database

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"backout/harness/environment"
	"backout/harness/postgres"
)

// QuickRetry lets a replica that could not connect try again soon. It holds only until the replicas are in sync: in the
// drill they are as slow to come back as PostgreSQL's default of 5 s lets them be in production.
const QuickRetry = "wal_retrieve_retry_interval"

// AutoConf is postgresql.auto.conf of a node that is started from a template's copy.
func AutoConf(role string, primary Node, password string) string {
	if role == "primary" {
		return ""
	}
	text := QuickRetry + " = '100ms'\n"
	if role == "streaming" {
		// In a file, because the standby's own catalog is the primary's.
		text += "primary_conninfo = " + literal(Conninfo(primary.InHost, primary.InPort, password, "", "streaming")) + "\n"
	}
	return text
}

// Secure gives the roles of a copied node the run's password in place of the template's, and removes slots that nobody
// will read.
func (r Recipe) Secure(ctx context.Context, n Node, was, password string, dropSlots bool) error {
	var text strings.Builder
	for _, role := range append([]string{postgres.Superuser}, r.Roles...) {
		fmt.Fprintf(&text, "alter role %s password '%s';\n", quote(role), password)
	}
	if dropSlots {
		text.WriteString("select pg_drop_replication_slot(slot_name) from pg_replication_slots;\n")
	}
	if err := Execute(ctx, n.URL(was, "postgres"), text.String()); err != nil {
		return fmt.Errorf("give the roles their passwords: %w", err)
	}
	return nil
}

// InSync connects the logical replica and waits until the replicas, by role, have all that the primary has. From then on, if
// that is asked for, a commit waits for the streaming replica.
func (r Recipe) InSync(ctx context.Context, nodes map[string]Node, password string, synchronous bool) error {
	primary := nodes["primary"]
	url := primary.URL(password, "postgres")
	whole := ctx
	g, ctx := errgroup.WithContext(ctx)
	for role, node := range nodes {
		switch role {
		case "streaming":
			g.Go(func() error {
				if err := WaitStreaming(ctx, url, node.URL(password, "postgres")); err != nil {
					return err
				}
				return slowAgain(ctx, node, password)
			})
		case "logical":
			g.Go(func() error {
				for _, d := range Subscribed(r.Databases) {
					// One transaction: the subscription starts with the new connection.
					err := Execute(ctx, node.URL(password, d.Name), fmt.Sprintf("alter subscription %s connection %s; alter subscription %s enable",
						quote(d.Name), literal(Conninfo(primary.InHost, primary.InPort, password, d.Name, "logical")), quote(d.Name)))
					if err != nil {
						return fmt.Errorf("connect the logical replica of %s: %w", d.Name, err)
					}
				}
				if err := WaitLogical(ctx, url, node, password, r.Databases); err != nil {
					return err
				}
				return slowAgain(ctx, node, password)
			})
		}
	}
	if err := g.Wait(); err != nil || !synchronous {
		return err
	}
	return waitForStandby(whole, url)
}

// waitForStandby has every commit wait until the standby named streaming has applied it. It is set on this node alone, not in what
// all nodes share: a standby that is promoted has nobody to wait for.
func waitForStandby(ctx context.Context, url string) error {
	return Use(ctx, url, func(c *pgx.Conn) error {
		for _, text := range []string{"alter system set synchronous_commit = 'remote_apply'", "alter system set synchronous_standby_names = 'streaming'", "select pg_reload_conf()"} {
			if err := Run(ctx, c, text); err != nil {
				return fmt.Errorf("have commits wait for the streaming replica: %w", err)
			}
		}
		return environment.Until(ctx, "commits wait for the streaming replica", func(ctx context.Context) error {
			var state string
			if err := c.QueryRow(ctx, "select sync_state from pg_stat_replication where application_name = 'streaming'").Scan(&state); err != nil {
				return err
			}
			if state != "sync" {
				return fmt.Errorf("it is %s, not sync", state)
			}
			return nil
		})
	})
}

func slowAgain(ctx context.Context, node Node, password string) error {
	return Use(ctx, node.URL(password, "postgres"), func(c *pgx.Conn) error {
		return errors.Join(Run(ctx, c, "alter system reset "+QuickRetry), Run(ctx, c, "select pg_reload_conf()"))
	})
}
