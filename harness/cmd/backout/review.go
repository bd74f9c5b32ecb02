package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/history"
	"backout/harness/service"
)

func reviewCommand() *cobra.Command {
	var p past
	var month, format string
	var roots []string
	c := &cobra.Command{
		Use:   "review",
		Short: "A month of rollbacks: figures against targets, what became worse, what was never drilled, what is ready",
		Long: `Write the monthly review from the history: figures against targets, drills that became worse, services that were never
drilled (those that are checked out here are among them), and the audit's questions: documented? tested? automated? how
long? dashboards? communication plan? What evidence shows is answered from it; the rest says that a person must answer.`,
		Example: `  backout review --month 2026-11
  backout review --month 2026-11 --format html > review.html`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now, err := p.clock()
			if err != nil {
				return err
			}
			first, err := history.ParseMonth(month)
			if month == "" {
				first, err = history.ParseMonth(now.UTC().Format("2006-01"))
			}
			if err != nil {
				return fmt.Errorf("--month: %w", err)
			}
			if first.After(now) {
				return fmt.Errorf("--month %s: expected a month that has begun", month)
			}
			if format != "md" && format != "html" {
				return fmt.Errorf("--format %s: expected md or html", format)
			}
			known, err := knownServices(roots)
			if err != nil {
				return err
			}
			l, err := p.load(c.Context())
			if err != nil {
				return err
			}
			r := history.ReviewOf(l, first, known, now)
			if format == "html" {
				return r.HTML(c.OutOrStdout())
			}
			return r.Markdown(c.OutOrStdout())
		},
	}
	p.add(c)
	c.Flags().StringVar(&month, "month", "", "such as 2026-11; this month unless given")
	c.Flags().StringVar(&format, "format", "md", "md or html")
	c.Flags().StringSliceVar(&roots, "services", serviceRoots(), "folders in which services are looked for")
	return c
}

// knownServices are the services that are checked out, with their own rollback plans. One that cannot be read is told, and
// left away.
func knownServices(roots []string) ([]history.Known, error) {
	var all []history.Known
	seen := map[string]bool{}
	for _, root := range roots {
		below, err := filepath.Glob(filepath.Join(root, "*", "service.yaml"))
		if err != nil {
			return nil, fmt.Errorf("look for services in %s: %w", root, err)
		}
		for _, path := range append([]string{filepath.Join(root, "service.yaml")}, below...) {
			if _, err := os.Stat(path); err != nil {
				continue
			}
			s, err := service.Load(path)
			if err != nil {
				fmt.Fprintf(os.Stderr, "backout: left away: %v\n", err)
				continue
			}
			if seen[s.Name] {
				continue
			}
			seen[s.Name] = true
			k, err := known(s)
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
	}
	return all, nil
}

func known(s *service.Service) (history.Known, error) {
	k := history.Known{Name: s.Name, Tier: s.Tier}
	names, err := s.Releases()
	if err != nil {
		return k, err
	}
	for _, name := range names {
		r, err := s.Release(name)
		if err != nil {
			return k, err
		}
		ways := map[string]bool{}
		for _, env := range drill.EnvironmentNames() {
			plan, err := r.Plan("", env)
			if errors.Is(err, service.ErrNoPlan) || err == nil && ways[plan.Path] {
				continue
			}
			if err != nil {
				return k, err
			}
			ways[plan.Path] = true
			k.Plans = append(k.Plans, history.PlanPath(plan.Path))
		}
		// Releases that others go back to need none. A plan under another name is a plan too.
		named, err := filepath.Glob(filepath.Join(r.Dir, "*.yaml"))
		if err != nil {
			return k, err
		}
		if len(ways) == 0 && len(named) == 1 && !r.Good && strings.HasSuffix(named[0], "release.yaml") {
			k.None = append(k.None, name)
		}
	}
	return k, nil
}
