package rollback_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/rollback"
	"backout/harness/service"
)

// asOperator in the environment makes this program an operator on a machine of its own, see operate.
const asOperator = "BACKOUT_TEST_OPERATOR"

func TestMain(m *testing.M) {
	if name := os.Getenv(asOperator); name != "" {
		if err := operate(name); err != nil {
			fmt.Println("broke", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// operate does what it reads: "take" takes the lock, "run" runs the plan's steps, "release" gives the lock back.
func operate(name string) error {
	dir := os.Getenv("DIR")
	log, err := evidence.Create(filepath.Join(dir, fmt.Sprintf("log-%d", os.Getpid())), time.Now())
	if err != nil {
		return err
	}
	expiry, err := time.ParseDuration(os.Getenv("EXPIRY"))
	if err != nil {
		return err
	}
	r := &rollback.Runner{Log: log, Service: &service.Service{Name: "shop"}, Dir: dir, Operator: name, Vars: map[string]string{"DATABASE_URL": os.Getenv("DATABASE")},
		Lease: &rollback.Lease{URL: os.Getenv("LEASE"), Expiry: expiry}}
	if namespace := os.Getenv("NAMESPACE"); namespace != "" {
		r.Lease.Cluster = &rollback.LeaseCluster{Kubeconfig: os.Getenv("KUBECONFIG"), Namespace: namespace}
	}
	plan := &service.Plan{Name: "take it back", Env: map[string]string{"DB": "DATABASE_URL"}}
	for i := range 3 {
		plan.Steps = append(plan.Steps, service.Step{Name: fmt.Sprintf("step %d", i+1), Run: os.Getenv("STEP"), Timeout: time.Minute, Again: "safe"})
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		held := new(rollback.Held)
		switch in.Text() {
		case "take":
			err := r.Take(context.Background(), plan)
			switch {
			case errors.As(err, &held):
				fmt.Println("refused", held.Operator)
			case err != nil:
				fmt.Println("broke", err)
			default:
				fmt.Println("held", name)
			}
		case "run":
			err := r.Steps(context.Background(), plan, nil)
			fmt.Println("ran", err)
		case "release":
			fmt.Println("released", r.Release())
		}
	}
	return r.Close()
}

// operator is a process that operates.
type operator struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startOperator(t *testing.T, name string, env ...string) operator {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t: t, cmd: exec.Command(self)}
	o.cmd.Env = append([]string{asOperator + "=" + name, "DIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	o.cmd.Stderr = os.Stderr
	in, err := o.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.in, o.out = in, bufio.NewReader(out)
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = o.cmd.Process.Kill(); _ = o.cmd.Wait() })
	return o
}

func (o operator) say(order string) {
	o.t.Helper()
	if _, err := fmt.Fprintln(o.in, order); err != nil {
		o.t.Fatal(err)
	}
}

func (o operator) hears() string {
	o.t.Helper()
	line, err := o.out.ReadString('\n')
	if err != nil {
		o.t.Fatalf("the operator ended: %v", err)
	}
	return strings.TrimSpace(line)
}

func (o operator) asked(order string) string { o.t.Helper(); o.say(order); return o.hears() }

// rounds is how often, of the environment: a few in each run of the tests, more by make show-8-lock.
func rounds(t *testing.T, few int) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return few
	}
	return n
}

// clusterLeases is a namespace for leases, in a cluster of kind that a drill has made.
func clusterLeases(t *testing.T) (env []string) {
	t.Helper()
	if os.Getenv("BACKOUT_KIND") == "" {
		t.Skip("tests on kind are run by make test-kind")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	var config *rest.Config
	var kubeconfig string
	found, _ := filepath.Glob(filepath.Join(cache, "backout/kind/*.kubeconfig"))
	for _, kubeconfig = range found {
		if config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err == nil {
			break
		}
	}
	if config == nil {
		t.Fatalf("expected a cluster of kind, found none: backout run features/kubernetes/rollout-undo.feature --env kind makes one: %v", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api := client.CoreV1().Namespaces()
	name := fmt.Sprintf("test-%d", time.Now().UnixNano())
	if _, err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return []string{"KUBECONFIG=" + kubeconfig, "NAMESPACE=" + name}
}

// leases is a database for leases, on a server of its own.
func leases(t *testing.T) (s *postgres.Server, url string) {
	t.Helper()
	s = server(t)
	do(t, s.URL(password, "postgres"), "create database leases")
	return s, s.URL(password, "leases")
}

func TestOfOperatorsOnSeveralMachinesOneHoldsTheLease(t *testing.T) {
	_, url := leases(t)
	race(t, rounds(t, 20), "LEASE="+url, "EXPIRY=10s")
}

// A Lease that is held is refused as soon as it is renewed, so the rounds are as long as that takes.
func TestOfOperatorsOneHoldsTheLeaseOfACluster(t *testing.T) {
	race(t, rounds(t, 5), append(clusterLeases(t), "EXPIRY=3s")...)
}

// race has operators on machines of their own try to take a lease at once.
func race(t *testing.T, n int, env ...string) {
	names := []string{"ada", "bob", "cyd", "dan"}
	var all []operator
	for _, name := range names {
		all = append(all, startOperator(t, name, env...))
	}
	won := map[string]int{}
	for round := range n {
		for _, o := range all {
			o.say("take")
		}
		holder, refusedBy := "", []string{}
		for _, o := range all {
			what, who, _ := strings.Cut(o.hears(), " ")
			switch {
			case what == "held" && holder == "":
				holder = who
			case what == "refused":
				refusedBy = append(refusedBy, who)
			default:
				t.Fatalf("race %d: %s %s beside %q", round, what, who, holder)
			}
		}
		if holder == "" || len(refusedBy) != len(all)-1 {
			t.Fatalf("race %d: nobody holds it: %q, refused by %v", round, holder, refusedBy)
		}
		for _, who := range refusedBy {
			if who != holder {
				t.Fatalf("race %d: refused and told of %s, though %s holds it", round, who, holder)
			}
		}
		won[holder]++
		for i, name := range names {
			if name == holder {
				if said := all[i].asked("release"); said != "released <nil>" {
					t.Fatalf("race %d: %s", round, said)
				}
			}
		}
	}
	t.Logf("%d races of %d processes: exactly one holder each, who was %v", n, len(all), won)
}

// sqlStep is a statement that stays in the server for so many seconds, and notes when another session is in the same place.
func sqlStep(seconds float64, before string) string {
	return fmt.Sprintf(`psql -XAtqd "$DB" %s -c "select case when pg_try_advisory_lock(42) then 'alone' else note_two() end, pg_sleep(%g)"`, before, seconds)
}

func TestAHolderIsKilledAndNeverTwoStepsRun(t *testing.T) {
	s, url := leases(t)
	holdersAreKilled(t, s, rounds(t, 3), time.Second, "LEASE="+url)
}

func TestAHolderOfTheLeaseOfAClusterIsKilled(t *testing.T) {
	env := clusterLeases(t)
	s, _ := leases(t)
	holdersAreKilled(t, s, rounds(t, 3), 3*time.Second, env...)
}

// holdersAreKilled kills so many holders of a lease while their statements run in the database of s.
func holdersAreKilled(t *testing.T, s *postgres.Server, rounds int, expiry time.Duration, lease ...string) {
	do(t, s.URL(password, "shop"), "create table two (at timestamptz default clock_timestamp())",
		"create function note_two() returns text language sql as $$ insert into two default values returning 'two' $$",
		"grant all on two to shop_migrator")
	two := func(t *testing.T) (n int) {
		t.Helper()
		if err := session(t, s.URL(password, "shop")).QueryRow(t.Context(), "select count(*) from two").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The statement of the one who is killed outlasts the expiry, and goes on in the server until it is ended there.
	kill := func(t *testing.T, n int, before string, moment func()) {
		env := slices.Clip(append([]string{"EXPIRY=" + expiry.String(), "DATABASE=" + as(s, "shop_migrator")}, lease...))
		longest := time.Duration(0)
		for round := range n {
			first, second := startOperator(t, "ada", append(env, "STEP="+sqlStep(8, before))...), startOperator(t, "bob", append(env, "STEP="+sqlStep(0.02, before))...)
			if said := first.asked("take"); said != "held ada" {
				t.Fatalf("round %d: %s", round, said)
			}
			first.say("run")
			moment()
			if said := second.asked("take"); said != "refused ada" {
				t.Fatalf("round %d: the second one, before the first was killed: %s", round, said)
			}
			if err := first.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			for {
				said := second.asked("take")
				if said == "held bob" {
					break
				}
				if waited := time.Since(killed); said != "refused ada" || waited > expiry+10*time.Second {
					t.Fatalf("round %d: %s after the first was killed: %s", round, waited, said)
				}
			}
			waited := time.Since(killed)
			longest = max(longest, waited)
			if said := second.asked("run"); said != "ran <nil>" {
				t.Fatalf("round %d: %s", round, said)
			}
			if said := second.asked("release"); said != "released <nil>" {
				t.Fatalf("round %d: %s", round, said)
			}
		}
		t.Logf("%d holders killed: the next one had the lease after at most %.2f s, with an expiry of %s; steps that ran at the same time: %d", n, longest.Seconds(), expiry, two(t))
		// What it takes to end sessions and to answer comes on top, which is long on a busy machine.
		if longest > expiry+5*time.Second {
			t.Errorf("the next one was kept waiting for %s", longest)
		}
	}
	t.Run("its sessions carry the token", func(t *testing.T) {
		kill(t, rounds, "", func() { time.Sleep(rand.N(900 * time.Millisecond)) }) // a moment that is drawn stands for no condition
		if n := two(t); n != 0 {
			t.Errorf("%d steps ran beside another one", n)
		}
	})
	// The control: whoever hides its sessions is not found, and the check above sees what follows.
	t.Run("its sessions hide", func(t *testing.T) {
		c := session(t, s.URL(password, "shop"))
		kill(t, 1, "-c 'set application_name to hidden'", func() {
			for seen := 0; seen == 0; {
				if err := c.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'hidden' and query like '%pg_sleep%'").Scan(&seen); err != nil {
					t.Fatal(err)
				}
			}
		})
		if n := two(t); n == 0 {
			t.Error("expected two steps at once, since nobody could find the sessions of the first, found none")
		}
	})
}
