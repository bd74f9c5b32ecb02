package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"backout/harness/drill"
	"backout/harness/live"
)

func serveCommand() *cobra.Command {
	var addr string
	var times float64
	var asks int
	c := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a run's page: live while it runs, its report afterwards",
		Long: `Serve the folder of a run, or of a set of runs, until Ctrl-C. A run that is finished is its report; one that another process
is making is its live page, which learns from the evidence as it is written (some seconds late) and gives orders as
backout pause, resume, abort, approve, accept and refuse do. backout run --serve ADDR serves the page without that delay.

It listens on 127.0.0.1 unless --addr says otherwise. What other machines can reach needs the token that is printed then.

--replay N plays a finished run once more, N times as fast, to look at its live page or to practise the orders; nothing of that
is written or judged.`,
		Example: `  backout serve reports/20261123-064512-drops-a-column
  backout serve reports/20261123-064512-drops-a-column --replay 2
  backout serve reports/20261123-064512-drills --addr 0.0.0.0:8080`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, dir := c.Context(), filepath.Clean(args[0])
			alone, err := live.Alone(dir)
			if err != nil {
				return err
			}
			var replay *drill.Replay
			if c.Flags().Changed("replay") {
				if !alone {
					return fmt.Errorf("--replay: expected the folder of a run, which holds its evidence, found %s", dir)
				}
				if replay, err = drill.NewReplay(dir, times); err != nil {
					return err
				}
				if asks > 0 {
					if err := replay.Asks(asks, 10*time.Minute); err != nil {
						return err
					}
				}
			} else if c.Flags().Changed("asks") {
				return fmt.Errorf("--asks %d: expected --replay beside it, found none", asks)
			}
			server, err := live.Start(live.Options{Addr: addr, Set: dir, Alone: alone})
			if err != nil {
				return err
			}
			defer server.Close()
			if replay != nil {
				server.Begun(replay.Begun(dir))
				fmt.Fprintf(c.OutOrStdout(), "live     %s   a replay, %g times as fast\n", server.URL(), times)
				if err := replay.Run(ctx); err != nil && ctx.Err() == nil {
					fmt.Fprintln(c.OutOrStdout(), "the replay has ended:", err)
				}
			} else {
				if err := server.Follow(ctx); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "live     %s\n", server.URL())
			}
			<-ctx.Done() // Ctrl-C is how it ends
			return nil
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "HOST:PORT; without a host 127.0.0.1, port 0 is one that is free")
	c.Flags().Float64Var(&times, "replay", 1, "play a finished run once more, so many times as fast")
	c.Flags().IntVar(&asks, "asks", 0, "of a replay: the step of the plan that asks for approval")
	return c
}

// serve has the drills of a set served while they run. The page is there until end is called, when the reports are written.
func (f *flags) live(set string, alone bool, o *drill.Options, show *progress) (end func(), err error) {
	if f.serve == "" {
		return func() {}, nil
	}
	server, err := live.Start(live.Options{Addr: f.serve, Set: set, Alone: alone, Earlier: f.reports})
	if err != nil {
		return nil, err
	}
	o.Begun = server.Begun
	show.say("", "  live  "+server.URL(), map[string]any{"live": server.URL()})
	return func() {
		if err := server.Close(); err != nil {
			show.note(err.Error())
		}
	}, nil
}
