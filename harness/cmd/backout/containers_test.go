package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/environment/containers"
	"backout/harness/verdict"
)

// inContainers is a machine whose drills happen in containers, where they can.
func inContainers(t *testing.T) machine {
	t.Helper()
	m := newMachine(t)
	if why := containers.Lacks(nil); why != "" {
		t.Skip("containers are left out: " + why)
	}
	m.in = "containers"
	return m
}

// labelled is what carries the label of these runs, or of any run where none is named.
func labelled(t *testing.T, tokens ...string) (found []string) {
	t.Helper()
	filters := []string{containers.Label}
	if len(tokens) > 0 {
		filters = nil
		for _, token := range tokens {
			filters = append(filters, containers.Label+"="+token)
		}
	}
	for _, label := range filters {
		for _, args := range [][]string{
			{"ps", "-a", "--format", "container {{.Names}}"}, {"network", "ls", "--format", "network {{.Name}}"}, {"volume", "ls", "--format", "volume {{.Name}}"},
		} {
			out, err := exec.Command("docker", append(args, "--filter", "label="+label)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, strings.Split(strings.TrimSpace(string(out)), "\n")...)
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return s == "" || miscounted(t, s) })
}

// miscounted says of what is left that it is a network which Docker cannot remove before it is started anew.
func miscounted(t *testing.T, left string) bool {
	t.Helper()
	name, is := strings.CutPrefix(left, "network ")
	if !is {
		return false
	}
	kept, err := containers.Miscounted(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if kept {
		t.Logf("an empty network stays: %s", name)
	}
	return kept
}

// registers are the files of the environments that this machine's register knows; a drill's handle has one too.
func (m machine) registers() (all []string) {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "state/backout/register/*.ndjson"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range files {
		if text, _ := os.ReadFile(f); bytes.Contains(text, []byte(`"kind":"`+environment.KindContainers+`"`)) { // it may have ended
			all = append(all, f)
		}
	}
	return all
}

// tokens of the runs that have one.
func (m machine) tokens() (tokens []string) {
	m.t.Helper()
	for _, f := range m.registers() {
		tokens = append(tokens, strings.TrimSuffix(filepath.Base(f), ".ndjson"))
	}
	return tokens
}

// A drill in containers that is interrupted or killed leaves no container, network or volume; the one that is killed needs
// backout clean for it.
func TestInterruptedInContainers(t *testing.T) {
	for _, c := range []struct {
		phase, log string
		signal     syscall.Signal
	}{
		{"provisioned", "provision", syscall.SIGTERM},
		{"rolled back", "rollback", syscall.SIGINT},
		{"rolled back", "rollback", syscall.SIGKILL},
	} {
		t.Run(c.signal.String()+" in "+c.log, func(t *testing.T) {
			t.Parallel()
			m := inContainers(t)
			t.Cleanup(func() { m.run("clean") }) // where the test itself fails half-way
			var tokens []string
			code, stderr := m.start(c.phase, func(cmd *exec.Cmd) {
				for begun := time.Now(); len(tokens) == 0 && time.Since(begun) < 30*time.Second; tokens = m.tokens() {
					time.Sleep(10 * time.Millisecond) // until it is registered
				}
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			})
			if len(tokens) != 1 {
				t.Fatalf("one run was expected in the register, found %v", tokens)
			}
			if c.signal == syscall.SIGKILL {
				if left := labelled(t, tokens...); len(left) < 8 {
					t.Errorf("a killed run leaves what it had started, found %v", left)
				}
				if out, code := m.run("clean"); code != 0 || !strings.Contains(out, "removed container") {
					t.Errorf("clean: exit %d:\n%s", code, out)
				}
			} else if code != verdict.ExitInconclusive {
				t.Errorf("exit %d, expected %d\n%s", code, verdict.ExitInconclusive, stderr)
			}
			if left := labelled(t, tokens...); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			m.nothingLeft()
			m.judgedAs(c.log, false)
		})
	}
}

// What Docker has of a run that no register knows is told and left, until it is said which run that is. One that is in the
// register is not removed so.
func TestCleanTellsOfRunsThatItDoesNotKnow(t *testing.T) {
	m := inContainers(t)
	token := strconv.FormatUint(rand.Uint64()>>4|1<<59, 16)
	volume := "volume backout-" + token // not a network: one that is empty is removed by whoever asks whether Docker has miscounted it
	if out, err := exec.Command("docker", "volume", "create", "--label", containers.Label+"="+token, "backout-"+token).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "--force", "backout-"+token).Run() }) // where the test itself fails
	is := func(want bool) {
		t.Helper()
		if got := slices.Contains(labelled(t, token), volume); got != want {
			t.Errorf("the volume is there: %v, expected %v", got, want)
		}
	}

	known, err := environment.OpenRegister(filepath.Join(m.dir, "state/backout/register"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
		left bool
	}{
		{nil, 0, "backout clean --run " + token, true},
		{[]string{"--run", known.Token()}, verdict.ExitBroke, "not in the register", true},
		{[]string{"--run", "0"}, verdict.ExitBroke, "not in the register", true},
		{[]string{"--run", token}, 0, "removed " + volume, false},
		{[]string{"--run", token}, verdict.ExitBroke, "not in the register", false},
	} {
		if out, code := m.run(append([]string{"clean"}, c.args...)...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("clean %v: exit %d, expected %d and %q:\n%s", c.args, code, c.code, c.says, out)
		}
		is(c.left)
	}
	if err := known.Remove(); err != nil {
		t.Error(err)
	}
}

// TestNothingRemains is run after all other tests, alone: no container, network, volume, process or folder of any run is
// left on the machine.
func TestNothingRemains(t *testing.T) {
	if os.Getenv("BACKOUT_LAST") == "" {
		t.Skip("it is run last of all: BACKOUT_LAST=1")
	}
	if containers.Answers() == "" {
		// Clusters stay for later drills, until that is taken back.
		if _, err := drill.RemoveClusters(context.Background(), drill.Place{}); err != nil {
			t.Error(err)
		}
		for _, l := range labelled(t) { // whose it is, from when and what holds it
			kind, name, _ := strings.Cut(l, " ")
			is, _ := exec.Command("docker", kind, "inspect", name).CombinedOutput()
			t.Errorf("left in Docker: %s\n%s", l, is)
		}
		if nodes, err := exec.Command("docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster", "--filter", "name=backout-").Output(); err != nil || len(nodes) > 0 {
			t.Errorf("nodes of clusters are left: %s %v", nodes, err)
		}
		if life, err := environment.NewLife(environment.Options{}); err != nil {
			t.Error(err)
		} else if _, err := os.Stat(filepath.Join(life.Cache, "kind/network")); err == nil {
			t.Error("the network that was made for clusters is left")
		}
	}
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), "backout-*", ".backout-token"))
	if err != nil {
		t.Fatal(err)
	}
	if folders != nil {
		t.Errorf("folders of runs are left: %v", folders)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, proc := range processes {
		folder, _ := os.Readlink(filepath.Join(proc, "cwd")) // a process that has ended meanwhile is not left
		command, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		if strings.HasPrefix(folder, filepath.Join(os.TempDir(), "backout-")) {
			t.Errorf("still running in %s: %s", folder, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
}
