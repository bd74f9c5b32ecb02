package scenarios_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"backout/harness/drill"
	"backout/scenarios"
)

// changes of a feature's lines, as people and machines make them by mistake. Each returns other lines.
var changes = []func(r *rand.Rand, lines, others []string) []string{
	func(r *rand.Rand, lines, _ []string) []string { // one is lost
		at := r.IntN(len(lines))
		return slices.Delete(lines, at, at+1)
	},
	func(r *rand.Rand, lines, _ []string) []string { // one is there twice
		at := r.IntN(len(lines))
		return slices.Insert(lines, at, lines[at])
	},
	func(r *rand.Rand, lines, _ []string) []string { // two have changed places
		a, b := r.IntN(len(lines)), r.IntN(len(lines))
		lines[a], lines[b] = lines[b], lines[a]
		return lines
	},
	func(r *rand.Rand, lines, others []string) []string { // one is from another feature
		return slices.Insert(lines, r.IntN(len(lines)), others[r.IntN(len(others))])
	},
	func(r *rand.Rand, lines, others []string) []string { // a word is another one, or none
		at := r.IntN(len(lines))
		words, theirs := strings.Fields(lines[at]), strings.Fields(others[r.IntN(len(others))])
		if len(words) > 0 {
			words[r.IntN(len(words))] = strings.Join(theirs[:min(1, len(theirs))], "")
		}
		lines[at] = "    " + strings.Join(words, " ")
		return lines
	},
	func(r *rand.Rand, lines, _ []string) []string { // bytes are others, as the fuzzer changes them
		at := r.IntN(len(lines))
		text := []byte(lines[at])
		for i := range text {
			if r.IntN(8) == 0 {
				text[i] = byte(r.Uint32())
			}
		}
		lines[at] = string(text)
		return lines
	},
	func(r *rand.Rand, lines, _ []string) []string { // the end is missing
		return lines[:1+r.IntN(len(lines))]
	},
	func(r *rand.Rand, lines, _ []string) []string { // a number or a name is extreme
		at := r.IntN(len(lines))
		extreme := []string{"0", "99999999999999999999", "0.0000000001", `""`, `"../../.."`, strings.Repeat("9", 400), `"` + strings.Repeat("x", 70_000) + `"`}
		words := strings.Fields(lines[at])
		if len(words) > 0 {
			words[r.IntN(len(words))] = extreme[r.IntN(len(extreme))]
		}
		lines[at] = "    " + strings.Join(words, " ")
		return lines
	},
}

// FuzzFeature in short: features that were changed at random compile or are an error, and none panics. Fuzzing itself compiles all
// that a drill stands on anew, which takes longer than everything else that is tested here; `make fuzz` does it.
func TestFeaturesThatWereChanged(t *testing.T) {
	paths, err := filepath.Glob("../features/*/*.feature")
	if err != nil || len(paths) < 10 {
		t.Fatalf("found %d features: %v", len(paths), err)
	}
	var features [][]string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		features = append(features, strings.Split(string(text), "\n"))
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "any.feature")
	compiled, refused := 0, 0
	for range 100 {
		lines, others := slices.Clone(features[r.IntN(len(features))]), features[r.IntN(len(features))]
		for range 1 + r.IntN(3) {
			if len(lines) > 0 {
				lines = changes[r.IntN(len(changes))](r, lines, others)
			}
		}
		text := strings.Join(lines, "\n")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := func() error {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("it panicked (seed %d): %v\n%s\n%.2000s", seed, p, debug.Stack(), text)
				}
			}()
			_, err := scenarios.Load([]string{path}, "", scenarios.Options{
				Services: []string{"../fixtures/services"},
				Options:  drill.Options{Environment: "process", Windows: "gate", Seed: 1},
			})
			return err
		}()
		if err == nil {
			compiled++
		} else {
			refused++
		}
	}
	if compiled < 5 || refused < 5 { // else changes are too small or too coarse to try anything
		t.Errorf("expected that some compile and some do not, found %d and %d (seed %d)", compiled, refused, seed)
	}
}

// The parser of features panics at such a line; where it stands is told instead.
func TestALineThatIsTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.feature")
	text := "Feature: F\n\n  Scenario: S\n    Given the service \"" + strings.Repeat("x", 70_000) + "\"\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{path, path + ":3", filepath.Dir(path)} {
		_, err := scenarios.Load([]string{named}, "", scenarios.Options{Services: []string{"../fixtures/services"}})
		if want := path + ":4: expected a line of less than 65536 bytes"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected %q, found %v", named, want, err)
		}
	}
}
