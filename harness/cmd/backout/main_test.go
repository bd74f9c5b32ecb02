package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"backout/harness/verdict"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"backout": main, // with its signals
	})
}

// TestCommandLine runs testdata/*.txtar: each is one test of the command line, the way a person types it.
func TestCommandLine(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		// drilled adds a run of a release's own plan, as it is now, to a history; broke runs backout and expects that it ends with 3, and with no other code.
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"drilled": drilled, "broke": func(ts *testscript.TestScript, _ bool, args []string) {
			var exit *exec.ExitError
			if err := ts.Exec("backout", args...); !errors.As(err, &exit) || exit.ExitCode() != verdict.ExitBroke {
				ts.Fatalf("expected exit code %d, found %v", verdict.ExitBroke, err)
			}
		}},
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			return nil
		},
	})
}
