package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"backout/harness/evidence"
	"backout/harness/verdict"
)

// samples reads metrics.prom as Prometheus does: by the name with its labels that differ within a drill.
func samples(t *testing.T, m *Model) map[string]float64 {
	t.Helper()
	var out bytes.Buffer
	if err := OpenMetrics(&out, m); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("# EOF\n")) {
		t.Error("OpenMetrics ends with # EOF")
	}
	problems, err := promlint.New(bytes.NewReader(out.Bytes())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, s := range f.Metric {
			key := strings.TrimPrefix(name, "backout_drill_")
			for _, l := range s.Label {
				switch l.GetName() {
				case "service", "release", "plan", "environment", "scenario":
				default:
					key += " " + l.GetValue()
				}
			}
			got[key] = s.GetGauge().GetValue()
		}
	}
	return got
}

func TestMetricsAreWhatPrometheusReads(t *testing.T) {
	m := load(t)
	got := samples(t, m)
	for key, want := range map[string]float64{"verdict fail": 1, "verdict pass": 0, "target_seconds": 300, "promises broken": 5, "promises not judged": 2,
		"users_restored_seconds": 14.8, "items_kept replicas": 5, "items replicas": 6, "writes transformed before": 3, "clock_seconds decided": 24.1, "alerts": 2} {
		if is, ok := got[key]; !ok || is != want {
			t.Errorf("%s is %v (there: %v), want %v", key, is, ok, want)
		}
	}
	for _, never := range []string{"speed_seconds", "silence_seconds", "clock_seconds restored"} {
		if is, ok := got[never]; ok {
			t.Errorf("%s was never reached, and is %v", never, is)
		}
	}
}

// Names come from features and plans, and two steps may have one.
func TestMetricsOfHostileNamesAreRead(t *testing.T) {
	const evil = "a\"b\\c\nd\x00\xff{}# EOF"
	b := New()
	e := evidence.Event{N: 1}
	(&evidence.Run{Name: evil, Environment: evil, Service: evidence.Service{Name: evil}, Release: evidence.Release{Name: evil}, Plan: evidence.Plan{Name: evil}}).Put(&e)
	b.Add(e)
	for i := range 2 {
		for _, event := range []string{"started", "ended"} {
			e := evidence.Event{N: int64(2 + i), T: evidence.Offset(i)}
			(&evidence.Step{Part: evidence.PartStep, Index: 1, Name: evil, Event: event, Outcome: evil}).Put(&e)
			b.Add(e)
		}
	}
	m := b.Model(verdict.Verdict{Writes: []verdict.Window{{Name: evil, Fates: map[string]int{evil: 1}}}}, "")
	if got := samples(t, m); got["verdict pass"] != 0 || len(got) < 8 {
		t.Errorf("%v", got)
	}
}
