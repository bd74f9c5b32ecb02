package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"backout/harness/cache"
	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/environment/control"
	"backout/harness/environment/gateway"
	"backout/harness/postgres"
	"backout/harness/verdict"
)

// diagnosis is one thing that a drill needs of the machine.
type diagnosis struct {
	what  string
	found string
	mend  string // empty: it is there
	must  bool
}

func doctorCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can run, what is missing, and the command that mends it",
		RunE: func(c *cobra.Command, _ []string) error {
			missing := false
			for _, d := range diagnose(c.Context(), dir) {
				if d.mend == "" {
					fmt.Fprintf(c.OutOrStdout(), "  ok       %-12s %s\n", d.what, d.found)
					continue
				}
				missing = missing || d.must
				fmt.Fprintf(c.OutOrStdout(), "  missing  %-12s %s\n           mend it: %s\n", d.what, d.found, d.mend)
			}
			if missing {
				return exit{code: verdict.ExitBroke}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "postgres", "", "folder of PostgreSQL's programs")
	return c
}

func diagnose(ctx context.Context, postgresDir string) []diagnosis {
	system := diagnosis{what: "system", found: runtime.GOOS + "/" + runtime.GOARCH}
	if runtime.GOOS != "linux" {
		system.mend, system.must = "run drills on Linux: the process environment reads /proc", true
	}
	pg := diagnosis{what: "PostgreSQL", must: true}
	if b, err := postgres.Find(postgresDir); err != nil {
		pg.found, pg.mend = err.Error(), "apt-get install postgresql   (or let `backout run` fetch the programs into its cache)"
	} else {
		pg.found = b.Version + " in " + b.Dir
	}
	redis := diagnosis{what: "Redis"}
	if p, err := cache.Find(); err != nil {
		redis.found, redis.mend = "drills of services that have a cache do not apply here, the sample's among them: "+oneLine(err), "apt-get install redis-server   (or valkey)"
	} else {
		redis.found = p.Name + " " + p.Version + " at " + p.Server
	}
	all := []diagnosis{system, pg, redis}
	for _, tool := range []struct{ name, mend, why string }{
		{"goose", "make tools   (or: go install github.com/pressly/goose/v3/cmd/goose@v3.29.0)", "plans that run goose"},
		{"psql", "apt-get install postgresql-client", "plans that run SQL files"},
		{"curl", "apt-get install curl", "plans of the sample that change a flag"},
		{"go", "apt-get install golang   (1.26 or newer, from go.dev)", "building the sample services"},
		{"nginx", "apt-get install nginx-light", "drills of pages behind caches"},
		{"ansible-playbook", "apt-get install --no-install-recommends ansible-core", "drills of playbooks"},
		{"git", "apt-get install git", "building the sample releases from their patches"},
	} {
		d := diagnosis{what: tool.name}
		path, err := exec.LookPath(tool.name)
		if err != nil {
			path, err = exec.LookPath(filepath.Join("/usr/sbin", tool.name)) // where Debian has servers
		}
		if err != nil {
			d.found, d.mend = "not on PATH; needed by "+tool.why, tool.mend
		} else {
			d.found = path
		}
		all = append(all, d)
	}
	chromium := diagnosis{what: "chromium", found: "not on PATH; needed by the tests that look at pages in a browser", mend: "apt-get install chromium"}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium.found, chromium.mend = path, ""
			break
		}
	}
	all = append(all, chromium)
	return slices.Concat(all, diagnoseContainers(ctx), diagnoseKubernetes(ctx))
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func cleanCommand() *cobra.Command {
	var clusters bool
	var run string
	c := &cobra.Command{
		Use:   "clean",
		Short: "Remove what a crashed run left behind",
		Long: `Stop the processes and remove the directories, containers and namespaces of runs that are no longer alive. Living runs are left
alone. A cluster of kind that was made for drills stays for later ones, unless --clusters is given.

What Docker has of runs that this user's register does not know is only listed: it may be of somebody who drills now. Where you
know that it is not, --run removes it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			register, err := environment.RegisterDir()
			if err != nil {
				return err
			}
			removed, err := drill.Clean(c.Context(), register)
			if clusters {
				more, wrong := drill.RemoveClusters(c.Context(), drill.Place{})
				removed, err = append(removed, more...), errors.Join(err, wrong)
			}
			if run != "" {
				more, wrong := drill.CleanUnregistered(c.Context(), register, run)
				removed, err = append(removed, more...), errors.Join(err, wrong)
			}
			for _, what := range removed {
				fmt.Fprintln(c.OutOrStdout(), what)
			}
			others, wrong := drill.Unregistered(c.Context(), register)
			for _, token := range slices.Sorted(maps.Keys(others)) {
				fmt.Fprintf(c.OutOrStdout(), "left alone, since no run here is known as %s: %s\n  nobody drills with it now? backout clean --run %s\n",
					token, strings.Join(others[token], ", "), token)
			}
			if err = errors.Join(err, wrong); err == nil && len(removed)+len(others) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing was left behind")
			}
			return err
		},
	}
	c.Flags().BoolVar(&clusters, "clusters", false, "also remove the clusters of kind that were made for drills and that no drill uses now")
	c.Flags().StringVar(&run, "run", "", "also remove what this run has in Docker, which is not in the register, by the name that clean lists it under")
	return c
}

// gatewayCommand is what runs in the gateway's container of a drill.
func gatewayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "gateway", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if code := gateway.Run(c.ErrOrStderr()); code != 0 {
				return exit{code: code}
			}
			return nil
		},
	}
}

// controlCommand is the way in for scripts of a rollout or a rollback to the supervisor and the proxy of their drill.
func controlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ctl", Hidden: true, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if code := control.Client(args, c.OutOrStdout(), c.ErrOrStderr()); code != 0 {
				return exit{code: code}
			}
			return nil
		},
	}
}
