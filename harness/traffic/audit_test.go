package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"backout/harness/evidence"
	"backout/harness/postgres"
	"backout/harness/service"
)

// database is a real server for one test, gone with it.
func database(t *testing.T) *pgxpool.Pool {
	t.Helper()
	b, err := postgres.Find("")
	if err != nil {
		t.Skip(err)
	}
	// Not t.TempDir: as root the server runs as a user who may not enter it.
	top, err := os.MkdirTemp("", "traffic-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o711); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := filepath.Join(top, "data")
	if err := b.Init(ctx, dir, "secret"); err != nil {
		t.Fatal(err)
	}
	s, err := b.Start(ctx, postgres.Start{Dir: dir, LogFile: filepath.Join(top, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	db, err := postgres.Open(t.Context(), s.URL("secret", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func run(t *testing.T, db *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// key is the n-th key.
func key(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func TestAudit(t *testing.T) {
	db := database(t)
	run(t, db, `create table orders (client_key uuid, sku text, quantity int, total numeric(10,2))`)
	run(t, db, `create table outbox (client_key uuid)`)

	counts := map[string]int{}
	billing := &service.Service{Name: "billing", Header: "X-Release"}
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"count":%d}`, counts[r.URL.Query().Get("order_key")])
	}))
	defer at.Close()
	s := shop()
	s.Effects = map[string]service.Effect{
		"charge":   {Of: "checkout", At: "billing", Count: "GET /charges?order_key={key}", Each: 1},
		"delivery": {Of: "change-of-mind", Count: "select count(*) from outbox where client_key = $1", Each: 1},
	}
	targets := []Target{{Service: s, URL: "http://127.0.0.1:1"}, {Service: billing, URL: at.URL, Dependant: true}}

	p, err := newProgram(s, false)
	if err != nil {
		t.Fatal(err)
	}
	checkout, mind := p.journeys[0].steps[1].write, p.journeys[2].steps[1].write
	l := &Ledger{own: map[string]struct{}{}}
	write := func(w *write, n int, s, cancel state) {
		e := l.invoke(w, key(n), []string{"sku-0001", ""}) // sku and total vary
		if s == acknowledged {
			l.settle(e, s, map[int]string{1: `"19.80"`})
		} else {
			l.settle(e, s, nil)
		}
		l.cancel(e, cancel)
	}
	order := func(n int, total string) {
		run(t, db, `insert into orders values ($1, 'sku-0001', 2, $2)`, key(n), total)
	}
	// 600 kept writes, so that there is more than one batch of lookups and of keys.
	for n := 1; n <= 600; n++ {
		write(checkout, n, acknowledged, never)
		counts[key(n)] = 1
	}
	run(t, db, `insert into orders select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'sku-0001', 2, 19.80 from generate_series(1, 600) n`)
	counts[key(599)], counts[key(600)] = 2, 0

	write(checkout, 1001, acknowledged, never) // lost
	write(checkout, 1002, acknowledged, never) // transformed
	order(1002, "0")
	write(checkout, 1003, acknowledged, never) // duplicated
	order(1003, "19.80")
	order(1003, "19.80")
	write(checkout, 1004, unknown, never) // absent
	write(checkout, 1005, unknown, never) // there, its total unknown
	order(1005, "7")
	write(checkout, 1006, refused, never) // yet there
	order(1006, "19.80")
	write(checkout, 1007, pending, never) // never settled
	order(1008, "19.80")                  // a phantom
	order(1009, "19.80")                  // of a journey beside the traffic
	for n := 1001; n <= 1003; n++ {
		counts[key(n)] = 1
	}
	l.know(key(1009))

	write(mind, 2001, acknowledged, acknowledged) // gone
	write(mind, 2002, acknowledged, acknowledged) // back again, and delivered twice
	order(2002, "19.80")
	run(t, db, `insert into outbox values ($1), ($1)`, key(2002))
	write(mind, 2003, acknowledged, unknown)
	order(2003, "19.8")

	log := newLog(t)
	if err := l.Audit(t.Context(), log.Log, db, targets); err != nil {
		t.Fatal(err)
	}

	var fates []string
	kept := 0
	findings := map[string]*evidence.Finding{}
	for _, e := range log.all(t) {
		if w := e.Write; w != nil {
			if w.Event != evidence.Audited || len(w.Keys) > keptInEvent {
				t.Errorf("event %d: %+v", e.N, w)
			}
			if w.Keys != nil {
				if w.Fate != evidence.Kept {
					t.Errorf("event %d: keys with fate %s", e.N, w.Fate)
				}
				kept += len(w.Keys)
				continue
			}
			fates = append(fates, strings.TrimSpace(fmt.Sprintf("%s %s cancels=%v %s%d %s", strings.TrimLeft(w.Key[24:], "0"), w.Fate, w.Cancels, w.Effect, w.Rows, strings.Join(w.Fields, "; "))))
		}
		if f := e.Finding; f != nil {
			findings[f.Check+"/"+f.Of] = f
		}
	}
	want := []string{
		"1001 lost cancels=false 0", "1002 transformed cancels=false 1 total: sent 19.80, found 0", "1003 duplicated cancels=false 2",
		"1004 absent cancels=false 0", "1006 phantom cancels=false 1 refused, yet there", "1007 absent cancels=false 0", "1008 phantom cancels=false 1",
		"2002 duplicated cancels=false delivery2", "2002 resurrected cancels=true 1", "2003 absent cancels=true 1",
		"599 duplicated cancels=false charge2", "600 lost cancels=false charge0",
	}
	slices.Sort(fates)
	if !slices.Equal(fates, want) {
		t.Errorf("fates: found\n%s\nexpected\n%s", strings.Join(fates, "\n"), strings.Join(want, "\n"))
	}
	// 600 and 1005; of change-of-mind three writes and one taking back.
	if kept != 605 {
		t.Errorf("%d kept, expected 605", kept)
	}
	for name, want := range map[string][2]int64{
		"ledger/checkout": {607, 4}, "ledger/change-of-mind": {3, 1}, "phantoms/checkout": {609, 1}, "phantoms/change-of-mind": {0, 0},
		"effects/charge": {607, 2}, "effects/delivery": {3, 1},
	} {
		if f := findings[name]; f == nil || !f.Asked || f.Error != "" || f.Checked != want[0] || f.Bad != want[1] {
			t.Errorf("%s: found %+v, expected %v", name, f, want)
		}
	}

	t.Run("what cannot be asked is not kept", func(t *testing.T) {
		run(t, db, `alter table orders drop column total`)
		run(t, db, `drop table outbox`)
		at.Close()
		log := newLog(t)
		if err := l.Audit(t.Context(), log.Log, db, targets); err != nil {
			t.Fatal(err)
		}
		for _, e := range log.all(t) {
			if e.Write != nil && e.Write.Fate != evidence.Phantom {
				t.Errorf("found %+v", e.Write)
			}
			if f := e.Finding; f != nil && f.Check != evidence.CheckPhantoms && (f.Asked || f.Error == "" || f.Checked != 0) {
				t.Errorf("found %+v", f)
			}
		}
	})
	t.Run("without a database", func(t *testing.T) {
		log := newLog(t)
		if err := l.Audit(t.Context(), log.Log, nil, targets[:1]); err != nil {
			t.Fatal(err)
		}
		asked := 0
		for _, e := range log.all(t) {
			if e.Finding != nil && !e.Finding.Asked && e.Finding.Error != "" {
				asked++
			} else {
				t.Errorf("found %+v", e)
			}
		}
		if asked != 6 {
			t.Errorf("%d findings, expected 6", asked)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Audit(ctx, newLog(t).Log, db, targets); !errors.Is(err, context.Canceled) {
			t.Errorf("found %v", err)
		}
	})
}

// A column that the payload names and the query does not give is a mistake that is told.
func TestAuditNamesTheMissingColumn(t *testing.T) {
	db := database(t)
	run(t, db, `create table orders (client_key text, sku text)`)
	s := shop()
	s.Journeys[0].Steps[1].Write.Find = "select sku from orders where client_key = $1"
	p, err := newProgram(s, false)
	if err != nil {
		t.Fatal(err)
	}
	l := &Ledger{own: map[string]struct{}{}}
	l.settle(l.invoke(p.journeys[0].steps[1].write, key(1), []string{"sku-0001", ""}), acknowledged, nil)
	log := newLog(t)
	if err := l.Audit(t.Context(), log.Log, db, []Target{{Service: s}}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range log.all(t) {
		if f := e.Finding; f != nil && f.Check == evidence.CheckLedger && f.Of == "checkout" {
			found = !f.Asked && f.Text == "1 of 1 writes could not be looked up" && strings.Contains(f.Error, "find has no column quantity")
		}
	}
	if !found {
		t.Error("the missing column is not told")
	}
}
