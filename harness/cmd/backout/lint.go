package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/lint"
	"backout/harness/verdict"
)

// large is from how many rows on a table is large, unless somebody says otherwise: what is read in a tenth of a second.
const large = 100_000

func lintCommand() *cobra.Command {
	var format string
	var rows int
	var sabotaged, rules bool
	c := &cobra.Command{
		Use:   "lint [DIR|FILE...]",
		Short: "Say what goes wrong with plans, migrations and scripts sooner or later, without running anything",
		Long: `Look at rollback plans, the migrations and SQL files that they run, and their scripts: plans without pre-checks, steps without
timeout or expected outcome, migrations without an honest Down, Downs that lose data, statements that lock a large table, scripts
that name hosts of production. SQL is read by PostgreSQL's own parser; statements within a command or a program's text are not seen.

A folder stands for every service in it, a service.yaml for that service; plans that are wrong on purpose (sabotage) are looked at
when they are named, or with --sabotaged. A finding is accepted by a comment in the line above it or in the same line:

  # lint: accept no-expected-outcome: its exit code says it
  -- lint: accept down-loses-data: the old release has no such field

Exit codes: 0 nothing is found that is not accepted, 1 something is, 3 bad input.`,
		Example: `  backout lint
  backout lint services/web/releases/v2/rollback.yaml
  backout lint --format sarif services > lint.sarif`,
		RunE: func(c *cobra.Command, args []string) error {
			if rules {
				for _, r := range lint.Rules {
					fmt.Fprintf(c.OutOrStdout(), "%-30s %s\n", r.Name, r.Why)
				}
				return nil
			}
			write := lint.Formats[format]
			if write == nil {
				return fmt.Errorf("--format %s: expected one of %s", format, strings.Join(slices.Sorted(maps.Keys(lint.Formats)), ", "))
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			l, err := lint.Look(args, rows, sabotaged)
			if err != nil {
				return fmt.Errorf("lint: %w", err)
			}
			if err := write(c.OutOrStdout(), l); err != nil {
				return err
			}
			if len(l.Open()) > 0 {
				return exit{code: verdict.ExitFail}
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, json, or sarif for code hosts")
	c.Flags().IntVar(&rows, "large", large, "from how many rows on a table is large; one whose rows service.yaml does not state is too")
	c.Flags().BoolVar(&sabotaged, "sabotaged", false, "look at plans of controls too")
	c.Flags().BoolVar(&rules, "rules", false, "print the rules and what each is for")
	return c
}
