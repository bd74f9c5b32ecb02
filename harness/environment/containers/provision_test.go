package containers

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/control"
	"backout/harness/environment/database"
	"backout/harness/environment/gateway"
	"backout/harness/service"
)

// The test program is also what runs in the gateway, and the client of the control socket.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "gateway":
			os.Exit(gateway.Run(os.Stderr))
		case "ctl":
			os.Exit(control.Client(os.Args[2:], os.Stdout, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

// docker skips a test where no container can be started.
func docker(t testing.TB) {
	t.Helper()
	if why := Lacks(nil); why != "" {
		t.Skip("left out: " + why)
	}
}

func fixtures(t testing.TB, rows int) environment.Need {
	t.Helper()
	dir, err := filepath.Abs("../../../fixtures/services")
	if err != nil {
		t.Fatal(err)
	}
	load := func(name, release string) (*service.Service, *service.Release) {
		s, err := service.Load(filepath.Join(dir, name, "service.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Release(release)
		if err != nil {
			t.Fatal(err)
		}
		return s, r
	}
	shop, v1 := load("shop", "v1")
	billing, b1 := load("billing", "v1")
	return environment.Need{Service: shop, Dependants: []*service.Service{billing}, Good: v1, Releases: map[string]*service.Release{"billing": b1},
		Streaming: true, Logical: true, Rows: map[string]int{"orders": rows}, Progress: func(text string) { t.Log(text) }}
}

func options(t testing.TB) environment.Options {
	return environment.Options{Register: t.TempDir(), Temp: t.TempDir()}
}

func TestFixturesRun(t *testing.T) {
	docker(t)
	begun := time.Now()
	env, err := New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	t.Cleanup(func() {
		if err := env.Destroy(ctx); err != nil {
			t.Error(err)
		}
		t.Log("destroyed", time.Since(begun))
	})
	if err := env.Provision(ctx, fixtures(t, 1000)); err != nil {
		t.Fatal(err)
	}
	t.Log("provisioned", time.Since(begun))
	for _, n := range env.Nodes() {
		got, err := database.Ask[int](ctx, n.URL, "select count(*) from orders")
		if err != nil || got < 1000 || n.PID() == 0 {
			t.Errorf("%s: %d orders, process %d, %v", n.Name, got, n.PID(), err)
		}
	}
	for _, i := range env.Instances() {
		if i.PID() == 0 || i.Restarts() != 0 {
			t.Errorf("%s: process %d, %d restarts", i.Name, i.PID(), i.Restarts())
		}
	}
	begun = time.Now()
	c, err := env.Clone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("cloned", time.Since(begun))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
