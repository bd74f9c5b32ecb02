package process

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/environment/database"
	"backout/harness/service"
)

// fixtures is the sample system of this repository.
func fixtures(t testing.TB, rows int) environment.Need {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the sample services are built by go, which is not on PATH: ", err)
	}
	const home = "../../../fixtures/services/"
	if _, err := os.Stat(home + "shop/service.yaml"); err != nil {
		t.Skip(err)
	}
	load := func(name string) (*service.Service, *service.Release) {
		s, err := service.Load(home + name + "/service.yaml")
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Release("v1")
		if err != nil {
			t.Fatal(err)
		}
		return s, r
	}
	shop, good := load("shop")
	billing, runs := load("billing")
	if lacks := Lacks([]*service.Service{shop, billing}); lacks != "" {
		t.Skip(lacks)
	}
	need := environment.Need{Service: shop, Dependants: []*service.Service{billing}, Good: good,
		Releases: map[string]*service.Release{"billing": runs}, Streaming: true, Logical: true, Progress: func(s string) { t.Log(s) }}
	if rows > 0 {
		need.Rows = map[string]int{"orders": rows}
	}
	return need
}

func TestFixturesRunAndAreDeployed(t *testing.T) {
	need := fixtures(t, 2000)
	m := provision(t, options(t), need)
	ctx := context.Background()
	for _, n := range m.Nodes() {
		got, err := database.Ask[int](ctx, n.URL, "select count(*) from orders")
		if err != nil || got != 2000 {
			t.Errorf("%s has %d orders, %v", n.Name, got, err)
		}
	}
	get(t, m.URL("shop")+"/products")
	r, err := need.Service.Release("v2")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := m.Stage(ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := script(m, dir, "./deploy v2"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, i := range m.Instances() {
		if _, header := get(t, i.URL+"/readyz"); i.Service == "shop" && header.Get(need.Service.Header) != "v2" {
			t.Errorf("%s serves %q", i.Name, header.Get(need.Service.Header))
		}
	}
	clone, err := m.Clone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range clone.URLs {
		get(t, url+"/readyz")
	}
	if err := clone.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkProvisionFixtures is the figure of provisioning: shop with 100,000 orders, both replicas in sync, all
// instances of shop and billing ready; the template and the artefacts are warm.
func BenchmarkProvisionFixtures(b *testing.B) {
	o := options(b)
	need := fixtures(b, 100_000)
	benchmark(b, func() *machine { return provision(b, o, need) })
}

// BenchmarkClone is the side stage of pre-checks.
func BenchmarkClone(b *testing.B) {
	m := provision(b, options(b), fixtures(b, 100_000))
	b.ResetTimer()
	for range b.N {
		c, err := m.Clone(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		begun := time.Now()
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		b.Logf("closed after %s", time.Since(begun))
		b.StartTimer()
	}
}
