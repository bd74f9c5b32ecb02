// Package process is the environment that needs nothing but this machine: real PostgreSQL nodes and service instances
// as operating-system processes on 127.0.0.1, in one directory below the temporary one, gone after the drill.
package process

import (
	"errors"
	"io"

	"backout/harness/environment"
)

// Options of an environment. The zero value works.
type Options struct {
	Cache       string            // of templates, artefacts and fetched programs; empty: os.UserCacheDir()/backout
	Temp        string            // the run's directory is made in it; empty: os.TempDir()
	Register    string            // folder of the register; empty: environment.RegisterDir()
	PostgresDir string            // of PostgreSQL's programs; empty: see postgres.Find
	Fetch       bool              // fetch PostgreSQL's programs when the machine has none
	Repository  string            // where they are fetched from; empty: Maven Central
	Self        []string          // the command that runs Control, to which its arguments are added; empty: this program with "ctl"
	Progress    func(text string) // tells people what takes long, over Need.Progress; may be nil
}

// New makes an environment. It starts and writes nothing before Provision or Stage.
func New(o Options) (environment.Environment, error) { return nil, errors.ErrUnsupported }

// Control is the client of a run's supervisor and proxies: SOCKET COMMAND [NAME] [--FLAG VALUE]. It returns the exit code.
func Control(args []string, stdout, stderr io.Writer) int { return 1 }
