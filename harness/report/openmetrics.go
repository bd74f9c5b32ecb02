package report

import (
	"fmt"
	"io"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"backout/harness/verdict"
)

// OpenMetrics writes metrics.prom of one run, for the node exporter's textfile collector or a push gateway. What was never
// reached has no sample: a dashboard must not take "never" for zero. All are gauges, so that the older text format of
// Prometheus reads the same file (https://github.com/prometheus/OpenMetrics, specification/OpenMetrics.md).
func OpenMetrics(w io.Writer, m *Model) error {
	v, r := m.Verdict, m.Run
	registry := prometheus.NewRegistry()
	drill := prometheus.WrapRegistererWith(prometheus.Labels{"service": text(r.Service.Name), "release": text(r.Release.Name), "plan": text(r.Plan.Name),
		"environment": text(r.Environment), "scenario": text(r.Name)}, registry)
	var wrong error
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "backout", Subsystem: "drill", Name: name, Help: help}, labels)
		if err := drill.Register(g); err != nil && wrong == nil {
			wrong = err
		}
		return g
	}
	one := func(name, help string, value float64) { gauge(name, help).WithLabelValues().Set(value) }
	maybe := func(name, help string, value *float64) {
		if g := gauge(name, help); value != nil {
			g.WithLabelValues().Set(*value)
		}
	}

	is := gauge("verdict", "1 for the verdict of the drill, 0 for the others.", "verdict")
	for _, name := range []string{verdict.Pass, verdict.Fail, verdict.Inconclusive} {
		is.WithLabelValues(name).Set(float64(boolInt(v.Verdict == name)))
	}
	if v.Expected != nil {
		one("expectation_met", "Of a drill that expects a failure: whether it failed as expected.", float64(boolInt(*v.Expected)))
	}
	one("complete", "Whether every promise that applies was kept.", float64(boolInt(v.Complete)))
	maybe("speed_seconds", "From the decision to restored; no sample when service was never restored.", v.Speed.Seconds)
	maybe("users_restored_seconds", "From the decision until users were served as before; no sample when they never were.", v.Speed.Users)
	maybe("harm_seconds", "From the first harm to restored; no sample when either was not seen.", v.Speed.FirstBad)
	maybe("silence_seconds", "From the return of the last command to restored; no sample when service was never restored.", v.Silence)
	one("target_seconds", "Within which service must be restored.", v.Speed.Target)
	kept, broken, unjudged, _ := tallies(v)
	promises := gauge("promises", "Promises that apply, by their state.", "state")
	promises.WithLabelValues(verdict.Kept).Set(float64(kept))
	promises.WithLabelValues(verdict.Broken).Set(float64(broken))
	promises.WithLabelValues(verdict.Unjudged).Set(float64(unjudged))
	of := gauge("items_kept", "How many are as they must be: acknowledged writes, frozen rows, replicas, residual effects.", "of")
	all := gauge("items", "Of how many.", "of")
	for name, s := range map[string][2]int64{"writes": v.Shares.Writes, "rows": v.Shares.Rows, "replicas": v.Shares.Replicas, "residual": v.Shares.Residual} {
		of.WithLabelValues(name).Set(float64(s[0]))
		all.WithLabelValues(name).Set(float64(s[1]))
	}
	writes := gauge("writes", "Acknowledged writes by the window that they touch last and by what became of them.", "window", "fate")
	for _, window := range v.Writes {
		for fate, n := range window.Fates {
			writes.WithLabelValues(text(window.Name), text(fate)).Set(float64(n))
		}
	}
	clocks := gauge("clock_seconds", "When a clock stood, since the start of the run; one that was never reached has no sample.", "clock")
	for name, t := range v.Clocks {
		if t != nil {
			clocks.WithLabelValues(text(name)).Set(float64(*t))
		}
	}
	took := gauge("step_seconds", "How long a step of the plan ran.", "step", "name", "outcome")
	failed := gauge("step_failed_ratio", "The share of journeys that failed in the half seconds in which a step ran; no sample without journeys.", "step", "name")
	for _, s := range m.steps {
		if !s.judged() || !s.done {
			continue
		}
		step := strconv.Itoa(s.index)
		took.WithLabelValues(step, text(s.name), text(s.outcome)).Set(s.to - s.from)
		if bad, n := m.failures(s.from, s.to, m.own); n > 0 {
			failed.WithLabelValues(step, text(s.name)).Set(float64(bad) / float64(n))
		}
	}
	one("alerts", "Alerts that were raised.", float64(len(m.alerts)))
	one("duration_seconds", "From the start of the run to its last event.", m.Seconds)
	if !r.Started.IsZero() {
		one("started_timestamp_seconds", "When the run was started, since 1970.", float64(r.Started.Unix()))
	}
	if wrong != nil {
		return fmt.Errorf("write metrics: %w", wrong)
	}
	families, err := registry.Gather()
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	e := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeOpenMetrics))
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	if c, ok := e.(expfmt.Closer); ok {
		return c.Close()
	}
	return nil
}
