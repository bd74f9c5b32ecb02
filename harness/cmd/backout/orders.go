package main

import (
	"cmp"
	"fmt"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/drill"
)

// orderCommands are the orders that a terminal can give a running drill, through the drill's one handle.
func orderCommands() []*cobra.Command {
	return []*cobra.Command{
		orderCommand(drill.Pause, "Hold a running drill before its next step or phase",
			`What runs now runs to its end; then the drill waits. Traffic, probes and the clocks go on, and the report says how long
people kept it waiting.`),
		orderCommand(drill.Resume, "Let a paused drill go on", ``),
		orderCommand(drill.Approve, "Approve the step that a running drill asks about",
			`A step of a plan with approval: ask waits until it is approved, and stops the plan when its time (expires) is over.`),
		orderCommand(drill.Abort, "End a running drill now, with a reason",
			`What runs is stopped and everything that was started is removed. The drill is inconclusive, never a pass, and its report
says who aborted it and why. A step that waits for approval is refused.`),
		orderCommand(drill.Accept, "Take over the incident that a running drill hands over",
			`Where service.yaml or the plan names a receiver, the drill hands over a checklist with evidence, handoff.md in its folder, when
its audit is over, and waits. The incident is not resolved before the receiver accepts: --by must be the name that is stated.`),
		orderCommand(drill.Refuse, "Refuse the incident that a running drill hands over, with a reason", ``),
	}
}

func orderCommand(name, short, long string) *cobra.Command {
	o := drill.Order{Name: name}
	example := fmt.Sprintf("  backout %s\n  backout %s reports/20261123-064512-drops-a-column --by ada --why 'the wrong database'", name, name)
	c := &cobra.Command{
		Use:   name + " [RUN]",
		Short: short,
		Long: strings.TrimSpace(fmt.Sprintf(`%s.

%s

RUN is the folder of the run, of its set, or the name of the run's folder; it may be left away when one drill runs. Drills are
found by the register of this user on this machine. The order is evidence: who gave it, and why.`, short, long)),
		Example: example,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			running, err := theRunning(strings.Join(args, ""))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			said, _, err := running.Order(c.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", running.Name, said)
			return nil
		},
	}
	c.Flags().StringVar(&o.By, "by", userName(), "who orders it")
	c.Flags().StringVar(&o.Why, "why", "", "the reason"+map[bool]string{true: "; it needs one"}[name == drill.Abort || name == drill.Refuse])
	return c
}

// theRunning is the one drill that is meant.
func theRunning(meant string) (r drill.Running, err error) {
	all, err := drill.RunningDrills()
	if err != nil {
		return r, err
	}
	var found []drill.Running
	names := []string{"no drill of this user runs on this machine"}
	for i, r := range all {
		if i == 0 {
			names = nil
		}
		names = append(names, fmt.Sprintf("%s in %s", r.Name, r.Dir))
		if meant == "" || r.Is(meant) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case meant == "":
		return r, fmt.Errorf("expected one running drill, found %d:\n  %s", len(found), strings.Join(names, "\n  "))
	case len(found) > 1:
		return r, fmt.Errorf("expected one running drill, found %d that %s may mean:\n  %s", len(found), meant, strings.Join(names, "\n  "))
	}
	return r, fmt.Errorf("expected the folder or the name of a running drill, found %q:\n  %s", meant, strings.Join(names, "\n  "))
}

// userName is who is logged in.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return cmp.Or(u.Username, filepath.Base(u.HomeDir))
}
