package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/control"
)

// supervisor stands for systemd: it alone starts, registers and restarts instances. It knows nothing of releases: an
// instance runs what its link points to when it is started.
type supervisor struct {
	register *environment.Register
	owner    *syscall.Credential // whom instances run as; nil: ourselves
	grace    time.Duration       // between SIGTERM and SIGKILL
	fork     chan func()

	mu        sync.Mutex
	instances map[string]*instance
	order     []*instance
}

// spec is how an instance is run.
type spec struct {
	name, service string
	link          string // leads to the directory that it is started in
	log           string
	address       string
	command       []string
	env           func(release string) ([]string, error) // release: the name of the directory that the link leads to
}

// instance is one supervised process.
type instance struct {
	spec
	pid      atomic.Int64
	restarts atomic.Int64
	orders   chan order
	done     chan struct{} // closed when it is no longer supervised

	held control.Hold // by a fault: it does not answer, "paused" or "gone"
}

type order struct {
	stop  bool
	kill  bool // at once
	reply chan error
}

func newSupervisor(register *environment.Register, owner *syscall.Credential) *supervisor {
	fork := make(chan func())
	s := &supervisor{register: register, owner: owner, grace: 10 * time.Second, fork: fork, instances: map[string]*instance{}}
	// Pdeathsig follows the thread that forked, not the process: all instances are started from one thread, which
	// lives until the supervisor is closed.
	go func() {
		runtime.LockOSThread()
		for f := range fork {
			f()
		}
	}()
	return s
}

// add starts an instance and supervises it.
func (s *supervisor) add(sp spec) (*instance, error) {
	i := &instance{spec: sp, orders: make(chan order), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.instances[sp.name]; is {
		return nil, fmt.Errorf("start %s: there is one of this name", sp.name)
	}
	if s.fork == nil {
		return nil, fmt.Errorf("start %s: the environment is destroyed", sp.name)
	}
	started := make(chan error, 1)
	go s.supervise(i, started)
	if err := <-started; err != nil {
		s.stop(i, true)
		return nil, err
	}
	s.instances[sp.name] = i
	s.order = append(s.order, i)
	return i, nil
}

func (s *supervisor) find(name string) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instances[name]; i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("no instance is named %q; there are %s", name, strings.Join(s.names(), ", "))
}

func (s *supervisor) names() []string {
	var names []string
	for _, i := range s.order {
		names = append(names, i.name)
	}
	return names
}

// reach finds an instance for a script. One that is held is like a machine that does not answer: the script waits for it
// as long as it wants to.
func (s *supervisor) reach(ctx context.Context, name string) (*instance, error) {
	i, err := s.find(name)
	if err != nil {
		return nil, err
	}
	held, free := i.held.Now()
	if free == nil {
		return i, nil
	}
	select {
	case <-free:
		return i, nil
	case <-i.done:
		return nil, fmt.Errorf("%s is no longer supervised", name)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s does not answer: it is %s: %w", name, held, ctx.Err())
	}
}

// restart stops an instance and starts what its link leads to now. It returns when that is started.
func (s *supervisor) restart(ctx context.Context, name string) error {
	i, err := s.reach(ctx, name)
	if err != nil {
		return err
	}
	return i.order(ctx, order{})
}

// hold keeps everybody from an instance: scripts wait for it, and it is not started again when it ends.
func (i *instance) hold(how string) error {
	if already := i.held.Take(how); already != "" {
		return fmt.Errorf("%s is %s already", i.name, already)
	}
	return nil
}

// release ends hold. It may be called again.
func (i *instance) release() { i.held.Release() }

// rest waits before an instance that has ended is started again: for the pause, and then for as long as it is held. It
// returns earlier with an order.
func (i *instance) rest(pause time.Duration) (o order, ordered bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case o = <-i.orders:
		return o, true
	}
	_, free := i.held.Now()
	if free == nil {
		return o, false
	}
	select {
	case <-free:
		return o, false
	case o = <-i.orders:
		return o, true
	}
}

func (i *instance) order(ctx context.Context, o order) error {
	o.reply = make(chan error, 1)
	select {
	case i.orders <- o:
	case <-i.done:
		return fmt.Errorf("%s is no longer supervised", i.name)
	case <-ctx.Done():
		return fmt.Errorf("restart %s: %w", i.name, ctx.Err())
	}
	select {
	case err := <-o.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("restart %s: %w", i.name, ctx.Err())
	}
}

// status is a line an instance.
func (s *supervisor) status() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, i := range s.order {
		target, err := os.Readlink(i.link)
		if err != nil {
			target = err.Error()
		}
		state := "not running"
		if pid := i.pid.Load(); pid != 0 {
			state = fmt.Sprintf("running as %d", pid)
		}
		fmt.Fprintf(&b, "%s %s, restarts %d, link to %s\n", i.name, state, i.restarts.Load(), target)
	}
	return b.String()
}

// stop ends an instance for good and waits until it is gone.
func (s *supervisor) stop(i *instance, kill bool) {
	select {
	case i.orders <- order{stop: true, kill: kill, reply: make(chan error, 1)}:
	case <-i.done:
	}
	<-i.done
}

// Close kills all instances, all at once. It may be called again.
func (s *supervisor) Close(ctx context.Context) error {
	s.mu.Lock()
	all := s.order
	fork := s.fork
	s.order, s.fork, s.instances = nil, nil, map[string]*instance{}
	s.mu.Unlock()
	if fork == nil {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		var wg sync.WaitGroup
		for _, i := range all {
			wg.Go(func() { s.stop(i, true) })
		}
		wg.Wait()
		close(fork)
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the instances: %w", ctx.Err())
	}
}

const (
	shortestPause = 100 * time.Millisecond // between an exit and the next start
	longestPause  = 5 * time.Second
	ranWell       = 10 * time.Second // after which the pause begins at its shortest again
)

func (s *supervisor) supervise(i *instance, started chan<- error) {
	defer close(i.done)
	fork := s.fork
	reply := started
	pause := shortestPause
	for {
		begun := time.Now()
		p, err := s.start(i, fork)
		if reply != nil {
			reply <- err
			reply = nil
		}
		var o order
		select {
		case <-p.exited:
			i.pid.Store(0)
			if err == nil {
				i.note("it ended by itself: %s", p.state())
			}
			if time.Since(begun) > ranWell {
				pause = shortestPause
			}
			var ordered bool
			if _, free := i.held.Now(); free != nil {
				pause = shortestPause // it was ended from outside, and is not at fault
			}
			if o, ordered = i.rest(pause); !ordered {
				pause = min(2*pause, longestPause)
				i.restarts.Add(1)
				continue
			}
		case o = <-i.orders:
			p.end(i, o, s.grace)
			i.pid.Store(0)
		}
		if o.stop {
			o.reply <- nil
			return
		}
		i.restarts.Add(1)
		pause = shortestPause
		reply = o.reply
	}
}

// running is one process of an instance.
type running struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; set before exited is closed
}

func (p *running) state() string {
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// start returns a process that has exited already when it could not be started.
func (s *supervisor) start(i *instance, fork chan<- func()) (*running, error) {
	p := &running{exited: make(chan struct{})}
	err := s.launch(i, p, fork)
	if err != nil {
		err = fmt.Errorf("start %s: %w", i.name, err)
		i.note("%v", err)
		p.err = err
		close(p.exited)
	}
	return p, err
}

func (s *supervisor) launch(i *instance, p *running, fork chan<- func()) error {
	dir, err := filepath.EvalSymlinks(i.link)
	if err != nil {
		return fmt.Errorf("its link leads nowhere: %w", err)
	}
	env, err := i.env(filepath.Base(dir))
	if err != nil {
		return err
	}
	program := i.command[0]
	if strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(dir, program)
	}
	log, err := os.OpenFile(i.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(program, i.command[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the harness, and what an instance has started ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: s.owner}
	if err := s.register.Add(environment.Entry{Kind: environment.KindProcess, Name: i.name}); err != nil {
		return err
	}
	result := make(chan error, 1)
	fork <- func() { result <- p.cmd.Start() }
	if err := <-result; err != nil {
		return err
	}
	pid := p.cmd.Process.Pid
	entry, err := environment.Process(i.name, pid)
	if err == nil {
		err = s.register.Add(entry)
	}
	i.pid.Store(int64(pid))
	go func() {
		p.err = p.cmd.Wait()
		_ = syscall.Kill(-pid, syscall.SIGKILL) // what is left of its group
		if entry.PID != 0 {
			_ = s.register.Done(entry) // too much in the register is no harm: Clean compares start times
		}
		close(p.exited)
	}()
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		<-p.exited
		p.exited = make(chan struct{})
		i.pid.Store(0)
		return err
	}
	return nil
}

// end stops a process in good order, or at once, and waits until it is gone.
func (p *running) end(i *instance, o order, grace time.Duration) {
	select {
	case <-p.exited: // its number may belong to somebody else by now
		return
	default:
	}
	pid := p.cmd.Process.Pid
	if !o.kill {
		_ = syscall.Kill(-pid, syscall.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.exited:
			return
		case <-timer.C:
			i.note("it did not end within %s of SIGTERM and is killed", grace)
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-p.exited
}

// note writes a line of the supervisor's into the instance's log.
func (i *instance) note(format string, args ...any) {
	f, err := os.OpenFile(i.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the log is for people; the caller has the error itself
	}
	fmt.Fprintf(f, "supervisor: "+format+"\n", args...)
	_ = f.Close()
}
