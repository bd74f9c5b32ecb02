package traffic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/tidwall/gjson"

	"backout/harness/evidence"
	"backout/harness/service"
)

// effects counts what each write has caused elsewhere.
func (a *audit) effects(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(a.service.Effects)) {
		e := a.service.Effects[name]
		f := evidence.Finding{Check: evidence.CheckEffects, Of: name}
		var err error
		if e.At == "" {
			err = a.effect(ctx, &f, e, a.countSQL(ctx, e))
		} else {
			err = a.countHTTP(ctx, e, func(count counter) error { return a.effect(ctx, &f, e, count) })
		}
		f.Asked = err == nil
		if err != nil {
			f.Error = a.clean(err.Error())
		}
		a.log.Put(&f)
	}
}

// counter makes a worker that counts the effects of some entries, by their places; -1 says that there are no more.
type counter func() func(places []int, counts []int) error

// effect compares the counts with what should be.
func (a *audit) effect(ctx context.Context, f *evidence.Finding, e service.Effect, start counter) error {
	batches := a.batches(func(x *entry) bool { return x.write.journey.name == e.Of })
	var mu sync.Mutex
	var wrong []error
	counts := make([][]int, len(batches))
	a.spread(len(batches), func() func(int) {
		count := start()
		return func(n int) {
			if n < 0 {
				return
			}
			mu.Lock()
			over := len(wrong) > 0
			mu.Unlock()
			if over {
				return
			}
			c := make([]int, len(batches[n]))
			if err := count(batches[n], c); err != nil {
				mu.Lock()
				wrong = append(wrong, err)
				mu.Unlock()
				return
			}
			counts[n] = c
		}
	})
	for n, places := range batches {
		for k := range counts[n] {
			f.Checked++
			x, count := &a.entries[places[k]], counts[n][k]
			fate := x.effectFate(count, e.Each)
			if fate == "" {
				continue
			}
			f.Bad++
			if len(f.Rows) < rowsShown {
				f.Rows = append(f.Rows, a.clean(fmt.Sprintf("%s: %d times in place of %d", x.key, count, e.Each)))
			}
			a.log.Put(&evidence.Write{Key: x.key, Journey: e.Of, Event: evidence.Audited, Fate: fate, Effect: f.Of, Rows: count})
		}
	}
	if len(wrong) > 0 {
		return wrong[0]
	}
	return nil
}

// effectFate is Duplicated or Lost when an effect has happened more or less often than it should: exactly each times
// for an acknowledged write, at most so often for one that was taken back or is unknown, never for a refused one.
func (e *entry) effectFate(count, each int) string {
	least, most := 0, each
	switch {
	case e.state == refused:
		most = 0
	case e.state == acknowledged && (e.cancel == never || e.cancel == refused):
		least = each
	}
	switch {
	case count > most:
		return evidence.Duplicated
	case count < least:
		return evidence.Lost
	}
	return ""
}

// countSQL counts in the drilled service's own database.
func (a *audit) countSQL(ctx context.Context, e service.Effect) counter {
	return func() func(places, counts []int) error {
		return func(places, counts []int) error {
			if a.db == nil {
				return errors.New("there is no connection to the primary")
			}
			ctx, cancel := context.WithTimeout(ctx, auditTimeout)
			defer cancel()
			var batch pgx.Batch
			for _, i := range places {
				batch.Queue(e.Count, a.entries[i].key)
			}
			results := a.db.SendBatch(ctx, &batch)
			for k := range places {
				var n int64
				if err := results.QueryRow().Scan(&n); err != nil {
					return errors.Join(err, results.Close())
				}
				counts[k] = int(n)
			}
			return results.Close()
		}
	}
}

// countHTTP counts at a dependant, which answers {"count": n}.
func (a *audit) countHTTP(ctx context.Context, e service.Effect, with func(counter) error) error {
	at, text := e.At, e.Count
	if _, is := a.service.Stubs[at]; is {
		at, text = a.service.Name+"/"+at, "GET /-/count?route="+url.QueryEscape(text)+"&key={key}"
	}
	q, err := a.question(at, text)
	if err != nil {
		return err
	}
	defer q.client.cutBy(ctx)()
	return with(func() func(places, counts []int) error {
		one := asked{question: q}
		return func(places, counts []int) error {
			for k, i := range places {
				key := a.entries[i].key
				got, err := one.ask(key)
				if err != nil {
					return err
				}
				n := gjson.GetBytes(got.body, "count")
				if got.status != http.StatusOK || n.Type != gjson.Number {
					return fmt.Errorf("%s: expected 200 and {\"count\": n}, found %d%s", q.text(key), got.status, excerpt(got.body))
				}
				counts[k] = int(n.Int())
			}
			return nil
		}
	})
}
