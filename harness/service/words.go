package service

import (
	"fmt"
	"strings"

	"backout/harness/evidence"
)

// Words says the check as `backout plan` and reports print it.
func (c Check) Words() string {
	switch {
	case c.Database != nil:
		return "the database is " + c.Database.Name + " and the role " + c.Database.Role
	case len(c.Unblocked) > 0:
		text := "nothing is in the way of a lock on " + strings.Join(c.Unblocked, ", ")
		if c.BeforeStep > 0 {
			text += fmt.Sprintf(", asked before step %d", c.BeforeStep)
		}
		return text
	case c.Dependants != "":
		return "dependants are compatible with the target"
	case c.Artefact != "":
		return "the artefact of " + c.Artefact + " is present"
	case c.Serves != "":
		return "every instance serves " + c.Serves
	case c.Journey != "":
		return "the journey " + c.Journey + " succeeds"
	}
	_, words := c.asked()
	return words
}

// Kind is the check's key in a plan: database, unblocked, dependants, artefact, every instance serves, journey, and those of asked.
func (c Check) Kind() string {
	switch {
	case c.Database != nil:
		return "database"
	case len(c.Unblocked) > 0:
		return "unblocked"
	case c.Dependants != "":
		return "dependants"
	case c.Artefact != "":
		return "artefact"
	case c.Serves != "":
		return "every instance serves"
	case c.Journey != "":
		return "journey"
	}
	kind, _ := c.asked()
	return kind
}

// Evidence is what judging needs to know of the service.
func (s *Service) Evidence() evidence.Service {
	e := evidence.Service{
		Name:     s.Name,
		Tier:     s.Tier,
		Target:   TargetStandard.Seconds(),
		Effects:  sorted(s.Effects),
		Jobs:     sorted(s.Jobs),
		Caches:   sorted(s.Caches),
		Sessions: sorted(s.Sessions),
		Database: s.Database != nil,
		Breaker:  s.Breaker.evidence(),
	}
	if s.Tier == "critical" {
		e.Target = TargetCritical.Seconds()
	}
	for _, m := range s.Forbidden {
		e.Forbidden = append(e.Forbidden, evidence.Mix{Release: m.Release, With: m.With, For: m.For.Seconds()})
	}
	for name, c := range s.Caches {
		if e.Readers == nil {
			e.Readers = map[string]string{}
		}
		e.Readers[name] = c.ReadBy
	}
	for _, j := range s.Journeys {
		e.Journeys = append(e.Journeys, j.Name)
		if j.writes() {
			e.Writes = append(e.Writes, j.Name)
		}
		if j.Lost > 0 {
			e.Budgets = append(e.Budgets, evidence.Budget{Journey: j.Name, Lost: j.Lost, Why: j.Why})
		}
	}
	if d := s.Database; d != nil {
		e.Unrecorded = d.Migrations == ""
		e.Invariants = sorted(d.Invariants)
		e.Frozen = sorted(d.Frozen)
		for _, r := range d.References {
			e.References = append(e.References, r.String())
		}
	}
	return e
}

// String is "refunds.order_id -> orders.id".
func (r Reference) String() string { return r.From.String() + " -> " + r.To.String() }

// String is "orders.id".
func (c Column) String() string { return c.Table + "." + c.Name }

// Evidence is what the release states of itself.
func (r *Release) Evidence() evidence.Release {
	e := evidence.Release{
		Name:      r.Name,
		KnownBad:  r.KnownBad,
		Good:      r.Good,
		MigrateTo: r.MigrateTo,
		Within:    r.Within.Seconds(),
		Schema:    r.migrates(),
		Measured:  r.Measured,
	}
	for _, h := range r.Harms {
		e.Harms = append(e.Harms, evidence.Harm{
			Service:      h.Service,
			Journey:      h.Journey,
			SuccessBelow: h.SuccessBelow,
			LatencyAbove: h.LatencyAbove.Seconds() * 1000,
			Restarts:     h.Restarts,
			MemoryAbove:  h.MemoryAbove,
			Invariant:    h.Invariant,
			JobsFailed:   h.JobsFailed,
		})
	}
	for _, name := range sorted(r.Traps) {
		e.Traps = append(e.Traps, evidence.Trap{Name: name, AtLeast: r.Traps[name].AtLeast})
	}
	if r.ReachesN != 0 || r.ReachesM != 0 {
		e.Reaches = &evidence.Reach{Instances: r.ReachesN, Migration: r.ReachesM}
	}
	for _, t := range r.MayTransform {
		e.MayTransform = append(e.MayTransform, evidence.Transform{Journey: t.Journey, Field: t.Field, AtMost: t.AtMost, Why: t.Why})
	}
	return e
}

// Evidence is the plan as a reader sees it.
func (p *Plan) Evidence() evidence.Plan {
	e := evidence.Plan{
		Name:   p.Name,
		Path:   p.Path,
		Risk:   p.Risk,
		From:   p.From,
		To:     p.To,
		Schema: p.Schema,

		Approval: p.Approval.evidence(),
		Ceiling:  p.Ceiling.evidence(),
	}
	if p.Sabotage != nil {
		e.Sabotage = p.Sabotage.What
	}
	for _, c := range p.Before {
		e.Before = append(e.Before, c.Words())
	}
	for i, s := range p.Steps {
		e.Steps = append(e.Steps, evidence.PlanStep{Name: s.Name, Run: s.Run, Timeout: s.Timeout.Seconds(), Again: s.Again, Expires: s.Expires.Seconds(),
			Of: s.Of, Place: p.Place(i + 1), Fails: s.Fails, Undo: s.Undo.Words()})
	}
	for _, c := range p.After {
		e.After = append(e.After, c.Words())
	}
	return e
}
