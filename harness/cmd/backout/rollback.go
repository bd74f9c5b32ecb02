package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"backout/harness/drill"
	"backout/harness/service"
	"backout/harness/verdict"
)

func rollbackCommand() *cobra.Command {
	var e drill.Earnest
	var instances []string
	var reports string
	var dry bool
	tokenFile := ""
	c := &cobra.Command{
		Use:   "rollback PLAN",
		Short: "Run a rollback plan in earnest, with all its guardrails",
		Long: `Run a rollback plan outside of a drill: the same file, the same steps, and nothing is deployed but what it deploys.

The variables that the plan's env names come from your own environment. Hosts that they or the plan's commands lead to must
stand under allow in service.yaml, and of each database the plan must say, by its pre-check, which one it is. The lock on
this machine is taken, and the lease where service.yaml has one; then the pre-checks are asked; each step is written down
before and after it runs, so that a plan whose runner died is resumed, or refused, and never repeated blindly.

It is steered as a drill is, from another terminal: backout pause, resume, approve, abort. An abort, and Ctrl-C, act at the
next boundary between steps: a step is never broken off half-way, except by its own timeout.

Where a receiver is named the incident is handed over when it has ended: backout accept, refuse.

Exit codes: 0 every step ended as it should and the validation held and went on to hold; 1 it did not, or a pre-check
refused, or the receiver did not accept; 2 that could not be said; 3 it did not begin, and nothing was changed. Writes, rows
and replicas are not looked at: drills do that.`,
		Example: `  DATABASE_URL=... backout rollback services/web/releases/v2/rollback.yaml --dry-run
  DATABASE_URL=... backout rollback services/web/releases/v2/rollback.yaml --dir /srv/web/v2 --instance web-1=http://127.0.0.1:8081
  DATABASE_URL=... backout rollback services/web/releases/v2/rollback.yaml --resume`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if e.Plan, err = service.OpenPlan(args[0]); err != nil {
				return err
			}
			if e.At, err = namedInstances(instances, e.Plan.Release.Service.Name); err != nil {
				return err
			}
			if e.Token, err = proof(e.Operator, e.Key, tokenFile); err != nil {
				return err
			}
			e.Version = version()
			e.Set = filepath.Join(reports, time.Now().Format("20060102-150405")+"-rollback-"+e.Plan.Release.Service.Name)
			out := c.OutOrStdout()
			if dry {
				return dryRun(out, e)
			}
			return earnestly(c.Context(), out, e)
		},
	}
	c.Flags().StringVar(&e.Operator, "by", userName(), "who rolls back, as others are told")
	c.Flags().StringVar(&e.Key, "key", "", "private SSH key, without a passphrase, that proves who rolls back; needed where two people must approve")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token that proves it")
	c.Flags().StringVar(&e.Dir, "dir", "", "the deployed directory, in which steps run; one with the release's scripts and migrations is made when not given")
	c.Flags().StringArrayVar(&instances, "instance", nil, "NAME=URL of an instance, for validations that ask each of them")
	c.Flags().StringVar(&e.URL, "url", "", "where users come in, for validations by a journey; on this machine only")
	c.Flags().DurationVar(&e.Watch, "watch", drill.WatchEarnest, "how long the validation must go on to hold")
	c.Flags().BoolVar(&e.Resume, "resume", false, "go on with what an earlier run has left half done")
	c.Flags().IntVar(&e.From, "from", 0, "begin with this step, whatever was left before; needs --why")
	c.Flags().StringSliceVar(&e.Without, "without", nil, "leave a pre-check out, by its key in the plan; needs --why, and the verdict is inconclusive at best")
	c.Flags().StringVar(&e.Why, "why", "", "the reason for --from or --without, which the report names")
	c.Flags().StringVar(&reports, "reports", "reports", "folder under which the run gets its own")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what it would ask and run, and do neither")
	return c
}

// namedInstances reads NAME=URL.
func namedInstances(texts []string, of string) (all []service.Instance, err error) {
	for _, text := range texts {
		name, url, ok := strings.Cut(text, "=")
		if !ok || name == "" || !strings.HasPrefix(url, "http") {
			return nil, fmt.Errorf("--instance %s: expected NAME=URL, such as %s-1=http://127.0.0.1:8081", text, of)
		}
		all = append(all, service.Instance{Name: name, Service: of, URL: strings.TrimSuffix(url, "/")})
	}
	return all, nil
}

// dryRun prints the plan in the order in which it would be run. What is wrong already is told, as without --dry-run.
func dryRun(out io.Writer, e drill.Earnest) error {
	for _, line := range e.Lines() {
		fmt.Fprintln(out, line)
	}
	return e.Check()
}

func earnestly(ctx context.Context, out io.Writer, e drill.Earnest) error {
	e.Tell = func(p drill.Progress) {
		fmt.Fprintf(out, "%s  %-14s %s\n", time.Now().Format("15:04:05"), p.Phase, p.Text)
	}
	e.Begun = func(b drill.Begun) {
		fmt.Fprintf(out, "%s: %s -> %s by %s\n  %s\n  backout pause | resume | approve | abort %s\n", b.Title, e.Plan.From, e.Plan.To, e.Operator, b.Dir, b.Name)
		if term.IsTerminal(int(os.Stdin.Fd())) {
			go hear(os.Stdin, out, b.Handle, e.Operator)
		}
	}
	r, err := drill.RunEarnest(ctx, e)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s  %s\n", strings.ToUpper(r.Verdict.Verdict), r.Verdict.Because)
	for _, p := range r.Verdict.Promises {
		fmt.Fprintf(out, "  %-15s %s: %s\n", p.State, p.Name, p.Finding)
	}
	fmt.Fprintf(out, "\nreport   %s\n", filepath.Join(r.Dir, "report.html"))
	if r.Err != nil {
		return r.Err
	}
	if code := r.Exit(); code != verdict.ExitPass {
		return exit{code: code}
	}
	return nil
}

// hear takes orders from the terminal on which the plan runs, a line each: "approve", "pause", "resume", "abort WHY".
func hear(in io.Reader, out io.Writer, handle *drill.Handle, by string) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		name, why, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if name == "" {
			continue
		}
		said, err := handle.Do(drill.Order{Name: name, By: by, Why: why})
		if err != nil {
			said = err.Error()
		}
		fmt.Fprintln(out, said)
	}
}
