package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// pace is how long drills took side by side, and what they could not be faster than.
type pace struct {
	drills, parallel int
	took, longest    time.Duration
	busy             time.Duration // that the processors of this machine worked meanwhile, for whomever; 0: not known
	cores            int
}

// String says what limits: the longest drill, or the processors.
func (p pace) String() string {
	least, what := p.longest, "the longest of them"
	if share := p.busy / time.Duration(p.cores); share > least {
		least, what = share, fmt.Sprintf("what %d processors need for all they did", p.cores)
	}
	return fmt.Sprintf("%d drills, up to %d side by side, in %s: %.2f times %s (%s; longest drill %s, processors worked %s)",
		p.drills, p.parallel, p.took.Round(time.Second), p.took.Seconds()/least.Seconds(), what, least.Round(time.Second),
		p.longest.Round(time.Second), p.busy.Round(time.Second))
}

// pacing begins to measure; the function that it returns ends it.
func pacing(parallel int) func(took []time.Duration) pace {
	begun, before := time.Now(), worked()
	return func(took []time.Duration) pace {
		p := pace{drills: len(took), parallel: parallel, took: time.Since(begun), cores: runtime.NumCPU()}
		if after := worked(); before > 0 && after > before {
			p.busy = after - before
		}
		for _, t := range took {
			p.longest = max(p.longest, t)
		}
		return p
	}
}

// worked is the time that all processors have worked since the machine started: user, nice, system, irq and softirq in
// the first line of /proc/stat, in hundredths of a second (proc(5)). 0 where there is no such file.
func worked() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var user, nice, system, idle, iowait, irq, softirq int64
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * 10 * time.Millisecond
}
