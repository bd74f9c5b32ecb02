package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"backout/harness/history"
)

func recordCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "record",
		Short: "Tell the history of a deployment or a rollback in production",
		Long: `Tell the history of a deployment or a rollback in production, or of many by CDEvents. "backout history" and "backout review"
make rollbacks per deployment of them, which is unknown without: a drill is none of either.`,
		Example: `  backout record deployment --service NAME --release v2
  backout record rollback --service NAME --release v2 --at 2026-11-23T06:45:00Z
  backout record cdevents events.json --environment production`,
	}
	c.AddCommand(recordOne(history.Deployment), recordOne(history.Rollback), recordCDEvents())
	return c
}

func recordOne(kind string) *cobra.Command {
	var p past
	var r history.Record
	var at string
	c := &cobra.Command{
		Use:   kind + " --service NAME",
		Short: map[string]string{history.Deployment: "A release was deployed in production", history.Rollback: "A release was rolled back in production"}[kind],
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now, err := p.clock()
			if err != nil {
				return err
			}
			if err := history.ServiceName(r.Service); err != nil {
				return fmt.Errorf("--service: %w", err)
			}
			r.Kind, r.When = kind, now.Truncate(time.Second)
			if at != "" {
				if r.When, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("--at %s: expected a time such as 2026-11-26T12:00:00Z", at)
				}
			}
			if r.When.After(now.Add(time.Hour)) {
				return fmt.Errorf("--at %s: expected a time that has come", at)
			}
			added, err := record(c.Context(), p.place, r)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d recorded in %s\n", added, p.place)
			return nil
		},
	}
	p.add(c)
	c.Flags().StringVar(&r.Service, "service", "", "the service")
	c.Flags().StringVar(&r.Release, "release", "", "the release that was deployed, or that was rolled back")
	c.Flags().StringVar(&r.Environment, "environment", "", "where, in your own words")
	c.Flags().StringVar(&at, "at", "", "when, in RFC 3339; now unless given")
	_ = c.MarkFlagRequired("service")
	return c
}

func recordCDEvents() *cobra.Command {
	var p past
	var environment string
	c := &cobra.Command{
		Use:   "cdevents [FILE]",
		Short: "Deployments and rollbacks from CDEvents, in a file or on standard input",
		Long: `Take dev.cdevents.service.deployed and .upgraded as deployments and .rolledback as rollbacks, from JSON: events one after
another or in a list, bare or in CloudEvents. The service is the last part of the subject's id. An event that was recorded
already is not recorded again; of one that cannot be read, nothing of the file is recorded.`,
		Example: `  backout record cdevents events.json --environment production
  curl -s https://events.example/recent | backout record cdevents`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := io.Reader(c.InOrStdin())
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close() // it was only read
				in = file
			}
			records, others, err := history.CDEvents(in)
			if err != nil {
				return err
			}
			var chosen []history.Record
			for _, r := range records {
				if environment == "" || r.Environment == environment {
					chosen = append(chosen, r)
				}
			}
			added, err := record(c.Context(), p.place, chosen...)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d recorded in %s, %d were there already, %d of another type or environment\n", added, p.place, len(chosen)-added, others+len(records)-len(chosen))
			return nil
		},
	}
	p.add(c)
	c.Flags().StringVar(&environment, "environment", "", "only events whose environment has this id")
	return c
}

// record keeps records and says how many were new.
func record(ctx context.Context, place string, all ...history.Record) (added int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	store, err := history.Open(ctx, place, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, r := range all {
		is, err := store.AddRecord(ctx, r)
		if err != nil {
			return added, err
		}
		if is {
			added++
		}
	}
	return added, nil
}
