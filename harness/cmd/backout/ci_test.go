package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"backout/harness/evidence"
	"backout/harness/history"
	"backout/harness/service"
	"backout/harness/verdict"
)

// project is a repository with a service, as a job of continuous integration has it checked out.
type project struct {
	t         *testing.T
	root, dir string
	env       []string
}

func newProject(t *testing.T) project {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the steps of GitHub run in bash")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	p := project{t: t, root: root, dir: t.TempDir()}
	for path, text := range map[string]string{
		"till/service.yaml":              "service: till\ntier: critical\nrun:\n  process: {command: [./till]}\nready: /readyz\nrelease: {header: X-Release}\njourneys:\n  look: {steps: [{GET /: {}, expect: 200}]}\n",
		"till/releases/v1/release.yaml":  "release: v1\ngood: true\nrollout:\n  - {name: all, run: ./deploy v1, timeout: 1s, again: safe}\n",
		"till/releases/v2/release.yaml":  "release: v2\ngood: true\nrollout:\n  - {name: all, run: ./deploy v2, timeout: 1s, again: safe}\n",
		"till/releases/v2/rollback.yaml": "plan: p\nfrom: v2\nto: v1\nsteps:\n  - {name: all, run: ./deploy v1, timeout: 1s, again: safe}\n",
	} {
		p.write(path, text)
	}
	own, err := os.Executable() // the test's own program is backout where it is called so (TestMain)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(p.dir, "bin"), 0o755), copyFile(filepath.Join(p.dir, "bin/backout"), own))
	}
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), "PATH="+filepath.Join(p.dir, "bin")+":/usr/bin:/bin", "CI_PROJECT_DIR="+p.dir,
		"RUNNER_TEMP="+filepath.Join(p.dir, "temp"), "GITHUB_PATH="+filepath.Join(p.dir, "github-path"), "GITHUB_STEP_SUMMARY="+filepath.Join(p.dir, "summary.md"))
	return p
}

func (p project) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		p.t.Fatal(err)
	}
}

func (p project) read(path string) string {
	text, err := os.ReadFile(filepath.Join(p.dir, path))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// drilled adds a green run of the plan to the history of the project.
func (p project) drilled() {
	p.t.Helper()
	s, err := service.Load(filepath.Join(p.dir, "till/service.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := s.Release("v2")
	if err != nil {
		p.t.Fatal(err)
	}
	plan, err := r.Plan("", "process")
	if err != nil {
		p.t.Fatal(err)
	}
	digests, err := service.Digests(r.Files(plan)...)
	if err != nil {
		p.t.Fatal(err)
	}
	run := evidence.Run{Name: "n", Path: "features/x.feature", Line: 3, Environment: "process", Started: time.Now(), Service: s.Evidence(), Good: "v1",
		Release: r.Evidence(), Plan: plan.Evidence(), Rollback: []string{plan.Path}, Digests: digests}
	store, err := history.Open(context.Background(), filepath.Join(p.dir, "reports/history"), true)
	if err == nil {
		_, err = store.Add(context.Background(), history.Of(run, verdict.Verdict{Verdict: verdict.Pass}, fmt.Sprintf("sha256:%x", sha256.Sum256(nil)), false))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// shell runs a script in the project as a runner does, and says what it printed and its exit code.
func (p project) shell(script string, env []string, shell ...string) (string, int) {
	p.t.Helper()
	c := exec.Command(shell[0], append(shell[1:], "-c", script)...)
	c.Dir, c.Env = p.dir, append(slices.Clone(p.env), env...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return out.String(), c.ProcessState.ExitCode()
}

type action struct {
	Inputs map[string]struct {
		Default  string
		Required bool
	}
	Runs struct {
		Using string
		Steps []struct {
			Name, If, Shell, Run, Uses string
			Env, With                  map[string]string
		}
	}
}

var expression = regexp.MustCompile(`\$\{\{ *([a-z_.-]+) *\}\}`)

// github runs the shell steps of the composite action as GitHub's runner does: each in a bash of its own that ends at the
// first error; after a step that failed only those that say always(). It returns what was printed and whether all went well.
func (p project) github(inputs map[string]string) (string, bool) {
	p.t.Helper()
	var a action
	text, err := os.ReadFile(filepath.Join(p.root, ".github/actions/backout-gate/action.yml"))
	if err == nil {
		err = yaml.Unmarshal(text, &a)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	value := func(name string) string {
		if name == "github.action_path" {
			return filepath.Join(p.root, ".github/actions/backout-gate")
		}
		input, ok := strings.CutPrefix(name, "inputs.")
		known, is := a.Inputs[input]
		if !ok || !is {
			p.t.Fatalf("%s is no input of the action", name)
		}
		if v, given := inputs[input]; given {
			return v
		}
		return known.Default
	}
	var all strings.Builder
	well, kept := true, false
	for _, s := range a.Runs.Steps {
		switch s.If {
		case "", "always()":
		case "inputs.drill != ''":
			if value("inputs.drill") == "" {
				continue
			}
		default:
			p.t.Fatalf("the test cannot tell %q", s.If)
		}
		if strings.HasPrefix(s.Uses, "actions/upload-artifact@") {
			kept = s.If == "always()" && s.With["path"] == "reports/"
			continue
		}
		if !well && s.If != "always()" {
			continue
		}
		if s.Run == "" || s.Shell != "bash" || expression.MatchString(s.Run) {
			p.t.Fatalf("step %q: expected a script for bash that takes what it needs from its environment", s.Name)
		}
		var env []string
		for name, text := range s.Env {
			env = append(env, name+"="+expression.ReplaceAllStringFunc(text, func(e string) string { return value(expression.FindStringSubmatch(e)[1]) }))
		}
		out, code := p.shell(s.Run, env, "bash", "--noprofile", "--norc", "-eo", "pipefail")
		all.WriteString(out)
		well = well && code == 0
	}
	if !kept {
		p.t.Error("the artefacts are not kept when the gate is shut")
	}
	return all.String(), well
}

// gitlab runs the template's job as GitLab's runner does: before_script and script in one shell that ends at the first error,
// after_script in another one whatever happened.
func (p project) gitlab(variables map[string]string) (string, bool) {
	p.t.Helper()
	var file map[string]struct {
		Variables    map[string]string
		BeforeScript []string `yaml:"before_script"`
		Script       []string
		AfterScript  []string `yaml:"after_script"`
		Artifacts    struct {
			When  string
			Paths []string
		}
	}
	text, err := os.ReadFile(filepath.Join(p.root, ".gitlab/backout-gate.yml"))
	if err == nil {
		err = yaml.Unmarshal(text, &file)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	job := file[".backout-gate"]
	if job.Artifacts.When != "always" || !slices.Contains(job.Artifacts.Paths, "reports/") {
		p.t.Error("the artefacts are not kept when the gate is shut")
	}
	var env []string
	for name, def := range job.Variables {
		if v, given := variables[name]; given {
			def = v
		}
		env = append(env, name+"="+def)
	}
	out, code := p.shell(strings.Join(append(job.BeforeScript, job.Script...), "\n"), env, "sh", "-e")
	after, _ := p.shell(strings.Join(job.AfterScript, "\n"), env, "sh", "-e")
	return out + after, code == 0
}

// ways are the two templates.
var ways = map[string]func(p project, service, maxAge string) (string, bool){
	"github": func(p project, service, maxAge string) (string, bool) {
		return p.github(map[string]string{"service": service, "max-age": maxAge})
	},
	"gitlab": func(p project, service, maxAge string) (string, bool) {
		return p.gitlab(map[string]string{"BACKOUT_SERVICE": service, "BACKOUT_MAX_AGE": maxAge})
	},
}

// The templates for continuous integration open and shut the gate, and keep what was said either way.
func TestTemplatesForCI(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			out, open := way(p, "till", "")
			if open || !strings.Contains(out, "there is no drill of this plan") || !strings.Contains(p.read("reports/gate.txt"), "gate: shut") {
				t.Errorf("nothing was drilled: expected a gate that is shut, found %v:\n%s", open, out)
			}
			p.drilled()
			out, open = way(p, "till", "30d")
			if !open || !strings.Contains(p.read("reports/gate.txt"), "gate: open, 1 of 1 plans of till are fresh (at most 30 days)") {
				t.Errorf("it was drilled: expected a gate that is open, found %v:\n%s", open, out)
			}
			if !strings.Contains(p.read("reports/history.html"), "The only drill was green") {
				t.Errorf("expected a page of the history, found:\n%s", out)
			}
			p.write("till/releases/v2/rollback.yaml", strings.Replace(p.read("till/releases/v2/rollback.yaml"), "1s", "2s", 1))
			if out, open = way(p, "till", ""); open || !strings.Contains(out, "releases/v2/rollback.yaml changed") {
				t.Errorf("the plan changed: expected a gate that is shut, found %v:\n%s", open, out)
			}
			if !strings.Contains(p.read("reports/history.html"), "The only drill was green") {
				t.Error("expected a page of the history beside a gate that is shut")
			}
			if out, open = way(p, "tull", ""); open || !strings.Contains(out, "there is no service") {
				t.Errorf("bad input: expected a gate that is shut, found %v:\n%s", open, out)
			}
			out, open = way(p, `till"; touch broken-in; "`, "")
			if _, err := os.Stat(filepath.Join(p.dir, "broken-in")); open || err == nil {
				t.Errorf("an input was run as a command:\n%s", out)
			}
		})
	}
}

// Where backout is not on PATH the templates build it from a checkout of it. Building it takes long, so that a stand-in for
// go says what it was asked.
func TestTemplatesBuildBackout(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.drilled()
			program := filepath.Join(p.dir, "program")
			if err := os.Rename(filepath.Join(p.dir, "bin/backout"), program); err != nil {
				t.Fatal(err)
			}
			// $3 is what -C names, $5 what -o does: go build -C DIR -o FILE ./harness/cmd/backout
			p.write("bin/go", "#!/bin/sh\ntest \"$1 $2 $4 $6\" = 'build -C -o ./harness/cmd/backout' && test -f \"$3/harness/cmd/backout/main.go\" && mkdir -p \"$(dirname \"$5\")\" && cp '"+program+"' \"$5\"\n")
			if err := os.Symlink(p.root, filepath.Join(p.dir, "backout")); err != nil {
				t.Fatal(err)
			}
			p.env = append(p.env, "PATH="+filepath.Join(p.dir, "bin")+":"+filepath.Join(p.dir, "temp/backout")+":/usr/bin:/bin") // what GITHUB_PATH adds
			out, open := way(p, "till", "")
			if !open || !strings.Contains(out, "gate: open") {
				t.Errorf("expected a gate that is open, found %v:\n%s", open, out)
			}
		})
	}
}
