package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
		answerCommand(drill.Approve, "Approve the step that a running drill asks about",
			`A plan, or a step with approval: ask, waits until it is approved. When its time is over the plan stops, unless it says that
it goes on. Where a second person must approve (people: two), --key or --token-file proves that it is one of the people of
service.yaml; a name alone proves nothing.`),
		orderCommand(drill.Abort, "End a running drill now, with a reason",
			`What runs is stopped and everything that was started is removed. The drill is inconclusive, never a pass, and its report
says who aborted it and why. A step that waits for approval is refused.`),
		answerCommand(drill.Accept, "Take over the incident that a running drill hands over",
			`Where service.yaml or the plan names a receiver, the drill hands over a checklist with evidence, handoff.md in its folder, when
its audit is over, and waits. The incident is not resolved before the receiver accepts, who is the one that is stated, and
proves it by --key or --token-file; a name alone proves nothing.`),
		answerCommand(drill.Refuse, "Refuse the incident that a running drill hands over, with a reason",
			`The receiver alone can, and proves who that is by --key or --token-file.`),
	}
}

func orderCommand(name, short, long string) *cobra.Command {
	o := &drill.Order{Name: name}
	return command(o, short, long, func(c *cobra.Command, args []string) error {
		running, err := theRunning(strings.Join(args, ""))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return give(c, running, *o)
	})
}

// answerCommand is an order that answers what is asked, so that it may have to prove who gives it.
func answerCommand(name, short, long string) *cobra.Command {
	o := &drill.Order{Name: name}
	key, tokenFile, folder, asked := "", "", "", ""
	c := command(o, short, long, func(c *cobra.Command, args []string) (err error) {
		if o.Token, err = proof(o.By, key, tokenFile); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case folder != "" && asked != "":
			return fmt.Errorf("%s: expected --in or --asked, found both", name)
		case asked != "":
			return printAnswer(c, *o, asked, key)
		case folder != "":
			return answerIn(c, *o, folder, key)
		}
		running, err := theRunning(strings.Join(args, ""))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if key+o.Token != "" {
			state, err := running.State(c.Context())
			if err != nil {
				return err
			}
			if err := sign(o, state.Asked, key); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return give(c, running, *o)
	})
	c.Flags().StringVar(&key, "key", "", "private SSH key, without a passphrase, that proves who answers")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token that proves who answers")
	c.Flags().StringVar(&folder, "in", "", "the folder approvals of a run that is elsewhere, which machines share: it is answered by a file there")
	c.Flags().StringVar(&asked, "asked", "", "a file with the question as a hook got it, - for standard input: the answer is printed, for that hook to give")
	return c
}

func command(o *drill.Order, short, long string, run func(*cobra.Command, []string) error) *cobra.Command {
	name := o.Name
	c := &cobra.Command{
		Use:   name + " [RUN]",
		Short: short,
		Long: strings.TrimSpace(fmt.Sprintf(`%s.

%s

RUN is the folder of the run, of its set, or the name of the run's folder; it may be left away when one drill runs. Drills are
found by the register of this user on this machine. The order is evidence: who gave it, and why.`, short, long)),
		Example: fmt.Sprintf("  backout %s\n  backout %s reports/20261123-064512-drops-a-column --by ada --why 'the wrong database'", name, name),
		Args:    cobra.MaximumNArgs(1),
		RunE:    run,
	}
	c.Flags().StringVar(&o.By, "by", userName(), "who orders it")
	c.Flags().StringVar(&o.Why, "why", "", "the reason"+map[bool]string{true: "; it needs one"}[name == drill.Abort || name == drill.Refuse])
	return c
}

func give(c *cobra.Command, running drill.Running, o drill.Order) error {
	said, _, err := running.Order(c.Context(), o)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", running.Name, said)
	return nil
}

// answerIn answers by a file in a run's folder.
func answerIn(c *cobra.Command, o drill.Order, folder, key string) error {
	asked, err := drill.ReadAsked(folder)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	if err := sign(&o, asked, key); err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	said, err := drill.AnswerIn(c.Context(), folder, o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	fmt.Fprintln(c.OutOrStdout(), said)
	return nil
}

// printAnswer prints an answer to a question that a hook got.
func printAnswer(c *cobra.Command, o drill.Order, path, key string) (err error) {
	var text []byte
	if path == "-" {
		text, err = io.ReadAll(c.InOrStdin())
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return fmt.Errorf("%s: read the question: %w", o.Name, err)
	}
	var asked drill.Asked
	if err := json.Unmarshal(text, &asked); err != nil || asked.Nonce == "" {
		return fmt.Errorf("%s: --asked %s: expected the question as JSON, with its nonce, as a hook got it, found something else", o.Name, path)
	}
	if err := sign(&o, asked, key); err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	return json.NewEncoder(c.OutOrStdout()).Encode(o)
}

// sign has an answer be to the question that was read, and prove who gives it, where a key is given.
func sign(o *drill.Order, asked drill.Asked, keyFile string) error {
	o.Nonce = asked.Nonce
	if keyFile == "" {
		return nil
	}
	key, err := drill.Key(keyFile)
	if err != nil {
		return err
	}
	o.Signature, err = asked.Sign(key, o.Name, o.By)
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
