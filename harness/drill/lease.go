package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/database"
	"backout/harness/environment/kubernetes"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/service"
)

// leaseVariable is what leads to the lease's database where service.yaml names no variable.
const leaseVariable = "ROLLBACK_LEASE_URL"

// leaseRole owns the lease's database and nothing else.
const leaseRole = "rollback_lease"

// lease starts a small server for the lease of a drill, in which nothing is that a rollback could restore, on this machine in
// every kind of environment: here the plans run too. It returns the variable that leads to it, and its value.
func (d *Drill) lease(ctx context.Context) (name, url string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the database of the lease: %w", err)
		}
	}()
	programs, err := postgres.Find("")
	if err != nil {
		return "", "", err
	}
	register, err := environment.RegisterDir()
	if err != nil {
		return "", "", err
	}
	reg, err := environment.OpenRegister(register)
	if err != nil {
		return "", "", err
	}
	d.onExit(func(context.Context) error { return reg.Remove() })
	dir, err := reg.Directory(os.TempDir())
	if err != nil {
		return "", "", err
	}
	d.onExit(func(context.Context) error { return artefact.RemoveTree(dir) })
	data, password := filepath.Join(dir, "lease"), database.NewPassword()
	d.log.Hide(password)
	if err := programs.Init(ctx, data, password); err != nil {
		return "", "", err
	}
	if err := reg.Add(environment.Entry{Kind: environment.KindProcess, Name: "lease"}); err != nil {
		return "", "", err
	}
	server, err := programs.Start(ctx, postgres.Start{Dir: data, LogFile: filepath.Join(dir, "lease.log"),
		Settings: map[string]string{"shared_buffers": "4MB", "max_connections": "20", "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off"},
		Started: func(pid int) error {
			e, err := environment.Process("lease", pid)
			if err != nil {
				return err
			}
			return reg.Add(e)
		}})
	if err != nil {
		return "", "", err
	}
	d.onExit(func(ctx context.Context) error {
		return errors.Join(server.Kill(ctx), reg.Done(environment.Entry{Kind: environment.KindProcess, PID: server.PID()}))
	})
	pool, err := postgres.Open(ctx, server.URL(password, "postgres"))
	if err != nil {
		return "", "", err
	}
	defer pool.Close()
	for _, sql := range []string{"create role " + leaseRole + " login password '" + password + "'", "create database " + leaseRole + " owner " + leaseRole} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return "", "", err
		}
	}
	name = leaseVariable
	if l := d.spec.Service.Lock; l != nil && l.Postgres != "" {
		name = l.Postgres
	}
	return name, postgres.URL("127.0.0.1", server.Port(), leaseRole, password, leaseRole), nil
}

// takesTurns has the runner take a lease beside the lock, where the service or the scenario says so. In a drill it is one of the
// drill's own: a Lease in its namespace where service.yaml has one and the drill is in a cluster of kind, else a row in a database.
func (d *Drill) takesTurns(ctx context.Context) error {
	if !d.spec.leases() {
		return nil
	}
	expiry := leaseExpiry(d.spec.Service)
	if d.spec.leaseInCluster(d.o.Environment) {
		at := d.env.Platform()
		d.runner.Lease = &rollback.Lease{Cluster: &rollback.LeaseCluster{Kubeconfig: at["KUBECONFIG"], Namespace: at["NAMESPACE"]}, Expiry: expiry}
		return nil
	}
	name, url, err := d.lease(ctx)
	if err != nil {
		return err
	}
	d.runner.Lease = &rollback.Lease{URL: url, Expiry: expiry}
	d.runner.Vars[name] = url
	return nil
}

// clusterOf is where the Lease is that service.yaml names; nil: it names none.
func clusterOf(l *service.Lock) *rollback.LeaseCluster {
	if l.Kubernetes == nil {
		return nil
	}
	return &rollback.LeaseCluster{Context: l.Kubernetes.Context, Namespace: l.Kubernetes.Namespace}
}

func leaseExpiry(s *service.Service) time.Duration {
	if s.Lock != nil {
		return s.Lock.Expires
	}
	return rollback.LeaseExpiry
}

// leases says whether rollbacks take turns by a lease.
func (s *Spec) leases() bool { return s.Lease || s.LeaseInCluster || s.Service.Lock != nil }

// leaseInCluster says whether that is a Lease of Kubernetes.
func (s *Spec) leaseInCluster(env string) bool {
	return s.LeaseInCluster || s.Service.Lock != nil && s.Service.Lock.Kubernetes != nil && env == kubernetes.Name
}

// elsewhere is another machine's copy of the deployed directory, where the lock of this one is not seen.
func (d *Drill) elsewhere(ctx context.Context) (dir string, err error) {
	dir = d.runner.Dir + "-elsewhere"
	if err := artefact.CopyTree(ctx, d.runner.Dir, dir, nil); err != nil {
		return "", fmt.Errorf("copy the deployed directory for %s: %w", secondOperator, err)
	}
	d.onExit(func(context.Context) error { return artefact.RemoveTree(dir) })
	return dir, nil
}
