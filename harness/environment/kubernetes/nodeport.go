package kubernetes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodePort is a NodePort of a cluster that only this run uses.
type nodePort struct {
	number int
	hold   net.Listener
}

func (l *nodePort) close() { _ = l.hold.Close() } // an abstract socket has nothing to remove

// leasePorts takes so many NodePorts of those that are mapped. A name in the abstract namespace keeps other runs from the
// same ones; those that a run which was killed has left in use are passed over.
func (k *cluster) leasePorts(ctx context.Context, count int) (all []*nodePort, err error) {
	used := map[int]bool{}
	list, err := k.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("lease NodePorts: %w", err)
	}
	for _, s := range list.Items {
		for _, p := range s.Spec.Ports {
			used[int(p.NodePort)] = true
		}
	}
	for _, offset := range rand.Perm(nodePorts) {
		number := firstNodePort + offset
		if used[number] || k.ports[number] == 0 {
			continue
		}
		hold, err := net.Listen("unix", fmt.Sprintf("@backout-%s-%d", k.name, number))
		if err != nil {
			continue
		}
		if all = append(all, &nodePort{number, hold}); len(all) == count {
			return all, nil
		}
	}
	for _, l := range all {
		l.close()
	}
	return nil, fmt.Errorf("lease %d NodePorts of the cluster %s: only %d of %d are free: run fewer drills side by side, or backout clean", count, k.name, len(all), nodePorts)
}
