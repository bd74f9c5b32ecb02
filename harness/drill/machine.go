package drill

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine is what this machine is, for the conditions of the run. What cannot be read is left out.
func machine() map[string]string {
	m := map[string]string{"cores": fmt.Sprint(runtime.NumCPU()), "system": runtime.GOOS + "/" + runtime.GOARCH}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m["load at the start"] = strings.Join(strings.Fields(string(load))[:1], "")
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m["kernel"] = strings.TrimSpace(string(release))
	}
	if memory, err := os.ReadFile("/proc/meminfo"); err == nil {
		if line, _, ok := strings.Cut(string(memory), "\n"); ok {
			m["memory"] = strings.TrimSpace(strings.TrimPrefix(line, "MemTotal:"))
		}
	}
	return m
}
