package observe

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/procfs"

	"backout/harness/service"
)

// BenchmarkProbes observes three instances and three nodes at 100 ms for as many seconds as it is told and gives the
// cores that takes: of this process (the fake instances included) and of the backends that answer.
//
//	go test -run '^$' -bench Probes -benchtime 20x ./harness/observe
func BenchmarkProbes(b *testing.B) {
	tr := cluster3(b)
	instances := make([]service.Instance, 3)
	for i := range instances {
		f := newFake(b)
		instances[i] = service.Instance{Name: "shop-" + string(rune('1'+i)), Service: "shop", URL: f.URL, PID: os.Getpid}
	}
	s := record(b)
	o := observe(b, Config{Log: s.log, Nodes: tr.nodes, Instances: func() []service.Instance { return instances },
		Service: &service.Service{Name: "shop", Ready: "/readyz", Header: "X-Release"}})
	for _, n := range tr.nodes() {
		s.await(b, n.Name+" is healthy", 0, healthy(n.Name, n.Role))
	}
	serving := backends(b, tr)
	cpu := func(pids ...int) (seconds float64) {
		for _, pid := range pids {
			p, err := procfs.NewProc(pid)
			if err != nil {
				b.Fatal(err)
			}
			stat, err := p.Stat()
			if err != nil {
				b.Fatal(err)
			}
			seconds += stat.CPUTime()
		}
		return seconds
	}
	own, theirs, events, start := cpu(os.Getpid()), cpu(serving...), s.last(), time.Now()
	b.ResetTimer()
	for range b.N {
		<-time.After(time.Second)
	}
	b.StopTimer()
	took := time.Since(start).Seconds()
	b.ReportMetric((cpu(os.Getpid())-own)/took, "cores-harness")
	b.ReportMetric((cpu(serving...)-theirs)/took, "cores-postgres")
	b.ReportMetric(float64(s.last()-events)/took, "events/s")
	b.ReportMetric(0, "ns/op")
	if err := o.Stop(); err != nil {
		b.Fatal(err)
	}
	for _, g := range s.gaps("") {
		b.Logf("gap: %+v", *g.Gap)
	}
}

func backends(b *testing.B, tr *trio) (pids []int) {
	for _, n := range tr.nodes() {
		c, err := pgx.Connect(b.Context(), n.URL)
		if err != nil {
			b.Fatal(err)
		}
		rows, _ := c.Query(b.Context(), "select pid from pg_stat_activity where application_name = $1", application)
		found, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, found...)
		c.Close(context.Background())
	}
	return pids
}
