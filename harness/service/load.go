package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Names become folders, databases and roles; those of services also parts of variables.
var (
	serviceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	folderName  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)
	tableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$`)
	numbered    = regexp.MustCompile(`^[^%]*%(0?[0-9]{1,2})?d[^%]*$`)
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// readyWithin is how long an instance may take until it is ready, unless service.yaml says so.
const readyWithin = time.Minute

// Load reads one service.yaml. The error tells all mistakes of the file, each with its line and column, what was
// expected and what was found.
func Load(path string) (*Service, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load the service: %w", err)
	}
	return readService(path, text)
}

// Find loads the service of that name: ROOT/service.yaml or ROOT/*/service.yaml of the first root that has it. Others
// that cannot be read do not matter, unless the name is not found.
func Find(roots []string, name string) (*Service, error) {
	var others []string
	var broken []error
	for _, root := range roots {
		below, err := filepath.Glob(filepath.Join(escape(root), "*", "service.yaml"))
		if err != nil {
			return nil, fmt.Errorf("look for services in %s: %w", root, err)
		}
		for _, path := range append([]string{filepath.Join(root, "service.yaml")}, below...) {
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				broken = append(broken, err)
				continue
			}
			is, err := nameIn(path, text)
			switch {
			case err != nil:
				broken = append(broken, err)
			case is == name:
				return readService(path, text)
			default:
				others = append(others, is)
			}
		}
	}
	missing := fmt.Errorf("there is no service %q in %s%s: expected a service.yaml with `service: %s`, found %s",
		name, strings.Join(roots, ", "), meant(name, others), name, strings.Join(orNone(others), ", "))
	return nil, errors.Join(append([]error{missing}, broken...)...)
}

func orNone(names []string) []string {
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}

// escape makes a folder's name stand for itself in a pattern of filepath.Glob.
func escape(dir string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(dir, `\$0`)
}

// nameIn is the name that a service.yaml gives itself, whatever else is wrong in it.
func nameIn(path string, text []byte) (string, error) {
	f, root := parse(path, text)
	for _, p := range root.pairs() {
		if p.name == "service" {
			return p.text(), f.err()
		}
	}
	return "", f.err()
}

func readService(path string, text []byte) (*Service, error) {
	f, root := parse(path, text)
	if root == nil {
		return nil, f.err()
	}
	o := root.object("service", "tier", "needs", "allow", "instances", "run", "ready", "release", "database", "values", "journeys", "env",
		"secrets", "jobs", "effects", "caches", "sessions", "dependants", "stubs", "breaker", "people", "forbidden", "lock", "communication", "hook")
	s := &Service{Path: path, Dir: filepath.Dir(path), Instances: 1}

	name := o.must("service", "its name")
	s.Name = name.text()
	if s.Name != "" && !serviceName.MatchString(s.Name) {
		name.expected("a name of small letters, digits and _, which is also that of its database")
	}
	s.Tier = o.must("tier", "critical is restored within 5 minutes, standard within 15").choice("critical", "standard")
	if v := o.get("instances"); v != nil {
		s.Instances = int(v.number(1, 100))
	}
	s.Lock = lock(o.get("lock"))
	s.People = people(o.get("people"))
	if at := o.get("hook"); at != nil {
		s.Hook = hook(at)
	}
	s.Needs = o.get("needs").table()
	if o.get("run") == nil {
		return readSchemaOnly(o, s)
	}
	run := o.get("run").object("process", "containers", "kubernetes")
	s.Process = process(run.get("process"))
	s.Containers = containers(run.get("containers"), s)
	s.Kubernetes = kubernetes(run.get("kubernetes"), s)
	if run.isMapping() && s.Process == nil && s.Containers == nil && s.Kubernetes == nil {
		run.wrong("expected process or containers in run, found neither: how an instance is started")
	}
	ready := o.must("ready", "the path of its readiness check")
	s.ReadyWithin = readyWithin
	if ready.isMapping() { // {path: /readyz, within: 3m}
		r := ready.object("path", "within")
		if w := r.get("within"); w != nil {
			s.ReadyWithin = w.duration()
		}
		ready = r.must("path", "of its readiness check")
	}
	if s.Ready = ready.text(); s.Ready != "" && !strings.HasPrefix(s.Ready, "/") {
		ready.expected("a path that begins with /")
	}
	if v := o.must("release", "how an instance says which release it is"); v != nil {
		r := v.object("header", "instance")
		s.Header, s.InstanceHeader = r.must("header", "").text(), r.get("instance").text()
	}
	for _, host := range o.get("allow").list() {
		if name := host.text(); name != "" && !allowed(name) {
			host.expected("the name or address of a host, without a port")
		} else if name != "" {
			s.Allow = append(s.Allow, name)
		}
	}
	s.Dependants = dependants(o.get("dependants"), s.Name)
	s.Env = o.get("env").table()
	s.Secrets = secrets(o.get("secrets"))
	s.Values = values(o.get("values"))
	s.Database = database(o.get("database"), s.Dir)
	s.Journeys = journeys(o.must("journeys", "what users do"), s)
	s.Jobs = jobs(o.get("jobs"))
	s.Stubs = stubs(o.get("stubs"), s)
	s.Effects = effects(o.get("effects"), s)
	s.Caches = caches(o.get("caches"), s)
	s.Sessions = sessions(o.get("sessions"), s)
	s.Breaker = breaker(o.get("breaker"), s)
	s.Forbidden = forbidden(o.get("forbidden"), s)
	s.Communication = communication(o.get("communication"), s)
	if s.Database == nil {
		o.get("jobs").wrong("expected a database in service.yaml, since jobs are counted there, found none")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// namespaceName is what Kubernetes lets a namespace be called.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

var hostName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// allowed says whether a text can be a host: a port would never be found in a command beside its host.
func allowed(host string) bool { return hostName.MatchString(host) || net.ParseIP(host) != nil }

// readSchemaOnly reads a service that nothing runs for: a database, and releases that change it.
func readSchemaOnly(o *object, s *Service) (*Service, error) {
	s.Instances = 0
	for _, key := range []string{"instances", "ready", "release", "values", "journeys", "env", "secrets", "effects", "caches", "sessions", "dependants", "stubs", "breaker", "forbidden"} {
		o.get(key).wrong("expected run beside %s, since without it nothing runs and there is only a database, found none", key)
	}
	s.Database = database(o.must("database", "what there is when nothing runs: say run for a service that runs"), s.Dir)
	s.Jobs = jobs(o.get("jobs"))
	s.Communication = communication(o.get("communication"), s)
	if err := o.f.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// leaseExpires is how long a lease outlives its last renewal, unless service.yaml says so.
const leaseExpires = 15 * time.Second

func lock(v *value) *Lock {
	if v == nil {
		return nil
	}
	o := v.object("postgres", "kubernetes", "expires")
	o.exactly("postgres", "kubernetes")
	l := &Lock{Expires: leaseExpires}
	if name := o.get("postgres"); name != nil {
		l.Postgres = name.text()
		if l.Postgres != "" && !variable.MatchString(l.Postgres) {
			name.expected("the name of a variable, such as ROLLBACK_LEASE_URL; its value is secret and stands in no file")
		} else if IsDatabase(l.Postgres) {
			name.wrong("expected the variable of a database of its own in postgres, since a rollback may restore the service's, found %q", l.Postgres)
		}
	}
	if k := o.get("kubernetes"); k != nil {
		k := k.object("context", "namespace")
		l.Kubernetes = &LockCluster{Context: k.must("context", "the context of the kubeconfig that kubectl finds").text()}
		namespace := k.must("namespace", "where the Lease is, which no rollback of the service removes")
		if l.Kubernetes.Namespace = namespace.text(); l.Kubernetes.Namespace != "" && !namespaceName.MatchString(l.Kubernetes.Namespace) {
			namespace.expected("the name of a namespace, such as rollbacks")
		}
	}
	if e := o.get("expires"); e != nil {
		if l.Expires = e.duration(); l.Expires > 0 && l.Expires < time.Second {
			e.expected("at least 1s, or a holder that is slow for a moment loses it")
		} else if l.Kubernetes != nil && l.Expires%time.Second != 0 {
			e.expected("whole seconds, since a Lease of Kubernetes knows no others")
		}
	}
	return l
}

func process(v *value) *Process {
	if v == nil {
		return nil
	}
	o := v.object("build", "command", "env")
	p := &Process{Build: o.get("build").texts(), Command: o.must("command", "the program and its arguments").texts(), Env: o.get("env").table()}
	if c := o.get("command"); c.isList() && len(p.Command) == 0 {
		c.wrong("expected a program in command, found an empty list")
	}
	return p
}

// imageRef is the reference of an image, in which {release} may stand.
var imageRef = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/@{}-]*$`)

func containers(v *value, s *Service) *Containers {
	if v == nil {
		return nil
	}
	o := v.object("dockerfile", "image", "compose", "of", "build", "port", "command", "env")
	o.exactly("dockerfile", "image", "compose")
	image := o.get("image")
	c := &Containers{
		Dockerfile: o.get("dockerfile").path(s.Dir, false),
		Image:      image.text(),
		Compose:    o.get("compose").path(s.Dir, false),
		Of:         o.get("of").text(),
		Build:      o.get("build").texts(),
		Port:       int(o.must("port", "that an instance listens on inside").number(1, 65535)),
		Command:    o.get("command").texts(),
		Env:        o.get("env").table(),
	}
	switch {
	case c.Image == "":
	case !imageRef.MatchString(c.Image):
		image.expected("the reference of an image, such as registry.example/web:{release}")
	case !strings.Contains(c.Image, "{release}"):
		image.wrong("expected {release} in image, or every release would be the same one, found %q", c.Image)
	}
	if o.get("compose") != nil {
		o.must("of", "the service of the compose file that an instance is")
		o.get("command").wrong("expected no command beside compose, which states it, found one")
	} else {
		o.get("of").wrong("expected compose beside of, found none")
	}
	if o.get("build") == nil && s.Process != nil {
		c.Build = s.Process.Build
	}
	return c
}

// selector is a label selector by equality, and inside a placeholder in the values of a chart.
var (
	selector = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9][A-Za-z0-9._-]*(,[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	inside   = regexp.MustCompile(`\{([a-z_]+)\}`)
)

// charted are the placeholders in the values of a chart and in manifests.
var charted = []string{"image", "release", "instances", "port", "node_port", "environment", "admin", "namespace", "repository", "git_image"}

func kubernetes(v *value, s *Service) *Kubernetes {
	if v == nil {
		return nil
	}
	o := v.object("chart", "manifests", "gitops", "port", "pods", "background", "values", "env")
	o.exactly("chart", "manifests")
	chart, manifests := o.get("chart"), o.get("manifests")
	k := &Kubernetes{Chart: chart.path(s.Dir, true), Manifests: manifests.path(s.Dir, true), Pods: "app.kubernetes.io/name=" + s.Name, Env: o.get("env").table()}
	chart.holds(s.Dir, k.Chart, "Chart.yaml")
	manifests.holds(s.Dir, k.Manifests, "*.yaml")
	switch {
	case s.Containers == nil:
		v.wrong("expected containers beside kubernetes, which say how the image of a release is made, found none")
	case s.Containers.Compose != "":
		v.wrong("expected dockerfile or image in containers beside kubernetes, found compose")
	default:
		k.Port = s.Containers.Port
	}
	if port := o.get("port"); port != nil {
		k.Port = int(port.number(1, 65535))
	}
	if pods := o.get("pods"); pods != nil {
		if k.Pods = pods.text(); k.Pods != "" && !selector.MatchString(k.Pods) {
			pods.expected("labels of the pods that run a release, such as app.kubernetes.io/name=%s,app.kubernetes.io/component=web", s.Name)
		}
	}
	if n := o.get("background"); n != nil {
		k.Background = int(n.number(0, 100))
	}
	if by := o.get("gitops"); by != nil {
		if k.GitOps = by.choice(ArgoCD); manifests == nil {
			by.wrong("expected manifests beside gitops, which are what lies in the repository, found none")
		}
	}
	if values := o.get("values"); values != nil {
		if manifests != nil {
			values.wrong("expected chart beside values, found manifests: write ${IMAGE}, ${RELEASE} and their like there")
		}
		if values.isMapping() {
			k.Values, _ = values.plain().(map[string]any)
		} else {
			values.expected("a mapping")
		}
		values.charted()
	}
	return k
}

// holds checks that a folder has a file of that name or pattern.
func (v *value) holds(dir, folder, name string) {
	if folder == "" {
		return
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(dir, folder)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return // told already
	}
	if found, _ := filepath.Glob(filepath.Join(escape(folder), name)); len(found) == 0 { // the pattern is a good one
		v.wrong("expected %s in the folder %s, found none", name, folder)
	}
}

// charted notes what is nearly a placeholder; any other text in braces is the chart's own.
func (v *value) charted() {
	switch {
	case v.isMapping():
		for _, p := range v.pairs() {
			p.charted()
		}
	case v.isList():
		for _, item := range v.list() {
			item.charted()
		}
	default:
		text, _ := scalar(v.node)
		for _, m := range inside.FindAllStringSubmatch(text, -1) {
			if near := meant(m[1], charted); near != "" && !slices.Contains(charted, m[1]) {
				v.wrong("expected a placeholder ({%s}) in %s, found %s%s", strings.Join(charted, "}, {"), v.what, m[0], near)
			}
		}
	}
}

func dependants(v *value, itself string) []string {
	if v == nil {
		return nil
	}
	var names []string
	for _, item := range v.list() {
		switch name := item.text(); {
		case name == "":
		case name == itself || slices.Contains(names, name):
			item.expected("another service, once")
		case !serviceName.MatchString(name):
			item.expected("the name of a service")
		default:
			names = append(names, name)
		}
	}
	return names
}

func secrets(v *value) map[string]Secret {
	if v == nil {
		return nil
	}
	all := map[string]Secret{}
	for _, p := range v.pairs() {
		if !variable.MatchString(p.name) {
			p.key.wrong("expected the name of a variable in %s, found %q", v.what, p.name)
		}
		o := p.object("file", "env")
		o.exactly("file", "env")
		all[p.name] = Secret{File: o.get("file").text(), Env: o.get("env").text()}
	}
	return all
}

func values(v *value) map[string]Values {
	if v == nil {
		return nil
	}
	all := map[string]Values{}
	for _, p := range v.pairs() {
		if !placeholder.MatchString("{"+p.name+"}") || p.name == "user" || p.name == "uuid" {
			p.key.wrong("expected a name of small letters, digits and _ in values, and neither user nor uuid, found %q", p.name)
		}
		if p.isList() {
			var one Values
			for _, item := range p.list() {
				text, ok := scalar(item.node) // an empty one is a value too
				if !ok {
					item.expected("a text")
				}
				one.List = append(one.List, text)
			}
			if len(one.List) == 0 {
				p.wrong("expected at least one value in %s, found an empty list", p.name)
			}
			all[p.name] = one
			continue
		}
		o := p.object("pattern", "from", "to")
		pattern := o.must("pattern", "")
		one := Values{
			Pattern: pattern.text(),
			From:    o.must("from", "").count(0),
			To:      o.must("to", "").count(0),
		}
		if one.Pattern != "" && !numbered.MatchString(one.Pattern) {
			pattern.expected("a pattern with one number in it, such as sku-%%04d")
		}
		if one.To < one.From {
			o.get("to").wrong("expected at least %d in to, found %d", one.From, one.To)
		}
		all[p.name] = one
	}
	return all
}

func database(v *value, dir string) *Database {
	if v == nil {
		return nil
	}
	o := v.object("migrations", "publish", "settings", "references", "invariants", "frozen", "load", "rows", "production")
	d := &Database{Settings: o.get("settings").table(), Invariants: queries(o.get("invariants")), Frozen: queries(o.get("frozen"))}
	m := o.get("migrations")
	if m == nil && o.get("load") == nil {
		o.must("migrations", "the folder of its goose migrations, or load, the file that makes its schema")
	}
	if m != nil {
		if m.isMapping() {
			tool := m.object("tool", "dir")
			tool.get("tool").choice("goose")
			m = tool.must("dir", "the folder of its goose migrations")
		}
		d.Migrations = m.path(dir, true)
	}
	for _, item := range o.get("publish").list() {
		if t := item.table1(); strings.HasPrefix(t, "goose_") {
			item.wrong("expected tables of the service in publish, found goose's own: each node keeps its own record of migrations")
		} else if t != "" {
			d.Publish = append(d.Publish, t)
		}
	}
	for _, item := range o.get("references").list() {
		r := item.object("from", "to")
		d.References = append(d.References, Reference{From: r.must("from", "").column(), To: r.must("to", "").column()})
	}
	for _, p := range o.get("frozen").pairsOrNone() {
		p.key.tableKey(p.name)
	}
	if load := o.get("load"); load != nil && load.isMapping() {
		command := load.object("command").must("command", "the program that fills DATABASE_URL, and its arguments")
		if d.LoadCommand = command.texts(); command.isList() && len(d.LoadCommand) == 0 {
			command.wrong("expected a program in command, found an empty list")
		}
	} else {
		d.Load = load.path(dir, false)
	}
	d.Production = o.get("production").path(dir, false)
	if rows := o.get("rows"); rows != nil {
		d.Rows = map[string]int{}
		for _, p := range rows.pairs() {
			p.key.tableKey(p.name)
			d.Rows[p.name] = p.count(0)
		}
		if o.get("load") == nil {
			rows.wrong("expected load beside rows, which makes them, found none")
		}
	}
	return d
}

// pairsOrNone is pairs of what has been read once already, so that a mistake is not told twice.
func (v *value) pairsOrNone() []pair {
	if v == nil || !v.isMapping() {
		return nil
	}
	return v.pairs()
}

func (v *value) tableKey(name string) {
	if !tableName.MatchString(name) {
		v.wrong("expected the name of a table, found %q", name)
	}
}

// table1 is the name of a table.
func (v *value) table1() string {
	t := v.text()
	if t != "" && !tableName.MatchString(t) {
		v.expected("the name of a table")
		return ""
	}
	return t
}

// column is TABLE.COLUMN, the table perhaps with its schema.
func (v *value) column() Column {
	s := v.text()
	if s == "" {
		return Column{}
	}
	i := strings.LastIndex(s, ".")
	if i < 0 || !tableName.MatchString(s[:i]) || !variable.MatchString(s[i+1:]) {
		v.expected("TABLE.COLUMN")
		return Column{}
	}
	return Column{Table: s[:i], Name: s[i+1:]}
}

// path is a file or folder that is there, relative to the service's folder; it is kept as it was written.
func (v *value) path(dir string, folder bool) string {
	p := v.text()
	if p == "" {
		return ""
	}
	at := p
	if !filepath.IsAbs(p) {
		at = filepath.Join(dir, p)
	}
	info, err := os.Stat(at)
	kind := map[bool]string{true: "a folder", false: "a file"}
	switch {
	case err != nil:
		v.wrong("expected %s in %s, found none: %v", kind[folder], v.what, err)
	case info.IsDir() != folder:
		v.wrong("expected %s in %s, found %s at %s", kind[folder], v.what, kind[!folder], at)
	}
	return p
}

// queries are texts of SQL by name.
func queries(v *value) map[string]string {
	if v == nil {
		return nil
	}
	all := map[string]string{}
	for _, p := range v.pairs() {
		all[p.name] = p.text()
	}
	return all
}

func jobs(v *value) map[string]Job {
	if v == nil {
		return nil
	}
	all := map[string]Job{}
	for _, p := range v.pairs() {
		o := p.object("open", "failed")
		all[p.name] = Job{Open: o.must("open", "SQL: id and creation time of the open ones").text(), Failed: o.get("failed").text()}
	}
	return all
}

func effects(v *value, s *Service) map[string]Effect {
	if v == nil {
		return nil
	}
	all := map[string]Effect{}
	for _, p := range v.pairs() {
		o := p.object("of", "at", "count", "each")
		e := Effect{At: o.get("at").text(), Each: 1}
		of := o.must("of", "the journey whose writes have the effect")
		e.Of = of.journey(s)
		if j := s.journey(e.Of); j != nil && !j.writes() {
			of.wrong("expected a journey that writes in of, found %q, which has no write", e.Of)
		}
		stub, atStub := s.Stubs[e.At]
		if places := append(append([]string{s.Name}, s.Dependants...), sorted(s.Stubs)...); e.At != "" && !slices.Contains(places, e.At) {
			o.get("at").wrong("expected a dependant, a stub or the service itself in at, found %q%s", e.At, meant(e.At, places))
		}
		count := o.must("count", "how the effect is counted")
		e.Count = count.text()
		method, target, _ := strings.Cut(e.Count, " ")
		switch {
		case e.Count == "":
		case atStub:
			count.atStub(e, stub)
		case e.At != "" && (method != "GET" || !strings.HasPrefix(target, "/") || !strings.Contains(target, "{key}")):
			count.expected("a request such as GET /charges?order_key={key}")
		case e.At == "" && !strings.Contains(e.Count, "$1"):
			count.expected("SQL with $1, the key of the write, which returns a number")
		case e.At == "" && s.Database == nil:
			count.wrong("expected a database in service.yaml or a dependant in at, found neither")
		}
		if each := o.get("each"); each != nil {
			e.Each = each.count(1)
		}
		all[p.name] = e
	}
	return all
}

// cacheVariable is a name under which plans get a cache's URL.
var cacheVariable = regexp.MustCompile(`^CACHE_URL(_[A-Z0-9_]+)?$`)

// mostCaches is how many databases one server of Redis has unless it is told otherwise.
const mostCaches = 16

func caches(v *value, s *Service) map[string]Cache {
	if v == nil {
		return nil
	}
	all := map[string]Cache{}
	given := map[string]string{}
	for _, p := range v.pairs() {
		if !serviceName.MatchString(p.name) {
			p.key.wrong("expected a name of small letters, digits and _ in caches, found %q", p.name)
		}
		o := p.object("url", "read_by", "stale")
		c := Cache{
			URL:    "CACHE_URL",
			ReadBy: o.must("read_by", "the journey that reads through it").journey(s),
			Stale:  o.must("stale", "Lua that returns how many entries the good release cannot read").text(),
		}
		if j := s.journey(c.ReadBy); j != nil && j.Weight == 0 {
			o.get("read_by").wrong("expected a journey that users make in read_by, found %q, whose weight is 0", c.ReadBy)
		}
		url := o.get("url")
		if url != nil {
			c.URL = url.text()
		}
		switch other, taken := given[c.URL]; {
		case c.URL != "" && !cacheVariable.MatchString(c.URL):
			url.expected("the name of the variable that plans get, CACHE_URL or CACHE_URL_NAME,")
		case taken && url == nil:
			o.wrong("expected url in %s, since %s has CACHE_URL: a name such as CACHE_URL_%s", p.name, other, strings.ToUpper(p.name))
		case taken:
			url.wrong("expected another name than %s in url, which %s has", c.URL, other)
		}
		given[c.URL] = p.name
		all[p.name] = c
	}
	if v.isMapping() && len(all) == 0 {
		v.expected("at least one cache")
	}
	if len(all) > mostCaches {
		v.wrong("expected at most %d caches, found %d", mostCaches, len(all))
	}
	return all
}

func sessions(v *value, s *Service) map[string]string {
	if v == nil {
		return nil
	}
	var kept []string
	for _, j := range s.Journeys {
		for _, r := range j.Steps {
			for _, k := range r.Keep {
				kept = append(kept, k.Name)
			}
		}
	}
	all := map[string]string{}
	for _, p := range v.pairs() {
		if !slices.Contains(kept, p.name) {
			p.key.wrong("expected a value that a journey keeps in sessions, found %q%s", p.name, meant(p.name, kept))
		}
		all[p.name] = p.journey(s)
	}
	return all
}

// journey is the name of one of the service's journeys.
func (v *value) journey(s *Service) string {
	name := v.text()
	if name != "" && s.journey(name) == nil {
		var names []string
		for _, j := range s.Journeys {
			names = append(names, j.Name)
		}
		v.wrong("expected a journey of %s in %s, found %q%s", s.Name, v.what, name, meant(name, names))
	}
	return name
}

func (s *Service) journey(name string) *Journey {
	for i, j := range s.Journeys {
		if j.Name == name {
			return &s.Journeys[i]
		}
	}
	return nil
}

func (j Journey) writes() bool {
	return slices.ContainsFunc(j.Steps, func(r Request) bool { return r.Write != nil })
}

// SecretValues reads the secrets: the texts to hide, and the value of each by its name. Every line of a secret of several
// lines is hidden by itself as well, since output is hidden by lines.
func (s *Service) SecretValues() (hide []string, values map[string]string, err error) {
	values = map[string]string{}
	var all []error
	for _, name := range sorted(s.Secrets) {
		secret := s.Secrets[name]
		var text string
		if secret.Env != "" {
			if text = os.Getenv(secret.Env); text == "" {
				all = append(all, fmt.Errorf("%s: secret %s: expected a value in the variable %s of the environment, found none: set it", s.Path, name, secret.Env))
				continue
			}
		} else {
			path := secret.File
			if !filepath.IsAbs(path) {
				path = filepath.Join(s.Dir, path)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				all = append(all, fmt.Errorf("%s: secret %s: %w", s.Path, name, err))
				continue
			}
			if text = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"); text == "" {
				all = append(all, fmt.Errorf("%s: secret %s: expected a value in %s, found an empty file", s.Path, name, path))
				continue
			}
		}
		values[name] = text
		hide = append(hide, text)
		if lines := strings.Split(text, "\n"); len(lines) > 1 {
			for _, l := range lines {
				if l = strings.TrimSpace(l); len(l) >= 8 {
					hide = append(hide, l)
				}
			}
		}
	}
	return hide, values, errors.Join(all...)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
