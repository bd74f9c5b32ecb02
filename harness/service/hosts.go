package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Here lets a dialler reach this machine and nothing else, whatever name led to the address: net.Dialer's Control. All
// that the harness opens itself goes through it, since everything that an environment provisions listens on 127.0.0.1.
func Here(network, address string, _ syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not on this machine, and the harness connects to nothing that the drill did not provision", address)
	}
	return nil
}

// DialHere connects within this machine.
func DialHere(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, Control: Here}
	return d.DialContext(ctx, network, address)
}

// What names a host in a command or a script: the authority of a URL, `host=` of a connection string, PGHOST and other
// variables that end so, a service of libpq, the argument of ssh, and a name with a port.
var hostForms = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://(?:[^/@\s"']*@)?(\[[0-9a-f:]+\]|[a-z0-9._,-]+)`),
	regexp.MustCompile(`\b(?:host|hostaddr|[A-Z0-9_]*HOST(?:ADDR|NAME)?|PGSERVICE)\s*[=:]\s*["']?([A-Za-z0-9[][A-Za-z0-9._:,\]-]*)`),
	regexp.MustCompile(`(?:^|[|;&(\s])(?:ssh|sftp)(?:\s+-[bcDEeFIiJLlmOopQRSWw]\s*\S+|\s+-[A-Za-z]+)*\s+(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*)`),
	regexp.MustCompile(`(?:^|[\s"'=@])([A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*):[0-9]{2,5}(?:$|[/\s"'])`),
	regexp.MustCompile(`(?:^|[^0-9.v-])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:$|[^0-9.-])`),
}

var (
	// -h and --host of PostgreSQL's and Redis's programs, within one command.
	hostPrograms = regexp.MustCompile(`\b(?:psql|pg_[a-z]+|createdb|dropdb|vacuumdb|reindexdb|redis-cli|valkey-cli)\b[^|;&\n]*`)
	hostFlags    = regexp.MustCompile(`\s(?:-h|--host)[ =]?\s*["']?([A-Za-z0-9][A-Za-z0-9._:-]*)`)
	address6     = regexp.MustCompile(`(?:^|[\s"'=\[])([0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(?:$|[\s"'/\]])`)
)

// Foreign is a host that a file names and may not.
type Foreign struct {
	Path string
	Line int
	Host string
}

// Hosts says which hosts a plan, a rollout or the service's own commands and variables name that they may not: each with
// file and line.
func (r *Release) Hosts(p *Plan) error {
	var wrong []error
	for _, f := range r.Foreign(p) {
		wrong = append(wrong, fmt.Errorf("%s:%d: expected no other host than this machine, found %q: a drill touches only what it provisions; name it under `allow` in %s if that is meant",
			f.Path, f.Line, f.Host, r.Service.Path))
	}
	return errors.Join(wrong...)
}

// Foreign are the hosts that a plan, a rollout or the service's own commands and variables name that they may not. Allowed
// are this machine and what service.yaml's `allow` names. Looked at are the commands, the variables that they get, and the
// programs and SQL files beside the release and the service that they name, and those that these name; comments are left
// out. What a program opens by itself is not seen.
func (r *Release) Foreign(p *Plan) []Foreign {
	var wrong []Foreign
	s := r.Service
	look := func(path string, first int, text string) {
		for n, line := range logical(text, strings.HasSuffix(path, ".sql")) {
			for _, host := range hostsIn(line) {
				if !here(host) && !slices.Contains(s.Allow, host) {
					wrong = append(wrong, Foreign{path, first + n, host})
				}
			}
		}
	}
	variables := func(path string, env map[string]string) {
		for _, name := range sorted(env) {
			look(path, placeOf(path, name), name+"="+env[name])
		}
	}
	var texts []string
	commands := func(path string, steps []Step) {
		for _, step := range steps {
			look(path, step.RunLine, step.Run)
			texts = append(texts, step.Run)
		}
	}
	program := func(what string, command []string) {
		if len(command) > 0 {
			look(s.Path, placeOf(s.Path, what), strings.Join(command, " "))
			texts = append(texts, strings.Join(command, " "))
		}
	}
	release := filepath.Join(r.Dir, "release.yaml")
	for _, way := range sorted(r.Rollouts) {
		commands(release, r.Rollouts[way])
	}
	variables(release, r.Env)
	variables(s.Path, s.Env)
	if s.Process != nil {
		program("build", s.Process.Build)
		program("command", s.Process.Command)
		variables(s.Path, s.Process.Env)
	}
	// Images, Dockerfiles and compose files are not looked at: the names in them are of images, and of services on a
	// network that is the run's own.
	if c := s.Containers; c != nil {
		program("build", c.Build)
		program("command", c.Command)
		variables(s.Path, c.Env)
	}
	// Nor are charts and manifests, where names are of images and of the Services of a cluster.
	if s.Kubernetes != nil {
		variables(s.Path, s.Kubernetes.Env)
	}
	if s.Database != nil {
		program("load", s.Database.LoadCommand)
	}
	if p != nil {
		commands(p.Path, p.Commands())
		for _, c := range slices.Concat(p.Before, p.After) {
			if run := c.run(); run != "" {
				look(p.Path, c.Line, run)
				texts = append(texts, run)
			}
		}
		variables(p.Path, p.Env)
		if p.Sabotage != nil {
			look(p.Path, placeOf(p.Path, "shown"), p.Sabotage.Shown)
			texts = append(texts, p.Sabotage.Shown)
		}
	}
	for _, file := range r.scripts(texts...) {
		if text, ok := script(file); ok {
			look(file, 1, text)
		}
	}
	return wrong
}

// Unlisted are the hosts to which the value of a variable leads, and that are neither this machine nor under `allow` in
// service.yaml. The error never shows the value, which may be secret.
func (s *Service) Unlisted(value string) (hosts []string, err error) {
	named := hostsIn(value)
	if strings.Contains(value, "://") {
		// Of a URL what stands before the last @ is no host, whatever it looks like.
		u, err := url.Parse(value)
		if err != nil {
			return nil, errors.New("it cannot be read as a URL")
		}
		named = nil
		for _, list := range append([]string{u.Host}, slices.Concat(u.Query()["host"], u.Query()["hostaddr"])...) {
			for host := range strings.SplitSeq(list, ",") {
				if name, _, err := net.SplitHostPort(host); err == nil {
					host = name
				}
				if host = strings.Trim(host, "[]"); host != "" {
					named = append(named, host)
				}
			}
		}
	}
	for _, host := range named {
		if !here(host) && !slices.Contains(s.Allow, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// placeOf is the line of a file where a key stands first, or 1.
func placeOf(path, key string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 1
	}
	at := regexp.MustCompile(`(?:^|[\s{,])` + regexp.QuoteMeta(key) + `\s*:`).FindIndex(text)
	if at == nil {
		return 1
	}
	return 1 + strings.Count(string(text[:at[1]]), "\n")
}

// logical are the lines of a script by their number from 0, without comments, each with those that it goes on with after a
// backslash.
func logical(text string, sql bool) map[int]string {
	all := map[int]string{}
	first, joined := 0, ""
	for n, line := range strings.Split(text, "\n") {
		if i := strings.Index(line, "#"); !sql && (i == 0 || i > 0 && line[i-1] == ' ') {
			line = line[:i]
		}
		if i := strings.Index(line, "--"); sql && i >= 0 {
			line = line[:i]
		}
		if joined == "" {
			first = n
		}
		if more, ok := strings.CutSuffix(line, `\`); ok {
			joined += more + " "
			continue
		}
		all[first], joined = joined+line, ""
	}
	if joined != "" {
		all[first] = joined
	}
	return all
}

// script is the text of a file that people may have written: not too large, and no program of bytes.
func script(file string) (string, bool) {
	text, err := os.ReadFile(file)
	return string(text), err == nil && len(text) < largest && !slices.Contains(text, 0)
}

// scripts are the files beside the release or the service that commands name, and those that these name.
func (r *Release) scripts(commands ...string) []string {
	var files []string
	for n := -1; n < len(files); n++ {
		text := strings.Join(commands, "\n")
		if n >= 0 {
			text, _ = script(files[n])
		}
		for _, name := range word.FindAllString(text, -1) {
			name = filepath.Clean(name)
			if !filepath.IsLocal(name) || name == "." {
				continue
			}
			for _, dir := range []string{r.Dir, r.Service.Dir} {
				path := filepath.Join(dir, name)
				if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && !slices.Contains(files, path) {
					files = append(files, path)
				}
			}
		}
	}
	return files
}

func hostsIn(line string) []string {
	var found []string
	add := func(hosts string) {
		for host := range strings.SplitSeq(hosts, ",") { // libpq takes lists of hosts
			if name, port, err := net.SplitHostPort(host); err == nil && port != "" {
				host = name
			}
			if host = strings.Trim(host, "[]"); host != "" && !slices.Contains(found, host) {
				found = append(found, host)
			}
		}
	}
	for _, form := range hostForms {
		// The next search begins where the host ends, since what stands behind one may stand before another.
		for rest := line; ; {
			m := form.FindStringSubmatchIndex(rest)
			if m == nil {
				break
			}
			add(rest[m[2]:m[3]])
			rest = rest[m[3]:]
		}
	}
	for _, command := range hostPrograms.FindAllString(line, -1) {
		for _, m := range hostFlags.FindAllStringSubmatch(command, -1) {
			add(m[1])
		}
	}
	for _, m := range address6.FindAllStringSubmatch(line, -1) {
		if net.ParseIP(m[1]) != nil {
			add(m[1])
		}
	}
	return found
}

// here says whether a host is this machine; the unspecified address is what servers listen on.
func here(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
