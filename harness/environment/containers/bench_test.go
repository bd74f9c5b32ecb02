package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"backout/harness/environment/wiring"
	"backout/harness/service"
)

// BenchmarkProvisionBesideDockerRun provisions the sample with 100,000 orders, a streaming and a logical replica in sync and
// three instances ready, and has a script do the same by docker run, in turn, with the same images and the same data.
func BenchmarkProvisionBesideDockerRun(b *testing.B) {
	docker(b)
	need := sample(100000, func(string) {})
	ctx := context.Background()
	warm := provisioned(b, options(b), need)
	vars := scriptVariables(b, ctx, warm)
	if err := warm.Destroy(ctx); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		env, err := New(options(b))
		if err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		err = env.Provision(ctx, need)
		ours := time.Since(begun).Seconds()
		if gone := env.Destroy(ctx); err != nil || gone != nil {
			b.Fatal(err, gone)
		}
		script := filepath.Join("../../../fixtures/by-docker-run/provision")
		run := func(args ...string) error {
			cmd := exec.Command(script, args...)
			cmd.Env = append(os.Environ(), vars...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		begun = time.Now()
		err = run()
		theirs := time.Since(begun).Seconds()
		if gone := run("down"); err != nil || gone != nil {
			b.Fatal(err, gone)
		}
		b.Logf("provisioned by Backout in %.1f s, by docker run in %.1f s: %.2f times", ours, theirs, ours/theirs)
		b.ReportMetric(ours, "backout-s")
		b.ReportMetric(theirs, "docker-run-s")
		b.ReportMetric(ours/theirs, "times")
	}
}

// scriptVariables are what the script needs: images and a template that a run has made.
func scriptVariables(b *testing.B, ctx context.Context, s *stage) []string {
	b.Helper()
	r, err := s.recipe(ctx)
	if err != nil {
		b.Fatal(err)
	}
	t, err := s.template(ctx, r)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.unlock)
	vars := []string{"POSTGRES=" + s.use.postgres, "REDIS=" + s.use.redis, "PRIMARY=" + t.volume("primary"), "LOGICAL=" + t.volume("logical"),
		"PASSWORD=" + t.Password, "NAME=by-hand-" + s.engine.token}
	for name, of := range map[string]*service.Service{"SHOP": s.need.Service, "BILLING": s.need.Dependants[0]} {
		image, err := s.build(ctx, of, wiring.Release(s.need, of))
		if err != nil {
			b.Fatal(err)
		}
		vars = append(vars, name+"="+image)
	}
	return slices.Sorted(slices.Values(vars))
}
