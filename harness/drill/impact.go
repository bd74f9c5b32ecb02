package drill

import (
	"context"
	"slices"
	"strings"
	"sync"

	"backout/harness/evidence"
	"backout/harness/rollback"
)

// impact knows from what is observed which instances of the drilled service a rollback touches, and how much of the traffic they
// serve.
type impact struct {
	service string

	mu      sync.Mutex
	now     map[string]evidence.Instance // what each instance was seen as last
	before  map[string]evidence.Instance // when the rollback began; nil: it has not
	touched map[string]bool              // since then
	answers []answered                   // of the last seconds
}

type answered struct {
	t        evidence.Offset
	instance string
}

// traffic is over how long the share of traffic is counted, in seconds.
const trafficOver = evidence.Offset(5)

func newImpact(service string) *impact {
	return &impact{service: service, now: map[string]evidence.Instance{}, touched: map[string]bool{}}
}

// see folds one event. It is quick, since it is called from the log's tap.
func (i *impact) see(e evidence.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case e.Instance != nil && e.Instance.Service == i.service:
		x := *e.Instance
		i.now[x.Name] = x
		if was, known := i.before[x.Name]; i.before != nil && (!known || !x.Up || was.PID != x.PID || was.Release != x.Release || was.Restarts != x.Restarts) {
			i.touched[x.Name] = true
		}
	case e.Pod != nil && e.Pod.Service == i.service:
		if e.Pod.Event == evidence.PodDeleting || e.Pod.Event == evidence.PodDeleted {
			if i.before != nil {
				i.touched[e.Pod.Name] = true
			}
			if e.Pod.Event == evidence.PodDeleted {
				delete(i.now, e.Pod.Name)
			}
		}
	case e.Journey != nil && (e.Journey.Service == "" || e.Journey.Service == i.service):
		for _, s := range e.Journey.Served {
			if name, _, _ := strings.Cut(string(s), "@"); name != "" {
				i.answers = append(i.answers, answered{e.T, name})
			}
		}
		old := 0
		for old < len(i.answers) && i.answers[old].t < e.T-trafficOver {
			old++
		}
		i.answers = i.answers[old:]
	}
}

// of counts. Once the rollback has begun, an instance counts that has changed since, whichever release it was on.
func (i *impact) of(from string, begun bool) rollback.Impact {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out rollback.Impact
	if !begun {
		i.before, i.touched = map[string]evidence.Instance{}, map[string]bool{}
		for name, x := range i.now {
			i.before[name] = x
			if x.Release == from {
				out.Instances = append(out.Instances, name)
			}
		}
	} else {
		for name := range i.touched {
			out.Instances = append(out.Instances, name)
		}
	}
	slices.Sort(out.Instances)
	theirs := 0
	for _, a := range i.answers {
		if slices.Contains(out.Instances, a.instance) {
			theirs++
		}
	}
	if len(i.answers) > 0 {
		out.Traffic = float64(theirs) / float64(len(i.answers))
	}
	return out
}

// Impact is what the rollback touches, see rollback.World.
func (d *Drill) Impact(_ context.Context, from string, begun bool) (rollback.Impact, error) {
	return d.impact.of(from, begun), nil
}
