package observe

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"backout/harness/evidence"
)

// commandTimeout is the longest that the command of a trap may take: starting programs takes longer than a query.
const commandTimeout = 5 * time.Second

// commandTrap asks a command every second how much of a trap there is. It prints one number.
func (o *Observer) commandTrap(name, command string) {
	t := o.track("trap " + name)
	defer t.end()
	var written beat[string]
	var next time.Time
	every(o.ctx, o.Interval, func() {
		if time.Now().Before(next) {
			return
		}
		ctx, leave, ok := o.steps.enter()
		if !ok {
			t.rest()
			return
		}
		defer leave()
		start := time.Now()
		began := o.Log.At(start)
		limit, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		out, err := o.Command(limit, command)
		if ctx.Err() != nil {
			return // a step has begun, or the observation has ended: it was not asked
		}
		next = start.Add(max(queryEvery, 5*time.Since(start)))
		k := &evidence.Probe{Name: "trap", Of: name}
		if err == nil {
			k.Value, err = strconv.ParseFloat(strings.TrimSpace(out), 64)
			if err != nil || math.IsNaN(k.Value) || math.IsInf(k.Value, 0) {
				k.Value, err = 0, fmt.Errorf("it printed %q, one number was expected", shorten(strings.TrimSpace(out), 60))
			}
		}
		switch {
		case limit.Err() != nil:
			k.Error = fmt.Sprintf("no answer within %s", commandTimeout)
			t.lost(began, k.Error)
		case err != nil:
			k.Error = o.clean(err.Error())
			t.read()
		default:
			k.OK = true
			t.read()
		}
		if written.due(fmt.Sprintf("%+v", k), o.Log.Now(), evidence.Seconds(o.Beat), evidence.Seconds(queryEvery/2)) {
			o.Log.Put(k)
		}
	})
}
