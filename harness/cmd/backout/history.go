package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/history"
	"backout/harness/verdict"
)

// past are what all commands that read a history share.
type past struct {
	place string
	named bool
	now   string
}

const placeText = "folder or URL of the history"

func (p *past) add(c *cobra.Command) {
	c.Flags().StringVar(&p.place, "history", filepath.Join("reports", "history"), placeText+": "+strings.Join(history.Schemes(), "://, ")+"://")
	c.Flags().StringVar(&p.now, "now", "", "the time that is taken for now, in RFC 3339")
	_ = c.Flags().MarkHidden("now") // for tests, and for a page that comes out the same again
	c.PreRun = func(c *cobra.Command, _ []string) { p.named = c.Flags().Changed("history") }
}

// clock is the time that is taken for now.
func (p *past) clock() (time.Time, error) {
	if p.now == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, p.now)
	if err != nil {
		return t, fmt.Errorf("--now %s: expected a time such as 2026-11-26T12:00:00Z", p.now)
	}
	return t, nil
}

// load reads the history, and tells what could not be read.
func (p *past) load(ctx context.Context) (_ *history.Log, err error) {
	store, err := history.Open(ctx, p.place, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no history in %s: `backout run` adds to it, `backout history add DIR` adds saved runs: %w", p.place, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	l, err := store.Load(ctx)
	if err != nil {
		return nil, err
	}
	tellDamage(l)
	return l, nil
}

func tellDamage(l *history.Log) {
	for _, d := range l.Damaged {
		fmt.Fprintf(os.Stderr, "backout: %s in %s cannot be read and counts as nothing: %s\n", d.Name, l.Place, d.Why)
	}
	if l.Index != "" {
		fmt.Fprintf(os.Stderr, "backout: the index of %s was of no use (%s); `backout history --rebuild` writes it anew\n", l.Place, l.Index)
	}
}

func historyCommand() *cobra.Command {
	var p past
	var o history.Options
	var format string
	var rebuild bool
	var names []string
	for _, f := range history.Formats() {
		names = append(names, f.Name)
	}
	c := &cobra.Command{
		Use:   "history",
		Short: "What drills showed over time: how fresh, how fast, how complete",
		Long: `Say for each service and drill when it ran last, its verdict, its speed against the target, whether everything came back,
its trend, how many runs were green, and how long the last green one is ago. Controls are drills of the drills: none of them
counts as a rollback of the service.

Speeds are compared only between runs of the same environment, cores, volume (rows) and windows. "slower" is more than 10 %,
three times the spread and a second above the median of up to ten such runs before; with fewer than three it is "unknown".

Rollbacks per deployment come from "backout record" alone, and are unknown without it: a drill is none of either.

` + "`backout run`" + ` adds its runs by itself, to --history or REPORTS/history. A history is one object a run, which is written once and
never changed, and an index that only spares reading them one by one. Many machines may share one. Schemes that are built
in: ` + strings.Join(history.Schemes(), ", ") + `. s3:// takes its keys as the AWS command line does, and "?endpoint=" names another server.

Formats: table, json, csv, html (a page), badge (an SVG), shields (the JSON that shields.io draws a badge from).`,
		Example: `  backout history
  backout history --format html > history.html
  backout history --history s3://drills?region=eu-central-1 --format badge > badge.svg
  backout history add reports/20261123-064512-drops-a-column`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now, err := p.clock()
			if err != nil {
				return err
			}
			if rebuild {
				return rebuildIndex(c.Context(), p.place)
			}
			for _, f := range history.Formats() {
				if f.Name != format {
					continue
				}
				l, err := p.load(c.Context())
				if err != nil {
					return err
				}
				o.Now = now
				return f.Write(c.OutOrStdout(), history.Summarize(l, o))
			}
			return fmt.Errorf("--format %s: expected one of %s", format, strings.Join(names, ", "))
		},
	}
	p.add(c)
	c.Flags().StringVar(&o.Service, "service", "", "this service alone")
	c.Flags().StringVar(&format, "format", "table", strings.Join(names, ", "))
	c.Flags().BoolVar(&rebuild, "rebuild", false, "write the index anew from all objects")
	c.AddCommand(historyAddCommand(), historyGenerateCommand())
	return c
}

func rebuildIndex(ctx context.Context, place string) (err error) {
	store, err := history.Open(ctx, place, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	l, err := store.Load(ctx)
	if err != nil {
		return err
	}
	l.Index = "" // it is mended now
	tellDamage(l)
	if err := store.Rebuild(ctx, l); err != nil {
		return err
	}
	fmt.Printf("%d runs in the index of %s, %d objects cannot be read\n", len(l.Runs), place, len(l.Damaged))
	return nil
}

func historyAddCommand() *cobra.Command {
	var p past
	c := &cobra.Command{
		Use:   "add DIR...",
		Short: "Add saved runs, or all runs of a set's folder",
		Long: `Judge saved runs from their logs, as "backout judge" does, and add them to the history. A run that is there already stays
as it is: the head of its log tells it from others.`,
		Example: `  backout history add reports/20261123-064512-drops-a-column
  backout history add reports/*/ --history s3://drills?region=eu-central-1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			var dirs []string
			for _, dir := range args {
				found, err := runsIn(dir)
				if err != nil {
					return err
				}
				dirs = append(dirs, found...)
			}
			store, err := history.Open(c.Context(), p.place, true)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			var wrong []error
			for _, dir := range dirs {
				model, err := judge(dir)
				if err != nil {
					wrong = append(wrong, err)
					continue
				}
				broke := model.End != nil && model.End.How == "broke"
				added, err := store.Add(c.Context(), history.Of(model.Run, model.Verdict, model.Head, broke))
				switch {
				case err != nil:
					wrong = append(wrong, fmt.Errorf("%s: %w", dir, err))
				case added:
					fmt.Fprintln(c.OutOrStdout(), dir+": added")
				default:
					fmt.Fprintln(c.OutOrStdout(), dir+": was there already")
				}
			}
			return errors.Join(append(wrong, store.Tidy(c.Context()))...)
		},
	}
	p.add(c)
	return c
}

// runsIn are the folders of runs in a folder: itself, or those in it.
func runsIn(dir string) ([]string, error) {
	found, err := evidence.Folders(dir)
	if err != nil {
		return nil, fmt.Errorf("add to the history: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: expected the folder of a run, which holds %s, or one of several runs", dir, evidence.File)
	}
	return found, nil
}

func historyGenerateCommand() *cobra.Command {
	var p past
	var runs int
	var seed uint64
	c := &cobra.Command{
		Use:    "generate",
		Short:  "Invent a year of runs, marked as generated, to see what a history looks like",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			now, err := p.clock()
			if err != nil {
				return err
			}
			store, err := history.Open(c.Context(), p.place, true)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			all, records := history.Generate(runs, seed, now)
			for _, r := range all {
				if _, err := store.Add(c.Context(), r); err != nil {
					return err
				}
			}
			for _, r := range records {
				if _, err := store.AddRecord(c.Context(), r); err != nil {
					return err
				}
			}
			l, err := store.Load(c.Context())
			if err != nil {
				return err
			}
			return store.Rebuild(c.Context(), l)
		},
	}
	p.add(c)
	c.Flags().IntVar(&runs, "runs", 600, "how many")
	c.Flags().Uint64Var(&seed, "seed", 7, "the same seed invents the same runs")
	return c
}

// keepWithin bounds adding to a history at the end of a run, also of one that was interrupted.
const keepWithin = time.Minute

// keep adds the runs of a set to the history. When the user named one, failing to is an error; else it is told.
func keep(ctx context.Context, f flags, results []drill.Result, show *progress) error {
	// What was interrupted is a run as well, so that the context's end must not end this.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWithin)
	defer cancel()
	err := f.keep(ctx, results)
	if err == nil {
		return nil
	}
	if f.history == "" {
		show.note("not in the history: " + err.Error())
		return nil
	}
	return exit{verdict.ExitBroke, err.Error()}
}

func (f *flags) keep(ctx context.Context, results []drill.Result) (err error) {
	place := f.history
	if place == "" {
		place = filepath.Join(f.reports, "history")
	}
	var store *history.Store
	for _, r := range results {
		if r.Run == nil || r.Head == "" {
			continue // not applicable, or it broke before anything was written
		}
		if store == nil {
			if store, err = history.Open(ctx, place, true); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
		}
		if _, err := store.Add(ctx, history.Of(*r.Run, r.Verdict, r.Head, r.Err != nil)); err != nil {
			return err
		}
	}
	if store == nil {
		return nil
	}
	return store.Tidy(ctx)
}
