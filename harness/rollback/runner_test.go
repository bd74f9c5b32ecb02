package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"backout/harness/evidence"
	"backout/harness/rollback"
	"backout/harness/service"
)

// events gathers the step events of a runner's log.
type events struct {
	mu  sync.Mutex
	all []evidence.Step
	new chan struct{}
}

// wait waits until an event is there and returns it.
func (e *events) wait(t *testing.T, what string, is func(evidence.Step) bool) evidence.Step {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		i := slices.IndexFunc(e.all, is)
		var s evidence.Step
		if i >= 0 {
			s = e.all[i]
		}
		e.mu.Unlock()
		if i >= 0 {
			return s
		}
		select {
		case <-e.new:
		case <-limit:
			t.Fatalf("waited 30 s for %s; there are %+v", what, e.all)
		}
	}
}

func (e *events) only(t *testing.T, event string) []evidence.Step {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.all), func(s evidence.Step) bool { return s.Event != event })
}

// output is all output, a line an event's piece.
func (e *events) output(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, s := range e.only(t, "output") {
		b.WriteString(s.Output + "\n")
	}
	return b.String()
}

func runner(t *testing.T) (*rollback.Runner, *events) {
	t.Helper()
	log, err := evidence.Create(filepath.Join(t.TempDir(), evidence.File), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	seen := &events{new: make(chan struct{}, 1)}
	log.Tap(func(e evidence.Event) {
		if e.Step == nil {
			return
		}
		seen.mu.Lock()
		seen.all = append(seen.all, *e.Step)
		seen.mu.Unlock()
		select {
		case seen.new <- struct{}{}:
		default:
		}
	})
	r := &rollback.Runner{
		Log:     log,
		Dir:     t.TempDir(),
		Service: &service.Service{Name: "shop", Ready: "/readyz", Header: "X-Release"},
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, seen
}

func run(t *testing.T, r *rollback.Runner, script string, more ...func(*service.Step)) rollback.Outcome {
	t.Helper()
	s := service.Step{Name: "a step", Run: script, Timeout: time.Minute, Again: "safe"}
	for _, f := range more {
		f(&s)
	}
	return r.Run(t.Context(), evidence.PartStep, 1, s, nil)
}

func timeout(d time.Duration) func(*service.Step) { return func(s *service.Step) { s.Timeout = d } }
func expect(output string) func(*service.Step)    { return func(s *service.Step) { s.Output = output } }

func TestHowACommandEnds(t *testing.T) {
	tests := []struct {
		name, script string
		more         []func(*service.Step)
		outcome      string
		exit         int
		err, output  string
	}{
		{"well", "echo done", nil, evidence.StepOK, 0, "", "done\n"},
		{"exactly as written, without -e", "false\necho after", nil, evidence.StepOK, 0, "", "after\n"},
		{"with another code", "echo cannot do it >&2; exit 3", nil, evidence.StepFailed, 3, "exited with 3; last line: cannot do it", "cannot do it\n"},
		{"by a signal of its own", "kill -KILL $$", nil, evidence.StepFailed, 137, "exited with 137", ""},
		{"no such program", "backout-no-such-program", nil, evidence.StepFailed, 127, "exited with 127", "backout-no-such-program: "},
		{"as expected, over two lines", "echo OK 00004; echo OK 00005", []func(*service.Step){expect("(?s)00004.*OK 00005")}, evidence.StepOK, 0, "", "OK 00005"},
		{"not as expected", "echo no migrations to run", []func(*service.Step){expect("OK .*00005")}, evidence.StepUnexpected, 0, `expected its output to match "OK .*00005", found no migrations to run`, ""},
		{"expected and failed", "echo OK 00005; exit 1", []func(*service.Step){expect("OK .*00005")}, evidence.StepFailed, 1, "exited with 1", ""},
		{"expected at the end of a flood", "yes | head -c 9000000; echo OK 00005", []func(*service.Step){expect("OK .*00005\n")}, evidence.StepOK, 0, "", ""},
		{"hangs", "echo waiting; sleep 1000", []func(*service.Step){timeout(100 * time.Millisecond)}, evidence.StepTimeout, 143, "still running after 100ms, ended by SIGTERM; last line: waiting", "waiting\n"},
		{"hangs in a child", "sleep 1000; true", []func(*service.Step){timeout(100 * time.Millisecond)}, evidence.StepTimeout, 143, "ended by SIGTERM", ""},
		{"without a line's end", "printf done", nil, evidence.StepOK, 0, "", "done\n"},
		{"not UTF-8", `printf 'a\377b\n'`, nil, evidence.StepOK, 0, "", "a\uFFFDb\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, seen := runner(t)
			o := run(t, r, test.script, test.more...)
			if o.Outcome != test.outcome || o.Exit != test.exit || !strings.Contains(o.Error, test.err) || (test.err == "") != (o.Error == "") {
				t.Errorf("expected %s, %d, %q, found %+v", test.outcome, test.exit, test.err, o)
			}
			if out := seen.output(t); !strings.Contains(out, test.output) {
				t.Errorf("expected output %q, found %q", test.output, out)
			}
			first, last := seen.only(t, "started"), seen.only(t, "ended")
			if len(first) != 1 || first[0].Command != test.script {
				t.Errorf("expected one started with the command, found %+v", first)
			}
			if len(last) != 1 || last[0].Outcome != test.outcome || last[0].Exit != test.exit || last[0].Error != o.Error || last[0].Seconds <= 0 {
				t.Errorf("expected one ended as returned, found %+v", last)
			}
			if (last[0].Expected != "") != (test.outcome == evidence.StepUnexpected) {
				t.Errorf("expected says %q", last[0].Expected)
			}
		})
	}
}

// It takes 5 s: the grace between SIGTERM and SIGKILL.
func TestACommandThatIgnoresTERMIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	r, seen := runner(t)
	o := run(t, r, `trap '' TERM; sh -c 'trap "" TERM; echo child $$; while :; do sleep 1; done' & while :; do sleep 1; done`, timeout(300*time.Millisecond))
	if o.Outcome != evidence.StepTimeout || o.Exit != 137 || !strings.Contains(o.Error, "ended by SIGKILL") {
		t.Errorf("expected a timeout that ends by SIGKILL, found %+v", o)
	}
	gone(t, child(t, seen))
}

func TestAnInterruptionEndsTheCommand(t *testing.T) {
	r, seen := runner(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		seen.wait(t, "the child", isChild)
		cancel(errors.New("aborted by hand"))
	}()
	o := r.Run(ctx, evidence.PartStep, 1, service.Step{Name: "x", Run: "echo child $$; sleep 1000", Timeout: time.Minute}, nil)
	if o.Outcome != evidence.StepFailed || !strings.Contains(o.Error, "interrupted (aborted by hand)") {
		t.Errorf("expected an interruption, found %+v", o)
	}
	gone(t, child(t, seen))
}

// childLine is written by a command that tells the pid of what it started; other lines may come with it.
var childLine = regexp.MustCompile(`(?m)^child (\d+)$`)

func isChild(s evidence.Step) bool { return childLine.MatchString(s.Output) }

// child is the pid in the line "child PID".
func child(t *testing.T, seen *events) int {
	t.Helper()
	s := seen.wait(t, "a line with the child's pid", isChild)
	pid, err := strconv.Atoi(childLine.FindStringSubmatch(s.Output)[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for alive(pid) {
		select {
		case <-limit:
			t.Fatalf("process %d still runs", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " Z")
}

func TestChildrenThatHoldTheOutputOpenDoNotHangIt(t *testing.T) {
	r, seen := runner(t)
	o := run(t, r, `sh -c 'echo child $$; exec sleep 1000' & until [ -e there ]; do sleep 0.01; [ -d /proc/$! ] && : > there; done; echo started it`)
	if o.Outcome != evidence.StepOK {
		t.Errorf("expected ok, since the command itself ended with 0, found %+v", o)
	}
	pid := child(t, seen)
	if out := seen.output(t); !strings.Contains(out, "processes that it left running hold its output open: "+strconv.Itoa(pid)) {
		t.Errorf("expected a note of what it left running, found %q", out)
	}
	if !alive(pid) {
		t.Error("expected what the command left running to run on, as in production")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	gone(t, pid)
}

func TestProcessesInAnotherSessionDoNotHangIt(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is not on this machine: apt-get install util-linux")
	}
	r, seen := runner(t)
	o := run(t, r, `setsid sh -c 'echo child $$; exec sleep 1000' & echo started it`)
	if o.Outcome != evidence.StepOK {
		t.Errorf("expected ok, found %+v", o)
	}
	if err := syscall.Kill(child(t, seen), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if out := seen.output(t); !strings.Contains(out, "outside of its process group") {
		t.Errorf("expected a note, found %q", out)
	}
}

func TestAFloodIsCutAndSaidSo(t *testing.T) {
	r, seen := runner(t)
	o := run(t, r, `echo first; yes 0123456789012345678901234567890123456789 | head -n 200000; echo the reason at the end >&2; exit 1`)
	if o.Exit != 1 || !strings.Contains(o.Error, "the reason at the end") {
		t.Errorf("expected the last line in the error, found %+v", o)
	}
	out := seen.output(t)
	if len(out) > 1<<20+1<<10 {
		t.Errorf("expected at most 1 MB of output, found %d bytes", len(out))
	}
	if !strings.HasPrefix(out, "first\n") || !strings.Contains(out, "\nthe reason at the end\n") {
		t.Errorf("expected the beginning and the end, found %q ... %q", out[:60], out[len(out)-60:])
	}
	if !strings.Contains(out, "are left out here") {
		t.Error("expected a note of what was cut")
	}
}

func TestALineWithoutEndIsBounded(t *testing.T) {
	r, seen := runner(t)
	r.Log.Hide("hunter2-hunter2")
	// The secret stands where the line is cut.
	o := run(t, r, `head -c 65530 /dev/zero | tr '\0' x; printf hunter2-hunter2; head -c 300000 /dev/zero | tr '\0' y; echo; echo next`)
	if o.Outcome != evidence.StepOK {
		t.Fatalf("%+v", o)
	}
	out := seen.output(t)
	if strings.Contains(out, "hunter2") || len(out) > 200_000 || !strings.HasSuffix(out, "[the rest of this line is left out]\nnext\n") {
		t.Errorf("expected a bounded line without the secret and the next one, found %d bytes that end with %q", len(out), out[max(0, len(out)-100):])
	}
}

func TestSecretsAreInNoEvent(t *testing.T) {
	const secret = "pa55-w0rd-of-shop"
	scripts := map[string]string{
		"in two writes":       `printf pa55-w0; sleep 0.05; printf 'rd-of-shop\n'`,
		"of both streams":     `printf pa55-w0; echo pa55-w0rd-of-shop >&2; printf 'rd-of-shop\n'`,
		"in the command":      `echo pa55-w0rd-of-shop`,
		"in the last line":    `printf pa55-w0rd-of-shop; exit 3`,
		"cut off by the end":  `printf pa55-w0rd-; sleep 1000`,
		"from its variable":   `echo "$PRIMARY"; exit 1`,
		"not what's expected": `echo pa55-w0rd-of-shop; true # EXPECT`,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			r, seen := runner(t)
			r.Log.Hide(secret)
			r.Vars = map[string]string{"DATABASE_URL": "postgres://shop:" + secret + "@127.0.0.1/shop"}
			run := script
			if name != "in the command" { // which has whole secrets hidden, not pieces
				run = "sh ./script"
				if err := os.WriteFile(filepath.Join(r.Dir, "script"), []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := service.Step{Name: "x", Run: run, Timeout: 300 * time.Millisecond}
			if strings.Contains(script, "EXPECT") {
				s.Output = "something else"
			}
			o := r.Run(t.Context(), evidence.PartStep, 1, s, map[string]string{"PRIMARY": "DATABASE_URL"})
			for _, e := range append(seen.all, evidence.Step{Error: o.Error}) {
				for _, piece := range []string{secret, "pa55", "of-shop"} {
					if strings.Contains(fmt.Sprintf("%+v", e), piece) {
						t.Errorf("expected no piece of the secret, found %+v", e)
					}
				}
			}
		})
	}
}

func TestTheEnvironmentIsWhatIsStated(t *testing.T) {
	t.Setenv("BACKOUT_TEST_LEAK", "leaked")
	t.Setenv("PGPASSWORD", "leaked")
	t.Setenv("HOME", "/home/of/the/test")
	r, seen := runner(t)
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	r.Tracer = provider.Tracer("test")
	r.Platform = map[string]string{"SUPERVISOR": "/run/supervisor", "PROXY": "/run/proxy"}
	r.Vars = map[string]string{"DATABASE_URL": "postgres://primary", "DATABASE_URL_LOGICAL": "postgres://logical"}
	var running []bool
	var during string
	r.Running = func(on bool) {
		running = append(running, on)
		if on {
			during = r.Current().SpanID().String()
		}
	}
	r.Run(t.Context(), evidence.PartStep, 2, service.Step{Name: "look", Run: "env", Timeout: time.Minute}, map[string]string{"PRIMARY": "DATABASE_URL"})

	var names []string
	for _, line := range strings.Split(strings.TrimSpace(seen.output(t)), "\n") {
		name, _, _ := strings.Cut(line, "=")
		if name != "PWD" && name != "OLDPWD" && name != "SHLVL" && name != "_" { // the shell's own
			names = append(names, name)
		}
	}
	slices.Sort(names)
	expected := []string{"HOME", "LANG", "PATH", "PRIMARY", "PROXY", "SUPERVISOR", "TMPDIR", "TRACEPARENT"}
	if !slices.Equal(names, expected) {
		t.Errorf("expected %v, found %v", expected, names)
	}
	out := seen.output(t)
	for _, line := range []string{"PRIMARY=postgres://primary\n", "HOME=/home/of/the/test\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("expected %q in %s", line, out)
		}
	}
	spans := exporter.GetSpans()
	if len(spans) != 1 || spans[0].Name != "step: look" {
		t.Fatalf("expected one span of the step, found %+v", spans)
	}
	c := spans[0].SpanContext
	if want := fmt.Sprintf("TRACEPARENT=00-%s-%s-01\n", c.TraceID(), c.SpanID()); !strings.Contains(out, want) {
		t.Errorf("expected %q in %s", want, out)
	}
	if during != c.SpanID().String() || r.Current().IsValid() {
		t.Errorf("expected the current span while it ran and none after, found %s and %v", during, r.Current())
	}
	if !slices.Equal(running, []bool{true, false}) {
		t.Errorf("expected to be told of the beginning and the end, found %v", running)
	}
	if last := seen.only(t, "ended")[0]; last.Trace != c.TraceID().String() || last.Span != c.SpanID().String() {
		t.Errorf("expected the span's ids in %+v", last)
	}
}

func TestStepsStopAtTheFirstThatIsNotOK(t *testing.T) {
	r, seen := runner(t)
	p := &service.Plan{Steps: []service.Step{
		{Name: "one", Run: "echo 1 >> done", Timeout: time.Minute},
		{Name: "two", Run: "echo 2 >> done", Timeout: time.Minute, Output: "OK"},
		{Name: "three", Run: "echo 3 >> done", Timeout: time.Minute},
	}}
	err := r.Steps(t.Context(), p, nil)
	var step *rollback.StepError
	if !errors.As(err, &step) || step.Index != 2 || step.Outcome.Outcome != evidence.StepUnexpected {
		t.Fatalf("expected the second step to stop it, found %v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(r.Dir, "done")); string(text) != "1\n2\n" {
		t.Errorf("expected the first two to have run in the deployed directory, found %q", text)
	}
	var outcomes []string
	for _, s := range seen.only(t, "ended") {
		outcomes = append(outcomes, fmt.Sprint(s.Index, " ", s.Outcome))
	}
	if expected := []string{"1 ok", "2 unexpected", "3 skipped"}; !slices.Equal(outcomes, expected) {
		t.Errorf("expected %v, found %v", expected, outcomes)
	}
}

func TestARolloutRunsItsSteps(t *testing.T) {
	r, seen := runner(t)
	rel := &service.Release{Rollouts: map[string][]service.Step{"process": {{Name: "deploy", Run: "echo deployed to $WHERE", Timeout: time.Minute}}}, Env: map[string]string{"WHERE": "DATABASE_URL"}}
	if err := r.Rollout(t.Context(), rel, "process"); err == nil || !strings.Contains(err.Error(), `found "DATABASE_URL"`) || len(seen.all) != 0 {
		t.Errorf("expected an error before anything runs, found %v and %+v", err, seen.all)
	}
	r.Vars = map[string]string{"DATABASE_URL": "here"}
	if err := r.Rollout(t.Context(), rel, "process"); err != nil {
		t.Fatal(err)
	}
	if last := seen.only(t, "ended"); len(last) != 1 || last[0].Part != evidence.PartRollout || seen.output(t) != "deployed to here\n" {
		t.Errorf("expected one step of the rollout, found %+v and %q", last, seen.output(t))
	}
}

// A harness that is killed takes its command's whole group with it. The test's own binary is that harness.
func TestTheGroupDiesWithTheHarness(t *testing.T) {
	if os.Getenv("BACKOUT_TEST_HARNESS") != "" {
		r, seen := runner(t)
		go func() {
			seen.wait(t, "the child", isChild)
			fmt.Println(seen.output(t))
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
		run(t, r, `sh -c 'echo child $$; while :; do sleep 1; done' & wait`)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheGroupDiesWithTheHarness$")
	cmd.Env = append(os.Environ(), "BACKOUT_TEST_HARNESS=1")
	out, err := cmd.Output()
	if err == nil {
		t.Fatalf("expected the harness to be killed, found %s", out)
	}
	_, rest, ok := strings.Cut(string(out), "child ")
	if !ok {
		t.Fatalf("expected the child's pid, found %s", out)
	}
	pid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}
