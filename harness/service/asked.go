package service

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Question is a command and what it must print, once the space around it is taken away.
type Question struct {
	Run    string // by sh in the deployed directory, with the plan's env
	Is     string // exactly this; or
	Output string // a regular expression that matches it
}

// Kubectl is where kubectl must lead, with the plan's env.
type Kubectl struct{ Context, Namespace string }

// Lag is by how many bytes of the write-ahead log a reader of the database may be behind.
type Lag struct {
	Below int64
	URL   string // a name of the plan's env
}

// Backup is how old the newest backup may be. Exactly one of File and Run is set.
type Backup struct {
	File   string // a path or pattern: the newest file that it names was written then
	Run    string // a command that prints when it was made: seconds since 1970, or as in RFC 3339
	Within time.Duration
}

// Space is how many bytes must be free for the way back. Exactly one of Path and Run is set.
type Space struct {
	Path    string // of a folder on this machine
	Run     string // a command that prints how many bytes are free, such as on the database's machine
	AtLeast int64
}

// question reads a command and what it must print.
func question(v *value, output bool) *Question {
	if !output {
		o := v.object("run", "is")
		return &Question{Run: o.must("run", "a command that prints it").text(), Is: o.must("is", "what it must print").text()}
	}
	o := v.object("run", "output")
	q := &Question{Run: o.must("run", "a command").text()}
	out := o.must("output", "a regular expression that what it prints must match")
	if q.Output = out.text(); q.Output != "" {
		if _, err := regexp.Compile(q.Output); err != nil {
			out.wrong("expected a regular expression in output, found %q: %v", q.Output, err)
		}
	}
	return q
}

func kubectl(v *value) *Kubectl {
	o := v.object("context", "namespace")
	return &Kubectl{Context: o.must("context", "of the kubeconfig").text(), Namespace: o.must("namespace", "of what is rolled back").text()}
}

func lag(v *value, p *Plan, order []string) *Lag {
	o := v.object("below", "url")
	return &Lag{Below: o.must("below", "how many bytes of the write-ahead log a reader may be behind, such as 16MB").bytes(), URL: databaseOf(v, o.get("url"), p, order)}
}

func backup(v *value) *Backup {
	o := v.object("file", "run", "within")
	o.exactly("file", "run")
	b := &Backup{File: o.get("file").text(), Run: o.get("run").text(), Within: o.must("within", "how old it may be, such as 24h").duration()}
	if _, err := filepath.Match(b.File, ""); err != nil {
		o.get("file").wrong("expected a path or a pattern in file, found %q: %v", b.File, err)
	}
	return b
}

func space(v *value) *Space {
	o := v.object("path", "run", "at least")
	o.exactly("path", "run")
	return &Space{Path: o.get("path").text(), Run: o.get("run").text(), AtLeast: o.must("at least", "how much must be free, such as 10GB").bytes()}
}

// databaseOf is the name in the plan's env that is given, or the first that leads to a database.
func databaseOf(v, url *value, p *Plan, order []string) string {
	known := databases(p, order)
	switch {
	case url != nil:
		name := url.text()
		if name != "" && !slices.Contains(known, name) {
			url.wrong("expected a database of the plan's env in url, found %q%s", name, meant(name, known))
		}
		return name
	case len(known) == 0:
		v.wrong("expected a database in the plan's env beside %s, such as PRIMARY: DATABASE_URL, found none", v.what)
		return ""
	}
	return known[0]
}

// asked is the check's key in a plan and its words, of those that ask by a command or of what is outside of the service.
func (c Check) asked() (kind, words string) {
	switch {
	case c.Revision != nil:
		return "revision", fmt.Sprintf("the target is %s, by %s", c.Revision.Is, oneLine(c.Revision.Run))
	case c.Kubectl != nil:
		return "kubectl", fmt.Sprintf("kubectl leads to the context %s and the namespace %s", c.Kubectl.Context, c.Kubectl.Namespace)
	case c.Lag != nil:
		return "lag", fmt.Sprintf("no reader of the database is behind by %d bytes or more", c.Lag.Below)
	case c.Backup != nil:
		return "backup", fmt.Sprintf("the newest backup is younger than %s", c.Backup.Within)
	case c.Space != nil:
		return "space", fmt.Sprintf("%d bytes are free", c.Space.AtLeast)
	case c.Command != nil:
		return "command", fmt.Sprintf("%s prints %s", oneLine(c.Command.Run), c.Command.Output)
	}
	return "", "nothing"
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// run is the check's command; empty: it has none.
func (c Check) run() string {
	switch {
	case c.Revision != nil:
		return c.Revision.Run
	case c.Backup != nil:
		return c.Backup.Run
	case c.Space != nil:
		return c.Space.Run
	case c.Command != nil:
		return c.Command.Run
	}
	return ""
}
