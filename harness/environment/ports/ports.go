package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// Lease is a loopback port that is free and stays ours while nothing listens on it: an instance that is restarted needs
// its own port back. It lies below the range from which the kernel takes the source ports of outgoing connections, or
// one of traffic's own connections would take it in the meantime; and no other drill leases it, whatever process it
// runs in.
type Lease struct {
	Port int
	hold net.Listener
}

func (l *Lease) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)) }
func (l *Lease) URL() string     { return "http://" + l.Address() }
func (l *Lease) Close() error    { return l.hold.Close() }

func Take() (*Lease, error) {
	low, high := leasable()
	var last error
	for range 200 {
		port := low + rand.IntN(high-low)
		// A name in the abstract namespace needs no file and is gone with the process. It belongs to the same network
		// namespace as the port.
		hold, err := net.Listen("unix", fmt.Sprintf("@backout-port-%d", port))
		if err != nil {
			last = err
			continue
		}
		probe, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			err = probe.Close()
		}
		if err != nil {
			last = errors.Join(err, hold.Close())
			continue
		}
		return &Lease{Port: port, hold: hold}, nil
	}
	return nil, fmt.Errorf("find a free port between %d and %d on 127.0.0.1: none of 200 was free: %w", low, high, last)
}

// leasable is the range below the kernel's own. Source: Documentation/networking/ip-sysctl.rst.
func leasable() (low, high int) {
	const least, span = 10240, 20000
	from := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &from)
	}
	if from < least+2000 { // an unusual machine: the upper end is the best that is left
		return 60000, 65536
	}
	return max(least, from-span), from
}
