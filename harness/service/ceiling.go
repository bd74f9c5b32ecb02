package service

import (
	"fmt"
	"strings"
	"time"
)

// Ceiling is the most that a plan may touch before people are asked.
type Ceiling struct {
	Instances int
	Pods      bool // they are called pods
	Rows      *RowCeiling
	Traffic   float64       // share of the users' answers that come from the instances that are touched, of 1; 0: no limit
	Within    time.Duration // how long people are waited for who may allow more
}

// RowCeiling is of rows, counted by a query of the plan.
type RowCeiling struct {
	Most  int64
	Count string // SQL that returns one number
	URL   string // a name of the plan's env
}

// Word is what an instance is called.
func (c *Ceiling) Word() string {
	if c.Pods {
		return "pods"
	}
	return "instances"
}

// String is the most that a plan may touch, in words.
func (c *Ceiling) String() string {
	var parts []string
	most := c.evidence()
	for _, of := range c.Words() {
		if of == "traffic" {
			parts = append(parts, fmt.Sprintf("%g %% of the traffic", 100*most[of]))
		} else {
			parts = append(parts, fmt.Sprintf("%g %s", most[of], of))
		}
	}
	return "at most " + strings.Join(parts, ", ")
}

// Words are what it limits.
func (c *Ceiling) Words() []string { return sorted(c.evidence()) }

func (c *Ceiling) evidence() map[string]float64 {
	if c == nil {
		return nil
	}
	all := map[string]float64{}
	if c.Instances > 0 {
		all[c.Word()] = float64(c.Instances)
	}
	if c.Traffic > 0 {
		all["traffic"] = c.Traffic
	}
	if c.Rows != nil {
		all["rows"] = float64(c.Rows.Most)
	}
	return all
}

// ceiling reads the most that a plan may touch; order is that of the names in its env.
func ceiling(v *value, p *Plan, order []string) *Ceiling {
	if v == nil {
		return nil
	}
	o := v.object("instances", "pods", "rows", "traffic", "within")
	c := &Ceiling{Within: approvalWithin}
	instances, pods := o.get("instances"), o.get("pods")
	if instances != nil && pods != nil {
		pods.wrong("expected instances or pods, found both: they are the same")
	}
	if n := pods; n != nil {
		c.Pods, c.Instances = true, int(n.number(1, 1e6))
	} else if instances != nil {
		c.Instances = int(instances.number(1, 1e6))
	}
	if t := o.get("traffic"); t != nil {
		if share, ok := t.real(); ok && share > 0 && share <= 1 {
			c.Traffic = share
		} else if ok {
			t.expected("a share of 1, above 0")
		}
	}
	if r := o.get("rows"); r != nil {
		of := r
		r := of.object("most", "count", "url")
		c.Rows = &RowCeiling{Most: r.must("most", "how many rows").number(0, 1e15), Count: r.must("count", "SQL that returns how many rows it touches").text()}
		c.Rows.URL = databaseOf(of, r.get("url"), p, order)
	}
	if w := o.get("within"); w != nil {
		c.Within = w.duration()
	}
	if c.Instances == 0 && c.Traffic == 0 && c.Rows == nil {
		v.wrong("expected instances, pods, rows or traffic in ceiling, found none of them")
	}
	return c
}
