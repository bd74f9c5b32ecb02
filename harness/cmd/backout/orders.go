package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
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
			`A plan, or a step with approval: ask, waits until it is approved. When its time is over the plan stops, unless it says that
it goes on. Where a second person must approve (people: two), --key or --token-file proves that it is one of the people of
service.yaml; a name alone proves nothing.`),
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
	key, tokenFile, folder := "", "", ""
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
			if folder != "" {
				return approveIn(c, folder, o, key, tokenFile)
			}
			running, err := theRunning(strings.Join(args, ""))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := sign(c.Context(), running, &o, key, tokenFile); err != nil {
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
	if name == drill.Approve {
		c.Flags().StringVar(&key, "key", "", "private SSH key, without a passphrase, that proves who approves")
		c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token that proves who approves")
		c.Flags().StringVar(&folder, "in", "", "the folder approvals of a run that is elsewhere, which machines share: it is approved by a file there")
	}
	return c
}

// approveIn approves by a file in a run's folder.
func approveIn(c *cobra.Command, folder string, o drill.Order, key, tokenFile string) (err error) {
	asked, err := drill.ReadAsked(folder)
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	if o.Token, err = proof(o.By, key, tokenFile); err != nil {
		return err
	}
	if key != "" {
		signer, err := drill.Key(key)
		if err != nil {
			return err
		}
		if o.Signature, err = drill.Sign(signer, asked.Nonce, o.By); err != nil {
			return err
		}
	}
	said, err := drill.ApproveIn(c.Context(), folder, o)
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	fmt.Fprintln(c.OutOrStdout(), said)
	return nil
}

// sign has an approval prove who gives it, where a key or a token is given.
func sign(ctx context.Context, running drill.Running, o *drill.Order, key, tokenFile string) (err error) {
	if o.Token, err = proof(o.By, key, tokenFile); err != nil || key == "" {
		return err
	}
	signer, err := drill.Key(key)
	if err != nil {
		return err
	}
	state, err := running.State(ctx)
	if err != nil {
		return err
	}
	o.Signature, err = drill.Sign(signer, state.Nonce, o.By)
	return err
}

// proof reads the token with which somebody proves who it is; empty: it is a key, or nobody says.
func proof(by, key, tokenFile string) (token string, err error) {
	switch {
	case by == "" && key+tokenFile != "":
		return "", errors.New("--key and --token-file prove who it is: expected --by NAME beside them, found none")
	case key != "" && tokenFile != "":
		return "", errors.New("expected --key or --token-file, found both: one proves it")
	case tokenFile == "":
		return "", nil
	}
	text, err := os.ReadFile(tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if token = strings.TrimSpace(string(text)); token == "" {
		return "", fmt.Errorf("%s: expected a token, found nothing", tokenFile)
	}
	return token, nil
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
