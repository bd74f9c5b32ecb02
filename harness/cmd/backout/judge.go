package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/report"
	"backout/harness/service"
	"backout/harness/verdict"
)

func judgeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "judge DIR",
		Short: "Judge a saved run again, from its log alone",
		Long: `Work the verdict of a saved run out again from its evidence, with no environment at all, and write verdict.json anew.
The same log gives the same verdict byte for byte. The exit code is that of the verdict.

It says, here and never in verdict.json, when the plan, scripts, migrations or feature that are found at their paths differ
from those that the run had, and when the head of the log is not the one that junit.xml beside it names.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			model, err := judge(args[0])
			if err != nil {
				return err
			}
			file, err := os.Create(filepath.Join(args[0], "verdict.json"))
			if err != nil {
				return err
			}
			if err := report.JSON(file, model); err != nil {
				return err
			}
			if err := file.Close(); err != nil {
				return err
			}
			v := model.Verdict
			fmt.Fprintf(c.OutOrStdout(), "%s  %s\npromise list %d, head %s\n", strings.ToUpper(v.Verdict), v.Because, v.PromiseList, model.Head)
			for _, text := range tampered(args[0], model) {
				fmt.Fprintln(c.OutOrStdout(), "note:", text)
			}
			if v.ExpectedWhy != "" {
				fmt.Fprintln(c.OutOrStdout(), v.ExpectedWhy)
			}
			if code := v.Exit(); code != verdict.ExitPass {
				return exit{code: code}
			}
			return nil
		},
	}
}

// headIn finds the head of a log where junit.xml names it.
var headIn = regexp.MustCompile(`<property name="head" value="([^"]*)"`)

// tampered says what differs now from what the run recorded. A file that is not there any more is no difference: a run is
// judged anywhere.
func tampered(dir string, m *report.Model) []string {
	var notes []string
	for _, path := range slices.Sorted(maps.Keys(m.Run.Digests)) {
		found, err := service.Digests(path)
		if err == nil && found[path] != m.Run.Digests[path] {
			notes = append(notes, path+" differs from what the run had")
		}
	}
	beside, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		return notes
	}
	if head := headIn.FindSubmatch(beside); head != nil && string(head[1]) != m.Head {
		notes = append(notes, fmt.Sprintf("the head of the log is %s, and junit.xml names %s: one of the two was changed", m.Head, head[1]))
	}
	return notes
}

// judge is drill.Judge with an error that teaches.
func judge(dir string) (*report.Model, error) {
	if _, err := logOf(dir); err != nil {
		return nil, err
	}
	return drill.Judge(dir)
}

// logOf is the evidence in a run's folder.
func logOf(dir string) (string, error) {
	path := filepath.Join(dir, evidence.File)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s: expected the folder of a run, which holds %s: %w", dir, evidence.File, err)
	}
	return path, nil
}

func reportCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Write a saved run's report again, from its log",
		Example: `  backout report reports/20261123-064512-drops-a-column
  backout report reports/20261123-064512-drops-a-column --format md >>"$GITHUB_STEP_SUMMARY"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			model, err := judge(args[0])
			if err != nil {
				return err
			}
			if format == "" {
				if err := drill.Render(args[0], model); err != nil {
					return err
				}
				for _, f := range report.Formats() {
					fmt.Fprintln(c.OutOrStdout(), filepath.Join(args[0], f.File))
				}
				return nil
			}
			for _, f := range report.Formats() {
				if f.Name == format {
					return f.Write(c.OutOrStdout(), model)
				}
			}
			return fmt.Errorf("--format %s: expected one of %s", format, formats())
		},
	}
	c.Flags().StringVar(&format, "format", "", "write this one to standard output: "+formats()+"; without it all are written into DIR")
	return c
}

// formats are the names of all formats of a run's report.
func formats() string {
	var known []string
	for _, f := range report.Formats() {
		known = append(known, f.Name)
	}
	return strings.Join(known, ", ")
}

func evidenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "evidence DIR",
		Short:   "Print a run's evidence, a line an event",
		Long:    "Print every event of a run as a line of JSON, for people and grep. Findings cite events by their number, n.",
		Example: "  backout evidence reports/20261123-064512-drops-a-column | grep '\"step\"'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := logOf(args[0])
			if err != nil {
				return err
			}
			return evidence.Print(c.OutOrStdout(), path)
		},
	}
}

func planCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "plan [features...]",
		Short: "Print the numbered plan of each drill and run nothing",
		RunE: func(c *cobra.Command, args []string) error {
			all, o, err := f.compile(args)
			if err != nil {
				return err
			}
			for _, s := range all {
				fmt.Fprintf(c.OutOrStdout(), "%s\n%s\n", s.Name, s.Where())
				if s.NotApplicable != "" {
					fmt.Fprintf(c.OutOrStdout(), "    not applicable: %s\n\n", s.NotApplicable)
					continue
				}
				for _, line := range s.Lines(o.Options) {
					fmt.Fprintln(c.OutOrStdout(), line)
				}
				fmt.Fprintln(c.OutOrStdout())
			}
			return nil
		},
	}
	f.add(c)
	return c
}
