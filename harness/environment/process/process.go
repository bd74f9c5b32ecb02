// Package process is the environment that needs nothing but this machine: real PostgreSQL nodes and service instances
// as operating-system processes on 127.0.0.1, in one directory below the temporary one, gone after the drill.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"backout/harness/cache"
	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/control"
	"backout/harness/environment/links"
	"backout/harness/environment/ports"
	"backout/harness/environment/proxy"
	"backout/harness/environment/wiring"
	"backout/harness/postgres"
	"backout/harness/service"
)

// Options of an environment.
type Options = environment.Options

// machine is one drill's stage on this machine.
type machine struct {
	*environment.Life
	find    func(dir string) (postgres.Binaries, error) // postgres.Find
	stages  artefact.Stages
	prepare func() error // makes the run's directory, with the register first; it may be called again

	mu           sync.Mutex
	provision    bool // begun
	need         environment.Need
	known        chan struct{} // closed when need is set
	dir          string        // of the run
	register     *environment.Register
	bin          postgres.Binaries
	installed    string              // where bin is from: its folder, or that of the cache which it was copied from
	owner        *syscall.Credential // whom instances run as; nil: ourselves
	password     string
	cacheProgram cache.Program // where a service has a cache
	wiring       wiring.Wiring
	supervisor   *supervisor
	control      *control.Server
	proxies      map[string]*proxy.Proxy
	stubs        map[string]string // "SERVICE/STUB" -> its URL
	instances    []service.Instance
	nodes        []*node
	links        *links.Set // between services and their databases; nil: nobody wants to disturb them
	linkPorts    map[string]int
	forward      *links.Forward // the primary's address; nil: its own
	primaryPort  int            // behind it
	leads        *node          // to which that address leads now; nil: to the primary
	leases       []*ports.Lease
	cleanups     []*cleanup
	clones       int
	tails        map[string]string // of logs, kept when the directory goes
	begun        time.Time         // of Provision
	phases       []string          // what was done when, for the benchmark
}

// mark notes that a part of provisioning is done.
func (m *machine) mark(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phases = append(m.phases, fmt.Sprintf("%4d ms %s", time.Since(m.begun).Milliseconds(), what))
}

// cleanup is one thing that Destroy has to end.
type cleanup struct {
	name string
	end  func(ctx context.Context) error
	done bool
}

// node is one Postgres node.
type node struct {
	name  string
	start postgres.Start // how it is started again

	mu     sync.Mutex
	server *postgres.Server // the last one that was started
}

func (n *node) now() *postgres.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// New makes an environment. It starts and writes nothing before Provision or Stage.
func New(o Options) (environment.Environment, error) {
	life, err := environment.NewLife(o)
	if err != nil {
		return nil, fmt.Errorf("process environment: %w", err)
	}
	m := &machine{Life: life, find: postgres.Find,
		proxies: map[string]*proxy.Proxy{}, stubs: map[string]string{}, known: make(chan struct{}), tails: map[string]string{}}
	m.prepare = sync.OnceValue(m.makeDirectory)
	return m, nil
}

func (m *machine) makeDirectory() error {
	if err := os.MkdirAll(filepath.Join(m.Cache, "artefacts"), 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	register, err := environment.OpenRegister(m.Register)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.register = register
	m.mu.Unlock()
	dir, err := register.Directory(m.Temp)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.dir = dir
	m.stages.Kind, m.stages.Cache, m.stages.Dir, m.stages.Say = service.InProcesses, m.Cache, filepath.Join(dir, "releases"), m.Say
	m.mu.Unlock()
	artefact.Spread(dir)
	for _, sub := range []struct {
		name string
		mode os.FileMode
	}{{"releases", 0o755}, {"instances", 0o755}, {"logs", 0o700}, {"bin", 0o755}, {"tmp", 0o777 | os.ModeSticky}} {
		path := filepath.Join(dir, sub.name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, sub.mode); err != nil { // whatever the umask says
			return err
		}
	}
	return nil
}

// onDestroy adds what Destroy ends, side by side with everything else.
func (m *machine) onDestroy(name string, end func(ctx context.Context) error) *cleanup {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &cleanup{name: name, end: end}
	m.cleanups = append(m.cleanups, c)
	return c
}

// Stage implements environment.Environment. Before Provision has been called it waits for that call, which says whose
// release it is.
func (m *machine) Stage(ctx context.Context, r *service.Release, overlay map[string]string) (string, error) {
	ctx, done, err := m.Begin(ctx)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	defer done()
	select {
	case <-m.known:
	case <-ctx.Done():
		return "", fmt.Errorf("stage %s: wait for Provision, which names the services: %w", r.Name, ctx.Err())
	}
	s, err := wiring.ServiceOf(m.need, r)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	if err := m.prepare(); err != nil {
		return "", fmt.Errorf("stage %s: %w", r.Name, err)
	}
	return m.stages.Release(ctx, s, r, overlay)
}

// Artefact implements environment.Environment.
func (m *machine) Artefact(ctx context.Context, r *service.Release) error {
	dir, err := m.Stage(ctx, r, nil)
	if err != nil {
		return fmt.Errorf("the artefact of %s: %w", r.Name, err)
	}
	p := r.Service.Process
	if p == nil || len(p.Command) == 0 || filepath.IsAbs(p.Command[0]) || !strings.Contains(p.Command[0], "/") {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, p.Command[0])); err != nil {
		return fmt.Errorf("the artefact of %s is not there: %w", r.Name, err)
	}
	return nil
}

// Variables implements environment.Environment.
func (m *machine) Variables() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, n := range m.nodes {
		names = append(names, n.name)
	}
	return m.wiring.Variables(names)
}

// Platform implements environment.Environment. RELEASES holds SERVICE/RELEASE, LINKS holds INSTANCE/current, INSTANCES
// are those of the drilled service.
func (m *machine) Platform() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.need.Service == nil || m.dir == "" {
		return map[string]string{}
	}
	var own []string
	for _, i := range m.instances {
		if i.Service == m.need.Service.Name {
			own = append(own, i.Name)
		}
	}
	all := map[string]string{
		"SUPERVISOR": filepath.Join(m.dir, "bin", "supervisor"),
		"PROXY":      filepath.Join(m.dir, "bin", "proxy"),
		"INSTANCES":  strings.Join(own, " "),
		"RELEASES":   filepath.Join(m.dir, "releases"),
		"DATA":       filepath.Join(m.dir, "data", m.need.Service.Name),
		"LINKS":      filepath.Join(m.dir, "instances"),
	}
	if m.cacheProgram.Client != "" {
		all["CACHE_CLI"] = m.cacheProgram.Client
	}
	if port := m.wiring.Ports["primary"]; port != 0 {
		all["PRIMARY_INSIDE"] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return all
}

// URL implements environment.Environment.
func (m *machine) URL(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.proxies[name]; p != nil {
		return p.URL()
	}
	return m.stubs[name]
}

// Instances implements environment.Environment.
func (m *machine) Instances() []service.Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]service.Instance(nil), m.instances...)
}

// Nodes implements environment.Environment.
func (m *machine) Nodes() []service.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []service.Node
	for _, n := range m.nodes {
		server, at := n.now(), n.now().URL(m.password, m.need.Service.Name)
		if n.name == "primary" && m.forward != nil {
			at = postgres.URL("127.0.0.1", m.wiring.Ports["primary"], postgres.Superuser, m.password, m.need.Service.Name)
			if m.leads != nil {
				server = m.leads.now()
			}
		}
		all = append(all, service.Node{Name: n.name, Role: n.name,
			URL: at,
			PID: func() int {
				select {
				case <-server.Wait():
					return 0
				default:
					return server.PID()
				}
			}})
	}
	return all
}

// Versions implements environment.Environment. Before Provision they are those of the programs that it will find.
func (m *machine) Versions() map[string]string {
	m.mu.Lock()
	bin, program := m.bin, m.cacheProgram
	m.mu.Unlock()
	v := map[string]string{"go": runtime.Version()}
	if bin.Version == "" {
		bin, _ = m.find(m.PostgresDir) // where there is none, Provision says so
	}
	if bin.Version != "" {
		v["postgresql"] = bin.Version
	}
	if program.Name == "" {
		program, _ = cache.Find()
	}
	if program.Name != "" {
		v[program.Name] = program.Version
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		v["linux"] = unix.ByteSliceToString(u.Release[:])
	}
	return v
}

// Log implements environment.Environment. It also answers after Destroy.
func (m *machine) Log(name string) string {
	m.mu.Lock()
	dir := m.dir
	kept, is := m.tails[name]
	m.mu.Unlock()
	if is {
		return kept
	}
	if dir == "" || name != filepath.Base(name) {
		return ""
	}
	return tail(filepath.Join(dir, "logs", name+".log"))
}

// tail is the last 64 KB of a file, from the beginning of a line on.
func tail(path string) string {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-most)
	buf := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(buf, from)
	out := string(buf[:n])
	if from > 0 {
		_, out, _ = strings.Cut(out, "\n")
	}
	return out
}

// Destroy implements environment.Environment. Everything ends side by side, Postgres by an immediate shutdown, then
// the directory goes. What failed is tried again by the next call; what cannot be removed stays in the register.
func (m *machine) Destroy(ctx context.Context) error {
	return m.End(ctx, 30*time.Second, m.destroy)
}

func (m *machine) destroy(ctx context.Context, late error) error {
	m.mu.Lock()
	all, dir, register := m.cleanups, m.dir, m.register
	m.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		if c.done {
			continue
		}
		wg.Go(func() {
			if err := c.end(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.name, err)
				return
			}
			c.done = true
		})
	}
	wg.Wait()
	if err := errors.Join(append(errs, late)...); err != nil {
		return err // a directory is not taken from under what still runs in it
	}
	if dir != "" {
		logs, _ := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
		for _, path := range logs {
			name := strings.TrimSuffix(filepath.Base(path), ".log")
			t := tail(path)
			m.mu.Lock()
			m.tails[name] = t
			m.mu.Unlock()
		}
		if err := artefact.RemoveTree(dir); err != nil {
			return err
		}
	}
	for _, l := range m.leases {
		_ = l.Close() // an abstract socket has nothing to remove
	}
	m.leases = nil
	if register != nil {
		return register.Remove()
	}
	return nil
}
