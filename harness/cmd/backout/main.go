// Command backout rehearses rollbacks: it deploys a known-bad release under live traffic, runs the exact rollback that
// production would run, and proves from evidence how fast and how completely service came back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"backout/harness/verdict"
)

func main() {
	// Arrivals are timed by a thread of their own. With one processor more than there are cores it does not wait until
	// a goroutine gives one up, and the kernel lets the thread in that has slept.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	besideUs()
	ctx, stop := signals()
	defer stop()
	os.Exit(execute(ctx, os.Args[1:]))
}

// besideUs lets plans find the command lines that were built beside this program, such as goose.
func besideUs() {
	if self, err := os.Executable(); err == nil {
		// Without it plans find what is on PATH, and say so when it is not there.
		_ = os.Setenv("PATH", filepath.Dir(self)+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
}

// exit is an error that carries its exit code; the text was told already when it is empty.
type exit struct {
	code int
	text string
}

func (e exit) Error() string { return e.text }

func execute(ctx context.Context, args []string) int {
	root := root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exit
	switch {
	case err == nil:
		return verdict.ExitPass
	case errors.As(err, &code):
		if code.text != "" {
			fmt.Fprintln(os.Stderr, "backout:", code.text)
		}
		return code.code
	}
	fmt.Fprintln(os.Stderr, "backout:", err)
	return verdict.ExitBroke
}

func root() *cobra.Command {
	root := &cobra.Command{
		Use:   "backout",
		Short: "Rehearse rollbacks, and prove from evidence that service came back",
		Long: `Backout rehearses rollbacks. A drill deploys a known-bad release into a real environment under live traffic,
runs the exact rollback that production would run, and proves from evidence how fast and how completely
service came back: on every instance and every database replica, with no acknowledged write lost.

Exit codes: 0 pass, 1 fail, 2 inconclusive, 3 bad input or Backout itself broke.
Over several drills 3 beats 1 beats 2 beats 0.`,
		Example: `  backout plan features/database/drops-a-column.feature
  backout run features/database/drops-a-column.feature
  backout run --tags @gate --parallel 3`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), controlsCommand(), planCommand(), judgeCommand(), reportCommand(), evidenceCommand(), historyCommand(), gateCommand(), reviewCommand(), recordCommand(), doctorCommand(), cleanCommand(), rbacCommand(), schemaCommand(), initCommand(), runbookCommand(), lintCommand(), standInCommand(), controlCommand(), gatewayCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(append(orderCommands(), serveCommand(), rollbackCommand())...)
	return root
}

// signals cancels the context at the first Ctrl-C or SIGTERM, so that everything is stopped in order; a second one
// changes nothing, since the clean-up is bounded by itself and a log cut in the middle helps nobody.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := true
		for s := range c {
			if first {
				fmt.Fprintf(os.Stderr, "backout: %s: stopping what was started\n", s)
				cancel(fmt.Errorf("interrupted by %s", s))
			} else {
				fmt.Fprintln(os.Stderr, "backout: still stopping; kill -9 leaves the rest to `backout clean`")
			}
			first = false
		}
	}()
	return ctx, func() { signal.Stop(c); cancel(nil) }
}

// version is the module's, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
