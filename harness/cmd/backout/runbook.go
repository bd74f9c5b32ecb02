package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/runbook"
	"backout/harness/service"
)

func runbookCommand() *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use:   "runbook PLAN...",
		Short: "Write a plan as a runbook for people: checks, commands to paste, what to do when a step fails",
		Long: `Write a rollback plan as a page of Markdown: whom to tell, pre-checks, the commands to paste, what each must show and by when,
what to do when a step fails, and the validation. It is made from the plan, its release and its service alone.

With --write each page is written beside its plan, rollback.yaml as rollback.md.`,
		Example: `  backout runbook services/web/releases/v2/rollback.yaml
  backout runbook --write services/*/releases/*/rollback*.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, path := range args {
				p, err := service.PlanAt(path)
				if err != nil {
					return fmt.Errorf("runbook: %w", err)
				}
				book, err := runbook.Of(p)
				if err != nil {
					return fmt.Errorf("runbook of %s: %w", path, err)
				}
				if !write {
					err = book.Markdown(c.OutOrStdout())
				} else {
					err = writeFile(strings.TrimSuffix(path, filepath.Ext(path))+".md", book.Markdown)
				}
				if err != nil {
					return fmt.Errorf("runbook of %s: %w", path, err)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&write, "write", false, "write each page beside its plan in place of printing it")
	return c
}
