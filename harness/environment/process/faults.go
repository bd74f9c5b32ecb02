package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"backout/harness/environment/links"
	"backout/harness/environment/ports"
	"backout/harness/environment/wiring"
	"backout/harness/fault"
	"backout/harness/service"
)

// Faults implements environment.Environment. Processes of one machine share its network, its disk and its clock, and come
// from no registry.
func (m *machine) Faults() fault.Place {
	return fault.Place{
		State: m.stateOf,
		Pause: m.pause, Resume: m.resume,
		Kill: m.kill, Start: m.start,
		Lead: m.lead,
		Link: m.setLink, LinkState: m.linkState,
	}
}

// openPrimary gives the primary an address of its own behind the one by which everybody reaches it, when the drill wants it to
// fail over.
func (m *machine) openPrimary() error {
	if m.wiring.Ports["primary"] == 0 || !slices.Contains(m.need.Faults, "failover") {
		return nil
	}
	own, err := ports.Take()
	if err != nil {
		return err
	}
	m.leases = append(m.leases, own)
	name := m.wiring.Ports["primary"]
	if m.forward, err = links.NewForward(fmt.Sprintf("127.0.0.1:%d", name), fmt.Sprintf("127.0.0.1:%d", own.Port)); err != nil {
		return err
	}
	m.onDestroy("the primary's address", func(context.Context) error { return m.forward.Close() })
	m.primaryPort = own.Port
	return nil
}

// listens is the port on which a node itself listens.
func (m *machine) listens(role string) int {
	if role == "primary" && m.primaryPort != 0 {
		return m.primaryPort
	}
	return m.wiring.Ports[role]
}

// lead has the address of the primary lead to another node.
func (m *machine) lead(_ context.Context, from, to string) error {
	if m.forward == nil || from != "primary" {
		return fmt.Errorf("%s has no address that can be led elsewhere: the drill did not declare a failover of it", from)
	}
	_, n, err := m.subject(to)
	if err != nil {
		return err
	}
	if n == nil {
		return fmt.Errorf("%s is no node", to)
	}
	m.forward.Lead(fmt.Sprintf("127.0.0.1:%d", m.listens(to)))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads = n
	return nil
}

// subject is what a fault is done to: an instance, or else a node.
func (m *machine) subject(name string) (*instance, *node, error) {
	m.mu.Lock()
	nodes, supervisor := m.nodes, m.supervisor
	m.mu.Unlock()
	var names []string
	for _, n := range nodes {
		if n.name == name {
			return nil, n, nil
		}
		names = append(names, n.name)
	}
	if supervisor == nil {
		return nil, nil, errors.New("nothing runs yet")
	}
	i, err := supervisor.find(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w, and the nodes %s", err, strings.Join(names, ", "))
	}
	return i, nil, nil
}

// processes are those of an instance or a node that there are now, its first one in front.
func processes(i *instance, n *node) ([]procfs.ProcStat, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	all, err := fs.AllProcs()
	if err != nil {
		return nil, err
	}
	first := 0
	if i != nil {
		first = int(i.pid.Load())
	} else if server := n.now(); !ended(server.Wait()) {
		first = server.PID()
	}
	if first == 0 {
		return nil, nil
	}
	var found []procfs.ProcStat
	for _, p := range all {
		st, err := p.Stat()
		if err != nil || st.State == "Z" || st.State == "X" {
			continue // it ended meanwhile
		}
		// What an instance starts stays in its group; each child of a postmaster has a group of its own.
		if st.PID == first || i != nil && st.PGRP == first || n != nil && st.PPID == first {
			found = append(found, st)
		}
	}
	slices.SortStableFunc(found, func(a, b procfs.ProcStat) int {
		return map[bool]int{true: 0, false: 1}[a.PID == first] - map[bool]int{true: 0, false: 1}[b.PID == first]
	})
	return found, nil
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// stateOf asks the operating system.
func (m *machine) stateOf(_ context.Context, name string) (fault.State, error) {
	i, n, err := m.subject(name)
	if err != nil {
		return "", err
	}
	return stateOf(i, n)
}

func stateOf(i *instance, n *node) (fault.State, error) {
	all, err := processes(i, n)
	if err != nil {
		return "", err
	}
	stopped := 0
	for _, p := range all {
		if p.State == "T" {
			stopped++
		}
	}
	switch {
	case len(all) == 0:
		return fault.Gone, nil
	case stopped == len(all):
		return fault.Paused, nil
	}
	return fault.Running, nil
}

// signalAll sends it to every process of an instance or a node, again until it is in a state. The first one comes first, so that it
// starts no other.
func signalAll(ctx context.Context, i *instance, n *node, sig syscall.Signal, until func(fault.State) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := processes(i, n)
		if err != nil {
			return err
		}
		for _, p := range all {
			if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("%s to process %d: %w", sig, p.PID, err)
			}
		}
		state, err := stateOf(i, n)
		if err != nil || until(state) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is %s after %s: %w", state, sig, ctx.Err())
		case <-tick.C:
		}
	}
}

func (m *machine) pause(ctx context.Context, name string) error {
	i, n, err := m.subject(name)
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	if i != nil {
		if err := i.hold("paused"); err != nil {
			return fmt.Errorf("pause: %w", err)
		}
	}
	if err := signalAll(ctx, i, n, syscall.SIGSTOP, func(s fault.State) bool { return s == fault.Paused }); err != nil {
		return fmt.Errorf("pause %s: %w", name, err)
	}
	return nil
}

func (m *machine) resume(ctx context.Context, name string) error {
	i, n, err := m.subject(name)
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if i != nil {
		defer i.release()
	}
	if err := signalAll(ctx, i, n, syscall.SIGCONT, func(s fault.State) bool { return s != fault.Paused }); err != nil {
		return fmt.Errorf("resume %s: %w", name, err)
	}
	return nil
}

func (m *machine) kill(ctx context.Context, name string) error {
	i, n, err := m.subject(name)
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	if i != nil {
		if err := i.hold("gone"); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
	}
	// A postmaster that is stopped first neither starts others nor ends them in good order.
	if err := signalAll(ctx, i, n, syscall.SIGSTOP, func(s fault.State) bool { return s != fault.Running }); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	all, err := processes(i, n)
	if err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	for _, p := range all {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s: process %d: %w", name, p.PID, err)
		}
	}
	if err := waitEnded(ctx, all); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	return nil
}

// waitEnded waits until none of these processes is there: whoever comes next wants their port and their shared memory.
func waitEnded(ctx context.Context, all []procfs.ProcStat) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, p := range all {
		for {
			proc, err := procfs.NewProc(p.PID)
			if err != nil {
				break
			}
			if st, err := proc.Stat(); err != nil || st.Starttime != p.Starttime || st.State == "Z" {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("process %d is still there: %w", p.PID, ctx.Err())
			case <-tick.C:
			}
		}
	}
	return nil
}

// start has an instance started as its link leads now, and a node from its directory, on the same port.
func (m *machine) start(ctx context.Context, name string) error {
	i, n, err := m.subject(name)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if i != nil {
		i.release()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i.pid.Load() == 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("start %s: %w", name, ctx.Err())
			case <-tick.C:
			}
		}
		return nil
	}
	was := n.now()
	select {
	case <-was.Wait(): // its parent may learn of its end later than we did
	case <-ctx.Done():
		return fmt.Errorf("start %s: process %d is there: %w", name, was.PID(), ctx.Err())
	}
	server, err := m.startNode(ctx, n.name, n.start)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.server = server
	n.mu.Unlock()
	return m.ended(was.PID())
}

// endNode ends a node for good, whatever was done to it.
func (m *machine) endNode(ctx context.Context, n *node) error {
	// A postmaster that is stopped ends nobody, and whom it does not end stays.
	resumed := signalAll(ctx, nil, n, syscall.SIGCONT, func(s fault.State) bool { return s != fault.Paused })
	server := n.now()
	return errors.Join(resumed, server.Kill(ctx), m.ended(server.PID()))
}

// linkName is the link between a service and a node.
func linkName(service, node string) string { return service + "/" + node }

// openLinks puts the connections of services to their databases through links, when the drill wants to disturb them.
func (m *machine) openLinks() error {
	if !slices.Contains(m.need.Faults, "slow") && !slices.Contains(m.need.Faults, "drop") {
		return nil
	}
	m.links = links.New()
	m.onDestroy("links", func(context.Context) error { return m.links.Close() })
	m.linkPorts = map[string]int{}
	for _, s := range wiring.ThatRun(m.need, service.InProcesses) {
		for node, port := range m.wiring.Ports {
			l, err := ports.Take()
			if err != nil {
				return err
			}
			m.leases = append(m.leases, l)
			name := linkName(s.Name, node)
			if err := m.links.Open(name, fmt.Sprintf("127.0.0.1:%d", l.Port), fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
				return err
			}
			m.linkPorts[name] = l.Port
		}
	}
	return nil
}

// linked is where the instances of a service find everything.
func (m *machine) linked(s *service.Service) wiring.Wiring {
	w := m.wiring
	if m.links == nil {
		return w
	}
	w.Ports = maps.Clone(w.Ports)
	for node := range w.Ports {
		w.Ports[node] = m.linkPorts[linkName(s.Name, node)]
	}
	return w
}

// eachLink does something to every link of a service.
func (m *machine) eachLink(service string, do func(name string) error) error {
	if m.links == nil {
		return errors.New("the connections go through no links: the drill did not declare that it disturbs them")
	}
	found := false
	for node := range m.wiring.Ports {
		name := linkName(service, node)
		if _, is := m.linkPorts[name]; !is {
			continue
		}
		found = true
		if err := do(name); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s has no connection to a database", service)
	}
	return nil
}

func (m *machine) setLink(ctx context.Context, service string, to fault.LinkState) error {
	return m.eachLink(service, func(name string) error { return m.links.Set(ctx, name, to) })
}

// linkState is that of all links of a service. Some that are open beside others that are not are no state, and how long an
// answer takes is what the fastest one takes.
func (m *machine) linkState(ctx context.Context, service string) (answer time.Duration, open bool, err error) {
	seen := 0
	err = m.eachLink(service, func(name string) error {
		took, is, err := m.links.Measure(ctx, name)
		if err != nil {
			return err
		}
		if seen++; seen > 1 && is != open {
			return fmt.Errorf("some links of %s are open and others are not", service)
		}
		if seen == 1 || took < answer {
			answer = took
		}
		open = is
		return nil
	})
	return answer, open, err
}
