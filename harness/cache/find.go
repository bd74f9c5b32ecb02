package cache

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Program is a Redis or Valkey of this machine.
type Program struct {
	Name    string // redis, valkey
	Version string // "7.0.15"
	Server  string // path
	Client  string // path of redis-cli or valkey-cli
}

// ErrNone says that this machine has no Redis or Valkey that can be used.
var ErrNone = errors.New("no Redis 7 or later and no Valkey found")

// oldest is the first major version that has scripts which can only read. Valkey began later.
const oldest = 7

// Find looks for redis-server or valkey-server, with the command line beside it, on PATH. An error wraps ErrNone and names
// the package to install.
func Find() (Program, error) {
	var found []error
	for _, name := range []string{"redis", "valkey"} {
		server, err := exec.LookPath(name + "-server")
		if err != nil {
			continue
		}
		p, err := look(name, server)
		if err == nil {
			return p, nil
		}
		found = append(found, err)
	}
	err := fmt.Errorf("%w on PATH; install it: apt-get install redis-server", ErrNone)
	return Program{}, errors.Join(append([]error{err}, found...)...)
}

var versionText = regexp.MustCompile(`\bv=(\d+)(\S*)`)

func look(name, server string) (Program, error) {
	out, err := exec.Command(server, "--version").Output()
	if err != nil {
		return Program{}, fmt.Errorf("%s --version: %w", server, err)
	}
	m := versionText.FindStringSubmatch(string(out))
	if m == nil {
		return Program{}, fmt.Errorf("%s --version: expected a version, found %q", server, strings.TrimSpace(string(out)))
	}
	p := Program{Name: name, Version: m[1] + m[2], Server: server}
	if n, err := strconv.Atoi(m[1]); err != nil || n < oldest {
		return Program{}, fmt.Errorf("%s is version %s, but %d or later is needed", server, p.Version, oldest)
	}
	if p.Client, err = exec.LookPath(name + "-cli"); err != nil {
		return Program{}, fmt.Errorf("%s has no %s-cli on PATH beside it, which plans need", server, name)
	}
	return p, nil
}
