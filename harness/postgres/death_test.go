package postgres_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"backout/harness/postgres"
)

// TestServerDiesWithTheHarness runs this test once more as a harness that is killed while its server runs.
func TestServerDiesWithTheHarness(t *testing.T) {
	const dirOf = "POSTGRES_TEST_DIR"
	b := binaries(t)
	if dir := os.Getenv(dirOf); dir != "" {
		s, err := b.Start(t.Context(), postgres.Start{Dir: dir, LogFile: dir + ".log"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\npid %d\n", s.PID())
		<-s.Wait() // killed meanwhile
		return
	}
	dir := filepath.Join(open(t), "data")
	if err := b.Init(t.Context(), dir, password); err != nil {
		t.Fatal(err)
	}
	harness := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerDiesWithTheHarness$")
	harness.Env = append(os.Environ(), dirOf+"="+dir)
	harness.Stderr = os.Stderr
	out, err := harness.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	var said []string
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		said = append(said, lines.Text())
		if text, is := strings.CutPrefix(lines.Text(), "pid "); is {
			if pid, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pid == 0 {
		t.Fatalf("the harness started no server: %s", strings.Join(said, "\n"))
	}
	if err := harness.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = harness.Wait() // killed
	until(t, "the server is gone", func() bool {
		_, err := os.Stat(filepath.Join(dir, "postmaster.pid"))
		return os.IsNotExist(err) && syscall.Kill(pid, 0) != nil
	})
	if err := postgres.RemoveShared(dir); err != nil {
		t.Error(err)
	}
}
