package lint

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file anew")

const fixtures = "../../fixtures/services"

// Ten migrations and plans as teams write them: of the right ones nothing is said, of each wrong one what is wrong with it.
func TestTenMigrationsAndPlans(t *testing.T) {
	l, err := Look([]string{"testdata/ten"}, 100_000, false)
	if err != nil {
		t.Fatal(err)
	}
	if l.Plans+l.Scripts != 10 { // seven migrations, two plans, a script; an eleventh cannot be loaded
		t.Errorf("expected to look at ten files, found %d plans and %d scripts", l.Plans, l.Scripts)
	}
	var got strings.Builder
	if err := Text(&got, l); err != nil {
		t.Fatal(err)
	}
	wrong := map[string]bool{}
	for _, f := range l.Open() {
		wrong[filepath.Base(f.File)] = true
		if strings.Contains(f.File, "right") || strings.HasSuffix(f.File, "v2/rollback.yaml") {
			t.Errorf("expected nothing of a right one, found %v", f)
		}
	}
	for _, name := range []string{"00004_as_the_template_had_it_wrong.sql", "00005_generated_wrong.sql", "00006_backfill_wrong.sql", "00007_no_way_back_wrong.sql", "in-a-hurry.yaml", "undo.sql", "rollback.yaml"} {
		if !wrong[name] {
			t.Errorf("expected findings of %s, found none", name)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/ten.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/ten.txt")
	if err != nil || string(want) != got.String() {
		t.Errorf("expected what stands in testdata/ten.txt (%v); go test -update writes it anew. Found:\n%s", err, &got)
	}
}

// The right plans of the sample system are clean, or say why what is found in them is right.
func TestTheRightPlansOfTheSampleAreClean(t *testing.T) {
	l, err := Look([]string{fixtures}, 100_000, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Open() {
		t.Error(f)
	}
	if l.Plans < 80 || l.Scripts < 15 || len(l.Findings) < 20 {
		t.Errorf("looked at %d plans and %d scripts, with %d accepted findings only: the search is broken", l.Plans, l.Scripts, len(l.Findings))
	}
}

// Some controls are wrong in a way that can be read; their drills show that it matters. What the others do wrong shows only when it runs.
func TestWhatIsFoundInTheControlsOfTheSample(t *testing.T) {
	l, err := Look([]string{filepath.Join(fixtures, "shop")}, 100_000, true)
	if err != nil {
		t.Fatal(err)
	}
	for file, rule := range map[string]string{
		"v2/migrations-empty-down/00005_orders_channel.sql":                     "no-down",
		"v2-drops-coupon/migrations-without-data/00005_drop_coupon_code.sql":    "down-brings-back-empty",
		"v2-renames-a-column/migrations-add-it-back/00005_orders_voided_at.sql": "down-loses-data",
		"v2-leaves-a-session-open/migrations-wait/00005_orders_exported.sql":    "no-lock-timeout",
		"v2-moves-refunds/migrations-row-by-row/00006_refunds.sql":              "lock-table",
		"v2-changes-tokens/migrations-leave-tokens/00005_sessions_format.sql":   "down-loses-data",
		"v2/does-nothing.yaml":                                 "no-expected-outcome",
		"v2-drops-coupon/forgets-the-subscriber.yaml":          "no-identity",
		"v2-drops-coupon/job-of-the-old-image.containers.yaml": "no-expected-outcome",
	} {
		if !slices.ContainsFunc(l.Open(), func(f Finding) bool { return strings.HasSuffix(f.File, "/releases/"+file) && f.Rule == rule }) {
			t.Errorf("expected %s of %s, found none", rule, file)
		}
	}
}

func TestAcceptedForAReason(t *testing.T) {
	const blocks = "create-index-blocks"
	for name, c := range map[string]struct {
		text string
		want []string // rule, or rule and the reason for which it is accepted
	}{
		"in the line above":        {"-- lint: accept create-index-blocks: it is night\ncreate index on orders (a);", []string{blocks + ": it is night"}},
		"above another comment":    {"-- lint: accept create-index-blocks: it is night\n-- and dark\n\ncreate index on orders (a);", []string{blocks + ": it is night"}},
		"in the same line":         {"create index on orders (a); -- lint: accept create-index-blocks: it is night", []string{blocks + ": it is night"}},
		"of one statement":         {"-- lint: accept create-index-blocks: it is night\ncreate index on orders (a);\ncreate index on orders (b);", []string{blocks + ": it is night", blocks}},
		"without a reason":         {"-- lint: accept create-index-blocks\ncreate index on orders (a);", []string{unreasoned, blocks}},
		"with an empty reason":     {"-- lint: accept create-index-blocks: \ncreate index on orders (a);", []string{unreasoned, blocks}},
		"of what is not there":     {"-- lint: accept lock-table: it is night\ncreate index on orders (a);", []string{unneeded, blocks}},
		"of two":                   {"-- lint: accept create-index-blocks, no-lock-timeout: it is night\ncreate index on orders (a);", []string{blocks + ": it is night"}},
		"in a text, not a comment": {"create index on orders (a) where b = 'lint: accept create-index-blocks: no';", []string{blocks}},
	} {
		var got []string
		for _, f := range sorted(accept(SQL("x.sql", "set lock_timeout = 1;\n"+c.text, sizes), "x.sql", "set lock_timeout = 1;\n"+c.text)) {
			if f.Accepted != "" {
				f.Rule += ": " + f.Accepted
			}
			if f.Rule != unneeded || name == "of what is not there" { // the second of two is not needed where a lock_timeout is set
				got = append(got, f.Rule)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: expected %v, found %v", name, c.want, got)
		}
	}
}

func TestFormats(t *testing.T) {
	l := Looked{Plans: 1, Findings: []Finding{{"a.yaml", 3, "no-down", "it is <empty>", "Write it", ""}, {"b.sql", 4, "lock-table", "it is locked", "Do not", "it is night"}}}
	for format, want := range map[string][]string{
		"text":  {"a.yaml:3: no-down: it is <empty>. Write it.\n", "1 finding, and 1 accepted for a reason"},
		"json":  {`"found": "it is <empty>"`, `"accepted": "it is night"`},
		"sarif": {`"version": "2.1.0"`, `"startLine": 3`, `"justification": "it is night"`, `"id": "down-loses-data"`},
	} {
		var out strings.Builder
		if err := Formats[format](&out, l); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: expected %s in\n%s", format, w, &out)
			}
		}
		if format != "text" && !json.Valid([]byte(out.String())) {
			t.Errorf("%s: expected JSON, found\n%s", format, &out)
		}
	}
	if strings.Contains(func() string { var b strings.Builder; Text(&b, l); return b.String() }(), "b.sql") {
		t.Error("expected nothing of what is accepted as text")
	}
}
