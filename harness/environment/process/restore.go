package process

import (
	"backout/harness/environment/artefact"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
)

// restore has one of PostgreSQL's programs read a file. Where it lies may be closed to the user that they run as, so it
// is handed over open. The password is not among the arguments, which every user of the machine can read.
func (m *machine) restore(ctx context.Context, at, path, program string, args ...string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	cmd, err := m.bin.Command(ctx, program, append(args, u.String())...)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cmd.Path); err != nil { // what was fetched holds the server's programs alone
		if cmd.Path, err = exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is needed to load %s: install postgresql-client", program, path)
		}
	}
	cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	cmd.Stdin = file
	return artefact.Spoken(cmd, path)
}
