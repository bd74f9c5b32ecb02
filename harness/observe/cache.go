package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"backout/harness/cache"
	"backout/harness/evidence"
	"backout/harness/service"
)

// cacheTrap is a trap of the release that the entries of a cache show.
type cacheTrap struct {
	name    string
	track   *track
	written beat[string]
}

// cache asks one cache every second how many of its entries the good release cannot read. The script of service.yaml
// runs read-only.
func (o *Observer) cache(name string, c service.Cache) {
	seen := o.track("cache " + name)
	defer seen.end()
	var traps []*cacheTrap
	if o.Release != nil {
		for _, t := range slices.Sorted(maps.Keys(o.Release.Traps)) {
			if o.Release.Traps[t].Cache == name {
				traps = append(traps, &cacheTrap{name: t, track: o.track("trap " + t)})
			}
		}
	}
	for _, t := range traps {
		defer t.track.end()
	}
	var l cacheLine
	defer func() {
		if err := l.close(); err != nil {
			o.keep(fmt.Errorf("close the connection to the cache %s: %w", name, err))
		}
	}()
	var written beat[string]
	var next time.Time
	every(o.ctx, o.Interval, func() {
		url := o.Caches()[name]
		if url == "" || time.Now().Before(next) {
			return // not provisioned yet, or not due
		}
		ctx, leave, ok := o.steps.enter()
		if !ok {
			seen.rest()
			for _, t := range traps {
				t.track.rest()
			}
			return
		}
		defer leave()
		start := time.Now()
		began := o.Log.At(start)
		limit, cancel := context.WithTimeout(ctx, o.timeout())
		defer cancel()
		stale, err := l.ask(limit, url, c.Stale)
		if ctx.Err() != nil {
			return // a step has begun, or the observation has ended: it was not asked
		}
		took := time.Since(start)
		next = start.Add(queryEvery)
		if took > heavy {
			next = start.Add(5 * took)
		}
		event := &evidence.Cache{Name: name, Stale: stale, OK: err == nil}
		if err != nil {
			event.Error = o.cacheWhy(err)
		}
		lost := err != nil && !errors.Is(err, cache.ErrAnswered)
		note := func(t *track, written *beat[string], k evidence.Kind) {
			if lost {
				t.lost(began, event.Error)
			} else {
				t.read()
			}
			if written.due(fmt.Sprintf("%+v", k), o.Log.Now(), evidence.Seconds(o.Beat), evidence.Seconds(queryEvery/2)) {
				o.Log.Put(k)
			}
		}
		note(seen, &written, event)
		for _, t := range traps {
			note(t.track, &t.written, &evidence.Probe{Name: "trap", Of: t.name, Value: float64(stale), OK: err == nil, Error: event.Error})
		}
	})
}

// cacheWhy is an error of a cache in few words.
func (o *Observer) cacheWhy(err error) string {
	if unanswered(err) {
		return fmt.Sprintf("no answer within %s", o.timeout())
	}
	return o.clean(err.Error())
}

// cacheLine is a client of a cache, made anew when the cache has moved.
type cacheLine struct {
	url    string
	client *cache.Client
}

func (l *cacheLine) ask(ctx context.Context, url, script string) (int, error) {
	if l.client != nil && l.url != url {
		_ = l.close() // of a cache that has moved: nothing is lost with it
	}
	if l.client == nil {
		c, err := cache.Open(url, application)
		if err != nil {
			return 0, err
		}
		l.url, l.client = url, c
	}
	return l.client.Count(ctx, script)
}

func (l *cacheLine) close() error {
	if l.client == nil {
		return nil
	}
	client := l.client
	l.client = nil
	return client.Close()
}
