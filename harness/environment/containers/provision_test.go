package containers

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
		case "harness":
			harness(os.Args[2], os.Args[3])
		}
	}
	os.Exit(m.Run())
}

// harness is a run that is killed: it provisions, says so, and waits for its end.
func harness(register, temp string) {
	env, err := New(environment.Options{Register: register, Temp: temp})
	if err == nil {
		err = env.Provision(context.Background(), sample(100, func(string) {}))
	}
	fmt.Println("provisioned:", err)
	select {}
}

func TestAKilledHarnessLeavesNothingAfterClean(t *testing.T) {
	docker(t)
	register, temp := t.TempDir(), t.TempDir()
	cmd := exec.Command(os.Args[0], "harness", register, temp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if line != "provisioned: <nil>\n" {
		t.Error(line)
	}
	entries, err := filepath.Glob(filepath.Join(register, "*.ndjson"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("found %v in the register: %v", entries, err)
	}
	token := strings.TrimSuffix(filepath.Base(entries[0]), ".ndjson")
	if left := labelled(t, Label+"="+token); len(left) < 12 {
		t.Errorf("a killed run leaves what it had started, found %v", left)
	}
	removed, err := environment.Clean(context.Background(), register, map[string]environment.Cleaner{environment.KindContainers: Clean})
	if err != nil || len(removed) < 12 {
		t.Errorf("removed %v: %v", removed, err)
	}
	if left := labelled(t, Label+"="+token); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// docker skips a test where no container can be started.
func docker(t testing.TB) {
	t.Helper()
	if why := Lacks(nil); why != "" {
		t.Skip("left out: " + why)
	}
}

func fixtures(t testing.TB, rows int) environment.Need {
	return sample(rows, func(text string) { t.Log(text) })
}

// sample is the need of a drill of the sample with all that there can be.
func sample(rows int, progress func(string)) environment.Need {
	must := func(err error) {
		if err != nil {
			panic(err) // the fixtures are part of the project
		}
	}
	dir, err := filepath.Abs("../../../fixtures/services")
	must(err)
	load := func(name, release string) (*service.Service, *service.Release) {
		s, err := service.Load(filepath.Join(dir, name, "service.yaml"))
		must(err)
		r, err := s.Release(release)
		must(err)
		return s, r
	}
	shop, v1 := load("shop", "v1")
	billing, b1 := load("billing", "v1")
	return environment.Need{Service: shop, Dependants: []*service.Service{billing}, Good: v1, Releases: map[string]*service.Release{"billing": b1},
		Streaming: true, Logical: true, Rows: map[string]int{"orders": rows}, Progress: progress}
}

func options(t testing.TB) environment.Options {
	return environment.Options{Register: t.TempDir(), Temp: t.TempDir()}
}

// provisioned is an environment with the sample in it.
func provisioned(t testing.TB, o environment.Options, need environment.Need) *stage {
	t.Helper()
	env, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if err := env.Provision(ctx, need); err != nil {
		t.Fatal(err)
	}
	return env.(*stage)
}

// script runs a command as a plan does: with the platform's variables and nothing else.
func script(t testing.TB, s *stage, dir, command string) (string, error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for _, vars := range []map[string]string{s.Platform(), s.Variables()} {
		for k, v := range vars {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serves is the release that an instance says it is.
func serves(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Release")
}

// labelled is what carries a run's label, or any run's.
func labelled(t testing.TB, label string) (found []string) {
	t.Helper()
	for what, args := range map[string][]string{
		"container": {"ps", "-a", "--format", "{{.Names}}"},
		"network":   {"network", "ls", "--format", "{{.Name}}"},
		"volume":    {"volume", "ls", "--format", "{{.Name}}"},
	} {
		out, err := exec.Command("docker", append(args, "--filter", "label="+label)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(string(out)) {
			if what == "network" && miscountedByDocker(t, name) {
				continue
			}
			found = append(found, what+" "+name)
		}
	}
	return found
}

// miscountedByDocker says of a network that is left that it is not left by us.
func miscountedByDocker(t testing.TB, name string) bool {
	t.Helper()
	is, err := Miscounted(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if is {
		t.Logf("an empty network stays, which Docker cannot remove before it is started anew: %s", name)
	}
	return is
}

func TestProvisionDeployMigrateAndDestroy(t *testing.T) {
	docker(t)
	need := fixtures(t, 1000)
	s := provisioned(t, options(t), need)
	ctx := context.Background()
	for _, n := range s.Nodes() {
		got, err := database.Ask[int](ctx, n.URL, "select count(*) from orders")
		if err != nil || got != 1000 || n.PID() == 0 {
			t.Errorf("%s: %d orders, process %d, %v", n.Name, got, n.PID(), err)
		}
	}
	for _, i := range s.Instances() {
		if i.PID() == 0 || i.Restarts() != 0 || serves(t, i.URL) != "v1" {
			t.Errorf("%s: process %d, %d restarts, serves %s", i.Name, i.PID(), i.Restarts(), serves(t, i.URL))
		}
	}

	// Whatever is published is on 127.0.0.1.
	out, err := exec.Command("docker", "ps", "--filter", "label="+Label+"="+s.engine.token, "--format", "{{.Ports}}").Output()
	if err != nil || !strings.Contains(string(out), "127.0.0.1:") {
		t.Fatalf("nothing is published: %s %v", out, err)
	}
	for port := range strings.SplitSeq(strings.ReplaceAll(string(out), "\n", ","), ",") {
		if strings.Contains(port, "->") && !strings.HasPrefix(strings.TrimSpace(port), "127.0.0.1:") {
			t.Errorf("published elsewhere than on 127.0.0.1: %s", port)
		}
	}

	// A release is deployed by the tag of its image, and its migration runs as a job from that image.
	bad, err := need.Service.Release("v2-drops-coupon")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.Stage(ctx, bad, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if out, err := script(t, s, dir, "./deploy.containers v2-drops-coupon shop-2"); err != nil || !strings.Contains(out, "shop-2 runs v2-drops-coupon") {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("one instance was deployed in %s", time.Since(begun))
	for _, i := range s.Instances() {
		want, restarts := "v1", 0
		if i.Name == "shop-2" {
			want, restarts = "v2-drops-coupon", 1
		}
		if got := serves(t, i.URL); got != want || i.Restarts() != restarts {
			t.Errorf("%s serves %s after %d restarts", i.Name, got, i.Restarts())
		}
	}
	if out, err := script(t, s, dir, `./migrate.containers v2-drops-coupon "$DATABASE_URL" up-to 5`); err != nil || !strings.Contains(out, "00005_") {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := script(t, s, dir, `./migrate.containers v1 "$DATABASE_URL" down-to 4`); err == nil {
		t.Errorf("the image of before takes a migration back that it does not have: %s", out)
	}

	// What ends by itself is started again, and that is counted.
	if _, err := s.engine.call(ctx, "streaming", "true"); err != nil {
		t.Error(err)
	}
	pid := s.Instances()[0].PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = environment.Until(wait, "shop-1 runs again", func(context.Context) error {
		if i := s.Instances()[0]; i.PID() == pid || i.PID() == 0 || i.Restarts() != 1 {
			return fmt.Errorf("process %d, %d restarts", i.PID(), i.Restarts())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	c, err := s.Clone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := database.Ask[int](ctx, c.DatabaseURL, "select count(*) from orders"); err != nil || n != 1000 || serves(t, c.URLs["shop"]) != "v1" {
		t.Errorf("the clone has %d orders: %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}

	if out, err := script(t, s, dir, `"$SUPERVISOR" status; "$SUPERVISOR" image shop-2; "$CACHE_CLI" -u "$CACHE_URL" ping`); err != nil ||
		!strings.Contains(out, "in, ready") || !strings.Contains(out, ":v2-drops-coupon\n") || !strings.Contains(out, "PONG") {
		t.Errorf("%v: %s", err, out)
	}

	token := s.engine.token
	if err := s.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if left := labelled(t, Label+"="+token); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if text := s.Log("primary"); !strings.Contains(text, "ready to accept connections") {
		t.Errorf("the log of the primary is not kept: %s", text)
	}
}
