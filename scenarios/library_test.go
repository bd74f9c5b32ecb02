package scenarios_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/cucumber/godog"

	"backout/harness/cache"
	"backout/harness/drill"
	"backout/harness/environment"
	"backout/harness/postgres"
	"backout/scenarios"
)

// ownSuite is what somebody writes who has godog features already: their own steps, and beside them the vocabulary. It
// returns godog's status, what their own step was told, and what became of the drills.
func ownSuite(feature, services, reports, backout string) (status int, announced []string, drills []drill.Result) {
	announce := regexp.MustCompile(`^the change is announced in "([^"]*)"$`)
	o := scenarios.Options{
		Services: []string{services},
		Own:      []*regexp.Regexp{announce},
		Options: drill.Options{
			Environment: "process", Windows: "gate", Seed: 7, Set: reports,
			Start: func() (environment.Environment, error) {
				return drill.NewEnvironment("process", drill.Place{Self: []string{backout, "ctl"}})
			},
		},
	}
	suite := godog.TestSuite{
		Name: "our own",
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			sc.Step(announce.String(), func(channel string) { announced = append(announced, channel) })
			scenarios.Register(sc, o, func(r drill.Result) { drills = append(drills, r) })
		},
		Options: &godog.Options{Format: "progress", Paths: []string{feature}, Strict: true, Output: io.Discard},
	}
	return suite.Run(), announced, drills
}

// The vocabulary in a suite of your own. The control of instances is backout's own command, so it must be installed.
func ExampleRegister() {
	status, _, drills := ownSuite("features/checkout.feature", "services", "reports", "backout")
	for _, d := range drills {
		fmt.Println(d.Word(), d.Verdict.Because, d.Dir)
	}
	os.Exit(status)
}

func TestTheVocabularyInASuiteOfYourOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("real drills are left out of -short")
	}
	if _, err := postgres.Find(""); err != nil {
		t.Skipf("real drills need PostgreSQL: %v", err)
	}
	if _, err := cache.Find(); err != nil {
		t.Skipf("the drills of the sample need a cache: %v", err)
	}
	backout := filepath.Join(t.TempDir(), "backout")
	if out, err := exec.Command("go", "build", "-o", backout, "../harness/cmd/backout").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	status, announced, drills := ownSuite("testdata/own-suite.feature", "../fixtures/services", t.TempDir(), backout)
	if len(drills) != 1 {
		t.Fatalf("expected one drill, found %d (status %d)", len(drills), status)
	}
	if d := drills[0]; status != 0 || d.Exit() != 0 || d.Word() != "pass" {
		t.Errorf("expected a pass, found status %d, %s: %s %v", status, d.Word(), d.Verdict.Because, d.Err)
	}
	if len(announced) != 1 || announced[0] != "#shop" {
		t.Errorf("our own step was told %q", announced)
	}
}
