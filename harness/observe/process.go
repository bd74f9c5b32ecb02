package observe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"backout/harness/evidence"
)

// usage measures CPU and memory of a process from /proc.
type usage struct {
	pid     int
	samples []cpuSample // of the last second, oldest first
}

type cpuSample struct {
	t       evidence.Offset
	seconds float64 // of CPU, since the process started
}

// The kernel counts CPU in steps of 10 ms, so cores are taken over about a second.
const usageWindow = evidence.Offset(1)

// process is the cores that a process used over the last second and its resident set in bytes; 0 and 0 when there is
// no such process.
func (u *usage) process(pid int, t evidence.Offset) (cores float64, bytes int64) {
	if pid == 0 {
		return u.gone()
	}
	p, err := procfs.NewProc(pid)
	if err != nil {
		return u.gone()
	}
	s, err := p.Stat()
	if err != nil {
		return u.gone()
	}
	return u.add(pid, t, s.CPUTime()), int64(s.ResidentMemory())
}

// tree is the same of a postmaster and its children. Backends that have ended count through the postmaster, which has
// waited for them. Memory is what each process has for itself plus the largest share of shared memory that one of them
// has touched: a sum of resident sets would count the shared buffers once for each backend.
func (u *usage) tree(pid int, t evidence.Offset) (cores float64, bytes int64) {
	if pid == 0 {
		return u.gone()
	}
	parent, err := procfs.NewProc(pid)
	if err != nil {
		return u.gone()
	}
	s, err := parent.Stat()
	if err != nil {
		return u.gone()
	}
	const userHZ = 100 // of Linux on all architectures that Go runs on, man 7 time
	cpu := s.CPUTime() + float64(s.CUTime+s.CSTime)/userHZ
	own, shared := memory(pid)
	for _, child := range children(pid) {
		p, err := procfs.NewProc(child)
		if err != nil {
			continue
		}
		if s, err := p.Stat(); err == nil {
			cpu += s.CPUTime()
		}
		o, sh := memory(child)
		own, shared = own+o, max(shared, sh)
	}
	return u.add(pid, t, cpu), own + shared
}

func (u *usage) gone() (float64, int64) {
	u.pid, u.samples = 0, nil
	return 0, 0
}

func (u *usage) add(pid int, t evidence.Offset, seconds float64) float64 {
	if pid != u.pid {
		u.pid, u.samples = pid, nil
	}
	u.samples = append(u.samples, cpuSample{t, seconds})
	for len(u.samples) > 2 && t-u.samples[1].t >= usageWindow {
		u.samples = u.samples[1:]
	}
	first := u.samples[0]
	if t-first.t < usageWindow/4 { // too short for the kernel's steps
		return 0
	}
	return max(0, (seconds-first.seconds)/float64(t-first.t))
}

// memory is the bytes that a process has for itself and those of shared memory and files that it has mapped and
// touched. Source: /proc/PID/statm, man 5 proc.
func memory(pid int) (own, shared int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0
	}
	f := strings.Fields(string(text))
	if len(f) < 3 {
		return 0, 0
	}
	resident, _ := strconv.ParseInt(f[1], 10, 64)
	share, _ := strconv.ParseInt(f[2], 10, 64)
	page := int64(os.Getpagesize())
	return (resident - share) * page, share * page
}

// children of a process. Where the kernel has no list of them, all processes are asked for their parent.
func children(pid int) []int {
	var found []int
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)); err == nil {
		for f := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				found = append(found, child)
			}
		}
		return found
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	for _, p := range all {
		if s, err := p.Stat(); err == nil && s.PPID == pid {
			found = append(found, p.PID)
		}
	}
	return found
}

// machine writes the load of the machine, a condition under which the figures of a drill were made.
func (o *Observer) machine() {
	t := o.track("load")
	defer t.end()
	every(o.ctx, min(o.Beat, time.Second), func() {
		began := o.Log.Now()
		p := &evidence.Probe{Name: "load", Unit: "processes"}
		fs, err := procfs.NewDefaultFS()
		if err == nil {
			var load *procfs.LoadAvg
			if load, err = fs.LoadAvg(); err == nil {
				p.Value, p.OK = load.Load1, true
			}
		}
		if err != nil {
			p.Error = err.Error()
			t.lost(began, p.Error)
		} else {
			t.read()
		}
		o.Log.Put(p)
	})
}
